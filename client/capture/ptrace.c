/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stops, in order, of the thread whose help is asked for:
 *
 *	SEIZE INTERRUPT  -> event stop   registers and mask are saved
 *	SYSCALL SYSCALL  -> entry, exit  each call run in it
 *	INTERRUPT CONT   -> event stop   registers and mask are put back
 *	DETACH
 *
 * The last event stop is what makes an interrupted call restart: the kernel
 * looks at the return value (-ERESTART...) only on its way out of a stop of
 * that kind. Single steps are never used: their forced SIGTRAP would reset
 * what the job does with that signal.
 */
#include "client/capture/ptrace.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/capture/ptrace_fix.h"

#define SYSCALL_STOP	(SIGTRAP | 0x80)
#define EFLAGS_CLEAN	0x202UL /* interrupts on, nothing else */
#define CS_64BIT	0x33UL
#define NO_SYSCALL	(~0ULL)
#define RESTART_FIRST	512 /* ERESTARTSYS, in the kernel only */
#define RESTART_LAST	516
#define NEVER_NS	(~0ULL)
#define SPIN_NS		300000ULL /* stops mostly come within this */
#define HURRY_NS	5000000ULL
#define ALL_BUT_NOTHING (~0ULL)

uint64_t tracee_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

int tracee_read(pid_t pid, uint64_t va, void *buf, size_t bytes)
{
	struct iovec here = {buf, bytes};
	struct iovec there = {(void *)(uintptr_t)va, bytes};
	ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == bytes ? 0 : -EFAULT;
}

int tracee_write(pid_t pid, uint64_t va, const void *buf, size_t bytes)
{
	struct iovec here = {(void *)(uintptr_t)buf, bytes};
	struct iovec there = {(void *)(uintptr_t)va, bytes};
	ssize_t n = process_vm_writev(pid, &here, 1, &there, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == bytes ? 0 : -EFAULT;
}

static long trace(long request, pid_t tid, long addr, void *data)
{
	return ptrace((enum __ptrace_request)request, tid, addr, data) ? -errno : 0;
}

static long trace_value(long request, pid_t tid, uintptr_t value)
{
	return trace(request, tid, 0, (void *)value);
}

/* Waits for the next stop: without a signal to break a blocking wait it has
 * to look again and again, at first without sleeping. */
static int tracee_wait(pid_t tid, uint64_t deadline_ns, int *status)
{
	uint64_t start = tracee_now_ns(), now;
	pid_t got;

	for (;;) {
		got = waitpid(tid, status, __WALL | WNOHANG);
		if (got == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
		now = tracee_now_ns();
		if (now > deadline_ns)
			return -ETIMEDOUT;
		if (now - start < SPIN_NS)
			sched_yield();
		else
			usleep(100);
	}
}

static int stop_event(int status)
{
	return (unsigned int)status >> 16;
}

/* What to hand on when resuming: a signal that stopped in front of delivery.
 * Events, group stops among them, carry none. */
static int stop_signal(const struct tracee *t, int status)
{
	if (stop_event(status) || WSTOPSIG(status) == SYSCALL_STOP)
		return 0;
	return t->own ? 0 : WSTOPSIG(status);
}

/* Resumes until a stop of the wanted kind; other stops are handed on. */
static int run_to_syscall_stop(struct tracee *t, int *status)
{
	int sig = 0, ret;

	for (;;) {
		if (trace_value(PTRACE_SYSCALL, t->tid, (uintptr_t)sig))
			return -ESRCH;
		ret = tracee_wait(t->tid, t->deadline_ns, status);
		if (ret)
			return ret;
		if (WSTOPSIG(*status) == SYSCALL_STOP || stop_event(*status) == PTRACE_EVENT_CLONE)
			return 0;
		sig = stop_signal(t, *status);
	}
}

/* Any other stop cancels the interrupt, so it is asked for each time. */
static int run_to_event_stop(struct tracee *t, bool running)
{
	int status, sig = 0, ret;

	for (;;) {
		if (trace(PTRACE_INTERRUPT, t->tid, 0, NULL))
			return -ESRCH;
		if (!running && trace_value(PTRACE_CONT, t->tid, (uintptr_t)sig))
			return -ESRCH;
		running = false;
		ret = tracee_wait(t->tid, t->deadline_ns, &status);
		if (ret)
			return ret;
		if (stop_event(status) == PTRACE_EVENT_STOP)
			return 0;
		sig = stop_signal(t, status);
	}
}

static int set_mask(const struct tracee *t, uint64_t mask)
{
	return (int)trace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask);
}

static int save_state(struct tracee *t)
{
	int ret;

	if (trace(PTRACE_GETREGS, t->tid, 0, &t->saved) ||
	    trace(PTRACE_GETSIGMASK, t->tid, sizeof(t->saved_mask), &t->saved_mask))
		return -ESRCH;
	if (t->saved.cs != CS_64BIT || fix_is_dispatched(t->tid))
		return -EOPNOTSUPP;
	ret = fix_rseq(t->tid, &t->saved);
	if (ret)
		return ret;
	fix_cut_short(t->tid, &t->saved, t->saved_mask);
	return set_mask(t, ALL_BUT_NOTHING);
}

/*
 * Each step of a stopped task waits for its turn on a CPU, which on a busy
 * machine takes a hundred times longer than the step. So it runs before
 * everybody but its tracer (tracee_go_first()) for as long as we hold it; without the
 * permission it just waits.
 */
static void hurry(struct tracee *t)
{
	const struct sched_param first = {.sched_priority = 1};

	t->sched.changed = false;
	t->sched.policy = sched_getscheduler(t->tid);
	if (t->sched.policy == SCHED_OTHER || t->sched.policy == SCHED_BATCH ||
	    t->sched.policy == SCHED_IDLE)
		t->sched.changed = !sched_setscheduler(t->tid, SCHED_FIFO, &first);
}

static void unhurry(struct tracee *t)
{
	const struct sched_param none = {0};

	if (t->sched.changed)
		sched_setscheduler(t->tid, t->sched.policy, &none);
	t->sched.changed = false;
}

void tracee_go_first(bool first)
{
	const struct sched_param param = {.sched_priority = first ? 2 : 0};

	sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &param);
}

/* One that faults inside the kernel goes round there and does not stop before its page has
 * come, for which others need the CPU: it hurries for a moment only. */
static int stop_in_a_hurry(struct tracee *t)
{
	uint64_t deadline_ns = t->deadline_ns, soon_ns = tracee_now_ns() + HURRY_NS;
	int ret;

	hurry(t);
	if (soon_ns < deadline_ns)
		t->deadline_ns = soon_ns;
	ret = run_to_event_stop(t, true);
	t->deadline_ns = deadline_ns;
	if (ret)
		unhurry(t);
	if (ret != -ETIMEDOUT || soon_ns >= deadline_ns)
		return ret;
	ret = run_to_event_stop(t, true);
	if (!ret)
		hurry(t);
	return ret;
}

int tracee_stop(struct tracee *t, unsigned int stop_ms)
{
	uint64_t stop_ns = tracee_now_ns() + stop_ms * 1000000ULL;
	int ret;

	ret = (int)trace_value(PTRACE_SEIZE, t->tid, PTRACE_O_TRACESYSGOOD);
	if (ret)
		return ret;
	t->own = false;
	if (stop_ns < t->deadline_ns)
		t->deadline_ns = stop_ns;
	ret = stop_in_a_hurry(t);
	if (ret)
		return ret;
	/* Now it must be put back, however long a busy machine takes. */
	t->deadline_ns = NEVER_NS;
	ret = save_state(t);
	if (ret) {
		unhurry(t);
		trace(PTRACE_DETACH, t->tid, 0, NULL);
	}
	return ret;
}

int tracee_pause(struct tracee *t, unsigned int stop_ms)
{
	int ret = (int)trace_value(PTRACE_SEIZE, t->tid, PTRACE_O_TRACESYSGOOD);

	if (ret)
		return ret;
	t->own = false;
	t->deadline_ns = tracee_now_ns() + stop_ms * 1000000ULL;
	return stop_in_a_hurry(t);
}

int tracee_await(struct tracee *t, unsigned int stop_ms)
{
	t->deadline_ns = tracee_now_ns() + stop_ms * 1000000ULL;
	return run_to_event_stop(t, true);
}

void tracee_resume(struct tracee *t)
{
	uint64_t mask;

	if (!trace(PTRACE_GETREGS, t->tid, 0, &t->saved) &&
	    !trace(PTRACE_GETSIGMASK, t->tid, sizeof(mask), &mask)) {
		const struct user_regs_struct was = t->saved;

		fix_cut_short(t->tid, &t->saved, mask);
		if (was.rip != t->saved.rip)
			trace(PTRACE_SETREGS, t->tid, 0, &t->saved);
	}
	unhurry(t); /* now: it would keep us from doing it later */
	trace(PTRACE_DETACH, t->tid, 0, NULL);
}

int tracee_adopt(struct tracee *t, const struct tracee *parent, pid_t tid)
{
	int status, ret;

	*t = *parent;
	t->tid = tid;
	t->own = true;
	do {
		ret = tracee_wait(tid, t->deadline_ns, &status);
		if (ret)
			return ret;
		if (stop_event(status) == PTRACE_EVENT_STOP)
			return trace(PTRACE_GETREGS, tid, 0, &t->saved) ? -ESRCH : 0;
	} while (!trace(PTRACE_CONT, tid, 0, NULL));
	return -ESRCH;
}

/* Registers for a call: flags clean, lest a job that steps itself traps. */
static int enter_call(struct tracee *t, long nr, const long arg[6])
{
	struct user_regs_struct regs = t->saved;
	int status;

	regs.rip = t->syscall_va;
	regs.rax = (unsigned long long)nr;
	regs.orig_rax = NO_SYSCALL;
	regs.eflags = EFLAGS_CLEAN;
	regs.rdi = (unsigned long long)arg[0];
	regs.rsi = (unsigned long long)arg[1];
	regs.rdx = (unsigned long long)arg[2];
	regs.r10 = (unsigned long long)arg[3];
	regs.r8 = (unsigned long long)arg[4];
	regs.r9 = (unsigned long long)arg[5];
	if (trace(PTRACE_SETREGS, t->tid, 0, &regs))
		return -ESRCH;
	return run_to_syscall_stop(t, &status);
}

static int call_result(const struct tracee *t, long *out)
{
	struct user_regs_struct regs;

	if (trace(PTRACE_GETREGS, t->tid, 0, &regs))
		return -ESRCH;
	*out = (long)regs.rax;
	return 0;
}

/* A stop signal can't be blocked: it makes clone and the like give up, and is
 * dealt with on the way into the next try. */
static bool is_restart(long got)
{
	return got <= -RESTART_FIRST && got >= -RESTART_LAST;
}

int tracee_call(struct tracee *t, long *out, long nr, const long arg[6])
{
	int status, ret;

	do {
		ret = enter_call(t, nr, arg);
		if (!ret)
			ret = run_to_syscall_stop(t, &status);
		if (!ret)
			ret = call_result(t, out);
	} while (!ret && is_restart(*out));
	return ret;
}

int tracee_clone(struct tracee *t, long flags, pid_t *child)
{
	const long arg[6] = {flags};
	unsigned long msg;
	int status, ret;
	long got;

	if (trace_value(PTRACE_SETOPTIONS, t->tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE))
		return -ESRCH;
	do {
		got = 0;
		ret = enter_call(t, SYS_clone, arg);
		if (!ret)
			ret = run_to_syscall_stop(t, &status);
		if (!ret && stop_event(status) != PTRACE_EVENT_CLONE)
			ret = call_result(t, &got);
	} while (!ret && is_restart(got));
	if (ret || got)
		return ret ? ret : (int)got;
	if (trace(PTRACE_GETEVENTMSG, t->tid, 0, &msg))
		return -ESRCH;
	*child = (pid_t)msg;
	return 0;
}

int tracee_release(struct tracee *t)
{
	int ret = run_to_event_stop(t, false);

	if (!ret && (trace(PTRACE_SETREGS, t->tid, 0, &t->saved) || set_mask(t, t->saved_mask) ||
		     trace(PTRACE_DETACH, t->tid, 0, NULL)))
		ret = -ESRCH;
	unhurry(t); /* only now: it may have to stop again at once */
	return ret;
}

int tracee_start(struct tracee *t, uint64_t entry, uint64_t arg, uint64_t stack_top)
{
	struct user_regs_struct regs = t->saved;

	regs.rip = entry;
	regs.rdi = arg;
	regs.rsp = stack_top - sizeof(uint64_t); /* as after a call */
	regs.rbp = 0;
	regs.orig_rax = NO_SYSCALL;
	regs.eflags = EFLAGS_CLEAN;
	if (trace(PTRACE_SETREGS, t->tid, 0, &regs) || trace(PTRACE_DETACH, t->tid, 0, NULL))
		return -ESRCH;
	return 0;
}

void tracee_kill(struct tracee *t)
{
	uint64_t deadline_ns = tracee_now_ns() + 1000000000ULL;
	int status;

	kill(t->tid, SIGKILL);
	while (!tracee_wait(t->tid, deadline_ns, &status))
		trace(PTRACE_CONT, t->tid, 0, NULL);
}
