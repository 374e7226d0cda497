/* SPDX-License-Identifier: Apache-2.0 */
/* vfork, posix_spawn and clone(CLONE_VM) from a process with remote pages:
 * the argument of exec lies on a remote page, and a child that shares the
 * address space reads and writes the same remote pages. */
#include "job.h"

#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *m;
static size_t nr;
extern char **environ;

static char **args_on_remote_pages(void)
{
	char **argv = (char **)(m + nr * PG);
	char *text = m + (nr + 1) * PG;

	strcpy(text, "/bin/sh");
	strcpy(text + 100, "-c");
	strcpy(text + PG, "test \"$0\" = right");
	strcpy(text + 2 * PG, "right");
	argv[0] = text;
	argv[1] = text + 100;
	argv[2] = text + PG;
	argv[3] = text + 2 * PG;
	argv[4] = NULL;
	return argv;
}

static int sharer(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < nr; i++)
		if (!page_check(m + i * PG, i, 1))
			return 1;
	pages_write(m, 0, nr, 2);
	return 0;
}

int main(int argc, char **argv)
{
	static char stack[65536] __attribute__((aligned(64)));
	pid_t pid;

	job_init(argc, argv);
	nr = job_half / PG - 8;
	m = job_map(job_half);
	pages_write(m, 0, nr, 1);

	char **args = args_on_remote_pages();

	for (int i = 0; i < 3; i++) {
		job_pressure();
		pid = vfork();
		if (pid == 0) {
			execve("/bin/sh", args, environ);
			_exit(127);
		}
		job_reap(pid);
		job_pressure();
		CHECK(posix_spawn(&pid, "/bin/sh", NULL, NULL, args, environ) == 0);
		job_reap(pid);
	}
	pid = clone(sharer, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
	CHECK(pid > 0);
	job_reap(pid);
	job_pressure();
	pages_check(m, 0, nr, 2);
	return job_done();
}
