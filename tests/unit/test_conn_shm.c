/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/conn/shm.h"

static int pair[2];

static int connect_pair(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

static int close_pair(void **state)
{
	(void)state;
	close(pair[0]);
	close(pair[1]);
	return 0;
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/* As a peer that keeps no rules: @nr descriptors beside one message. */
static void send_with_fds(unsigned int nr)
{
	char room[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec iov = {.iov_base = (void *)"x", .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = room,
			     .msg_controllen = CMSG_SPACE(nr * sizeof(int))};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	const int fd = STDERR_FILENO;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(nr * sizeof(int));
	for (unsigned int i = 0; i < nr; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(int));
	assert_int_equal(sendmsg(pair[0], &msg, 0), 1);
}

static void messages_keep_their_borders(void **state)
{
	char buf[8];

	(void)state;
	assert_int_equal(shm_send(pair[0], "one", 3, -1), 0);
	assert_int_equal(shm_send(pair[0], "three", 5, -1), 0);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), 3);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), 5);
	assert_memory_equal(buf, "three", 5);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), -EAGAIN);
}

static void a_message_too_long_is_refused_not_cut(void **state)
{
	char buf[4];

	(void)state;
	assert_int_equal(shm_send(pair[0], "12345", 5, -1), 0);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), -EMSGSIZE);
}

static void one_descriptor_comes_where_one_is_allowed(void **state)
{
	char buf[4];
	int fd = -1;

	(void)state;
	assert_int_equal(shm_send(pair[0], "x", 1, STDERR_FILENO), 0);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), &fd), 1);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	assert_int_equal(shm_send(pair[0], "x", 1, -1), 0);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), &fd), 1);
	assert_int_equal(fd, -1);
}

static void descriptors_nobody_asked_for_are_refused_and_closed(void **state)
{
	static const unsigned int nr[] = {2, 4, 5, 16};
	unsigned int before = count_fds();
	char buf[4];
	int fd = -7;

	(void)state;
	for (size_t i = 0; i < sizeof(nr) / sizeof(nr[0]); i++) {
		send_with_fds(nr[i]);
		assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), &fd), -EBADMSG);
		assert_int_equal(fd, -7);
		send_with_fds(nr[i]);
		assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), -EBADMSG);
	}
	send_with_fds(1);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), -EBADMSG);
	assert_int_equal(count_fds(), before);
}

static void a_peer_that_left_is_told_after_its_last_words(void **state)
{
	char buf[4];

	(void)state;
	assert_int_equal(shm_send(pair[1], "ours", 4, -1), 0); /* never read: a reset */
	assert_int_equal(shm_send(pair[0], "bye", 3, -1), 0);
	close(pair[0]);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), 3);
	assert_int_equal(shm_recv(pair[1], buf, sizeof(buf), NULL), -EPIPE);
	assert_int_equal(shm_send(pair[1], "x", 1, -1), -EPIPE);
	pair[0] = -1;
}

static void waiting_has_an_end(void **state)
{
	uint64_t start_ns = shm_deadline_ns(0), waited_ns;
	char buf[4];

	(void)state;
	assert_int_equal(shm_recv_until(pair[1], buf, sizeof(buf), NULL, shm_deadline_ns(50)),
			 -ETIMEDOUT);
	waited_ns = shm_deadline_ns(0) - start_ns;
	assert_in_range(waited_ns, 50000000, 1000000000);
}

static void only_a_connected_packet_socket_is_adopted(void **state)
{
	int stream[2], file = open("/dev/null", O_RDWR | O_CLOEXEC);
	int lone = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), 0);
	assert_int_equal(shm_adopt(pair[0]), 0);
	assert_int_equal(shm_adopt(stream[0]), -ENOTSOCK);
	assert_int_equal(shm_adopt(file), -ENOTSOCK);
	assert_int_equal(shm_adopt(lone), -ENOTSOCK);
	assert_int_equal(shm_adopt(9999), -ENOTSOCK);
	close(stream[0]);
	close(stream[1]);
	close(file);
	close(lone);
}

#define T(name) cmocka_unit_test_setup_teardown(name, connect_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(messages_keep_their_borders),
		T(a_message_too_long_is_refused_not_cut),
		T(one_descriptor_comes_where_one_is_allowed),
		T(descriptors_nobody_asked_for_are_refused_and_closed),
		T(a_peer_that_left_is_told_after_its_last_words),
		T(waiting_has_an_end),
		T(only_a_connected_packet_socket_is_adopted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
