/* SPDX-License-Identifier: Apache-2.0 */
/* mlock of remote pages brings them in; locked memory stays right while all
 * else leaves; mlock2 on fault, munlock, and leaving again. */
#include "job.h"

#include <sys/mman.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
	struct rlimit rl = {4 * MIB, 4 * MIB};

	job_init(argc, argv);
	CHECK(setrlimit(RLIMIT_MEMLOCK, &rl) == 0);

	size_t nr = job_half / PG, few = 2 * MIB / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	CHECK(mlock(m, few * PG) == 0);
	CHECK(mlock2(m + few * PG, few / 2 * PG, MLOCK_ONFAULT) == 0);
	pages_check(m, 0, 2 * few, 1);
	pages_write(m, 0, 2 * few, 2);
	job_pressure();
	pages_check(m, 0, 2 * few, 2);
	CHECK(munlock(m, 2 * few * PG) == 0);
	job_pressure();
	pages_check(m, 0, 2 * few, 2);
	pages_check(m + 2 * few * PG, 2 * few, nr - 2 * few, 1);
	return job_done();
}
