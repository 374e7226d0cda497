/* SPDX-License-Identifier: Apache-2.0 */
#include "client/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/policy/readahead.h"
#include "client/policy/recorder.h"
#include "client/policy/replay.h"
#include "client/policy/streams.h"
#include "client/record.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "common/spec.h"

const struct store_type *const *session_stores(void)
{
	static const struct store_type *const types[] = {
		&store_ram_type,  &store_shm_type,   &store_tcp_type,	 &store_rdma_type,
		&store_file_type, &store_fault_type, &store_mirror_type, NULL};

	return types;
}

const struct store_type *session_store(const char *scheme)
{
	for (const struct store_type *const *t = session_stores(); *t; t++)
		if (!strcmp((*t)->scheme, scheme))
			return *t;
	return NULL;
}

int session_open_any(const struct spec *spec, const struct store_open_args *args,
		     struct store **out)
{
	const struct store_type *type = session_store(spec->scheme);

	return type ? type->open(spec, args, out)
		    : err_set(-EINVAL, "this rmem has no store '%.40s': see rmem help stores",
			      spec->scheme);
}

struct room {
	uint64_t free_bytes, capacity_bytes;
};

/* Of all that stand behind it the least; @room is lowered. */
static int probe_all(const struct spec *spec, unsigned int timeout_ms, struct room *room)
{
	const struct store_type *type = session_store(spec->scheme);
	struct room one;
	int err = 0;

	for (size_t i = 0; i < spec->nr_kids && !err; i++)
		err = probe_all(spec->kid[i], timeout_ms, room);
	if (err || !type || !type->probe)
		return err;
	err = type->probe(spec, timeout_ms, &one.free_bytes, &one.capacity_bytes);
	if (err)
		return err;
	if (one.free_bytes < room->free_bytes)
		room->free_bytes = one.free_bytes;
	if (one.capacity_bytes < room->capacity_bytes)
		room->capacity_bytes = one.capacity_bytes;
	return 0;
}

int session_probe_any(const struct spec *spec, unsigned int timeout_ms)
{
	struct room room = {UINT64_MAX, UINT64_MAX};

	return probe_all(spec, timeout_ms, &room);
}

int session_probe(const char *text, unsigned int timeout_ms, uint64_t *free_bytes,
		  uint64_t *capacity_bytes)
{
	struct room room = {UINT64_MAX, UINT64_MAX};
	struct spec *spec = NULL;
	int err = spec_parse(text, &spec);

	if (!err)
		err = probe_all(spec, timeout_ms, &room);
	spec_free(spec);
	if (!err && room.capacity_bytes == UINT64_MAX)
		return -ENOTSUP;
	*free_bytes = room.free_bytes;
	*capacity_bytes = room.capacity_bytes;
	return err;
}

static int open_spec(const char *text, const struct store_open_args *args, struct store **out)
{
	struct spec *spec = NULL;
	int err = spec_parse(text, &spec);

	if (!err)
		err = session_open_any(spec, args, out);
	spec_free(spec);
	return err;
}

int session_open_spec(const char *text, uint64_t bytes, unsigned int timeout_ms, struct store **out)
{
	struct store_open_args args = {.bytes = bytes,
				       .sock_fd = -1,
				       .timeout_ms = timeout_ms,
				       .open_kid = session_open_any,
				       .probe_kid = session_probe_any};

	return open_spec(text, &args, out);
}

/* ---- the policy ---- */

const struct policy_ops *const *session_policies(void)
{
	static const struct policy_ops *const policies[] = {&policy_streams, &policy_readahead,
							    NULL};

	return policies;
}

static struct {
	struct streams streams;
	struct recorder recorder;
	struct replay replay;
	struct places places;
	struct record *record; /* NULL: nothing is recorded */
} policy;

static void note(void *ctx, space_id space, uint64_t va)
{
	record_add(ctx, replay_key(space, va));
}

static const struct policy_ops *by_name(const char *name)
{
	const struct policy_ops *const *p = session_policies();

	while (name && p[1] && strcmp((*p)->name, name))
		p++;
	return *p;
}

/* Above the policy that *ops and *ctx are. */
static int open_recorder(const char *path, const struct policy_ops **ops, void **ctx)
{
	int err = record_create(path, &policy.record);

	policy.recorder = (struct recorder){
		.note = note, .note_ctx = policy.record, .below = *ops, .below_ctx = *ctx};
	*ops = &policy_recorder;
	*ctx = &policy.recorder;
	return err;
}

/* 0 and owned; -ENOMEM. */
static int find_places(const uint64_t *key, uint32_t nr, struct places *out)
{
	struct places p = {.index = malloc(nr * sizeof(*p.index) + 1), .mask = 1023};
	bool made = false;

	while (p.index && !made && (p.table = calloc(p.mask + 1, sizeof(*p.table)))) {
		made = places_make(&p, key, nr);
		if (!made) {
			free(p.table);
			p.mask = 2 * p.mask + 1;
		}
	}
	if (!made)
		free(p.index);
	*out = p;
	return made ? 0 : -ENOMEM;
}

static int open_replay(const char *path, const struct policy_ops **ops, void **ctx)
{
	uint64_t *key = NULL;
	uint32_t nr = 0;
	int err = record_load(path, &key, &nr);

	if (err)
		return err;
	if (find_places(key, nr, &policy.places)) {
		free(key);
		return err_set(-ENOMEM, "--replay %s: out of memory", path);
	}
	/* Both are kept until the process ends. */
	replay_init(&policy.replay, key, &policy.places, nr, *ops, *ctx);
	*ops = &policy_replay;
	*ctx = &policy.replay;
	return 0;
}

int session_open_policy(const struct run_config *cfg, const struct policy_ops **ops, void **ctx)
{
	*ops = by_name(cfg->policy);
	*ctx = &policy.streams; /* readahead keeps nothing */
	if (cfg->record_path)
		return open_recorder(cfg->record_path, ops, ctx);
	return cfg->replay_path ? open_replay(cfg->replay_path, ops, ctx) : 0;
}

int session_close_policy(void)
{
	int err;

	if (!policy.record)
		return 0;
	err = record_write(policy.record);
	if (!err && record_is_cut(policy.record))
		err = err_set(-EFBIG,
			      "--record: the job had more faults than a file holds: the first"
			      " of them are there");
	record_close(policy.record);
	policy.record = NULL;
	return err;
}
