/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/drop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client/capture/bpf_ages.h"
#include "client/capture/bpf_pins.h"
#include "client/capture/hold.h"
#include "client/capture/proc.h"
#include "client/capture/uffd.h"
#include "common/base/err.h"
#include "common/base/log.h"

#define NR_STAGES	3U
#define MAX_PIDS	64U
#define PAUSE_NS	1000000ULL /* after a try that came to nothing */
#define LOOKS_FOR_USERS 50U
#define SPIN_NS		200000ULL
#define ANSWER_NS	10000000000ULL
#define SETTLE_NS	1000000000ULL
#define MAX_STASH	65536U

enum batch_state { BATCH_NONE, BATCH_BEGUN, BATCH_DONE };

/* One chunk's pages on their way. The thread's own between BEGUN and DONE. */
struct batch {
	enum batch_state state; /* atomic */
	bool abandoned;		/* atomic: its space ends */
	struct aspace *sp;	/* pager's thread only */
	unsigned int half;
	int uffd, pagemap_fd, wake_fd, pidfd;
	pid_t agent_pid;
	struct agent_ring *ring;
	struct agent_cmd *cmd; /* reserved */
	uint64_t va;
	pageset want, gaps;
	pid_t pid[MAX_PIDS];
	size_t nr_pids;
	char *stage;
	/* on the way */
	pageset span;	    /* protected, with gaps between */
	pageset zapped;	    /* what the agent was told to drop */
	uint64_t swallowed; /* of the run under way, all up to here */
	/* the answer */
	pageset moved, busy, invalid;
	bool given, overtaken;
	const char *fatal;
	struct uffd_msg *stash; /* read meanwhile, not ours */
	unsigned int nr_stash, max_stash, nr_stash_before;
};

struct drop {
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool alive; /* there is a thread; under lock */
	int done_fd;
	struct bpf_pins *pins;
	char *stage[NR_STAGES];
	bool staged[NR_STAGES];
	struct batch batch;
};

static bool is_abandoned(const struct batch *b)
{
	return __atomic_load_n(&b->abandoned, __ATOMIC_ACQUIRE);
}

/* ---- messages ---- */

static bool is_event(const struct uffd_msg *m)
{
	return m->event != UFFD_EVENT_PAGEFAULT;
}

/* A thread that waits to write to what is protected is woken at the end. */
static bool waits_for_us(const struct batch *b, const struct uffd_msg *m)
{
	return !is_event(m) && m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP &&
	       m->arg.pagefault.address >= b->va && m->arg.pagefault.address < b->va + CHUNK_BYTES;
}

static void stash(struct batch *b, const struct uffd_msg *m)
{
	if (waits_for_us(b, m))
		return;
	if (b->nr_stash == b->max_stash) {
		unsigned int max = b->max_stash ? 2 * b->max_stash : 64;
		struct uffd_msg *more =
			max > MAX_STASH ? NULL : realloc(b->stash, max * sizeof(*more));

		if (!more) {
			b->fatal = "too many messages of one process";
			return;
		}
		b->stash = more;
		b->max_stash = max;
	}
	b->stash[b->nr_stash++] = *m;
}

static bool no_page_between(const struct batch *b, uint64_t from, uint64_t to)
{
	unsigned int first = (unsigned int)((from - b->va) / PAGE_BYTES);

	return from == to || pageset_next(&b->zapped, first) >= (to - b->va) / PAGE_BYTES;
}

/* Is it what our own run raises? A run over several mappings raises one for each. */
static bool is_ours(struct batch *b, const struct uffd_msg *m)
{
	uint64_t start = m->arg.remove.start, end = m->arg.remove.end;

	if (m->event != UFFD_EVENT_REMOVE)
		return false;
	if (b->swallowed < b->cmd->run_start || b->swallowed > b->cmd->run_end)
		b->swallowed = b->cmd->run_start;
	if (start >= b->swallowed && end > start && end <= b->cmd->run_end &&
	    no_page_between(b, b->swallowed, start)) {
		b->swallowed = end;
		return true;
	}
	/* Somebody's madvise that is told apart from ours by nothing. */
	if (start < b->cmd->run_end && end > b->cmd->run_start)
		b->fatal = "memory was given back while it was dropped, and which call comes "
			   "first can't be told";
	return false;
}

/* ---- the steps ---- */

/* Runs of what is wanted, over gaps; on old kernels a run is refused that is not inside
 * one mapping, and always one that is not registered. False: an event is unread. */
static bool protect(struct batch *b)
{
	unsigned int step = CHUNK_PAGES, idx = pageset_next(&b->want, 0), end;

	while (idx < CHUNK_PAGES) {
		uint64_t va = b->va + idx * PAGE_BYTES;
		unsigned int last = idx;
		int err;

		for (end = idx; end < CHUNK_PAGES && end - idx < step; end++) {
			if (pageset_has(&b->want, end))
				last = end;
			else if (!pageset_has(&b->gaps, end))
				break;
		}
		end = last + 1;
		err = uffd_guard(b->uffd, va, b->va + end * PAGE_BYTES);
		if (err == -EAGAIN)
			return false;
		if (err && end - idx > 1) {
			step = (end - idx) / 2;
			continue;
		}
		for (unsigned int i = idx; i < end; i++)
			pageset_add(err ? &b->invalid : &b->span, i);
		step = 2 * step < CHUNK_PAGES ? 2 * step : CHUNK_PAGES;
		idx = pageset_next(&b->want, end);
	}
	return true;
}

static void unprotect(struct batch *b)
{
	for (unsigned int idx = pageset_next(&b->span, 0), end; idx < CHUNK_PAGES;
	     idx = pageset_next(&b->span, end)) {
		end = pageset_next_gap(&b->span, idx);
		/* Refused while an event is unread: then a write asks for it (allow()). */
		uffd_allow(b->uffd, b->va + idx * PAGE_BYTES, b->va + end * PAGE_BYTES);
	}
	uffd_wake(b->uffd, b->va, CHUNK_BYTES);
}

/* Nothing waits here: /proc/PID/mem does without a page that a fault would have to bring. */
static void copy(struct batch *b, pageset *set)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", b->agent_pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (unsigned int idx = pageset_next(set, 0), end; idx < CHUNK_PAGES;
	     idx = pageset_next(set, end)) {
		size_t bytes;
		ssize_t got;

		end = pageset_next_gap(set, idx);
		bytes = (end - idx) * PAGE_BYTES;
		got = fd < 0 ? -1
			     : pread(fd, b->stage + idx * PAGE_BYTES, bytes,
				     (off_t)(b->va + idx * PAGE_BYTES));
		for (unsigned int i = idx + (unsigned int)((got > 0 ? got : 0) / PAGE_BYTES);
		     i < end; i++)
			pageset_del(set, i);
	}
	if (fd >= 0)
		close(fd);
}

/* A huge page has one count for all of its pages: the kernel splits it where a part is
 * advised upon, unless something is pinned. */
static bool split(const struct batch *b, const pageset *refused)
{
	unsigned int idx = pageset_next(refused, 0);
	pageset one = {{0}};

	if (idx == CHUNK_PAGES)
		return false;
	pageset_add(&one, idx);
	return !ages_clear(b->pidfd, b->va, &one);
}

static pageset without(const pageset *a, const pageset *b)
{
	pageset out;

	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		out.w[i] = a->w[i] & ~b->w[i];
	return out;
}

static pageset both(const pageset *a, const pageset *b)
{
	pageset out;

	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		out.w[i] = a->w[i] & b->w[i];
	return out;
}

/* Whom nobody but the mapping refers to: the rest is shared or pinned. */
static int choose(struct drop *d, struct batch *b, pageset *alone)
{
	pageset want = both(&b->want, &b->span), any;
	unsigned int users;
	int err = pins_alone(d->pins, b->pagemap_fd, b->va, &want, alone, &users);

	b->busy = without(&want, alone);
	if (!err && pageset_count(&b->busy) > 64 && split(b, &b->busy))
		err = pins_alone(d->pins, b->pagemap_fd, b->va, &want, alone, &users);
	if (!err)
		err = proc_any(b->pagemap_fd, b->va, b->va + CHUNK_BYTES, &any);
	b->busy = without(&want, alone);
	b->busy = both(&b->busy, &any);
	return err;
}

/* Everybody who lives there was looked at, and what was copied is as it was. */
static int look_again(struct drop *d, struct batch *b, const struct hold *h, pageset *alone)
{
	unsigned int users = 0;
	pageset now;
	int err = 0;

	for (unsigned int i = 0; i < LOOKS_FOR_USERS && users != h->tasks + 1 && !err; i++) {
		if (i)
			sched_yield();
		err = pins_alone(d->pins, b->pagemap_fd, b->va, alone, &now, &users);
	}
	if (err || users != h->tasks + 1) {
		log_debug("drop: %u tasks, %u users, err=%d", h->tasks, users, err);
		return -EAGAIN;
	}
	*alone = now;
	return uffd_changing(b->uffd) ? -EAGAIN : 0;
}

/* One message at a time: while an event that came after ours is unread, its caller
 * waits, and can't map anything in place of what it has unmapped. */
static bool read_one(struct batch *b)
{
	struct uffd_msg m;

	if (uffd_read(b->uffd, &m, 1) <= 0)
		return false;
	if (is_ours(b, &m))
		return true;
	if (is_event(&m))
		__atomic_store_n(&b->cmd->stop, 1, __ATOMIC_SEQ_CST);
	stash(b, &m);
	return true;
}

static void zap(struct batch *b, const pageset *set)
{
	pageset gaps = without(&b->span, &b->want);
	uint64_t start = capture_now_ns(), quiet = start, now;
	struct agent_cmd *cmd = b->cmd;

	cmd->want = b->zapped = *set;
	cmd->gaps = gaps;
	cmd->go = 1;
	cmd->stop = cmd->ended = 0;
	cmd->run_start = cmd->run_end = 0;
	b->swallowed = 0;
	b->given = true;
	b->nr_stash_before = b->nr_stash;
	agent_wake(b->ring, b->wake_fd, cmd);
	while (__atomic_load_n(&cmd->state, __ATOMIC_ACQUIRE) != AGENT_DONE && !is_abandoned(b)) {
		uint32_t go = cmd->go;

		now = capture_now_ns();
		if (read_one(b)) {
			quiet = now;
			continue;
		}
		if (__atomic_load_n(&cmd->ended, __ATOMIC_ACQUIRE) == go) {
			b->swallowed = 0;
			__atomic_store_n(&cmd->go, go + 1, __ATOMIC_RELEASE);
			quiet = now;
		} else if (now - quiet > SPIN_NS) {
			usleep(20);
		} else {
			sched_yield();
		}
		if (now - start > ANSWER_NS) {
			b->fatal = "an agent does not answer";
			return;
		}
	}
	b->overtaken |= cmd->overtaken || cmd->stop;
	b->invalid = cmd->invalid;
}

/* Whatever had begun when the pages went has said so by then. */
static void settle(struct batch *b)
{
	uint64_t start = capture_now_ns();
	struct uffd_msg m;

	while (uffd_changing(b->uffd) && !is_abandoned(b) && !b->fatal) {
		if (uffd_read(b->uffd, &m, 1) > 0)
			stash(b, &m);
		else
			sched_yield();
		if (capture_now_ns() - start > SETTLE_NS)
			b->fatal = "an event of the job does not come";
	}
}

struct spot {
	uint64_t start, end;
	bool mapped;
};

static int note_mapped(void *ctx, const struct proc_map *m)
{
	struct spot *s = ctx;

	s->mapped |= m->start < s->end && s->start < m->end;
	return 0;
}

/* A thread that slept when the others were stopped may have woken, and have unmapped what
 * was just dropped; and another may have mapped and written something there. */
static void look_for_harm(struct batch *b)
{
	for (unsigned int i = b->nr_stash_before; i < b->nr_stash; i++) {
		const struct uffd_msg *m = &b->stash[i];
		struct spot s = {0};

		if (m->event == UFFD_EVENT_UNMAP)
			s = (struct spot){m->arg.remove.start, m->arg.remove.end, false};
		else if (m->event == UFFD_EVENT_REMAP)
			s = (struct spot){m->arg.remap.from, m->arg.remap.from + m->arg.remap.len,
					  false};
		if (s.start < b->va)
			s.start = b->va;
		if (s.end > b->va + CHUNK_BYTES)
			s.end = b->va + CHUNK_BYTES;
		if (s.start >= s.end || !pageset_count(&b->moved))
			continue;
		if (proc_maps_each(b->agent_pid, note_mapped, &s) || s.mapped)
			b->fatal = "memory was mapped anew while it was dropped";
	}
}

static void carry_out(struct drop *d, struct batch *b, struct hold *h)
{
	pageset alone, any;

	b->overtaken = true;
	if (!protect(b) || choose(d, b, &alone))
		return;
	copy(b, &alone);
	if (!pageset_count(&alone)) {
		b->overtaken = false;
		return;
	}
	if (hold_threads(h, b->pid, b->nr_pids) || look_again(d, b, h, &alone))
		return;
	b->overtaken = false;
	zap(b, &alone);
	settle(b);
	/* What has left is what is not there: nobody but the pager brings a page back. */
	if (b->fatal || is_abandoned(b))
		return;
	if (proc_any(b->pagemap_fd, b->va, b->va + CHUNK_BYTES, &any))
		b->fatal = agent_is_dead(b->sp) ? NULL : "a process can't be looked at";
	else
		b->moved = without(&alone, &any);
	look_for_harm(b);
}

static void *drop_loop(void *arg)
{
	struct drop *d = arg;
	struct batch *b = &d->batch;
	struct hold h = {0};
	uint64_t one = 1;

	prctl(PR_SET_NAME, "rmem-drop");
	while (!h.stuck) {
		pthread_mutex_lock(&d->lock);
		while (__atomic_load_n(&b->state, __ATOMIC_ACQUIRE) != BATCH_BEGUN)
			pthread_cond_wait(&d->work, &d->lock);
		pthread_mutex_unlock(&d->lock);
		h = (struct hold){0};
		carry_out(d, b, &h);
		hold_release(&h);
		unprotect(b);
		pthread_mutex_lock(&d->lock);
		d->alive = !h.stuck; /* ptrace lets go of whom it still holds */
		__atomic_store_n(&b->state, BATCH_DONE, __ATOMIC_RELEASE);
		pthread_mutex_unlock(&d->lock);
		if (write(d->done_fd, &one, sizeof(one)) < 0)
			break;
	}
	return NULL;
}

/* ---- the pager's side ---- */

int drop_start(struct capture *cp)
{
	struct drop *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return -ENOMEM;
	err = pins_load(cp->dev_userfaultfd, &d->pins);
	if (err) {
		free(d);
		return err;
	}
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->work, NULL);
	d->done_fd = cp->done_fd;
	for (unsigned int i = 0; i < NR_STAGES; i++) {
		d->stage[i] = mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (d->stage[i] == MAP_FAILED)
			return err_set(-errno, "the pager can't start: %s", strerror(errno));
	}
	cp->drop = d;
	if (getenv("RMEM_TEST_NO_MOVE")) /* on any kernel, docs/testing.md */
		proc_read_pagemap();
	else
		log_warn("this kernel can't move pages (Linux 6.8): they leave more slowly");
	return 0;
}

static char *free_stage(struct drop *d)
{
	for (unsigned int i = 0; i < NR_STAGES; i++) {
		if (d->staged[i])
			continue;
		d->staged[i] = true;
		return d->stage[i];
	}
	return NULL;
}

void drop_unstage(struct capture *cp, struct aspace *sp, unsigned int half)
{
	struct drop *d = cp->drop;

	for (unsigned int i = 0; i < NR_STAGES; i++)
		if (d->stage[i] == sp->stage[half])
			d->staged[i] = false;
	sp->stage[half] = NULL;
}

static enum batch_state state_of(const struct capture *cp)
{
	return cp->drop ? __atomic_load_n(&cp->drop->batch.state, __ATOMIC_ACQUIRE) : BATCH_NONE;
}

bool drop_may_begin(const struct capture *cp, struct aspace *sp)
{
	const struct drop *d = cp->drop;
	bool room = false;

	if (!d)
		return true;
	/* A thread that was told to stop while it faults inside the kernel goes round and
	 * round: its message is there and gone again, until it is met. */
	if (capture_now_ns() < sp->drop_pause_ns)
		sp->readable = true;
	for (unsigned int i = 0; i < NR_STAGES; i++)
		room |= !d->staged[i];
	return room && state_of(cp) == BATCH_NONE && agent_idle(sp) &&
	       capture_now_ns() >= sp->drop_pause_ns;
}

static bool note_pids(const struct capture *cp, const struct aspace *sp, struct batch *b)
{
	bool seen = false;

	for (const struct process *p = cp->procs; p; p = p->next) {
		if (p->space != sp)
			continue;
		if (b->nr_pids == MAX_PIDS)
			return false;
		b->pid[b->nr_pids++] = p->pid;
		seen |= p->pid == sp->pid;
	}
	if (!seen && sp->pid && b->nr_pids < MAX_PIDS)
		b->pid[b->nr_pids++] = sp->pid;
	return b->nr_pids > 0;
}

static bool has_thread(struct drop *d)
{
	pthread_t thread;

	if (!d->alive && !pthread_create(&thread, NULL, drop_loop, d)) {
		pthread_detach(thread);
		d->alive = true;
	}
	return d->alive;
}

int drop_begin(struct capture *cp, struct aspace *sp, const struct agent_cmd *move)
{
	struct agent_cmd cmd = {.op = AGENT_ZAP, .half = move->half, .va = move->va};
	struct drop *d = cp->drop;
	struct batch *b = &d->batch;

	*b = (struct batch){.sp = sp,
			    .half = move->half,
			    .uffd = sp->uffd,
			    .pagemap_fd = sp->pagemap_fd,
			    .wake_fd = sp->wake_fd,
			    .pidfd = sp->agent.pidfd,
			    .agent_pid = sp->agent.pid,
			    .ring = sp->agent.ring,
			    .va = move->va,
			    .want = move->want,
			    .gaps = move->gaps};
	cmd.want = move->want;
	if (!note_pids(cp, sp, b))
		return -EAGAIN;
	b->stage = free_stage(d);
	if (!b->stage)
		return -EAGAIN;
	sp->stage[b->half] = b->stage;
	b->cmd = agent_reserve(sp, &cmd);
	if (!b->cmd) {
		drop_unstage(cp, sp, b->half);
		return -EAGAIN;
	}
	priority_apart(sp);
	pthread_mutex_lock(&d->lock);
	if (has_thread(d)) {
		__atomic_store_n(&b->state, BATCH_BEGUN, __ATOMIC_RELEASE);
		pthread_cond_signal(&d->work);
	}
	pthread_mutex_unlock(&d->lock);
	if (state_of(cp) != BATCH_NONE)
		return 0;
	agent_unreserve(sp, false);
	drop_unstage(cp, sp, b->half);
	return -EAGAIN;
}

bool drop_holds(const struct capture *cp, const struct aspace *sp, uint64_t va, unsigned int nr)
{
	const struct batch *b = cp->drop ? &cp->drop->batch : NULL;

	return b && state_of(cp) != BATCH_NONE && b->sp == sp && va < b->va + CHUNK_BYTES &&
	       va + nr * PAGE_BYTES > b->va;
}

bool drop_is_done(const struct capture *cp)
{
	return state_of(cp) == BATCH_DONE;
}

void drop_reap(struct capture *cp)
{
	struct batch *b = cp->drop ? &cp->drop->batch : NULL;
	struct uffd_msg *stashed;
	struct aspace *sp;

	if (!drop_is_done(cp))
		return;
	sp = b->sp;
	stashed = b->stash;
	agent_unreserve(sp, b->given);
	if (b->fatal)
		cp->fatal = b->fatal;
	if (!pageset_count(&b->moved))
		sp->drop_pause_ns = capture_now_ns() + PAUSE_NS;
	__atomic_store_n(&b->state, BATCH_NONE, __ATOMIC_RELEASE);
	core_moved(cp->core, sp->id, b->half, &b->moved, &b->busy, &b->invalid, b->overtaken);
	sp->readable = true;
	if (b->nr_stash && core_may_read(cp->core, sp->id))
		messages_give(cp, sp, stashed, b->nr_stash);
	free(stashed);
}

int drop_copy_out(const struct aspace *sp, unsigned int half, const pageset *set,
		  void *const *frames)
{
	unsigned int n = 0;

	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES; i = pageset_next(set, i + 1))
		memcpy(frames[n++], sp->stage[half] + i * PAGE_BYTES, PAGE_BYTES);
	return 0;
}

void drop_forget(struct capture *cp, struct aspace *sp)
{
	struct drop *d = cp->drop;

	if (!d)
		return;
	if (state_of(cp) != BATCH_NONE && d->batch.sp == sp) {
		__atomic_store_n(&d->batch.abandoned, true, __ATOMIC_RELEASE);
		while (state_of(cp) != BATCH_DONE)
			usleep(20);
		free(d->batch.stash);
		__atomic_store_n(&d->batch.state, BATCH_NONE, __ATOMIC_RELEASE);
	}
	for (unsigned int h = 0; h < CORE_HALVES; h++)
		if (sp->stage[h])
			drop_unstage(cp, sp, h);
}
