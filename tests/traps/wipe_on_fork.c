/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.3: a child inherits the registration of a WIPEONFORK mapping, not
 * its bytes: a pager that answers the child's fault with the parent's page
 * shows it what Linux would not. */
#include "trap.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int uffd = trap_uffd(EVENTS), st;
	char *m = trap_map(1);

	trap_register(uffd, m, 1);
	madvise(m, PG, MADV_WIPEONFORK);
	trap_serve(uffd, 0x5a);
	pid_t pid = fork();

	if (pid == 0)
		_exit(*(volatile unsigned char *)m);
	waitpid(pid, &st, 0);
	trap_expect(trap_served() == 1 && WEXITSTATUS(st) == 0x5a,
		    "the child's fault on a wiped page arrives like any other");
	return trap_done();
}
