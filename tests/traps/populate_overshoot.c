/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.24: one MADV_POPULATE_WRITE fills a plain range before anybody can
 * stop it; registered, each page is a fault that the pager can hold back. */
#include "trap.h"

#include <sys/mman.h>
#include <sys/resource.h>

#define PAGES 512

int main(void)
{
	int uffd = trap_uffd(0);
	char *plain = trap_map(PAGES), *held = trap_map(PAGES);
	unsigned char there[PAGES];
	unsigned int nr = 0;

	trap_register(uffd, held, PAGES);
	trap_serve(uffd, 1);
	trap_expect(madvise(plain, PAGES * PG, MADV_POPULATE_WRITE) == 0,
		    "it works on plain memory");
	mincore(plain, PAGES * PG, there);
	for (int i = 0; i < PAGES; i++)
		nr += there[i] & 1;
	trap_expect(nr == PAGES && trap_served() == 0, "all there, and nobody was asked");
	trap_expect(madvise(held, PAGES * PG, MADV_POPULATE_WRITE) == 0,
		    "and on registered memory");
	trap_expect(trap_served() == PAGES, "where every page asked the pager");
	return trap_done();
}
