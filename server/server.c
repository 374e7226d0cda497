/* SPDX-License-Identifier: Apache-2.0 */
#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "common/conn/tcp_ring.h"
#include "server/client.h"
#include "server/peer.h"
#include "server/rdma.h"
#include "server/tcp.h"

#define EVENTS_AT_ONCE 64
#define NO_RESOURCE_NS 10000000L /* pause when accept() has none */

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

void server_set_deadline(struct server *s, struct client *c, uint64_t deadline_ns)
{
	c->deadline_ns = deadline_ns;
	if (deadline_ns && deadline_ns < s->expiry_ns)
		s->expiry_ns = deadline_ns;
}

void server_add(struct server *s, struct client *c, unsigned int timeout_ms)
{
	server_set_deadline(s, c, timeout_ms ? shm_deadline_ns(timeout_ms) : 0);
	c->next = s->clients;
	s->clients = c;
	s->nr_clients++;
}

void server_drop(struct server *s, struct client *c)
{
	struct client **at = &s->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	s->nr_clients--;
	client_close(s, c);
}

/* Takes @fd. */
static int add_client(struct server *s, int fd, unsigned int timeout_ms)
{
	struct client *c;
	int rc = client_open(fd, &c);

	if (rc)
		return rc;
	rc = watch(s, fd, c);
	if (rc)
		client_close(s, c);
	else
		server_add(s, c, timeout_ms);
	return rc;
}

static void turn_away(struct server *s, int fd, enum wire_error_code code, const char *text)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = client_refusal(buf, code, text);

	if (shm_send(fd, buf, bytes, -1))
		log_debug("a refusal was not read text=%s", text);
	s->numbers.refused_clients++;
	close(fd);
}

static void admit(struct server *s, int fd)
{
	pid_t pid = 0;
	uid_t uid;
	int rc;

	if (shm_peer(fd, &uid, &pid) || (uid != geteuid() && uid != 0)) {
		log_warn("refused a client of another user pid=%d", (int)pid);
		turn_away(s, fd, WIRE_ERR_DENIED,
			  "this server serves the user who started it, and root");
	} else if (s->nr_clients >= SERVER_MAX_CLIENTS) {
		log_warn("refused a client: too many pid=%d", (int)pid);
		turn_away(s, fd, WIRE_ERR_TOO_MANY_CLIENTS,
			  "this server has its 1024 clients already");
	} else {
		rc = add_client(s, fd, SERVER_HELLO_TIMEOUT_MS);
		if (rc)
			log_error("can't take a client pid=%d: %s", (int)pid, err_text(rc));
	}
}

static void cannot_accept(int code, const char *where)
{
	const struct timespec pause = {.tv_nsec = NO_RESOURCE_NS};

	if (code == -EAGAIN || code == -ECONNABORTED || code == -EINTR)
		return;
	log_warn("can't accept %s: %s", where, strerror(-code));
	nanosleep(&pause, NULL);
}

static void on_connect(struct server *s, const struct shm_listener *l)
{
	int fd = shm_accept(l);

	if (fd >= 0)
		admit(s, fd);
	else
		cannot_accept(fd, l->path);
}

static void on_tcp_connect(struct server *s, const struct tcp_listener *l)
{
	char name[NET_NAME_MAX_BYTES];
	int rc = tcp_admit(s, l->fd);

	if (rc)
		cannot_accept(rc, net_addr_format(name, sizeof(name), &l->addr));
}

static void close_listeners(struct server *s)
{
	for (unsigned int i = 0; i < s->nr_listeners; i++)
		shm_unlisten(&s->listener[i]);
	for (unsigned int i = 0; i < s->nr_tcp_listeners; i++)
		close(s->tcp_listener[i].fd);
	nic_unlisten(s);
	s->nr_listeners = s->nr_tcp_listeners = 0;
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
		log_warn("dropped a client name=%s %s: %s", c->name, c->who, strerror(-rc));
	server_drop(s, c);
}

static bool is_within(const void *what, const void *array, size_t bytes)
{
	return (const char *)what >= (const char *)array &&
	       (const char *)what < (const char *)array + bytes;
}

static void on_event(struct server *s, void *what)
{
	bool is_shm = is_within(what, s->listener, sizeof(s->listener));
	bool is_tcp = is_within(what, s->tcp_listener, sizeof(s->tcp_listener));

	if (what == s)
		on_signal(s);
	else if (what == s->nic)
		nic_serve(s);
	else if (!is_shm && !is_tcp)
		on_client(s, what);
	else if (s->drain_deadline_ns)
		return;
	else if (is_shm)
		on_connect(s, what);
	else
		on_tcp_connect(s, what);
}

static void drop_late(struct server *s, struct client *c)
{
	c->deadline_ns = 0;
	if (!c->is_refused && !c->is_broken && (!c->peer || c->peer->state == PEER_OPEN))
		log_warn("dropped a client that said nothing %s", c->who);
	if (c->peer)
		tcp_cut_off(s, c);
	else if (c->verbs)
		nic_cut_off(s, c);
	else
		server_drop(s, c);
}

static struct client *find_late(const struct server *s, uint64_t now_ns)
{
	struct client *c = s->clients;

	while (c && (!c->deadline_ns || now_ns < c->deadline_ns))
		c = c->next;
	return c;
}

/* Drops whose time is over, each maybe with the other connection of its session. */
static void expire_clients(struct server *s, uint64_t now_ns)
{
	struct client *late;

	if (now_ns < s->expiry_ns)
		return;
	while ((late = find_late(s, now_ns)))
		drop_late(s, late);
	s->expiry_ns = UINT64_MAX;
	for (struct client *c = s->clients; c; c = c->next)
		server_set_deadline(s, c, c->deadline_ns);
}

/* Returns when to look again. */
static uint64_t expire(struct server *s)
{
	uint64_t now_ns = shm_deadline_ns(0);

	expire_clients(s, now_ns);
	if (!s->drain_deadline_ns)
		return s->expiry_ns;
	if (now_ns >= s->drain_deadline_ns && s->nr_clients)
		log_warn("cut off %u clients: they did not go in time", s->nr_clients);
	s->stop |= now_ns >= s->drain_deadline_ns;
	return s->drain_deadline_ns < s->expiry_ns ? s->drain_deadline_ns : s->expiry_ns;
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

/* Whatever is waited for in epoll and has come, within @timeout. */
static int run_epoll(struct server *s, int timeout)
{
	struct epoll_event ev[EVENTS_AT_ONCE];
	int n = epoll_wait(s->epoll_fd, ev, EVENTS_AT_ONCE, timeout);

	if (n < 0 && errno != EINTR)
		return err_set(-errno, "can't wait for events: %s", strerror(errno));
	/* One descriptor, one event: none below can be of a client dropped here. */
	for (int i = 0; i < n; i++)
		on_event(s, ev[i].data.ptr);
	if (n)
		tell_systemd(s);
	tell_exporter(s);
	return 0;
}

int server_run(struct server *s)
{
	int rc = 0;

	tell_systemd(s);
	while (!rc && !is_over(s)) {
		bool epoll_is_ready = false;
		int timeout = timeout_ms(expire(s));

		if (!s->ring) {
			rc = run_epoll(s, timeout);
			continue;
		}
		rc = tcp_run(s, timeout, &epoll_is_ready);
		if (!rc && epoll_is_ready) {
			rc = run_epoll(s, 0);
			tcp_watch(s);
		}
	}
	return rc;
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

static int open_shm(struct server *s, const char *path)
{
	struct shm_listener *l = &s->listener[s->nr_listeners];
	int rc = shm_listen(path, l);

	if (rc)
		return rc;
	s->nr_listeners++;
	return watch(s, l->fd, l);
}

static int open_tcp(struct server *s, const struct net_addr *a)
{
	struct tcp_listener *l = &s->tcp_listener[s->nr_tcp_listeners];
	int rc = s->ring ? 0 : tcp_begin(s);

	if (rc)
		return rc;
	l->addr = *a;
	l->fd = tcp_listen(&l->addr);
	if (l->fd < 0)
		return l->fd;
	s->nr_tcp_listeners++;
	return watch(s, l->fd, l);
}

static int open_rdma(struct server *s, const struct net_addr *a)
{
	bool is_first = !s->nic;
	int rc;

	s->rdma_addr[s->nr_rdma] = *a;
	rc = nic_listen(s, &s->rdma_addr[s->nr_rdma]);
	if (rc)
		return rc;
	s->nr_rdma++;
	return is_first ? watch(s, nic_fd(s), s->nic) : 0;
}

int server_open(struct server *s, const struct options *o)
{
	uint32_t epoch;
	int rc;

	*s = (struct server){.next_session = 1,
			     .expiry_ns = UINT64_MAX,
			     .drain_timeout_ms = o->drain_timeout_ms,
			     .once = o->once,
			     .epoll_fd = -1,
			     .signal_fd = -1};
	if (getrandom(&epoch, sizeof(epoch), 0) != sizeof(epoch))
		return err_set(-EIO, "no random numbers: %s", strerror(errno));
	bank_init(&s->bank, o->capacity_bytes, o->node, epoch);
	rc = open_signals(s);
	if (!rc)
		rc = exporter_open(&s->exporter, o->metrics);
	if (!rc && o->client_fd >= 0)
		rc = open_inherited(s, o->client_fd);
	for (unsigned int i = 0; i < o->nr_listen && !rc; i++)
		rc = open_shm(s, o->listen_path[i]);
	for (unsigned int i = 0; i < o->nr_tcp && !rc; i++)
		rc = open_tcp(s, &o->tcp[i]);
	for (unsigned int i = 0; i < o->nr_rdma && !rc; i++)
		rc = open_rdma(s, &o->rdma[i]);
	return rc;
}

void server_close(struct server *s)
{
	close_listeners(s);
	tcp_ring_close(s->ring); /* nothing is received into slabs any more */
	while (s->clients)
		server_drop(s, s->clients);
	nic_end(s);
	exporter_close(&s->exporter);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
}
