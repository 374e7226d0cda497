/* SPDX-License-Identifier: Apache-2.0 */
/* MADV_POPULATE_READ, MADV_POPULATE_WRITE, MAP_POPULATE, WILLNEED and COLD
 * over remote pages keep every byte. */
#include "job.h"

#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG, few = 2 * MIB / PG;
	char *m = job_map(job_half);
	char *p = mmap(NULL, few * PG, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	CHECK(p != MAP_FAILED);
	pages_check_zero(p, few);
	pages_write(p, 0, few, 3);
	pages_write(m, 0, nr, 1);
	job_pressure();
	for (size_t i = 0; i + few <= nr; i += 3 * few) {
		int how = i / few % 2 ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;

		CHECK(madvise(m + i * PG, few * PG, how) == 0);
		pages_check(m + i * PG, i, few, 1);
	}
	job_pressure();
	CHECK(madvise(m, job_half, MADV_WILLNEED) == 0);
	CHECK(madvise(m, job_half, MADV_COLD) == 0);
	pages_check(m, 0, nr, 1);
	pages_check(p, 0, few, 3);
	return job_done();
}
