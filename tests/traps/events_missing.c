/* SPDX-License-Identifier: Apache-2.0 */
/* Section 4: fork without EVENT_FORK and mremap without EVENT_REMAP turn remote
 * pages into zeros; with them the registration goes along. */
#include "trap.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int child_reads(uint64_t features)
{
	int uffd = trap_uffd(features), st;
	char *m = trap_map(1);

	trap_register(uffd, m, 1);
	if (features)
		trap_serve(uffd, 0x5a);
	pid_t pid = fork();

	if (pid == 0)
		_exit(*(volatile unsigned char *)m);
	waitpid(pid, &st, 0);
	return WEXITSTATUS(st);
}

static int moved_reads(uint64_t features)
{
	int uffd = trap_uffd(features);
	char *m = trap_map(1), *to = trap_map(1);

	trap_register(uffd, m, 1);
	if (features)
		trap_serve(uffd, 0x5a);
	to = mremap(m, PG, PG, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	return to == MAP_FAILED ? -1 : *(volatile unsigned char *)to;
}

int main(void)
{
	trap_expect(child_reads(0) == 0, "fork without EVENT_FORK: the child reads zero");
	trap_expect(moved_reads(0) == 0, "mremap without EVENT_REMAP: zero");
	trap_expect(child_reads(EVENTS) == 0x5a, "with EVENT_FORK the child's fault arrives");
	trap_expect(moved_reads(EVENTS) == 0x5a, "with EVENT_REMAP the moved page's arrives");
	return trap_done();
}
