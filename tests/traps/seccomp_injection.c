/* SPDX-License-Identifier: Apache-2.0 */
/* Section 7.14: a call put into a process under a seccomp filter is judged by
 * the filter like its own: the process dies of it. */
#include "trap.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static const char syscall_insn[] __attribute__((aligned(8))) = "\x0f\x05\xcc\x90\x90\x90\x90";

static void locked_up(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog p = {4, f};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
	for (;;)
		__asm__ volatile("pause");
}

int main(void)
{
	struct user_regs_struct r;
	long code;
	int st;
	pid_t pid = fork();

	if (pid == 0)
		locked_up();
	usleep(100000);
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
		trap_skip("ptrace is not allowed here");
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	waitpid(pid, &st, 0);
	ptrace(PTRACE_GETREGS, pid, 0, &r);
	code = *(const long *)(const void *)syscall_insn;
	ptrace(PTRACE_POKETEXT, pid, r.rip, code);
	r.rax = SYS_getppid;
	r.orig_rax = (unsigned long long)-1;
	ptrace(PTRACE_SETREGS, pid, 0, &r);
	ptrace(PTRACE_CONT, pid, 0, 0);
	do {
		if (waitpid(pid, &st, 0) != pid)
			break;
		if (WIFSTOPPED(st))
			ptrace(PTRACE_CONT, pid, 0, WSTOPSIG(st) == SIGTRAP ? 0 : WSTOPSIG(st));
	} while (WIFSTOPPED(st) && WSTOPSIG(st) != SIGTRAP);
	trap_expect(WIFSIGNALED(st) && WTERMSIG(st) == SIGSYS, "it dies of the injected call");
	kill(pid, SIGKILL);
	return trap_done();
}
