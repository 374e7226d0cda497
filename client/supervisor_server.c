/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor_server: a memory server of our own on this machine, when none
 * was named. It is the ordinary rmemd, connected by one socket pair; it ends
 * when that hangs up. What it logs comes through a pipe and is printed here:
 * it must never wait for anything that the job may hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/supervisor.h"
#include "client/supervisor_path.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"
#include "common/base/units.h"

#define SERVER_HANGUP_MS 500
#define SERVER_EXIT_MS	 10000

static _Noreturn void server_child(const char *path, int sock, int log_fd, uint64_t bytes)
{
	char listen[32], capacity[32];
	const char *argv[] = {"rmemd", "--listen", listen, "--capacity", capacity, NULL};
	int null_fd = open("/dev/null", O_RDWR);
	sigset_t none;

	setsid();
	unsetenv("NOTIFY_SOCKET"); /* the job's service manager is not its */
	snprintf(listen, sizeof(listen), "shm:fd=%d", sock);
	snprintf(capacity, sizeof(capacity), "%" PRIu64, bytes);
	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0 ||
	    fcntl(sock, F_SETFD, 0))
		_exit(RUN_EXIT_FAILED);
	if (null_fd > 2)
		close(null_fd);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(path, (char *const *)argv);
	_exit(RUN_EXIT_NOTFOUND);
}

static ino_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

int server_start(struct supervisor *s)
{
	char path[4096], size[32];
	int sock[2], log[2];
	int err = path_of_rmemd(path, sizeof(path));

	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) || pipe2(log, O_CLOEXEC))
		return err_set(-errno, "no socket for the private rmemd: %s", strerror(errno));
	s->server_pid = fork();
	if (s->server_pid < 0) {
		s->server_pid = 0;
		return err_set(-errno, "no process for the private rmemd: %s", strerror(errno));
	}
	if (s->server_pid == 0)
		server_child(path, sock[1], log[1], s->cfg->remote_bytes);
	close(sock[1]);
	close(log[1]);
	fcntl(log[0], F_SETFL, O_NONBLOCK);
	s->server_sock = sock[0];
	s->server_sock_ino = inode_of(sock[0]);
	s->server_log_fd = log[0];
	print_line("no --server named: a private rmemd on this machine keeps up to %s",
		   units_format_size(size, sizeof(size), s->cfg->remote_bytes));
	return 0;
}

static void take_char(struct supervisor *s, char c)
{
	char text[2 * sizeof(s->server_line)];

	if (c != '\n' && s->server_line_bytes < sizeof(s->server_line) - 1)
		s->server_line[s->server_line_bytes++] = c;
	if (c != '\n')
		return;
	s->server_line[s->server_line_bytes] = '\0';
	print_escape(text, sizeof(text) - 1, s->server_line);
	strcat(text, "\n");
	print_text(STDERR_FILENO, text);
	s->server_line_bytes = 0;
}

void server_read(struct supervisor *s)
{
	char buf[512];
	ssize_t n;

	while ((n = read(s->server_log_fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			take_char(s, buf[i]);
	if (n < 0 && errno == EAGAIN)
		return;
	close(s->server_log_fd);
	s->server_log_fd = -1;
}

/* The pager has gone; did it leave the socket open? Its number may mean
 * something else by now. */
static void hang_up(struct supervisor *s)
{
	if (s->server_sock >= 0 && inode_of(s->server_sock) == s->server_sock_ino)
		close(s->server_sock);
	s->server_sock = -1;
}

void server_end(struct supervisor *s)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t start_ms = supervisor_now_ms();
	uint64_t last_ms = 0;
	bool killed = false;

	hang_up(s);
	supervisor_reap(s);
	while (s->server_pid && last_ms < SERVER_EXIT_MS) {
		if (!killed && last_ms > SERVER_HANGUP_MS)
			killed = kill(s->server_pid, SIGKILL) == 0;
		nanosleep(&pause, NULL);
		supervisor_reap(s);
		last_ms = supervisor_now_ms() - start_ms;
	}
	if (s->server_log_fd >= 0)
		server_read(s);
}
