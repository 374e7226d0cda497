/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages of which only some parts were written, as runtimes make that ask for
 * them early: when one is split the kernel may put its shared page of zeros in
 * place of the parts that are zero, while the page is on its way out. */
#include "job.h"

#include <sys/mman.h>

static void check_all(const char *m, size_t nr, unsigned int step, uint64_t gen)
{
	for (size_t i = 0; i < nr; i++) {
		if (i % step == 0)
			page_check(m + i * PG, i, gen);
		else
			page_check_zero(m + i * PG);
	}
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t bytes = (job_half - 2 * MIB) & ~(2 * MIB - 1), nr = bytes / PG;
	char *raw = job_map(bytes + 2 * MIB);
	char *m = (char *)(((uintptr_t)raw + 2 * MIB - 1) & ~(2 * MIB - 1));

	for (unsigned int step = 3; step <= 24; step *= 2) {
		CHECK(madvise(m, bytes, MADV_DONTNEED) == 0);
		CHECK(madvise(m, bytes, MADV_HUGEPAGE) == 0);
		for (size_t i = 0; i < nr; i += step)
			page_write(m + i * PG, i, step);
		job_pressure();
		check_all(m, nr, step, step);
		for (size_t i = 0; i < nr; i += 2 * step)
			page_write(m + i * PG, i, 100);
		job_pressure();
		for (size_t i = 0; i < nr; i += 2 * step)
			page_write(m + i * PG, i, step);
		check_all(m, nr, step, step);
	}
	return job_done();
}
