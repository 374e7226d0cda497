/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/freeze.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "client/capture/look.h"
#include "client/capture/proc.h"
#include "client/capture/ptrace.h"

#define STOP_MS 2U
#define LONG_MS 20U
#define ROUNDS	5U /* one thread may make others until it is stopped */

struct held {
	struct tracee t;
	bool stands; /* or it will, before it runs in user mode again */
};

struct freeze {
	pid_t *pid;
	size_t nr_pids;
	struct held *held;
	size_t nr_held, max_held;
	bool has_thread, anyway;
	pthread_t thread;
	sem_t begun, over;
	int ret;
};

/* Who sleeps there goes on to change mappings, or is about to be two. */
static bool changes_mappings(long call)
{
	static const long calls[] = {
		SYS_mmap,	SYS_munmap, SYS_mremap,	  SYS_brk,	SYS_madvise,
		SYS_mprotect,	SYS_clone,  SYS_clone3,	  SYS_fork,	SYS_vfork,
		SYS_execve,	SYS_shmat,  SYS_execveat, SYS_shmdt,	SYS_remap_file_pages,
		SYS_io_setup,	SYS_mlock,  SYS_mlock2,	  SYS_mlockall, SYS_process_madvise,
		SYS_io_destroy, SYS_munlock};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i] == call)
			return true;
	return false;
}

/* Who waits for a page or for a child of vfork() stays there: only we bring pages, and
 * that child is held. What it does next may depend on the room that is being made. */
static bool stays_asleep(pid_t pid, pid_t tid)
{
	return look_waits_at(pid, tid, "handle_userfault") ||
	       look_waits_at(pid, tid, "kernel_clone");
}

static bool is_held(const struct freeze *f, pid_t tid)
{
	for (size_t i = 0; i < f->nr_held; i++)
		if (f->held[i].t.tid == tid)
			return true;
	return false;
}

/*
 * One that faults inside the kernel does not stop before its page comes, and goes round
 * there: that page may need the very room that is being made. Asked to stop, it doesn't
 * get back into user mode, so it begins no other call. Others are soon out of the kernel.
 */
static int hold(struct freeze *f, pid_t tid)
{
	struct held h = {.t = {.tid = tid}};
	int err;

	if (f->nr_held == f->max_held) {
		size_t max = f->max_held ? 2 * f->max_held : 16;
		struct held *more = realloc(f->held, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->held = more;
		f->max_held = max;
	}
	err = tracee_pause(&h.t, f->anyway ? LONG_MS : STOP_MS);
	if (err == -ESRCH) /* ended */
		return 0;
	if (err && (err != -ETIMEDOUT || !f->anyway))
		return -EAGAIN;
	h.stands = !err;
	f->held[f->nr_held++] = h;
	return 0;
}

/* Looks at all threads of a process: *@running counts those that run and aren't held.
 * With @stop they are, from then on. */
static int look_at_all(struct freeze *f, pid_t pid, bool stop, unsigned int *running)
{
	pid_t *tids = NULL;
	size_t nr = 0;
	int err = proc_tids(pid, &tids, &nr);

	if (err == -ESRCH || err == -ENOENT)
		return 0;
	for (size_t i = 0; !err && i < nr; i++) {
		long call = -1;
		enum look at;

		if (is_held(f, tids[i]))
			continue;
		at = look_at_thread(pid, tids[i], &call);
		if (at == LOOK_UNKNOWN || (at == LOOK_ASLEEP && changes_mappings(call) &&
					   !stays_asleep(pid, tids[i])))
			err = -EAGAIN;
		if (at == LOOK_RUNNING) {
			++*running;
			if (stop)
				err = hold(f, tids[i]);
		}
	}
	free(tids);
	return err;
}

static int look_at_each(struct freeze *f, bool stop, unsigned int *running)
{
	int err = 0;

	*running = 0;
	for (size_t i = 0; !err && i < f->nr_pids; i++)
		err = look_at_all(f, f->pid[i], stop, running);
	return err;
}

static int stop_all(struct freeze *f)
{
	unsigned int running = 1;
	int err = 0;

	for (unsigned int round = 0; !err && running; round++)
		err = round < ROUNDS ? look_at_each(f, true, &running) : -EAGAIN;
	return err;
}

/* What is stopped belongs to this thread, and is let go with it at the latest. */
static void *hold_all(void *arg)
{
	struct freeze *f = arg;

	f->ret = stop_all(f);
	sem_post(&f->begun);
	while (!f->ret && sem_wait(&f->over))
		;
	while (f->nr_held)
		if (f->held[--f->nr_held].stands)
			tracee_resume(&f->held[f->nr_held].t);
	return NULL;
}

int freeze_begin(const pid_t *pid, size_t nr, bool anyway, struct freeze **out)
{
	struct freeze *f = calloc(1, sizeof(*f));
	unsigned int running;
	int err;

	if (!f)
		return -ENOMEM;
	f->pid = malloc(nr * sizeof(*pid));
	sem_init(&f->begun, 0, 0);
	sem_init(&f->over, 0, 0);
	if (!f->pid) {
		freeze_end(f);
		return -ENOMEM;
	}
	memcpy(f->pid, pid, nr * sizeof(*pid));
	f->nr_pids = nr;
	f->anyway = anyway;
	err = look_at_each(f, false, &running);
	if (!err && running) {
		f->has_thread = !pthread_create(&f->thread, NULL, hold_all, f);
		err = f->has_thread ? 0 : -EAGAIN;
	}
	while (f->has_thread && sem_wait(&f->begun))
		;
	if (f->has_thread)
		err = f->ret;
	if (err) {
		freeze_end(f);
		return err == -ENOMEM ? err : -EAGAIN;
	}
	*out = f;
	return 0;
}

void freeze_end(struct freeze *f)
{
	if (!f)
		return;
	if (f->has_thread) {
		sem_post(&f->over);
		pthread_join(f->thread, NULL);
	}
	sem_destroy(&f->begun);
	sem_destroy(&f->over);
	free(f->held);
	free(f->pid);
	free(f);
}
