/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that come and go: four at a time, each a quarter of the memory,
 * some by fork alone, some by exec of this program, some killed half way.
 * JOB_CORRUPT: child */
#include "job.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE 4
#define ROUNDS	24

static void work(size_t nr, uint64_t gen)
{
	char *m = job_map(nr * PG);

	pages_write(m, gen, nr, gen);
	pages_check(m, gen, nr, gen);
	pages_write(m, gen, nr, gen + 1);
	pages_check(m, gen, nr, gen + 1);
	job_child_exit();
}

static void start(pid_t *kid, int i, const char *mib)
{
	*kid = fork();
	if (*kid)
		return;
	if (i % 3 == 1) {
		execl("/proc/self/exe", "churn", mib, "work", (char *)NULL);
		_exit(127);
	}
	work(job_bytes / AT_ONCE / PG, (uint64_t)i);
}

static void finish(pid_t kid, int i)
{
	if (i % 7 == 3) {
		kill(kid, SIGKILL);
		waitpid(kid, NULL, 0);
	} else {
		job_reap(kid);
	}
}

int main(int argc, char **argv)
{
	pid_t kid[AT_ONCE] = {0};

	job_init(argc, argv);
	if (strcmp(job_more, "work") == 0)
		work(job_bytes / AT_ONCE / PG, 99);
	for (int i = 0; i < ROUNDS; i++) {
		if (kid[i % AT_ONCE])
			finish(kid[i % AT_ONCE], i - AT_ONCE);
		start(&kid[i % AT_ONCE], i, argc > 1 ? argv[1] : "256");
	}
	for (int i = ROUNDS; i < ROUNDS + AT_ONCE; i++)
		finish(kid[i % AT_ONCE], i - AT_ONCE);
	return job_done();
}
