/* SPDX-License-Identifier: Apache-2.0 */
/* mlockall(MCL_CURRENT) wants every page of the process present at once, also
 * of what others mapped into it. Under rmem that is a loud stop, and no hang. */
#include "job.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
	struct rlimit rl = {RLIM_INFINITY, RLIM_INFINITY};

	job_init(argc, argv);
	setrlimit(RLIMIT_MEMLOCK, &rl); /* whoever has CAP_IPC_LOCK needs none */
	errno = 0;

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(mlockall(MCL_CURRENT) == 0);
	pages_check(m, 0, nr, 1);
	return job_done();
}
