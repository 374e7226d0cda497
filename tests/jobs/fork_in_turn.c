/* SPDX-License-Identifier: Apache-2.0 */
/* Child after child, each of which writes to all it has from its parent, and so has to be
 * paged, too: what one needed is there for the next. JOB_CORRUPT: child */
#include "job.h"

#include <unistd.h>

#define CHILDREN 16

static void child(char *m, size_t nr, uint64_t gen)
{
	page_check(m + (gen % nr) * PG, gen % nr, 0);
	pages_write(m, 0, nr, gen);
	pages_check(m, 0, nr, gen);
	job_child_exit();
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / 4 * 3 / PG;
	char *m = job_map(nr * PG);

	pages_write(m, 0, nr, 0);
	for (int i = 1; i <= CHILDREN; i++) {
		pid_t pid = fork();

		if (pid == 0)
			child(m, nr, (uint64_t)i);
		CHECK(pid > 0);
		job_reap(pid);
	}
	pages_check(m, 0, nr, 0);
	return job_done();
}
