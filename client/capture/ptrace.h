/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stop one thread of another process, run system calls in it, and let it go
 * so that it cannot tell: registers, signal mask, interrupted calls, group
 * stops and restartable sequences end up as if nothing had been there.
 *
 * ptrace belongs to a thread: one thread uses a tracee from stop to release.
 * A tracee that could not be released is let go when that thread ends.
 */
#ifndef RMEM_CAPTURE_PTRACE_H
#define RMEM_CAPTURE_PTRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

/* How a thread was scheduled before it was hurried. */
struct sched_was {
	bool changed;
	int policy;
};

struct tracee {
	pid_t tid;
	uint64_t syscall_va;  /* of a `syscall` instruction in the space */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; waits end here until it has stopped */
	bool own;	      /* a task of ours: stop signals are swallowed */
	struct user_regs_struct saved;
	uint64_t saved_mask;
	struct sched_was sched;
};

/* This thread runs before what it holds, which runs before everybody else; or no longer.
 * Without the permission nothing changes. */
void tracee_go_first(bool first);

/* Stops t->tid (seized here) and prepares it for calls; signals are blocked
 * meanwhile. tid, syscall_va and deadline_ns are set. 0; -ETIMEDOUT not
 * stopped within @stop_ms, it may still stop later; -ESRCH gone; -EPERM;
 * -EOPNOTSUPP calls can't be run in it (not 64-bit, dispatched to user space). */
int tracee_stop(struct tracee *t, unsigned int stop_ms) __attribute__((warn_unused_result));

/* Only stops it, for a moment: no call can be run. Touches none of its memory, which may
 * be the pager's to bring. As tracee_stop(). */
int tracee_pause(struct tracee *t, unsigned int stop_ms) __attribute__((warn_unused_result));
/* What tracee_pause() didn't wait for: -ETIMEDOUT, as before; 0: to be resumed. */
int tracee_await(struct tracee *t, unsigned int stop_ms) __attribute__((warn_unused_result));
void tracee_resume(struct tracee *t);

/* Takes over @tid, the new task that tracee_clone() made, once it stands still. */
int tracee_adopt(struct tracee *t, const struct tracee *parent, pid_t tid)
	__attribute__((warn_unused_result));

/* Runs one call; what it returned is in *@out. 0, -ESRCH, -ETIMEDOUT. */
int tracee_call(struct tracee *t, long *out, long nr, const long arg[6])
	__attribute__((warn_unused_result));

/* tracee_call() with up to six arguments written out. */
#define TRACEE_CALL(t, out, nr, ...) tracee_call((t), (out), (nr), (const long[6]){__VA_ARGS__})

/* clone(@flags) without a stack: the new task is traced, stands still before
 * its first instruction and is waited for by tracee_adopt(). 0 or -errno. */
int tracee_clone(struct tracee *t, long flags, pid_t *child) __attribute__((warn_unused_result));

/* Puts everything back and lets the thread go on. 0, -ESRCH, -ETIMEDOUT. */
int tracee_release(struct tracee *t) __attribute__((warn_unused_result));

/* Lets it go on at @entry(@arg) with its own stack, signals still blocked. */
int tracee_start(struct tracee *t, uint64_t entry, uint64_t arg, uint64_t stack_top)
	__attribute__((warn_unused_result));

/* Kills a task of ours and takes its status; its own parent still has to. */
void tracee_kill(struct tracee *t);

uint64_t tracee_now_ns(void);

/* Other process's memory; 0 or -errno, all or nothing. */
int tracee_read(pid_t pid, uint64_t va, void *buf, size_t bytes)
	__attribute__((warn_unused_result));
int tracee_write(pid_t pid, uint64_t va, const void *buf, size_t bytes)
	__attribute__((warn_unused_result));

#endif
