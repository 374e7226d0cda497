/* SPDX-License-Identifier: Apache-2.0 */
#include "client/servers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/session.h"
#include "client/store/pool.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "common/conn/rdma.h"
#include "common/wire/wire.h"

#define OPEN_TIMEOUT_MS 5000
#define JOIN_TIMEOUT_MS 1000 /* of each answer, while the job's faults wait */

/* ---- who gets how much ---- */

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

uint64_t servers_capacity(const struct run_config *cfg)
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
		       units_format_size(have, sizeof(have), servers_capacity(cfg)),
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
	const struct store_type *type = session_store(spec->scheme);
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

const char *servers_no_takeover(const struct run_config *cfg)
{
	unsigned int nodes = 1; /* the pool */

	if (cfg->record_path)
		return "what was recorded would be lost";
	for (unsigned int i = 0; i < cfg->nr_servers && nodes < HANDOVER_NODES; i++)
		nodes += keeps(cfg->server[i]);
	return nodes < HANDOVER_NODES ? "" : "the memory servers can't be handed over";
}

/* ---- opening ---- */

/* One server of the run; @spec NULL: the private one. */
struct server {
	const char *spec;
	uint64_t bytes;
};

/* All that there are, those that came behind the others. */
static int list(const struct run_config *cfg, const struct servers_joined *joined,
		struct server *out, unsigned int *nr)
{
	uint64_t share[RUN_MAX_SERVERS] = {cfg->remote_bytes};
	int err = cfg->nr_servers > 1 ? share_out(cfg, share) : 0;

	*nr = 0;
	for (unsigned int i = 0; i < cfg->nr_servers || !i; i++)
		out[(*nr)++] = (struct server){cfg->server[i], share[i]};
	for (unsigned int i = 0; i < joined->nr && *nr < RUN_MAX_SERVERS; i++)
		out[(*nr)++] = (struct server){joined->server[i].spec, joined->server[i].bytes};
	return err;
}

static struct store_open_args args_for(const struct run_config *cfg, int sock_fd)
{
	return (struct store_open_args){
		.sock_fd = sock_fd,
		.timeout_ms = OPEN_TIMEOUT_MS,
		.wait_s = cfg->on_loss == RUN_ON_LOSS_WAIT ? WIRE_MAX_PATIENCE_S : 0,
		.open_kid = session_open_any,
		.probe_kid = session_probe_any};
}

/* Opens the store of @s if it @is_live, and says where its nodes end. @is_next: what it goes on
 * with was handed over; one without that would be new, and empty. */
static int open_part(const struct server *s, struct store_open_args *args, bool is_live,
		     bool is_next, struct handover **next, struct pool_part *part)
{
	struct spec *spec = NULL;
	int err = s->spec ? spec_parse(s->spec, &spec) : 0;

	*part = (struct pool_part){.nr_slots = s->bytes / PAGE_BYTES,
				   .handover = *next,
				   .nodes = handover_nodes(spec)};
	args->bytes = s->bytes;
	args->handover = *next;
	*next += *next ? part->nodes : 0;
	if (!err && is_live && is_next && !handover_get(part->handover))
		err = err_set(-EPIPE, "the lease at %s was given up",
			      s->spec ? s->spec : "the private server");
	if (!err && is_live)
		err = s->spec ? session_open_any(spec, args, &part->store)
			      : store_shm_type.open(NULL, args, &part->store);
	spec_free(spec);
	return err;
}

static void close_parts(const struct pool_part *part, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		if (part[i].store)
			part[i].store->ops->close(part[i].store);
}

/* One that is lost is not the end of the others, and not of the job. */
static bool may_go(const struct run_config *cfg)
{
	return cfg->on_loss == RUN_ON_LOSS_SIGBUS;
}

/* @is_next: after a process that died. */
static int open_all(const struct run_config *cfg, int sock_fd, const struct servers_joined *joined,
		    struct handover *nodes, bool is_next, struct store **out)
{
	struct store_open_args args = args_for(cfg, sock_fd);
	struct pool_part part[RUN_MAX_SERVERS] = {0};
	struct server server[RUN_MAX_SERVERS];
	struct handover *next = nodes ? nodes + 1 : NULL;
	unsigned int nr;
	int err = list(cfg, joined, server, &nr);
	uint32_t live = store_pool_live(nodes, nr);

	for (unsigned int i = 0; i < nr && !err; i++) {
		args.sock_fd = server[i].spec ? -1 : sock_fd;
		err = open_part(&server[i], &args, live >> i & 1, is_next, &next, &part[i]);
		if (err && is_next && may_go(cfg)) { /* it died with the process before */
			handover_end(part[i].handover, part[i].nodes);
			err = 0;
		}
	}
	if (err) {
		close_parts(part, nr);
		return err;
	}
	/* Of one that was about to come when the process before died. */
	if (next)
		handover_end(next, (unsigned int)(nodes + HANDOVER_NODES - next));
	if (nr == 1 && !may_go(cfg)) {
		handover_end(nodes, 1);
		*out = part[0].store;
		return 0;
	}
	err = store_pool_open(part, nr, nodes, out);
	if (err)
		close_parts(part, nr);
	else
		(*out)->parts_may_go = may_go(cfg);
	return err;
}

#define MAX_LEFT 256U

/* Connections by RDMA of the process before end with the last of its descriptors, and that
 * is when new ones have taken their place: a server takes an end for the end. */
int servers_open(const struct run_config *cfg, int sock_fd, const struct servers_joined *joined,
		 struct handover *nodes, struct store **out)
{
	bool is_next = nodes && (handover_get(nodes) || handover_get(nodes + 1));
	int left[MAX_LEFT], err;
	unsigned int nr;

	nr = is_next ? verbs_left(left, MAX_LEFT) : 0;
	err = open_all(cfg, sock_fd, joined, nodes, is_next, out);
	while (nr)
		close(left[--nr]);
	return err;
}

/* ---- joining ---- */

/* Where the nodes begin of the one that comes. */
static struct handover *next_nodes(const struct server *server, unsigned int nr,
				   struct handover *nodes)
{
	struct handover *next = nodes ? nodes + 1 : NULL;

	for (unsigned int i = 0; i < nr && next; i++) {
		struct spec *spec = NULL;

		if (server[i].spec && spec_parse(server[i].spec, &spec))
			return NULL; /* it was parsed before */
		next += handover_nodes(spec);
		spec_free(spec);
	}
	return next;
}

/* With what has come behind it. */
static int make_pool(const struct server *first, struct store *one, struct handover *nodes,
		     const struct pool_part *new, struct store **store)
{
	struct pool_part part[2] = {{.store = one, .handover = nodes ? nodes + 1 : NULL}, *new};
	struct spec *spec = NULL;
	int err = first->spec ? spec_parse(first->spec, &spec) : 0;

	part[0].nodes = handover_nodes(spec);
	spec_free(spec);
	return err ? err : store_pool_open(part, 2, nodes, store);
}

static int check_room(const struct server *server, unsigned int nr, const char *text)
{
	struct spec *spec = NULL;
	int err = spec_parse(text, &spec);
	unsigned int nodes = 1 + handover_nodes(spec);

	spec_free(spec);
	if (err)
		return err;
	if (nr == RUN_MAX_SERVERS)
		return err_set(-ENOSPC, "a run has at most %u servers", RUN_MAX_SERVERS);
	for (unsigned int i = 0; i < nr; i++)
		nodes += server[i].spec ? keeps(server[i].spec) : 1;
	return nodes < HANDOVER_NODES
		       ? 0
		       : err_set(-ENOSPC, "a run has at most %u stores", HANDOVER_NODES);
}

int servers_join(const struct run_config *cfg, const char *spec, uint64_t bytes,
		 struct servers_joined *joined, struct handover *nodes, struct store **store)
{
	struct store_open_args args = args_for(cfg, -1);
	struct server server[RUN_MAX_SERVERS + 1];
	struct handover *next;
	struct pool_part part;
	unsigned int nr;
	int err = list(cfg, joined, server, &nr);

	if (!err)
		err = check_room(server, nr, spec);
	if (err)
		return err;
	/* What stands here counts with nr, and that is set when all else is. */
	snprintf(joined->server[joined->nr].spec, sizeof(joined->server[0].spec), "%s", spec);
	joined->server[joined->nr].bytes = bytes;
	server[nr] = (struct server){spec, bytes};
	next = next_nodes(server, nr, nodes);
	args.timeout_ms = JOIN_TIMEOUT_MS;
	err = open_part(&server[nr], &args, true, false, &next, &part);
	if (err)
		return err;
	err = nr > 1 || may_go(cfg) ? store_pool_add(*store, &part)
				    : make_pool(&server[0], *store, nodes, &part, store);
	if (err) {
		handover_forget(part.handover, part.nodes);
		part.store->ops->close(part.store);
		return err;
	}
	__atomic_store_n(&joined->nr, joined->nr + 1, __ATOMIC_RELEASE);
	return 0;
}
