/* SPDX-License-Identifier: Apache-2.0 */
/* A child that locks itself into a seccomp filter while pages it inherited are
 * remote: only a few calls are allowed and any other kills it, so nothing may
 * be injected; its bytes are right all the same. JOB_CORRUPT: child */
#include "job.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALLOW(nr)                                        \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void lock_up(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_write),
		ALLOW(SYS_exit_group),
		ALLOW(SYS_getpid),
		ALLOW(SYS_rt_sigreturn),
		ALLOW(SYS_restart_syscall),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog p = {sizeof(f) / sizeof(f[0]), f};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0);
}

static void child(char *m, size_t nr)
{
	lock_up();
	for (uint64_t round = 0; round < 3; round++) {
		pages_check(m, 0, nr, round + 1);
		pages_write(m, 0, nr, round + 2);
	}
	job_child_exit();
}

int main(int argc, char **argv)
{
	job_init(argc, argv);

	size_t nr = job_half / 2 / PG;
	char *m = job_map(nr * PG);

	pages_write(m, 0, nr, 1);
	for (int round = 0; round < 2; round++) {
		job_pressure();
		pid_t pid = fork();

		if (pid == 0)
			child(m, nr);
		job_reap(pid);
	}
	pages_check(m, 0, nr, 1);
	return job_done();
}
