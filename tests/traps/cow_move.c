/* SPDX-License-Identifier: Apache-2.0 */
/* Section 3: MOVE of a page shared by fork answers EBUSY, also after the child is
 * gone; MADV_POPULATE_WRITE makes it exclusive, and then it moves. */
#include "trap.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int uffd = trap_uffd(0), st;
	char *m = trap_map(2), *scratch = trap_map(2);

	memset(m, 7, 2 * PG);
	trap_register(uffd, scratch, 2);
	pid_t pid = fork();

	if (pid == 0) {
		usleep(200000);
		_exit(m[0] != 7 || m[PG] != 7);
	}
	trap_expect(trap_move(uffd, scratch, m, 1, 0, NULL) == -EBUSY, "child alive: EBUSY");
	madvise(m, PG, MADV_POPULATE_WRITE);
	trap_expect(trap_move(uffd, scratch, m, 1, 0, NULL) == 0, "populated: it moves");
	waitpid(pid, &st, 0);
	trap_expect(st == 0, "the child kept its bytes");
	trap_expect(trap_move(uffd, scratch + PG, m + PG, 1, 0, NULL) == -EBUSY,
		    "child gone: still EBUSY");
	madvise(m + PG, PG, MADV_POPULATE_WRITE);
	trap_expect(trap_move(uffd, scratch + PG, m + PG, 1, 0, NULL) == 0, "populated: it moves");
	return trap_done();
}
