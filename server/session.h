/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: what a HELLO begins: a reservation, its slabs, and the one connection (shm)
 * or two (tcp) that may reach them. It ends when its last member has left; the server
 * lets the second go when the first does.
 */
#ifndef RMEMD_SESSION_H
#define RMEMD_SESSION_H

#include <stdint.h>

#include "common/wire/wire.h"
#include "server/lease.h"

struct client;
struct server;

#define SESSION_MAX_MEMBERS 2

struct session {
	struct session *next;
	uint64_t id;
	uint8_t token[WIRE_TOKEN_BYTES]; /* zeros: nobody can join */
	struct tenant tenant;
	struct client *member[SESSION_MAX_MEMBERS]; /* the first said HELLO */
};

/* Reserves @bytes for @c. 0, -ENOSPC or another -errno with err text. */
int session_open(struct server *s, struct client *c, const struct wire_hello *h)
	__attribute__((warn_unused_result));

/* -EACCES when there is no such session, or it does not want another member. */
int session_join(struct server *s, struct client *c, const struct wire_join *j)
	__attribute__((warn_unused_result));

/* Accepts a client without one. The last one takes the leases with it. */
void session_leave(struct server *s, struct client *c);

/* The other member, or NULL. */
struct client *session_other(const struct client *c);

#endif
