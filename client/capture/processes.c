/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's processes and the spaces they live in, by looks at /proc, more often
 * the nearer the cap is. A process is managed only when the cap is near and it is
 * one of the large ones; the others are counted and left alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/fast.h"
#include "client/capture/proc.h"
#include "client/capture/processes.h"
#include "client/capture/uffd.h"
#include "common/base/log.h"
#include "common/base/units.h"

/* Memory can't be touched faster than this by all cores together. */
#define TOUCH_BYTES_PER_MS MIB(8)
#define POLL_MIN_NS	   500000ULL
#define POLL_MAX_NS	   50000000ULL
#define SMALL_BYTES	   MIB(1)

#define UNTOLD "who lives in an address space can't be told: no memory or descriptors are left"

static int has_registered(void *ctx, const struct proc_map *m)
{
	(void)ctx;
	return m->uffd_missing;
}

/*
 * Does the process live in the space? 1, 0, or -errno. A thread that ends is in no space,
 * long before it is seen to have ended: it lets go of its memory first, then of its files.
 * So when the first one is not there all of them are asked, and asked again when there are
 * others by then.
 */
static int lives_in(const struct process *p, const struct aspace *sp)
{
	int same = proc_same_space(p->pid, sp->agent.pid), err;
	pid_t *tids = NULL, *before = NULL;
	size_t nr = 0, nr_before = 0;
	struct proc_stat st;
	bool settled = false;

	if (same)
		return same;
	err = proc_stat(p->pid, &st);
	if (err || st.nr_threads < 2)
		return err == -ESRCH ? 0 : err;
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

/* Not who is gone, or may not be asked: nothing was left to ask with. */
static bool is_want(int err)
{
	return err == -ENOMEM || err == -EMFILE || err == -ENFILE;
}

/* Somebody else who still lives in the space, once @gone does not: perhaps made
 * by it a moment ago, and not known yet. -errno: that can't be told. */
static int find_heir(struct capture *cp, const struct aspace *sp, const struct process *gone,
		     struct process **heir)
{
	int err = sp->agent.ring ? processes_discover_all(cp) : 0;

	*heir = NULL;
	for (struct process *p = cp->procs; p && !*heir; p = p->next) {
		int lives = sp->agent.ring ? lives_in(p, sp) : p->space == sp;

		if (p != gone && lives == 1)
			*heir = p;
		else if (p != gone && is_want(lives))
			err = lives;
	}
	return *heir ? 0 : err;
}

static void left_space(struct capture *cp, struct process *p)
{
	struct aspace *sp = p->space;
	struct process *heir;
	int dead;

	p->space = NULL;
	if (p->state == PROC_MANAGED)
		p->state = PROC_SMALL;
	if (!sp || sp->dead)
		return;
	dead = agent_is_dead(sp);
	if (dead || find_heir(cp, sp, p, &heir)) {
		/* Who lives in the space can't be told, nor where its pages are. */
		cp->fatal = dead == 1 ? "an agent was killed" : UNTOLD;
		return;
	}
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
	processes_forget_samples(cp);
	left_space(cp, p);
	if (cp->kept->pidfd[p->pid % KEPT_PIDFDS] == p->pidfd)
		cp->kept->pidfd[p->pid % KEPT_PIDFDS] = 0;
	close(p->pidfd);
	close(p->statm_fd);
	free(p);
	cp->header->processes--;
}

/* In the space of the process that made it, until one of them calls exec or
 * ends. Who made it leaves the space a while before it is gone. */
static void check_borrowed(struct capture *cp, struct process *p)
{
	struct process *parent = process_find(cp, p->ppid);

	if (parent && proc_same_space(p->pid, parent->pid) == 1) {
		p->space = parent->space;
		return;
	}
	p->borrows = false;
	if (p->space && p->space->agent.ring && lives_in(p, p->space) != 0)
		p->state = PROC_MANAGED;
	else
		left_space(cp, p);
}

/* A process that called exec is in a new space. */
static void check_space(struct capture *cp, struct process *p)
{
	if (p->borrows) {
		check_borrowed(cp, p);
		return;
	}
	/* In this order: see agent_is_dead(). */
	if (p->space && p->space->agent.ring && lives_in(p, p->space) == 0 &&
	    agent_is_dead(p->space) == 0)
		left_space(cp, p);
}

/* The process ended while its agent was being placed. */
static void adopt_or_bury(struct capture *cp, struct aspace *sp)
{
	bool untold = processes_discover_all(cp) != 0;
	int dead;

	for (struct process *p = cp->procs; p; p = p->next) {
		int lives = p->space ? 0 : lives_in(p, sp);

		untold |= is_want(lives);
		if (lives != 1)
			continue;
		p->space = sp;
		p->state = PROC_MANAGED;
		sp->pid = p->pid;
		return;
	}
	dead = untold ? -ENOMEM : agent_is_dead(sp);
	if (dead == 1)
		cp->fatal = "an agent was killed";
	else if (!dead) /* else it is asked again */
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
	processes_discover_all(cp);
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

	processes_discover_all(cp);
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

/* One that came to be known between two looks at who left which space. */
static bool is_managed_already(const struct capture *cp, const struct process *p)
{
	for (const struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (!sp->dead && sp->agent.ring && lives_in(p, sp) != 0)
			return true;
	return false;
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
		/* Forked off one of ours, as far as can be told: it has a space already. */
		if (aspaces_unclaimed(cp) && proc_smaps_each(p->pid, has_registered, NULL))
			continue;
		if (is_managed_already(cp, p))
			continue;
		if (!injector_ask(cp, p->pid, NULL))
			p->state = PROC_ASKED;
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
	cp->header->managed += p->state != PROC_MANAGED;
	p->state = PROC_MANAGED;
	p->space = sp;
}

/* ---- driving ---- */

void processes_poll(struct capture *cp)
{
	processes_discover(cp);
	for (struct process *p = cp->procs; p; p = p->next)
		check_space(cp, p);
	check_forked(cp);
	processes_measure(cp);
	cp->pressed = processes_near_cap(cp);
	if (cp->pressed)
		manage_large(cp);
	/* Not before: to load them keeps a CPU busy for as long as the job's threads may then
	 * have to wait, map lock in hand, while the first agent is to be placed. */
	if (cp->header->agents)
		fast_start(cp);
	aspace_register_some(cp);
	fast_refresh(cp);
	table_refresh(cp);
}

uint64_t processes_interval_ns(const struct capture *cp)
{
	uint64_t room, ns, cost = cp->header->processes * 20000ULL * 10;

	/* What is managed may be given back and mapped anew in one moment. */
	if (cp->anon_bytes >= processes_trigger_bytes(cp) || cp->header->agents)
		ns = 2 * POLL_MIN_NS;
	else {
		room = processes_trigger_bytes(cp) - cp->anon_bytes;
		ns = room / (TOUCH_BYTES_PER_MS)*1000000ULL;
	}
	if (ns < POLL_MIN_NS)
		ns = POLL_MIN_NS;
	if (ns < cost) /* a tenth of a core at most */
		ns = cost;
	return ns < POLL_MAX_NS ? ns : POLL_MAX_NS;
}
