/* SPDX-License-Identifier: Apache-2.0 */
/* Section 4: through a user-mode-only userfaultfd, read(2) into a remote page
 * fails with EFAULT; a full one serves it. */
#include "trap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

static int read_into_remote(int flags)
{
	int uffd = trap_uffd_flags(O_NONBLOCK | flags, 0), fd = open("/dev/zero", O_RDONLY);
	char *m = trap_map(1);

	trap_register(uffd, m, 1);
	trap_serve(uffd, 0x5a);
	return read(fd, m, 1) == 1 ? 0 : -errno;
}

int main(void)
{
	trap_expect(read_into_remote(UFFD_USER_MODE_ONLY) == -EFAULT,
		    "user mode only: read(2) fails with EFAULT");
	trap_expect(read_into_remote(0) == 0, "full: read(2) works");
	return trap_done();
}
