/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that is slow, out of order, small and at times wrong; the clock, the
 * sum and the policy. It checks that the core keeps a store's rules: buffers
 * left alone, one request per slot, nothing read that was never written.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

static struct sim *sim_of(struct store *s)
{
	return (struct sim *)((uint8_t *)s - offsetof(struct sim, store));
}

/* Which one is asked. */
static unsigned int copy_of(uint8_t avoid)
{
	return (unsigned int)__builtin_ctz(~(unsigned int)avoid);
}

static unsigned int part_of(const struct sim *w, uint64_t slot)
{
	unsigned int i = 0;

	while (i + 1 < w->cfg.parts && slot >= w->store.part_end[i])
		i++;
	return i;
}

static void check_req(struct sim *w, const struct store_req *r)
{
	uint8_t *buf = r->buf;

	if (r->slot >= w->store.nr_slots)
		sim_fail(w, "slot %lu of %lu", (unsigned long)r->slot,
			 (unsigned long)w->store.nr_slots);
	if (buf < w->arena || buf + PAGE_BYTES > w->arena + w->cfg.nr_frames * PAGE_BYTES ||
	    (buf - w->arena) % (long)PAGE_BYTES)
		sim_fail(w, "buffer outside the frames");
	if (w->part_left[part_of(w, r->slot)])
		sim_fail(w, "slot %lu is of a part that has left", (unsigned long)r->slot);
	if (w->slot_state[r->slot] == SLOT_WRITING ||
	    (r->op == STORE_WRITE && w->slot_reads[r->slot]))
		sim_fail(w, "two requests in flight for slot %lu", (unsigned long)r->slot);
	if (r->op == STORE_READ && w->slot_state[r->slot] == SLOT_NEVER)
		sim_fail(w, "read of slot %lu, never written", (unsigned long)r->slot);
	/* Of a pool the parts with copies may have left meanwhile. */
	if (r->avoid &&
	    (r->op != STORE_READ ||
	     (!w->cfg.stack && (r->avoid >> w->cfg.copies || copy_of(r->avoid) == w->cfg.copies))))
		sim_fail(w, "no copy of slot %lu is right", (unsigned long)r->slot);
	for (unsigned int k = 0; k < w->nr_inflight; k++)
		if (w->inflight[k].buf == buf || w->inflight[k].tag == r->tag)
			sim_fail(w, "frame or tag in flight twice");
}

void sim_take_req(struct sim *w, const struct store_req *r)
{
	struct sim_req *q = &w->inflight[w->nr_inflight];

	check_req(w, r);
	*q = (struct sim_req){.slot = r->slot,
			      .buf = r->buf,
			      .tag = r->tag,
			      .op = r->op,
			      .avoid = r->avoid,
			      .urgent = r->urgent};
	if (r->op == STORE_WRITE) {
		if (!sim_value(r->buf, &q->value))
			sim_fail(w, "torn page written to slot %lu", (unsigned long)r->slot);
		if (!q->value)
			sim_fail(w, "a page of zeros is written to the store");
		w->slot_state[r->slot] = SLOT_WRITING;
	} else {
		w->slot_reads[r->slot]++;
	}
	w->nr_inflight++;
	sim_event(w, EV_SUBMIT, r->slot, r->tag, r->op | (uint64_t)r->urgent << 1);
}

static void take(struct sim *w, const struct store_req *r)
{
	sim_take_req(w, r);
	if (r->op == STORE_READ)
		((uint64_t *)r->buf)[sim_below(w, 512)] ^= 0xdeadbeef;
}

/* What is waited for is asked for before what is not. A remap may change who
 * waits for what was asked. */
void sim_check_order(struct sim *w, const struct store_req *req, unsigned int nr)
{
	for (unsigned int k = 1; k < nr && !w->cfg.ops[MOP_MREMAP]; k++)
		if (req[k].op == STORE_READ && req[k].urgent && !req[k - 1].urgent)
			sim_fail(w, "a thread waits for slot %lu behind bulk",
				 (unsigned long)req[k].slot);
}

static int sim_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct sim *w = sim_of(s);
	unsigned int n = 0;

	sim_check_order(w, req, nr);
	if (w->store_dead)
		return -EPIPE;
	while (n < nr && w->nr_inflight + w->nr_done < w->cfg.store_depth &&
	       (w->draining || sim_below(w, 8)))
		take(w, &req[n++]);
	return (int)n;
}

/* What a bad server does: a bit, a stale page, somebody else's page, zeros. */
static uint64_t spoil(struct sim *w, uint64_t slot, uint64_t value)
{
	uint64_t bad = value;

	switch (sim_below(w, 4)) {
	case 0:
		bad = value ^ 1ULL << sim_below(w, 64);
		break;
	case 1:
		bad = w->slot_before[slot];
		break;
	case 2:
		bad = w->slot_value[sim_below(w, (unsigned int)w->store.nr_slots)];
		break;
	default:
		bad = 0;
	}
	if (bad != value)
		w->corrupted = true;
	return bad;
}

/* Of several copies one is right: the last that is asked. */
static uint64_t spoil_copy(struct sim *w, const struct sim_req *q, uint64_t value)
{
	bool corrupted = w->corrupted;

	if (copy_of(q->avoid) + 1U < w->cfg.copies)
		value = spoil(w, q->slot, value);
	w->corrupted = corrupted; /* nobody may notice */
	return value;
}

static int finish_read(struct sim *w, const struct sim_req *q)
{
	uint64_t value = w->slot_value[q->slot];

	w->slot_reads[q->slot]--;
	if (sim_pct(w, w->cfg.store_err_pct))
		return -EIO;
	if (w->cfg.corrupt_pct && sim_pct(w, w->cfg.corrupt_pct))
		value = w->cfg.copies > 1 ? spoil_copy(w, q, value) : spoil(w, q->slot, value);
	sim_expand(q->buf, value);
	w->reads++;
	return 0;
}

static int finish_write(struct sim *w, const struct sim_req *q)
{
	uint64_t value;

	if (!sim_value(q->buf, &value) || value != q->value)
		sim_fail(w, "the buffer of slot %lu changed in flight", (unsigned long)q->slot);
	w->slot_before[q->slot] = w->slot_value[q->slot];
	if (sim_pct(w, w->cfg.store_err_pct)) {
		/* Nobody may rely on the slot before a write has succeeded. */
		w->slot_value[q->slot] = ~value;
		w->slot_state[q->slot] = SLOT_NEVER;
		return -EIO;
	}
	w->slot_value[q->slot] = value;
	w->slot_state[q->slot] = SLOT_WRITTEN;
	return 0;
}

static void complete(struct sim *w, unsigned int k)
{
	struct sim_req q = w->inflight[k];
	int res;

	w->nr_inflight--;
	memmove(&w->inflight[k], &w->inflight[k + 1], (w->nr_inflight - k) * sizeof(q));
	res = q.op == STORE_READ ? finish_read(w, &q) : finish_write(w, &q);
	w->done[w->nr_done++] =
		(struct store_done){.tag = q.tag, .res = res, .from = (uint8_t)copy_of(q.avoid)};
	sim_event(w, EV_DONE, q.slot, q.tag, (uint64_t)(int64_t)res);
}

void sim_store_step(struct sim *w, bool all)
{
	if (w->cfg.stack) {
		sim_stack_step(w, all);
		return;
	}
	if (w->store_dead)
		return;
	if (w->cfg.store_dies && !w->draining && !sim_below(w, 2000)) {
		w->store_dead = true;
		return;
	}
	do {
		if (!w->nr_inflight)
			return;
		complete(w, w->cfg.in_order ? 0 : sim_below(w, w->nr_inflight));
	} while (all || (w->cfg.in_order && sim_below(w, 8)));
}

static int sim_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct sim *w = sim_of(s);
	unsigned int n = 0;

	if (w->store_dead)
		return -EPIPE;
	while (n < max && w->nr_done) {
		unsigned int k = w->cfg.in_order ? 0 : sim_below(w, w->nr_done);

		out[n++] = w->done[k];
		w->nr_done--;
		memmove(&w->done[k], &w->done[k + 1], (w->nr_done - k) * sizeof(w->done[0]));
	}
	return (int)n;
}

/* What a part that has left had is nobody's business any more. */
static void sim_leave_part(struct store *s, unsigned int part)
{
	struct sim *w = sim_of(s);

	if (part >= w->cfg.parts || (w->part_left[part] && !w->crashed))
		sim_fail(w, "part %u leaves", part);
	for (unsigned int k = 0; k < w->nr_inflight; k++)
		if (part_of(w, w->inflight[k].slot) == part)
			sim_fail(w, "slot %lu is in flight, its part leaves",
				 (unsigned long)w->inflight[k].slot);
	w->part_left[part] = true;
}

void sim_store_join(struct sim *w)
{
	core_keep_lent(w->core);
	w->store.ops = &sim_store_ops; /* the next process finds it so, if this one dies now */
	w->store.nr_slots += SIM_MORE;
	if (core_join(w->core, &w->store))
		sim_fail(w, "more slots can't be taken");
}

void sim_store_drain(struct sim *w)
{
	int err = core_drain(w->core, sim_below(w, w->cfg.parts));

	if (err && err != -ENOSPC)
		sim_fail(w, "a part can't be drained: %d", err);
}

void sim_store_drained(struct sim *w)
{
	const struct core_stats *st = core_stats(w->core);

	for (unsigned int i = 0; i < w->cfg.parts && !w->lost; i++)
		if (st->part[i] == PART_DRAINS && w->cfg.roomy && !w->store.gone_parts)
			sim_fail(w, "part %u still has %lu pages", i,
				 (unsigned long)st->part_pages[i]);
}

static int sim_pollfd(struct store *s)
{
	(void)s;
	return -1;
}

static void sim_close(struct store *s)
{
	(void)s;
}

const struct store_ops sim_store_ops = {
	.scheme = "sim",
	.submit = sim_submit,
	.reap = sim_reap,
	.pollfd = sim_pollfd,
	.leave = sim_leave_part,
	.close = sim_close,
};

/* What is not there, or is about to be another, must not be used: it would be wrong. */
static const void *sim_page(struct store *s, uint64_t slot)
{
	static uint8_t pages[SIM_MAX_SLOTS][PAGE_BYTES] __attribute__((aligned(4096)));
	struct sim *w = sim_of(s);
	uint64_t value = w->slot_value[slot];

	sim_expand(pages[slot], w->slot_state[slot] == SLOT_WRITTEN ? value : ~value);
	return pages[slot];
}

const struct store_ops sim_lending_ops = {
	.scheme = "sim",
	.submit = sim_submit,
	.reap = sim_reap,
	.page = sim_page,
	.pollfd = sim_pollfd,
	.leave = sim_leave_part,
	.close = sim_close,
};

static bool sim_pressed(void *ctx)
{
	struct sim *w = ctx;

	return sim_pct(w, w->cfg.pressed_pct);
}

static uint64_t sim_now(void *ctx)
{
	return ((struct sim *)ctx)->now_ns;
}

/* Position counts, so that a swap of two words shows, too. */
static uint64_t sim_sum(void *ctx, const void *page)
{
	const uint64_t *word = page;
	uint64_t h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, all = 0;

	(void)ctx;
	for (unsigned int k = 0; k < PAGE_BYTES / sizeof(*word); k += 8)
		for (unsigned int j = 0; j < 8; j++)
			h[j] = (h[j] >> 32 ^ h[j] ^ word[k + j]) * 0x9e3779b97f4a7c15ULL;
	for (unsigned int j = 0; j < 8; j++)
		all = (all ^ h[j] ^ h[j] >> 31) * 0xbf58476d1ce4e5b9ULL;
	return all;
}

/* Is so much of memory unable to leave that the cap can't be kept? */
static bool mostly_stuck(const struct sim *w)
{
	unsigned int stuck = 0;

	for (unsigned int s = 0; s < MODEL_SPACES; s++) {
		bool unready = w->sp[s].agent != AGENT_READY;

		for (unsigned int i = 0; w->m.space[s].used && i < w->m.nr_pages; i++) {
			const struct mpage *p = &w->m.space[s].page[i];

			if (p->phys > 1 &&
			    (unready || !(p->flags & PF_REG) || (p->flags & PF_LOCKED) ||
			     !(p->prot & PROT_W) || w->m.phys[p->phys].pins))
				stuck++;
		}
	}
	return stuck * 2 + w->cfg.nr_frames >= w->cfg.cap_pages;
}

/* What came just before a crash may look as if it were still to be thrown away, until
 * every thread has been seen outside a call: one waits in a call, for room. */
static bool held_since_crash(const struct sim *w)
{
	for (unsigned int s = 0; s < MODEL_SPACES && w->takeovers; s++)
		if (w->sp[s].quiescing)
			return true;
	return false;
}

static bool may_be_lost(const struct sim *w, enum core_loss why, space_id sp, int err)
{
	switch (why) {
	case LOSS_SUM:
		return w->corrupted;
	case LOSS_STORE: /* also where the only copy that is whole has given a wrong page */
		return w->cfg.stack ? w->stack.excused || w->corrupted
				    : w->store_dead || w->cfg.store_err_pct;
	case LOSS_SPACE: /* a fork and a remap whose order can't be told; or a fork that is told
			  * again after a crash, whose child has gone on */
		return w->sp[w->by_id[sp.v & 0xffff]].forked || w->m.unordered ||
		       (err == -EAGAIN && w->takeovers);
	case LOSS_FULL:
		return !w->cfg.roomy || w->cfg.parts;
	case LOSS_CAP:
		return w->cfg.agent_fail_pct || !w->cfg.quiesce || mostly_stuck(w) ||
		       held_since_crash(w);
	default:
		return false;
	}
}

static void sim_lost(void *ctx, enum core_loss why, space_id sp, uint64_t va, int err)
{
	struct sim *w = ctx;

	sim_event(w, EV_LOST, why, sp.v, va);
	if (w->lost)
		sim_fail(w, "lost() twice");
	if (!may_be_lost(w, why, sp, err))
		sim_fail(w, "lost(%d) without a reason: space %u va %lx err %d", why, sp.v,
			 (unsigned long)va, err);
	w->lost = true;
	w->lost_why = why;
}

const struct env_ops sim_env_ops = {
	.now_ns = sim_now,
	.sum = sim_sum,
	.pressed = sim_pressed,
	.lost = sim_lost,
};

/* Anywhere: near the fault, at the edges of everything, or nowhere. */
static uint64_t any_va(struct sim *w, uint64_t near)
{
	switch (sim_below(w, 6)) {
	case 0:
		return model_va(&w->m, sim_below(w, w->m.nr_pages)) + sim_below(w, 4096);
	case 1:
		return model_va(&w->m, 0) - (1 + sim_below(w, 4)) * PAGE_BYTES;
	case 2:
		return sim_pct(w, 50) ? sim_rnd(w) << 20 : -(uint64_t)sim_below(w, 8192);
	default:
		return near + sim_below(w, 5) * PAGE_BYTES - 2 * PAGE_BYTES;
	}
}

static struct policy_run any_run(struct sim *w, uint64_t near)
{
	struct policy_run run = {.va = any_va(w, near), .nr = 1 + sim_below(w, w->cfg.ahead_pages)};

	run.stride = ((int64_t)sim_below(w, 7) - 3) * (int64_t)PAGE_BYTES;
	if (sim_pct(w, 30))
		run.stride += sim_below(w, (uint32_t)PAGE_BYTES);
	run.marker = sim_pct(w, 50) ? sim_below(w, run.nr + 1) : POLICY_NO_MARKER;
	if (!sim_below(w, 50)) {
		run.nr = (uint32_t)sim_rnd(w);
		run.stride = (int64_t)(sim_rnd(w) << 16);
	}
	return run;
}

/* Plans that no good policy would make: the core must bear them. */
static void sim_plan(void *ctx, const struct policy_fault *f, struct policy_plan *plan)
{
	struct sim *w = ctx;
	unsigned int s;

	sim_space_of(w, f->space, &s);
	if (f->va & ~PAGE_MASK)
		sim_fail(w, "the policy is told of no page: %lx", (unsigned long)f->va);
	if (!w->cfg.ahead_pages)
		return;
	plan->zeros = sim_below(w, w->cfg.ahead_pages + 1);
	plan->nr_runs = sim_below(w, POLICY_RUNS + 1);
	for (unsigned int k = 0; k < plan->nr_runs; k++)
		plan->run[k] = any_run(w, f->va + PAGE_BYTES);
	plan->page = w->planned;
	plan->nr_pages = sim_below(w, 3) ? 0 : sim_below(w, w->cfg.ahead_pages + 1);
	for (unsigned int k = 0; k < plan->nr_pages; k++)
		w->planned[k] = any_va(w, f->va);
}

static void sim_unused(void *ctx, space_id space, uint64_t va)
{
	struct sim *w = ctx;
	unsigned int s;

	sim_space_of(w, space, &s);
	if (va & ~PAGE_MASK || !w->cfg.ahead_pages)
		sim_fail(w, "page %lx was never planned", (unsigned long)va);
}

static void sim_came(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		     unsigned int idx, unsigned int nr, enum policy_way way)
{
	if (idx + nr > CHUNK_PAGES || !nr || way > WAY_BACK || !room->now)
		sim_fail(ctx, "%u pages came at %u", nr, idx);
	pageset_add(&pc->kept, idx);
}

/* Any part of it, often all, sometimes nothing. */
static bool sim_leave(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		      const pageset *young, pageset *set)
{
	unsigned int mode = sim_below(ctx, 6);

	(void)room;
	(void)young;
	for (unsigned int i = 0; mode < 3 && i < CHUNK_WORDS; i++)
		set->w[i] &= mode == 0 ? 0 : mode == 1 ? pc->kept.w[i] : sim_rnd(ctx);
	if (mode == 5) /* not its business */
		set->w[sim_below(ctx, CHUNK_WORDS)] = ~0ULL;
	return sim_below(ctx, 2);
}

static void sim_forget(void *ctx, const struct policy_chunk *pc)
{
	(void)ctx;
	(void)pc;
}

const struct policy_ops sim_policy_ops = {
	.name = "sim",
	.plan = sim_plan,
	.unused = sim_unused,
	.came = sim_came,
	.leave = sim_leave,
	.forget = sim_forget,
};
