/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn shm: messages over a Unix SOCK_SEQPACKET socket on one machine, a
 * descriptor beside a message where one is handed over. Knows no message.
 * Sockets are non-blocking and close-on-exec; nothing here raises SIGPIPE.
 */
#ifndef RMEM_CONN_SHM_H
#define RMEM_CONN_SHM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A connected descriptor or -errno with err text that names @path. */
int shm_connect(const char *path, unsigned int timeout_ms);

struct shm_listener {
	int fd; /* -1: none */
	char path[108];
	dev_t dev;
	ino_t ino;
};

/*
 * Listens on @path, mode 0600. A socket that was left behind by a dead server
 * is replaced; anything else there is refused. 0 or -errno with err text.
 */
int shm_listen(const char *path, struct shm_listener *out) __attribute__((warn_unused_result));

/* Stops listening and removes the path, if it is still this listener's. */
void shm_unlisten(struct shm_listener *l);

/* A connected descriptor; -EAGAIN when nobody waits; another -errno. */
int shm_accept(const struct shm_listener *l);

/* Makes an inherited socket fit; -errno with err text when it is none. */
int shm_adopt(int fd);

/* Who connected. 0 or -errno. */
int shm_peer(int fd, uid_t *uid, pid_t *pid) __attribute__((warn_unused_result));

/*
 * One message, and @pass_fd beside it unless -1 (borrowed). 0; -EAGAIN when the peer
 * does not read; -EPIPE when it is gone; another -errno.
 */
int shm_send(int fd, const void *buf, size_t bytes, int pass_fd)
	__attribute__((warn_unused_result));

/*
 * One message into @buf. Returns its length (> 0). *@got_fd is the descriptor that came
 * with it, yours, or -1; when @got_fd is NULL a message with one is refused.
 *   -EAGAIN    none there
 *   -EPIPE     the peer is gone
 *   -EMSGSIZE  longer than @max_bytes
 *   -EBADMSG   with more descriptors than allowed (closed again)
 */
ssize_t shm_recv(int fd, void *buf, size_t max_bytes, int *got_fd)
	__attribute__((warn_unused_result));

/* The same, waiting until @deadline_ns (CLOCK_MONOTONIC); -ETIMEDOUT. */
ssize_t shm_recv_until(int fd, void *buf, size_t max_bytes, int *got_fd, uint64_t deadline_ns)
	__attribute__((warn_unused_result));

uint64_t shm_deadline_ns(unsigned int timeout_ms);

#endif
