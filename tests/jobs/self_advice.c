/* SPDX-License-Identifier: Apache-2.0 */
/* MADV_PAGEOUT, COLD, DONTNEED_LOCKED, REMOVE and process_madvise of a process
 * to itself, over remote pages: bytes stay, or are zeros where that is meant. */
#include "job.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#define PART 16UL /* pages */

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct iovec v[2] = {{m + 512 * PG, PART * PG}, {m + 768 * PG, PART * PG}};
	bool dropped;

	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(madvise(m, job_half, MADV_PAGEOUT) == 0);
	CHECK(madvise(m, job_half, MADV_COLD) == 0);
	CHECK(madvise(m, job_half, MADV_REMOVE) == -1 && errno == EINVAL);
	CHECK(msync(m, job_half, MS_SYNC) == 0);
	pages_check(m, 0, nr, 1);
	job_pressure();
	CHECK(mlock(m, PART * PG) == 0);
	CHECK(madvise(m, 2 * PART * PG, MADV_DONTNEED_LOCKED) == 0);
	CHECK(munlock(m, PART * PG) == 0);
	pages_check_zero(m, 2 * PART);
	pages_write(m, 0, 2 * PART, 1);
	job_pressure();
	/* Any advice to oneself since 6.13. */
	dropped = syscall(SYS_process_madvise, self, v, 2, MADV_DONTNEED, 0) == 2 * PART * PG;
	errno = 0;
	for (size_t i = 0; i < nr; i++)
		if (dropped && ((i >= 512 && i < 512 + PART) || (i >= 768 && i < 768 + PART)))
			page_check_zero(m + i * PG);
		else
			page_check(m + i * PG, i, 1);
	return job_done();
}
