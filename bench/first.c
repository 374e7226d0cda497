/* SPDX-License-Identifier: Apache-2.0 */
/* first: writes the time of its first instruction, eight bytes of CLOCK_MONOTONIC
 * in nanoseconds, and ends. Without libc: nothing runs before it. */
#include <asm/unistd.h>
#include <linux/time.h>

static long call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

void _start(void);

void _start(void)
{
	struct {
		long sec, nsec;
	} t;
	unsigned long ns;

	call(__NR_clock_gettime, 1, (long)&t, 0);
	ns = (unsigned long)t.sec * 1000000000 + (unsigned long)t.nsec;
	call(__NR_exit_group, call(__NR_write, 1, (long)&ns, sizeof(ns)) != sizeof(ns), 0, 0);
}
