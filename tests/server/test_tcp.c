/* SPDX-License-Identifier: Apache-2.0 */
/* rmemd over tcp: what it serves, and clients that lie, stutter, pry or hang on. */
#include "tests/server/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/units.h"

static struct rmemd r;
static char page[64 * PAGE_BYTES];

static int start(void **state)
{
	(void)state;
	rmemd_prepare(&r);
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "256M", NULL});
	return 0;
}

/* Whatever the clients did: all is free again, and the server ends in peace. */
static int stop(void **state)
{
	(void)state;
	expect_free(&r, MIB(256));
	kill(r.pid, SIGTERM);
	assert_int_equal(rmemd_wait(&r), 0);
	rmemd_cleanup(&r);
	return 0;
}

static void expect_all(const char *p, uint64_t bytes, int value)
{
	for (uint64_t i = 0; i < bytes; i++)
		if (p[i] != (char)value)
			fail_msg("byte %llu is %d, not %d", (unsigned long long)i, p[i], value);
}

static void pages_come_back_over_either_connection(void **state)
{
	struct tcp_pair pair;
	uint64_t slab;

	(void)state;
	tcp_pair_open(&r, MIB(64) + PAGE_BYTES, &pair);
	assert_int_equal(pair.slab[1].bytes, PAGE_BYTES);
	slab = pair.slab[0].slab;
	memset(page, 1, sizeof(page));
	tcp_raw_write(pair.fd[0], slab, 0, 64, page);
	memset(page, 2, sizeof(page));
	tcp_raw_write(pair.fd[1], slab, MIB(64) - PAGE_BYTES, 1, page);
	memset(page, 3, sizeof(page));
	tcp_raw_write(pair.fd[1], pair.slab[1].slab, 0, 1, page);
	tcp_raw_read(pair.fd[1], slab, 0, 64, page);
	expect_all(page, 64 * PAGE_BYTES, 1);
	tcp_raw_read(pair.fd[0], slab, MIB(64) - 2 * PAGE_BYTES, 2, page);
	expect_all(page, PAGE_BYTES, 0);
	expect_all(page + PAGE_BYTES, PAGE_BYTES, 2);
	tcp_raw_read(pair.fd[0], pair.slab[1].slab, 0, 1, page);
	expect_all(page, PAGE_BYTES, 3);
	tcp_pair_close(&pair);
}

static void the_next_client_reads_only_zeros(void **state)
{
	struct tcp_pair pair;

	(void)state;
	for (int round = 0; round < 3; round++) {
		tcp_pair_open(&r, MIB(256), &pair);
		for (unsigned int i = 0; i < pair.nr_slabs; i++) {
			for (uint64_t off = 0; off < MIB(64); off += MIB(4)) {
				tcp_raw_read(pair.fd[0], pair.slab[i].slab, off, 64, page);
				expect_all(page, sizeof(page), 0);
			}
			memset(page, 0xa5, sizeof(page));
			for (uint64_t off = 0; off < MIB(64); off += MIB(4))
				tcp_raw_write(pair.fd[1], pair.slab[i].slab, off, 64, page);
		}
		tcp_pair_close(&pair);
		expect_free(&r, MIB(256));
	}
}

/* ---- joining ---- */

/* As the one of the session's connections that @which says. */
static void join(int fd, uint64_t which, uint64_t session, const uint8_t *token)
{
	struct wire_msg m = {.type = WIRE_JOIN, .request = which, .join.session = session};

	memcpy(m.join.token, token, WIRE_TOKEN_BYTES);
	tcp_raw_send(fd, &m);
}

static void expect_no_way_in(uint64_t session, const uint8_t *token)
{
	int fd = tcp_raw_connect(&r);

	join(fd, 1, session, token);
	tcp_raw_expect_error(fd, WIRE_ERR_STALE);
	tcp_raw_expect_end(fd);
}

static void only_the_token_opens_a_session(void **state)
{
	uint8_t token[WIRE_TOKEN_BYTES], zeros[WIRE_TOKEN_BYTES] = {0};
	struct tcp_pair pair;
	struct wire_msg m;
	int shm = raw_connect(&r), alone = tcp_raw_connect(&r), third;

	(void)state;
	tcp_pair_open(&r, MIB(1), &pair);
	raw_hello(shm, MIB(1), &m);
	assert_memory_equal(m.welcome.token, zeros, sizeof(zeros));
	expect_no_way_in(m.welcome.session, zeros); /* nobody joins a session over shm */
	tcp_raw_hello(alone, MIB(1), &m);
	assert_memory_not_equal(m.welcome.token, pair.welcome.token, WIRE_TOKEN_BYTES);
	expect_no_way_in(m.welcome.session, zeros);
	expect_no_way_in(m.welcome.session, pair.welcome.token);
	expect_no_way_in(0, m.welcome.token);
	expect_no_way_in(UINT64_MAX, m.welcome.token);
	for (size_t bit = 0; bit < WIRE_TOKEN_BYTES * 8; bit += 7) {
		memcpy(token, m.welcome.token, sizeof(token));
		token[bit / 8] ^= (uint8_t)(1 << bit % 8);
		expect_no_way_in(m.welcome.session, token);
	}
	third = tcp_raw_connect(&r);
	join(third, 2, pair.welcome.session, pair.welcome.token); /* two are enough */
	tcp_raw_expect_error(third, WIRE_ERR_MALFORMED);
	close(third);
	tcp_raw_read(pair.fd[1], pair.slab[0].slab, 0, 1, page); /* and are unharmed */
	tcp_pair_close(&pair);
	close(alone);
	close(shm);
}

static void expect_joined(int fd, uint64_t which, const struct tcp_pair *pair)
{
	struct wire_msg m;

	join(fd, which, pair->welcome.session, pair->welcome.token);
	tcp_raw_recv(fd, &m);
	assert_int_equal(m.type, WIRE_JOINED);
	assert_int_equal(m.request, which);
}

/* The process that had it was killed in the middle of a page, and another has its descriptors. */
static void a_connection_takes_the_place_of_a_dead_ones(void **state)
{
	struct wire_msg lease = {.type = WIRE_LEASE, .request = 5, .lease.nr_slabs = 1}, m;
	struct wire_msg half = {.type = WIRE_WRITE, .request = 7, .run.nr_pages = 1};

	(void)state;
	for (int which = 0; which < 2; which++) {
		struct tcp_pair pair;
		int fd;

		tcp_pair_open(&r, MIB(64), &pair);
		half.run.slab = pair.slab[0].slab;
		memset(page, 1, sizeof(page));
		tcp_raw_send(pair.fd[which], &half);
		assert_int_equal(send(pair.fd[which], page, 1000, 0), 1000);
		fd = tcp_raw_connect(&r);
		expect_joined(fd, (uint64_t)which, &pair);
		tcp_raw_expect_end(pair.fd[which]);
		if (which == 0) {
			tcp_raw_send(fd, &lease); /* what it has is told again */
			tcp_raw_recv(fd, &m);
			assert_int_equal(m.leased.slab, pair.slab[0].slab);
			assert_int_equal(m.leased.bytes, MIB(64));
		}
		memset(page, 2, sizeof(page));
		tcp_raw_write(fd, pair.slab[0].slab, 0, 1, page);
		memset(page, 1, sizeof(page));
		send(pair.fd[which], page, PAGE_BYTES - 1000, MSG_NOSIGNAL);
		tcp_raw_read(pair.fd[!which], pair.slab[0].slab, 0, 1, page);
		expect_all(page, PAGE_BYTES, 2);
		close(pair.fd[which]);
		tcp_raw_read(fd, pair.slab[0].slab, 0, 1, page);
		pair.fd[which] = fd;
		tcp_pair_close(&pair);
		expect_free(&r, MIB(256));
	}
}

/* And that process was killed as well, before it was let in or after. */
static void a_third_takes_the_place_of_the_second(void **state)
{
	struct tcp_pair pair;
	int fd[20];

	(void)state;
	tcp_pair_open(&r, MIB(64), &pair);
	for (int i = 0; i < 20; i++) {
		fd[i] = tcp_raw_connect(&r);
		join(fd[i], 0, pair.welcome.session, pair.welcome.token);
	}
	tcp_raw_expect_end(pair.fd[0]);
	close(pair.fd[0]);
	pair.fd[0] = tcp_raw_connect(&r);
	expect_joined(pair.fd[0], 0, &pair);
	tcp_raw_read(pair.fd[0], pair.slab[0].slab, 0, 1, page);
	tcp_raw_read(pair.fd[1], pair.slab[0].slab, 0, 1, page);
	for (int i = 0; i < 20; i++)
		close(fd[i]);
	tcp_raw_read(pair.fd[0], pair.slab[0].slab, 0, 1, page);
	tcp_pair_close(&pair);
}

static void the_end_of_either_connection_is_the_end_of_both(void **state)
{
	(void)state;
	for (int which = 0; which < 2; which++) {
		struct tcp_pair pair;

		tcp_pair_open(&r, MIB(64), &pair);
		close(pair.fd[which]);
		tcp_raw_expect_end(pair.fd[!which]);
		expect_free(&r, MIB(256));
		expect_no_way_in(pair.welcome.session, pair.welcome.token);
	}
}

/* ---- what is not one's own ---- */

static void expect_refused_run(uint16_t type, uint64_t slab, uint64_t off, uint32_t nr,
			       enum wire_error_code code)
{
	struct wire_msg m = {.type = type,
			     .request = 7,
			     .run = {.slab = slab, .off_bytes = off, .nr_pages = nr}};
	struct tcp_pair pair;

	tcp_pair_open(&r, 3 * PAGE_BYTES, &pair);
	if (m.run.slab == 0)
		m.run.slab = pair.slab[0].slab;
	tcp_raw_send(pair.fd[1], &m);
	memset(page, 0x66, sizeof(page));
	if (type == WIRE_WRITE && tcp_send_now(pair.fd[1], page, PAGE_BYTES) < 0)
		assert_int_equal(errno, EPIPE);
	tcp_raw_expect_error(pair.fd[1], code);
	tcp_raw_expect_end(pair.fd[1]);
	tcp_raw_expect_end(pair.fd[0]);
}

static void only_the_session_s_own_pages_can_be_reached(void **state)
{
	struct tcp_pair victim;
	uint64_t slab;

	(void)state;
	tcp_pair_open(&r, MIB(1), &victim);
	slab = victim.slab[0].slab;
	memset(page, 5, sizeof(page));
	tcp_raw_write(victim.fd[1], slab, 0, 64, page);
	for (uint16_t type = WIRE_READ; type <= WIRE_WRITE; type += WIRE_WRITE - WIRE_READ) {
		expect_refused_run(type, slab, 0, 1, WIRE_ERR_STALE);
		expect_refused_run(type, slab + 1000, 0, 1, WIRE_ERR_STALE);
		expect_refused_run(type, UINT64_MAX, 0, 1, WIRE_ERR_STALE);
		expect_refused_run(type, slab + (1ULL << 32), 0, 1, WIRE_ERR_STALE);
		expect_refused_run(type, 0, 0, 4, WIRE_ERR_RANGE);
		expect_refused_run(type, 0, 3 * PAGE_BYTES, 1, WIRE_ERR_RANGE);
		expect_refused_run(type, 0, 2 * PAGE_BYTES, 2, WIRE_ERR_RANGE);
		expect_refused_run(type, 0, GIB(1) - PAGE_BYTES, 1, WIRE_ERR_RANGE);
		expect_refused_run(type, 0, UINT64_MAX - PAGE_BYTES + 1, 1, WIRE_ERR_MALFORMED);
		expect_refused_run(type, 0, UINT64_MAX - 63 * PAGE_BYTES + 1, 64,
				   WIRE_ERR_MALFORMED);
		expect_refused_run(type, 0, 1, 1, WIRE_ERR_MALFORMED);
		expect_refused_run(type, 0, 0, 0, WIRE_ERR_MALFORMED);
		expect_refused_run(type, 0, 0, UINT32_MAX, WIRE_ERR_MALFORMED);
	}
	tcp_raw_read(victim.fd[0], slab, 0, 64, page);
	expect_all(page, sizeof(page), 5);
	tcp_pair_close(&victim);
}

/* A server that was started anew has the numbers of the one before as little as its pages. */
static void what_an_earlier_life_gave_out_is_stale(void **state)
{
	struct tcp_pair old;
	int fd;

	(void)state;
	tcp_pair_open(&r, MIB(1), &old);
	kill(r.pid, SIGKILL);
	rmemd_wait(&r);
	tcp_pair_close(&old);
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "256M", NULL});
	expect_refused_run(WIRE_READ, old.slab[0].slab, 0, 1, WIRE_ERR_STALE);
	expect_refused_run(WIRE_WRITE, old.slab[0].slab, 0, 1, WIRE_ERR_STALE);
	fd = tcp_raw_connect(&r);
	join(fd, 0, old.welcome.session, old.welcome.token);
	tcp_raw_expect_error(fd, WIRE_ERR_STALE);
	tcp_raw_expect_end(fd);
}

/* ---- the wrong thing at the wrong time ---- */

static void expect_refused(const struct wire_msg *m, bool after_hello, enum wire_error_code code)
{
	struct wire_msg welcome;
	int fd = tcp_raw_connect(&r);

	if (after_hello)
		tcp_raw_hello(fd, MIB(1), &welcome);
	tcp_raw_send(fd, m);
	tcp_raw_expect_error(fd, code);
	tcp_raw_expect_end(fd);
}

static void messages_at_the_wrong_time_are_refused(void **state)
{
	static const struct wire_run run = {.slab = 1, .nr_pages = 1};
	struct wire_msg hello = {.type = WIRE_HELLO,
				 .hello = {.version_min = 1,
					   .version_max = 1,
					   .access = WIRE_ACCESS_MESSAGES,
					   .name = "x"}};

	(void)state;
	expect_refused(&(struct wire_msg){.type = WIRE_READ, .run = run}, false, WIRE_ERR_SEQUENCE);
	expect_refused(&(struct wire_msg){.type = WIRE_WRITE, .run = run}, false,
		       WIRE_ERR_SEQUENCE);
	expect_refused(&(struct wire_msg){.type = WIRE_STATUS}, false, WIRE_ERR_SEQUENCE);
	expect_refused(&(struct wire_msg){.type = WIRE_JOINED}, true, WIRE_ERR_SEQUENCE);
	expect_refused(&(struct wire_msg){.type = WIRE_DATA, .data.nr_pages = 1}, true,
		       WIRE_ERR_SEQUENCE);
	expect_refused(&(struct wire_msg){.type = WIRE_JOIN}, true, WIRE_ERR_SEQUENCE);
	expect_refused(&hello, true, WIRE_ERR_SEQUENCE);
	hello.hello.access = WIRE_ACCESS_DESCRIPTOR;
	expect_refused(&hello, false, WIRE_ERR_ACCESS);
	hello.hello.access = WIRE_ACCESS_MESSAGES;
	hello.hello.version_min = hello.hello.version_max = 9;
	expect_refused(&hello, false, WIRE_ERR_VERSION);
	hello.hello.version_min = hello.hello.version_max = 1;
	hello.hello.wanted_bytes = GIB(1);
	expect_refused(&hello, false, WIRE_ERR_CAPACITY);
}

static void a_joined_connection_leases_nothing(void **state)
{
	struct wire_msg m = {.type = WIRE_LEASE, .lease.nr_slabs = 1};
	struct tcp_pair pair;

	(void)state;
	tcp_pair_open(&r, MIB(1), &pair);
	tcp_raw_send(pair.fd[1], &m);
	tcp_raw_expect_error(pair.fd[1], WIRE_ERR_SEQUENCE);
	tcp_raw_expect_end(pair.fd[1]);
	close(pair.fd[0]);
}

static void expect_garbage_is_refused(const void *what, size_t bytes)
{
	int fd = tcp_raw_connect(&r);

	assert_int_equal(tcp_send_until(fd, what, bytes, tcp_deadline_ns(PATIENCE_MS)), 0);
	tcp_raw_expect_error(fd, WIRE_ERR_MALFORMED);
	tcp_raw_expect_end(fd);
}

static void garbage_is_refused(void **state)
{
	static const char http[] = "GET / HTTP/1.1\r\nHost: example\r\n\r\n";
	struct wire_msg m = {.type = WIRE_STATUS};
	uint8_t buf[WIRE_MAX_BYTES];

	(void)state;
	expect_garbage_is_refused(http, sizeof(http) - 1);
	memset(buf, 0, sizeof(buf));
	expect_garbage_is_refused(buf, sizeof(buf));
	wire_encode(&m, buf);
	buf[8] = 1; /* the check does not fit */
	expect_garbage_is_refused(buf, WIRE_HEADER_BYTES);
}

/* ---- time ---- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A byte now and then does not buy more time, nor does silence. */
static void a_hello_that_does_not_come_whole_is_not_waited_for(void **state)
{
	int slow = tcp_raw_connect(&r), silent = tcp_raw_connect(&r);
	double begin = seconds();
	struct wire_msg m = {.type = WIRE_STATUS};
	uint8_t buf[WIRE_MAX_BYTES];
	struct tcp_pair pair;

	(void)state;
	wire_encode(&m, buf);
	for (int i = 0; i < 20 && tcp_send_now(slow, &buf[i], 1) == 1; i++)
		usleep(400000);
	assert_true(seconds() - begin > 4);
	assert_true(seconds() - begin < 7.5);
	close(slow);
	tcp_raw_expect_end(silent);
	tcp_pair_open(&r, MIB(1), &pair); /* meanwhile and after, others are served */
	tcp_pair_close(&pair);
}

static uint64_t anon_kib(void)
{
	char path[64], line[128];
	uint64_t kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", r.pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "RssAnon:", 8))
			kib = strtoull(line + 8, NULL, 10);
	fclose(f);
	return kib;
}

static void who_does_not_listen_is_not_listened_to(void **state)
{
	struct wire_msg m = {.type = WIRE_READ, .run = {.nr_pages = 64}};
	uint8_t buf[WIRE_MAX_BYTES];
	struct tcp_pair deaf, other;
	uint64_t before;
	size_t bytes, asked = 0;

	(void)state;
	tcp_pair_open(&r, MIB(1), &deaf);
	tcp_pair_open(&r, MIB(1), &other);
	before = anon_kib();
	m.run.slab = deaf.slab[0].slab;
	bytes = wire_encode(&m, buf);
	for (double end = seconds() + 2; seconds() < end;)
		if (tcp_send_now(deaf.fd[0], buf, bytes) == (ssize_t)bytes)
			asked++;
		else
			usleep(1000);
	assert_true(asked > 64);
	for (int i = 0; i < 100; i++)
		tcp_raw_read(other.fd[0], other.slab[0].slab, 0, 64, page);
	assert_true(anon_kib() < before + 2048);
	tcp_pair_close(&deaf);
	tcp_pair_close(&other);
}

static void a_client_cut_off_in_the_middle_of_a_page_is_gone(void **state)
{
	struct wire_msg m = {.type = WIRE_WRITE, .run = {.nr_pages = 64}};
	struct linger reset = {.l_onoff = 1};
	struct tcp_pair pair;

	(void)state;
	for (int i = 0; i < 20; i++) {
		tcp_pair_open(&r, MIB(64), &pair);
		m.run.slab = pair.slab[0].slab;
		tcp_raw_send(pair.fd[1], &m);
		assert_true(tcp_send_now(pair.fd[1], page, 5000) > 0);
		if (i % 2)
			setsockopt(pair.fd[1], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		tcp_pair_close(&pair);
		expect_free(&r, MIB(256));
	}
}

/* Good messages with some bytes changed, in the middle of good ones. */
static void any_stream_ends_in_peace(void **state)
{
	(void)state;
	srand(4711);
	for (int round = 0; round < 150; round++) {
		struct tcp_pair pair;
		uint8_t buf[WIRE_MAX_BYTES];

		tcp_pair_open(&r, MIB(1), &pair);
		for (int i = rand() % 20; i >= 0; i--) {
			struct wire_msg m = {.type = (uint16_t)(rand() % WIRE_WRITTEN + 1),
					     .request = 5};
			size_t bytes;

			if (m.type == WIRE_READ || m.type == WIRE_WRITE)
				m.run = (struct wire_run){pair.slab[0].slab,
							  (uint64_t)(rand() % 300) * PAGE_BYTES,
							  (uint32_t)(rand() % 80)};
			bytes = wire_encode(&m, buf);
			if (rand() % 4 == 0)
				buf[(size_t)rand() % bytes] ^= (uint8_t)rand();
			if (tcp_send_now(pair.fd[rand() % 2], buf, bytes) < 0)
				break;
			if (m.type == WIRE_WRITE && rand() % 2 &&
			    tcp_send_now(pair.fd[rand() % 2], page, sizeof(page)) < 0)
				break;
		}
		tcp_pair_close(&pair);
	}
	expect_free(&r, MIB(256));
}

/* ---- where it listens ---- */

static void expect_no_start(const char *listen, const char *says)
{
	struct rmemd second;

	rmemd_prepare(&second);
	rmemd_spawn(&second, (const char *const[]){"--listen", listen, "--capacity", "1M", NULL});
	assert_int_equal(rmemd_wait(&second), 1);
	if (!strstr(second.log, says))
		fail_msg("expected \"%s\" in \"%s\"", says, second.log);
	rmemd_cleanup(&second);
}

static void where_it_can_t_listen_is_said(void **state)
{
	char listen[80];

	(void)state;
	snprintf(listen, sizeof(listen), "tcp:%s", r.tcp_rest);
	expect_no_start(listen, "somebody listens there already");
	expect_no_start("tcp:192.0.2.77:0", "not an address of this machine");
	expect_no_start("tcp:no-such-host.invalid", "no machine of that name");
	expect_no_start("tcp:127.0.0.1:65536", "the port is not a number");
	expect_no_start("tcp:::1", "in brackets");
	expect_no_start("tcp", "names no address");
	expect_no_start("udp:127.0.0.1:1", "not served here");
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pages_come_back_over_either_connection),
		T(the_next_client_reads_only_zeros),
		T(only_the_token_opens_a_session),
		T(a_connection_takes_the_place_of_a_dead_ones),
		T(a_third_takes_the_place_of_the_second),
		T(the_end_of_either_connection_is_the_end_of_both),
		T(only_the_session_s_own_pages_can_be_reached),
		T(what_an_earlier_life_gave_out_is_stale),
		T(messages_at_the_wrong_time_are_refused),
		T(a_joined_connection_leases_nothing),
		T(garbage_is_refused),
		T(a_hello_that_does_not_come_whole_is_not_waited_for),
		T(who_does_not_listen_is_not_listened_to),
		T(a_client_cut_off_in_the_middle_of_a_page_is_gone),
		T(any_stream_ends_in_peace),
		T(where_it_can_t_listen_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
