/* SPDX-License-Identifier: Apache-2.0 */
/* Ends in the way MORE says, with remote pages and children about: a status
 * ("status 3" is the default), a signal, or an abort. JOB_CORRUPT: none */
#include "job.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rlimit none = {0, 0};

	job_init(argc, argv);
	setrlimit(RLIMIT_CORE, &none);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	pages_check(m, 0, nr, 1);
	if (job_failures())
		return 1;
	if (strcmp(job_more, "kill") == 0)
		raise(SIGKILL);
	if (strcmp(job_more, "term") == 0)
		raise(SIGTERM);
	if (strcmp(job_more, "abort") == 0)
		abort();
	if (strcmp(job_more, "segv") == 0) {
		raise(SIGSEGV);
		return 1;
	}
	if (strcmp(job_more, "three") == 0) {
		puts("three");
		return 3;
	}
	return job_done();
}
