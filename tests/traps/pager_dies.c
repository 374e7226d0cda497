/* SPDX-License-Identifier: Apache-2.0 */
/* Section 4: when the last holder of a userfaultfd is gone, remote pages read
 * as zeros, without a word. While somebody holds a duplicate, they block. */
#include <sys/wait.h>
#include <unistd.h>

#include <signal.h>

#include "trap.h"

/* What a job reads after its pager died; -1: it still waits. */
static int read_after_death(bool duplicate)
{
	int st;
	pid_t job = fork();

	if (job == 0) {
		int uffd = trap_uffd(0);
		char *m = trap_map(1);

		trap_register(uffd, m, 1);
		if (duplicate && fork() == 0) { /* the supervisor */
			usleep(600000);
			_exit(0);
		}
		close(uffd); /* the pager's was the only other one */
		_exit(*(volatile unsigned char *)m);
	}
	usleep(200000);
	if (waitpid(job, &st, WNOHANG) == job)
		return WIFEXITED(st) ? WEXITSTATUS(st) : -2;
	kill(job, SIGKILL);
	waitpid(job, &st, 0);
	return -1;
}

int main(void)
{
	trap_expect(read_after_death(false) == 0,
		    "the only holder died: a remote page reads as zero, silently");
	trap_expect(read_after_death(true) == -1, "a duplicate is held: the access blocks");
	return trap_done();
}
