/* SPDX-License-Identifier: Apache-2.0 */
/* munmap of the head, the tail, the middle and every other piece while pages
 * are remote; what is mapped there again is zero, the rest is untouched. */
#include "job.h"

#include <sys/mman.h>

#define PIECE 16 /* pages */

static void remap(char *m, size_t nr, uint64_t gen)
{
	char *p = mmap(m, nr * PG, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	CHECK(p == m);
	if (p != m)
		return;
	pages_check_zero(m, nr);
	pages_write(m, 0, nr, gen);
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG, q = nr / 4;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(munmap(m, 100 * PG) == 0);
	CHECK(munmap(m + (nr - 100) * PG, 100 * PG) == 0);
	CHECK(munmap(m + q * PG, q * PG) == 0);
	remap(m, 100, 2);
	remap(m + q * PG, q, 3);
	job_pressure();
	pages_check(m, 0, 100, 2);
	pages_check(m + 100 * PG, 100, q - 100, 1);
	pages_check(m + q * PG, 0, q, 3);
	pages_check(m + 2 * q * PG, 2 * q, nr - 100 - 2 * q, 1);
	for (size_t i = 2 * q; i + 2 * PIECE < 3 * q; i += 2 * PIECE)
		CHECK(munmap(m + i * PG, PIECE * PG) == 0);
	job_pressure();
	for (size_t i = 2 * q; i + 2 * PIECE < 3 * q; i += 2 * PIECE) {
		pages_check(m + (i + PIECE) * PG, i + PIECE, PIECE, 1);
		remap(m + i * PG, PIECE, 4);
	}
	job_pressure();
	for (size_t i = 2 * q; i + 2 * PIECE < 3 * q; i += 2 * PIECE)
		pages_check(m + i * PG, 0, PIECE, 4);
	pages_check(m + 3 * q * PG, 3 * q, nr - 100 - 3 * q, 1);
	return job_done();
}
