/* SPDX-License-Identifier: Apache-2.0 */
/* The store tcp against servers that misbehave. */
#include "tests/server/net_store.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/units.h"

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
	return net_open(&store_tcp_type, rest, "2", MIB(4), 400, out);
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
	struct store_req req[3] = {{.slot = 5, .buf = net_buf(7), .tag = 1, .urgent = true},
				   {.slot = 6, .buf = net_buf(2), .tag = 2, .urgent = true},
				   {.slot = 7, .buf = net_buf(3), .tag = 3, .urgent = true}};
	struct store *s;
	pthread_t thread;
	struct fake f;

	assert_int_equal(open_against(play, &thread, &f, &s), 0);
	assert_int_equal(s->ops->submit(s, req, 3), 3);
	net_expect_lost(s, says);
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

#define T(name) cmocka_unit_test_setup_teardown(name, net_prepare, net_cleanup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(servers_that_misbehave_are_told_apart),
		T(answers_that_are_none_end_the_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
