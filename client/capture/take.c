/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/take.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/capture/bpf_pins.h"
#include "client/capture/freeze.h"
#include "client/capture/proc.h"
#include "client/capture/uffd.h"
#include "common/base/log.h"

#define READ_MSGS   32U
#define SETTLE_NS   1000000000ULL
#define MAX_SHARERS 64U

#define FORKED	 "a process forked and ended while its pages were leaving (Linux before 6.8)"
#define IN_PART	 "some pages of a run could not leave, and which can't be told (Linux before 6.8)"
#define REPLACED "a mapping was replaced while its pages were leaving (Linux before 6.8)"

struct take {
	uint64_t va; /* of the chunk */
	pageset want, busy, invalid;
	pageset dropped;   /* the kernel's events say so */
	uint64_t agent_va; /* it waits for this page; 0: for none */
	struct freeze *freeze;
	struct uffd_msg *msg; /* read meanwhile, not yet given to the core */
	unsigned int nr, max;
	bool replaced; /* one says that the chunk's mappings changed */
	bool forked;   /* one brings a new userfaultfd */
	bool no_memory;
};

static uint64_t page_va(uint64_t chunk_va, unsigned int idx)
{
	return chunk_va + idx * PAGE_BYTES;
}

/* ---- before ---- */

static bool lives_there(const struct capture *cp, const struct aspace *sp, const struct process *p)
{
	const struct process *parent = p->borrows ? process_find(cp, p->ppid) : NULL;

	return p->space == sp || (parent && parent->space == sp);
}

static int hold_threads(const struct capture *cp, struct aspace *sp, struct freeze **out)
{
	pid_t pid[MAX_SHARERS];
	size_t nr = 0;

	for (const struct process *p = cp->procs; p; p = p->next) {
		if (!lives_there(cp, sp, p))
			continue;
		if (nr == MAX_SHARERS)
			return -EAGAIN;
		pid[nr++] = p->pid;
	}
	return nr ? freeze_begin(pid, nr, out) : -EAGAIN;
}

/* Pages that can't be protected (of a mapping that came a moment ago) are invalid. */
static int protect(const struct aspace *sp, struct take *t)
{
	unsigned int idx, end;
	int err;

	for (idx = pageset_next(&t->want, 0); idx < CHUNK_PAGES;
	     idx = pageset_next(&t->want, end)) {
		end = pageset_next_gap(&t->want, idx);
		err = uffd_guard(sp->uffd, page_va(t->va, idx), page_va(t->va, end));
		if (err && err != -EAGAIN && end > idx + 1) { /* over two mappings */
			end = idx + 1;
			err = uffd_guard(sp->uffd, page_va(t->va, idx), page_va(t->va, end));
		}
		if (err == -EAGAIN || err == -ESRCH)
			return err;
		for (; err && idx < end; idx++) {
			pageset_del(&t->want, idx);
			pageset_add(&t->invalid, idx);
		}
	}
	return 0;
}

/* From here on nobody writes to the pages but who had pinned them before: those stay. */
static int spare_pinned(const struct capture *cp, const struct aspace *sp, struct take *t)
{
	pageset free;
	int err = pins_read(cp->pins, sp->agent.pidfd, t->va, &free, NULL);

	if (err)
		return -EAGAIN;
	for (unsigned int i = 0; i < CHUNK_WORDS; i++) {
		t->busy.w[i] = t->want.w[i] & ~free.w[i];
		t->want.w[i] &= free.w[i];
	}
	return 0;
}

/* Only what is there now, when no call that could change it is under way. */
static int choose_again(struct aspace *sp, struct take *t)
{
	pageset here;
	int err;

	sp->readable |= uffd_has_messages(sp->uffd);
	if (sp->readable || uffd_changing(sp->uffd))
		return -EAGAIN;
	err = proc_present(sp->pagemap_fd, t->va, t->va + CHUNK_BYTES, &here);
	for (unsigned int i = 0; i < CHUNK_WORDS; i++)
		t->want.w[i] &= here.w[i];
	return err;
}

static void take_free(struct take *t)
{
	if (!t)
		return;
	freeze_end(t->freeze);
	free(t->msg);
	free(t);
}

int take_begin(struct capture *cp, struct aspace *sp, unsigned int half, uint64_t chunk_va,
	       const pageset *want)
{
	struct agent_cmd cmd = {.op = AGENT_TAKE, .half = half, .va = chunk_va};
	struct take *t;
	int err;

	if (sp->taking)
		return -EAGAIN;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->va = chunk_va;
	t->want = *want;
	err = hold_threads(cp, sp, &t->freeze);
	if (!err)
		err = choose_again(sp, t);
	if (!err)
		err = protect(sp, t);
	if (!err)
		err = spare_pinned(cp, sp, t);
	cmd.want = t->want;
	if (!err)
		err = agent_post(sp, &cmd);
	if (err) {
		take_free(t);
		return err;
	}
	sp->taking = t;
	sp->drop[half] = false; /* the agent empties the half itself */
	return 0;
}

/* ---- meanwhile ---- */

static void keep_msg(struct take *t, const struct uffd_msg *m)
{
	if (t->nr == t->max) {
		unsigned int max = t->max ? 2 * t->max : READ_MSGS;
		struct uffd_msg *more = realloc(t->msg, max * sizeof(*more));

		if (!more) {
			t->no_memory = true;
			return;
		}
		t->msg = more;
		t->max = max;
	}
	t->msg[t->nr++] = *m;
}

/* Each page that the agent drops is told once. What is told twice was dropped by the
 * job as well, in whatever order: then zeros are right. */
static bool is_our_drop(struct take *t, uint64_t va)
{
	unsigned int idx = (unsigned int)((va - t->va) >> PAGE_SHIFT);

	if (va < t->va || va >= t->va + CHUNK_BYTES || !pageset_has(&t->want, idx) ||
	    pageset_has(&t->dropped, idx))
		return false;
	pageset_add(&t->dropped, idx);
	return true;
}

/* One may tell of ours and of the job's: what is not ours is kept. */
static void take_remove(struct take *t, const struct uffd_msg *m)
{
	struct uffd_msg job = *m;
	uint64_t va, end = m->arg.remove.end;

	if (m->arg.remove.start < t->va || end > t->va + CHUNK_BYTES) {
		keep_msg(t, m); /* not ours; the core makes nothing of what moves */
		return;
	}
	for (va = m->arg.remove.start; va < end; va += PAGE_BYTES) {
		if (is_our_drop(t, va))
			continue;
		job.arg.remove.start = va;
		job.arg.remove.end = va + PAGE_BYTES;
		keep_msg(t, &job);
	}
}

static bool meets(const struct take *t, uint64_t start, uint64_t end)
{
	return start < t->va + CHUNK_BYTES && end > t->va;
}

static void take_msg(struct take *t, const struct uffd_msg *m, pid_t agent)
{
	uint64_t from = m->arg.remap.from, to = m->arg.remap.to, bytes = m->arg.remap.len;

	switch (m->event) {
	case UFFD_EVENT_PAGEFAULT:
		if ((pid_t)m->arg.pagefault.feat.ptid != agent)
			break;
		t->agent_va = m->arg.pagefault.address & PAGE_MASK;
		return;
	case UFFD_EVENT_REMOVE:
		take_remove(t, m);
		return;
	case UFFD_EVENT_UNMAP:
		t->replaced |= meets(t, m->arg.remove.start, m->arg.remove.end);
		break;
	case UFFD_EVENT_REMAP:
		t->replaced |= meets(t, from, from + bytes) || meets(t, to, to + bytes);
		break;
	case UFFD_EVENT_FORK:
		t->forked = true;
		break;
	default:
		break;
	}
	keep_msg(t, m);
}

/* What was there and is not any more was dropped by the job: it reads as zeros. */
static void serve_agent(const struct capture *cp, const struct aspace *sp)
{
	struct take *t = sp->taking;
	unsigned int done;
	int err;

	if (!t->agent_va)
		return;
	err = uffd_fill(sp->uffd, t->agent_va, 1, cp->zeros, false, &done);
	if (err == -EAGAIN) /* an event is unread */
		return;
	if (err)
		err = uffd_wake(sp->uffd, t->agent_va, PAGE_BYTES);
	if (!err)
		t->agent_va = 0;
}

static void read_some(struct capture *cp, struct aspace *sp)
{
	struct uffd_msg msg[READ_MSGS];
	int n;

	if (uffd_has_messages(sp->uffd)) {
		aspace_before_read(cp, sp);
		n = uffd_read(sp->uffd, msg, READ_MSGS);
		for (int i = 0; i < n; i++)
			take_msg(sp->taking, &msg[i], sp->agent.pid);
	}
	serve_agent(cp, sp);
}

bool takes_serve(struct capture *cp)
{
	bool any = false;

	for (struct aspace *sp = cp->spaces; sp; sp = sp->next) {
		if (sp->dead || !sp->taking)
			continue;
		any = true;
		read_some(cp, sp);
	}
	return any;
}

/* ---- after ---- */

/* A call that is not over may have come before the drop: what it was is read. */
static void read_all(struct capture *cp, struct aspace *sp)
{
	uint64_t until = capture_now_ns() + SETTLE_NS;

	while (uffd_changing(sp->uffd) && uffd_alive(sp->uffd)) {
		read_some(cp, sp);
		if (capture_now_ns() > until) {
			sp->taking->replaced = true;
			return;
		}
	}
}

/* Of what stayed, that was the job's: the agent tells what it dropped. */
static void keep_lone_removes(struct take *t, const pageset *moved)
{
	struct uffd_msg m = {.event = UFFD_EVENT_REMOVE};

	for (unsigned int i = pageset_next(&t->dropped, 0); i < CHUNK_PAGES;
	     i = pageset_next(&t->dropped, i + 1)) {
		if (pageset_has(moved, i))
			continue;
		m.arg.remove.start = page_va(t->va, i);
		m.arg.remove.end = m.arg.remove.start + PAGE_BYTES;
		keep_msg(t, &m);
	}
}

void take_answered(struct capture *cp, struct aspace *sp, const struct command *cmd,
		   const struct agent_cmd *got)
{
	struct take *t = sp->taking;
	pageset moved = got->moved, invalid = t->invalid;

	if (got->err)
		log_debug("agent: a take ended early err=%d", got->err);
	read_all(cp, sp);
	for (unsigned int i = 0; i < CHUNK_WORDS; i++) {
		moved.w[i] &= t->want.w[i];
		invalid.w[i] |= got->invalid.w[i] & t->want.w[i];
	}
	keep_lone_removes(t, &moved);
	if (got->err == -EFAULT)
		cp->fatal = IN_PART;
	else if (t->replaced && pageset_count(&moved))
		cp->fatal = REPLACED;
	if (t->no_memory)
		cp->fatal = "no memory for messages";
	freeze_end(t->freeze);
	t->freeze = NULL;
	sp->taking = NULL;
	core_moved(cp->core, sp->id, cmd->half, &moved, &(pageset){{0}}, &t->busy, &invalid, false);
	/* What messages change must not be on its way. */
	if (core_may_read(cp->core, sp->id))
		messages_give(cp, sp, t->msg, t->nr);
	else if (!cp->fatal)
		cp->fatal = "pages are still leaving";
	take_free(t);
}

void take_abandon(struct capture *cp, struct aspace *sp)
{
	/* The child may lack what was dropped before. */
	if (sp->taking && sp->taking->forked)
		cp->fatal = FORKED;
	take_free(sp->taking);
	sp->taking = NULL;
}
