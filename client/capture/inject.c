/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process is stopped for one call only: clone. The new task shares its
 * memory, gets a descriptor table of its own at once, and makes everything
 * else itself while the process runs on.
 */
#include "client/capture/inject.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/inject_parts.h"
#include "common/base/err.h"
#include "common/compat.h"

#define DEFAULT_TIMEOUT_MS 1000U
#define UNDO_TIMEOUT_MS	   1000

struct inject_job {
	struct injection inj;
	int ret;
	char text[256];
};

static int open_pidfd(pid_t pid, int *out)
{
	*out = (int)syscall(SYS_pidfd_open, pid, 0);
	return *out < 0 ? -errno : 0;
}

struct agent_ring *agent_map(int ring_fd)
{
	void *at = mmap(NULL, AGENT_SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* Sealed: nobody can shorten it under the pager's mapping. */
static int make_ring(struct agent *out)
{
	out->ring_fd = memfd_create("rmem-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (out->ring_fd < 0)
		return -errno;
	if (ftruncate(out->ring_fd, AGENT_SHARED_BYTES) ||
	    fcntl(out->ring_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	out->ring = agent_map(out->ring_fd);
	return out->ring ? 0 : -errno;
}

/* The exit signal is 0: the process's wait calls don't see this child. The
 * shared table lasts until the task's first call. */
static int make_task(struct injection *inj)
{
	pid_t tid = 0;
	int ret, released;

	ret = inject_stop_any(inj);
	if (ret)
		return err_set(ret, "process %d: can't stop a thread: %s", inj->args->pid,
			       strerror(-ret));
	ret = tracee_clone(&inj->job, CLONE_VM | CLONE_FILES, &tid);
	if (!ret) {
		inj->out->pid = tid;
		ret = tracee_adopt(&inj->agent, &inj->job, tid);
		inj->agent.deadline_ns = inj->deadline_ns;
	}
	released = tracee_release(&inj->job);
	if (ret)
		return err_set(ret, "process %d: clone: %s", inj->args->pid, strerror(-ret));
	if (released)
		return err_set(released, "process %d: ended or was taken away", inj->args->pid);
	return open_pidfd(tid, &inj->out->pidfd);
}

/* Unmapping registered memory would wait for somebody to read the event. */
static void unregister_scratch(const struct injection *inj)
{
	for (unsigned int h = 0; h < AGENT_HALVES && inj->out->uffd_job >= 0; h++) {
		struct uffdio_range range = {inj->scratch[h], CHUNK_BYTES};

		ioctl(inj->out->uffd_job, UFFDIO_UNREGISTER, &range);
	}
}

/* What was mapped goes, and the dead task is taken from among the process's
 * children, by one more stop. */
static void undo(struct injection *inj)
{
	pid_t tid = inj->out->pid;
	long got;

	if (!tid)
		return;
	inj->agent.tid = tid;
	tracee_kill(&inj->agent);
	poll(&(struct pollfd){.fd = inj->out->pidfd, .events = POLLIN}, 1, UNDO_TIMEOUT_MS);
	unregister_scratch(inj);
	inj->deadline_ns = tracee_now_ns() + UNDO_TIMEOUT_MS * 1000000ULL;
	if (inject_stop_any(inj))
		return;
	if (inj->own_start && tracee_call(&inj->job, &got, SYS_munmap,
					  (const long[6]){(long)inj->own_start,
							  (long)(inj->own_end - inj->own_start)}))
		return;
	if (TRACEE_CALL(&inj->job, &got, SYS_wait4, tid, 0, __WALL | WNOHANG, 0))
		return;
	if (tracee_release(&inj->job))
		err_set(-ESRCH, "process %d: ended", inj->args->pid);
}

static int inject_steps(struct injection *inj)
{
	int ret;

	ret = open_pidfd(inj->args->pid, &inj->target_pidfd);
	if (ret)
		return err_set(ret, "process %d: %s", inj->args->pid, strerror(-ret));
	ret = make_ring(inj->out);
	if (ret)
		return err_set(ret, "can't make a ring: %s", strerror(-ret));
	ret = inject_find_syscall(inj);
	if (ret)
		return err_set(ret, "process %d: no usable vdso: %s", inj->args->pid,
			       strerror(-ret));
	ret = make_task(inj);
	if (!ret)
		ret = inject_setup(inj);
	return ret;
}

/* A thread of its own: whatever is still held by ptrace is let go at its end. */
static void *inject_thread(void *arg)
{
	struct inject_job *job = arg;

	tracee_go_first(true);
	job->ret = inject_steps(&job->inj);
	if (job->ret) {
		snprintf(job->text, sizeof(job->text), "%s", err_text(job->ret));
		undo(&job->inj);
	}
	return NULL;
}

static enum inject_refusal refusal_of(int ret)
{
	switch (-ret) {
	case ESRCH:
	case ECHILD:
		return REFUSE_GONE;
	case ETIMEDOUT:
		return REFUSE_STUCK;
	case EPERM:
	case EACCES:
		return REFUSE_PERMISSION;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EAGAIN:
		return REFUSE_LIMIT;
	default:
		return REFUSE_OTHER;
	}
}

static int run_thread(struct inject_job *job)
{
	pthread_t thread;
	int ret;

	ret = pthread_create(&thread, NULL, inject_thread, job);
	if (ret)
		return err_set(-ret, "can't start a thread: %s", strerror(ret));
	pthread_join(thread, NULL);
	return job->ret ? err_set(job->ret, "%s", job->text) : 0;
}

int inject_agent(const struct inject_args *args, struct agent *out, enum inject_refusal *why)
{
	unsigned int timeout_ms = args->timeout_ms ? args->timeout_ms : DEFAULT_TIMEOUT_MS;
	struct inject_args own = *args;
	struct inject_job job = {
		.inj = {.args = &own, .out = out, .target_pidfd = -1},
	};
	int ret;

	own.timeout_ms = timeout_ms;
	*out = (struct agent){.pidfd = -1, .uffd_job = -1, .ring_fd = -1};
	*why = inject_check(args->pid);
	if (*why != REFUSE_NONE)
		return err_set(-EPERM, "process %d: %s", args->pid, inject_refusal_text(*why));
	job.inj.deadline_ns = tracee_now_ns() + timeout_ms * 1000000ULL;
	ret = run_thread(&job);
	if (job.inj.target_pidfd >= 0)
		close(job.inj.target_pidfd);
	if (ret) {
		*why = refusal_of(ret);
		agent_fini(out);
	}
	return ret;
}

static void close_fd(int *fd)
{
	if (*fd > 0)
		close(*fd);
	*fd = -1;
}

void agent_fini(struct agent *a)
{
	if (a->pidfd > 0)
		syscall(SYS_pidfd_send_signal, a->pidfd, SIGKILL, NULL, 0);
	if (a->ring)
		munmap(a->ring, AGENT_SHARED_BYTES);
	a->ring = NULL;
	a->pid = 0;
	close_fd(&a->pidfd);
	close_fd(&a->uffd_job);
	close_fd(&a->ring_fd);
}
