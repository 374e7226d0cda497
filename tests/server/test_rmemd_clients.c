/* SPDX-License-Identifier: Apache-2.0 */
/* What rmemd lends to whom, and clients that lie, stutter, say nothing or die. */
#include "tests/server/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/units.h"
#include "common/conn/shm.h"
#include "server/server.h"

static struct rmemd r;

static int start(void **state)
{
	(void)state;
	rmemd_prepare(&r);
	rmemd_start(&r, (const char *const[]){"--capacity", "256M", NULL});
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

static char *map(int fd, uint64_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void expect_zeros(const char *p, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i += 8)
		assert_int_equal(*(const uint64_t *)(p + i), 0);
}

static void the_next_client_reads_only_zeros(void **state)
{
	struct wire_leased leased;
	struct wire_msg m;

	(void)state;
	for (int round = 0; round < 3; round++) {
		int fd = raw_connect(&r), slab_fd;
		char *p;

		raw_hello(fd, MIB(256), &m);
		assert_int_equal(m.type, WIRE_WELCOME);
		slab_fd = raw_lease(fd, &leased);
		p = map(slab_fd, leased.bytes);
		expect_zeros(p, leased.bytes);
		memset(p, 0xa5, leased.bytes);
		munmap(p, leased.bytes);
		close(slab_fd);
		close(fd);
		expect_free(&r, MIB(256));
	}
}

static void a_client_gets_its_own_slabs_and_nothing_else(void **state)
{
	int a = raw_connect(&r), b = raw_connect(&r), a_fd, b_fd;
	struct wire_leased a_leased, b_leased;
	struct stat a_st, b_st;
	struct wire_msg m;
	char *a_map, *b_map;

	(void)state;
	raw_hello(a, MIB(128), &m);
	raw_hello(b, MIB(64), &m);
	a_fd = raw_lease(a, &a_leased);
	b_fd = raw_lease(b, &b_leased);
	assert_true(a_leased.slab != b_leased.slab);
	fstat(a_fd, &a_st);
	fstat(b_fd, &b_st);
	assert_true(a_st.st_ino != b_st.st_ino);
	a_map = map(a_fd, a_leased.bytes);
	b_map = map(b_fd, b_leased.bytes);
	memset(a_map, 1, a_leased.bytes);
	expect_zeros(b_map, b_leased.bytes);
	/* There is no way to name another's slab; only more than its own can be asked for. */
	m = (struct wire_msg){.type = WIRE_LEASE, .request = 3, .lease.nr_slabs = 1};
	raw_send(b, &m);
	raw_expect_error(b, WIRE_ERR_SEQUENCE);
	raw_expect_end(b);
	munmap(a_map, a_leased.bytes);
	munmap(b_map, b_leased.bytes);
	close(a_fd);
	close(b_fd);
	close(a);
}

static void slabs_are_sealed(void **state)
{
	struct wire_leased leased;
	struct wire_msg m;
	int fd = raw_connect(&r), slab_fd;

	(void)state;
	raw_hello(fd, MIB(64) + PAGE_BYTES, &m);
	slab_fd = raw_lease(fd, &leased);
	assert_int_equal(fcntl(slab_fd, F_GET_SEALS), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
	assert_int_equal(ftruncate(slab_fd, 0), -1);
	close(slab_fd);
	slab_fd = raw_lease(fd, &leased);
	assert_int_equal(leased.bytes, PAGE_BYTES);
	close(slab_fd);
	close(fd);
}

static void a_kept_mapping_is_worth_nothing_after_the_connection(void **state)
{
	struct wire_leased leased;
	struct wire_msg m;
	int fd = raw_connect(&r), slab_fd;
	char *p;

	(void)state;
	raw_hello(fd, MIB(64), &m);
	slab_fd = raw_lease(fd, &leased);
	p = map(slab_fd, leased.bytes);
	memset(p, 3, leased.bytes);
	close(fd);
	expect_free(&r, MIB(256));
	expect_zeros(p, leased.bytes);
	munmap(p, leased.bytes);
	close(slab_fd);
}

static void capacity_is_promised_once(void **state)
{
	int a = raw_connect(&r), b = raw_connect(&r);
	struct wire_msg m;

	(void)state;
	raw_hello(a, MIB(200), &m);
	assert_int_equal(m.type, WIRE_WELCOME);
	assert_int_equal(m.welcome.capacity_bytes, MIB(256));
	assert_int_equal(m.welcome.free_bytes, MIB(56));
	raw_hello(b, MIB(57), &m);
	assert_int_equal(m.type, WIRE_ERROR);
	assert_int_equal(m.error.code, WIRE_ERR_CAPACITY);
	assert_int_equal(m.error.free_bytes, MIB(56));
	assert_int_equal(m.error.capacity_bytes, MIB(256));
	raw_expect_end(b);
	close(a);
}

static void status_is_told(void **state)
{
	struct wire_leased leased;
	struct wire_msg m;
	int fd = raw_connect(&r);

	(void)state;
	raw_hello(fd, MIB(128), &m);
	close(raw_lease(fd, &leased));
	m = (struct wire_msg){.type = WIRE_STATUS, .request = 9};
	raw_send(fd, &m);
	raw_recv(fd, &m, NULL);
	assert_int_equal(m.type, WIRE_STATUS_REPLY);
	assert_int_equal(m.request, 9);
	assert_int_equal(m.status_reply.reserved_bytes, MIB(128));
	assert_int_equal(m.status_reply.leased_bytes, MIB(64));
	assert_int_equal(m.status_reply.nr_clients, 1);
	m = (struct wire_msg){.type = WIRE_BYE, .request = 10};
	raw_send(fd, &m);
	raw_expect_end(fd);
}

static const struct wire_msg good_hello = {.type = WIRE_HELLO,
					   .request = 1,
					   .hello = {.version_min = 1,
						     .version_max = 1,
						     .access = WIRE_ACCESS_DESCRIPTOR,
						     .wanted_bytes = 4096,
						     .name = "x"}};

static void expect_refused(const struct wire_msg *m, enum wire_error_code code)
{
	int fd = raw_connect(&r);

	raw_send(fd, m);
	raw_expect_error(fd, code);
	raw_expect_end(fd);
}

static void what_the_server_can_not_do_is_refused(void **state)
{
	struct wire_msg m = good_hello;

	(void)state;
	m.hello.version_min = m.hello.version_max = 2;
	expect_refused(&m, WIRE_ERR_VERSION);
	m = good_hello;
	m.hello.access = 2;
	expect_refused(&m, WIRE_ERR_ACCESS);
	m = good_hello;
	m.hello.auth_method = 1;
	expect_refused(&m, WIRE_ERR_AUTH);
	m = good_hello;
	m.version = 2;
	expect_refused(&m, WIRE_ERR_VERSION);
}

static void messages_out_of_turn_are_refused(void **state)
{
	struct wire_msg m = {.type = WIRE_LEASE, .request = 1, .lease.nr_slabs = 1};
	int fd = raw_connect(&r);

	(void)state;
	expect_refused(&m, WIRE_ERR_SEQUENCE);
	m.type = WIRE_STATUS;
	expect_refused(&m, WIRE_ERR_SEQUENCE);
	raw_hello(fd, 0, &m);
	raw_send(fd, &good_hello);
	raw_expect_error(fd, WIRE_ERR_SEQUENCE);
	raw_expect_end(fd);
	fd = raw_connect(&r);
	raw_hello(fd, 0, &m);
	raw_send(fd, &m); /* a WELCOME */
	raw_expect_error(fd, WIRE_ERR_SEQUENCE);
	raw_expect_end(fd);
}

static void send_and_expect_malformed(const void *buf, size_t bytes)
{
	int fd = raw_connect(&r);

	assert_int_equal(shm_send(fd, buf, bytes, -1), 0);
	raw_expect_error(fd, WIRE_ERR_MALFORMED);
	raw_expect_end(fd);
}

static void every_cut_and_every_flipped_header_bit_is_refused(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES * 2] = {0};
	size_t bytes = wire_encode(&good_hello, buf);

	(void)state;
	for (size_t cut = 1; cut < bytes; cut++)
		send_and_expect_malformed(buf, cut);
	send_and_expect_malformed(buf, bytes + 1);
	send_and_expect_malformed(buf, sizeof(buf));
	for (size_t bit = 0; bit < WIRE_HEADER_BYTES * 8; bit++) {
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		send_and_expect_malformed(buf, bytes);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	memset(buf, 0xff, sizeof(buf));
	send_and_expect_malformed(buf, 100);
	expect_free(&r, MIB(256));
}

static void a_descriptor_from_a_client_is_refused(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(&good_hello, buf);
	int fd = raw_connect(&r);

	(void)state;
	assert_int_equal(shm_send(fd, buf, bytes, STDERR_FILENO), 0);
	raw_expect_error(fd, WIRE_ERR_MALFORMED);
	raw_expect_end(fd);
}

static void a_client_that_never_reads_is_dropped(void **state)
{
	struct wire_msg m = {.type = WIRE_STATUS, .request = 1};
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(&m, buf);
	int fd = raw_connect(&r), rc = 0;
	uint64_t deadline_ns = shm_deadline_ns(PATIENCE_MS);

	(void)state;
	raw_hello(fd, MIB(64), &m);
	while (rc != -EPIPE && shm_deadline_ns(0) < deadline_ns)
		rc = shm_send(fd, buf, bytes, -1);
	assert_int_equal(rc, -EPIPE);
	close(fd);
}

static void a_client_that_says_nothing_is_dropped_after_five_seconds(void **state)
{
	uint64_t started_ns = shm_deadline_ns(0);
	uint8_t buf[WIRE_MAX_BYTES];
	int fd = raw_connect(&r);

	(void)state;
	assert_int_equal(shm_recv_until(fd, buf, sizeof(buf), NULL, shm_deadline_ns(8000)), -EPIPE);
	assert_in_range(shm_deadline_ns(0) - started_ns, 4900000000ULL, 7900000000ULL);
	close(fd);
}

static void a_killed_client_gives_its_lease_back(void **state)
{
	int ready[2];
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct store *s;

		if (store_open(&r, MIB(200), &s) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(free_bytes(&r), MIB(56));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	expect_free(&r, MIB(256));
	close(ready[0]);
	close(ready[1]);
}

static void one_client_too_many_is_refused(void **state)
{
	static int fd[SERVER_MAX_CLIENTS];
	struct rlimit limit;
	int last;

	(void)state;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < SERVER_MAX_CLIENTS + 64) {
		print_message("skipped: too few descriptors are allowed (ulimit -Hn)\n");
		skip();
	}
	for (int i = 0; i < SERVER_MAX_CLIENTS; i++)
		fd[i] = raw_connect(&r);
	last = raw_connect(&r);
	raw_expect_error(last, WIRE_ERR_TOO_MANY_CLIENTS);
	raw_expect_end(last);
	for (int i = 0; i < SERVER_MAX_CLIENTS; i++)
		close(fd[i]);
}

static void another_user_is_refused(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: needs root\n");
		skip();
	}
	/* As if somebody had opened the folder and the socket to all. */
	chmod(r.dir, 0755);
	chmod(r.path, 0666);
	pid = fork();
	if (pid == 0) {
		struct store *s;

		if (setuid(65534))
			_exit(2);
		_exit(store_open(&r, MIB(4), &s) == -EACCES ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_next_client_reads_only_zeros),
		T(a_client_gets_its_own_slabs_and_nothing_else),
		T(slabs_are_sealed),
		T(a_kept_mapping_is_worth_nothing_after_the_connection),
		T(capacity_is_promised_once),
		T(status_is_told),
		T(what_the_server_can_not_do_is_refused),
		T(messages_out_of_turn_are_refused),
		T(every_cut_and_every_flipped_header_bit_is_refused),
		T(a_descriptor_from_a_client_is_refused),
		T(a_client_that_never_reads_is_dropped),
		T(a_client_that_says_nothing_is_dropped_after_five_seconds),
		T(a_killed_client_gives_its_lease_back),
		T(one_client_too_many_is_refused),
		T(another_user_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
