/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/spawn.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "common/base/units.h"

#define STACK_BYTES MIB(8)

pid_t spawn_beside(int (*entry)(void *), void *arg, int flags)
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	pid_t pid;

	if (stack == MAP_FAILED)
		return -errno;
	pid = clone(entry, stack + STACK_BYTES, flags | CLONE_FILES | SIGCHLD, arg);
	if (pid < 0)
		pid = -errno;
	munmap(stack, STACK_BYTES); /* it has its own copy */
	return pid;
}
