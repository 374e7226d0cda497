/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One injection, as its files share it:
 *
 *	inject.c        in what order, and how to undo
 *	inject_stop.c   which thread is asked, and where a system call can be made
 *	inject_setup.c  what the new task does before it becomes the agent
 *	inject_check.c  what can be told without stopping anything
 */
#ifndef RMEM_CAPTURE_INJECT_PARTS_H
#define RMEM_CAPTURE_INJECT_PARTS_H

#include "client/capture/inject.h"
#include "client/capture/ptrace.h"

/* The auxiliary vector of a program: another one after each exec. */
struct image {
	char auxv[512];
	size_t bytes;
};

struct injection {
	const struct inject_args *args;
	struct agent *out;
	int target_pidfd;
	uint64_t syscall_va;
	struct image image; /* what was looked at, and must be what is stopped */
	uint64_t deadline_ns;
	struct tracee job;   /* the thread that made the agent's task */
	struct tracee agent; /* the new task; tid 0 before there is one */
	uint64_t own_start;  /* 0: nothing is mapped yet */
	uint64_t own_end;
	uint64_t scratch[AGENT_HALVES];
};

/* Finds a `syscall` instruction in the process's vdso. 0 or -errno. */
int inject_find_syscall(struct injection *inj) __attribute__((warn_unused_result));

/* Stops a thread of the process into inj->job. 0 or -errno (-ETIMEDOUT: none
 * stopped; -ESRCH: none there, or the process has called exec or seccomp since
 * inject_find_syscall(), and no call may be made where it was found). */
int inject_stop_any(struct injection *inj) __attribute__((warn_unused_result));

/* From a bare task to a running agent. 0 or -errno with err text. */
int inject_setup(struct injection *inj) __attribute__((warn_unused_result));

#endif
