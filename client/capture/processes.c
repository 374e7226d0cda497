/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes the job has and how much anonymous memory they keep: by
 * looking at /proc, more often the nearer the cap is. A process is managed
 * only when the cap is near and it is one of the large ones; the others are
 * counted and left alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/proc.h"
#include "client/capture/uffd.h"
#include "common/base/log.h"
#include "common/base/units.h"

/* Memory can't be touched faster than this by all cores together. */
#define TOUCH_BYTES_PER_MS MIB(8)
#define POLL_MIN_NS	   500000ULL
#define POLL_MAX_NS	   50000000ULL
/* Sampling proportional sizes walks page tables: at most this part of the time. */
#define PSS_SHARE   20
#define SMALL_BYTES MIB(1)

static int has_registered(void *ctx, const struct proc_map *m)
{
	(void)ctx;
	return m->uffd_missing;
}

struct process *process_find(const struct capture *cp, pid_t pid)
{
	struct process *p = cp->procs;

	while (p && p->pid != pid)
		p = p->next;
	return p;
}

static bool is_agent(const struct capture *cp, pid_t pid)
{
	for (const struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (sp->agent.ring && sp->agent.pid == pid)
			return true;
	return false;
}

static bool is_skipped(const struct capture *cp, pid_t pid)
{
	for (size_t i = 0; i < sizeof(cp->skip) / sizeof(cp->skip[0]); i++)
		if (cp->skip[i] == pid)
			return true;
	return is_agent(cp, pid);
}

/* Is it the job's: below the root, and not below one of ours? */
static bool is_jobs(const struct capture *cp, pid_t pid, pid_t ppid)
{
	if (is_skipped(cp, pid))
		return false;
	if (pid == cp->root_pid)
		return cp->root_counts;
	return ppid == cp->root_pid || process_find(cp, ppid);
}

/* Who shares pages with whom has changed: old samples say nothing any more. */
static void forget_samples(struct capture *cp)
{
	for (struct process *p = cp->procs; p; p = p->next)
		p->pss_ns = 0;
}

static void process_add(struct capture *cp, pid_t pid, const struct proc_stat *st)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct process *p = calloc(1, sizeof(*p));
	const struct process *parent = process_find(cp, st->ppid);

	if (!p)
		return;
	p->pid = pid;
	p->ppid = st->ppid;
	p->start_ticks = st->start_ticks;
	p->statm_fd = proc_open_statm(pid);
	p->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->statm_fd < 0 || p->pidfd < 0) {
		if (p->statm_fd >= 0)
			close(p->statm_fd);
		if (p->pidfd >= 0)
			close(p->pidfd);
		free(p);
		return;
	}
	ev.data.u64 = 1ULL << 32 | (uint32_t)pid;
	epoll_ctl(cp->epoll_fd, EPOLL_CTL_ADD, p->pidfd, &ev);
	p->borrows = parent && proc_same_space(pid, parent->pid) == 1;
	if (p->borrows)
		p->space = parent->space;
	p->next = cp->procs;
	cp->procs = p;
	forget_samples(cp);
	if (++cp->header->processes > cp->header->processes_peak)
		cp->header->processes_peak = cp->header->processes;
}

#define FULL_LOOK_NS 1000000000ULL

/*
 * Must /proc be looked at? When a task was made anywhere since the last look:
 * at the numbers given out since the look before that one (one may have been
 * given out and not be there yet); at all of them when the numbers began anew;
 * and once a second at all of them, while any were given out since the last
 * such look. *@above: the highest number that need not be looked at.
 */
static bool must_look(struct capture *cp, pid_t *above)
{
	uint64_t now = capture_now_ns();
	pid_t last = 0;
	bool made, full;

	if (proc_load(cp->loadavg_fd, &last, &cp->nr_running))
		return false;
	made = last != cp->last_pid;
	full = last < cp->last_pid ||
	       ((made || cp->look_again) && now - cp->full_look_ns > FULL_LOOK_NS);
	*above = full ? 0 : cp->older_pid;
	if (full)
		cp->full_look_ns = now;
	if (made) { /* numbers that began anew are all above nothing */
		cp->older_pid = last < cp->last_pid ? 0 : cp->last_pid;
		cp->last_pid = last;
	}
	cp->look_again = made || (cp->look_again && !full);
	return made || full;
}

/* A first thread that ended before others is a zombie as well. */
static bool is_over(const struct proc_stat *st)
{
	return st->state == 'X' || (st->state == 'Z' && st->nr_threads < 2);
}

static void discover(struct capture *cp)
{
	pid_t *pids = NULL, above;
	size_t nr = 0;
	bool more = true;

	if (!must_look(cp, &above) || proc_pids(&pids, &nr))
		return;
	for (size_t i = 0; i < nr; i++)
		if (pids[i] <= above)
			pids[i] = 0;
	while (more) { /* a child may come before its parent in the list */
		more = false;
		for (size_t i = 0; i < nr; i++) {
			struct proc_stat st;

			if (!pids[i] || process_find(cp, pids[i]))
				continue;
			if (proc_stat(pids[i], &st) || is_over(&st))
				pids[i] = 0;
			else if (is_jobs(cp, pids[i], st.ppid) && strcmp(st.comm, AGENT_NAME)) {
				process_add(cp, pids[i], &st);
				more = true;
			}
		}
	}
	free(pids);
}

/*
 * Does the process live in the space? 1, 0, or -errno. A thread that has ended
 * is in no space; so when the first one has, all of them are asked, and asked
 * again when there are others by then.
 */
static int lives_in(const struct process *p, const struct aspace *sp)
{
	int same = proc_same_space(p->pid, sp->agent.pid);
	pid_t *tids = NULL, *before = NULL;
	size_t nr = 0, nr_before = 0;
	struct proc_stat st;
	bool settled = false;

	if (same || proc_stat(p->pid, &st) || st.state != 'Z' || st.nr_threads < 2)
		return same;
	while (!same && !settled) {
		free(before);
		before = tids;
		nr_before = nr;
		tids = NULL;
		same = proc_tids(p->pid, &tids, &nr);
		if (same)
			break;
		settled = before && nr == nr_before && !memcmp(tids, before, nr * sizeof(*tids));
		for (size_t i = 0; !settled && same != 1 && i < nr; i++)
			same = proc_same_space(tids[i], sp->agent.pid);
	}
	free(before);
	free(tids);
	return same;
}

/* Somebody else who still lives in the space, once @gone does not: perhaps made
 * by it a moment ago, and not known yet. */
static struct process *heir_of(struct capture *cp, const struct aspace *sp,
			       const struct process *gone)
{
	if (sp->agent.ring)
		discover(cp);
	for (struct process *p = cp->procs; p; p = p->next) {
		if (p == gone)
			continue;
		if (sp->agent.ring ? lives_in(p, sp) == 1 : p->space == sp)
			return p;
	}
	return NULL;
}

static void left_space(struct capture *cp, struct process *p)
{
	struct aspace *sp = p->space;
	struct process *heir;

	p->space = NULL;
	if (p->state == PROC_MANAGED)
		p->state = PROC_SMALL;
	if (!sp || sp->dead)
		return;
	if (agent_is_dead(sp)) {
		/* Who lives in the space can't be told, nor where its pages are. */
		cp->fatal = "an agent was killed";
		return;
	}
	heir = heir_of(cp, sp, p);
	if (heir) {
		heir->borrows = false;
		heir->space = sp;
		heir->state = PROC_MANAGED;
		sp->pid = heir->pid;
	} else if (sp->agent.ring || !uffd_alive(sp->uffd)) {
		aspace_gone(cp, sp);
	} else {
		sp->pid = 0;
	}
}

void process_exited(struct capture *cp, struct process *p)
{
	struct process **at = &cp->procs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	forget_samples(cp);
	left_space(cp, p);
	close(p->pidfd);
	close(p->statm_fd);
	free(p);
	cp->header->processes--;
}

/* A process that called exec is in a new space. */
static void check_space(struct capture *cp, struct process *p)
{
	struct process *parent;

	if (p->borrows) {
		parent = process_find(cp, p->ppid);
		if (parent && proc_same_space(p->pid, parent->pid) == 1) {
			p->space = parent->space;
			return;
		}
		p->borrows = false;
		left_space(cp, p);
		return;
	}
	/* In this order: see agent_is_dead(). */
	if (p->space && p->space->agent.ring && lives_in(p, p->space) == 0 &&
	    !agent_is_dead(p->space))
		left_space(cp, p);
}

/* The process ended while its agent was being placed. */
static void adopt_or_bury(struct capture *cp, struct aspace *sp)
{
	for (struct process *p = cp->procs; p; p = p->next)
		if (!p->space && lives_in(p, sp) == 1) {
			p->space = sp;
			p->state = PROC_MANAGED;
			sp->pid = p->pid;
			return;
		}
	if (agent_is_dead(sp))
		cp->fatal = "an agent was killed";
	else
		aspace_gone(cp, sp);
}

/* Spaces that were forked off and whose process is not known. */
static void check_forked(struct capture *cp)
{
	for (struct aspace *sp = cp->spaces; sp; sp = sp->next) {
		if (sp->dead)
			continue;
		if (sp->agent.ring) {
			if (!sp->pid)
				adopt_or_bury(cp, sp);
			continue;
		}
		if (!uffd_alive(sp->uffd)) {
			aspace_gone(cp, sp);
			continue;
		}
		if (sp->wanted && !sp->asked) {
			if (!sp->pid)
				sp->pid = aspace_find_pid(cp, sp);
			if (sp->pid)
				injector_ask(cp, sp->pid, sp);
		}
	}
}

/* Could the space be this process's? It has registered memory and is not known
 * to live elsewhere. */
static bool may_claim(const struct process *p, const struct aspace *sp)
{
	struct proc_stat st;

	if (proc_stat(p->pid, &st) || !strcmp(st.comm, AGENT_NAME))
		return false;
	return !p->space && !p->borrows && p->state == PROC_SMALL && p->not_space < sp->id.v &&
	       proc_smaps_each(p->pid, has_registered, NULL) == 1;
}

static pid_t claim(struct aspace *sp, struct process *p)
{
	p->space = sp;
	p->state = PROC_MANAGED;
	sp->pid = p->pid;
	if (sp->pagemap_fd < 0)
		sp->pagemap_fd = proc_open_pagemap(p->pid);
	return p->pid;
}

void aspace_faulted(struct capture *cp, struct aspace *sp, pid_t tid)
{
	struct process *p;

	if (sp->pid || sp->claim_tid == tid)
		return;
	sp->claim_tid = tid; /* somebody else may read its memory: ask once */
	discover(cp);
	p = process_find(cp, tid);
	if (p && may_claim(p, sp))
		claim(sp, p);
}

/*
 * The kernel does not say whose a forked userfaultfd is. Who faults on it is
 * the best sign; else it is the oldest process that could be meant, since
 * spaces are handed over in the order of the forks. A wrong guess moves
 * nothing, because a MOVE from another space is refused, and shows when the
 * agent's scratch can't be registered.
 */
pid_t aspace_find_pid(struct capture *cp, struct aspace *sp)
{
	struct process *best = NULL;

	discover(cp);
	for (const struct aspace *o = cp->spaces; o; o = o->next)
		if (o != sp && !o->dead && !o->pid && o->id.v < sp->id.v && uffd_alive(o->uffd))
			return 0; /* an older one must be found first */
	for (struct process *p = cp->procs; p; p = p->next) {
		if (best && (p->start_ticks > best->start_ticks ||
			     (p->start_ticks == best->start_ticks && p->pid > best->pid)))
			continue;
		if (may_claim(p, sp))
			best = p;
	}
	return best ? claim(sp, best) : 0;
}

bool aspace_is_shared(const struct capture *cp, const struct aspace *sp)
{
	unsigned int users = 0;

	for (const struct process *p = cp->procs; p; p = p->next)
		users += p->space == sp;
	return users > 1;
}

void process_unclaim(struct capture *cp, struct aspace *sp)
{
	struct process *p = process_find(cp, sp->pid);

	sp->pid = 0;
	if (sp->pagemap_fd >= 0)
		close(sp->pagemap_fd);
	sp->pagemap_fd = -1;
	if (!p || p->space != sp)
		return;
	p->space = NULL;
	p->state = PROC_SMALL;
	p->not_space = sp->id.v;
}

/* ---- how much ---- */

/* Anonymous bytes of the process, those shared after fork only by their part.
 * Between two samples every new fault counts as a page of its own. */
static uint64_t proportional(struct capture *cp, struct process *p, uint64_t now, bool sample)
{
	struct proc_stat st;
	uint64_t t;

	if (sample && now >= p->pss_ns && !proc_stat(p->pid, &st)) {
		t = capture_now_ns();
		if (!proc_pss_anon(p->pid, &p->pss_bytes, &p->pss_anon_bytes)) {
			p->pss_minflt = st.minflt;
			t = capture_now_ns() - t;
			p->pss_ns = now + t * PSS_SHARE + POLL_MAX_NS / 5;
		}
	} else if (!p->pss_ns || proc_stat(p->pid, &st)) {
		return p->anon_bytes;
	}
	t = p->pss_bytes + (st.minflt - p->pss_minflt) * PAGE_BYTES;
	if (p->anon_bytes > p->pss_anon_bytes)
		t += p->anon_bytes - p->pss_anon_bytes;
	(void)cp;
	return t < p->anon_bytes ? t : p->anon_bytes;
}

static uint64_t trigger_bytes(const struct capture *cp)
{
	uint64_t guard = cp->cap_bytes / 4;

	return cp->cap_bytes - (guard < MIB(64) ? guard : MIB(64));
}

/* The task by which the memory was seen has ended; perhaps not all have, or one
 * of them has become the first by exec. */
static void measure_by_another(struct process *p)
{
	int fd = proc_open_statm(proc_mm_task(p->pid));

	p->anon_bytes = 0;
	if (fd < 0)
		return;
	close(p->statm_fd);
	p->statm_fd = fd;
	if (proc_statm(fd, &p->virt_bytes, &p->anon_bytes))
		p->anon_bytes = 0;
}

static void measure(struct capture *cp)
{
	uint64_t now = capture_now_ns(), sum = 0, unmanaged = 0;
	unsigned int nr = 0;

	for (struct process *p = cp->procs; p; p = p->next) {
		if (proc_statm(p->statm_fd, &p->virt_bytes, &p->anon_bytes) || !p->virt_bytes)
			measure_by_another(p);
		p->counted_bytes = p->anon_bytes;
		if (!p->borrows) {
			sum += p->anon_bytes;
			nr++;
		}
	}
	cp->shared_bytes = 0;
	if (nr > 1 && sum > trigger_bytes(cp)) {
		cp->shared_bytes = sum;
		sum = 0;
		for (struct process *p = cp->procs; p; p = p->next) {
			if (p->borrows)
				continue;
			p->counted_bytes = proportional(cp, p, now, true);
			sum += p->counted_bytes;
		}
		cp->shared_bytes -= sum < cp->shared_bytes ? sum : cp->shared_bytes;
	}
	for (struct process *p = cp->procs; p; p = p->next)
		if (!p->borrows && p->state == PROC_REFUSED)
			unmanaged += p->anon_bytes;
	cp->anon_bytes = sum;
	cp->unmanaged_bytes = unmanaged;
	cp->header->unmanaged_bytes = unmanaged;
}

/* ---- who is managed ---- */

static void refuse(struct capture *cp, struct process *p, enum inject_refusal why)
{
	p->state = PROC_REFUSED;
	p->why = why;
	cp->header->unmanaged++;
	snprintf(cp->header->unmanaged_why, sizeof(cp->header->unmanaged_why), "%s",
		 inject_refusal_text(why));
	log_warn("process %d runs on unmanaged: %s", p->pid, inject_refusal_text(why));
}

static void manage_large(struct capture *cp)
{
	uint64_t least = cp->cap_bytes / 64;

	if (least > SMALL_BYTES)
		least = SMALL_BYTES;
	for (struct process *p = cp->procs; p; p = p->next) {
		enum inject_refusal why;

		if (p->state != PROC_SMALL || p->space || p->borrows || p->anon_bytes < least)
			continue;
		why = inject_check(p->pid);
		/* Looked at while we enter it, or an agent that has no name yet. */
		if (why == REFUSE_GONE || injector_busy(cp))
			continue;
		if (why != REFUSE_NONE) {
			refuse(cp, p, why);
			continue;
		}
		/* Forked off one of ours: it has a space already. */
		if (aspaces_unclaimed(cp) && proc_smaps_each(p->pid, has_registered, NULL) == 1)
			continue;
		p->state = PROC_ASKED;
		injector_ask(cp, p->pid, NULL);
	}
}

void process_refused(struct capture *cp, pid_t pid, enum inject_refusal why)
{
	struct process *p = process_find(cp, pid);

	if (p)
		refuse(cp, p, why);
}

void process_injected(struct capture *cp, pid_t pid, enum inject_refusal why, struct aspace *sp)
{
	struct process *p = process_find(cp, pid);

	if (!p)
		return;
	if (why == REFUSE_GONE || why == REFUSE_STUCK) {
		p->state = PROC_SMALL; /* tried again while the cap is near */
		return;
	}
	if (why != REFUSE_NONE) {
		refuse(cp, p, why);
		return;
	}
	p->state = PROC_MANAGED;
	p->space = sp;
	cp->header->managed++;
}

/* ---- driving ---- */

void processes_poll(struct capture *cp)
{
	discover(cp);
	for (struct process *p = cp->procs; p; p = p->next)
		check_space(cp, p);
	check_forked(cp);
	measure(cp);
	cp->pressed = cp->anon_bytes > trigger_bytes(cp);
	if (cp->pressed)
		manage_large(cp);
	aspace_register_some(cp);
	table_refresh(cp);
}

uint64_t processes_interval_ns(const struct capture *cp)
{
	uint64_t room, ns, cost = cp->header->processes * 20000ULL * 10;

	/* What is managed may be given back and mapped anew in one moment. */
	if (cp->anon_bytes >= trigger_bytes(cp) || cp->header->agents)
		ns = 2 * POLL_MIN_NS;
	else {
		room = trigger_bytes(cp) - cp->anon_bytes;
		ns = room / (TOUCH_BYTES_PER_MS)*1000000ULL;
	}
	if (ns < POLL_MIN_NS)
		ns = POLL_MIN_NS;
	if (ns < cost) /* a tenth of a core at most */
		ns = cost;
	return ns < POLL_MAX_NS ? ns : POLL_MAX_NS;
}
