/* SPDX-License-Identifier: Apache-2.0 */
/* Thousands of mappings: MORE (8,000) small ones with holes and different protection
 * between them, so that nothing merges; all leave, all come back, and the
 * job can still map and protect as many as Linux lets it. */
#include "job.h"

#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = *job_more ? strtoul(job_more, NULL, 10) : 8000;
	size_t each = job_half / PG / nr ? job_half / PG / nr : 1, pitch = each + 2;
	char *m = mmap(NULL, nr * pitch * PG, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(m != MAP_FAILED);
	for (size_t i = 0; i < nr; i++) {
		char *p = m + i * pitch * PG;

		CHECK(mprotect(p, each * PG, PROT_READ | PROT_WRITE) == 0);
		pages_write(p, i, each, 1);
		if (i % 3 == 0)
			CHECK(mprotect(p, each * PG, PROT_READ) == 0);
		if (i % 5 == 0)
			CHECK(munmap(p + (each + 1) * PG, PG) == 0);
	}
	for (int round = 0; round < 2; round++) {
		job_pressure();
		for (size_t i = 0; i < nr; i++)
			pages_check(m + i * pitch * PG, i, each, 1);
	}
	for (size_t i = 0; i < nr; i += 2) {
		CHECK(mprotect(m + i * pitch * PG, each * PG, PROT_READ | PROT_WRITE) == 0);
		pages_write(m + i * pitch * PG, i, each, 2);
	}
	job_pressure();
	for (size_t i = 0; i < nr; i++)
		pages_check(m + i * pitch * PG, i, each, i % 2 ? 1 : 2);
	CHECK(munmap(m, nr * pitch * PG) == 0);
	return job_done();
}
