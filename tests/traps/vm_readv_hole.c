/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.16: process_vm_readv of a page that is missing waits for the pager,
 * even when the reader is the pager. */
#include "trap.h"

#include <signal.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int uffd = trap_uffd(0), st;
	char *m = trap_map(1), c;
	pid_t job = getpid();

	trap_register(uffd, m, 1);
	pid_t pager = fork();

	if (pager == 0) {
		struct iovec here = {&c, 1}, there = {m, 1};

		_exit(process_vm_readv(job, &here, 1, &there, 1, 0) != 1);
	}
	usleep(200000);
	trap_expect(waitpid(pager, &st, WNOHANG) == 0, "it waits for itself");
	trap_copy(uffd, m, 1);
	waitpid(pager, &st, 0);
	trap_expect(st == 0, "until the page is there");
	return trap_done();
}
