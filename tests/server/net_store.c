/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/server/net_store.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/err.h"

struct rmemd r;
static char *bufs;

char *net_buf(uint32_t i)
{
	return bufs + i * PAGE_BYTES;
}

int net_prepare(void **state)
{
	(void)state;
	rmemd_prepare(&r);
	bufs = mmap(NULL, NET_BUFS * PAGE_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return bufs == MAP_FAILED;
}

int net_cleanup(void **state)
{
	(void)state;
	munmap(bufs, NET_BUFS * PAGE_BYTES);
	rmemd_cleanup(&r);
	return 0;
}

int net_open(const struct store_type *type, const char *rest, const char *timeout, uint64_t bytes,
	     unsigned int ms, struct store **out)
{
	struct spec spec = {.scheme = (char *)type->scheme, .rest = (char *)rest};
	struct store_open_args args = {.bytes = bytes, .sock_fd = -1, .timeout_ms = ms};

	if (timeout) {
		spec.param[0] =
			(struct spec_param){.key = (char *)"timeout", .value = (char *)timeout};
		spec.nr_params = 1;
	}
	err_clear();
	return type->open(&spec, &args, out);
}

void net_expect_no(const struct store_type *type, const char *rest, uint64_t bytes, int code,
		   const char *says)
{
	struct store *s = NULL;

	assert_int_equal(net_open(type, rest, NULL, bytes, 300, &s), code);
	assert_null(s);
	if (!strstr(err_text(code), says))
		fail_msg("expected \"%s\" in \"%s\"", says, err_text(code));
}

static void fill(char *page, uint64_t slot, uint32_t generation)
{
	uint64_t *w = (uint64_t *)page;

	for (size_t i = 0; i < PAGE_BYTES / 8; i++)
		w[i] = slot * 1000003 + generation * 7919ULL + i;
}

static bool is_filled(const char *page, uint64_t slot, uint32_t generation)
{
	const uint64_t *w = (const uint64_t *)page;

	for (size_t i = 0; i < PAGE_BYTES / 8; i++)
		if (w[i] != slot * 1000003 + generation * 7919ULL + i)
			return false;
	return true;
}

int net_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};
	int n = s->ops->reap(s, out, max);

	for (int i = 0; !n && i < 1000; i++) {
		int ready = poll(&p, 1, PATIENCE_MS);

		assert_true(ready == 1 || (ready < 0 && errno == EINTR));
		n = s->ops->reap(s, out, max);
	}
	return n;
}

/* ---- many requests, any order ---- */

#define NR_SLOTS 3000U

struct load {
	struct store *store;
	uint32_t generation[NR_SLOTS]; /* what was written last; 0: zeros */
	bool busy[NR_SLOTS];
	bool used[NET_BUFS]; /* buffer and tag in flight */
	struct store_req req[NET_BUFS];
	unsigned int in_flight;
	uint64_t slot_step;
};

static uint32_t pick_buf(struct load *l)
{
	uint32_t i = (uint32_t)rand() % NET_BUFS;

	while (l->used[i])
		i = (i + 1) % NET_BUFS;
	return i;
}

/* A run of neighbours, or single ones anywhere; never two for a slot. */
static unsigned int make_batch(struct load *l, struct store_req *req, unsigned int max)
{
	unsigned int n = 0;
	bool is_run = rand() % 2, is_write = rand() % 2, urgent = rand() % 2;
	uint32_t at = (uint32_t)rand() % NR_SLOTS;

	for (unsigned int tries = 0; n < max && tries < 2 * max && l->in_flight + n < NET_BUFS;
	     tries++) {
		uint32_t b;

		at = is_run ? (at + 1) % NR_SLOTS : (uint32_t)rand() % NR_SLOTS;
		if (l->busy[at])
			continue;
		b = pick_buf(l);
		l->busy[at] = l->used[b] = true;
		req[n] = (struct store_req){.slot = at * l->slot_step,
					    .buf = net_buf(b),
					    .tag = b,
					    .op = is_write ? STORE_WRITE : STORE_READ,
					    .urgent = urgent && !is_write};
		if (is_write)
			fill(net_buf(b), at, l->generation[at] + 1);
		else
			memset(net_buf(b), 0xee, PAGE_BYTES);
		n++;
	}
	return n;
}

static void submit_batch(struct load *l, struct store_req *req, unsigned int n)
{
	int taken = l->store->ops->submit(l->store, req, n);

	assert_true(taken >= 0);
	for (unsigned int i = 0; i < n; i++) {
		if (i < (unsigned int)taken) {
			l->req[req[i].tag] = req[i];
			l->in_flight++;
		} else {
			l->busy[req[i].slot / l->slot_step] = false;
			l->used[req[i].tag] = false;
		}
	}
}

static void check_done(struct load *l, const struct store_done *d)
{
	const struct store_req *req = &l->req[d->tag];
	uint32_t at = (uint32_t)(req->slot / l->slot_step);

	assert_true(d->tag < NET_BUFS && l->used[d->tag]); /* once, and asked for */
	assert_int_equal(d->res, 0);
	if (req->op == STORE_WRITE)
		l->generation[at]++;
	else if (l->generation[at])
		assert_true(is_filled(req->buf, at, l->generation[at]));
	else
		assert_int_equal(*(uint64_t *)req->buf, 0);
	l->busy[at] = l->used[d->tag] = false;
	l->in_flight--;
}

void net_load(struct store *s, unsigned int rounds)
{
	struct load *l = calloc(1, sizeof(*l));
	struct store_req req[64];
	struct store_done done[64];

	assert_non_null(l);
	l->store = s;
	l->slot_step = (s->nr_slots - 1) / NR_SLOTS; /* over all slabs and parts ... */
	if (rand() % 2)
		l->slot_step = 1; /* ... or neighbours */
	for (unsigned int i = 0; i < rounds || l->in_flight; i++) {
		int n = 0;

		if (i < rounds)
			submit_batch(l, req, make_batch(l, req, (unsigned int)rand() % 64 + 1));
		if (l->in_flight)
			n = net_reap(s, done, (unsigned int)rand() % 64 + 1);
		assert_true(n >= 0);
		for (int k = 0; k < n; k++)
			check_done(l, &done[k]);
	}
	assert_int_equal(s->ops->reap(s, done, 64), 0);
	free(l);
}

unsigned int net_submit_writes(struct store *s, unsigned int nr)
{
	unsigned int taken = 0;

	for (; taken < nr; taken++) {
		struct store_req req = {.slot = taken * 2,
					.buf = net_buf(taken % NET_BUFS),
					.tag = taken,
					.op = STORE_WRITE};

		if (s->ops->submit(s, &req, 1) != 1)
			break;
	}
	return taken;
}

void net_expect_lost(struct store *s, const char *says)
{
	struct store_req req = {.slot = 0, .buf = bufs, .op = STORE_WRITE};
	struct store_done done[64];
	struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};
	int n = 0;

	for (int i = 0; n >= 0 && i < 1000; i++) {
		int ready = poll(&p, 1, PATIENCE_MS);

		assert_true(ready == 1 || (ready < 0 && errno == EINTR));
		n = s->ops->reap(s, NULL, 0);
		if (n >= 0)
			n = s->ops->reap(s, done, 64);
		for (int k = 0; k < n; k++)
			assert_int_equal(done[k].res, 0);
	}
	assert_int_equal(n, -EPIPE);
	if (!strstr(err_text(n), says))
		fail_msg("expected \"%s\" in \"%s\"", says, err_text(n));
	err_clear();
	assert_int_equal(s->ops->submit(s, &req, 1), -EPIPE);
	assert_int_equal(s->ops->reap(s, done, 1), -EPIPE);
	assert_int_equal(s->ops->reap(s, NULL, 0), -EPIPE);
	assert_non_null(strstr(err_text(-EPIPE), says));
	s->ops->close(s);
}
