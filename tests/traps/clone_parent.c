/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.12: a task made in the job with CLONE_PARENT is a child of the job's
 * parent: its wait(2) finds a child it never had. */
#include "trap.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[65536] __attribute__((aligned(64)));

static int agent(void *arg)
{
	(void)arg;
	usleep(300000);
	return 0;
}

/* How the parent's second wait(2) ends after its only child has: 0 or errno. */
static int second_wait(int flags)
{
	int st;
	pid_t job = fork();

	if (job == 0) {
		clone(agent, stack + sizeof(stack), CLONE_VM | flags, NULL);
		usleep(50000);
		_exit(0);
	}
	waitpid(job, &st, 0);
	return wait(&st) > 0 ? 0 : errno;
}

int main(void)
{
	trap_expect(second_wait(CLONE_PARENT) == 0, "CLONE_PARENT: a strange child");
	trap_expect(second_wait(0) == ECHILD, "without: ECHILD, as Linux promises");
	return trap_done();
}
