/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.11: registering a piece of a mapping splits it: the job's mremap of
 * the whole fails with EFAULT, which it could do before. */
#include "trap.h"

#include <errno.h>
#include <sys/mman.h>

int main(void)
{
	int uffd = trap_uffd(0);
	char *whole = trap_map(64), *piece = trap_map(64), *got;

	trap_register(uffd, whole, 64);
	trap_register(uffd, piece + 16 * PG, 16);
	errno = 0;
	got = mremap(piece, 64 * PG, 128 * PG, MREMAP_MAYMOVE);
	trap_expect(got == MAP_FAILED && errno == EFAULT, "registered in part: EFAULT");
	got = mremap(whole, 64 * PG, 128 * PG, MREMAP_MAYMOVE);
	trap_expect(got != MAP_FAILED, "registered as a whole: it grows");
	return trap_done();
}
