/* SPDX-License-Identifier: Apache-2.0 */
/* mirror_flight: requests, from the one that came in to those that it becomes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/store/clock.h"
#include "client/store/mirror.h"
#include "common/base/err.h"
#include "common/base/log.h"

#define BATCH 64U
#define FRESH 64U /* reads of one batch in so many go to another copy than the fastest */

static char *bounce_of(const struct mirror *m, uint32_t i, unsigned int c)
{
	return m->bounce + ((uint64_t)i * MIRROR_COPIES + c) * PAGE_BYTES;
}

unsigned int mirror_live(const struct mirror *m)
{
	unsigned int n = 0;

	for (unsigned int c = 0; c < m->nr; c++)
		n += m->copy[c].state == COPY_LIVE;
	return n;
}

/* ---- which copies ---- */

static uint8_t in_state(const struct mirror *m, enum copy_state state)
{
	uint8_t set = 0;

	for (unsigned int c = 0; c < m->nr; c++)
		if (m->copy[c].state == state && !(m->dying >> c & 1))
			set |= (uint8_t)(1U << c);
	return set;
}

/* The fastest live one that has not been tried; MIRROR_COPIES: none. */
static unsigned int choose(const struct mirror *m, uint8_t tried)
{
	uint8_t live = in_state(m, COPY_LIVE);
	unsigned int best = MIRROR_COPIES;

	for (unsigned int c = 0; c < m->nr; c++)
		if (live >> c & 1 && !(tried >> c & 1) &&
		    (best == MIRROR_COPIES || m->copy[c].read_ns < m->copy[best].read_ns))
			best = c;
	return best;
}

/* Now and then another one, so that its time is known: for all of a batch, or neighbours
 * that are one read would be two. */
static unsigned int choose_first(struct mirror *m, const struct store_req *req)
{
	unsigned int first = choose(m, req->avoid), other;

	if (req->avoid || first == MIRROR_COPIES || m->batches % FRESH)
		return first;
	other = choose(m, (uint8_t)(1U << first));
	return other == MIRROR_COPIES ? first : other;
}

/* ---- flights ---- */

static uint32_t open_flight(struct mirror *m, const struct store_req *req, enum flight_kind kind)
{
	uint32_t i = m->free_head;
	struct flight *f = &m->flight[i];

	m->free_head = f->next_free;
	*f = (struct flight){.req = *req, .kind = (uint8_t)kind};
	m->place[i] = m->nr_active;
	m->active[m->nr_active++] = i;
	return i;
}

static void close_flight(struct mirror *m, uint32_t i)
{
	struct flight *f = &m->flight[i];
	uint32_t last = m->active[--m->nr_active];

	m->active[m->place[i]] = last;
	m->place[last] = m->place[i];
	f->kind = FLIGHT_FREE;
	f->next_free = m->free_head;
	m->free_head = i;
}

static void want(struct mirror *m, struct flight *f, uint8_t copies)
{
	m->nr_wanted += !f->wanted && copies;
	f->wanted |= copies;
}

static void want_none(struct mirror *m, struct flight *f, uint8_t copies)
{
	m->nr_wanted -= f->wanted && !(f->wanted & ~copies);
	f->wanted &= (uint8_t)~copies;
}

static void answer(struct mirror *m, struct flight *f, int res, unsigned int from)
{
	if (f->answered)
		return;
	f->answered = true;
	m->out[m->out_head++ % MIRROR_FLIGHTS] =
		(struct store_done){.tag = f->req.tag, .res = res, .from = (uint8_t)from};
}

/* Its next step, if it waits for no copy. */
static void settle_read(struct mirror *m, uint32_t i)
{
	struct flight *f = &m->flight[i];
	unsigned int c;

	if (f->answered || f->pending || f->wanted)
		return;
	c = choose(m, f->failed | f->req.avoid);
	if (c < MIRROR_COPIES)
		want(m, f, (uint8_t)(1U << c));
	else
		answer(m, f, f->err ? f->err : -EIO, 0);
}

static void settle_write(struct mirror *m, uint32_t i)
{
	struct flight *f = &m->flight[i];

	if (f->pending || f->wanted)
		return;
	m->writing[f->req.slot / 64] &= ~(1ULL << f->req.slot % 64);
	/* One that joins doesn't count: where all that are live refused, it is tried again, and
	 * they are not lost. Nor does one that is about to be buried. */
	if (!(f->done & in_state(m, COPY_LIVE))) {
		answer(m, f, f->err ? f->err : -EIO, 0);
		return;
	}
	/* What refused has an old page there, and may not be read again. */
	for (unsigned int c = 0; c < m->nr; c++)
		if (f->failed >> c & 1 && m->copy[c].state != COPY_LOST)
			copy_lose(m, c, strerror(-f->err));
	answer(m, f, 0, 0);
}

/* First from a live one, then to the one that joins, which done says. */
static void settle_copy(struct mirror *m, uint32_t i)
{
	struct flight *f = &m->flight[i];
	uint8_t joining = in_state(m, COPY_JOINING);
	unsigned int c;

	if (f->pending || f->wanted || f->answered)
		return;
	if (!joining || f->failed & joining || f->done & joining) {
		f->answered = true;
		heal_arrived(m, f->req.slot);
		for (c = 0; f->failed & joining && c < m->nr; c++)
			if (joining >> c & 1)
				copy_lose(m, c, strerror(-f->err));
		return;
	}
	if (f->done) {
		f->req.op = STORE_WRITE;
		want(m, f, joining);
		return;
	}
	c = choose(m, f->failed);
	if (c < MIRROR_COPIES)
		want(m, f, (uint8_t)(1U << c));
	else /* nobody has it: who joins can't be whole */
		for (c = 0; c < m->nr; c++)
			if (joining >> c & 1)
				copy_lose(m, c, "a page can't be read from the others");
}

static void settle(struct mirror *m, uint32_t i)
{
	static void (*const of[])(struct mirror *, uint32_t) = {
		[FLIGHT_READ] = settle_read,
		[FLIGHT_WRITE] = settle_write,
		[FLIGHT_COPY] = settle_copy,
	};
	struct flight *f = &m->flight[i];

	of[f->kind](m, i);
	if (f->answered && !f->pending && !f->wanted)
		close_flight(m, i);
}

void flight_begin(struct mirror *m, const struct store_req *req)
{
	bool is_read = req->op == STORE_READ;
	uint32_t i = open_flight(m, req, is_read ? FLIGHT_READ : FLIGHT_WRITE);
	unsigned int c;

	if (is_read) {
		c = choose_first(m, req);
		want(m, &m->flight[i], c < MIRROR_COPIES ? (uint8_t)(1U << c) : 0);
	} else {
		m->written[req->slot / 64] |= 1ULL << req->slot % 64;
		m->writing[req->slot / 64] |= 1ULL << req->slot % 64;
		want(m, &m->flight[i],
		     (uint8_t)(in_state(m, COPY_LIVE) | in_state(m, COPY_JOINING)));
	}
	settle(m, i);
}

void flight_begin_copy(struct mirror *m, uint64_t slot)
{
	struct store_req req = {.slot = slot, .op = STORE_READ};

	settle(m, open_flight(m, &req, FLIGHT_COPY));
}

/* ---- asking ---- */

/* The buffer of a page that is read is ours: a copy that is late would write into the
 * caller's after he has had his answer. */
static void *buffer(const struct mirror *m, uint32_t i, unsigned int c)
{
	const struct flight *f = &m->flight[i];

	if (f->kind == FLIGHT_WRITE)
		return f->req.buf;
	return bounce_of(m, i, f->req.op == STORE_READ ? c : 0);
}

static void asked(struct mirror *m, uint32_t i, unsigned int c, uint64_t now_ns)
{
	struct flight *f = &m->flight[i];

	want_none(m, f, (uint8_t)(1U << c));
	f->pending |= (uint8_t)(1U << c);
	f->asked_ns = now_ns;
	f->asked_tick = m->tick;
}

/* Hands @nr of them over; true: it may take more. */
static bool hand_over(struct mirror *m, unsigned int c, const struct store_req *req,
		      unsigned int nr, unsigned int *taken)
{
	struct store *s = m->copy[c].store;
	uint64_t now_ns = nr ? store_now_ns() : 0;
	int n = nr ? s->ops->submit(s, req, nr) : 0;

	if (n < 0)
		copy_lose(m, c, err_text(n));
	for (int k = 0; k < n; k++)
		asked(m, req[k].tag, c, now_ns);
	*taken += n > 0 ? (unsigned int)n : 0;
	return n == (int)nr;
}

/* Many at once: a store that combines neighbours must see them together. */
static unsigned int ask_copy(struct mirror *m, unsigned int c)
{
	struct store_req req[BATCH];
	unsigned int nr = 0, taken = 0;
	bool more = true;

	for (uint32_t k = 0; k < m->nr_active && more; k++) {
		uint32_t i = m->active[k];

		if (!(m->flight[i].wanted >> c & 1))
			continue;
		req[nr] = m->flight[i].req;
		req[nr].tag = i;
		req[nr].avoid = 0;
		req[nr++].buf = buffer(m, i, c);
		if (nr == BATCH) {
			more = hand_over(m, c, req, nr, &taken);
			nr = 0;
		}
	}
	if (more)
		hand_over(m, c, req, nr, &taken);
	return taken;
}

/* How many were taken. */
static unsigned int ask_all(struct mirror *m)
{
	unsigned int taken = 0;

	for (unsigned int c = 0; c < m->nr && m->nr_wanted; c++)
		if (m->copy[c].store && !(m->dying >> c & 1))
			taken += ask_copy(m, c);
	return taken;
}

/* ---- answers ---- */

static void count_time(struct copy *copy, uint64_t ns)
{
	copy->read_ns += ns / 16 - copy->read_ns / 16;
}

static void heard(struct mirror *m, unsigned int c, const struct store_done *done, uint64_t now_ns)
{
	uint32_t i = done->tag;
	struct flight *f = &m->flight[i];
	uint8_t bit = (uint8_t)(1U << c);

	m->copy[c].heard_tick = m->tick;
	f->pending &= (uint8_t)~bit;
	if (done->res) {
		f->failed |= bit;
		f->err = done->res;
	} else {
		f->done |= bit;
	}
	if (!done->res && f->kind == FLIGHT_READ) {
		count_time(&m->copy[c], now_ns - f->asked_ns);
		if (!f->answered)
			memcpy(f->req.buf, bounce_of(m, i, c), PAGE_BYTES);
		want_none(m, f, f->wanted);
		answer(m, f, 0, c);
	} else if (!done->res && f->kind == FLIGHT_COPY && f->req.op == STORE_READ && c) {
		memcpy(bounce_of(m, i, 0), bounce_of(m, i, c), PAGE_BYTES);
	}
	settle(m, i);
}

static void hear(struct mirror *m, unsigned int c)
{
	struct store *s = m->copy[c].store;
	struct store_done done[64];
	uint64_t now_ns;
	int n = 1;

	while (n > 0 && !(m->dying >> c & 1)) {
		n = s->ops->reap(s, done, 64);
		now_ns = n > 0 ? store_now_ns() : 0;
		if (n < 0)
			copy_lose(m, c, err_text(n));
		for (int k = 0; k < n; k++)
			heard(m, c, &done[k], now_ns);
	}
}

/* ---- loss ---- */

void copy_lose(struct mirror *m, unsigned int c, const char *why)
{
	if (m->copy[c].state == COPY_LOST || m->dying >> c & 1)
		return;
	m->dying |= (uint8_t)(1U << c);
	mirror_hand_over(m); /* before a write is acknowledged that it has not */
	log_warn("mirror: %s is lost (%s); %u %s left", m->copy[c].name, why,
		 (unsigned int)__builtin_popcount(in_state(m, COPY_LIVE)),
		 __builtin_popcount(in_state(m, COPY_LIVE)) == 1 ? "copy is" : "copies are");
}

static void bury(struct mirror *m, unsigned int c)
{
	uint8_t bit = (uint8_t)(1U << c);
	struct copy *copy = &m->copy[c];

	m->dying &= (uint8_t)~bit;
	__atomic_store_n(&copy->state, COPY_LOST, __ATOMIC_RELEASE); /* the prober looks */
	copy->read_ns = 0;
	handover_forget(copy->handover, handover_nodes(copy->spec));
	copy->store->ops->close(copy->store);
	copy->store = NULL;
	for (uint32_t i = 0; i < MIRROR_FLIGHTS; i++) {
		struct flight *f = &m->flight[i];

		bool concerned = (f->pending | f->wanted | f->done) & bit;

		/* Pages for a copy that joins have nowhere to go, if it was that one. */
		if (f->kind == FLIGHT_FREE || (f->kind != FLIGHT_COPY && !concerned))
			continue;
		want_none(m, f, bit);
		f->pending &= (uint8_t)~bit;
		f->done &= (uint8_t)~bit; /* what it has counts for nothing */
		settle(m, i);
	}
}

/* Slow is not late: as long as it answers anything. And nobody is late who is the only one. */
static bool is_late(const struct mirror *m, unsigned int c, uint32_t age)
{
	if (!(in_state(m, COPY_LIVE) & ~(1U << c)))
		return false;
	return age > MIRROR_STUCK ||
	       (age > MIRROR_LATE && m->tick - m->copy[c].heard_tick > MIRROR_LATE);
}

static void look_at_clock(struct mirror *m)
{
	for (uint32_t k = 0; k < m->nr_active; k++) {
		uint32_t i = m->active[k], age = m->tick - m->flight[i].asked_tick;
		struct flight *f = &m->flight[i];
		unsigned int first = f->pending ? (unsigned int)__builtin_ctz(f->pending) : 0, c;
		uint64_t usual = m->copy[first].read_ns * 4 / MIRROR_TICK_NS;

		if (!f->pending)
			continue;
		for (c = 0; c < m->nr; c++)
			if (f->pending >> c & 1 && is_late(m, c, age))
				copy_lose(m, c, "no answer for a second");
		if (f->kind != FLIGHT_READ || f->answered || f->wanted ||
		    age < MIRROR_HEDGE_MIN + (usual < 50 ? usual : 50))
			continue;
		c = choose(m, (uint8_t)(f->pending | f->failed | f->req.avoid));
		if (c < MIRROR_COPIES)
			want(m, f, (uint8_t)(1U << c));
	}
}

static void hear_all(struct mirror *m)
{
	for (unsigned int c = 0; c < m->nr; c++)
		if (m->copy[c].store && !(m->dying >> c & 1))
			hear(m, c);
}

void flights_run(struct mirror *m)
{
	uint64_t now = store_now_ns();
	unsigned int taken;

	/* However long we were away, that was one tick: nobody had time to answer. Who has
	 * answered meanwhile is not late. */
	if (now - m->tick_ns >= MIRROR_TICK_NS) {
		hear_all(m);
		m->tick_ns = now;
		m->tick++;
		look_at_clock(m);
	}
	do {
		while (m->dying)
			bury(m, (unsigned int)__builtin_ctz(m->dying));
		taken = ask_all(m);
		hear_all(m);
	} while (m->dying || (m->nr_wanted && taken));
}
