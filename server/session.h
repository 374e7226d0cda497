/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: what a HELLO begins: a reservation, its slabs, and the one connection (shm)
 * or two (tcp, rdma) that may reach them. It ends when its last member has left; the server
 * lets the second go when the first does.
 */
#ifndef RMEMD_SESSION_H
#define RMEMD_SESSION_H

#include <stdint.h>

#include "common/wire/wire.h"
#include "server/lease.h"

struct client;
struct server;
struct verbs_domain;
struct verbs_region;

#define SESSION_MAX_MEMBERS 2

struct session {
	struct session *next;
	uint64_t id;
	uint8_t token[WIRE_TOKEN_BYTES]; /* zeros: nobody can join */
	uint16_t access;		 /* enum wire_access */
	char name[WIRE_NAME_MAX_BYTES + 1];
	uint32_t patience_s; /* what HELLO asked for */
	struct tenant tenant;
	struct verbs_domain *domain;		    /* by RDMA: of its connections */
	struct verbs_region **region;		    /* and of each slab, in order */
	struct client *member[SESSION_MAX_MEMBERS]; /* the first said HELLO */
};

/* Reserves @bytes for @c. 0, -ENOSPC or another -errno with err text. */
int session_open(struct server *s, struct client *c, const struct wire_hello *h)
	__attribute__((warn_unused_result));

/* The session of @access that has that token, or NULL. */
struct session *session_find(const struct server *s, const struct wire_join *j, uint16_t access);

/* Makes @c a member of @at, the first (0) or the second (1), which it has not. */
void session_join(struct session *at, struct client *c, unsigned int which);

/* Its place is empty, for another: the session stays. */
void session_leave_to(struct client *c);

/* Accepts a client without one. The last one takes the leases with it. */
void session_leave(struct server *s, struct client *c);

/* The other member, or NULL. */
struct client *session_other(const struct client *c);

#endif
