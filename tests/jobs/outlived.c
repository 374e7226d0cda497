/* SPDX-License-Identifier: Apache-2.0 */
/* A process made by clone(CLONE_VM) lives on in the address space of the one
 * that made it, which ends first: the space outlives the process that it was
 * known by, with all that is remote. JOB_CORRUPT: child */
#include "job.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK (256 * 1024)
#define MANY  500000

static char *m;
static size_t nr;

static int heir(void *arg)
{
	pid_t maker = *(pid_t *)arg;

	while (getppid() == maker)
		usleep(1000);
	usleep(300000); /* time for whoever watches to draw conclusions */
	pages_check(m, 0, nr, 1);
	pages_write(m, 0, nr, 2);
	job_pressure();
	pages_check(m, 0, nr, 2);
	job_child_exit();
}

/* Between leaving its address space and being over, a process closes its files:
 * a while, in which it is still there to be looked at. */
static void end_slowly(void)
{
	struct rlimit lim = {MANY + 100, MANY + 100};

	if (setrlimit(RLIMIT_NOFILE, &lim))
		return;
	for (int i = 0; i < MANY && dup(STDERR_FILENO) >= 0; i++)
		;
}

static void maker(void)
{
	char *stack = job_map(STACK);
	static pid_t me;

	me = getpid();
	nr = job_half / PG;
	m = job_map(job_half);
	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(clone(heir, stack + STACK, CLONE_VM | SIGCHLD, &me) > 0);
	end_slowly();
	job_child_exit();
}

int main(int argc, char **argv)
{
	int st = -1;

	job_init(argc, argv);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);

	pid_t pid = fork();

	if (pid == 0)
		maker();
	job_reap(pid);
	/* A subreaper is told of every orphan: also of what worked in the maker for rmem. */
	while (wait(&st) > 0 && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL)
		;
	CHECK(st == 0);
	return job_done();
}
