/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which mappings of a space are given to userfaultfd: all private anonymous
 * ones but the stack, whole (a registered piece splits its mapping, and then
 * the job's own mremap of the whole fails). From then on a first touch comes
 * through the pager too, so that the cap holds.
 */
#include <errno.h>
#include <stdlib.h>

#include "client/capture/capture.h"
#include "client/capture/proc.h"
#include "client/capture/uffd.h"

#define RESCAN_NS    50000000ULL
#define RESCAN_BYTES (1ULL << 20)

#define WALK_SPANS 4096U /* each time they are full the maps are looked at again */
#define WALK_ROW   512U
#define MAX_LATE   64U
#define LATE_LOOKS 3U

struct spans {
	struct vma_span span[WALK_SPANS]; /* ascending */
	unsigned int nr;
};

struct walk {
	struct capture *cp;
	struct aspace *sp;
	struct spans asked;		/* registered, not yet known to the core */
	struct spans proven;		/* what of it the kernel says is */
	unsigned int at;		/* what is looked at begins in this one of those asked */
	struct vma_span late[MAX_LATE]; /* registered while they were looked at: asked for next */
	unsigned int nr_late, max_late;
	struct vma_span row[WALK_ROW]; /* touching mappings, not yet registered */
	unsigned int nr_row;
};

/* False: there is no room. */
static bool spans_add(struct spans *s, uint64_t start, uint64_t end)
{
	if (s->nr && s->span[s->nr - 1].end == start) {
		s->span[s->nr - 1].end = end;
		return true;
	}
	if (s->nr == WALK_SPANS)
		return false;
	s->span[s->nr++] = (struct vma_span){start, end};
	return true;
}

/*
 * Part of a mapping that is there now, where some were registered. A mapping that came in the
 * place of one that went before that was not; the core would take it for one that is, and it
 * would never be. A file in memory (memfd, tmpfs) may have been registered as well, and zeros
 * would go over its pages.
 */
static int prove_part(struct walk *w, const struct proc_map *m, uint64_t start, uint64_t end)
{
	int is;

	if (!m->anon || m->shared) {
		uffd_unregister(w->sp->uffd, start, end);
		w->sp->maps_dirty = true;
		return 0;
	}
	is = uffd_is_registered(w->sp->uffd, start);
	if (is < 0)
		return is;
	/* What is left out is found by another look. */
	w->sp->maps_dirty |= !is || !spans_add(&w->proven, start, end);
	return 0;
}

static bool is_ours(const struct walk *w, const struct proc_map *m)
{
	return m->anon && !m->shared && !m->stack && !m->special &&
	       (m->start >= w->sp->own_end || m->end <= w->sp->own_start) &&
	       !core_range_known(w->cp->core, w->sp->id, m->start, m->end);
}

static int prove_one(void *ctx, const struct proc_map *m)
{
	struct walk *w = ctx;
	const struct spans *asked = &w->asked;
	int err = 0;

	while (w->at < asked->nr && asked->span[w->at].end <= m->start)
		w->at++;
	if (w->at == asked->nr)
		return 1; /* what is new is mostly below what is old */
	/* One that came meanwhile: where there are tens of thousands each look takes 10 ms, in
	 * which it may grow past the cap. */
	if (asked->span[w->at].start >= m->end && w->nr_late < w->max_late && is_ours(w, m) &&
	    !uffd_register(w->sp->uffd, m->start, m->end))
		w->late[w->nr_late++] = (struct vma_span){m->start, m->end};
	for (unsigned int i = w->at; !err && i < asked->nr && asked->span[i].start < m->end; i++) {
		const struct vma_span *s = &asked->span[i];

		err = prove_part(w, m, s->start > m->start ? s->start : m->start,
				 s->end < m->end ? s->end : m->end);
	}
	return err;
}

/*
 * The job may map anew between our look at its maps and the registration, without a
 * message. After that it can't: so the maps are looked at again, and the core hears only
 * of what is registered and there, at a moment when no event is unread: one that is may
 * be a fork whose child has no such registration, or an unmap.
 */
static int tell_what_is(struct walk *w)
{
	pid_t pid = w->sp->agent.ring ? w->sp->agent.pid : w->sp->pid;
	int err;

	w->at = w->proven.nr = 0;
	err = proc_maps_each(pid, prove_one, w);
	w->asked.nr = 0;
	if (err == -EAGAIN || uffd_changing(w->sp->uffd)) {
		w->sp->maps_dirty = true;
		return 0;
	}
	for (unsigned int i = 0; i < w->proven.nr && err >= 0; i++)
		err = core_range_added(w->cp->core, w->sp->id, w->proven.span[i].start,
				       w->proven.span[i].end);
	return err < 0 ? err : 0;
}

static int tell_core(struct walk *w)
{
	int err = 0;

	for (unsigned int look = 1; w->asked.nr && !err; look++) {
		w->nr_late = 0;
		w->max_late = look < LATE_LOOKS ? MAX_LATE : 0;
		err = tell_what_is(w);
		for (unsigned int i = 0; i < w->nr_late; i++)
			spans_add(&w->asked, w->late[i].start, w->late[i].end);
	}
	return err;
}

static int add_span(struct walk *w, uint64_t start, uint64_t end)
{
	int err = 0;

	w->cp->header->ranges_registered++;
	if (!spans_add(&w->asked, start, end)) {
		err = tell_core(w);
		spans_add(&w->asked, start, end);
	}
	return err;
}

static bool is_refusal(int err)
{
	/* Gone meanwhile, or of a kind that can't be: another look will tell. */
	return err == -EINVAL || err == -ENOMEM || err == -EBUSY || err == -ENOENT || err == -EPERM;
}

/* Mappings that touch are registered by one call: a program may have tens of
 * thousands, and grows while we look. If one of them refuses, one by one. */
static int register_row(struct walk *w)
{
	unsigned int nr = w->nr_row;
	int err;

	w->nr_row = 0;
	if (!nr)
		return 0;
	err = uffd_register(w->sp->uffd, w->row[0].start, w->row[nr - 1].end);
	if (!err)
		return add_span(w, w->row[0].start, w->row[nr - 1].end);
	if (!is_refusal(err))
		return err;
	for (unsigned int i = 0; nr > 1 && i < nr; i++) {
		err = uffd_register(w->sp->uffd, w->row[i].start, w->row[i].end);
		if (!err)
			err = add_span(w, w->row[i].start, w->row[i].end);
		if (err && !is_refusal(err))
			return err;
	}
	return 0;
}

static int register_one(void *ctx, const struct proc_map *m)
{
	struct walk *w = ctx;
	int err = 0;

	if (!is_ours(w, m))
		return 0;
	if (w->nr_row == WALK_ROW || (w->nr_row && w->row[w->nr_row - 1].end != m->start))
		err = register_row(w);
	w->row[w->nr_row++] = (struct vma_span){m->start, m->end};
	return err;
}

int aspace_register(struct capture *cp, struct aspace *sp)
{
	struct walk w = {.cp = cp, .sp = sp};
	int err;
	pid_t pid = sp->agent.ring ? sp->agent.pid : sp->pid;

	if (!pid)
		return 0;
	sp->maps_dirty = false;
	sp->maps_ns = capture_now_ns();
	/* One that has begun to use userfaultfd keeps what it maps for itself. */
	if (sp->pid && inject_check(sp->pid) == REFUSE_USERFAULTFD)
		return 0;
	err = proc_maps_each(pid, register_one, &w);
	if (!err)
		err = register_row(&w);
	if (!err)
		err = tell_core(&w);
	sp->maps_dirty |= err != 0; /* what is registered and not told is found again */
	return err;
}

struct real {
	struct core_range *range;
	unsigned int nr, max;
};

static int note_real(void *ctx, const struct proc_map *m)
{
	struct real *r = ctx;

	if (!m->uffd_missing)
		return 0;
	if (r->nr && r->range[r->nr - 1].end == m->start) {
		r->range[r->nr - 1].end = m->end;
		return 0;
	}
	if (r->nr == r->max) {
		unsigned int max = r->max ? 2 * r->max : 64;
		struct core_range *more = realloc(r->range, max * sizeof(*more));

		if (!more)
			return -ENOMEM;
		r->range = more;
		r->max = max;
	}
	r->range[r->nr++] = (struct core_range){m->start, m->end};
	return 0;
}

/*
 * Before anything is moved out of a forked space: what the core took over from
 * the parent may hold a range that was unmapped just before the fork, its
 * message having come just after. Nothing may be moved that is not registered.
 */
static void prove(struct capture *cp, struct aspace *sp)
{
	struct real real = {0};

	if (sp->unsettled || uffd_changing(sp->uffd))
		return;
	if (!proc_smaps_each(sp->agent.pid, note_real, &real) && !uffd_changing(sp->uffd) &&
	    !uffd_has_messages(sp->uffd)) {
		core_ranges_are(cp->core, sp->id, real.range, real.nr);
		core_commit(cp->core);
		sp->unproven = false;
		aspace_register(cp, sp);
		core_agent_ready(cp->core, sp->id);
	}
	free(real.range);
}

void aspace_register_some(struct capture *cp)
{
	uint64_t now = capture_now_ns();

	for (struct aspace *sp = cp->spaces; sp; sp = sp->next)
		if (sp->unproven && !sp->dead)
			prove(cp, sp);
	for (const struct process *p = cp->procs; p; p = p->next) {
		struct aspace *sp = p->space;
		uint64_t grown;

		if (!sp || sp->dead || !sp->agent.ring || sp->unproven || p->borrows)
			continue;
		grown = p->virt_bytes > sp->maps_bytes ? p->virt_bytes - sp->maps_bytes : 0;
		if (sp->maps_dirty || grown >= RESCAN_BYTES ||
		    (p->virt_bytes != sp->maps_bytes && now - sp->maps_ns > RESCAN_NS)) {
			sp->maps_bytes = p->virt_bytes;
			aspace_register(cp, sp);
		}
	}
}
