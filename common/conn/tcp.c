/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/compat.h"
#include "common/conn/address.h"

#define BACKLOG		128
#define KEEP_IDLE_S	15 /* silence, then a probe each ... */
#define KEEP_INTERVAL_S 5
#define KEEP_PROBES	3
#define UNACKED_MS	30000U /* sent, and nothing heard of it */
#define RETRY_MS	5000U

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

uint64_t tcp_deadline_ns(unsigned int timeout_ms)
{
	return now_ns() + (uint64_t)timeout_ms * 1000000ULL;
}

/* A peer that vanished without a word ends the connection within half a minute. */
static void set_options(int fd)
{
	static const struct {
		int level, name, value;
	} option[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEP_PROBES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, (int)UNACKED_MS},
	};

	for (size_t i = 0; i < sizeof(option) / sizeof(option[0]); i++)
		if (setsockopt(fd, option[i].level, option[i].name, &option[i].value,
			       sizeof(option[i].value)))
			continue; /* the deadlines of requests hold without it */
}

/* Keepalive goes by the same limit (tcp_keepalive_timer(), net/ipv4/tcp_timer.c). When the
 * other side is back, that is to be noticed before two minutes: kernels from 6.15 on. */
void tcp_set_patience(int fd, unsigned int seconds)
{
	unsigned int ms = seconds * 1000, retry_ms = RETRY_MS;

	if (ms < UNACKED_MS)
		return;
	if (setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)))
		log_warn("a connection can't be made patient: %s", strerror(errno));
	if (setsockopt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, &retry_ms, sizeof(retry_ms)))
		log_debug("retries come as rarely as every 2 minutes");
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

static int connect_one(const struct addrinfo *ai, uint64_t deadline_ns)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(int);
	int rc = 0;

	if (fd < 0)
		return -errno;
	set_options(fd);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen)) {
		rc = errno == EINPROGRESS ? wait_for(fd, POLLOUT, deadline_ns) : -errno;
		if (!rc && getsockopt(fd, SOL_SOCKET, SO_ERROR, &rc, &len) == 0)
			rc = -rc;
	}
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static int say_why_not(const struct net_addr *a, int code)
{
	char name[NET_NAME_MAX_BYTES];

	net_addr_format(name, sizeof(name), a);
	switch (code) {
	case -ECONNREFUSED:
		return err_set(code,
			       "server %s: nobody listens there: start rmemd --listen tcp::%u",
			       name, a->port);
	case -ETIMEDOUT:
		return err_set(code,
			       "server %s did not answer in time: is the address right, and does a "
			       "firewall let port %u through?",
			       name, a->port);
	case -ENETUNREACH:
	case -EHOSTUNREACH:
		return err_set(code,
			       "server %s can't be reached from here: check address and routes",
			       name);
	default:
		return err_set(code, "server %s: can't connect: %s", name, strerror(-code));
	}
}

int tcp_connect(const struct net_addr *a, uint64_t deadline_ns)
{
	struct addrinfo *list = NULL;
	unsigned int left = 0;
	int rc = net_resolve(a, deadline_ns, &list);

	if (rc)
		return rc;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
		left++;
	rc = -ETIMEDOUT;
	/* None of several addresses may use up the time of all. */
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next, left--) {
		uint64_t now = now_ns();

		if (now >= deadline_ns)
			break;
		rc = connect_one(ai, now + (deadline_ns - now) / left);
		if (rc >= 0)
			break;
	}
	freeaddrinfo(list);
	return rc >= 0 ? rc : say_why_not(a, rc);
}

static int cannot_listen(const struct net_addr *a, int code)
{
	char name[NET_NAME_MAX_BYTES];

	net_addr_format(name, sizeof(name), a);
	if (code == -EADDRINUSE)
		return err_set(code, "%s: somebody listens there already: name another port", name);
	if (code == -EADDRNOTAVAIL)
		return err_set(code, "%s: not an address of this machine: see ip address", name);
	if (code == -EACCES)
		return err_set(code, "%s: this user may not use that port: name one above 1023",
			       name);
	return err_set(code, "%s: can't listen: %s", name, strerror(-code));
}

static uint16_t port_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)ss;

	return ntohs(ss->ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

/* One socket for both families, where the address is every address. */
static int listen_one(const struct sockaddr *sa, socklen_t len, uint16_t *port)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage got;
	socklen_t got_len = sizeof(got);
	const int on = 1, off = 0;
	int rc;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (sa->sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off))) ||
	    bind(fd, sa, len) || listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&got, &got_len)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	*port = port_of(&got);
	return fd;
}

static int listen_everywhere(struct net_addr *a)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(a->port)};
	int fd = listen_one((const struct sockaddr *)&v6, sizeof(v6), &a->port);

	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		fd = listen_one((const struct sockaddr *)&v4, sizeof(v4), &a->port);
	return fd;
}

int tcp_listen(struct net_addr *a)
{
	struct addrinfo *list;
	int fd;

	if (!a->host[0]) {
		fd = listen_everywhere(a);
		return fd >= 0 ? fd : cannot_listen(a, fd);
	}
	fd = net_resolve(a, tcp_deadline_ns(5000), &list);
	if (fd)
		return fd;
	fd = listen_one(list->ai_addr, list->ai_addrlen, &a->port);
	freeaddrinfo(list);
	return fd >= 0 ? fd : cannot_listen(a, fd);
}

int tcp_accept(int listen_fd, char *peer, size_t peer_bytes)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char host[64] = "?";
	int fd = accept4(listen_fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	set_options(fd);
	if (getnameinfo((struct sockaddr *)&ss, len, host, sizeof(host), NULL, 0, NI_NUMERICHOST))
		snprintf(host, sizeof(host), "?");
	snprintf(peer, peer_bytes, "%s:%u", host, port_of(&ss));
	return fd;
}

static bool is_gone(int code)
{
	return code == ECONNRESET || code == EPIPE;
}

ssize_t tcp_send_now(int fd, const void *buf, size_t bytes)
{
	ssize_t n;

	do {
		n = send(fd, buf, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n >= 0 ? n : is_gone(errno) ? -EPIPE : -errno;
}

ssize_t tcp_recv_now(int fd, void *buf, size_t max_bytes)
{
	ssize_t n;

	do {
		n = recv(fd, buf, max_bytes, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	return n == 0 || is_gone(errno) ? -EPIPE : -errno;
}

int tcp_send_until(int fd, const void *buf, size_t bytes, uint64_t deadline_ns)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = tcp_send_now(fd, (const char *)buf + done, bytes - done);

		if (n == -EAGAIN)
			n = wait_for(fd, POLLOUT, deadline_ns);
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

int tcp_recv_until(int fd, void *buf, size_t bytes, uint64_t deadline_ns)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = tcp_recv_now(fd, (char *)buf + done, bytes - done);

		if (n == -EAGAIN)
			n = wait_for(fd, POLLIN, deadline_ns);
		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

void tcp_finish(int fd)
{
	shutdown(fd, SHUT_WR);
}

void tcp_cut(int fd)
{
	shutdown(fd, SHUT_RDWR);
}
