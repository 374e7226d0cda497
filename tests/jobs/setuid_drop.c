/* SPDX-License-Identifier: Apache-2.0 */
/* A process that gives its rights away before it gets large, and one that does
 * so while pages are remote; both fork afterwards. JOB_CORRUPT: child */
#include "job.h"

#include <grp.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

#define NOBODY 65534

static void drop(void)
{
	CHECK(setgroups(0, NULL) == 0);
	CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(setuid(0) == -1);
}

static void work(char *m, size_t nr)
{
	pages_check(m, 0, nr, 1);
	pages_write(m, 0, nr, 2);
	job_pressure();

	pid_t pid = fork();

	if (pid == 0) {
		pages_check(m, 0, nr, 2);
		pages_write(m, 0, nr / 4, 3);
		pages_check(m, 0, nr / 4, 3);
		job_child_exit();
	}
	job_reap(pid);
	pages_check(m, 0, nr, 2);
}

int main(int argc, char **argv)
{
	job_init(argc, argv);
	if (getuid() != 0) {
		puts("setuid_drop: skipped, needs root");
		return 77;
	}

	size_t nr = job_half / PG;
	pid_t pid = fork();

	if (pid == 0) { /* drops first */
		drop();
		char *m = job_map(job_half);

		pages_write(m, 0, nr, 1);
		job_pressure();
		work(m, nr);
		job_child_exit();
	}
	job_reap(pid);

	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	pid = fork();
	if (pid == 0) { /* drops while pages are remote */
		drop();
		work(m, nr);
		job_child_exit();
	}
	job_reap(pid);
	pages_check(m, 0, nr, 1);
	return job_done();
}
