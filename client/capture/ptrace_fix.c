/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/ptrace_fix.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "client/capture/ptrace.h"

#define RSEQ_CS_OFF	    8U /* of rseq_cs in struct rseq */
#define SYSCALL_INSN_BYTES  2U
#define GET_DISPATCH_CONFIG 0x4211 /* Linux 6.4; errors before */

struct dispatch_config {
	uint64_t mode, selector, offset, len;
};

struct rseq_section {
	uint32_t version, flags;
	uint64_t start_va, bytes, abort_va;
};

bool fix_is_dispatched(pid_t tid)
{
	struct dispatch_config cfg = {0};

	if (ptrace((enum __ptrace_request)GET_DISPATCH_CONFIG, tid, sizeof(cfg), &cfg))
		return false;
	return cfg.mode != 0;
}

int fix_rseq(pid_t tid, struct user_regs_struct *regs)
{
	struct __ptrace_rseq_configuration cfg = {0};
	const uint64_t none = 0;
	struct rseq_section section;
	uint64_t section_va;
	int ret;

	if (ptrace((enum __ptrace_request)PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(cfg), &cfg) <
		    0 ||
	    !cfg.rseq_abi_pointer)
		return 0;
	ret = tracee_read(tid, cfg.rseq_abi_pointer + RSEQ_CS_OFF, &section_va, sizeof(section_va));
	if (ret || !section_va)
		return ret;
	ret = tracee_read(tid, section_va, &section, sizeof(section));
	if (ret)
		return ret;
	if (regs->rip - section.start_va >= section.bytes)
		return 0;
	ret = tracee_write(tid, cfg.rseq_abi_pointer + RSEQ_CS_OFF, &none, sizeof(none));
	if (ret)
		return ret;
	regs->rip = section.abort_va;
	return 0;
}

/* Calls that did nothing when they answer EINTR, and may be made again. Not
 * among them: close and connect, which have begun something. */
static bool is_repeatable(long nr)
{
	static const short list[] = {
		SYS_epoll_wait,	     SYS_epoll_pwait,  SYS_epoll_pwait2,  SYS_semop,
		SYS_semtimedop,	     SYS_read,	       SYS_write,	  SYS_readv,
		SYS_writev,	     SYS_recvfrom,     SYS_recvmsg,	  SYS_recvmmsg,
		SYS_sendto,	     SYS_sendmsg,      SYS_sendmmsg,	  SYS_accept,
		SYS_accept4,	     SYS_io_getevents, SYS_io_pgetevents, SYS_io_uring_enter,
		SYS_rt_sigtimedwait, SYS_msgrcv,       SYS_msgsnd,	  SYS_mq_timedreceive,
		SYS_mq_timedsend,
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (list[i] == nr)
			return true;
	}
	return false;
}

/* Signals waiting for the thread or its process; all of them when unknown. */
static uint64_t pending_signals(pid_t tid)
{
	uint64_t pending = 0, mask;
	char path[64], line[256];
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	if (!f)
		return ~0ULL;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "SigPnd: %" SCNx64, &mask) == 1 ||
		    sscanf(line, "ShdPnd: %" SCNx64, &mask) == 1) {
			pending |= mask;
			found++;
		}
	}
	fclose(f);
	return found == 2 ? pending : ~0ULL;
}

void fix_cut_short(pid_t tid, struct user_regs_struct *regs, uint64_t mask)
{
	if ((long)regs->rax != -EINTR || (long)regs->orig_rax < 0 ||
	    !is_repeatable((long)regs->orig_rax))
		return;
	if (pending_signals(tid) & ~mask)
		return;
	regs->rax = regs->orig_rax;
	regs->orig_rax = ~0ULL;
	regs->rip -= SYSCALL_INSN_BYTES;
}
