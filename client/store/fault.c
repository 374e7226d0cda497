/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault(KEY=VALUE,...,SPEC): a store that is slower and less trustworthy than the one behind
 * it, by chance and by seed. For tests, for measuring what a slower network would
 * cost, and for whoever wants to see that no wrong byte reaches a job.
 *
 *	delay=TIME   each request takes so much longer, and up to
 *	jitter=TIME  more, each its own
 *	fail=P       it is refused (EIO)
 *	stuck=P      it is taken and never answered
 *	lost=P       a write that is acknowledged and not done
 *	rot=P        a write with one bit changed on the way
 *	flip=P       a read with one bit changed
 *	zero=P       a read of zeros
 *	stale=P      a read of what the slot had before it was last written; of 256 slots
 *	swap=P       a read of another slot
 *	torn=P       a read, half of which is of another page
 *	seed=N       the same chances again, for the same requests in the same order
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/store/clock.h"
#include "client/store/open.h"
#include "common/base/err.h"
#include "common/base/units.h"

#define OPEN_MAX_REQS 4096U   /* taken and not yet told of */
#define PAST_SLOTS    256U    /* of which it is known what they held */
#define LOOK_NS	      200000U /* a timer costs some 10 us: what is late by less is looked for */
#define NEVER	      UINT64_MAX

enum chance { FAIL, STUCK, LOST, ROT, FLIP, ZERO, STALE, SWAP, TORN, CHANCES };

static const char *const chance_name[CHANCES] = {"fail", "stuck", "lost", "rot", "flip",
						 "zero", "stale", "swap", "torn"};

/* A request between submit and reap; its index is the tag that the store behind sees. */
struct request {
	struct store_req req;
	int res;
	uint8_t from;
	uint64_t late_ns, ready_ns;
	uint8_t *own; /* a changed copy of what is written; kept for later */
	uint32_t next_free;
};

/* What was written to one slot of past_every. */
struct past {
	uint8_t now[PAGE_BYTES], before[PAGE_BYTES];
	unsigned int versions;
};

struct fault_store {
	struct store store;
	struct store *kid;
	uint64_t delay_ns, jitter_ns, chance[CHANCES], rnd;
	int epoll_fd, timer_fd; /* -1: neither is needed */
	struct request open[OPEN_MAX_REQS];
	uint32_t free_head;
	uint32_t ready[OPEN_MAX_REQS], nr_ready; /* or to be so: the store behind has answered */
	struct past *past;			 /* PAST_SLOTS; NULL: none is needed */
	uint64_t past_every;
};

static struct fault_store *to_fault(struct store *s)
{
	return (struct fault_store *)s;
}

/* xorshift64*, Marsaglia 2003, Vigna 2016. */
static uint64_t draw(struct fault_store *f)
{
	f->rnd ^= f->rnd >> 12;
	f->rnd ^= f->rnd << 25;
	f->rnd ^= f->rnd >> 27;
	return f->rnd * 0x2545f4914f6cdd1dULL;
}

static bool happens(struct fault_store *f, enum chance what)
{
	return f->chance[what] && draw(f) >> 32 < f->chance[what];
}

/* ---- pages that are not what they should be ---- */

static void remember(struct fault_store *f, const struct store_req *req)
{
	struct past *p = f->past ? &f->past[req->slot / f->past_every % PAST_SLOTS] : NULL;

	if (!p || req->slot % f->past_every)
		return;
	memcpy(p->before, p->now, PAGE_BYTES);
	memcpy(p->now, req->buf, PAGE_BYTES);
	p->versions += p->versions < 2;
}

/* What the slot held before it was last written. */
static const uint8_t *older(const struct fault_store *f, const struct store_req *req)
{
	const struct past *p = &f->past[req->slot / f->past_every % PAST_SLOTS];

	return req->slot % f->past_every || p->versions < 2 ? NULL : p->before;
}

static const uint8_t *another(struct fault_store *f, const struct store_req *req)
{
	uint64_t first = draw(f);

	for (uint64_t i = 0; i < PAST_SLOTS; i++) {
		const struct past *p = &f->past[(first + i) % PAST_SLOTS];

		if (p->versions && memcmp(p->now, req->buf, PAGE_BYTES))
			return p->now;
	}
	return NULL;
}

static void flip_bit(struct fault_store *f, uint8_t *page)
{
	uint64_t bit = draw(f) % (8 * PAGE_BYTES);

	page[bit / 8] ^= (uint8_t)(1U << bit % 8);
}

static void spoil_read(struct fault_store *f, const struct store_req *req)
{
	const uint8_t *other;

	if (happens(f, FLIP))
		flip_bit(f, req->buf);
	if (happens(f, ZERO))
		memset(req->buf, 0, PAGE_BYTES);
	other = happens(f, STALE) ? older(f, req) : NULL;
	if (other)
		memcpy(req->buf, other, PAGE_BYTES);
	other = happens(f, SWAP) ? another(f, req) : NULL;
	if (other)
		memcpy(req->buf, other, PAGE_BYTES);
	other = happens(f, TORN) ? another(f, req) : NULL;
	if (other)
		memcpy((char *)req->buf + PAGE_BYTES / 2, other + PAGE_BYTES / 2, PAGE_BYTES / 2);
}

/* The buffer is the core's, who will compare: a copy is spoiled. */
static void spoil_write(struct fault_store *f, struct request *r, struct store_req *out)
{
	remember(f, &r->req);
	if (!happens(f, ROT))
		return;
	if (!r->own)
		r->own = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
	if (!r->own)
		return;
	memcpy(r->own, r->req.buf, PAGE_BYTES);
	flip_bit(f, r->own);
	out->buf = r->own;
}

/* ---- requests ---- */

static void answer(struct fault_store *f, struct request *r, int res)
{
	r->res = res;
	r->ready_ns = r->late_ns ? store_now_ns() + r->late_ns : 0;
	f->ready[f->nr_ready++] = (uint32_t)(r - f->open);
}

/* True: the store behind is to have it, as *out. */
static bool take(struct fault_store *f, const struct store_req *req, struct store_req *out)
{
	uint32_t i = f->free_head;
	struct request *r = &f->open[i];

	f->free_head = r->next_free;
	r->req = *req;
	r->late_ns = f->delay_ns + (f->jitter_ns ? draw(f) % f->jitter_ns : 0);
	*out = *req;
	out->tag = i;
	if (happens(f, STUCK))
		return false;
	if (happens(f, FAIL)) {
		answer(f, r, -EIO);
		return false;
	}
	if (req->op == STORE_WRITE) {
		spoil_write(f, r, out);
		if (happens(f, LOST)) {
			answer(f, r, 0);
			return false;
		}
	}
	return true;
}

static int ask_kid(struct fault_store *f)
{
	struct store_done done[64];
	int n;

	while ((n = f->kid->ops->reap(f->kid, done, 64)) > 0) {
		for (int i = 0; i < n; i++) {
			struct request *r = &f->open[done[i].tag];

			if (r->req.op == STORE_READ && !done[i].res)
				spoil_read(f, &r->req);
			r->from = done[i].from;
			answer(f, r, done[i].res);
		}
	}
	return n;
}

/* Sleepers are woken for what is ready first. */
static void set_timer(struct fault_store *f)
{
	struct itimerspec t = {{0}, {0}};
	uint64_t first = NEVER;

	if (f->timer_fd < 0)
		return;
	for (uint32_t i = 0; i < f->nr_ready; i++)
		if (f->open[f->ready[i]].ready_ns < first)
			first = f->open[f->ready[i]].ready_ns;
	if (first != NEVER) {
		t.it_value.tv_sec = (time_t)(first / 1000000000);
		t.it_value.tv_nsec = (long)(first % 1000000000) + 1;
	}
	timerfd_settime(f->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static int fault_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct fault_store *f = to_fault(s);
	unsigned int taken = 0;
	int n = 1;

	/* One by one: what the store behind doesn't take now was never taken here. */
	while (taken < nr && f->free_head != UINT32_MAX && n > 0) {
		uint32_t i = f->free_head;
		uint64_t rnd = f->rnd;
		struct store_req out;

		if (take(f, &req[taken], &out))
			n = f->kid->ops->submit(f->kid, &out, 1);
		if (n > 0) {
			taken++;
			continue;
		}
		f->open[i].next_free = f->free_head;
		f->free_head = i;
		f->rnd = rnd;
	}
	if (n < 0 && !taken)
		return n;
	n = ask_kid(f);
	set_timer(f);
	return n < 0 && !taken ? n : (int)taken;
}

static int fault_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct fault_store *f = to_fault(s);
	int lost = ask_kid(f);
	uint64_t now = f->nr_ready ? store_now_ns() : 0;
	unsigned int got = 0;

	for (uint32_t i = 0; i < f->nr_ready && got < max;) {
		struct request *r = &f->open[f->ready[i]];

		if (r->ready_ns > now) {
			i++;
			continue;
		}
		out[got++] = (struct store_done){.tag = r->req.tag, .res = r->res, .from = r->from};
		r->next_free = f->free_head;
		f->free_head = f->ready[i];
		f->ready[i] = f->ready[--f->nr_ready];
	}
	if (got)
		set_timer(f);
	return got ? (int)got : lost;
}

static int fault_pollfd(struct store *s)
{
	return to_fault(s)->epoll_fd;
}

static void fault_drop(struct store *s, uint64_t slot)
{
	struct store *kid = to_fault(s)->kid;

	if (kid->ops->drop)
		kid->ops->drop(kid, slot);
}

static void fault_close(struct store *s)
{
	struct fault_store *f = to_fault(s);

	if (!f)
		return;
	if (f->kid)
		f->kid->ops->close(f->kid);
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	if (f->timer_fd >= 0)
		close(f->timer_fd);
	for (uint32_t i = 0; i < OPEN_MAX_REQS; i++)
		free(f->open[i].own);
	free(f->past);
	free(f);
}

static const struct store_ops fault_ops = {
	.scheme = "fault",
	.submit = fault_submit,
	.reap = fault_reap,
	.pollfd = fault_pollfd,
	.drop = fault_drop,
	.close = fault_close,
};

/* ---- opening ---- */

static int parse_seed(const char *text, uint64_t *seed)
{
	char *end;

	errno = 0;
	*seed = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || !*seed)
		return err_set(-EINVAL, "'%.40s' is not a positive number", text);
	return 0;
}

static int parse_one(struct fault_store *f, const struct spec_param *p)
{
	if (!strcmp(p->key, "delay"))
		return units_parse_duration(p->value, &f->delay_ns);
	if (!strcmp(p->key, "jitter"))
		return units_parse_duration(p->value, &f->jitter_ns);
	if (!strcmp(p->key, "seed"))
		return parse_seed(p->value, &f->rnd);
	for (int i = 0; i < CHANCES; i++)
		if (!strcmp(p->key, chance_name[i]))
			return units_parse_chance(p->value, &f->chance[i]);
	return err_set(-EINVAL, "no such key: %.40s", p->key);
}

static int parse(struct fault_store *f, const struct spec *spec)
{
	if (spec->nr_kids != 1)
		return err_set(-EINVAL, "store fault stands before one other: write for example "
					"fault(delay=10us,ram)");
	f->rnd = 1;
	for (size_t i = 0; i < spec->nr_params; i++) {
		int err = parse_one(f, &spec->param[i]);
		char why[128];

		if (!err)
			continue;
		snprintf(why, sizeof(why), "%s", err_text(err));
		return err_set(err, "store fault: %s=%.40s: %s", spec->param[i].key,
			       spec->param[i].value, why);
	}
	f->rnd *= 0x9e3779b97f4a7c15ULL; /* small seeds begin with many zeros */
	return 0;
}

static int watch(struct fault_store *f, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	if (f->epoll_fd < 0)
		f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (f->epoll_fd < 0 || epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return err_set(-errno, "store fault: %s", strerror(errno));
	return 0;
}

static int prepare(struct fault_store *f)
{
	int kid_fd = f->kid->ops->pollfd(f->kid), err = 0;
	uint64_t late;

	f->store.nr_slots = f->kid->nr_slots;
	f->store.copies = f->kid->copies;
	f->past_every = (f->kid->nr_slots + PAST_SLOTS - 1) / PAST_SLOTS;
	late = f->delay_ns + f->jitter_ns;
	f->store.quick = late && late < LOOK_NS;
	f->past = f->chance[STALE] || f->chance[SWAP] || f->chance[TORN]
			  ? calloc(PAST_SLOTS, sizeof(*f->past))
			  : NULL;
	if (late && !f->store.quick) {
		f->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		err = f->timer_fd < 0 ? err_set(-errno, "store fault: %s", strerror(errno))
				      : watch(f, f->timer_fd);
	}
	if (!err && kid_fd >= 0)
		err = watch(f, kid_fd);
	return err;
}

/* Its dice are thrown anew by the next process. */
static void hand_over(const struct fault_store *f, struct handover *k)
{
	struct handed now = {.used = true};

	handed_add_fd(&now, f->epoll_fd);
	handed_add_fd(&now, f->timer_fd);
	handover_replace(k, &now);
}

static int fault_open(const struct spec *spec, const struct store_open_args *args,
		      struct store **out)
{
	struct fault_store *f = calloc(1, sizeof(*f));
	struct store_open_args kid = *args;
	int err;

	if (!f)
		return err_set(-ENOMEM, "store fault: out of memory");
	f->store.ops = &fault_ops;
	f->epoll_fd = f->timer_fd = -1;
	for (uint32_t i = 0; i < OPEN_MAX_REQS; i++)
		f->open[i].next_free = i + 1 < OPEN_MAX_REQS ? i + 1 : UINT32_MAX;
	err = parse(f, spec);
	kid.handover = handover_of_kid(args->handover, spec, 0);
	if (!err)
		err = args->open_kid(spec->kid[0], &kid, &f->kid);
	if (!err)
		err = prepare(f);
	if (err) {
		fault_close(&f->store);
		return err;
	}
	hand_over(f, args->handover);
	*out = &f->store;
	return 0;
}

const struct store_type store_fault_type = {
	.scheme = "fault",
	.survives = true,
	.usage = "fault(KEY=VALUE,...,SPEC)  another, made slower or wrong on purpose",
	.open = fault_open,
};
