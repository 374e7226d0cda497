/* SPDX-License-Identifier: Apache-2.0 */
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "server/client.h"

#define EVENTS_AT_ONCE	 64
#define HELLO_TIMEOUT_MS 5000
#define NO_RESOURCE_NS	 10000000L /* pause when accept() has none */

static int watch(const struct server *s, int fd, void *what)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = what};

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev)
		       ? err_set(-errno, "can't watch a descriptor: %s", strerror(errno))
		       : 0;
}

static void tell_exporter(struct server *s)
{
	s->numbers.capacity_bytes = s->bank.capacity_bytes;
	s->numbers.reserved_bytes = s->bank.reserved_bytes;
	s->numbers.leased_bytes = s->bank.leased_bytes;
	s->numbers.nr_clients = s->nr_clients;
	exporter_update(&s->exporter, &s->numbers);
}

static void tell_systemd(const struct server *s)
{
	char leased[32], capacity[32];

	sd_notifyf(0, "STATUS=%u clients, %s of %s reserved%s", s->nr_clients,
		   units_format_size(leased, sizeof(leased), s->bank.reserved_bytes),
		   units_format_size(capacity, sizeof(capacity), s->bank.capacity_bytes),
		   s->drain_deadline_ns ? ", stopping" : "");
}

/* Takes @fd. @timeout_ms for its HELLO; 0: none. */
static int add_client(struct server *s, int fd, unsigned int timeout_ms)
{
	struct client *c;
	int rc = client_open(fd, &c);

	if (rc)
		return rc;
	rc = watch(s, fd, c);
	if (rc) {
		client_close(c);
		return rc;
	}
	c->deadline_ns = timeout_ms ? shm_deadline_ns(timeout_ms) : 0;
	c->next = s->clients;
	s->clients = c;
	s->nr_clients++;
	return 0;
}

static void drop_client(struct server *s, struct client *c)
{
	struct client **at = &s->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	s->nr_clients--;
	client_close(c);
}

static void admit(struct server *s, int fd)
{
	pid_t pid = 0;
	uid_t uid;
	int rc;

	if (shm_peer(fd, &uid, &pid) || (uid != geteuid() && uid != 0)) {
		log_warn("refused a client of another user pid=%d", (int)pid);
		client_refuse(fd, -EPERM, 0, WIRE_ERR_DENIED,
			      "this server serves the user who started it, and root");
		s->numbers.refused_clients++;
		close(fd);
	} else if (s->nr_clients >= SERVER_MAX_CLIENTS) {
		log_warn("refused a client: too many pid=%d", (int)pid);
		client_refuse(fd, -EBUSY, 0, WIRE_ERR_TOO_MANY_CLIENTS,
			      "this server has its 1024 clients already");
		s->numbers.refused_clients++;
		close(fd);
	} else {
		rc = add_client(s, fd, HELLO_TIMEOUT_MS);
		if (rc)
			log_error("can't take a client pid=%d: %s", (int)pid, err_text(rc));
	}
}

static void on_connect(struct server *s, const struct shm_listener *l)
{
	const struct timespec pause = {.tv_nsec = NO_RESOURCE_NS};
	int fd = shm_accept(l);

	if (fd >= 0) {
		admit(s, fd);
	} else if (fd != -EAGAIN && fd != -ECONNABORTED && fd != -EINTR) {
		log_warn("can't accept path=%s: %s", l->path, strerror(-fd));
		nanosleep(&pause, NULL);
	}
}

static void close_listeners(struct server *s)
{
	for (unsigned int i = 0; i < s->nr_listeners; i++)
		shm_unlisten(&s->listener[i]);
	s->nr_listeners = 0;
}

static void on_signal(struct server *s)
{
	struct signalfd_siginfo info;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (s->drain_deadline_ns) {
		log_info("stopping at once");
		s->stop = true;
		return;
	}
	s->drain_deadline_ns = shm_deadline_ns(s->drain_timeout_ms);
	close_listeners(s);
	sd_notify(0, "STOPPING=1");
	if (s->nr_clients)
		log_info("stopping when %u clients have gone, at the latest in %u s", s->nr_clients,
			 s->drain_timeout_ms / 1000);
}

static void on_client(struct server *s, struct client *c)
{
	int rc = client_serve(c, s);

	if (!rc)
		return;
	if (rc != -EPIPE)
		log_warn("dropped a client name=%s pid=%d: %s", c->name, (int)c->pid,
			 strerror(-rc));
	drop_client(s, c);
}

static bool is_listener(const struct server *s, const void *what)
{
	return (const char *)what >= (const char *)s->listener &&
	       (const char *)what < (const char *)(s->listener + OPTIONS_MAX_LISTEN);
}

static void on_event(struct server *s, void *what)
{
	if (what == s)
		on_signal(s);
	else if (!is_listener(s, what))
		on_client(s, what);
	else if (!s->drain_deadline_ns)
		on_connect(s, what);
}

/* Drops who never said HELLO; returns when to look again. */
static uint64_t expire(struct server *s)
{
	uint64_t now_ns = shm_deadline_ns(0), next_ns = UINT64_MAX;
	struct client *c, *next;

	if (s->drain_deadline_ns) {
		next_ns = s->drain_deadline_ns;
		if (now_ns >= next_ns && s->nr_clients)
			log_warn("cut off %u clients: they did not go in time", s->nr_clients);
		s->stop |= now_ns >= next_ns;
	}
	for (c = s->clients; c; c = next) {
		next = c->next;
		if (!c->deadline_ns)
			continue;
		if (now_ns >= c->deadline_ns) {
			log_warn("dropped a client that said nothing pid=%d", (int)c->pid);
			drop_client(s, c);
		} else if (c->deadline_ns < next_ns) {
			next_ns = c->deadline_ns;
		}
	}
	return next_ns;
}

static int timeout_ms(uint64_t deadline_ns)
{
	uint64_t now_ns = shm_deadline_ns(0);

	if (deadline_ns == UINT64_MAX)
		return -1;
	return deadline_ns <= now_ns ? 0 : (int)((deadline_ns - now_ns) / 1000000) + 1;
}

static bool is_over(const struct server *s)
{
	if (s->stop)
		return true;
	return s->nr_clients == 0 && (s->drain_deadline_ns || (s->once && s->had_client));
}

int server_run(struct server *s)
{
	struct epoll_event ev[EVENTS_AT_ONCE];

	while (!is_over(s)) {
		int n;

		tell_systemd(s);
		tell_exporter(s);
		n = epoll_wait(s->epoll_fd, ev, EVENTS_AT_ONCE, timeout_ms(expire(s)));
		if (n < 0 && errno != EINTR)
			return err_set(-errno, "can't wait for events: %s", strerror(errno));
		/* One descriptor, one event: none below can be of a client dropped here. */
		for (int i = 0; i < n; i++)
			on_event(s, ev[i].data.ptr);
	}
	return 0;
}

static int open_signals(struct server *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->signal_fd < 0 || s->epoll_fd < 0)
		return err_set(-errno, "can't set up: %s", strerror(errno));
	return watch(s, s->signal_fd, s);
}

/* The private server's one client: trusted, and the end of the server when it goes. */
static int open_inherited(struct server *s, int fd)
{
	int rc = shm_adopt(fd);

	if (rc)
		return err_set(rc, "--listen shm:fd=%d: %s", fd, err_text(rc));
	s->had_client = true;
	return add_client(s, fd, 0);
}

int server_open(struct server *s, const struct options *o)
{
	int rc;

	*s = (struct server){.next_session = 1,
			     .drain_timeout_ms = o->drain_timeout_ms,
			     .once = o->once,
			     .epoll_fd = -1,
			     .signal_fd = -1};
	bank_init(&s->bank, o->capacity_bytes, o->node);
	rc = open_signals(s);
	if (!rc)
		rc = exporter_open(&s->exporter, o->metrics);
	if (!rc && o->client_fd >= 0)
		rc = open_inherited(s, o->client_fd);
	for (unsigned int i = 0; i < o->nr_listen && !rc; i++) {
		rc = shm_listen(o->listen_path[i], &s->listener[i]);
		if (rc)
			break;
		s->nr_listeners++;
		rc = watch(s, s->listener[i].fd, &s->listener[i]);
	}
	return rc;
}

void server_close(struct server *s)
{
	close_listeners(s);
	while (s->clients)
		drop_client(s, s->clients);
	exporter_close(&s->exporter);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
}
