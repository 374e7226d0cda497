/* SPDX-License-Identifier: Apache-2.0 */
/* MAP_GROWSDOWN: a mapping that grows at its lower end by being touched there,
 * while what lies above is remote; what it grows by is zero, all of it stays
 * right, and it can be unmapped with what has left. */
#include "job.h"

#include <sys/mman.h>
#include <sys/resource.h>

int main(int argc, char **argv)
{
	struct rlimit rl;

	job_init(argc, argv);
	/* What grows down is held to the limit of stacks. */
	CHECK(getrlimit(RLIMIT_STACK, &rl) == 0);
	rl.rlim_cur = RLIM_INFINITY;
	CHECK(setrlimit(RLIMIT_STACK, &rl) == 0);

	size_t nr = job_half / PG, part = nr / 3;
	/* Room to grow into and to spare: a gap is wanted below. The ballast must
	 * not be put there. */
	job_pressure();

	char *room = job_map(4 * job_half);
	char *top = room + 4 * job_half;

	CHECK(munmap(room, 4 * job_half) == 0);
	CHECK(mmap(top - part * PG, part * PG, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_GROWSDOWN, -1,
		   0) == top - part * PG);
	pages_write(top - part * PG, part, part, 1);
	for (size_t have = part; have + part <= nr; have += part) {
		job_pressure();
		for (size_t i = have + 1; i <= have + part; i++) {
			char *page = top - i * PG;

			if (i % 3 == 0)
				page_check_zero(page);
			page_write(page, i, 1);
		}
	}
	job_pressure();
	for (size_t i = part + 1; i <= nr / part * part; i++)
		page_check(top - i * PG, i, 1);
	pages_check(top - part * PG, part, part, 1);
	CHECK(munmap(top - part * PG, part * PG) == 0);
	job_pressure();
	for (size_t i = part + 1; i <= nr / part * part; i++)
		page_check(top - i * PG, i, 1);
	return job_done();
}
