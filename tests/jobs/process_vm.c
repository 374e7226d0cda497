/* SPDX-License-Identifier: Apache-2.0 */
/* process_vm_readv and process_vm_writev of another process's remote pages,
 * from a child to its parent and back. JOB_CORRUPT: child */
#include "job.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define STEP 64

static void child(pid_t parent, char *m, char *mine, size_t nr)
{
	for (size_t i = 0; i < nr; i += STEP) {
		struct iovec here = {mine, STEP * PG}, there = {m + i * PG, STEP * PG};

		CHECK(process_vm_readv(parent, &here, 1, &there, 1, 0) == STEP * PG);
		pages_check(mine, i, STEP, 1);
		pages_write(mine, i, STEP, 2);
		if (i / STEP % 2)
			CHECK(process_vm_writev(parent, &here, 1, &there, 1, 0) == STEP * PG);
	}
	job_child_exit();
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG / STEP * STEP;
	char *m = job_map(nr * PG), *mine = job_map(STEP * PG);
	pid_t parent = getpid();

	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pages_write(m, 0, nr, 1);
	job_pressure();

	pid_t pid = fork();

	if (pid == 0)
		child(parent, m, mine, nr);
	job_pressure();
	job_reap(pid);
	for (size_t i = 0; i < nr; i++)
		page_check(m + i * PG, i, i / STEP % 2 ? 2 : 1);
	return job_done();
}
