/* SPDX-License-Identifier: Apache-2.0 */
/* A process that may gain no executable memory any more (PR_SET_MDWE, as
 * systemd's MemoryDenyWriteExecute) before it gets large. */
#include "job.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE		 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0) {
		puts("mdwe: skipped, needs Linux 6.3");
		return 77;
	}
	CHECK(mprotect(m, PG, PROT_READ | PROT_EXEC) == -1);
	pages_write(m, 0, nr, 1);
	job_pressure();
	pages_check(m, 0, nr, 1);
	CHECK(mprotect(m, PG, PROT_READ | PROT_EXEC) == -1);
	return job_done();
}
