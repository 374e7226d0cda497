/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.17: under mlockall(MCL_FUTURE) a shared mapping is resident at once,
 * all of it; with MCL_ONFAULT only what is touched. */
#include "trap.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGES 4096

static long blocks_after_mapping(int flags)
{
	int fd = memfd_create("trap", MFD_CLOEXEC);
	struct stat s;

	if (ftruncate(fd, PAGES * (long)PG) != 0 || mlockall(flags) != 0)
		trap_skip("mlockall is not allowed here");
	if (mmap(NULL, PAGES * PG, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
		trap_skip("locked-memory limit");
	munlockall();
	fstat(fd, &s);
	return s.st_blocks / 8;
}

int main(void)
{
	trap_expect(blocks_after_mapping(MCL_FUTURE) == PAGES, "MCL_FUTURE: all of it");
	trap_expect(blocks_after_mapping(MCL_FUTURE | MCL_ONFAULT) == 0, "MCL_ONFAULT: nothing");
	return trap_done();
}
