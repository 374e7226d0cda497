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

#define STOP_MS	 2U
#define LONG_MS	 20U
#define MAX_LATE 64U
#define ROUNDS	 5U /* one thread may make others until it is stopped */

struct held {
	struct tracee t;
	bool stands; /* or it will, before it runs in user mode again: it is late */
};

/* Those that were asked to stop and have not yet: somebody waits for each, since only
 * its tracer can undo what stopping does to its call. */
static struct {
	pthread_mutex_t lock;	/* of the list */
	pthread_mutex_t let_go; /* held by who freezes: none goes on meanwhile */
	pid_t tid[MAX_LATE];
} late = {.lock = PTHREAD_MUTEX_INITIALIZER, .let_go = PTHREAD_MUTEX_INITIALIZER};

struct freeze {
	pid_t *pid;
	size_t nr_pids;
	struct held *held;
	size_t nr_held, max_held, nr_late;
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

/* From @tid to @to; 0 stands for none. */
static bool late_change(pid_t tid, pid_t to)
{
	bool found = false;

	pthread_mutex_lock(&late.lock);
	for (size_t i = 0; i < MAX_LATE && !found; i++) {
		found = late.tid[i] == tid;
		if (found)
			late.tid[i] = to;
	}
	pthread_mutex_unlock(&late.lock);
	return found;
}

static bool is_late(pid_t tid)
{
	return late_change(tid, tid);
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
	if (err && err != -ETIMEDOUT)
		return -EAGAIN;
	h.stands = !err;
	if (err && !late_change(0, tid)) /* too many: its call may be cut short */
		return -EAGAIN;
	f->nr_late += !h.stands;
	f->held[f->nr_held++] = h;
	return err && !f->anyway ? -EAGAIN : 0;
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
		if (is_late(tids[i])) { /* and stays so */
			err = f->anyway ? 0 : -EAGAIN;
			continue;
		}
		at = look_at_thread(pid, tids[i], &call);
		if (at == LOOK_UNKNOWN ||
		    (at == LOOK_ASLEEP && changes_mappings(call) && !stays_asleep(pid, tids[i])))
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

static void freeze_free(struct freeze *f)
{
	sem_destroy(&f->begun);
	sem_destroy(&f->over);
	free(f->held);
	free(f->pid);
	free(f);
}

static void await_late(struct freeze *f)
{
	for (size_t i = 0; f->nr_late; i = (i + 1) % f->nr_held) {
		struct held *h = &f->held[i];
		int err;

		if (h->stands)
			continue;
		err = tracee_await(&h->t, 1);
		if (err == -ETIMEDOUT)
			continue;
		pthread_mutex_lock(&late.let_go);
		if (!err)
			tracee_resume(&h->t);
		late_change(h->t.tid, 0);
		pthread_mutex_unlock(&late.let_go);
		h->stands = true;
		f->nr_late--;
	}
}

/* What is stopped belongs to this thread, and is let go with it at the latest. */
static void *hold_all(void *arg)
{
	struct freeze *f = arg;
	bool any_late;

	f->ret = stop_all(f);
	any_late = f->nr_late;
	sem_post(&f->begun);
	while (sem_wait(&f->over))
		;
	for (size_t i = 0; i < f->nr_held; i++)
		if (f->held[i].stands)
			tracee_resume(&f->held[i].t);
	if (any_late) {
		await_late(f);
		freeze_free(f); /* nobody waits for us */
	}
	return NULL;
}

int freeze_begin(const pid_t *pid, size_t nr, bool anyway, struct freeze **out)
{
	struct freeze *f = calloc(1, sizeof(*f));
	unsigned int running;
	int err;

	if (!f)
		return -ENOMEM;
	pthread_mutex_lock(&late.let_go);
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
	bool any_late;

	if (!f)
		return;
	pthread_mutex_unlock(&late.let_go);
	any_late = f->nr_late;
	if (f->has_thread && any_late)
		pthread_detach(f->thread);
	if (f->has_thread)
		sem_post(&f->over); /* if any is late it is the thread's from here on */
	if (any_late)
		return;
	if (f->has_thread)
		pthread_join(f->thread, NULL);
	freeze_free(f);
}
