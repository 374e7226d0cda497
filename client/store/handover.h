/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover: what the stores of a run leave to the next process, for the case that this one dies.
 * It lies in shared memory, and descriptors are shared, too: their numbers stay good. Each
 * node of a SPEC has one, those of its kids follow it:
 *
 *	mirror(tcp:a,fault(ram))    [mirror][tcp:a][fault][ram]
 *
 * It is changed as a whole, so it is whole wherever the process is killed. A descriptor
 * that is named here is open, unless that was what was being done: it is forgotten first and
 * closed then, and may stay open until the run ends, but no number is closed twice.
 */
#ifndef RMEM_STORE_HANDOVER_H
#define RMEM_STORE_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/spec.h"
#include "common/wire/wire.h"

#define HANDOVER_NODES 64U /* of all the SPECs of a run */
#define HANDOVER_FDS   4U

struct handed {
	bool used;
	uint32_t nr_fds;
	int32_t fd[HANDOVER_FDS];
	uint64_t session; /* at a server */
	uint8_t token[WIRE_TOKEN_BYTES];
	uint64_t slab_bytes;
	uint64_t nr_slots;
	uint32_t turn;	  /* how many processes had it before */
	uint32_t live;	  /* of several stores behind it those that are good, a bit each */
	uint32_t joining; /* those that are to be, a bit each: good below this slot */
	uint64_t filled;
};

struct handover {
	struct handed copy[2];
	uint32_t which;
};

/* What the process before has left; NULL: nothing, or nobody keeps (@k is NULL). */
const struct handed *handover_get(const struct handover *k);

/* Accepts NULL. */
void handover_set(struct handover *k, const struct handed *now);

/* One more descriptor for whoever comes after. At most HANDOVER_FDS. */
void handed_add_fd(struct handed *now, int fd);

/* The same in place of what the process before has left, whose descriptors are closed: this
 * one has its own. Without a place to hand over nothing was left. */
void handover_replace(struct handover *k, const struct handed *now);

/* A session at a server: what @w says of it, to and from. */
void handed_set_session(struct handed *now, const struct wire_welcome *w);
void handed_session(const struct handed *old, struct wire_welcome *w);

/* How many nodes @spec has; NULL, the private server, is one. */
unsigned int handover_nodes(const struct spec *spec);

/* Where kid @i of @spec keeps, if @k is where @spec does; NULL if that is. */
struct handover *handover_of_kid(struct handover *k, const struct spec *spec, unsigned int i);

/* Nothing is gone on with of these @nodes. Their descriptors are left open, or closed here. */
void handover_forget(struct handover *k, unsigned int nodes);
void handover_end(struct handover *k, unsigned int nodes);

#endif
