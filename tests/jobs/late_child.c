/* SPDX-License-Identifier: Apache-2.0 */
/* A small process with one large child, born in a quiet moment and followed by
 * no other: whoever misses its birth is not told again. JOB_CORRUPT: child */
#include "job.h"

#include <unistd.h>

static void large(void)
{
	size_t nr = job_bytes / PG;
	char *m = job_map(nr * PG);

	pages_write(m, 0, nr, 1);
	pages_check(m, 0, nr, 1);
	job_child_exit();
}

int main(int argc, char **argv)
{
	pid_t pid;

	job_init(argc, argv);
	for (int last = 0; last < 2; last++) {
		usleep(200000);
		pid = fork();
		if (pid == 0 && last)
			large();
		if (pid == 0)
			_exit(0);
		job_reap(pid);
	}
	return job_done();
}
