/* SPDX-License-Identifier: Apache-2.0 */
/* MADV_GUARD_INSTALL (6.13) over remote pages throws them away without telling
 * anybody: after MADV_GUARD_REMOVE the job must read zeros, not old bytes. */
#include "job.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	if (madvise(m, PG, MADV_GUARD_INSTALL) != 0) {
		puts("guard_pages: skipped, needs Linux 6.13");
		return 77;
	}
	CHECK(madvise(m, PG, MADV_GUARD_REMOVE) == 0);
	pages_write(m, 0, nr, 1);
	job_pressure();
	for (size_t i = 0; i + 8 <= nr; i += 256)
		CHECK(madvise(m + i * PG, 8 * PG, MADV_GUARD_INSTALL) == 0);
	job_pressure();
	for (size_t i = 0; i + 8 <= nr; i += 256)
		CHECK(madvise(m + i * PG, 8 * PG, MADV_GUARD_REMOVE) == 0);
	for (size_t i = 0; i < nr; i++) {
		if (i % 256 < 8 && i / 256 * 256 + 8 <= nr)
			page_check_zero(m + i * PG);
		else
			page_check(m + i * PG, i, 1);
	}
	return job_done();
}
