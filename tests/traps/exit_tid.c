/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.10: the kernel clears a thread's tid word when it exits and takes no
 * userfault for it: on a remote page the word is never cleared, pthread_join
 * would wait for ever. */
#include "trap.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

static int thread(void *arg)
{
	(void)arg;
	usleep(20000);
	return 0;
}

int main(void)
{
	static char stack[65536] __attribute__((aligned(64)));
	int uffd = trap_uffd(0);
	char *m = trap_map(1);
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
		    CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;

	trap_register(uffd, m, 1);
	trap_serve(uffd, 0x5a);
	int tid = clone(thread, stack + sizeof(stack), flags, NULL, NULL, NULL, m);

	usleep(200000);
	trap_expect(syscall(SYS_tgkill, getpid(), tid, 0) != 0, "the thread is gone");
	trap_expect(trap_served() == 0, "no fault was raised for its tid word");
	trap_expect(*(volatile int *)m == 0x5a5a5a5a, "and the word is not cleared");
	return trap_done();
}
