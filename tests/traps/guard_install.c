/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.4: MADV_GUARD_INSTALL zaps without an event: the pager goes on
 * believing in its record, and after GUARD_REMOVE the job reads old bytes. */
#include "trap.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	int uffd = trap_uffd(EVENTS);
	char *m = trap_map(1);
	struct pollfd p = {.fd = uffd, .events = POLLIN};

	trap_register(uffd, m, 1);
	trap_copy(uffd, m, 0x5a);
	if (madvise(m, PG, MADV_GUARD_INSTALL) != 0)
		trap_skip("MADV_GUARD_INSTALL needs Linux 6.13");
	trap_expect(poll(&p, 1, 100) == 0, "no event is raised");
	madvise(m, PG, MADV_GUARD_REMOVE);
	trap_serve(uffd, 0x5a); /* what a pager with a record would do */
	trap_expect(*(volatile unsigned char *)m == 0x5a, "the next touch is a missing fault");
	return trap_done();
}
