/* SPDX-License-Identifier: Apache-2.0 */
/* The store shm, against the real rmemd and against servers that misbehave. */
#include "tests/server/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/units.h"
#include "common/conn/shm.h"

static struct rmemd r;

static int prepare(void **state)
{
	(void)state;
	rmemd_prepare(&r);
	return 0;
}

static int cleanup(void **state)
{
	(void)state;
	rmemd_cleanup(&r);
	return 0;
}

static void start(void)
{
	rmemd_start(&r, (const char *const[]){"--capacity", "1G", NULL});
}

static char page[PAGE_BYTES] __attribute__((aligned(4096)));

static int do_one(struct store *s, enum store_op op, uint64_t slot)
{
	struct store_req req = {.slot = slot, .buf = page, .tag = 5, .op = op};
	struct store_done done = {.res = -1};

	assert_int_equal(s->ops->submit(s, &req, 1), 1);
	assert_int_equal(s->ops->reap(s, &done, 1), 1);
	assert_int_equal(done.tag, 5);
	return done.res;
}

static void pages_come_back_from_every_slab(void **state)
{
	const uint64_t bytes = MIB(64) * 17 + 3 * PAGE_BYTES; /* more than one LEASE */
	struct store *s;

	(void)state;
	rmemd_start(&r, (const char *const[]){"--capacity", "2G", NULL});
	assert_int_equal(store_open(&r, bytes, &s), 0);
	assert_int_equal(s->nr_slots, bytes / PAGE_BYTES);
	for (uint64_t slot = 0; slot < s->nr_slots; slot += 4096 - 1) {
		memset(page, (int)(slot % 251) + 1, sizeof(page));
		assert_int_equal(do_one(s, STORE_WRITE, slot), 0);
	}
	for (uint64_t slot = 0; slot < s->nr_slots; slot += 4096 - 1) {
		assert_int_equal(do_one(s, STORE_READ, slot), 0);
		assert_int_equal(page[0], (char)(slot % 251 + 1));
		assert_int_equal(page[PAGE_BYTES - 1], (char)(slot % 251 + 1));
	}
	assert_int_equal(do_one(s, STORE_WRITE, s->nr_slots - 1), 0);
	assert_int_equal(do_one(s, STORE_WRITE, s->nr_slots), -ERANGE);
	assert_int_equal(do_one(s, STORE_READ, UINT64_MAX / 2), -ERANGE);
	s->ops->close(s);
	expect_free(&r, GIB(2));
}

/* A pager was killed, and nobody has closed anything: what it leaves is a descriptor. */
static void another_process_goes_on_with_it(void **state)
{
	static struct store *dead;
	const uint64_t bytes = MIB(64) * 2 + PAGE_BYTES;
	struct handover handover = {0};
	struct store_open_args args = {
		.bytes = bytes, .sock_fd = -1, .timeout_ms = PATIENCE_MS, .handover = &handover};
	struct store *s;

	(void)state;
	start();
	assert_int_equal(store_shm_type.open(&r.spec, &args, &dead), 0);
	for (uint64_t slot = 0; slot < dead->nr_slots; slot += 4095) {
		memset(page, (int)(slot % 251) + 1, sizeof(page));
		assert_int_equal(do_one(dead, STORE_WRITE, slot), 0);
	}
	assert_int_equal(store_shm_type.open(&r.spec, &args, &s), 0);
	for (uint64_t slot = 0; slot < s->nr_slots; slot += 4095) {
		assert_int_equal(do_one(s, STORE_READ, slot), 0);
		assert_int_equal(page[PAGE_BYTES - 1], (char)(slot % 251 + 1));
	}
	s->ops->close(s);
	expect_free(&r, GIB(1));
}

/* It says HELLO once more, and not as the one before. */
static void who_goes_on_asks_for_the_same(void **state)
{
	struct wire_msg welcome, hello = {.type = WIRE_HELLO,
					  .request = 2,
					  .hello = {.version_min = 1,
						    .version_max = 1,
						    .access = WIRE_ACCESS_DESCRIPTOR,
						    .wanted_bytes = MIB(128)}};
	struct wire_leased leased;
	int fd;

	(void)state;
	start();
	fd = raw_connect(&r);
	raw_hello(fd, MIB(64), &welcome);
	close(raw_lease(fd, &leased));
	raw_send(fd, &hello);
	raw_expect_error(fd, WIRE_ERR_SEQUENCE);
	close(fd);
	expect_free(&r, GIB(1));
}

static void a_dead_server_is_noticed_at_once(void **state)
{
	struct pollfd p = {.events = POLLIN};
	struct store_req req = {.slot = 0, .buf = page, .op = STORE_WRITE};
	struct store_done done;
	struct store *s;

	(void)state;
	start();
	assert_int_equal(store_open(&r, MIB(4), &s), 0);
	p.fd = s->ops->pollfd(s);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(s->ops->reap(s, &done, 1), 0);
	assert_int_equal(s->ops->submit(s, &req, 1), 1);
	kill(r.pid, SIGKILL);
	assert_int_equal(rmemd_wait(&r), 128 + SIGKILL);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(s->ops->reap(s, &done, 1), 1); /* what was done is done */
	assert_int_equal(s->ops->reap(s, &done, 1), -EPIPE);
	assert_int_equal(s->ops->reap(s, NULL, 0), -EPIPE);
	assert_int_equal(s->ops->submit(s, &req, 1), -EPIPE);
	assert_non_null(strstr(err_text(-EPIPE), r.path));
	s->ops->close(s);
	unlink(r.path);
}

static void too_little_capacity_is_said_with_the_remedy(void **state)
{
	struct store *s = NULL;
	char text[256];

	(void)state;
	start();
	assert_int_equal(store_open(&r, GIB(4), &s), -ENOSPC);
	snprintf(text, sizeof(text),
		 "server shm:%s has 1.0 GiB free, 4.0 GiB wanted: start rmemd with --capacity 4G "
		 "or lower --remote",
		 r.path);
	assert_string_equal(err_text(-ENOSPC), text);
	assert_null(s);
}

static void an_absent_server_is_said(void **state)
{
	struct store *s;
	uint64_t left, capacity;

	(void)state;
	assert_int_equal(store_open(&r, MIB(4), &s), -ENOENT);
	assert_non_null(strstr(err_text(-ENOENT), "is not there: start rmemd --listen shm:/"));
	assert_int_equal(store_shm_type.probe(&r.spec, 100, &left, &capacity), -ENOENT);
}

static void a_stale_socket_is_said(void **state)
{
	struct store *s;

	(void)state;
	start();
	kill(r.pid, SIGKILL);
	rmemd_wait(&r);
	assert_int_equal(store_open(&r, MIB(4), &s), -ECONNREFUSED);
	assert_non_null(strstr(err_text(-ECONNREFUSED), "nobody listens there"));
	unlink(r.path);
}

static void a_wrong_spec_is_refused(void **state)
{
	struct spec spec = {.scheme = (char *)"shm", .rest = (char *)""};
	struct store_open_args args = {.bytes = MIB(4), .sock_fd = -1, .timeout_ms = 100};
	struct store *s;

	(void)state;
	assert_int_equal(store_shm_type.open(&spec, &args, &s), -EINVAL);
	spec.rest = (char *)"relative";
	assert_int_equal(store_shm_type.open(&spec, &args, &s), -EINVAL);
}

/* ---- servers that misbehave, at the other end of a socket pair ---- */

struct fake {
	int fd;
	void (*play)(int fd);
};

static void *play_fake(void *arg)
{
	struct fake *fake = arg;

	fake->play(fake->fd);
	close(fake->fd);
	return NULL;
}

static void fake_recv(int fd, struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	ssize_t n = shm_recv_until(fd, buf, sizeof(buf), NULL, shm_deadline_ns(PATIENCE_MS));

	if (n < 0 || wire_decode(buf, (size_t)n, m))
		memset(m, 0, sizeof(*m));
}

static void fake_send(int fd, const struct wire_msg *m, int pass_fd)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(m, buf);

	if (shm_send(fd, buf, bytes, pass_fd))
		return;
}

static int open_against(void (*play)(int fd), struct store **out)
{
	struct store_open_args args = {.bytes = MIB(4), .timeout_ms = 300};
	struct fake fake = {.play = play};
	pthread_t thread;
	int pair[2], rc;

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	fake.fd = pair[1];
	args.sock_fd = pair[0];
	assert_int_equal(pthread_create(&thread, NULL, play_fake, &fake), 0);
	err_clear();
	*out = NULL;
	rc = store_shm_type.open(NULL, &args, out);
	pthread_join(thread, NULL);
	if (rc) /* taken, also on error */
		assert_int_equal(fcntl(pair[0], F_GETFD), -1);
	return rc;
}

static void expect_failure(void (*play)(int fd), int code, const char *says)
{
	struct store *s;

	assert_int_equal(open_against(play, &s), code);
	if (!strstr(err_text(code), says))
		fail_msg("expected \"%s\" in \"%s\"", says, err_text(code));
}

static void play_garbage(int fd)
{
	struct wire_msg m;

	fake_recv(fd, &m);
	if (shm_send(fd, "HTTP/1.1 400 Bad Request", 24, -1))
		return;
}

static void play_end(int fd)
{
	(void)fd;
}

static void play_silence(int fd)
{
	struct wire_msg m;

	fake_recv(fd, &m);
	usleep(500000);
}

static void play_refuse(int fd, uint32_t code, const char *text)
{
	struct wire_msg m, answer = {.type = WIRE_ERROR, .error.code = code};

	fake_recv(fd, &m);
	answer.request = m.request;
	snprintf(answer.error.text, sizeof(answer.error.text), "%s", text);
	fake_send(fd, &answer, -1);
}

static void play_version(int fd)
{
	play_refuse(fd, WIRE_ERR_VERSION, "speaks 7");
}

static void play_busy(int fd)
{
	play_refuse(fd, WIRE_ERR_TOO_MANY_CLIENTS, "has enough");
}

static void play_stale(int fd)
{
	play_refuse(fd, WIRE_ERR_STALE, "no such session");
}

static void play_unknown_code(int fd)
{
	play_refuse(fd, 4711, "a reason of tomorrow");
}

/* Says its word before it has read ours, and leaves: ours is lost, its is not. */
static void play_refuse_unread(int fd)
{
	struct wire_msg m = {.type = WIRE_ERROR, .error = {.code = WIRE_ERR_DENIED, .text = "no"}};

	fake_send(fd, &m, -1);
}

static void play_wrong_answer(int fd)
{
	struct wire_msg m, answer = {.type = WIRE_BYE};

	fake_recv(fd, &m);
	answer.request = m.request;
	fake_send(fd, &answer, -1);
}

static void play_wrong_request(int fd)
{
	struct wire_msg m, answer = {.type = WIRE_WELCOME,
				     .request = 77,
				     .welcome = {.version = 1, .slab_bytes = MIB(64)}};

	fake_recv(fd, &m);
	fake_send(fd, &answer, -1);
}

static void servers_that_misbehave_are_told_apart(void **state)
{
	(void)state;
	expect_failure(play_garbage, -EPROTO, "does not speak rmem's protocol");
	expect_failure(play_end, -EPIPE, "closed the connection");
	expect_failure(play_silence, -ETIMEDOUT, "did not answer in time");
	expect_failure(play_version, -EPROTONOSUPPORT, "of another version (speaks 7)");
	expect_failure(play_busy, -EBUSY, "has enough");
	expect_failure(play_stale, -ESTALE, "was started anew, and the pages are gone with it");
	expect_failure(play_unknown_code, -EPROTO, "a reason of tomorrow");
	expect_failure(play_refuse_unread, -EACCES, "no");
	expect_failure(play_wrong_answer, -EPROTO, "does not speak rmem's protocol");
	expect_failure(play_wrong_request, -EPROTO, "does not speak rmem's protocol");
}

/* Welcomes as it should, then leases what @fd is under the size @bytes. */
static void play_lease(int fd, int slab_fd, uint64_t bytes)
{
	struct wire_msg m,
		welcome = {.type = WIRE_WELCOME,
			   .welcome = {.version = 1,
				       .slab_bytes = MIB(64),
				       .capacity_bytes = GIB(1)}},
		leased = {.type = WIRE_LEASED,
			  .leased = {.access = WIRE_ACCESS_DESCRIPTOR, .slab = 1, .bytes = bytes}};

	fake_recv(fd, &m);
	welcome.request = m.request;
	fake_send(fd, &welcome, -1);
	fake_recv(fd, &m);
	leased.request = m.request;
	fake_send(fd, &leased, slab_fd);
	if (slab_fd >= 0)
		close(slab_fd);
}

static int make_memfd(uint64_t bytes, int seals)
{
	int fd = memfd_create("rmem-slab", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, seals))
		return -1;
	return fd;
}

static void play_no_descriptor(int fd)
{
	play_lease(fd, -1, MIB(4));
}

static void play_unsealed(int fd)
{
	play_lease(fd, make_memfd(MIB(4), F_SEAL_GROW), MIB(4));
}

static void play_read_only(int fd)
{
	play_lease(fd, make_memfd(MIB(4), F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE), MIB(4));
}

static void play_too_small(int fd)
{
	play_lease(fd, make_memfd(MIB(2), F_SEAL_GROW | F_SEAL_SHRINK), MIB(4));
}

static void play_other_size(int fd)
{
	play_lease(fd, make_memfd(MIB(2), F_SEAL_GROW | F_SEAL_SHRINK), MIB(2));
}

static void play_plain_file(int fd)
{
	play_lease(fd, open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), MIB(4));
}

static void play_fair(int fd)
{
	play_lease(fd, make_memfd(MIB(4), F_SEAL_GROW | F_SEAL_SHRINK), MIB(4));
}

static void slabs_are_looked_at_before_they_are_mapped(void **state)
{
	struct store *s;

	(void)state;
	expect_failure(play_no_descriptor, -EPROTO, "something else than it promised");
	expect_failure(play_other_size, -EPROTO, "something else than it promised");
	expect_failure(play_unsealed, -EPROTO, "not as promised");
	expect_failure(play_read_only, -EPROTO, "not as promised");
	expect_failure(play_too_small, -EPROTO, "not as promised");
	expect_failure(play_plain_file, -EPROTO, "not as promised");
	assert_int_equal(open_against(play_fair, &s), 0);
	s->ops->close(s);
}

static void play_one_more(int fd)
{
	const struct wire_msg more = {.type = WIRE_LEASED};

	play_fair(fd);
	fake_send(fd, &more, -1);
}

static void play_ended(int fd)
{
	struct wire_msg m = {.type = WIRE_ERROR, .error.code = WIRE_ERR_DRAINING};

	play_fair(fd);
	snprintf(m.error.text, sizeof(m.error.text), "it was cut off");
	fake_send(fd, &m, -1);
}

static void play_too_much(int fd)
{
	static const char much[2 * WIRE_MAX_BYTES];

	play_fair(fd);
	if (shm_send(fd, much, sizeof(much), -1))
		return;
}

static void expect_loss(void (*play)(int fd), const char *says)
{
	struct store_done done;
	struct store *s;

	assert_int_equal(open_against(play, &s), 0);
	assert_int_equal(s->ops->reap(s, &done, 1), -EPIPE);
	if (!strstr(err_text(-EPIPE), says))
		fail_msg("expected \"%s\" in \"%s\"", says, err_text(-EPIPE));
	s->ops->close(s);
}

static void how_a_lease_was_lost_is_said(void **state)
{
	(void)state;
	expect_loss(play_fair, "is gone, and the pages with it");
	expect_loss(play_one_more, "says what nobody asked for");
	expect_loss(play_ended, "ended the lease: it was cut off");
	expect_loss(play_too_much, "can't be heard any more: Message too long");
}

#define T(name) cmocka_unit_test_setup_teardown(name, prepare, cleanup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pages_come_back_from_every_slab),
		T(another_process_goes_on_with_it),
		T(who_goes_on_asks_for_the_same),
		T(a_dead_server_is_noticed_at_once),
		T(too_little_capacity_is_said_with_the_remedy),
		T(an_absent_server_is_said),
		T(a_stale_socket_is_said),
		T(a_wrong_spec_is_refused),
		T(servers_that_misbehave_are_told_apart),
		T(slabs_are_looked_at_before_they_are_mapped),
		T(how_a_lease_was_lost_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
