/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/fast.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/capture/bpf_ages.h"
#include "client/capture/bpf_fast.h"
#include "client/capture/capture.h"
#include "common/base/err.h"
#include "common/base/log.h"

#define TRIAL_WAITS 16U /* so many tell whether waiting pays */

/* A fault that is being answered. */
struct open {
	struct fast_box *box;
	uint64_t seq, va;
	uint32_t space;
	bool write;
};

struct fast {
	pthread_t thread;
	struct bpf_fast *bpf;
	struct fast_shared *shared; /* NULL: not loaded (yet) */
	struct bpf_ages *ages;	    /* NULL: accessed bits can't be read */
	bool no_ages;		    /* they are read otherwise */
	bool loaded;		    /* atomic: what the thread wrote is complete */
	char text[sizeof(((struct run_header *)0)->fast_why)];
	unsigned int nr_boxes;
	uint64_t seen[FAST_BOXES];
	struct open open[FAST_BOXES];
	unsigned int nr_open;
	unsigned int turn; /* whose place the next chunk takes where all are taken */
	unsigned int next_watch;

	/* does waiting pay? */
	bool scarce;	      /* no CPU is idle: it does not */
	uint64_t waits, hits; /* when last judged */
	uint64_t try_ns, pause_ns;
	bool doubt;	     /* the last trial did not pay */
	unsigned int served; /* since it was last asked */

	bool heard;	   /* the alarm would be */
	bool rang;	   /* the alarm has, and nothing was served since */
	unsigned int vain; /* how often in a row nothing was */
};

static void judge(struct capture *cp, struct fast *f, uint64_t now_ns);

/* ---- loading ---- */

static void *load(void *arg)
{
	struct fast *f = arg;
	struct fast_shared *shared = NULL;
	int err;

	prctl(PR_SET_NAME, "rmem-bpf");
	/* Not before the pager and the job. */
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 0);
	err = fast_load(&f->bpf, &shared);
	if (!err) {
		f->shared = shared;
		if (!f->no_ages)
			err = ages_load(shared->direct_map, shared->levels, &f->ages);
	}
	if (err)
		snprintf(f->text, sizeof(f->text), "%s", err_text(err));
	__atomic_store_n(&f->loaded, true, __ATOMIC_RELEASE);
	return NULL;
}

void fast_start(struct capture *cp)
{
	struct fast *f;

	if (cp->fast || cp->no_fast)
		return;
	f = calloc(1, sizeof(*f));
	if (!f)
		return;
	f->no_ages = cp->pins;
	f->nr_boxes = (unsigned int)sysconf(_SC_NPROCESSORS_CONF);
	if (f->nr_boxes > FAST_BOXES)
		f->nr_boxes = FAST_BOXES;
	if (pthread_create(&f->thread, NULL, load, f)) {
		free(f);
		return;
	}
	pthread_detach(f->thread);
	cp->fast = f;
}

static struct fast *ready(const struct capture *cp)
{
	struct fast *f = cp->fast;

	if (!f || !__atomic_load_n(&f->loaded, __ATOMIC_ACQUIRE))
		return NULL;
	return f->shared ? f : NULL;
}

struct bpf_ages *fast_ages(const struct capture *cp)
{
	const struct fast *f = ready(cp);

	return f ? f->ages : NULL;
}

/* ---- faults ---- */

bool fast_is_on(const struct capture *cp)
{
	const struct fast *f = ready(cp);

	return f && f->shared->wait_ns;
}

void fast_awake(struct capture *cp, uint64_t now_ns)
{
	struct fast_shared *sh = cp->fast->shared;

	sh->cpu = (uint32_t)sched_getcpu();
	__atomic_store_n(&sh->beat_ns, now_ns, __ATOMIC_RELEASE);
}

/* ---- the alarm ---- */

#define VAIN_MAX   4U /* alarms in a row after which nobody faulted */
#define VAIN_PAUSE 32U

static bool is_worth_an_alarm(struct fast *f)
{
	f->vain += f->rang; /* nothing has been served since */
	f->rang = false;
	if (f->vain < VAIN_MAX)
		return true;
	f->vain = f->vain < VAIN_MAX + VAIN_PAUSE ? f->vain + 1 : VAIN_MAX - 1;
	return false;
}

void fast_asleep(struct capture *cp, bool dozes)
{
	struct fast *f = ready(cp);

	if (!f)
		return;
	__atomic_store_n(&f->shared->beat_ns, 0, __ATOMIC_SEQ_CST);
	if (dozes && is_worth_an_alarm(f))
		__atomic_store_n(&f->shared->alarm, 1, __ATOMIC_SEQ_CST);
}

void fast_rise(struct capture *cp)
{
	struct fast *f = ready(cp);

	if (!f)
		return;
	f->shared->alarm = 0;
	f->rang |= fast_alarm_rang(f->bpf);
}

static void answer(const struct open *o)
{
	__atomic_store_n(&o->box->done, o->seq, __ATOMIC_RELEASE);
}

/* What waits in the box, if it is new. */
static bool take(struct fast *f, unsigned int i, struct open *o, uint64_t *ip, uint32_t *tid)
{
	struct fast_box *box = &f->shared->box[i];
	uint64_t seq = __atomic_load_n(&box->seq, __ATOMIC_ACQUIRE);

	if (seq == f->seen[i])
		return false;
	*o = (struct open){.box = box,
			   .seq = seq,
			   .va = box->va,
			   .space = box->space & ~FAST_WRITE,
			   .write = box->space & FAST_WRITE};
	*ip = box->ip;
	*tid = box->tid;
	/* Posted over meanwhile, or that box's thread has given up: look again. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&box->seq, __ATOMIC_RELAXED) != seq)
		return false;
	f->seen[i] = seq;
	return true;
}

void fast_watch(struct capture *cp, uint32_t tid)
{
	struct fast *f = ready(cp);
	struct fast_watch *w;

	if (!f)
		return;
	w = f->shared->watch;
	for (unsigned int i = 0; i < FAST_WATCHED; i++)
		if (w[i].tid == tid)
			return;
	w += f->next_watch++ % FAST_WATCHED;
	w->sleeps = 0;
	__atomic_store_n(&w->tid, tid, __ATOMIC_RELEASE);
}

bool fast_all_sleep(const struct capture *cp)
{
	const struct fast *f = ready(cp);
	unsigned int i = 0;

	while (f && i < FAST_WATCHED && f->shared->watch[i].tid)
		if (!__atomic_load_n(&f->shared->watch[i++].sleeps, __ATOMIC_RELAXED))
			return false;
	return i;
}

static void serve(struct capture *cp, const struct open *o, uint64_t ip, uint32_t tid)
{
	struct fast *f = cp->fast;
	const struct aspace *sp = aspace_find(cp, (space_id){o->space});

	/* Scratch has nothing that a fault could bring: see is_strange(). */
	if (!sp || sp->dead || (o->va >= sp->own_start && o->va < sp->own_end)) {
		answer(o);
		return;
	}
	for (unsigned int i = 0; i < f->nr_open; i++)
		if (f->open[i].box == o->box) /* nobody waits for that one any more */
			f->open[i] = f->open[--f->nr_open];
	f->open[f->nr_open++] = *o;
	f->vain = f->rang ? 0 : f->vain;
	f->rang = false;
	crowd_faulted(&cp->crowd, tid, true);
	fast_watch(cp, tid);
	core_hint(cp->core, sp->id, o->va, ip, tid, o->write);
}

unsigned int fast_serve(struct capture *cp)
{
	struct fast *f = cp->fast;
	unsigned int nr = 0;

	for (unsigned int i = 0; i < f->nr_boxes; i++) {
		struct open o;
		uint64_t ip;
		uint32_t tid;

		if (!take(f, i, &o, &ip, &tid))
			continue;
		serve(cp, &o, ip, tid);
		nr++;
	}
	if (nr && (f->served += nr) >= TRIAL_WAITS)
		judge(cp, f, capture_now_ns());
	return nr;
}

bool fast_pressed(const struct capture *cp)
{
	const struct fast *f = ready(cp);

	for (unsigned int i = 0; f && f->shared->wait_ns && i < f->nr_boxes; i++)
		if (__atomic_load_n(&f->shared->box[i].seq, __ATOMIC_RELAXED) != f->seen[i])
			return true;
	return false;
}

void fast_answered(struct capture *cp, space_id sp, uint64_t va, unsigned int nr)
{
	struct fast *f = cp->fast;

	for (unsigned int i = 0; f && i < f->nr_open;) {
		struct open *o = &f->open[i];

		if (o->space != sp.v || o->va < va || o->va >= va + nr * PAGE_BYTES) {
			i++;
			continue;
		}
		answer(o);
		*o = f->open[--f->nr_open];
	}
}

void fast_note(struct capture *cp, space_id sp, uint64_t va)
{
	struct fast *f = ready(cp);
	uint64_t key = fast_chunk_key(sp.v, va), *place;
	unsigned int i = 0;

	if (!f)
		return;
	place = (uint64_t *)&f->shared->chunk[fast_chunk_slot(key)];
	while (i < FAST_WAYS && place[i] && place[i] != key)
		i++;
	place[i < FAST_WAYS ? i : f->turn++ % FAST_WAYS] = key;
}

/* ---- who, and whether ---- */

static void refresh_processes(const struct capture *cp, struct fast_shared *sh)
{
	for (const struct process *p = cp->procs; p; p = p->next) {
		struct fast_tgid *t = &sh->tgid[(uint32_t)p->pid % FAST_TGIDS];
		uint32_t space = p->space && !p->space->dead && !p->borrows ? p->space->id.v : 0;

		if (space && (t->tgid != (uint32_t)p->pid || t->space != space)) {
			t->tgid = 0;
			t->space = space;
			__atomic_store_n(&t->tgid, (uint32_t)p->pid, __ATOMIC_RELEASE);
		} else if (!space && t->tgid == (uint32_t)p->pid) {
			t->tgid = 0;
		}
	}
}

#define PAUSE_NS     2000000ULL /* after a trial that did not pay; doubled each time */
#define PAUSE_MAX_NS 32000000ULL

/*
 * Half of the waits must be answered in time: each that is saves two wake-ups,
 * some 15 us, and each that isn't burns a CPU for as long as may be waited. Once not:
 * that happens while pages leave, and a pause would slow a hundred faults.
 */
static void weigh(struct fast *f, uint64_t waits, uint64_t hits, uint64_t now_ns)
{
	bool pays = 2 * (hits - f->hits) >= waits - f->waits, doubt = f->doubt;

	f->doubt = !pays;
	if (!pays && doubt) {
		f->pause_ns = f->pause_ns ? 2 * f->pause_ns : PAUSE_NS;
		if (f->pause_ns > PAUSE_MAX_NS)
			f->pause_ns = PAUSE_MAX_NS;
		f->try_ns = now_ns + f->pause_ns;
	} else if (pays) {
		f->pause_ns = 0;
	}
	f->waits = waits;
	f->hits = hits;
}

/* As often as it may be told; what waits in vain is soon noticed. */
static void judge(struct capture *cp, struct fast *f, uint64_t now_ns)
{
	uint64_t waits = 0, hits = 0, sum = 0;

	f->served = 0;
	for (unsigned int i = 0; i < f->nr_boxes; i++) {
		waits += f->shared->box[i].waits;
		hits += f->shared->box[i].hits;
		sum += f->shared->box[i].wait_ns;
	}
	cp->header->fast_waits = waits;
	cp->header->fast_hits = hits;
	cp->header->fast_wait_ns = sum;
	if (waits - f->waits >= TRIAL_WAITS)
		weigh(f, waits, hits, now_ns);
	f->shared->wait_ns = f->scarce || now_ns < f->try_ns ? 0 : FAST_MAX_WAIT_NS;
}

static void tell_refusal(struct capture *cp)
{
	const struct fast *f = cp->fast;

	if (!f || cp->header->fast || !__atomic_load_n(&f->loaded, __ATOMIC_ACQUIRE))
		return;
	snprintf(cp->header->fast_why, sizeof(cp->header->fast_why), "%s", f->text);
	cp->header->fast = RUN_FAST_REFUSED;
	log_warn("faults take the slow way, by userfaultfd alone: %s", f->text);
}

/* What comes of it is that the pager is up: there is nothing to do. Told once of each: one that
 * rings just after fast_rise() would be told again and again, and the pager never sleep. */
static void watch_alarm(const struct capture *cp, const struct fast *f)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = 0};

	if (epoll_ctl(cp->epoll_fd, EPOLL_CTL_ADD, fast_alarm_fd(f->bpf), &ev))
		log_debug("the pager is not woken with the job: %s", strerror(errno));
}

void fast_refresh(struct capture *cp)
{
	struct fast *f = ready(cp);
	uint64_t now = capture_now_ns();

	if (!f) {
		tell_refusal(cp);
		return;
	}
	if (cp->header->fast != RUN_FAST_ON && !f->ages && !f->no_ages)
		log_warn("what leaves is chosen by faults alone: %s", f->text);
	if (!f->heard)
		watch_alarm(cp, f);
	f->heard = true;
	cp->header->fast = RUN_FAST_ON;
	refresh_processes(cp, f->shared);
	f->scarce = cp->crowd.crowded;
	judge(cp, f, now);
}
