/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/freeze.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "client/capture/look.h"
#include "client/capture/proc.h"
#include "client/capture/ptrace.h"

#define STOP_MS	   2U
#define ROUND_NS   20000000ULL
#define PAGE_IN_NS 1000000000ULL
#define LET_GO_NS  10000000L
#define MAX_LATE   64U
#define MAX_SEEN   256U
#define ROUNDS	   5U /* one thread may make others until it is stopped */

struct held {
	struct tracee t;
	pid_t pid;
	bool stands; /* or it will, before it runs in user mode again: it is late */
};

/* Those that were asked to stop and have not yet: somebody waits for each, since only
 * its tracer can undo what stopping does to its call. */
struct late {
	pid_t pid, tid;	 /* 0: none */
	bool stopped;	 /* by now; to be let go */
	uint64_t ran_ns; /* how long it had run when it was asked */
};

static struct {
	pthread_mutex_t lock;
	struct late of[MAX_LATE];
	struct freeze *frozen; /* whose threads don't go on meanwhile */
	pthread_cond_t change;
} late = {.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};

struct freeze {
	struct freeze *next;
	pid_t *pid;
	size_t nr_pids;
	struct held *held;
	size_t nr_held, max_held, nr_late;
	bool has_thread;
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

/* Threads that were seen waiting for a lock. */
struct seen {
	pid_t tid;
	uint64_t ran_ns, since_ns;
};

/* Its place, or that of the one which was first seen the longest ago. Under late.lock. */
static struct seen *seen_place(pid_t tid)
{
	static struct seen of[MAX_SEEN];
	struct seen *oldest = &of[0];

	for (size_t i = 0; i < MAX_SEEN; i++) {
		if (of[i].tid == tid)
			return &of[i];
		if (of[i].since_ns < oldest->since_ns)
			oldest = &of[i];
	}
	return oldest;
}

/*
 * Who waits for a lock is soon in user mode again, so that is not the moment; but the lock
 * may be held by one who waits for a page, and that page need the very room that is being
 * made. So not for long: who has not run since it was seen there ROUND_NS ago is taken for
 * asleep. A fault in user mode that waits, for a disk or for the map lock, hardly ever waits
 * for the job; and what follows it is any call.
 */
static bool soon_goes_on(pid_t pid, pid_t tid, long call)
{
	uint64_t ran_ns, now;
	struct seen *s;
	bool soon;

	if (!look_is_brief(pid, tid))
		return false;
	ran_ns = look_ran_ns(pid, tid);
	now = tracee_now_ns();
	pthread_mutex_lock(&late.lock);
	s = seen_place(tid);
	if (s->tid != tid || s->ran_ns != ran_ns)
		*s = (struct seen){.tid = tid, .ran_ns = ran_ns, .since_ns = now};
	soon = !ran_ns || now - s->since_ns < (call == LOOK_NO_CALL ? PAGE_IN_NS : ROUND_NS);
	pthread_mutex_unlock(&late.lock);
	return soon;
}

static bool is_held(const struct freeze *f, pid_t tid)
{
	for (size_t i = 0; i < f->nr_held; i++)
		if (f->held[i].t.tid == tid)
			return true;
	return false;
}

static struct late *late_find(pid_t tid)
{
	for (size_t i = 0; i < MAX_LATE; i++)
		if (late.of[i].tid == tid)
			return &late.of[i];
	return NULL;
}

static bool late_add(pid_t pid, pid_t tid)
{
	struct late *l;

	pthread_mutex_lock(&late.lock);
	l = late_find(0);
	if (l)
		*l = (struct late){.pid = pid, .tid = tid, .ran_ns = look_ran_ns(pid, tid)};
	pthread_mutex_unlock(&late.lock);
	return l;
}

static void late_del(pid_t tid)
{
	struct late *l;

	pthread_mutex_lock(&late.lock);
	l = late_find(tid);
	if (l)
		l->tid = 0;
	pthread_mutex_unlock(&late.lock);
}

/*
 * One that faults inside the kernel does not stop before its page comes, and goes round
 * there: that page may need the very room that is being made. Asked to stop, it doesn't
 * get back into user mode, so it begins no other call: it is held where it is. Others are
 * soon out of the kernel. 0; -EAGAIN: it may be one of those; -ENOENT: not late.
 */
static int hold_late(pid_t pid, pid_t tid)
{
	const struct late *l;
	int err = -ENOENT;

	pthread_mutex_lock(&late.lock);
	l = late_find(tid);
	if (l && !l->stopped && look_ran_ns(pid, tid) - l->ran_ns < ROUND_NS &&
	    !stays_asleep(pid, tid) && !look_is_over(pid, tid))
		err = -EAGAIN;
	else if (l)
		err = 0;
	pthread_mutex_unlock(&late.lock);
	return err;
}

static int hold(struct freeze *f, pid_t pid, pid_t tid)
{
	struct held h = {.t = {.tid = tid}, .pid = pid};
	int err;

	if (f->nr_held == f->max_held) {
		size_t max = f->max_held ? 2 * f->max_held : 16;
		struct held *more = realloc(f->held, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		f->held = more;
		f->max_held = max;
	}
	err = tracee_pause(&h.t, STOP_MS);
	if (err == -ESRCH) /* ended */
		return 0;
	if (err && err != -ETIMEDOUT)
		return -EAGAIN;
	h.stands = !err;
	if (err && !late_add(pid, tid)) /* too many: its call may be cut short */
		return -EAGAIN;
	f->nr_late += !h.stands;
	f->held[f->nr_held++] = h;
	return err ? -EAGAIN : 0;
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
		long call = LOOK_NO_CALL;
		enum look at;

		if (is_held(f, tids[i]))
			continue;
		err = hold_late(pid, tids[i]);
		if (err != -ENOENT)
			continue;
		err = 0;
		at = look_at_thread(pid, tids[i], &call);
		if (at == LOOK_UNKNOWN ||
		    (at == LOOK_ASLEEP &&
		     (changes_mappings(call) || soon_goes_on(pid, tids[i], call)) &&
		     !stays_asleep(pid, tids[i])))
			err = -EAGAIN;
		if (at == LOOK_RUNNING && !look_is_worker(pid, tids[i])) {
			++*running;
			if (stop)
				err = hold(f, pid, tids[i]);
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

static bool any_to_let_go(const struct freeze *f)
{
	for (size_t i = 0; i < MAX_LATE; i++)
		for (size_t k = 0; k < f->nr_pids && late.of[i].tid; k++)
			if (late.of[i].stopped && late.of[i].pid == f->pid[k])
				return true;
	return false;
}

/* Those who stood already go on first: one freeze may follow the other. */
static void frozen_add(struct freeze *f)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LET_GO_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&late.lock);
	while (!err && any_to_let_go(f))
		err = pthread_cond_timedwait(&late.change, &late.lock, &until);
	f->next = late.frozen;
	late.frozen = f;
	pthread_mutex_unlock(&late.lock);
}

static void frozen_del(const struct freeze *f)
{
	struct freeze **p = &late.frozen;

	pthread_mutex_lock(&late.lock);
	while (*p && *p != f)
		p = &(*p)->next;
	if (*p)
		*p = f->next;
	pthread_cond_broadcast(&late.change);
	pthread_mutex_unlock(&late.lock);
}

static void freeze_free(struct freeze *f)
{
	sem_destroy(&f->begun);
	sem_destroy(&f->over);
	free(f->held);
	free(f->pid);
	free(f);
}

static bool is_frozen(pid_t pid)
{
	for (const struct freeze *f = late.frozen; f; f = f->next)
		for (size_t i = 0; i < f->nr_pids; i++)
			if (f->pid[i] == pid)
				return true;
	return false;
}

static void let_go(struct held *h)
{
	struct late *l;

	pthread_mutex_lock(&late.lock);
	l = late_find(h->t.tid);
	l->stopped = true;
	while (is_frozen(h->pid))
		pthread_cond_wait(&late.change, &late.lock);
	tracee_resume(&h->t);
	l->tid = 0;
	pthread_cond_broadcast(&late.change);
	pthread_mutex_unlock(&late.lock);
}

static void await_late(struct freeze *f)
{
	for (size_t i = 0; f->nr_late; i = (i + 1) % f->nr_held) {
		struct held *h = &f->held[i];
		int err;

		if (h->stands)
			continue;
		err = tracee_await(&h->t, 1);
		/* Of a first thread that has ended nobody is told before the others have. */
		if (err == -ETIMEDOUT && !look_is_over(h->pid, h->t.tid))
			continue;
		if (err)
			late_del(h->t.tid);
		else
			let_go(h);
		h->stands = true;
		f->nr_late--;
	}
}

/* What is stopped belongs to this thread, and is let go with it at the latest. */
static void *hold_all(void *arg)
{
	struct freeze *f = arg;
	bool any_late;

	tracee_go_first(true);
	f->ret = stop_all(f);
	tracee_go_first(false);
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

int freeze_begin(const pid_t *pid, size_t nr, struct freeze **out)
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
	frozen_add(f);
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
	frozen_del(f);
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
