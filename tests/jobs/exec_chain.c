/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of execs through shells: each link fills its memory, is pressed out,
 * and hands on by exec with an argument that lies on a remote page. */
#include "job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINKS 4

int main(int argc, char **argv)
{
	char self[512] = {0};

	job_init(argc, argv);

	int link = *job_more ? atoi(job_more) : 0;
	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr - 1, (uint64_t)link);
	CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(m + (nr - 1) * PG, PG, "exec '%s' %s %d", self, argc > 1 ? argv[1] : "256",
		 link + 1);
	job_pressure();
	pages_check(m, 0, nr - 1, (uint64_t)link);
	if (job_failures() || link == LINKS)
		return job_done();
	if (link % 2 == 0) {
		job_pressure();
		execl("/bin/sh", "sh", "-c", m + (nr - 1) * PG, (char *)NULL);
		return 2;
	}
	/* every second link is a child, so that a parent waits with remote pages */
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", m + (nr - 1) * PG, (char *)NULL);
		_exit(127);
	}
	job_reap(pid);
	pages_check(m, 0, nr - 1, (uint64_t)link);
	return job_done();
}
