/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access PATTERN MIB COUNT: fills memory, then touches one word in COUNT
 * pages, one thread, and times each access. PATTERN is random-read,
 * random-write, sequential-read, sequential-write, strides (17 pages) or
 * streams (8 by turns). Every page is checked as it is read.
 *
 * An access that took longer than REFAULT_NS is counted as a refault: one in
 * memory, missing all caches and the TLB, stays far below.
 */
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

/* The 1st to the 99th percentile, and the 99.9th: what a plot of the distribution needs. */
static void print_quantiles(const char *prefix, const uint32_t *ns, uint64_t nr)
{
	printf(", \"%s_quantiles_ns\": [", prefix);
	for (uint64_t percent = 1; nr && percent <= 99; percent++)
		printf("%u, ", ns[nr * percent / 100]);
	if (nr)
		printf("%u", ns[nr * 999 / 1000]);
	printf("]");
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
	print_quantiles("refault", s->ns + first, s->nr - first);
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
	fprintf(stderr, "access: no pattern is called '%s'\n", name);
	exit(2);
}

static void measure(uint64_t *mem, uint64_t nr_pages, const struct pattern *pattern,
		    struct series *s)
{
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < s->nr; i++) {
		uint64_t idx = pattern->page(i, nr_pages);
		uint64_t t = now_ns();

		touch(mem + idx * PAGE_WDS, idx, pattern->write);
		t = now_ns() - t;
		s->ns[i] = t < UINT32_MAX ? (uint32_t)t : UINT32_MAX;
	}
	s->total_ns = now_ns() - start;
}

int main(int argc, char **argv)
{
	uint64_t bytes, t, *mem;
	struct series s = {.nr = 0};
	const struct pattern *pattern;

	if (argc != 4)
		return 2;
	alarm(LIMIT_S);
	pattern = find(argv[1]);
	bytes = number(argv[2]) << 20;
	s.nr = number(argv[3]);
	s.ns = map_bytes(s.nr * sizeof(*s.ns));
	memset(s.ns, 0, s.nr * sizeof(*s.ns));
	mem = map_bytes(bytes);
	t = now_ns();
	for (uint64_t i = 0; i < bytes / PAGE; i++)
		page_fill(mem + i * PAGE_WDS, i);
	t = now_ns() - t;
	measure(mem, bytes / PAGE, pattern, &s);
	report(&s, t);
	return 0;
}
