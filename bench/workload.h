/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PATTERN MIB COUNT [THREADS]: fills memory, then touches one word in COUNT
 * pages, and times each access. PATTERN is random-read, random-write,
 * sequential-read, sequential-write, strides (17 pages), streams (8 by turns),
 * zipf (scattered over all pages) or scan (half of it in order, half to a fifth
 * of the pages). Every page is checked as it is read, and no write may be lost.
 * Of several threads (one if not said) each touches COUNT pages, goes on where
 * the one before ends, and writes its own word of a page.
 *
 * An access that took longer than REFAULT_NS is counted as a refault: one in
 * memory, missing all caches and the TLB, stays far below. "faults" are the
 * kernel's own count, of all kinds, which is right where that is not so, as in
 * an emulated guest.
 */
#ifndef RMEM_BENCH_WORKLOAD_H
#define RMEM_BENCH_WORKLOAD_H

#include <pthread.h>
#include <sys/resource.h>

#include "bench/bench.h"

#define REFAULT_NS 1500U

struct series {
	uint32_t *ns; /* of each access */
	uint64_t nr;
	uint64_t total_ns;
	uint64_t faults;
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
	printf("{\"fill_ns\": %lu, \"access_ns\": %lu, \"count\": %lu, \"refaults\": %lu, "
	       "\"faults\": %lu",
	       fill_ns, s->total_ns, s->nr, s->nr - first, s->faults);
	print_part("access", s->ns, s->nr);
	print_part("refault", s->ns + first, s->nr - first);
	print_quantiles("refault", s->ns + first, s->nr - first);
	printf("}\n");
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

/* All pages are different: 40503 is prime. */
static uint64_t scattered(uint64_t rank, uint64_t nr)
{
	return rank * 40503 % nr;
}

static double chance(uint64_t i)
{
	return (double)(mix64(i * 2654435761 + 99) >> 11) / (double)(1ULL << 53);
}

/* The n-th of all pages is touched 1/n times as often as the first. */
static uint64_t by_zipf(uint64_t i, uint64_t nr)
{
	static double *sum; /* of the chances of all up to this one */
	uint64_t low = 0, high = nr - 1;
	double x;

	if (!sum) {
		double all = 0;

		sum = map_bytes(nr * sizeof(*sum));
		for (uint64_t k = 0; k < nr; k++)
			sum[k] = all += 1 / (double)(k + 1);
	}
	x = chance(i) * sum[nr - 1];
	while (low < high) {
		uint64_t mid = (low + high) / 2;

		if (sum[mid] < x)
			low = mid + 1;
		else
			high = mid;
	}
	return scattered(low, nr);
}

/* Half of the touches to a fifth of all pages, half to all in order. */
static uint64_t by_scan(uint64_t i, uint64_t nr)
{
	return i % 2 ? i / 2 % nr : scattered((uint64_t)(chance(i) * (double)(nr / 5)), nr);
}

static const struct pattern {
	const char *name;
	uint64_t (*page)(uint64_t i, uint64_t nr);
	int write;
} patterns[] = {
	{"random-read", at_random, 0},
	{"random-write", at_random, 1},
	{"sequential-read", in_sequence, 0},
	{"sequential-write", in_sequence, 1},
	{"strides", by_strides, 0},
	{"streams", in_streams, 0},
	{"zipf", by_zipf, 0},
	{"scan", by_scan, 0},
};

static const struct pattern *find(const char *name)
{
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (!strcmp(patterns[i].name, name))
			return &patterns[i];
	fprintf(stderr, "no pattern is called '%s'\n", name);
	exit(2);
}

#define MAX_THREADS 16U

struct workload {
	const struct pattern *pattern;
	uint64_t *mem;
	uint64_t bytes, count;
	unsigned int nr_threads;
};

struct toucher {
	const struct workload *w;
	pthread_t thread;
	unsigned int nr;
	uint32_t *ns;	  /* of each access */
	uint32_t *writes; /* of its own, to each page */
	uint64_t faults;
};

/* Its arguments, up to a NULL, and memory that nobody has touched. */
static struct workload workload_open(char **argv)
{
	struct workload w = {.nr_threads = 1};

	w.pattern = find(argv[0]);
	w.bytes = number(argv[1]) << 20;
	w.count = number(argv[2]);
	if (argv[3])
		w.nr_threads = (unsigned int)number(argv[3]);
	if (w.nr_threads > MAX_THREADS) {
		fprintf(stderr, "at most %u threads\n", MAX_THREADS);
		exit(2);
	}
	w.mem = map_bytes(w.bytes);
	return w;
}

static void other_bytes(uint64_t idx)
{
	fprintf(stderr, "page %lu has other bytes than were written\n", idx);
	exit(1);
}

/* The first word tells whose page it is. */
static void touch(volatile uint64_t *page, uint64_t idx, volatile uint64_t *written)
{
	if (written)
		(*written)++;
	if (page[0] != page_tag(idx))
		other_bytes(idx);
}

/* Of this thread, so far. */
static uint64_t nr_faults(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_THREAD, &u))
		abort();
	return (uint64_t)(u.ru_majflt + u.ru_minflt);
}

static void *touch_all(void *arg)
{
	struct toucher *me = arg;
	const struct workload *w = me->w;

	me->faults = nr_faults();
	for (uint64_t i = 0; i < w->count; i++) {
		uint64_t idx = w->pattern->page(me->nr * w->count + i, w->bytes / PAGE);
		uint64_t *page = w->mem + idx * PAGE_WDS;
		volatile uint64_t *written =
			w->pattern->write ? page + PAGE_WDS / 2 + me->nr : NULL;
		uint64_t t = now_ns();

		touch(page, idx, written);
		t = now_ns() - t;
		me->ns[i] = t < UINT32_MAX ? (uint32_t)t : UINT32_MAX;
		if (written && *written != idx + 1 + ++me->writes[idx])
			other_bytes(idx);
	}
	me->faults = nr_faults() - me->faults;
	return NULL;
}

/* One of them is the thread that we are. */
static void measure(const struct workload *w, struct series *s)
{
	struct toucher touchers[MAX_THREADS];
	uint64_t start;

	for (unsigned int i = 0; i < w->nr_threads; i++)
		touchers[i] =
			(struct toucher){.w = w,
					 .nr = i,
					 .ns = s->ns + i * w->count,
					 .writes = map_bytes(w->bytes / PAGE * sizeof(uint32_t))};
	start = now_ns();
	for (unsigned int i = 1; i < w->nr_threads; i++)
		if (pthread_create(&touchers[i].thread, NULL, touch_all, &touchers[i]))
			abort();
	touch_all(&touchers[0]);
	for (unsigned int i = 1; i < w->nr_threads; i++)
		pthread_join(touchers[i].thread, NULL);
	s->total_ns = now_ns() - start;
	for (unsigned int i = 0; i < w->nr_threads; i++)
		s->faults += touchers[i].faults;
}

static void workload_run(const struct workload *w)
{
	struct series s = {.nr = w->count * w->nr_threads};
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
