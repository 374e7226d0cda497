/* SPDX-License-Identifier: Apache-2.0 */
/* MADV_MERGEABLE: equal pages that the kernel may merge, leave, come back and
 * are written again, each for itself; MADV_UNMERGEABLE while they are remote.
 * Whether the kernel's scanner runs is up to the machine. */
#include "job.h"

#include <stdio.h>
#include <sys/mman.h>

#define KINDS 7 /* contents */

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	if (madvise(m, job_half, MADV_MERGEABLE) != 0) {
		puts("ksm: skipped, the kernel has no KSM");
		return 77;
	}
	for (uint64_t gen = 1; gen < 3; gen++) {
		for (size_t i = 0; i < nr; i++)
			page_write(m + i * PG, i % KINDS, gen);
		job_pressure();
		for (size_t i = 0; i < nr; i += 3)
			page_write(m + i * PG, i % KINDS, gen + 10);
		if (gen == 2)
			CHECK(madvise(m, job_half, MADV_UNMERGEABLE) == 0);
		job_pressure();
		for (size_t i = 0; i < nr; i++)
			page_check(m + i * PG, i % KINDS, i % 3 ? gen : gen + 10);
	}
	return job_done();
}
