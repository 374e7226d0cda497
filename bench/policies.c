/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policies TRACE PAGES ROOM ACCESSES FETCH_US: how many pages rmem's core with its
 * default policy fetched, and how many those of the literature would have (classic.h), of
 * PAGES of which ROOM may be local. FETCH_US is what a page from the store takes, since
 * the policy weighs it. The core is the real one. The kernel below it is an array of
 * what is present and what was accessed; what the core can't see in life, such as an
 * access to a page that is present, it is not told here. TRACE:
 *
 *	zipf	pages by Zipf's law (exponent 0.99), scattered over all memory
 *	scan	half of the accesses to a hot set of two fifths of ROOM, half to all
 *		pages in order
 *	loop	5/4 of ROOM, in order, again and again
 *	sweep	all pages in order, again and again
 *	gather	15 of 16 accesses to a fifth of ROOM at random, the others to the rest in order
 *	turn	what is used changes: a loop over 5/4 of ROOM, then one over other pages
 *		that fit
 *	random	all pages alike
 */
#include <math.h>

#include "bench/classic.h"
#include "client/core/core.h"
#include "client/policy/streams.h"

#define BASE 0x7f0000000000ULL

static const space_id job = {1};

static struct {
	uint32_t pages, room;
	double *zipf; /* cumulative, by rank */
} trace;

/* ---- traces ---- */

static double chance(uint64_t i)
{
	return (double)(mix64(i * 2654435761 + 99) >> 11) / (double)(1ULL << 53);
}

static uint32_t scattered(uint64_t rank)
{
	return (uint32_t)(rank * 40503 % trace.pages); /* 40503 is prime: all differ */
}

static uint32_t by_zipf(uint64_t i)
{
	double x = chance(i) * trace.zipf[trace.pages - 1];
	uint32_t low = 0, high = trace.pages - 1;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (trace.zipf[mid] < x)
			low = mid + 1;
		else
			high = mid;
	}
	return scattered(low);
}

static uint32_t by_scan(uint64_t i)
{
	uint32_t hot = trace.room * 2 / 5;

	return i % 2 ? (uint32_t)(i / 2 % trace.pages) : scattered((uint64_t)(chance(i) * hot));
}

/* What is gathered from is in use all the time, what is gone through once a round. */
static uint32_t by_gather(uint64_t i)
{
	uint32_t hot = trace.room / 5;

	return i % 16 ? (uint32_t)(chance(i) * hot)
		      : hot + (uint32_t)(i / 16 % (trace.pages - hot));
}

static uint32_t by_loop(uint64_t i)
{
	return (uint32_t)(i % (trace.room + trace.room / 4));
}

static uint32_t by_sweep(uint64_t i)
{
	return (uint32_t)(i % trace.pages);
}

static uint32_t by_turn(uint64_t i)
{
	/* some rounds after the measured half of the accesses has begun */
	if (i < 17ULL * trace.pages)
		return by_loop(i);
	return (uint32_t)(trace.pages - 1 - i % (trace.room / 8 * 7));
}

static uint32_t at_random(uint64_t i)
{
	return (uint32_t)(chance(i) * trace.pages);
}

static const struct kind {
	const char *name;
	uint32_t (*page)(uint64_t i);
} kinds[] = {{"zipf", by_zipf},	    {"scan", by_scan}, {"loop", by_loop},    {"sweep", by_sweep},
	     {"gather", by_gather}, {"turn", by_turn}, {"random", at_random}};

static void trace_open(uint32_t pages, uint32_t room)
{
	double sum = 0;

	trace.pages = pages;
	trace.room = room;
	trace.zipf = malloc(pages * sizeof(*trace.zipf));
	for (uint32_t i = 0; trace.zipf && i < pages; i++)
		trace.zipf[i] = sum += 1 / pow(i + 1, 0.99);
	if (!trace.zipf || room < 4096 || room + room / 4 > pages || pages % 40503 == 0) {
		fprintf(stderr, "ROOM is at least 4096, and four fifths of PAGES at most\n");
		exit(2);
	}
}

/* ---- a kernel ---- */

static struct {
	struct core *core;
	void *arena;
	uint64_t arena_bytes;
	bool *present, *accessed;
	uint64_t *slot; /* the first word of what it holds */
	struct store store;
	struct store_done done[65536];
	unsigned int nr_done;
	bool asked;
	uint64_t moving_va, half_va[CORE_HALVES];
	pageset moving;
	unsigned int half;
	uint64_t ns, fetch_ns;
	bool blind; /* accesses are not known */
} w;

static uint32_t page_of(uint64_t va)
{
	return (uint32_t)((va - BASE) / PAGE_BYTES);
}

static int fill(void *ctx, space_id sp, uint64_t va, unsigned int nr, const void *const *src,
		bool *guard, unsigned int *done)
{
	(void)ctx;
	(void)sp;
	(void)src;
	*guard = false;
	for (*done = 0; *done < nr; ++*done) {
		uint32_t page = page_of(va) + *done;

		if (w.present[page])
			return -EEXIST;
		w.present[page] = w.accessed[page] = true; /* as UFFDIO_COPY maps it */
	}
	return 0;
}

static int fill_zero(void *ctx, space_id sp, uint64_t va, unsigned int nr, unsigned int *done)
{
	bool guard;

	return fill(ctx, sp, va, nr, NULL, &guard, done);
}

static void wake(void *ctx, space_id sp, uint64_t va, unsigned int nr)
{
	(void)ctx;
	(void)sp;
	(void)va;
	(void)nr;
}

static int scan(void *ctx, space_id sp, uint64_t chunk_va, bool movable, pageset *out)
{
	uint32_t first = page_of(chunk_va);

	(void)ctx;
	(void)sp;
	(void)movable;
	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < CHUNK_PAGES && first + i < trace.pages; i++)
		if (w.present[first + i])
			pageset_add(out, i);
	return 0;
}

static uint64_t next_present(void *ctx, space_id sp, uint64_t va, uint64_t end)
{
	(void)ctx;
	(void)sp;
	for (; va < end; va = (va & ~(CHUNK_BYTES - 1)) + CHUNK_BYTES)
		for (unsigned int i = 0; i < CHUNK_PAGES; i++)
			if (page_of(va) + i < trace.pages && w.present[page_of(va) + i])
				return va;
	return end;
}

static int ages(void *ctx, space_id sp, uint64_t chunk_va, pageset *young)
{
	uint32_t first = page_of(chunk_va);

	(void)ctx;
	(void)sp;
	if (w.blind)
		return -EOPNOTSUPP;
	memset(young, 0, sizeof(*young));
	for (unsigned int i = 0; i < CHUNK_PAGES && first + i < trace.pages; i++)
		if (w.present[first + i] && w.accessed[first + i])
			pageset_add(young, i);
	return 0;
}

static void age(void *ctx, space_id sp, uint64_t chunk_va, const pageset *set)
{
	uint32_t first = page_of(chunk_va);

	(void)ctx;
	(void)sp;
	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES; i = pageset_next(set, i + 1))
		w.accessed[first + i] = false;
}

static bool can_move(void *ctx, space_id sp)
{
	(void)ctx;
	(void)sp;
	return !w.asked;
}

static int move(void *ctx, space_id sp, unsigned int half, uint64_t chunk_va, const pageset *want,
		const pageset *known)
{
	(void)ctx;
	(void)known;
	(void)sp;
	if (w.asked)
		return -EAGAIN;
	w.asked = true;
	w.half = half;
	w.moving = *want;
	w.moving_va = w.half_va[half] = chunk_va;
	return 0;
}

static int copy_out(void *ctx, space_id sp, unsigned int half, const pageset *set,
		    void *const *frames)
{
	(void)ctx;
	(void)sp;
	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES; i = pageset_next(set, i + 1))
		*(uint64_t *)*frames++ = page_of(w.half_va[half]) + i + 1;
	return 0;
}

static void drop(void *ctx, space_id sp, unsigned int half)
{
	(void)ctx;
	(void)sp;
	(void)half;
}

static int quiesce(void *ctx, space_id sp)
{
	(void)ctx;
	(void)sp;
	return -EOPNOTSUPP;
}

static const struct capture_ops capture = {
	.fill = fill,
	.fill_zero = fill_zero,
	.wake = wake,
	.scan = scan,
	.ages = ages,
	.age = age,
	.next_present = next_present,
	.can_move = can_move,
	.move = move,
	.copy_out = copy_out,
	.drop = drop,
	.quiesce = quiesce,
};

/* ---- a store, a clock ---- */

static int store_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	(void)s;
	for (unsigned int i = 0; i < nr; i++) {
		uint64_t *word = req[i].buf;

		w.ns += req[i].urgent ? w.fetch_ns : 0;

		w.done[w.nr_done++] = (struct store_done){.tag = req[i].tag};
		if (req[i].op == STORE_WRITE)
			w.slot[req[i].slot] = *word;
		else
			*word = w.slot[req[i].slot];
	}
	return (int)nr;
}

static int store_reap(struct store *s, struct store_done *out, unsigned int max)
{
	unsigned int n = w.nr_done < max ? w.nr_done : max;

	(void)s;
	memcpy(out, w.done, n * sizeof(*out));
	memmove(w.done, w.done + n, (w.nr_done - n) * sizeof(*out));
	w.nr_done -= n;
	return (int)n;
}

static const struct store_ops store_ops = {.submit = store_submit, .reap = store_reap};

static uint64_t clock_ns(void *ctx)
{
	(void)ctx;
	return w.ns += 1000;
}

static uint64_t sum(void *ctx, const void *page)
{
	(void)ctx;
	return *(const uint64_t *)page;
}

static void lost(void *ctx, enum core_loss why, space_id sp, uint64_t va, int err)
{
	(void)ctx;
	(void)sp;
	fprintf(stderr, "the core stopped: %d at %#lx, %d\n", (int)why, va, err);
	exit(1);
}

static const struct env_ops env = {.now_ns = clock_ns, .sum = sum, .lost = lost};

/* ---- the core on them ---- */

static void moved(void)
{
	const pageset none = {{0}};

	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		if (pageset_has(&w.moving, i))
			w.present[page_of(w.moving_va) + i] = false;
	w.asked = false;
	core_moved(w.core, job, w.half, &w.moving, &none, &none, &none, false);
}

static void drive(void)
{
	while (core_run(w.core) || w.asked)
		if (w.asked)
			moved();
}

static void core_begin(struct streams *policy)
{
	uint32_t frames = trace.room / 16;
	struct core_config cfg = {.cap_bytes = trace.room * PAGE_BYTES, .nr_frames = frames};
	struct core_binds binds = {.capture = &capture,
				   .policy = &policy_streams,
				   .policy_ctx = policy,
				   .env = &env,
				   .store = &w.store};

	w.arena_bytes = (64UL << 20) + trace.pages * 64UL + (uint64_t)frames * 2 * PAGE_BYTES;
	w.arena = map_bytes(w.arena_bytes);
	w.present = calloc(trace.pages, 1);
	w.accessed = calloc(trace.pages, 1);
	w.slot = calloc(2 * trace.pages, sizeof(*w.slot));
	w.store = (struct store){.ops = &store_ops, .nr_slots = 2 * trace.pages};
	if (!w.present || !w.accessed || !w.slot ||
	    core_open(w.arena, w.arena_bytes, &cfg, &binds, &w.core) ||
	    core_space_add(w.core, job) ||
	    core_range_added(w.core, job, BASE, BASE + trace.pages * PAGE_BYTES)) {
		fprintf(stderr, "the core can't be opened for %u pages\n", trace.pages);
		exit(1);
	}
	core_agent_ready(w.core, job);
}

static void core_end(void)
{
	core_close(w.core);
	munmap(w.arena, w.arena_bytes);
	free(w.present);
	free(w.accessed);
	free(w.slot);
	w.nr_done = 0;
}

static void access_core(uint32_t page)
{
	while (!w.present[page]) {
		core_fault(w.core, job, BASE + page * PAGE_BYTES, 0x400000, 7, false);
		drive();
	}
	w.accessed[page] = true;
}

/* ---- measured: the second half of the accesses; first touches never count ---- */

static uint64_t misses_of_core(const struct kind *kind, uint64_t accesses, bool blind)
{
	static struct streams policy;
	uint64_t before = 0, misses;

	policy = (struct streams){.tick = 0};
	w.blind = blind;
	core_begin(&policy);
	for (uint64_t i = 0; i < accesses; i++) {
		if (i == accesses / 2)
			before = core_stats(w.core)->pages_fetched;
		access_core(kind->page(i));
	}
	misses = core_stats(w.core)->pages_fetched - before;
	core_check(w.core);
	core_end();
	return misses;
}

static uint64_t misses_of(const struct classic *policy, const struct kind *kind, uint64_t accesses)
{
	bool *seen = calloc(trace.pages, 1);
	struct cache c;
	uint64_t misses = 0;

	cache_open(&c, trace.room, trace.pages);
	for (uint64_t i = 0; i < accesses; i++) {
		uint32_t page = kind->page(i);
		bool hit = policy->access(&c, page);

		misses += !hit && seen[page] && i >= accesses / 2;
		seen[page] = true;
	}
	cache_close(&c);
	free(seen);
	return misses;
}

int main(int argc, char **argv)
{
	const struct kind *kind = NULL;
	uint64_t accesses;

	for (size_t i = 0; argc == 6 && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(argv[1], kinds[i].name))
			kind = &kinds[i];
	if (!kind) {
		fprintf(stderr, "usage: policies zipf|scan|loop|sweep|gather|turn|random PAGES "
				"ROOM ACCESSES"
				" FETCH_US\n");
		return 2;
	}
	alarm(LIMIT_S);
	trace_open((uint32_t)number(argv[2]), (uint32_t)number(argv[3]));
	accesses = number(argv[4]);
	w.fetch_ns = number(argv[5]) * 1000;
	printf("{\"rmem\": %lu, ", misses_of_core(kind, accesses, false));
	printf("\"rmem, faults alone\": %lu", misses_of_core(kind, accesses, true));
	for (size_t i = 0; i < sizeof(classics) / sizeof(*classics); i++)
		printf(", \"%s\": %lu", classics[i].name, misses_of(&classics[i], kind, accesses));
	printf("}\n");
	return 0;
}
