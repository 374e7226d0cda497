/* SPDX-License-Identifier: Apache-2.0 */
/* The store tcp, against the real rmemd. */
#include "tests/server/net_store.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/store/pool.h"
#include "common/base/err.h"
#include "common/base/units.h"

static struct store *open_tcp(uint64_t bytes, const char *timeout)
{
	struct store *s = NULL;

	assert_int_equal(net_open(&store_tcp_type, r.tcp_rest, timeout, bytes, PATIENCE_MS, &s), 0);
	assert_int_equal(s->nr_slots, bytes / PAGE_BYTES);
	return s;
}

static void pages_come_back_in_any_order(void **state)
{
	(void)state;
	srand(1);
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "2G", NULL});
	for (int round = 0; round < 4; round++) {
		struct store *s = open_tcp(MIB(64) * 17 + 3 * PAGE_BYTES, NULL);

		net_load(s, 1000);
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
		struct pool_part part[4] = {0};
		struct store *pool;

		part[0].store = open_tcp(MIB(70), NULL);
		assert_int_equal(store_open(&r, MIB(70), &part[1].store), 0);
		assert_int_equal(store_ram_type.open(&ram, &args, &part[2].store), 0);
		part[3].store = open_tcp(MIB(70), NULL);
		assert_int_equal(store_pool_open(part, 4, NULL, &pool), 0);
		net_load(pool, 500);
		pool->ops->close(pool);
		expect_free(&r, GIB(2));
	}
}

static void slots_beyond_the_end_are_refused(void **state)
{
	struct store_req req[2] = {
		{.slot = 256, .buf = net_buf(0), .tag = 1},
		{.slot = UINT64_MAX, .buf = net_buf(0), .tag = 2, .op = STORE_WRITE}};
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

/* The server is stopped while a lot is on its way out, and asked for a page then. */
static void an_urgent_read_is_not_behind_what_leaves(void **state)
{
	struct store_req urgent = {.slot = 1, .buf = net_buf(0), .tag = 99999, .urgent = true};
	struct store_done done;
	struct store *s;
	unsigned int taken, before = 0;

	(void)state;
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
	s = open_tcp(MIB(64), NULL);
	kill(r.pid, SIGSTOP);
	taken = net_submit_writes(s, 4000);
	assert_true(taken >= 1024 && taken < 4000); /* full, and not blocked */
	assert_int_equal(s->ops->submit(s, &urgent, 1), 1);
	kill(r.pid, SIGCONT);
	while (net_reap(s, &done, 1) == 1 && done.tag != 99999)
		before++;
	assert_int_equal(done.tag, 99999);
	assert_true(before < taken / 2);
	for (; before < taken; before++)
		assert_int_equal(net_reap(s, &done, 1), 1);
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
	assert_int_equal(net_submit_writes(s, 300), 300);
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

static void a_dead_server_is_noticed_at_once(void **state)
{
	char says[128];

	(void)state;
	for (int busy = 0; busy < 2; busy++) {
		struct store *s;

		rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
		s = open_tcp(MIB(64), NULL);
		if (busy)
			assert_true(net_submit_writes(s, 1000) > 0);
		kill(r.pid, SIGKILL);
		assert_int_equal(rmemd_wait(&r), 128 + SIGKILL);
		snprintf(says, sizeof(says), "server tcp:%s is gone", r.tcp_rest);
		net_expect_lost(s, says);
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
	assert_int_equal(net_submit_writes(s, 10), 10);
	begin_ns = tcp_deadline_ns(0);
	net_expect_lost(s, "has not answered for 1 s");
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
	net_expect_lost(s, "is gone");
	assert_int_equal(rmemd_wait(&r), 0);
}

/* ---- opening ---- */

static void what_can_t_be_opened_is_said_with_the_remedy(void **state)
{
	uint64_t left, capacity;

	(void)state;
	rmemd_start_tcp(&r, (const char *const[]){"--capacity", "1G", NULL});
	net_expect_no(&store_tcp_type, r.tcp_rest, GIB(4), -ENOSPC,
		      "has 1.0 GiB free, 4.0 GiB wanted: start rmemd with --capacity 4G");
	net_expect_no(&store_tcp_type, "127.0.0.1:1", MIB(4), -ECONNREFUSED,
		      "nobody listens there");
	net_expect_no(&store_tcp_type, "no-such-host.invalid:1", MIB(4), -ENOENT,
		      "no machine of that name");
	net_expect_no(&store_tcp_type, "127.0.0.1:70000", MIB(4), -EINVAL,
		      "the port is not a number");
	net_expect_no(&store_tcp_type, "127.0.0.1:0", MIB(4), -EINVAL, "the port is not a number");
	net_expect_no(&store_tcp_type, "127.0.0.1:", MIB(4), -EINVAL, "the port is not a number");
	net_expect_no(&store_tcp_type, "127.0.0.1:7770x", MIB(4), -EINVAL,
		      "the port is not a number");
	net_expect_no(&store_tcp_type, "127.0.0.1:-1", MIB(4), -EINVAL, "the port is not a number");
	net_expect_no(&store_tcp_type, ":7770", MIB(4), -EINVAL, "names no machine");
	net_expect_no(&store_tcp_type, "", MIB(4), -EINVAL, "names no machine");
	net_expect_no(&store_tcp_type, "fd00::1", MIB(4), -EINVAL, "in brackets");
	net_expect_no(&store_tcp_type, "[fd00::1", MIB(4), -EINVAL, "']' is missing");
	net_expect_no(&store_tcp_type, "[]:1", MIB(4), -EINVAL, "nothing between");
	net_expect_no(&store_tcp_type, "a/b:1", MIB(4), -EINVAL, "not a host and a port");
	assert_int_equal(store_tcp_type.probe(&r.tcp_spec, PATIENCE_MS, &left, &capacity), 0);
	assert_int_equal(left, GIB(1));
	assert_int_equal(capacity, GIB(1));
}

#define T(name) cmocka_unit_test_setup_teardown(name, net_prepare, net_cleanup)

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
