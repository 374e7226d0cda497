/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.13: PTRACE_INTERRUPT shows as EINTR in epoll_wait and semop, calls
 * that no signal restarts; in read(2) it does not. */
#include "trap.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* Stops a child that waits and lets it go; what its call returned. */
static int disturbed(bool in_epoll)
{
	int st, fd[2];
	char c;

	if (pipe(fd) != 0)
		return -1;
	pid_t pid = fork();

	if (pid == 0) {
		struct epoll_event ev;

		errno = 0;
		if (in_epoll)
			epoll_wait(epoll_create1(0), &ev, 1, 1000);
		else if (read(fd[0], &c, 1) != 1 && !errno)
			_exit(1);
		_exit(errno);
	}
	usleep(100000);
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
		trap_skip("ptrace is not allowed here");
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, &st, 0);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	usleep(50000);
	if (write(fd[1], "x", 1) != 1)
		return -1;
	waitpid(pid, &st, 0);
	return WEXITSTATUS(st);
}

int main(void)
{
	trap_expect(disturbed(true) == EINTR, "epoll_wait returns EINTR");
	trap_expect(disturbed(false) == 0, "read is restarted");
	return trap_done();
}
