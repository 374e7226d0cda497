/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.15: a process without rights may not call userfaultfd(2), but it may
 * use a descriptor of /dev/userfaultfd that somebody gave it. */
#include "trap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC), sysctl = 0, st;
	FILE *f = fopen("/proc/sys/vm/unprivileged_userfaultfd", "r");

	if (dev < 0)
		trap_skip("no /dev/userfaultfd here (Linux 6.1, root)");
	if (!f || fscanf(f, "%d", &sysctl) != 1 || sysctl != 0)
		trap_skip("vm.unprivileged_userfaultfd is set: everybody may");
	pid_t pid = fork();

	if (pid == 0) {
		if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
			_exit(3);
		int refused = syscall(SYS_userfaultfd, O_CLOEXEC) < 0 && errno == EPERM;
		int uffd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC);

		_exit(refused && uffd >= 0 ? 0 : 1);
	}
	waitpid(pid, &st, 0);
	if (WEXITSTATUS(st) == 3)
		trap_skip("needs root");
	trap_expect(st == 0, "userfaultfd(2) is EPERM, the device's ioctl works");
	return trap_done();
}
