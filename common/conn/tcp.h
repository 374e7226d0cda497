/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn tcp: streams to another machine. Sockets are non-blocking, close-on-exec,
 * without Nagle's delay, and notice a peer that vanished; nothing here raises
 * SIGPIPE. Knows no message. What waits is for the opening of connections alone;
 * pages travel through tcp_ring.h.
 */
#ifndef RMEM_CONN_TCP_H
#define RMEM_CONN_TCP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/conn/address.h"

uint64_t tcp_deadline_ns(unsigned int timeout_ms);

/* A connected descriptor, or -errno with err text that names the server and the remedy. */
int tcp_connect(const struct net_addr *a, uint64_t deadline_ns);

/*
 * Listens. @a->port is the real one afterwards. A descriptor or -errno with err text.
 */
int tcp_listen(struct net_addr *a) __attribute__((warn_unused_result));

/* The connection outlives so many seconds in which nothing is heard of the other side, or
 * half a minute if that is more. */
void tcp_set_patience(int fd, unsigned int seconds);

/* A connected descriptor and in @peer its address; -EAGAIN when nobody waits. */
int tcp_accept(int listen_fd, char *peer, size_t peer_bytes);

/* How many bytes went or came, at once: -EAGAIN none, -EPIPE the peer is gone. */
ssize_t tcp_send_now(int fd, const void *buf, size_t bytes);
ssize_t tcp_recv_now(int fd, void *buf, size_t max_bytes);

/* All of them, waiting until @deadline_ns: 0, -ETIMEDOUT, -EPIPE, another -errno. */
int tcp_send_until(int fd, const void *buf, size_t bytes, uint64_t deadline_ns)
	__attribute__((warn_unused_result));
int tcp_recv_until(int fd, void *buf, size_t bytes, uint64_t deadline_ns)
	__attribute__((warn_unused_result));

/* No more is said; the peer reads to the end. */
void tcp_finish(int fd);

/* Both directions end: whatever waits on @fd comes back. It stays open. */
void tcp_cut(int fd);

#endif
