/* SPDX-License-Identifier: Apache-2.0 */
/* WIPEONFORK and DONTFORK over remote pages: the child reads zeros, or has no
 * such mapping; the parent keeps its bytes. JOB_CORRUPT: child */
#include "job.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static void in_child(char *m, size_t nr)
{
	unsigned char vec;

	pages_check_zero(m, nr);
	CHECK(mincore(m + nr * PG, PG, &vec) == -1 && errno == ENOMEM);
	errno = 0;
	pages_check(m + 2 * nr * PG, 2 * nr, nr, 1);
	pages_write(m, 0, nr, 5);
	pages_check(m, 0, nr, 5);
	/* a new mapping in the hole is new */
	char *hole = mmap(m + nr * PG, nr * PG, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(hole == m + nr * PG);
	pages_check_zero(hole, nr);
	job_child_exit();
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / 3 / PG;
	char *m = job_map(3 * nr * PG);

	pages_write(m, 0, 3 * nr, 1);
	CHECK(madvise(m, nr * PG, MADV_WIPEONFORK) == 0);
	CHECK(madvise(m + nr * PG, nr * PG, MADV_DONTFORK) == 0);
	for (int round = 0; round < 3; round++) {
		job_pressure();
		pid_t pid = fork();

		if (pid == 0)
			in_child(m, nr);
		job_reap(pid);
		pages_check(m, 0, 3 * nr, 1);
	}
	return job_done();
}
