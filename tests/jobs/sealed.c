/* SPDX-License-Identifier: Apache-2.0 */
/* mseal (6.10): sealed memory leaves and comes back, can be written, and can be
 * neither unmapped, moved nor protected, remote or not. */
#include "job.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

static void must_refuse(char *m)
{
	CHECK(munmap(m, PG) == -1 && errno == EPERM);
	CHECK(mprotect(m, PG, PROT_READ) == -1 && errno == EPERM);
	CHECK(mremap(m, PG, 2 * PG, MREMAP_MAYMOVE) == MAP_FAILED && errno == EPERM);
	errno = 0;
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	if (syscall(SYS_mseal, m, job_half, 0) != 0) {
		puts("sealed: skipped, needs Linux 6.10");
		return 77;
	}
	must_refuse(m);
	pages_check(m, 0, nr, 1);
	pages_write(m, 0, nr, 2);
	job_pressure();
	must_refuse(m + nr / 2 * PG);
	pages_check(m, 0, nr, 2);
	return job_done();
}
