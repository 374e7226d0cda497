/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of docs/protocol.md over RDMA, up to the first page: two connections
 * in one protection domain, HELLO, the leases, and a key of each connection to each slab.
 * Every step has a deadline.
 */
#ifndef RMEM_STORE_RDMA_SESSION_H
#define RMEM_STORE_RDMA_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "client/store/handover.h"
#include "common/conn/rdma.h"
#include "common/wire/wire.h"

enum rdma_lane_name { RDMA_URGENT, RDMA_BULK, RDMA_NR_LANES };

/* Reads and writes under way at most. */
#define RDMA_URGENT_DEPTH 64U
#define RDMA_BULK_DEPTH	  512U

struct rdma_slab {
	uint64_t address;
	uint32_t key[RDMA_NR_LANES];
};

struct rdma_session {
	struct net_addr addr;
	struct verbs_host *host;
	struct verbs_domain *domain; /* of all its connections */
	struct verbs_conn *conn[RDMA_NR_LANES];
	char server[NET_NAME_MAX_BYTES + 8]; /* "server rdma:host:7771", for texts */
	unsigned int timeout_ms;	     /* of each answer */
	uint64_t deadline_ns;
	uint64_t wanted_bytes;
	unsigned int patience_s; /* asked for in HELLO */
	uint64_t next_request;
	struct wire_welcome welcome;
	struct rdma_slab *slab; /* in the order of slots */
};

/* Connects, says HELLO, reserves @bytes; the session is to outlive a silence of
 * @patience_s seconds. 0 or -errno with err text; nothing is left
 * open then. */
int rdma_session_open(struct rdma_session *s, const struct net_addr *a, uint64_t bytes,
		      unsigned int timeout_ms, unsigned int patience_s)
	__attribute__((warn_unused_result));

/* Leases all that was reserved, and opens the second connection. 0 or -errno with err
 * text. */
int rdma_session_lease(struct rdma_session *s) __attribute__((warn_unused_result));

/* Goes on with the session of a process that died, in place of both: @old says which.
 * Nothing that that one had asked for can be done any more. As the two above. */
int rdma_session_resume(struct rdma_session *s, const struct net_addr *a, uint64_t bytes,
			unsigned int timeout_ms, unsigned int patience_s, const struct handed *old)
	__attribute__((warn_unused_result));

/* What connection @lane of the session is asked for with. */
struct verbs_asking rdma_session_asking(const struct rdma_session *s, enum rdma_lane_name lane);

/* Did the server say why it said no to @c? Then that is in @out, a WIRE_ERROR. */
bool rdma_session_refused(const struct verbs_conn *c, struct wire_msg *out);

/* Hangs up. Accepts a closed or half-opened one. */
void rdma_session_close(struct rdma_session *s);

/*
 * How the server was lost, in one sentence, by what was told of it: -ECONNABORTED with err
 * text where the server itself has said why, else -EPIPE.
 */
int rdma_loss(const struct rdma_session *s, const struct verbs_done *done);

#endif
