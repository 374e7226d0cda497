/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of every kind that mmap's flags make of private anonymous memory keep
 * their bytes, and what mmap promises of each holds while they are remote. */
#include "job.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define LOCKED_PAGES 64UL

static char *map_with(size_t nr, int flags)
{
	char *m = mmap(NULL, nr * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
		       -1, 0);

	if (m != MAP_FAILED)
		return m;
	job_fail("mmap with flags %#x", (unsigned int)flags);
	return job_map(nr * PG);
}

static bool is_resident(char *m, size_t nr)
{
	unsigned char in[LOCKED_PAGES];
	size_t n = 0;

	CHECK(mincore(m, nr * PG, in) == 0);
	for (size_t i = 0; i < nr; i++)
		n += in[i] & 1;
	return n == nr;
}

/* Nothing is replaced, remote or not. */
static void not_replaced(char *m, size_t nr)
{
	for (size_t i = 0; i < nr; i += nr / 16) {
		void *got = mmap(m + i * PG, PG, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		CHECK(got == MAP_FAILED && errno == EEXIST);
	}
}

int main(int argc, char **argv)
{
	static const int flags[] = {MAP_NORESERVE, MAP_32BIT, MAP_STACK, MAP_POPULATE, 0};
	enum { NR = sizeof(flags) / sizeof(flags[0]) };
	char *m[NR], *locked;

	job_init(argc, argv);

	size_t nr = job_half / PG / NR;

	locked = map_with(LOCKED_PAGES, MAP_LOCKED);
	pages_write(locked, 77, LOCKED_PAGES, 1);
	for (unsigned int k = 0; k < NR; k++) {
		m[k] = map_with(nr, flags[k]);
		pages_write(m[k], k * nr, nr, 1);
	}
	CHECK((uintptr_t)m[1] >> 32 == 0);
	/* Named memory is as any other; kernels without names refuse the name. */
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, m[NR - 1], nr * PG, "rmem-test"))
		CHECK(errno == EINVAL);
	for (unsigned int round = 1; round <= 2; round++) {
		job_pressure();
		CHECK(is_resident(locked, LOCKED_PAGES));
		for (unsigned int k = 0; k < NR; k++) {
			not_replaced(m[k], nr);
			pages_check(m[k], k * nr, nr, round);
			pages_write(m[k], k * nr, nr, round + 1);
		}
		pages_check(locked, 77, LOCKED_PAGES, 1);
	}
	return job_done();
}
