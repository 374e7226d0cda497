/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a stop and a few foreign system calls would otherwise break in the
 * stopped thread. For ptrace.c only.
 */
#ifndef RMEM_CAPTURE_PTRACE_FIX_H
#define RMEM_CAPTURE_PTRACE_FIX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* Are the thread's system calls handed to a handler of its own? */
bool fix_is_dispatched(pid_t tid);

/* Inside a restartable sequence the kernel must abort it when the thread is
 * resumed, and would not: it looks at the instruction pointer of the next
 * return to user mode, which is ours. So the abort is done here, as the
 * kernel does it on any preemption. 0 or -errno. */
int fix_rseq(pid_t tid, struct user_regs_struct *regs);

/* Some calls answer EINTR to any interruption, even one without a signal.
 * When no signal of @mask's complement waits, the call is made again. */
void fix_cut_short(pid_t tid, struct user_regs_struct *regs, uint64_t mask);

#endif
