/* SPDX-License-Identifier: Apache-2.0 */
/* mremap of remote pages: growing in place and by moving, shrinking, moving to
 * a fixed place over something else, and DONTUNMAP. */
#include "job.h"

#include <sys/mman.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static char *grow(char *m, size_t nr)
{
	char *n = mremap(m, nr * PG, 2 * nr * PG, MREMAP_MAYMOVE);

	CHECK(n != MAP_FAILED);
	pages_check(n, 0, nr, 1);
	pages_check_zero(n + nr * PG, nr);
	pages_write(n + nr * PG, nr, nr, 1);
	job_pressure();
	return n;
}

static char *move(char *m, size_t nr)
{
	char *to = job_map(nr * PG);

	pages_write(to, 77, nr, 3);
	CHECK(mremap(m, nr * PG, nr * PG, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	pages_check(to, 0, nr / 2, 1);
	job_pressure();
	pages_check(to, 0, nr, 1);
	return to;
}

static char *dontunmap(char *m, size_t nr)
{
	char *to = mremap(m, nr * PG, nr * PG, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

	CHECK(to != MAP_FAILED);
	pages_check_zero(m, nr);
	pages_write(m, 0, nr / 8, 4);
	job_pressure();
	pages_check(m, 0, nr / 8, 4);
	pages_check_zero(m + nr / 8 * PG, nr - nr / 8);
	pages_check(to, 0, nr, 1);
	CHECK(munmap(m, nr * PG) == 0);
	return to;
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG / 4;
	char *m = job_map(nr * PG);

	pages_write(m, 0, nr, 1);
	job_pressure();
	m = grow(m, nr);
	nr *= 2;
	m = move(m, nr);
	m = dontunmap(m, nr);
	job_pressure();
	CHECK(mremap(m, nr * PG, nr / 2 * PG, 0) == m);
	pages_check(m, 0, nr / 2, 1);
	/* a piece out of the middle of a mapping */
	char *to = mremap(m + 64 * PG, 64 * PG, 64 * PG, MREMAP_MAYMOVE | MREMAP_FIXED,
			  job_map(64 * PG));

	CHECK(to != MAP_FAILED);
	job_pressure();
	pages_check(to, 64, 64, 1);
	pages_check(m, 0, 64, 1);
	pages_check(m + 128 * PG, 128, nr / 2 - 128, 1);
	return job_done();
}
