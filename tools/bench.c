/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rmem bench: what a store takes for a page, and how many pages a second it moves. The
 * columns are perftest's (ib_read_lat, ib_read_bw), so that the two can stand side by side;
 * what is measured is what the pager would see, at the store's own interface.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "client/run.h"
#include "client/session.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "tools/cli.h"

#define OPEN_MS		  5000
#define PATIENCE_NS	  10000000000ULL /* for one page */
#define MAX_DEPTH	  256U
#define DEFAULT_LAT	  1000U
#define DEFAULT_BW	  5000U
#define MAX_ITERATIONS	  10000000U
#define DEFAULT_AREA	  MIB(64)
#define DEFAULT_IN_FLIGHT 64U

struct bench_options {
	uint64_t area_bytes;
	unsigned int iterations, depth; /* 0: the usual */
	bool is_write, sleeps, in_order;
};

struct bench {
	struct store *store;
	char *bufs; /* MAX_DEPTH pages */
	bool sleeps;
	uint64_t random;
};

static int parse_count(const char *value, unsigned int max, unsigned int *out)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || n < 1 || n > max)
		return err_set(-EINVAL, "'%.40s' is not a number from 1 to %u", value, max);
	*out = (unsigned int)n;
	return 0;
}

static int set_iterations(void *ctx, const char *value)
{
	return parse_count(value, MAX_ITERATIONS, &((struct bench_options *)ctx)->iterations);
}

static int set_depth(void *ctx, const char *value)
{
	return parse_count(value, MAX_DEPTH, &((struct bench_options *)ctx)->depth);
}

static int set_area(void *ctx, const char *value)
{
	struct bench_options *o = ctx;
	int err = units_parse_size(value, &o->area_bytes);

	o->area_bytes &= PAGE_MASK;
	return !err && o->area_bytes < MIB(1)
		       ? err_set(-ERANGE, "'%.40s' is too small: at least 1M", value)
		       : err;
}

static int set_write(void *ctx, const char *value)
{
	(void)value;
	((struct bench_options *)ctx)->is_write = true;
	return 0;
}

static int set_sleep(void *ctx, const char *value)
{
	(void)value;
	((struct bench_options *)ctx)->sleeps = true;
	return 0;
}

static int set_in_order(void *ctx, const char *value)
{
	(void)value;
	((struct bench_options *)ctx)->in_order = true;
	return 0;
}

static const struct cli_option bench_table[] = {
	{.name = "iterations",
	 .letter = 'n',
	 .value = "N",
	 .help = "so many pages (1000 for lat, 5000 for bw)",
	 .set = set_iterations},
	{.name = "depth",
	 .value = "N",
	 .help = "bw: so many under way at a time (64)",
	 .set = set_depth},
	{.name = "area",
	 .value = "SIZE",
	 .help = "lease so much, and touch pages anywhere in it (64M)",
	 .set = set_area},
	{.name = "write", .help = "write instead of read", .set = set_write},
	{.name = "in-order",
	 .help = "one page after the other, which a store may join",
	 .set = set_in_order},
	{.name = "sleep",
	 .help = "wait for completions asleep, do not look for them",
	 .set = set_sleep},
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static uint64_t next_random(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

/* ---- requests ---- */

static int submit(const struct bench *b, const struct store_req *req, unsigned int nr)
{
	int n = b->store->ops->submit(b->store, req, nr);

	return n == 0 ? -EAGAIN : n;
}

/* At least one of those under way, or -errno. */
static int reap(const struct bench *b, struct store_done *done, unsigned int max)
{
	struct pollfd p = {.fd = b->store->ops->pollfd ? b->store->ops->pollfd(b->store) : -1,
			   .events = POLLIN};
	uint64_t until = now_ns() + PATIENCE_NS;
	int n = b->store->ops->reap(b->store, done, max);

	while (!n && now_ns() < until) {
		if (b->sleeps && p.fd >= 0 && poll(&p, 1, 100) < 0 && errno != EINTR)
			return -errno;
		n = b->store->ops->reap(b->store, done, max);
	}
	for (int i = 0; i < n; i++)
		if (done[i].res)
			return err_set(done[i].res, "a page failed: %s", strerror(-done[i].res));
	return n ? n : err_set(-ETIMEDOUT, "a page was not there after 10 s");
}

static struct store_req request(struct bench *b, uint64_t i, const struct bench_options *o)
{
	uint64_t at = o->in_order ? i : next_random(b);

	return (struct store_req){.slot = at % b->store->nr_slots,
				  .buf = b->bufs + i % MAX_DEPTH * PAGE_BYTES,
				  .op = o->is_write ? STORE_WRITE : STORE_READ,
				  .urgent = !o->is_write && !o->depth};
}

/* @nr of them with @depth under way. */
static int move(struct bench *b, const struct bench_options *o, uint64_t nr, unsigned int depth)
{
	struct store_done done[MAX_DEPTH];
	uint64_t sent = 0, got = 0;

	while (got < nr) {
		struct store_req req[MAX_DEPTH];
		unsigned int want = 0;
		int n = 0;

		while (sent + want < nr && sent + want - got < depth) {
			req[want] = request(b, sent + want, o);
			want++;
		}
		if (want)
			n = submit(b, req, want);
		if (n < 0 && n != -EAGAIN)
			return n;
		sent += n > 0 ? (unsigned int)n : 0;
		n = reap(b, done, MAX_DEPTH);
		if (n < 0)
			return n;
		got += (unsigned int)n;
	}
	return 0;
}

/* ---- lat ---- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_lat(uint64_t *ns, unsigned int nr)
{
	double mean = 0, square = 0;

	qsort(ns, nr, sizeof(*ns), compare);
	for (unsigned int i = 0; i < nr; i++)
		mean += (double)ns[i] / nr;
	for (unsigned int i = 0; i < nr; i++)
		square += ((double)ns[i] - mean) * ((double)ns[i] - mean) / nr;
	printf(" #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]"
	       "    t_stdev[usec]   99%% percentile[usec]   99.9%% percentile[usec]\n"
	       " %-7lu %-10u %14.2f %14.2f %16.2f %14.2f %16.2f %22.2f %24.2f\n",
	       PAGE_BYTES, nr, ns[0] / 1e3, ns[nr - 1] / 1e3, ns[nr / 2] / 1e3, mean / 1e3,
	       sqrt(square) / 1e3, ns[(uint64_t)nr * 99 / 100] / 1e3,
	       ns[(uint64_t)nr * 999 / 1000] / 1e3);
}

static int lat(struct bench *b, const struct bench_options *o)
{
	unsigned int nr = o->iterations ? o->iterations : DEFAULT_LAT;
	uint64_t *ns = calloc(nr, sizeof(*ns));
	int err = ns ? 0 : err_set(-ENOMEM, "out of memory");

	for (unsigned int i = 0; i < nr && !err; i++) {
		struct store_req req = request(b, i, o);
		struct store_done done;
		uint64_t begin = now_ns();
		int n = submit(b, &req, 1);

		n = n > 0 ? reap(b, &done, 1) : n;
		err = n < 0 ? n : 0;
		ns[i] = now_ns() - begin;
	}
	if (!err)
		print_lat(ns, nr);
	free(ns);
	return err;
}

/* ---- bw ---- */

#define PARTS 10U /* the peak is that of the best of them */

static int bw(struct bench *b, const struct bench_options *given)
{
	struct bench_options o = *given;
	unsigned int nr = o.iterations ? o.iterations : DEFAULT_BW, part = nr / PARTS + 1;
	double peak = 0, all_s = 0, rate;
	uint64_t moved = 0;

	o.depth = o.depth ? o.depth : DEFAULT_IN_FLIGHT;
	for (unsigned int i = 0; i < PARTS; i++) {
		uint64_t begin = now_ns();
		int err = move(b, &o, part, o.depth);
		double s = (double)(now_ns() - begin) / 1e9;

		if (err)
			return err;
		moved += part;
		all_s += s;
		peak = part / s > peak ? part / s : peak;
	}
	rate = (double)moved / all_s;
	printf(" #bytes     #iterations    BW peak[MiB/sec]    BW average[MiB/sec]   "
	       "MsgRate[Mpps]\n"
	       " %-10lu %-14llu %-19.2f %-21.2f %.6f\n",
	       PAGE_BYTES, (unsigned long long)moved, peak / 256, rate / 256, rate / 1e6);
	return 0;
}

/* ---- */

/* So that what is read was written once. */
static int fill(struct bench *b)
{
	const struct bench_options all = {.is_write = true, .in_order = true, .depth = 64};

	memset(b->bufs, 0x5a, MAX_DEPTH * PAGE_BYTES);
	return move(b, &all, b->store->nr_slots, 64);
}

static int open_bench(struct bench *b, const struct bench_options *o, const char *spec)
{
	int err = session_open_spec(spec, o->area_bytes, OPEN_MS, &b->store);

	if (err)
		return err;
	b->bufs = mmap(NULL, MAX_DEPTH * PAGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->bufs == MAP_FAILED)
		return err_set(-ENOMEM, "out of memory");
	return fill(b);
}

static int run(struct bench_options *o, const char *what, const char *spec)
{
	struct bench b = {.random = 88172645463325252ULL, .sleeps = o->sleeps};
	int err = open_bench(&b, o, spec);

	if (!err)
		err = strcmp(what, "lat") ? bw(&b, o) : lat(&b, o);
	if (b.store)
		b.store->ops->close(b.store);
	return err ? cli_refuse("bench", "%s", err_text(err)) : cli_flush();
}

static int bench_main(char **argv)
{
	struct bench_options o = {.area_bytes = DEFAULT_AREA};
	int rest;
	enum cli_parsed how = cli_parse(&cli_bench, argv, &o, &rest);
	const char *what = how == CLI_GO ? argv[rest] : NULL;

	if (how != CLI_GO)
		return cli_exit(how);
	if (!what || (strcmp(what, "lat") && strcmp(what, "bw")))
		return cli_usage_error("bench", "lat or bw is missing: rmem bench lat tcp:memhost");
	if (!argv[rest + 1] || argv[rest + 2])
		return cli_usage_error("bench", "one store is wanted: rmem bench %s tcp:memhost",
				       what);
	if (o.depth && !strcmp(what, "lat"))
		return cli_usage_error("bench", "--depth is for bw: lat has one page under way");
	return run(&o, what, argv[rest + 1]);
}

const struct cli_command cli_bench = {
	.name = "bench",
	.summary = "Measures a memory server, in perftest's columns.",
	.usage = "lat|bw SPEC [OPTION]...",
	.examples = "  rmem bench lat rdma:memhost           one page after the other\n"
		    "  rmem bench bw tcp:memhost --depth 16  sixteen at a time\n"
		    "  rmem bench lat file:/mnt/nvme/rmem --write\n",
	.option = bench_table,
	.nr_options = sizeof(bench_table) / sizeof(bench_table[0]),
	.mixed = true,
	.main = bench_main,
};
