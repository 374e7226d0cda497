/* SPDX-License-Identifier: Apache-2.0 */
/* The store tcp, against the real rmemd and against servers that misbehave. */
#include "tests/server/harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/store/pool.h"
#include "common/base/err.h"
#include "common/base/units.h"

#define NR_BUFS 1024U

static struct rmemd r;
static char *bufs; /* NR_BUFS pages */

static char *buf_at(uint32_t i)
{
	return bufs + i * PAGE_BYTES;
}

static int prepare(void **state)
{
	(void)state;
	rmemd_prepare(&r);
	bufs = mmap(NULL, NR_BUFS * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	return bufs == MAP_FAILED;
}

static int cleanup(void **state)
{
	(void)state;
	munmap(bufs, NR_BUFS * PAGE_BYTES);
	rmemd_cleanup(&r);
	return 0;
}

static int open_rest(const char *rest, const char *timeout, uint64_t bytes, unsigned int ms,
		     struct store **out)
{
	struct spec spec = {.scheme = (char *)"tcp", .rest = (char *)rest};
	struct store_open_args args = {.bytes = bytes, .sock_fd = -1, .timeout_ms = ms};

	if (timeout) {
		spec.param[0] =
			(struct spec_param){.key = (char *)"timeout", .value = (char *)timeout};
		spec.nr_params = 1;
	}
	err_clear();
	return store_tcp_type.open(&spec, &args, out);
}

static struct store *open_tcp(uint64_t bytes, const char *timeout)
{
	struct store *s = NULL;

	assert_int_equal(open_rest(r.tcp_rest, timeout, bytes, PATIENCE_MS, &s), 0);
	assert_int_equal(s->nr_slots, bytes / PAGE_BYTES);
	return s;
}

static void fill(char *page, uint64_t slot, uint32_t generation)
{
	uint64_t *w = (uint64_t *)page;

	for (size_t i = 0; i < PAGE_BYTES / 8; i++)
		w[i] = slot * 1000003 + generation * 7919ULL + i;
}

static bool is_filled(const char *page, uint64_t slot, uint32_t generation)
{
	const uint64_t *w = (const uint64_t *)page;

	for (size_t i = 0; i < PAGE_BYTES / 8; i++)
		if (w[i] != slot * 1000003 + generation * 7919ULL + i)
			return false;
	return true;
}

/* Waits as the pager does. */
static int reap_some(struct store *s, struct store_done *out, unsigned int max)
{
	struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};
	int n = s->ops->reap(s, out, max);

	for (int i = 0; !n && i < 1000; i++) {
		int ready = poll(&p, 1, PATIENCE_MS);

		assert_true(ready == 1 || (ready < 0 && errno == EINTR));
		n = s->ops->reap(s, out, max);
	}
	return n;
}

/* ---- many requests, any order ---- */

#define NR_SLOTS 3000U

struct load {
	struct store *store;
	uint32_t generation[NR_SLOTS]; /* what was written last; 0: zeros */
	bool busy[NR_SLOTS];
	bool used[NR_BUFS]; /* buffer and tag in flight */
	struct store_req req[NR_BUFS];
	unsigned int in_flight;
	uint64_t slot_step;
};

static uint32_t pick_buf(struct load *l)
{
	uint32_t i = (uint32_t)rand() % NR_BUFS;

	while (l->used[i])
		i = (i + 1) % NR_BUFS;
	return i;
}

/* A run of neighbours, or single ones anywhere; never two for a slot. */
static unsigned int make_batch(struct load *l, struct store_req *req, unsigned int max)
{
	unsigned int n = 0;
	bool is_run = rand() % 2, is_write = rand() % 2, urgent = rand() % 2;
	uint32_t at = (uint32_t)rand() % NR_SLOTS;

	for (unsigned int tries = 0; n < max && tries < 2 * max && l->in_flight + n < NR_BUFS;
	     tries++) {
		uint32_t b;

		at = is_run ? (at + 1) % NR_SLOTS : (uint32_t)rand() % NR_SLOTS;
		if (l->busy[at])
			continue;
		b = pick_buf(l);
		l->busy[at] = l->used[b] = true;
		req[n] = (struct store_req){.slot = at * l->slot_step,
					    .buf = buf_at(b),
					    .tag = b,
					    .op = is_write ? STORE_WRITE : STORE_READ,
					    .urgent = urgent && !is_write};
		if (is_write)
			fill(buf_at(b), at, l->generation[at] + 1);
		else
			memset(buf_at(b), 0xee, PAGE_BYTES);
		n++;
	}
	return n;
}

static void submit_batch(struct load *l, struct store_req *req, unsigned int n)
{
	int taken = l->store->ops->submit(l->store, req, n);

	assert_true(taken >= 0);
	for (unsigned int i = 0; i < n; i++) {
		if (i < (unsigned int)taken) {
			l->req[req[i].tag] = req[i];
			l->in_flight++;
		} else {
			l->busy[req[i].slot / l->slot_step] = false;
			l->used[req[i].tag] = false;
		}
	}
}

static void check_done(struct load *l, const struct store_done *d)
{
	const struct store_req *req = &l->req[d->tag];
	uint32_t at = (uint32_t)(req->slot / l->slot_step);

	assert_true(d->tag < NR_BUFS && l->used[d->tag]); /* once, and asked for */
	assert_int_equal(d->res, 0);
	if (req->op == STORE_WRITE)
		l->generation[at]++;
	else if (l->generation[at])
		assert_true(is_filled(req->buf, at, l->generation[at]));
	else
		assert_int_equal(*(uint64_t *)req->buf, 0);
	l->busy[at] = l->used[d->tag] = false;
	l->in_flight--;
}

static void run_load(struct store *s, unsigned int rounds)
{
	struct load *l = calloc(1, sizeof(*l));
	struct store_req req[64];
	struct store_done done[64];

	assert_non_null(l);
	l->store = s;
	l->slot_step = (s->nr_slots - 1) / NR_SLOTS; /* over all slabs and parts ... */
	if (rand() % 2)
		l->slot_step = 1; /* ... or neighbours */
	for (unsigned int i = 0; i < rounds || l->in_flight; i++) {
		int n = 0;

		if (i < rounds)
			submit_batch(l, req, make_batch(l, req, (unsigned int)rand() % 64 + 1));
		if (l->in_flight)
			n = reap_some(s, done, (unsigned int)rand() % 64 + 1);
		assert_true(n >= 0);
		for (int k = 0; k < n; k++)
			check_done(l, &done[k]);
	}
	assert_int_equal(s->ops->reap(s, done, 64), 0);
	free(l);
}

static void pages_come_back_in_any_order(void **state)
{
	(void)state;
	srand(1);
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "2G", NULL});
	for (int round = 0; round < 4; round++) {
		struct store *s = open_tcp(MIB(64) * 17 + 3 * PAGE_BYTES, NULL);

		run_load(s, 1000);
		s->ops->close(s);
		expect_free(&r, GIB(2));
	}
}

static void servers_of_every_kind_make_one_pool(void **state)
{
	const struct spec ram = {.scheme = (char *)"ram", .rest = (char *)""};
	struct store_open_args args = {.bytes = MIB(70), .sock_fd = -1, .timeout_ms = PATIENCE_MS};

	(void)state;
	srand(2);
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "2G", NULL});
	for (int round = 0; round < 3; round++) {
		struct store *part[4], *pool;

		part[0] = open_tcp(MIB(70), NULL);
		assert_int_equal(store_open(&r, MIB(70), &part[1]), 0);
		assert_int_equal(store_ram_type.open(&ram, &args, &part[2]), 0);
		part[3] = open_tcp(MIB(70), NULL);
		assert_int_equal(store_pool_open(part, 4, &pool), 0);
		run_load(pool, 500);
		pool->ops->close(pool);
		expect_free(&r, GIB(2));
	}
}

static void slots_beyond_the_end_are_refused(void **state)
{
	struct store_req req[2] = {{.slot = 256, .buf = bufs, .tag = 1},
				   {.slot = UINT64_MAX, .buf = bufs, .tag = 2, .op = STORE_WRITE}};
	struct store_done done[2];
	struct store *s;

	(void)state;
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
	s = open_tcp(MIB(1), NULL);
	assert_int_equal(s->ops->submit(s, req, 2), 2);
	assert_int_equal(s->ops->reap(s, done, 2), 2);
	assert_int_equal(done[0].res, -ERANGE);
	assert_int_equal(done[1].res, -ERANGE);
	s->ops->close(s);
}

static unsigned int submit_writes(struct store *s, unsigned int nr)
{
	unsigned int taken = 0;

	for (; taken < nr; taken++) {
		struct store_req req = {.slot = taken * 2,
					.buf = buf_at(taken % NR_BUFS),
					.tag = taken,
					.op = STORE_WRITE};

		if (s->ops->submit(s, &req, 1) != 1)
			break;
	}
	return taken;
}

/* The server is stopped while a lot is on its way out, and asked for a page then. */
static void an_urgent_read_is_not_behind_what_leaves(void **state)
{
	struct store_req urgent = {.slot = 1, .buf = bufs, .tag = 99999, .urgent = true};
	struct store_done done;
	struct store *s;
	unsigned int taken, before = 0;

	(void)state;
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
	s = open_tcp(MIB(64), NULL);
	kill(r.pid, SIGSTOP);
	taken = submit_writes(s, 4000);
	assert_true(taken >= 1024 && taken < 4000); /* full, and not blocked */
	assert_int_equal(s->ops->submit(s, &urgent, 1), 1);
	kill(r.pid, SIGCONT);
	while (reap_some(s, &done, 1) == 1 && done.tag != 99999)
		before++;
	assert_int_equal(done.tag, 99999);
	assert_true(before < taken / 2);
	for (; before < taken; before++)
		assert_int_equal(reap_some(s, &done, 1), 1);
	assert_int_equal(s->ops->reap(s, &done, 1), 0);
	s->ops->close(s);
}

static void what_is_not_taken_yet_keeps_the_descriptor_readable(void **state)
{
	struct pollfd p = {.events = POLLIN};
	struct store_done done;
	struct store *s;

	(void)state;
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
	s = open_tcp(MIB(64), NULL);
	p.fd = s->ops->pollfd(s);
	assert_int_equal(poll(&p, 1, 50), 0);
	assert_int_equal(submit_writes(s, 300), 300);
	for (int i = 0; i < 300; i++) {
		while (s->ops->reap(s, &done, 1) != 1) {
			int ready = poll(&p, 1, PATIENCE_MS);

			assert_true(ready == 1 || errno == EINTR);
		}
	}
	assert_int_equal(s->ops->reap(s, &done, 1), 0);
	assert_int_equal(poll(&p, 1, 50), 0);
	s->ops->close(s);
}

/* ---- loss ---- */

static void expect_lost(struct store *s, const char *says)
{
	struct store_req req = {.slot = 0, .buf = bufs, .op = STORE_WRITE};
	struct store_done done[64];
	struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};
	int n = 0;

	for (int i = 0; n >= 0 && i < 1000; i++) {
		int ready = poll(&p, 1, PATIENCE_MS);

		assert_true(ready == 1 || (ready < 0 && errno == EINTR));
		n = s->ops->reap(s, NULL, 0);
		if (n >= 0)
			n = s->ops->reap(s, done, 64);
		for (int k = 0; k < n; k++)
			assert_int_equal(done[k].res, 0);
	}
	assert_int_equal(n, -EPIPE);
	if (!strstr(err_text(n), says))
		fail_msg("expected \"%s\" in \"%s\"", says, err_text(n));
	err_clear();
	assert_int_equal(s->ops->submit(s, &req, 1), -EPIPE);
	assert_int_equal(s->ops->reap(s, done, 1), -EPIPE);
	assert_int_equal(s->ops->reap(s, NULL, 0), -EPIPE);
	assert_non_null(strstr(err_text(-EPIPE), says));
	s->ops->close(s);
}

static void a_dead_server_is_noticed_at_once(void **state)
{
	char says[128];

	(void)state;
	for (int busy = 0; busy < 2; busy++) {
		struct store *s;

		rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
		s = open_tcp(MIB(64), NULL);
		if (busy)
			assert_true(submit_writes(s, 1000) > 0);
		kill(r.pid, SIGKILL);
		assert_int_equal(rmemd_wait(&r), 128 + SIGKILL);
		snprintf(says, sizeof(says), "server tcp:%s is gone", r.tcp_rest);
		expect_lost(s, says);
		unlink(r.path);
	}
}

static void a_stalled_server_is_given_up(void **state)
{
	struct store *s;
	uint64_t begin_ns, took_ms;

	(void)state;
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
	s = open_tcp(MIB(64), "1");
	usleep(1300000); /* being idle is no stall */
	assert_int_equal(s->ops->reap(s, NULL, 0), 0);
	kill(r.pid, SIGSTOP);
	assert_int_equal(submit_writes(s, 10), 10);
	begin_ns = tcp_deadline_ns(0);
	expect_lost(s, "has not answered for 1 s");
	took_ms = (tcp_deadline_ns(0) - begin_ns) / 1000000;
	assert_in_range(took_ms, 900, 3000);
	kill(r.pid, SIGCONT);
	expect_free(&r, GIB(1));
}

static void a_stopped_server_ends_the_lease(void **state)
{
	struct store *s;

	(void)state;
	rmemd_start_tcp(&r,
			(const char *const[]){"--capacity", "1G", "--drain-timeout", "0", NULL});
	s = open_tcp(MIB(64), NULL);
	kill(r.pid, SIGTERM);
	expect_lost(s, "is gone");
	assert_int_equal(rmemd_wait(&r), 0);
}

/* ---- opening ---- */

static void expect_open_fails(const char *rest, uint64_t bytes, int code, const char *says)
{
	struct store *s = NULL;

	assert_int_equal(open_rest(rest, NULL, bytes, 300, &s), code);
	assert_null(s);
	if (!strstr(err_text(code), says))
		fail_msg("expected \"%s\" in \"%s\"", says, err_text(code));
}

static void what_can_t_be_opened_is_said_with_the_remedy(void **state)
{
	uint64_t left, capacity;

	(void)state;
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
	expect_open_fails(r.tcp_rest, GIB(4), -ENOSPC,
			  "has 1.0 GiB free, 4.0 GiB wanted: start rmemd with --capacity 4G");
	expect_open_fails("127.0.0.1:1", MIB(4), -ECONNREFUSED, "nobody listens there");
	expect_open_fails("no-such-host.invalid:1", MIB(4), -ENOENT, "no machine of that name");
	expect_open_fails("127.0.0.1:70000", MIB(4), -EINVAL, "the port is not a number");
	expect_open_fails("127.0.0.1:0", MIB(4), -EINVAL, "the port is not a number");
	expect_open_fails("127.0.0.1:", MIB(4), -EINVAL, "the port is not a number");
	expect_open_fails("127.0.0.1:7770x", MIB(4), -EINVAL, "the port is not a number");
	expect_open_fails("127.0.0.1:-1", MIB(4), -EINVAL, "the port is not a number");
	expect_open_fails(":7770", MIB(4), -EINVAL, "names no machine");
	expect_open_fails("", MIB(4), -EINVAL, "names no machine");
	expect_open_fails("fd00::1", MIB(4), -EINVAL, "in brackets");
	expect_open_fails("[fd00::1", MIB(4), -EINVAL, "']' is missing");
	expect_open_fails("[]:1", MIB(4), -EINVAL, "nothing between");
	expect_open_fails("a/b:1", MIB(4), -EINVAL, "not a host and a port");
	assert_int_equal(store_tcp_type.probe(&r.tcp_spec, PATIENCE_MS, &left, &capacity), 0);
	assert_int_equal(left, GIB(1));
	assert_int_equal(capacity, GIB(1));
}

/* ---- servers that misbehave ---- */

struct fake {
	int listen_fd;
	int fd[2]; /* -1: not yet */
	void (*play)(struct fake *f);
};

static bool fake_recv(int fd, struct wire_msg *m)
{
	uint64_t deadline_ns = tcp_deadline_ns(PATIENCE_MS);
	uint8_t buf[WIRE_MAX_BYTES];
	int len;

	memset(m, 0, sizeof(*m));
	if (tcp_recv_until(fd, buf, WIRE_HEADER_BYTES, deadline_ns))
		return false;
	len = wire_length(buf, WIRE_HEADER_BYTES);
	return len > 0 &&
	       !tcp_recv_until(fd, buf + WIRE_HEADER_BYTES, (size_t)len - WIRE_HEADER_BYTES,
			       deadline_ns) &&
	       !wire_decode(buf, (size_t)len, m);
}

static void fake_send(int fd, const void *what, size_t bytes)
{
	if (tcp_send_until(fd, what, bytes, tcp_deadline_ns(PATIENCE_MS)))
		return;
}

static void fake_say(int fd, struct wire_msg m, uint64_t request)
{
	uint8_t buf[WIRE_MAX_BYTES];

	m.request = request;
	fake_send(fd, buf, wire_encode(&m, buf));
}

static int fake_accept(struct fake *f, int which)
{
	struct pollfd p = {.fd = f->listen_fd, .events = POLLIN};
	char peer[80];

	if (poll(&p, 1, PATIENCE_MS) == 1)
		f->fd[which] = tcp_accept(f->listen_fd, peer, sizeof(peer));
	return f->fd[which];
}

static void *run_fake(void *arg)
{
	struct fake *f = arg;

	if (fake_accept(f, 0) >= 0)
		f->play(f);
	for (int i = 0; i < 2; i++)
		if (f->fd[i] >= 0)
			close(f->fd[i]);
	return NULL;
}

static int open_against(void (*play)(struct fake *f), pthread_t *thread, struct fake *f,
			struct store **out)
{
	struct net_addr a = {.host = "127.0.0.1"};
	char rest[64];

	*f = (struct fake){.play = play, .fd = {-1, -1}, .listen_fd = tcp_listen(&a)};
	assert_true(f->listen_fd >= 0);
	assert_int_equal(pthread_create(thread, NULL, run_fake, f), 0);
	snprintf(rest, sizeof(rest), "127.0.0.1:%u", a.port);
	*out = NULL;
	return open_rest(rest, "2", MIB(4), 400, out);
}

static void expect_failure(void (*play)(struct fake *f), int code, const char *says)
{
	struct store *s;
	pthread_t thread;
	struct fake f;

	assert_int_equal(open_against(play, &thread, &f, &s), code);
	if (!strstr(err_text(code), says))
		fail_msg("expected \"%s\" in \"%s\"", says, err_text(code));
	pthread_join(thread, NULL);
	close(f.listen_fd);
}

static void play_garbage(struct fake *f)
{
	fake_send(f->fd[0], "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	usleep(600000);
}

static void play_short_greeting(struct fake *f)
{
	fake_send(f->fd[0], "220 ftp\r\n", 9);
	usleep(600000);
}

static void play_end(struct fake *f)
{
	struct wire_msg m;

	fake_recv(f->fd[0], &m);
}

static void play_silence(struct fake *f)
{
	struct wire_msg m;

	fake_recv(f->fd[0], &m);
	usleep(600000);
}

static void play_version(struct fake *f)
{
	const struct wire_msg no = {.type = WIRE_ERROR,
				    .error = {.code = WIRE_ERR_VERSION, .text = "speaks 7"}};
	struct wire_msg m;

	fake_recv(f->fd[0], &m);
	fake_say(f->fd[0], no, m.request);
}

static void play_wrong_request(struct fake *f)
{
	const struct wire_msg welcome = {.type = WIRE_WELCOME,
					 .welcome = {.version = 1, .slab_bytes = MIB(64)}};
	struct wire_msg m;

	fake_recv(f->fd[0], &m);
	fake_say(f->fd[0], welcome, 77);
}

static void servers_that_misbehave_are_told_apart(void **state)
{
	(void)state;
	expect_failure(play_garbage, -EPROTO, "does not speak rmem's protocol");
	expect_failure(play_short_greeting, -EPROTO, "does not speak rmem's protocol");
	expect_failure(play_end, -EPIPE, "closed the connection");
	expect_failure(play_silence, -ETIMEDOUT, "did not answer in time");
	expect_failure(play_version, -EPROTONOSUPPORT, "of another version (speaks 7)");
	expect_failure(play_wrong_request, -EPROTO, "does not speak rmem's protocol");
}

/* As it should be, up to the first READ, which comes on the urgent connection. */
static bool play_fair(struct fake *f, struct wire_msg *read)
{
	const struct wire_msg welcome = {.type = WIRE_WELCOME,
					 .welcome = {.version = 1,
						     .session = 1,
						     .slab_bytes = MIB(64),
						     .capacity_bytes = GIB(1)}};
	const struct wire_msg leased = {
		.type = WIRE_LEASED,
		.leased = {.access = WIRE_ACCESS_MESSAGES, .slab = 1, .bytes = MIB(4)}};
	const struct wire_msg joined = {.type = WIRE_JOINED};
	struct wire_msg m;

	fake_recv(f->fd[0], &m);
	fake_say(f->fd[0], welcome, m.request);
	fake_recv(f->fd[0], &m);
	fake_say(f->fd[0], leased, m.request);
	if (fake_accept(f, 1) < 0)
		return false;
	fake_recv(f->fd[1], &m);
	fake_say(f->fd[1], joined, m.request);
	return fake_recv(f->fd[0], read) && read->type == WIRE_READ && read->run.nr_pages == 3;
}

static void play_answer(struct fake *f, uint64_t request_more, uint32_t nr_pages, size_t cut)
{
	char pages[3 * PAGE_BYTES] = {0};
	struct wire_msg m, data = {.type = WIRE_DATA, .data.nr_pages = nr_pages};

	if (!play_fair(f, &m))
		return;
	fake_say(f->fd[0], data, m.request + request_more);
	fake_send(f->fd[0], pages, sizeof(pages) - cut);
	usleep(cut ? 0 : 300000);
}

static void play_other_request(struct fake *f)
{
	play_answer(f, 1, 3, 0);
}

static void play_fewer_pages(struct fake *f)
{
	play_answer(f, 0, 2, 0);
}

static void play_cut_pages(struct fake *f)
{
	play_answer(f, 0, 3, 100);
}

static void play_half_pages_then_nothing(struct fake *f)
{
	play_answer(f, 0, 3, 6000);
	usleep(3000000);
}

static void play_error(struct fake *f)
{
	const struct wire_msg no = {.type = WIRE_ERROR,
				    .error = {.code = WIRE_ERR_INTERNAL,
					      .text = "its memory broke in the middle of it"}};
	struct wire_msg m;

	if (play_fair(f, &m))
		fake_say(f->fd[0], no, m.request);
}

static void play_unasked_error(struct fake *f)
{
	const struct wire_msg no = {.type = WIRE_ERROR,
				    .error = {.code = WIRE_ERR_DRAINING, .text = "going home"}};
	struct wire_msg m;

	if (play_fair(f, &m))
		fake_say(f->fd[1], no, 0);
}

static void play_noise(struct fake *f)
{
	char noise[3 * PAGE_BYTES];
	struct wire_msg m;

	memset(noise, 0x5a, sizeof(noise));
	if (play_fair(f, &m))
		fake_send(f->fd[0], noise, sizeof(noise));
	usleep(300000);
}

static void play_hang_up(struct fake *f)
{
	struct wire_msg m;

	play_fair(f, &m);
}

static void expect_loss(void (*play)(struct fake *f), const char *says)
{
	struct store_req req[3] = {{.slot = 5, .buf = buf_at(7), .tag = 1, .urgent = true},
				   {.slot = 6, .buf = buf_at(2), .tag = 2, .urgent = true},
				   {.slot = 7, .buf = buf_at(3), .tag = 3, .urgent = true}};
	struct store *s;
	pthread_t thread;
	struct fake f;

	assert_int_equal(open_against(play, &thread, &f, &s), 0);
	assert_int_equal(s->ops->submit(s, req, 3), 3);
	expect_lost(s, says);
	pthread_join(thread, NULL);
	close(f.listen_fd);
}

static void answers_that_are_none_end_the_store(void **state)
{
	(void)state;
	expect_loss(play_other_request, "sent what answers no request");
	expect_loss(play_fewer_pages, "sent what answers no request");
	expect_loss(play_noise, "sent what answers no request");
	expect_loss(play_cut_pages, "is gone, and the pages with it");
	expect_loss(play_hang_up, "is gone, and the pages with it");
	expect_loss(play_error, "ended the lease: its memory broke in the middle of it");
	expect_loss(play_unasked_error, "ended the lease: going home");
	expect_loss(play_half_pages_then_nothing, "has not answered for 2 s");
}

#define T(name) cmocka_unit_test_setup_teardown(name, prepare, cleanup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pages_come_back_in_any_order),
		T(servers_of_every_kind_make_one_pool),
		T(slots_beyond_the_end_are_refused),
		T(an_urgent_read_is_not_behind_what_leaves),
		T(what_is_not_taken_yet_keeps_the_descriptor_readable),
		T(a_dead_server_is_noticed_at_once),
		T(a_stalled_server_is_given_up),
		T(a_stopped_server_ends_the_lease),
		T(what_can_t_be_opened_is_said_with_the_remedy),
		T(servers_that_misbehave_are_told_apart),
		T(answers_that_are_none_end_the_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
