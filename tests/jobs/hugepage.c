/* SPDX-License-Identifier: Apache-2.0 */
/* Hugepage-advised memory, plain memory and memory that changes its advice
 * leave and come back alike; a collapse over remote pages keeps the bytes. */
#include "job.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t third = job_half / 3 & ~(2 * MIB - 1), nr = third / PG;
	char *raw = job_map(3 * third + 2 * MIB);
	char *huge = (char *)(((uintptr_t)raw + 2 * MIB - 1) & ~(2 * MIB - 1));
	char *plain = huge + third, *turn = plain + third;

	CHECK(madvise(huge, third, MADV_HUGEPAGE) == 0);
	CHECK(madvise(plain, third, MADV_NOHUGEPAGE) == 0);
	CHECK(madvise(turn, third, MADV_HUGEPAGE) == 0);
	pages_write(huge, 0, 3 * nr, 1);
	job_pressure();
	CHECK(madvise(turn, third, MADV_NOHUGEPAGE) == 0);
	pages_check(huge, 0, 3 * nr, 1);
	for (size_t i = 0; i < 3 * nr; i += 3)
		page_write(huge + i * PG, i, 2);
	job_pressure();
	CHECK(madvise(plain, third, MADV_HUGEPAGE) == 0);
	madvise(plain, 4 * MIB, MADV_COLLAPSE); /* may refuse, may not lose a byte */
	errno = 0;
	for (size_t i = 0; i < 3 * nr; i++)
		page_check(huge + i * PG, i, i % 3 == 0 ? 2 : 1);
	return job_done();
}
