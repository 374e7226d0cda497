/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of docs/protocol.md over tcp, up to the first page: HELLO, the
 * leases, and a second connection that joins the session. Every step has a deadline.
 */
#ifndef RMEM_STORE_TCP_SESSION_H
#define RMEM_STORE_TCP_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "client/store/handover.h"
#include "common/conn/tcp.h"
#include "common/wire/wire.h"

enum tcp_lane_name { TCP_URGENT, TCP_BULK, TCP_NR_LANES };

struct tcp_session {
	struct net_addr addr;
	int fd[TCP_NR_LANES];		     /* -1: closed */
	char server[NET_NAME_MAX_BYTES + 8]; /* "server tcp:host:7770", for texts */
	unsigned int timeout_ms;	     /* of each answer */
	uint64_t deadline_ns;
	uint64_t wanted_bytes;
	unsigned int patience_s; /* asked for in HELLO */
	uint64_t next_request;
	struct wire_welcome welcome;
	uint64_t *slab; /* their numbers, in the order of slots */
};

/* Connects, says HELLO, reserves @bytes; the session is to outlive a silence of
 * @patience_s seconds. 0 or -errno with err text; nothing is left
 * open then. */
int tcp_session_open(struct tcp_session *s, const struct net_addr *a, uint64_t bytes,
		     unsigned int timeout_ms, unsigned int patience_s)
	__attribute__((warn_unused_result));

/* Leases all that was reserved, and opens the second connection. 0 or -errno with err
 * text. */
int tcp_session_lease(struct tcp_session *s) __attribute__((warn_unused_result));

/* Goes on with the session of a process that died, in place of both: @old says which. The
 * server is done with all that that one had sent. As the two above. */
int tcp_session_resume(struct tcp_session *s, const struct net_addr *a, uint64_t bytes,
		       unsigned int timeout_ms, unsigned int patience_s, const struct handed *old)
	__attribute__((warn_unused_result));

/* What such a process needs. */
void tcp_session_hand_over(const struct tcp_session *s, struct handed *now);

/* Accepts a closed or half-opened one. */
void tcp_session_close(struct tcp_session *s);

#endif
