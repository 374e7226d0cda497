/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults: a thread of the job touched a page that is not there. Answered with
 * zeros (it never left), from standby, or from the store; or made to wait,
 * because an event must be read first, the cap is reached, or no frame is
 * free. Whatever waits is decided anew when it is tried again.
 */
#include "client/core/internal.h"

#define LATE_NS 1000000U /* waits beyond it are not the store's */

static uint64_t now_ns(const struct core *c)
{
	return c->b.env->now_ns(c->b.env_ctx);
}

bool cap_allows(const struct core *c, const struct space *s, uint32_t tid, uint64_t pages)
{
	uint64_t coming = pages + c->st->placing_pages;
	int64_t after = c->st->local_anon + (int64_t)(coming * PAGE_BYTES);

	/* A space that nothing can leave is reported, not held. An agent that
	 * makes pages exclusive must not wait for room, since it makes room; nor
	 * must a thread that is stopped to place one, page by page. */
	if (s->agent == AGENT_REFUSED || tid == CORE_AGENT_TID || (s->let_through && pages == 1))
		return true;
	return after <= (int64_t)cap_hard_bytes(c);
}

static void wake(const struct core *c, space_id sp, uint64_t va)
{
	c->b.capture->wake(c->b.capture_ctx, sp, va & PAGE_MASK, 1);
}

/* Also for hints: only where the wait is short, for an agent's answer. */
static void wait_in_line(struct core *c, const struct waiting *w)
{
	struct state *st = c->st;

	if (st->nr_waiting == MAX_WAITING) {
		wake(c, w->space, w->va); /* it faults again, a little later */
		return;
	}
	st->stats.faults_deferred++;
	c->waiting[(st->waiting_head + st->nr_waiting++) % MAX_WAITING] = *w;
}

void fault_wait(struct core *c, const struct waiting *w)
{
	if (!w->hint)
		wait_in_line(c, w);
}

void page_filled(struct core *c, struct space *s, struct chunk *ch, unsigned idx, unsigned nr,
		 enum policy_way way)
{
	struct state *st = c->st;
	struct policy_room room;

	st->local_anon += (int64_t)(nr * PAGE_BYTES);
	st->fill_seq += nr;
	room = policy_room(c);
	policy_came(c->b.policy, c->b.policy_ctx, &room, &ch->pc, idx, nr, way);
	ch->populated = false;
	if (s->removed_pages)
		chunk_unremove(c, ch, idx, nr);
	chunk_queue(c, ch, false);
}

void fault_answered(struct core *c, struct space *s, uint64_t since_ns, uint64_t *kind)
{
	struct state *st = c->st;
	uint64_t ns = now_ns(c) - since_ns;

	++*kind;
	st->no_memory_ns = 0;
	s->stats.faults++;
	hist_add(&st->stats.fault_ns, ns);
	if (kind == &st->stats.faults_remote)
		st->fetch_ns =
			st->fetch_ns - st->fetch_ns / 64 + (ns < LATE_NS ? ns : LATE_NS) / 64;
}

/* Nothing was filled: what that means for the thread that waits. */
#define NO_MEMORY_NS 10000000000ULL

/* It is tried again; for want of memory not for ever, when nothing else is answered. */
static void refused(struct core *c, const struct waiting *w, int err)
{
	uint64_t now = now_ns(c), *since = &c->st->no_memory_ns;

	if (err == -ENOMEM && !*since)
		*since = now;
	if (err == -ENOMEM && now - *since > NO_MEMORY_NS && now - w->since_ns > NO_MEMORY_NS)
		core_lost(c, LOSS_MEMORY, w->space, w->va, err);
	else
		fault_wait(c, w);
}

void fault_not_filled(struct core *c, const struct waiting *w, int err)
{
	switch (err) {
	case -EEXIST: /* somebody else's fault brought it */
	case -ENOENT: /* no longer registered: the kernel will answer */
		c->st->stats.faults_benign++;
		wake(c, w->space, w->va);
		break;
	case -ESRCH:
		break;
	default: /* -EAGAIN: an event comes first; -ENOMEM */
		refused(c, w, err);
	}
}

/* ---- first touch ---- */

/* How many pages from @va on may be filled with zeros at once: no records of
 * theirs, inside the chunk, the range and the cap. */
static unsigned int zero_run(struct core *c, struct space *s, struct chunk *ch, uint64_t va,
			     unsigned int want)
{
	const struct core_range *r = ranges_above(c, s, va);
	unsigned int idx = page_idx(va), n = 1;

	if (!r || r->start > va)
		return 1;
	while (n < want && idx + n < CHUNK_PAGES && va + n * PAGE_BYTES < r->end) {
		const struct rec *rec = chunk_rec(c, ch, idx + n);

		if ((rec && rec->state != REC_NONE) || pageset_has(&ch->removed, idx + n))
			break;
		n++;
	}
	while (n > 1 && !cap_allows(c, s, 0, n))
		n /= 2;
	return n;
}

static void fill_zeros(struct core *c, struct space *s, struct chunk *ch, const struct waiting *w)
{
	uint64_t va = w->va & PAGE_MASK;
	unsigned int want = 1 + ahead_zeros(c, s, w);
	unsigned int nr = zero_run(c, s, ch, va, want), done = 0;
	int err = c->b.capture->fill_zero(c->b.capture_ctx, s->id, va, nr, &done);

	if (done) {
		/* It took the fill, so it is registered and nothing is unread:
		 * known or not, as after a growth in place, it may leave. */
		if (!ranges_has(c, s, va))
			ranges_add(c, s, va, va + done * PAGE_BYTES);
		page_filled(c, s, ch, page_idx(va), done, WAY_NEW);
		c->st->stats.pages_zero_ahead += done - 1;
		fault_answered(c, s, w->since_ns, &c->st->stats.faults_zero);
		return;
	}
	fault_not_filled(c, w, err);
	chunk_tidy(c, ch);
}

/* The page should be there. Either somebody else's fault brought it by now, or
 * the job threw it away in a way that raises no event: then zeros are right. */
static void fault_resident(struct core *c, struct space *s, struct chunk *ch,
			   const struct waiting *w)
{
	unsigned int idx = page_idx(w->va), done = 0;
	int err = -EAGAIN;

	if (cap_allows(c, s, w->tid, 1))
		err = c->b.capture->fill_zero(c->b.capture_ctx, s->id, w->va & PAGE_MASK, 1, &done);
	if (!done) {
		fault_not_filled(c, w, err);
		return;
	}
	rec_drop(c, ch, idx);
	page_filled(c, s, ch, idx, 1, WAY_NEW);
	fault_answered(c, s, w->since_ns, &c->st->stats.faults_zero);
}

/* ---- pages that left ---- */

/* The page is in the job again: keep the store's copy for as long as slots
 * are plenty, so that a page that stays clean need not be written again. */
static void settle_resident(struct core *c, struct chunk *ch, unsigned idx, uint32_t f,
			    bool guarded)
{
	struct frame *fr = &c->frames[f];
	struct rec *r = chunk_rec(c, ch, idx);

	if (fr->state == FRAME_CLEAN && !slots_scarce(c)) {
		r->slot = fr->slot;
		r->has_slot = 1;
		fr->has_slot = false;
		r->frame = 0;
		rec_set(c, ch, idx, REC_RESIDENT);
		if (guarded)
			r->guarded = 1;
		frame_put(c, f);
		return;
	}
	r->frame = 0;
	rec_set(c, ch, idx, REC_NONE);
	frame_abandon(c, f);
}

/* The frame's bytes are in the page. */
static void installed(struct core *c, struct space *s, struct chunk *ch, uint32_t f, bool guarded)
{
	struct frame *fr = &c->frames[f];
	unsigned int idx = fr->idx;
	uint64_t since_ns = fr->since_ns;
	bool waited = fr->waited, soft = !fr->fetched;
	enum policy_way way = fr->away ? WAY_BACK : WAY_SOON;

	fr->waited = fr->hinted = fr->agent_waits = false;
	if (fr->ahead)
		c->st->stats.pages_prefetched++;
	settle_resident(c, ch, idx, f, guarded);
	page_filled(c, s, ch, idx, 1, way);
	if (waited)
		fault_answered(c, s, since_ns,
			       soft ? &c->st->stats.faults_soft : &c->st->stats.faults_remote);
}

void page_placed(struct core *c, struct space *s, struct chunk *ch, unsigned int idx)
{
	struct rec *r = chunk_rec(c, ch, idx);

	if (r->state == REC_STANDBY) {
		installed(c, s, ch, (uint32_t)r->frame, false);
		return;
	}
	assert(r->state == REC_REMOTE); /* its frame was taken for another */
	if (slots_scarce(c))
		rec_give_slot_up(c, r);
	rec_set(c, ch, idx, r->has_slot ? REC_RESIDENT : REC_NONE);
	page_filled(c, s, ch, idx, 1, WAY_BACK);
}

unsigned int frames_install(struct core *c, const uint32_t *frame, unsigned int nr)
{
	struct chunk *ch = at(c, c->frames[*frame].chunk);
	struct space *s = chunk_space(c, ch);
	const void *src[FILL_PAGES];
	unsigned int done = 0;
	bool guard = true;

	if (c->st->lost || s->nr_held || chunk_moving(c, ch) || !cap_allows(c, s, 0, nr))
		return 0;
	for (unsigned int i = 0; i < nr; i++)
		src[i] = frame_page(c, frame[i]);
	for (unsigned int i = 0; i < nr; i++)
		guard &= is_to_be_guarded(c, ch, frame[i]);
	undo_filling(c, frame, nr);
	c->b.capture->fill(c->b.capture_ctx, s->id, ch->va + c->frames[*frame].idx * PAGE_BYTES, nr,
			   src, &guard, &done);
	for (unsigned int i = 0; i < done; i++)
		installed(c, s, ch, frame[i], guard);
	return done;
}

int frame_install(struct core *c, uint32_t f)
{
	struct frame *fr = &c->frames[f];
	struct chunk *ch = at(c, fr->chunk);
	struct space *s = chunk_space(c, ch);
	const void *src = frame_page(c, f);
	unsigned int idx = fr->idx, done = 0;
	uint64_t va = ch->va + idx * PAGE_BYTES, since_ns = fr->since_ns;
	bool waited = fr->waited, hint = fr->hinted, guard = is_to_be_guarded(c, ch, f);
	uint32_t tid = fr->agent_waits ? CORE_AGENT_TID : 0;
	int err = -EAGAIN;

	if (c->st->lost)
		return -EPIPE;
	if (cap_allows(c, s, tid, 1) && !s->nr_held && !chunk_moving(c, ch) &&
	    !page_placing(c, ch, idx)) {
		undo_filling(c, &f, 1);
		err = c->b.capture->fill(c->b.capture_ctx, s->id, va, 1, &src, &guard, &done);
	}
	if (done) {
		installed(c, s, ch, f, guard);
		return 0;
	}
	fr->waited = fr->hinted = fr->agent_waits = false;
	switch (err) {
	case -EEXIST: /* the job has newer bytes there */
		rec_drop(c, ch, idx);
		wake(c, s->id, va);
		chunk_tidy(c, ch);
		break;
	case -ENOENT:
		if (waited)
			wake(c, s->id, va);
		break;
	case -ESRCH:
		break;
	default:
		if (waited)
			refused(c,
				&(struct waiting){.space = s->id,
						  .tid = tid,
						  .va = va,
						  .since_ns = since_ns,
						  .told = true,
						  .hint = hint},
				err);
	}
	return err;
}

/* The frame's bytes are waited for from now on. */
static void await(struct frame *fr, const struct waiting *w)
{
	if (!fr->waited) {
		fr->since_ns = w->since_ns;
		fr->hinted = true;
	}
	fr->waited = true;
	fr->hinted &= w->hint;
	if (w->write)
		fr->writes = true;
	fr->ahead = fr->marker = fr->moves = false;
	fr->agent_waits |= w->tid == CORE_AGENT_TID;
}

bool fetch(struct core *c, struct chunk *ch, unsigned int idx, const struct waiting *w)
{
	struct rec *r = chunk_rec(c, ch, idx);
	struct frame *fr;
	uint32_t f;

	if (!slot_is_written(c, r->slot) || slot_is_lost(c, r->slot) || page_placing(c, ch, idx))
		return false;
	f = frame_get(c, !w);
	if (f == NO_FRAME)
		return false;
	fr = &c->frames[f];
	fr->chunk = ref_to(c, ch);
	fr->idx = (uint16_t)idx;
	fr->ahead = !w;
	fr->away = true;
	fr->fetched = w != NULL;
	if (w)
		await(fr, w);
	fr->slot = r->slot;
	fr->has_slot = true;
	slot_share(c, r->slot);
	r->frame = f;
	rec_set(c, ch, idx, REC_FETCHING);
	frame_ask_push(c, f, w != NULL);
	return true;
}

static void fault_remote(struct core *c, struct space *s, struct chunk *ch, const struct waiting *w)
{
	unsigned int idx = page_idx(w->va);

	if (slot_is_lost(c, chunk_rec(c, ch, idx)->slot)) {
		page_lost(c, ch, idx, LOSS_STORE, -EPIPE);
		return;
	}
	if (c->b.store->ops->page)
		page_prefetch(c->b.store->ops->page(c->b.store, chunk_rec(c, ch, idx)->slot));
	if (!cap_allows(c, s, w->tid, 1) || !fetch(c, ch, idx, w)) {
		fault_wait(c, w);
		return;
	}
	io_submit_reads(c); /* first the one that is waited for, alone */
	ahead_run(c, s, w, POLICY_FETCH);
}

static void fault_standby(struct core *c, struct space *s, const struct rec *r,
			  const struct waiting *w)
{
	struct frame *fr = &c->frames[r->frame];
	enum policy_kind kind = fr->marker ? POLICY_MARKER : POLICY_SOFT;

	c->st->stats.markers_hit += fr->marker;
	await(fr, w);
	frame_install(c, (uint32_t)r->frame);
	ahead_run(c, s, w, kind);
}

/* The page is on its way already; hurry it if the store has not been asked. */
static void join(struct core *c, uint32_t f, const struct waiting *w)
{
	struct frame *fr = &c->frames[f];

	c->st->stats.faults_joined++;
	if (!fr->waited && !fr->submitted) {
		frame_unlist(c, f);
		frame_ask_push(c, f, true);
	}
	c->st->stats.markers_hit += fr->marker;
	fr->fetched = true;
	await(fr, w);
}

static void fault_try(struct core *c, const struct waiting *w);

static void fault_known(struct core *c, struct space *s, struct chunk *ch, struct rec *r,
			const struct waiting *w)
{
	switch ((enum rec_state)r->state) {
	case REC_STANDBY:
		fault_standby(c, s, r, w);
		break;
	case REC_FETCHING:
		join(c, (uint32_t)r->frame, w);
		ahead_run(c, s, w, POLICY_JOINED);
		break;
	case REC_REMOTE:
		fault_remote(c, s, ch, w);
		break;
	case REC_LOST:
		/* Woken too early it would fault again and again, always before
		 * the event that must be read first. */
		if (c->b.capture->poison(c->b.capture_ctx, s->id, w->va & PAGE_MASK) == -EAGAIN)
			fault_wait(c, w);
		else
			wake(c, s->id, w->va);
		break;
	case REC_RESIDENT:
		fault_resident(c, s, ch, w);
		break;
	case REC_MOVING: /* in scratch, since nobody moves it */
		if (take_page_in(c, s, ch, page_idx(w->va)))
			fault_try(c, w);
		break;
	default:
		assert(r->state != REC_NONE);
	}
}

static void fault_try(struct core *c, const struct waiting *w)
{
	struct space *s = space_find(c, w->space);
	struct chunk *ch;
	struct rec *r;

	if (!s || s->gone || c->st->lost)
		return;
	if (s->nr_held || c->st->nr_doubts) {
		fault_wait(c, w);
		return;
	}
	ch = chunk_find(c, s, w->va);
	if (ch && (chunk_moving(c, ch) || page_placing(c, ch, page_idx(w->va)))) {
		wait_in_line(c, w);
		return;
	}
	r = ch ? chunk_rec(c, ch, page_idx(w->va)) : NULL;
	if (w->guarded && (!r || r->state == REC_NONE || r->state == REC_RESIDENT)) {
		write_try(c, s, ch, r, w);
		return;
	}
	if (w->guarded) /* and has left since: it comes back to be written to */
		ch->written = WRITTEN;
	if (r && r->state != REC_NONE) {
		fault_known(c, s, ch, r, w);
		return;
	}
	/* The kernel takes a fill of what the job has registered with a userfaultfd of its own,
	 * too: zeros, where only a message says that a fault is ours, if the range does not. */
	if (w->hint && !ranges_has(c, s, w->va & PAGE_MASK))
		return;
	if (!cap_allows(c, s, w->tid, 1)) {
		fault_wait(c, w);
		return;
	}
	ch = chunk_make(c, s, w->va);
	if (ch)
		fill_zeros(c, s, ch, w);
}

void core_fault(struct core *c, space_id sp, uint64_t va, uint64_t ip, uint32_t tid, bool write)
{
	struct waiting w = {
		.space = sp, .tid = tid, .va = va, .ip = ip, .since_ns = now_ns(c), .write = write};

	fault_try(c, &w);
}

void core_hint(struct core *c, space_id sp, uint64_t va, uint64_t ip, uint32_t tid, bool write)
{
	struct waiting w = {.space = sp,
			    .tid = tid,
			    .va = va,
			    .ip = ip,
			    .since_ns = now_ns(c),
			    .write = write,
			    .hint = true};

	fault_try(c, &w);
}

void core_write_fault(struct core *c, space_id sp, uint64_t va, uint32_t tid)
{
	struct waiting w = {.space = sp,
			    .tid = tid,
			    .va = va,
			    .since_ns = now_ns(c),
			    .write = true,
			    .guarded = true};

	fault_try(c, &w);
}

void faults_retry(struct core *c)
{
	struct state *st = c->st;

	for (uint32_t n = st->nr_waiting; n && !st->lost; n--) {
		struct waiting w = c->waiting[st->waiting_head];

		st->waiting_head = (st->waiting_head + 1) % MAX_WAITING;
		st->nr_waiting--;
		fault_try(c, &w);
	}
}
