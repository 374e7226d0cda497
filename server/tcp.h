/* SPDX-License-Identifier: Apache-2.0 */
/* The tcp connections of a server: admitted, served, let go. */
#ifndef RMEMD_TCP_H
#define RMEMD_TCP_H

#include <stdbool.h>

#include "server/client.h"
#include "server/server.h"

/* Sets up the ring. 0 or -errno with err text. */
int tcp_begin(struct server *s) __attribute__((warn_unused_result));

/* The ring is to tell when the server's epoll has something. */
void tcp_watch(struct server *s);

/* Takes one connection that waits at @listen_fd. 0 or -errno. */
int tcp_admit(struct server *s, int listen_fd) __attribute__((warn_unused_result));

/* One round: waits, serves. 0 or -errno with err text. */
int tcp_run(struct server *s, int timeout_ms, bool *epoll_is_ready)
	__attribute__((warn_unused_result));

/* Ends a connection, but not its session: it has an heir (client_succeed()). */
void tcp_replace(struct server *s, struct client *old);

/* Ends a connection without a word, and its session. */
void tcp_cut_off(struct server *s, struct client *c);

#endif
