/* SPDX-License-Identifier: Apache-2.0 */
#include "client/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/policy/readahead.h"
#include "client/policy/recorder.h"
#include "client/policy/replay.h"
#include "client/policy/streams.h"
#include "client/record.h"
#include "client/store/pool.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "common/conn/rdma.h"
#include "common/spec.h"
#include "common/wire/wire.h"

#define OPEN_TIMEOUT_MS 5000

const struct store_type *const *session_stores(void)
{
	static const struct store_type *const types[] = {
		&store_ram_type,  &store_shm_type,   &store_tcp_type,	 &store_rdma_type,
		&store_file_type, &store_fault_type, &store_mirror_type, NULL};

	return types;
}

static const struct store_type *type_of(const char *scheme)
{
	for (const struct store_type *const *t = session_stores(); *t; t++)
		if (!strcmp((*t)->scheme, scheme))
			return *t;
	return NULL;
}

static int open_any(const struct spec *spec, const struct store_open_args *args, struct store **out)
{
	const struct store_type *type = type_of(spec->scheme);

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
	const struct store_type *type = type_of(spec->scheme);
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

static int probe_any(const struct spec *spec, unsigned int timeout_ms)
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
		err = open_any(spec, args, out);
	spec_free(spec);
	return err;
}

int session_open_spec(const char *text, uint64_t bytes, unsigned int timeout_ms, struct store **out)
{
	struct store_open_args args = {.bytes = bytes,
				       .sock_fd = -1,
				       .timeout_ms = timeout_ms,
				       .open_kid = open_any,
				       .probe_kid = probe_any};

	return open_spec(text, &args, out);
}

#define NO_CAPACITY PAGE_MASK /* holds all it is asked for */

/* What a store holds at most, by size=; one before others, what each of them does. */
static int size_of(const struct spec *spec, uint64_t *bytes)
{
	const char *size = spec_param(spec, "size");
	int err = size ? units_parse_size(size, bytes) : 0;

	for (size_t i = 0; i < spec->nr_kids && !err; i++) {
		uint64_t kid = NO_CAPACITY;

		err = size_of(spec->kid[i], &kid);
		*bytes = kid < *bytes ? kid : *bytes;
	}
	return err;
}

static int capacity_of(const char *text, uint64_t *bytes)
{
	struct spec *spec = NULL;
	int err = spec_parse(text, &spec);

	*bytes = NO_CAPACITY;
	if (!err)
		err = size_of(spec, bytes);
	if (!err && *bytes < PAGE_BYTES)
		err = err_set(-ERANGE, "server %s: size is less than a page", text);
	*bytes &= PAGE_MASK;
	spec_free(spec);
	return err;
}

uint64_t session_capacity(const struct run_config *cfg)
{
	uint64_t all = 0, one;

	for (unsigned int i = 0; i < cfg->nr_servers; i++) {
		if (capacity_of(cfg->server[i], &one) || one == NO_CAPACITY)
			return UINT64_MAX;
		all += one;
	}
	return cfg->nr_servers ? all : UINT64_MAX;
}

static int too_small(const struct run_config *cfg)
{
	char want[32], have[32];

	return err_set(-ENOSPC,
		       "the sizes of all servers are %s, --remote is %s: raise size=, lower "
		       "--remote, or name more servers",
		       units_format_size(have, sizeof(have), session_capacity(cfg)),
		       units_format_size(want, sizeof(want), cfg->remote_bytes));
}

/* The same for each, but none gets more than its size=: the others share the rest. */
static int share_out(const struct run_config *cfg, uint64_t *share)
{
	uint64_t cap[RUN_MAX_SERVERS], left = cfg->remote_bytes;
	unsigned int open = cfg->nr_servers, was = 0;

	for (unsigned int i = 0; i < cfg->nr_servers; i++) {
		int err = capacity_of(cfg->server[i], &cap[i]);

		if (err)
			return err;
		share[i] = 0;
	}
	while (open && open != was) {
		uint64_t each = (left / open + PAGE_BYTES - 1) & PAGE_MASK;

		was = open;
		for (unsigned int i = 0; i < cfg->nr_servers; i++) {
			if (share[i] || cap[i] > each)
				continue;
			share[i] = cap[i];
			left -= cap[i] < left ? cap[i] : left;
			open--;
		}
	}
	for (unsigned int i = 0; open && i < cfg->nr_servers; i++)
		if (!share[i])
			share[i] = (left / open + PAGE_BYTES - 1) & PAGE_MASK;
	return open || !left ? 0 : too_small(cfg);
}

static bool survives(const struct spec *spec)
{
	const struct store_type *type = type_of(spec->scheme);
	bool is = type && type->survives;

	for (size_t i = 0; i < spec->nr_kids && is; i++)
		is = survives(spec->kid[i]);
	return is;
}

/* Nodes of HANDOVER_NODES that a SPEC takes; all, if it can't be gone on with. */
static unsigned int keeps(const char *text)
{
	struct spec *spec = NULL;
	unsigned int n = HANDOVER_NODES;

	if (!spec_parse(text, &spec) && survives(spec))
		n = handover_nodes(spec);
	spec_free(spec);
	return n;
}

const char *session_no_takeover(const struct run_config *cfg)
{
	unsigned int nodes = 1; /* the pool */

	if (cfg->record_path)
		return "what was recorded would be lost";
	for (unsigned int i = 0; i < cfg->nr_servers && nodes < HANDOVER_NODES; i++)
		nodes += keeps(cfg->server[i]);
	return nodes < HANDOVER_NODES ? "" : "the memory servers can't be handed over";
}

/* Their nodes follow the pool's. */
static int open_pool(const struct run_config *cfg, struct store_open_args *args, struct store **out)
{
	struct handover *handover = args->handover, *next = handover ? handover + 1 : NULL;
	uint32_t live = store_pool_live(handover, cfg->nr_servers);
	struct pool_part part[RUN_MAX_SERVERS] = {0};
	uint64_t share[RUN_MAX_SERVERS];
	int err = share_out(cfg, share);

	for (unsigned int n = 0; n < cfg->nr_servers && !err; n++) {
		struct spec *spec = NULL;

		args->bytes = share[n];
		args->handover = next;
		err = spec_parse(cfg->server[n], &spec);
		part[n] = (struct pool_part){.handover = next,
					     .nodes = handover_nodes(spec),
					     .nr_slots = share[n] / PAGE_BYTES};
		if (!err && live >> n & 1)
			err = open_any(spec, args, &part[n].store);
		next = next ? next + part[n].nodes : NULL;
		spec_free(spec);
	}
	if (!err)
		return store_pool_open(part, cfg->nr_servers, handover, out);
	for (unsigned int n = 0; n < cfg->nr_servers; n++)
		if (part[n].store)
			part[n].store->ops->close(part[n].store);
	return err;
}

#define MAX_LEFT 256U

/* Connections by RDMA of the process before end with the last of its descriptors, and that
 * is when new ones have taken their place: a server takes an end for the end. */
static int open_after(const struct run_config *cfg, struct store_open_args *args,
		      struct store **out)
{
	int left[MAX_LEFT];
	unsigned int nr = handover_get(args->handover) ? verbs_left(left, MAX_LEFT) : 0;
	int err = cfg->nr_servers == 1 ? open_spec(cfg->server[0], args, out)
				       : open_pool(cfg, args, out);

	while (nr)
		close(left[--nr]);
	return err;
}

int session_open_store(const struct run_config *cfg, int sock_fd, struct handover *handover,
		       struct store **out)
{
	struct store_open_args args = {
		.bytes = cfg->remote_bytes,
		.sock_fd = sock_fd,
		.timeout_ms = OPEN_TIMEOUT_MS,
		.wait_s = cfg->on_loss == RUN_ON_LOSS_WAIT ? WIRE_MAX_PATIENCE_S : 0,
		.open_kid = open_any,
		.probe_kid = probe_any};

	args.handover = handover;
	if (!cfg->nr_servers)
		return store_shm_type.open(NULL, &args, out);
	args.sock_fd = -1;
	return open_after(cfg, &args, out);
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

static int open_replay(const char *path, const struct policy_ops **ops, void **ctx)
{
	uint64_t *key = NULL;
	uint32_t *order, nr = 0;
	int err = record_load(path, &key, &nr);

	if (err)
		return err;
	order = record_sort(key, nr);
	if (!order) {
		free(key);
		return err_set(-ENOMEM, "--replay %s: out of memory", path);
	}
	/* Both are kept until the process ends. */
	replay_init(&policy.replay, key, order, nr, *ops, *ctx);
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
