/* SPDX-License-Identifier: Apache-2.0 */
/* The heap through brk: grows in odd steps, leaves, comes back, shrinks, and
 * what grows again after shrinking is zero. */
#include "job.h"

#include <unistd.h>

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG, have = 0;
	char *base = sbrk(0);
	char *heap = (char *)(((uintptr_t)base + PG - 1) & ~(PG - 1));

	CHECK(sbrk(heap - base) == base);
	while (have < nr) {
		size_t step = have % 7 * 33 + 1;

		if (step > nr - have)
			step = nr - have;
		CHECK(sbrk((intptr_t)(step * PG)) == heap + have * PG);
		pages_check_zero(heap + have * PG, step);
		pages_write(heap + have * PG, have, step, 1);
		have += step;
	}
	job_pressure();
	pages_check(heap, 0, nr, 1);
	CHECK(brk(heap + nr / 3 * PG) == 0);
	job_pressure();
	CHECK(brk(heap + nr * PG) == 0);
	pages_check(heap, 0, nr / 3, 1);
	pages_check_zero(heap + nr / 3 * PG, nr - nr / 3);
	return job_done();
}
