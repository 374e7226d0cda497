/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store rdma against the real rmemd, and clients that ask for what is not theirs. Needs
 * an RDMA device: runs in a guest of tests/vm/run, which says the address of its device.
 */
#include "tests/server/net_store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include "client/store/pool.h"
#include "client/store/rdma_session.h"
#include "common/base/err.h"
#include "common/base/units.h"

#define SKIPPED	   77
#define NOTHING_MS 3000

static const char *address;

static void start(const char *capacity)
{
	rmemd_start_rdma(&r, address, (const char *const[]){"--capacity", capacity, NULL});
}

static struct store *open_rdma(uint64_t bytes, const char *timeout)
{
	struct store *s = NULL;

	if (net_open(&store_rdma_type, r.rdma_rest, timeout, bytes, PATIENCE_MS, &s))
		fail_msg("can't open rdma:%s: %s", r.rdma_rest, err_text(-1));
	assert_int_equal(s->nr_slots, bytes / PAGE_BYTES);
	return s;
}

static void pages_come_back_in_any_order(void **state)
{
	(void)state;
	srand(1);
	start("512M");
	for (int round = 0; round < 2; round++) {
		struct store *s = open_rdma(MIB(64) * 3 + 3 * PAGE_BYTES, NULL);

		net_load(s, 300);
		s->ops->close(s);
		expect_free(&r, MIB(512));
	}
}

static void servers_of_every_kind_make_one_pool(void **state)
{
	const struct spec ram = {.scheme = (char *)"ram", .rest = (char *)""};
	struct store_open_args args = {.bytes = MIB(70), .sock_fd = -1, .timeout_ms = PATIENCE_MS};
	struct pool_part part[4] = {0};
	struct store *pool;

	(void)state;
	srand(2);
	start("512M");
	part[0].store = open_rdma(MIB(70), NULL);
	assert_int_equal(store_open(&r, MIB(70), &part[1].store), 0);
	assert_int_equal(store_ram_type.open(&ram, &args, &part[2].store), 0);
	part[3].store = open_rdma(MIB(70), NULL);
	assert_int_equal(store_pool_open(part, 4, NULL, &pool), 0);
	net_load(pool, 200);
	pool->ops->close(pool);
	expect_free(&r, MIB(512));
}

static void slots_beyond_the_end_are_refused(void **state)
{
	struct store_req req[2] = {
		{.slot = 256, .buf = net_buf(0), .tag = 1},
		{.slot = UINT64_MAX, .buf = net_buf(0), .tag = 2, .op = STORE_WRITE}};
	struct store_done done[2];
	struct store *s;

	(void)state;
	start("64M");
	s = open_rdma(MIB(1), NULL);
	assert_int_equal(s->ops->submit(s, req, 2), 2);
	assert_int_equal(s->ops->reap(s, done, 2), 2);
	assert_int_equal(done[0].res, -ERANGE);
	assert_int_equal(done[1].res, -ERANGE);
	s->ops->close(s);
}

/* ---- one-sided ---- */

static unsigned long user_ticks(pid_t pid)
{
	char path[32], text[512] = "";
	unsigned long ticks = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu", &ticks);
	return ticks;
}

static void a_server_that_is_stopped_serves_all_the_same(void **state)
{
	struct store *one, *two;
	unsigned long before;

	(void)state;
	srand(3);
	start("512M");
	one = open_rdma(MIB(128), NULL);
	two = open_rdma(MIB(128), NULL);
	before = user_ticks(r.pid);
	kill(r.pid, SIGSTOP);
	net_load(one, 300);
	kill(r.pid, SIGCONT);
	net_load(two, 300);
	/* Its program has nothing to do with pages. */
	assert_true(user_ticks(r.pid) - before <= 2);
	one->ops->close(one);
	two->ops->close(two);
}

static void an_idle_session_stays(void **state)
{
	struct store *s;

	(void)state;
	srand(5);
	start("64M");
	s = open_rdma(MIB(64), NULL);
	sleep(12); /* the server asks twice for a sign of life */
	net_load(s, 20);
	s->ops->close(s);
	expect_free(&r, MIB(64));
}

/* ---- loss ---- */

static void a_dead_server_is_noticed_at_once(void **state)
{
	char says[128];

	(void)state;
	for (int busy = 0; busy < 2; busy++) {
		struct store *s;

		start("128M");
		s = open_rdma(MIB(64), NULL);
		if (busy)
			assert_true(net_submit_writes(s, 1000) > 0);
		kill(r.pid, SIGKILL);
		assert_int_equal(rmemd_wait(&r), 128 + SIGKILL);
		snprintf(says, sizeof(says), "server rdma:%s is gone", r.rdma_rest);
		net_expect_lost(s, says);
		unlink(r.path);
	}
}

static void a_stopped_server_ends_the_lease(void **state)
{
	struct store *s;

	(void)state;
	rmemd_start_rdma(&r, address,
			 (const char *const[]){"--capacity", "128M", "--drain-timeout", "0", NULL});
	s = open_rdma(MIB(64), NULL);
	kill(r.pid, SIGTERM);
	net_expect_lost(s, "is gone");
	assert_int_equal(rmemd_wait(&r), 0);
}

/* A device that was opened is of no use to a child: this program is started anew, as @part. */
static int run_part(const char *part)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("/proc/self/exe", "test_store_rdma", part, r.rdma_rest, NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int part_dies(void)
{
	struct store *s = NULL;

	if (net_open(&store_rdma_type, r.rdma_rest, NULL, MIB(64), PATIENCE_MS, &s))
		return 1;
	return kill(getpid(), SIGKILL);
}

static void a_dead_client_gives_everything_back(void **state)
{
	(void)state;
	start("128M");
	assert_int_equal(run_part("dies"), SIGKILL);
	expect_free(&r, MIB(128));
}

/* ---- keys ---- */

static char page[PAGE_BYTES] __attribute__((aligned(4096)));

/* A session of its own, with @page registered; @bytes are leased. */
static struct verbs_region *open_session(struct rdma_session *s, uint64_t bytes)
{
	struct verbs_region *region = NULL;
	struct net_addr a;

	assert_int_equal(net_addr_parse(NET_RDMA, r.rdma_rest, false, &a), 0);
	if (rdma_session_open(s, &a, bytes, PATIENCE_MS, 0) || rdma_session_lease(s))
		fail_msg("no session: %s", err_text(-1));
	assert_int_equal(verbs_register(s->domain, page, sizeof(page), false, &region), 0);
	return region;
}

static void close_session(struct rdma_session *s, struct verbs_region *region)
{
	rdma_session_close(s);
	verbs_release(region);
}

/* What becomes of one read or write; -ETIMEDOUT when that is nothing at all. */
static int try_op(struct rdma_session *s, const struct verbs_region *region,
		  enum rdma_lane_name lane, struct verbs_op op)
{
	uint64_t deadline_ns = tcp_deadline_ns(NOTHING_MS);
	struct verbs_done done;

	op.local = page;
	op.bytes = sizeof(page);
	assert_int_equal(verbs_post(s->conn[lane], region, &op, 1), 0);
	for (;;) {
		if (verbs_poll(s->domain, &done, 1)) {
			if (done.conn == s->conn[lane])
				return done.res;
			/* What ends the session may be heard on the other one first. */
			assert_int_not_equal(done.res, 0);
		} else if (tcp_deadline_ns(0) > deadline_ns) {
			return -ETIMEDOUT;
		}
	}
}

/* Each costs the session that tries it. @change makes of a good one what shall be refused. */
static void expect_refused(const struct verbs_op *bad, bool by_bulk)
{
	for (int is_write = 0; is_write < 2; is_write++) {
		struct rdma_session s;
		struct verbs_region *region = open_session(&s, MIB(1));
		struct verbs_op op = *bad;

		op.is_write = is_write;
		/* What is not said is as it should be. */
		op.remote += op.remote < MIB(64) ? s.slab[0].address : 0;
		op.key += op.key < 256 ? s.slab[0].key[RDMA_URGENT] : 0;
		memset(page, 0x77, sizeof(page));
		if (!try_op(&s, region, by_bulk ? RDMA_BULK : RDMA_URGENT, op))
			fail_msg("a %s of %#lx by key %#x was done; the slab is at %#lx, key %#x",
				 is_write ? "write" : "read", op.remote, op.key, s.slab[0].address,
				 s.slab[0].key[RDMA_URGENT]);
		for (size_t i = 0; i < sizeof(page); i++)
			assert_int_equal(page[i], 0x77);
		close_session(&s, region);
	}
}

static struct verbs_port the_port(void)
{
	struct verbs_port port[4];

	assert_int_equal(verbs_ports(port, 4), 1);
	assert_true(port[0].is_active && port[0].has_address);
	return port[0];
}

static bool is_iwarp(void)
{
	return !strcmp(the_port().kind, "iWARP");
}

static void only_the_keys_of_a_session_s_own_slabs_do_anything(void **state)
{
	struct verbs_op op = {0};
	struct rdma_session good, gone;
	struct verbs_region *region, *other;
	struct store *s;

	(void)state;
	srand(4);
	start("512M");
	s = open_rdma(MIB(64), NULL);
	region = open_session(&good, MIB(1));
	op = (struct verbs_op){.is_write = true,
			       .remote = good.slab[0].address,
			       .key = good.slab[0].key[RDMA_URGENT]};
	memset(page, 0x11, sizeof(page));
	assert_int_equal(try_op(&good, region, RDMA_URGENT, op), 0);

	/* Beyond the ends, and across one. */
	expect_refused(&(struct verbs_op){.remote = MIB(1)}, false);
	expect_refused(&(struct verbs_op){.remote = MIB(1) - 8}, false);
	expect_refused(&(struct verbs_op){.remote = MIB(1) - PAGE_BYTES + 1}, false);
	/* Guessed. */
	for (uint32_t i = 1; i < 4; i++)
		expect_refused(&(struct verbs_op){.key = i}, false);
	for (int i = 0; i < 8; i++)
		expect_refused(&(struct verbs_op){.key = 256 + (uint32_t)rand()}, false);
	/* Somebody else's, whole and true. */
	expect_refused(&(struct verbs_op){.remote = good.slab[0].address,
					  .key = good.slab[0].key[RDMA_URGENT]},
		       false);
	/* Of a lease that has ended. */
	other = open_session(&gone, MIB(1));
	op.remote = gone.slab[0].address;
	op.key = gone.slab[0].key[RDMA_URGENT];
	close_session(&gone, other);
	expect_refused(&op, false);
	/* The right slab by the other connection: windows are of one connection alone. */
	if (the_port().has_windows)
		expect_refused(&(struct verbs_op){0}, true);

	/* And everybody else was served, and has what is theirs. */
	op = (struct verbs_op){.remote = good.slab[0].address,
			       .key = good.slab[0].key[RDMA_URGENT]};
	memset(page, 0, sizeof(page));
	assert_int_equal(try_op(&good, region, RDMA_URGENT, op), 0);
	for (size_t i = 0; i < sizeof(page); i++)
		assert_int_equal(page[i], 0x11);
	close_session(&good, region);
	net_load(s, 50);
	s->ops->close(s);
	expect_free(&r, MIB(512));
}

static void memory_is_zero_for_the_next_one(void **state)
{
	struct rdma_session s;
	struct verbs_region *region;
	struct verbs_op op = {.is_write = true};

	(void)state;
	start("64M");
	for (int round = 0; round < 3; round++) {
		region = open_session(&s, MIB(64));
		op.remote = s.slab[0].address + MIB(33);
		op.key = s.slab[0].key[RDMA_URGENT];
		op.is_write = false;
		assert_int_equal(try_op(&s, region, RDMA_URGENT, op), 0);
		for (size_t i = 0; i < sizeof(page); i++)
			assert_int_equal(page[i], 0);
		memset(page, 0x5a, sizeof(page));
		op.is_write = true;
		assert_int_equal(try_op(&s, region, RDMA_URGENT, op), 0);
		close_session(&s, region);
		expect_free(&r, MIB(64));
	}
}

/* ---- a connection that breaks ---- */

static void a_connection_that_broke_is_made_anew(void **state)
{
	struct rdma_session s;
	struct verbs_region *region;
	struct verbs_asking ask;
	struct verbs_conn *next = NULL;
	struct verbs_op op = {.is_write = true};

	(void)state;
	start("64M");
	region = open_session(&s, MIB(1));
	op.remote = s.slab[0].address;
	op.key = s.slab[0].key[RDMA_URGENT];
	memset(page, 0x3c, sizeof(page));
	assert_int_equal(try_op(&s, region, RDMA_URGENT, op), 0);
	ask = rdma_session_asking(&s, RDMA_URGENT);
	assert_int_equal(verbs_connect(s.host, &ask, tcp_deadline_ns(PATIENCE_MS), &next), 0);
	/* The old one can do nothing any more, not even with its own key. */
	memset(page, 0x44, sizeof(page));
	assert_int_not_equal(try_op(&s, region, RDMA_URGENT, op), 0);
	verbs_close(s.conn[RDMA_URGENT]);
	s.conn[RDMA_URGENT] = next;
	op.is_write = false;
	op.key = s.slab[0].key[RDMA_BULK];
	assert_int_equal(try_op(&s, region, RDMA_BULK, op), 0);
	for (size_t i = 0; i < sizeof(page); i++)
		assert_int_equal(page[i], 0x3c);
	/* The session is there: nothing was given back. */
	usleep(200000);
	assert_int_equal(free_bytes(&r), MIB(63));
	close_session(&s, region);
	expect_free(&r, MIB(64));
}

/* ---- coming in ---- */

static void expect_knock_refused(const void *words, size_t bytes, enum wire_error_code code)
{
	struct verbs_asking ask = {.words_bytes = bytes};
	struct verbs_host *host;
	struct verbs_conn *c = NULL;
	struct wire_msg m;

	assert_int_equal(net_addr_parse(NET_RDMA, r.rdma_rest, false, &ask.to), 0);
	memcpy(ask.words, words, bytes);
	assert_int_equal(verbs_host_open(&host), 0);
	assert_int_equal(verbs_connect(host, &ask, tcp_deadline_ns(PATIENCE_MS), &c),
			 -ECONNREFUSED);
	assert_true(rdma_session_refused(c, &m));
	assert_int_equal(m.error.code, code);
	verbs_close(c);
	verbs_host_close(host);
}

static void who_asks_wrongly_is_told(void **state)
{
	struct wire_msg m = {.type = WIRE_JOIN, .join.session = 1};
	uint8_t buf[WIRE_MAX_BYTES];
	struct store *s;
	size_t bytes;

	(void)state;
	start("128M");
	s = open_rdma(MIB(64), NULL);
	memset(m.join.token, 0xab, WIRE_TOKEN_BYTES);
	expect_knock_refused(buf, wire_encode(&m, buf), WIRE_ERR_STALE);
	m.join.session = 99;
	expect_knock_refused(buf, wire_encode(&m, buf), WIRE_ERR_STALE);
	m.join.session = 0;
	m.request = 2;
	expect_knock_refused(buf, wire_encode(&m, buf), WIRE_ERR_MALFORMED);
	m = (struct wire_msg){.type = WIRE_JOIN, .version = 9};
	expect_knock_refused(buf, wire_encode(&m, buf), WIRE_ERR_VERSION);
	m = (struct wire_msg){.type = WIRE_BYE};
	expect_knock_refused(buf, wire_encode(&m, buf), WIRE_ERR_MALFORMED);
	memset(buf, 0x41, sizeof(buf));
	expect_knock_refused(buf, VERBS_KNOCK_BYTES, WIRE_ERR_MALFORMED);
	bytes = 0;
	expect_knock_refused(buf, bytes, WIRE_ERR_MALFORMED);
	net_load(s, 20);
	s->ops->close(s);
}

static void who_says_nothing_is_dropped_in_time(void **state)
{
	struct wire_msg m = {.type = WIRE_JOIN};
	struct verbs_asking ask = {0};
	struct verbs_event ev = {.what = VERBS_OPENS};
	struct verbs_host *host;
	struct verbs_conn *c = NULL;
	uint8_t buf[WIRE_MAX_BYTES];
	uint64_t begin_ns;

	(void)state;
	start("64M");
	assert_int_equal(net_addr_parse(NET_RDMA, r.rdma_rest, false, &ask.to), 0);
	ask.words_bytes = wire_encode(&m, buf);
	memcpy(ask.words, buf, ask.words_bytes);
	assert_int_equal(verbs_host_open(&host), 0);
	assert_int_equal(verbs_connect(host, &ask, tcp_deadline_ns(PATIENCE_MS), &c), 0);
	begin_ns = tcp_deadline_ns(0);
	while (ev.what != VERBS_OVER && tcp_deadline_ns(0) < begin_ns + 20000000000ULL) {
		usleep(20000);
		assert_true(verbs_next(host, &ev) >= 0);
	}
	assert_int_equal(ev.what, VERBS_OVER);
	assert_true(tcp_deadline_ns(0) - begin_ns > 4000000000ULL);
	verbs_close(c);
	verbs_host_close(host);
}

static void what_can_t_be_opened_is_said_with_the_remedy(void **state)
{
	uint64_t left, capacity;
	char tcp_port[80];
	struct spec spec = {.scheme = (char *)"rdma", .rest = r.rdma_rest};

	(void)state;
	start("64M");
	net_expect_no(&store_rdma_type, r.rdma_rest, GIB(4), -ENOSPC,
		      "has 64.0 MiB free, 4.0 GiB wanted: start rmemd with --capacity 4G");
	snprintf(tcp_port, sizeof(tcp_port), "%s:%u", address, r.addr.port);
	net_expect_no(&store_rdma_type, tcp_port, MIB(4), -ECONNREFUSED,
		      "nobody listens there by RDMA");
	net_expect_no(&store_rdma_type, "127.0.0.1:7771", MIB(4), -ENODEV,
		      "no RDMA device here leads there");
	if (!is_iwarp()) /* which listens among the ports of tcp */
		net_expect_no(&store_tcp_type, r.rdma_rest, MIB(4), -ECONNREFUSED,
			      "nobody listens there");
	net_expect_no(&store_rdma_type, "1.2.3.4:70000", MIB(4), -EINVAL,
		      "rdma:1.2.3.4:70000: the port is not a number");
	net_expect_no(&store_rdma_type, ":7771", MIB(4), -EINVAL, "names no machine");
	assert_int_equal(store_rdma_type.probe(&spec, PATIENCE_MS, &left, &capacity), 0);
	assert_int_equal(left, MIB(64));
	assert_int_equal(capacity, MIB(64));
}

static int part_locks_little(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	const struct rlimit limit = {.rlim_cur = 65536, .rlim_max = 65536};
	struct store *s = NULL;

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capget, &head, caps))
		return 1;
	caps[CAP_IPC_LOCK / 32].effective &= ~(1U << CAP_IPC_LOCK % 32);
	caps[CAP_SYS_RESOURCE / 32].effective &= ~(1U << CAP_SYS_RESOURCE % 32);
	if (syscall(SYS_capset, &head, caps))
		return 2;
	if (net_open(&store_rdma_type, r.rdma_rest, NULL, MIB(4), PATIENCE_MS, &s) == 0)
		return 3;
	return strstr(err_text(-ENOMEM), "raise ulimit -l") ? 0 : 4;
}

static void too_little_memory_to_lock_is_said(void **state)
{
	(void)state;
	start("64M");
	assert_int_equal(run_part("locks-little"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, net_prepare, net_cleanup)

static int play_part(const char *part, const char *rest)
{
	snprintf(r.rdma_rest, sizeof(r.rdma_rest), "%s", rest);
	return strcmp(part, "dies") ? part_locks_little() : part_dies();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		T(pages_come_back_in_any_order),
		T(servers_of_every_kind_make_one_pool),
		T(slots_beyond_the_end_are_refused),
		T(a_server_that_is_stopped_serves_all_the_same),
		T(an_idle_session_stays),
		T(a_dead_server_is_noticed_at_once),
		T(a_stopped_server_ends_the_lease),
		T(a_dead_client_gives_everything_back),
		T(only_the_keys_of_a_session_s_own_slabs_do_anything),
		T(memory_is_zero_for_the_next_one),
		T(a_connection_that_broke_is_made_anew),
		T(who_asks_wrongly_is_told),
		T(who_says_nothing_is_dropped_in_time),
		T(what_can_t_be_opened_is_said_with_the_remedy),
		T(too_little_memory_to_lock_is_said),
	};

	if (argc == 3)
		return play_part(argv[1], argv[2]);
	address = getenv("RMEM_VM_IP");
	if (!address) {
		puts("skipped: needs an RDMA device: tests/vm/run runs it in a guest that has one");
		return SKIPPED;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
