/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a userfaultfd, read into the journal and given to the core in
 * the kernel's order. The journal is shared memory: a message that was read is
 * the kernel's no longer, and must not be lost with the pager.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/capture/fast.h"
#include "client/capture/uffd.h"

static void forked(struct capture *cp, struct aspace *parent, int uffd)
{
	struct aspace *child = aspace_new(cp, uffd, 0);

	if (!child) {
		cp->fatal = "no memory for a forked process";
		return;
	}
	core_forked(cp->core, parent->id, child->id);
	child->heir_of = parent->id;
	child->guards = parent->guards;
	aspace_guard_shared(cp, parent, parent->pid);
	aspace_guard_shared(cp, child, parent->pid);
}

static void remapped_before_fork(struct capture *cp, struct aspace *child, uint64_t from,
				 uint64_t to, uint64_t bytes)
{
	bool has_from, has_to;

	if (child->dead || !uffd_alive(child->uffd))
		return;
	has_from = !uffd_register(child->uffd, from, from + PAGE_BYTES);
	has_to = !uffd_register(child->uffd, to, to + PAGE_BYTES);
	if (has_to && !has_from)
		core_remapped(cp->core, child->id, from, to, bytes);
	else if (has_to == has_from && uffd_alive(child->uffd))
		cp->fatal = "a fork and an mremap of two threads can't be told apart";
}

/*
 * A remap whose message was read after that of a fork, with no quiet moment in
 * between, may have come before the fork: then the child has the pages where
 * they went. Its own mappings say so.
 */
static void remapped(struct capture *cp, struct aspace *sp, const struct uffd_msg *m)
{
	uint64_t from = m->arg.remap.from, to = m->arg.remap.to, bytes = m->arg.remap.len;

	for (struct aspace *o = cp->spaces; o; o = o->next)
		if (o->heir_of.v == sp->id.v)
			remapped_before_fork(cp, o, from, to, bytes);
	core_remapped(cp->core, sp->id, from, to, bytes);
}

/*
 * Scratch has no page that a fault could bring: a thread of the job that waits
 * for one would wait for ever. mlockall(MCL_CURRENT) gets there, as it wants
 * every mapping present. Others who read our memory may wait.
 */
static bool is_strange(const struct aspace *sp, uint64_t va, pid_t tid)
{
	char path[64];

	if (!sp->agent.ring || va < sp->own_start || va >= sp->own_end || tid == sp->agent.pid)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task/%d", sp->pid, tid);
	return access(path, F_OK) == 0;
}

static void deliver(struct capture *cp, struct aspace *sp, const struct uffd_msg *m)
{
	struct core *c = cp->core;
	uint32_t tid;

	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		aspace_faulted(cp, sp, (pid_t)m->arg.pagefault.feat.ptid);
		tid = m->arg.pagefault.feat.ptid;
		crowd_faulted(&cp->crowd, tid, false);
		if (is_strange(sp, m->arg.pagefault.address, (pid_t)tid)) {
			cp->fatal = REASON_ALL_LOCKED;
			return;
		}
		if (sp->agent.ring && tid == (uint32_t)sp->agent.pid)
			tid = CORE_AGENT_TID;
		else
			fast_watch(cp, tid);
		if (m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP)
			core_write_fault(c, sp->id, m->arg.pagefault.address, tid);
		else
			core_fault(c, sp->id, m->arg.pagefault.address, 0, tid,
				   m->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE);
		return;
	default:
		break;
	}
	sp->unsettled = true;
	switch (m->event) {
	case UFFD_EVENT_FORK:
		forked(cp, sp, (int)m->arg.fork.ufd);
		return;
	case UFFD_EVENT_REMAP:
		remapped(cp, sp, m);
		break;
	case UFFD_EVENT_REMOVE:
		core_removed(c, sp->id, m->arg.remove.start, m->arg.remove.end);
		return;
	case UFFD_EVENT_UNMAP:
		core_unmapped(c, sp->id, m->arg.remove.start, m->arg.remove.end);
		break;
	default:
		cp->fatal = "an unknown userfaultfd event";
		return;
	}
	sp->maps_dirty = true;
}

/* An event is done with, and must not be given in again. */
static void given(struct capture *cp)
{
	core_mark(cp->core, core_marked(cp->core) + 1);
	core_commit(cp->core);
}

/*
 * Events first: once one is read the kernel no longer holds back fills, so a
 * fault that was read with it must be answered from what is true after it.
 */
static void deliver_all(struct capture *cp, struct aspace *sp, bool faults)
{
	struct journal *j = cp->journal;

	for (j->next = 0; j->next < j->nr && !sp->dead; j->next++) {
		if ((j->msg[j->next].event == UFFD_EVENT_PAGEFAULT) != faults)
			continue;
		deliver(cp, sp, &j->msg[j->next]);
		if (!faults)
			given(cp);
	}
}

void messages_again(struct capture *cp)
{
	struct journal *j = cp->journal;
	struct aspace *sp = aspace_find(cp, (space_id){j->space});
	uint64_t skip = core_marked(cp->core) - j->mark;
	uint32_t nr = 0, max = j->nr == JOURNAL_UNREAD ? JOURNAL_MSGS : j->nr;

	while (nr < max && j->msg[nr].event)
		nr++;
	for (uint32_t i = 0; i < nr && sp && !sp->dead; i++) {
		if (j->msg[i].event == UFFD_EVENT_PAGEFAULT) /* woken, it faults anew */
			continue;
		if (skip) {
			skip--;
			continue;
		}
		/* Who forked has gone on since, and may have changed it. */
		if (j->msg[i].event == UFFD_EVENT_FORK && !sp->wiped_known) {
			cp->fatal = "what a fork does not hand on was not known when the pager"
				    " died";
			break;
		}
		deliver(cp, sp, &j->msg[i]);
		given(cp);
	}
	if (sp)
		aspace_after_read(sp);
	j->nr = 0;
}

void messages_give(struct capture *cp, struct aspace *sp, const struct uffd_msg *msg,
		   unsigned int nr)
{
	for (unsigned int faults = 0; faults < 2; faults++)
		for (unsigned int i = 0; i < nr && !sp->dead; i++)
			if ((msg[i].event == UFFD_EVENT_PAGEFAULT) == faults)
				deliver(cp, sp, &msg[i]);
	aspace_after_read(sp);
}

/* No call that changes mappings is under way, and none of its messages unread. */
static void settle(struct capture *cp, struct aspace *sp)
{
	if (!sp->unsettled || uffd_changing(sp->uffd) || uffd_has_messages(sp->uffd))
		return;
	sp->unsettled = false;
	for (struct aspace *o = cp->spaces; o; o = o->next)
		if (o->heir_of.v == sp->id.v)
			o->heir_of.v = 0;
	core_settled(cp->core, sp->id);
}

/* What is read from here on is in the journal in the instant in which the kernel forgets it,
 * with what must be known of a fork. */
static void read_into(struct capture *cp, struct aspace *sp)
{
	struct journal *j = cp->journal;
	bool looked = aspace_before_read(cp, sp);

	core_commit(cp->core); /* what was moved is copied, or nothing could be read */
	j->space = sp->id.v;
	j->mark = core_marked(cp->core);
	for (unsigned int i = 0; i < JOURNAL_MSGS; i++)
		j->msg[i].event = 0;
	/* One that began meanwhile may be waiting by now; who begins later is not so quick. */
	if (!looked && aspace_before_read(cp, sp))
		core_commit(cp->core);
	j->nr_wiped = sp->wiped_known ? (uint32_t)sp->nr_wiped : UINT32_MAX;
	if (j->nr_wiped <= JOURNAL_WIPED)
		memcpy(j->wiped, sp->wiped, sp->nr_wiped * sizeof(*sp->wiped));
	__atomic_store_n(&j->nr, JOURNAL_UNREAD, __ATOMIC_RELEASE);
}

void messages_read(struct capture *cp, struct aspace *sp)
{
	struct journal *j = cp->journal;

	while (!sp->dead && sp->readable && core_may_read(cp->core, sp->id)) {
		int n;

		read_into(cp, sp);
		n = uffd_read(sp->uffd, j->msg, JOURNAL_MSGS);
		if (n <= 0) {
			j->nr = 0;
			sp->readable = false;
			break;
		}
		j->nr = (uint32_t)n;
		deliver_all(cp, sp, false);
		deliver_all(cp, sp, true);
		j->nr = 0;
		aspace_after_read(sp);
	}
	if (!sp->dead && !sp->readable)
		settle(cp, sp);
}
