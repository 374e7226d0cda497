/* SPDX-License-Identifier: Apache-2.0 */
/* Read-only, PROT_NONE and split ranges: what left while a range was protected
 * comes back intact, and protection means the same while pages are remote. */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void must_fault(void *page, int prot)
{
	int fd[2];

	CHECK(pipe(fd) == 0);
	/* The kernel answers EFAULT where a load or a store would raise SIGSEGV. */
	if (prot == PROT_NONE)
		CHECK(write(fd[1], page, 1) == -1 && errno == EFAULT);
	CHECK(write(fd[1], "x", 1) == 1);
	CHECK(read(fd[0], page, 1) == -1 && errno == EFAULT);
	close(fd[0]);
	close(fd[1]);
	errno = 0;
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t third = job_half / 3 & ~(2 * MIB - 1), nr = third / PG;
	char *m = job_map(3 * third);

	pages_write(m, 0, 3 * nr, 1);
	CHECK(mprotect(m, third, PROT_READ) == 0);
	CHECK(mprotect(m + third, third, PROT_NONE) == 0);
	for (size_t i = 0; i < nr; i += 64)
		CHECK(mprotect(m + 2 * third + i * PG, 16 * PG, PROT_READ) == 0);
	job_pressure();
	pages_check(m, 0, nr, 1);
	job_pressure();
	must_fault(m + third / 2, PROT_READ);
	must_fault(m + third + third / 2, PROT_NONE);
	pages_check(m + 2 * third, 2 * nr, nr, 1);
	CHECK(mprotect(m, 3 * third, PROT_READ | PROT_WRITE) == 0);
	pages_check(m + third, nr, nr, 1);
	pages_write(m, 0, 3 * nr, 2);
	job_pressure();
	CHECK(mprotect(m + third / 2, third, PROT_READ) == 0);
	pages_check(m, 0, 3 * nr, 2);
	return job_done();
}
