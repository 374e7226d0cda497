/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of docs/protocol.md over a Unix socket: HELLO, then the
 * leases, each mapped where the caller wants it. Turns every way in which a
 * server may disappoint into a text that names it and the remedy.
 */
#ifndef RMEM_STORE_SHM_SESSION_H
#define RMEM_STORE_SHM_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wire/wire.h"

struct shm_session {
	int fd;		  /* -1: closed */
	char server[128]; /* "server shm:/run/rmem.sock", for texts */
	bool is_private;
	unsigned int timeout_ms; /* of each answer */
	uint64_t deadline_ns;
	uint64_t wanted_bytes;
	uint64_t next_request;
	struct wire_welcome welcome;
};

/*
 * Says HELLO to the server at @path, or on @sock_fd (taken, also on error) when
 * that is not -1, and reserves @bytes there. @turn: so many processes have had that socket
 * before; what they asked may still be answered. 0 or -errno with err text; nothing is
 * left open then.
 */
int shm_session_open(struct shm_session *s, const char *path, int sock_fd, uint32_t turn,
		     uint64_t bytes, unsigned int timeout_ms) __attribute__((warn_unused_result));

/* Leases all that was reserved and maps it over [base, base + bytes). 0 or -errno
 * with err text. */
int shm_session_map(struct shm_session *s, char *base) __attribute__((warn_unused_result));

/* 0 while the server is there; -EPIPE with err text when it has left or speaks up. */
int shm_session_check(const struct shm_session *s);

/* Says BYE. Accepts a closed one. */
void shm_session_close(struct shm_session *s);

#endif
