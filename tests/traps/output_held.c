/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.9: a thread in write(2) of a remote page holds its pipe: a pager
 * that logs to the same pipe waits for the fault that only it can answer. */
#include "trap.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int fd[2], st;

	if (pipe(fd) != 0)
		return 2;
	pid_t job = fork();

	if (job == 0) {
		int uffd = trap_uffd(0);
		char *m = trap_map(1);

		trap_register(uffd, m, 1);
		_exit(write(fd[1], m, 1) != 1);
	}
	usleep(100000);
	pid_t pager = fork();

	if (pager == 0)
		_exit(write(fd[1], "warning\n", 8) != 8);
	usleep(300000);
	trap_expect(waitpid(pager, &st, WNOHANG) == 0, "the pager's own write blocks");
	kill(job, SIGKILL);
	kill(pager, SIGKILL);
	waitpid(job, &st, 0);
	waitpid(pager, &st, 0);
	return trap_done();
}
