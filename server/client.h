/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: one connection and what it is allowed to say when. The server's
 * side of docs/protocol.md, the same for every kind of connection.
 */
#ifndef RMEMD_CLIENT_H
#define RMEMD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire/wire.h"
#include "server/server.h"
#include "server/session.h"

struct peer;
struct verbs_conn;

struct client {
	struct client *next;
	int fd;			  /* -1: by RDMA */
	struct peer *peer;	  /* of a tcp connection, or NULL */
	struct verbs_conn *verbs; /* of one by RDMA, or NULL; neither: shm */
	bool is_refused;	  /* it may hear why, and is not listened to */
	bool is_broken;		  /* by RDMA: another may come in its place */
	bool has_joined;	  /* a session that was there: by RDMA, or shm's in a new process */
	size_t nr_told;		  /* slabs of it that this connection has keys to */
	struct session *session;  /* NULL: no HELLO yet, or over */
	struct client *heir;	  /* by tcp: takes its place as soon as it can do nothing more */
	bool is_heir;		  /* ... and that is this one */
	uint64_t joins_as;
	uint64_t deadline_ns; /* for its HELLO, or to be gone; 0: none */
	char name[WIRE_NAME_MAX_BYTES + 1];
	char who[80]; /* pid=123 or from=10.0.0.1:4567, for the log */
};

/* Takes @fd, also on error. -ENOMEM with err text. */
int client_open(int fd, struct client **out) __attribute__((warn_unused_result));

/* Ends its leases. */
void client_close(struct server *s, struct client *c);

/*
 * Reads and answers what has come over shm. 0 or -errno when the connection is over
 * (-EPIPE: the client left); a refusal has been sent then.
 */
int client_serve(struct client *c, struct server *s) __attribute__((warn_unused_result));

/* Answers one message that was decoded; returns as client_serve(). */
int client_answer(struct client *c, struct server *s, const struct wire_msg *in)
	__attribute__((warn_unused_result));

/* The last that @c could do is done: its heir, if it has one, takes its place. */
void client_succeed(struct client *c);

/* To who joins a session that has ended, or with another token than it has. */
#define CLIENT_NO_SESSION "no session here is joined with that token (any more)"

/* Says why and is over: returns @rc. */
int client_refuse(struct client *c, int rc, uint64_t request, enum wire_error_code code,
		  const char *text);

/* The same for what could not be decoded, @rc of wire_decode(). */
int client_refuse_undecoded(struct client *c, int rc, uint64_t request);

/* A refusal as bytes (WIRE_MAX_BYTES), for connections that became no client. */
size_t client_refusal(uint8_t *buf, enum wire_error_code code, const char *text);

#endif
