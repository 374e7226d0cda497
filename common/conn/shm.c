/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"

#define MAX_FDS_TAKEN 4 /* room for what a peer may send, so that it can be closed */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

uint64_t shm_deadline_ns(unsigned int timeout_ms)
{
	return now_ns() + (uint64_t)timeout_ms * 1000000ULL;
}

int shm_adopt(int fd)
{
	int type = 0, domain = 0;
	socklen_t len = sizeof(int);
	struct sockaddr peer;
	socklen_t peer_len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_SEQPACKET ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) || domain != AF_UNIX ||
	    getpeername(fd, &peer, &peer_len))
		return err_set(-ENOTSOCK, "descriptor %d is not a connected Unix packet socket",
			       fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, O_NONBLOCK))
		return -errno;
	return 0;
}

int shm_peer(int fd, uid_t *uid, pid_t *pid)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return -errno;
	*uid = cred.uid;
	*pid = cred.pid;
	return 0;
}

int shm_send(int fd, const void *buf, size_t bytes, int pass_fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} ctl = {0};
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (pass_fd >= 0) {
		struct cmsghdr *c = &ctl.align;

		msg.msg_control = ctl.room;
		msg.msg_controllen = sizeof(ctl.room);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));
	}
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == ECONNRESET ? -EPIPE : -errno;
}

/* Descriptors that came; the ones beyond @max are closed. Returns how many came. */
static unsigned int take_fds(struct msghdr *msg, int *fd, unsigned int max)
{
	unsigned int nr = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t off = 0; off + sizeof(int) <= c->cmsg_len - CMSG_LEN(0);
		     off += sizeof(int)) {
			int one;

			memcpy(&one, CMSG_DATA(c) + off, sizeof(int));
			if (nr++ < max)
				*fd = one;
			else
				close(one);
		}
	}
	return nr;
}

ssize_t shm_recv(int fd, void *buf, size_t max_bytes, int *got_fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(MAX_FDS_TAKEN * sizeof(int))];
	} ctl;
	struct iovec iov = {.iov_base = buf, .iov_len = max_bytes};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = ctl.room,
			     .msg_controllen = sizeof(ctl.room)};
	unsigned int allowed = got_fd ? 1 : 0, nr_fds;
	unsigned int resets = 0;
	int came = -1;
	ssize_t n;

	/* A reset is told first, once; the peer's last words come after it. */
	do {
		n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	nr_fds = take_fds(&msg, &came, allowed);
	if (n > 0 && nr_fds <= allowed && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		if (got_fd)
			*got_fd = came;
		return n;
	}
	if (came >= 0)
		close(came);
	if (n == 0)
		return -EPIPE;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	/* Cut off without one that came: there was no number for it. */
	return msg.msg_flags & MSG_CTRUNC && allowed && nr_fds < allowed ? -EMFILE : -EBADMSG;
}

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = now_ns();
		int n;

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		n = poll(&p, 1, (int)((deadline_ns - now) / 1000000) + 1);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

ssize_t shm_recv_until(int fd, void *buf, size_t max_bytes, int *got_fd, uint64_t deadline_ns)
{
	for (;;) {
		ssize_t n = shm_recv(fd, buf, max_bytes, got_fd);

		if (n == -EAGAIN)
			n = wait_for(fd, POLLIN, deadline_ns);
		if (n)
			return n;
	}
}
