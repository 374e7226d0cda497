/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: one connection and what it is allowed to say when. The server's
 * side of docs/protocol.md.
 */
#ifndef RMEMD_CLIENT_H
#define RMEMD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/wire/wire.h"
#include "server/lease.h"
#include "server/server.h"

struct client {
	struct client *next;
	int fd;
	pid_t pid;
	uint64_t session;     /* 0: no HELLO yet */
	uint64_t deadline_ns; /* for its HELLO; 0: none */
	char name[WIRE_NAME_MAX_BYTES + 1];
	struct tenant tenant;
};

/* Takes @fd, also on error. -ENOMEM with err text. */
int client_open(int fd, struct client **out) __attribute__((warn_unused_result));

/* Ends its leases. */
void client_close(struct client *c);

/*
 * Reads and answers what has come. 0 or -errno when the connection is over
 * (-EPIPE: the client left); a refusal has been sent then.
 */
int client_serve(struct client *c, struct server *s) __attribute__((warn_unused_result));

/* Says why and is over: returns @rc. @fd need not belong to a client. */
int client_refuse(int fd, int rc, uint64_t request, enum wire_error_code code, const char *text);

#endif
