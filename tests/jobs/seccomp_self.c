/* SPDX-License-Identifier: Apache-2.0 */
/* A job that is under a seccomp filter before it gets large: any call that the
 * filter does not know kills it, so it has to be left unmanaged; it runs on as
 * it would without rmem. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "job.h"

#define KILL(nr)                                         \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

int main(int argc, char **argv)
{
	/* what an injection could not do without */
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		KILL(SYS_userfaultfd),
		KILL(SYS_ioctl),
		KILL(SYS_socket),
		KILL(SYS_recvmsg),
		KILL(SYS_clone),
		KILL(SYS_clone3),
		KILL(SYS_memfd_create),
		KILL(SYS_pidfd_getfd),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof(f) / sizeof(f[0]), f};

	job_init(argc, argv);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0);

	size_t nr = job_half / PG;
	char *m = job_map(job_half);

	pages_write(m, 0, nr, 1);
	job_pressure();
	pages_check(m, 0, nr, 1);
	return job_done();
}
