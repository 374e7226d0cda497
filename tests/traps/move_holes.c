/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.7: with ALLOW_SRC_HOLES, UFFDIO_MOVE counts holes as moved: whoever
 * makes a record of each "moved" page makes records of nothing. */
#include "trap.h"

#include <sys/mman.h>

int main(void)
{
	int uffd = trap_uffd(0);
	char *m = trap_map(4), *scratch = trap_map(4);
	unsigned char there[4];
	int64_t moved = 0;

	m[0] = 1;
	m[3 * PG] = 1;
	trap_register(uffd, scratch, 4);
	/* 1: UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES is bit 1 */
	trap_expect(trap_move(uffd, scratch, m, 4, 2, &moved) == 0 && moved == 4 * (long)PG,
		    "two pages and two holes: four are counted");
	mincore(scratch, 4 * PG, there);
	trap_expect((there[0] & 1) && !(there[1] & 1) && !(there[2] & 1) && (there[3] & 1),
		    "and two are there");
	return trap_done();
}
