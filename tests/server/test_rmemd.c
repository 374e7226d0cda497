/* SPDX-License-Identifier: Apache-2.0 */
/* The program rmemd: options, sockets, signals, how it starts and how it ends. */
#include "tests/server/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

static const char *const plain[] = {"--capacity", "256M", NULL};

static int run(const char *const *args)
{
	rmemd_spawn(&r, args);
	return rmemd_wait(&r);
}

static void expect_one_line(const char *part)
{
	const char *end = strchr(r.log, '\n');

	if (strncmp(r.log, "rmemd: ", 7) != 0 || !end || end[1] || !strstr(r.log, part))
		fail_msg("expected one line with \"%s\", got \"%s\"", part, r.log);
}

static void wrong_options_are_refused_in_one_line(void **state)
{
	static const struct {
		const char *args[5];
		const char *says;
	} wrong[] = {
		{{"--frob"}, "'--frob' is no option of rmemd"},
		{{"-x"}, "is no option of rmemd"},
		{{"--capacity"}, "needs a value"},
		{{"word"}, "'word' is one word too many"},
		{{"--capacity", "0"}, "'0' is zero"},
		{{"--capacity", "-1"}, "'-1' is not a size"},
		{{"--capacity", "64Q"}, "'64Q' is not a size"},
		{{"--capacity", "1e99"}, "'1e99' is not a size"},
		{{"--capacity", ""}, "'' is not a size"},
		{{"--capacity", "100"}, "less than a page"},
		{{"--capacity", "900T"}, "more than this machine's"},
		{{"-c", "1G", "--capacity", "2G"}, "--capacity is given twice"},
		{{"--once", "--once"}, "--once is given twice"},
		{{"--node", "1023"}, "no such NUMA node"},
		{{"--node", "-1"}, "is not a number"},
		{{"--drain-timeout", "1x"}, "is not a number"},
		{{"--listen", "udp:a:1"}, "not served here"},
		{{"--listen", "tcp:127.0.0.1:x"}, "the port is not a number"},
		{{"--listen", "shm:relative"}, "must begin with '/'"},
		{{"--listen", "shm:"}, "nothing after ':'"},
		{{"--listen", "shm:/x,y=1"}, "not served here"},
		{{"--listen", "shm:/nonexistent-folder/s"}, "can't listen"},
		{{"--listen", "shm:fd=x"}, "is not a number"},
		{{"--listen", "shm:fd=0"}, "not a connected Unix packet socket"},
		{{"--listen", "shm:fd=987"}, "not a connected Unix packet socket"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(run(wrong[i].args), 1);
		expect_one_line(wrong[i].says);
	}
}

static void a_path_too_long_for_a_socket_is_refused(void **state)
{
	char listen[256] = "shm:/tmp/";

	(void)state;
	memset(listen + strlen(listen), 'x', 150);
	assert_int_equal(run((const char *const[]){"--listen", listen, NULL}), 1);
	expect_one_line("longer than the 107 characters");
}

static void help_opens_with_examples_and_version_names_features(void **state)
{
	(void)state;
	assert_int_equal(run((const char *const[]){"--help", NULL}), 0);
	assert_true(strncmp(r.log, "Examples:\n  rmemd", 17) == 0);
	assert_int_equal(run((const char *const[]){"-h", NULL}), 0);
	assert_true(strncmp(r.log, "Examples:\n", 10) == 0);
	assert_int_equal(run((const char *const[]){"--version", NULL}), 0);
	assert_non_null(strstr(r.log, "rmemd " RMEM_VERSION " ("));
}

static void the_socket_is_the_users_alone_and_goes_with_the_server(void **state)
{
	struct stat st;

	(void)state;
	rmemd_start(&r, plain);
	assert_int_equal(lstat(r.path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	kill(r.pid, SIGTERM);
	assert_int_equal(rmemd_wait(&r), 0);
	assert_int_equal(lstat(r.path, &st), -1);
	assert_non_null(strstr(r.log, "capacity 256.0 MiB"));
}

static void the_default_capacity_is_said(void **state)
{
	(void)state;
	rmemd_start(&r, (const char *const[]){NULL});
	kill(r.pid, SIGINT);
	assert_int_equal(rmemd_wait(&r), 0);
	assert_non_null(strstr(r.log, "(half of what is available)"));
}

static void a_stale_socket_is_replaced(void **state)
{
	struct stat st;

	(void)state;
	rmemd_start(&r, plain);
	kill(r.pid, SIGKILL);
	assert_int_equal(rmemd_wait(&r), 128 + SIGKILL);
	assert_int_equal(lstat(r.path, &st), 0);
	rmemd_start(&r, plain);
	kill(r.pid, SIGTERM);
	assert_int_equal(rmemd_wait(&r), 0);
}

static void the_socket_of_a_living_server_is_left_alone(void **state)
{
	struct rmemd second = r;
	char listen[64];

	(void)state;
	rmemd_start(&r, plain);
	snprintf(listen, sizeof(listen), "shm:%s", r.path);
	rmemd_spawn(&second, (const char *const[]){"--listen", listen, NULL});
	assert_int_equal(rmemd_wait(&second), 1);
	assert_non_null(strstr(second.log, "a server listens there already"));
	assert_int_equal(free_bytes(&r), MIB(256));
	kill(r.pid, SIGTERM);
	assert_int_equal(rmemd_wait(&r), 0);
}

static void what_is_no_socket_is_left_alone(void **state)
{
	char listen[64];
	struct stat st;

	(void)state;
	assert_int_equal(mkdir(r.path, 0700), 0);
	snprintf(listen, sizeof(listen), "shm:%s", r.path);
	assert_int_equal(run((const char *const[]){"--listen", listen, NULL}), 1);
	expect_one_line("not a socket");
	assert_int_equal(lstat(r.path, &st), 0);
	rmdir(r.path);
}

static void when_one_of_two_sockets_fails_none_is_left(void **state)
{
	char listen[64];
	struct stat st;

	(void)state;
	snprintf(listen, sizeof(listen), "shm:%s", r.path);
	assert_int_equal(run((const char *const[]){"--listen", listen, "--listen",
						   "shm:/nonexistent-folder/s", NULL}),
			 1);
	assert_int_equal(lstat(r.path, &st), -1);
}

static void two_sockets_share_one_capacity(void **state)
{
	struct rmemd other = r;
	char listen[64];
	struct store *s;

	(void)state;
	snprintf(other.path, sizeof(other.path), "%s/t", r.dir);
	other.spec.rest = other.path;
	snprintf(listen, sizeof(listen), "shm:%s", other.path);
	rmemd_start(&r, (const char *const[]){"-l", listen, "-c", "256M", NULL});
	assert_int_equal(store_open(&other, MIB(100), &s), 0);
	assert_int_equal(free_bytes(&r), MIB(156));
	s->ops->close(s);
	kill(r.pid, SIGTERM);
	assert_int_equal(rmemd_wait(&r), 0);
}

static void sigterm_waits_for_the_clients(void **state)
{
	struct store *s;

	(void)state;
	rmemd_start(&r, plain);
	assert_int_equal(store_open(&r, MIB(100), &s), 0);
	kill(r.pid, SIGTERM);
	expect_no_socket(&r);
	usleep(100000);
	assert_int_equal(s->ops->submit(s, NULL, 0), 0);
	assert_int_equal(kill(r.pid, 0), 0);
	s->ops->close(s);
	assert_int_equal(rmemd_wait(&r), 0);
}

static void while_draining_nothing_is_leased(void **state)
{
	struct wire_msg m;
	int fd, second;

	(void)state;
	rmemd_start(&r, plain);
	fd = raw_connect(&r);
	raw_hello(fd, MIB(64), &m);
	assert_int_equal(m.type, WIRE_WELCOME);
	second = raw_connect(&r);
	raw_hello(second, 0, &m);
	kill(r.pid, SIGTERM);
	expect_no_socket(&r);
	m = (struct wire_msg){.type = WIRE_LEASE, .request = 2, .lease.nr_slabs = 1};
	raw_send(fd, &m);
	raw_expect_error(fd, WIRE_ERR_DRAINING);
	raw_expect_end(fd);
	assert_int_equal(kill(r.pid, 0), 0);
	close(second);
	assert_int_equal(rmemd_wait(&r), 0);
}

static void draining_ends_when_its_time_is_up(void **state)
{
	struct store *s;

	(void)state;
	rmemd_start(&r, (const char *const[]){"-c", "256M", "--drain-timeout", "1", NULL});
	assert_int_equal(store_open(&r, MIB(4), &s), 0);
	kill(r.pid, SIGTERM);
	assert_int_equal(rmemd_wait(&r), 0);
	assert_non_null(strstr(r.log, "cut off 1 clients"));
	assert_int_equal(s->ops->reap(s, (struct store_done[1]){}, 1), -EPIPE);
	s->ops->close(s);
}

static void a_second_signal_ends_it_at_once(void **state)
{
	struct store *s;

	(void)state;
	rmemd_start(&r, plain);
	assert_int_equal(store_open(&r, MIB(4), &s), 0);
	kill(r.pid, SIGTERM);
	expect_no_socket(&r);
	kill(r.pid, SIGTERM);
	assert_int_equal(rmemd_wait(&r), 0);
	s->ops->close(s);
}

static void once_means_until_the_last_client_has_gone(void **state)
{
	struct store *a, *b;

	(void)state;
	rmemd_start(&r, (const char *const[]){"--once", "-c", "256M", NULL});
	assert_int_equal(store_open(&r, MIB(4), &a), 0);
	assert_int_equal(store_open(&r, MIB(4), &b), 0);
	a->ops->close(a);
	usleep(100000);
	assert_int_equal(kill(r.pid, 0), 0);
	assert_int_equal(b->ops->submit(b, NULL, 0), 0);
	b->ops->close(b);
	assert_int_equal(rmemd_wait(&r), 0);
}

/* Returns the client's end. */
static int start_private(const char *capacity)
{
	char listen[32];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	snprintf(listen, sizeof(listen), "shm:fd=%d", pair[1]);
	/* The child must not hold this end, or it would never see it close. */
	assert_int_equal(fcntl(pair[0], F_SETFD, FD_CLOEXEC), 0);
	rmemd_spawn(&r, (const char *const[]){"--listen", listen, "--capacity", capacity, NULL});
	close(pair[1]);
	return pair[0];
}

static void a_private_server_lives_as_long_as_its_socket(void **state)
{
	struct store_open_args args = {.bytes = MIB(100), .timeout_ms = PATIENCE_MS};
	struct store *s;

	(void)state;
	args.sock_fd = start_private("128M");
	assert_int_equal(store_shm_type.open(NULL, &args, &s), 0);
	assert_int_equal(getsid(r.pid), r.pid);
	kill(r.pid, SIGINT); /* no reason to leave the client alone */
	usleep(50000);
	assert_int_equal(s->ops->submit(s, NULL, 0), 0);
	s->ops->close(s);
	assert_int_equal(rmemd_wait(&r), 0);
	assert_string_equal(r.log, "");
}

static void a_private_server_whose_client_never_spoke_ends_with_it(void **state)
{
	(void)state;
	close(start_private("128M"));
	assert_int_equal(rmemd_wait(&r), 0);
	assert_string_equal(r.log, "");
}

static void a_private_server_can_spare_so_much_and_no_more(void **state)
{
	struct store_open_args args = {.bytes = MIB(129), .timeout_ms = PATIENCE_MS};
	struct store *s;

	(void)state;
	args.sock_fd = start_private("128M");
	assert_int_equal(store_shm_type.open(NULL, &args, &s), -ENOSPC);
	assert_string_equal(err_text(-ENOSPC),
			    "this machine can spare 128.0 MiB for a private server, 129.0 MiB "
			    "wanted: lower --remote or name a --server");
	assert_int_equal(rmemd_wait(&r), 0);
	assert_string_equal(r.log, "");
	args.bytes = GIB(1 << 20);
	args.sock_fd = start_private("900T"); /* more than there is: again the client says it */
	assert_int_equal(store_shm_type.open(NULL, &args, &s), -ENOSPC);
	assert_int_equal(rmemd_wait(&r), 0);
	assert_string_equal(r.log, "");
}

static void systemd_is_told_how_it_stands(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct timeval patience = {.tv_sec = 5};
	char buf[512], all[4096] = "";

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/n", r.dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
	rmemd_start(&r, plain);
	unsetenv("NOTIFY_SOCKET");
	kill(r.pid, SIGTERM);
	while (!strstr(all, "STOPPING=1")) {
		ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

		assert_true(n > 0);
		buf[n] = '\0';
		strncat(all, buf, sizeof(all) - strlen(all) - 1);
	}
	assert_non_null(strstr(all, "READY=1"));
	assert_non_null(strstr(all, "STATUS=0 clients, 0 B of 256.0 MiB reserved"));
	assert_int_equal(rmemd_wait(&r), 0);
	close(fd);
	unlink(addr.sun_path);
}

#define T(name) cmocka_unit_test_setup_teardown(name, prepare, cleanup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(wrong_options_are_refused_in_one_line),
		T(a_path_too_long_for_a_socket_is_refused),
		T(help_opens_with_examples_and_version_names_features),
		T(the_socket_is_the_users_alone_and_goes_with_the_server),
		T(the_default_capacity_is_said),
		T(a_stale_socket_is_replaced),
		T(the_socket_of_a_living_server_is_left_alone),
		T(what_is_no_socket_is_left_alone),
		T(when_one_of_two_sockets_fails_none_is_left),
		T(two_sockets_share_one_capacity),
		T(sigterm_waits_for_the_clients),
		T(while_draining_nothing_is_leased),
		T(draining_ends_when_its_time_is_up),
		T(a_second_signal_ends_it_at_once),
		T(once_means_until_the_last_client_has_gone),
		T(a_private_server_lives_as_long_as_its_socket),
		T(a_private_server_whose_client_never_spoke_ends_with_it),
		T(a_private_server_can_spare_so_much_and_no_more),
		T(systemd_is_told_how_it_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
