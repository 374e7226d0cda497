/* SPDX-License-Identifier: Apache-2.0 */
/* mlockall of a process with remote pages, in the ways that bring nothing in at
 * once; after munlockall all can leave again. */
#include "job.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define FEW (2 * MIB / PG)

static char *keep;

/* Something large that is gone afterwards, unlike job_pressure(). */
static void press(uint64_t gen)
{
	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, gen);
	pages_check(m, 0, nr, gen);
	pages_check(m, 0, nr, gen);
	CHECK(munmap(m, job_half) == 0);
}

static void lock_all(int how, uint64_t gen)
{
	char *later;

	press(gen);
	CHECK(mlockall(how) == 0);
	later = job_map(MIB);
	if (how & MCL_CURRENT)
		pages_check(keep, 0, FEW, gen);
	pages_check_zero(later, MIB / PG);
	pages_write(keep, 0, FEW, gen + 1);
	CHECK(munlockall() == 0);
	CHECK(munmap(later, MIB) == 0);
	press(gen + 1);
	pages_check(keep, 0, FEW, gen + 1);
}

int main(int argc, char **argv)
{
	struct rlimit rl = {RLIM_INFINITY, RLIM_INFINITY};

	job_init(argc, argv);
	setrlimit(RLIMIT_MEMLOCK, &rl); /* whoever has CAP_IPC_LOCK needs none */
	errno = 0;
	keep = job_map(FEW * PG);
	pages_write(keep, 0, FEW, 1);
	lock_all(MCL_CURRENT | MCL_ONFAULT, 1);
	lock_all(MCL_FUTURE | MCL_ONFAULT, 2);
	lock_all(MCL_FUTURE, 3);
	lock_all(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT, 4);
	return job_done();
}
