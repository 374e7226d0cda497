/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PATTERN MIB COUNT: fills memory, then touches one word in COUNT pages, one
 * thread, and times each access. PATTERN is random-read, random-write,
 * sequential-read, sequential-write, strides (17 pages) or streams (8 by
 * turns). Every page is checked as it is read.
 *
 * An access that took longer than REFAULT_NS is counted as a refault: one in
 * memory, missing all caches and the TLB, stays far below.
 */
#ifndef RMEM_BENCH_WORKLOAD_H
#define RMEM_BENCH_WORKLOAD_H

#include "bench/bench.h"

#define REFAULT_NS 1500U

struct series {
	uint32_t *ns; /* of each access */
	uint64_t nr;
	uint64_t total_ns;
};

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void print_part(const char *prefix, const uint32_t *ns, uint64_t nr)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < nr; i++)
		sum += ns[i];
	printf(", \"%s_mean_ns\": %lu, \"%s_p50_ns\": %u, \"%s_p99_ns\": %u", prefix,
	       nr ? sum / nr : 0, prefix, nr ? ns[nr / 2] : 0, prefix, nr ? ns[nr * 99 / 100] : 0);
}

static void report(struct series *s, uint64_t fill_ns)
{
	uint64_t first = 0;

	qsort(s->ns, s->nr, sizeof(*s->ns), by_value);
	while (first < s->nr && s->ns[first] <= REFAULT_NS)
		first++;
	printf("{\"fill_ns\": %lu, \"access_ns\": %lu, \"count\": %lu, \"refaults\": %lu", fill_ns,
	       s->total_ns, s->nr, s->nr - first);
	print_part("access", s->ns, s->nr);
	print_part("refault", s->ns + first, s->nr - first);
	printf("}\n");
}

/* The word in the middle is the one written; the first tells whose page it is. */
static void touch(uint64_t *page, uint64_t idx, int write)
{
	volatile uint64_t *word = page;

	if (write)
		word[PAGE_WDS / 2]++;
	if (word[0] != page_tag(idx)) {
		fprintf(stderr, "page %lu has other bytes than were written\n", idx);
		exit(1);
	}
}

#define STRIDE	17U
#define STREAMS 8U

static uint64_t at_random(uint64_t i, uint64_t nr)
{
	return mix64(i + 12345) % nr;
}

static uint64_t in_sequence(uint64_t i, uint64_t nr)
{
	return i % nr;
}

static uint64_t by_strides(uint64_t i, uint64_t nr)
{
	return i * STRIDE % nr;
}

/* Of eight parts by turns, each in sequence. */
static uint64_t in_streams(uint64_t i, uint64_t nr)
{
	return i % STREAMS * (nr / STREAMS) + i / STREAMS % (nr / STREAMS);
}

static const struct pattern {
	const char *name;
	uint64_t (*page)(uint64_t i, uint64_t nr);
	int write;
} patterns[] = {
	{"random-read", at_random, 0},	     {"random-write", at_random, 1},
	{"sequential-read", in_sequence, 0}, {"sequential-write", in_sequence, 1},
	{"strides", by_strides, 0},	     {"streams", in_streams, 0},
};

static const struct pattern *find(const char *name)
{
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (!strcmp(patterns[i].name, name))
			return &patterns[i];
	fprintf(stderr, "no pattern is called '%s'\n", name);
	exit(2);
}

struct workload {
	const struct pattern *pattern;
	uint64_t *mem;
	uint64_t bytes, count;
};

/* Its arguments, and memory that nobody has touched. */
static struct workload workload_open(char **argv)
{
	struct workload w = {
		.pattern = find(argv[0]), .bytes = number(argv[1]) << 20, .count = number(argv[2])};

	w.mem = map_bytes(w.bytes);
	return w;
}

static void measure(const struct workload *w, struct series *s)
{
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < s->nr; i++) {
		uint64_t idx = w->pattern->page(i, w->bytes / PAGE);
		uint64_t t = now_ns();

		touch(w->mem + idx * PAGE_WDS, idx, w->pattern->write);
		t = now_ns() - t;
		s->ns[i] = t < UINT32_MAX ? (uint32_t)t : UINT32_MAX;
	}
	s->total_ns = now_ns() - start;
}

static void workload_run(const struct workload *w)
{
	struct series s = {.nr = w->count};
	uint64_t t;

	s.ns = map_bytes(s.nr * sizeof(*s.ns));
	memset(s.ns, 0, s.nr * sizeof(*s.ns));
	t = now_ns();
	for (uint64_t i = 0; i < w->bytes / PAGE; i++)
		page_fill(w->mem + i * PAGE_WDS, i);
	t = now_ns() - t;
	measure(w, &s);
	report(&s, t);
}

#endif
