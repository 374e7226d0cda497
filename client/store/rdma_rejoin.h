/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rejoin: a connection of a session that broke is made anew, without waiting anywhere:
 *
 *	whole --broke--> waits <--no--- asks --opens--> leases --has all keys--> whole
 *	                   +----tick---->
 *
 * What was under way on the old one is done again on the new one: the server lets none in
 * before the old one can do nothing any more. How long that may take is patience.h's
 * business; where the server says that it does not know the session it is over at once.
 */
#ifndef RMEM_STORE_RDMA_REJOIN_H
#define RMEM_STORE_RDMA_REJOIN_H

#include "client/store/rdma_session.h"

#define REJOIN_TICK_NS 250000000ULL

enum rejoin_state { REJOIN_WHOLE, REJOIN_WAITS, REJOIN_ASKS, REJOIN_LEASES };

struct rejoin {
	struct rdma_session *session;
	enum rdma_lane_name lane;
	enum rejoin_state state;
	struct verbs_conn *next; /* asked for, not yet the session's */
	uint64_t broken_ns, asked_ns;
	uint64_t nr_asked, nr_told; /* keys */
};

/* The connection broke: ask for another from the next tick on. */
void rejoin_begin(struct rejoin *j, uint64_t now_ns);

/* To be called each REJOIN_TICK_NS while it is not whole: it never gives the server up. */
void rejoin_tick(struct rejoin *j, uint64_t now_ns);

/* The end of what it asked for. 0; -EPIPE with err text: the server has not these pages. */
int rejoin_event(struct rejoin *j, const struct verbs_event *ev)
	__attribute__((warn_unused_result));

/* A message on the new connection; whole again when that was the last key. As rejoin_event(). */
int rejoin_message(struct rejoin *j, const struct verbs_done *done)
	__attribute__((warn_unused_result));

/* Lets go of what was asked for. */
void rejoin_end(struct rejoin *j);

#endif
