/* SPDX-License-Identifier: Apache-2.0 */
/* 1,000 forks of a process with remote pages, up to 8 at a time; each child
 * reads a few pages and writes a few of its own. JOB_CORRUPT: child */
#include "job.h"

#include <stdlib.h>
#include <unistd.h>

#define AT_ONCE 8

static void child(char *m, size_t nr, uint64_t seed)
{
	for (int i = 0; i < 6; i++) {
		size_t no = job_rand(&seed) % nr;

		page_check(m + no * PG, no, 1);
	}
	size_t no = job_rand(&seed) % nr;

	page_write(m + no * PG, no, seed);
	page_check(m + no * PG, no, seed);
	job_child_exit();
}

int main(int argc, char **argv)
{
	pid_t kid[AT_ONCE] = {0};

	job_init(argc, argv);

	int forks = *job_more ? atoi(job_more) : 1000;
	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	for (int i = 0; i < forks; i++) {
		pid_t *k = &kid[i % AT_ONCE];

		if (*k)
			job_reap(*k);
		*k = fork();
		if (*k == 0)
			child(m, nr, (uint64_t)i);
		CHECK(*k > 0);
	}
	for (int i = 0; i < AT_ONCE; i++)
		if (kid[i])
			job_reap(kid[i]);
	pages_check(m, 0, nr, 1);
	return job_done();
}
