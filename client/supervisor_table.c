/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_table: the numbers of one run for people, 80 columns at most. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "client/supervisor_print.h"
#include "client/supervisor_stats.h"
#include "common/base/units.h"

struct out {
	void (*line)(void *ctx, const char *text);
	void *ctx;
};

static void row(const struct out *o, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void row(const struct out *o, const char *name, const char *fmt, ...)
{
	char text[128], value[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	snprintf(text, sizeof(text), "  %-20s %s\n", name, value);
	o->line(o->ctx, text);
}

static void row_memory(const struct out *o, const char *name, uint64_t cap, uint64_t peak,
		       uint64_t now)
{
	char a[32], b[32], c[32];

	row(o, name, "%10s now %10s peak %10s cap", units_format_size(a, sizeof(a), now),
	    units_format_size(b, sizeof(b), peak), units_format_size(c, sizeof(c), cap));
}

static void row_pages(const struct out *o, const char *name, uint64_t nr_pages)
{
	char a[32];

	row(o, name, "%12" PRIu64 " pages %12s", nr_pages,
	    units_format_size(a, sizeof(a), nr_pages * PAGE_BYTES));
}

static void rows_faults(const struct out *o, const struct core_stats *c)
{
	const struct hist *f = &c->fault_ns;

	row(o, "first touches", "%12" PRIu64, c->faults_zero);
	row(o, "from standby", "%12" PRIu64, c->faults_soft);
	row(o, "from remote", "%12" PRIu64, c->faults_remote);
	row(o, "joined", "%12" PRIu64, c->faults_joined);
	if (c->sums_wrong)
		row(o, "wrong, repaired", "%12" PRIu64 ", %" PRIu64, c->sums_wrong,
		    c->pages_repaired);
	row(o, "fault latency", "p50 %.1f  p90 %.1f  p99 %.1f us",
	    (double)hist_quantile(f, 0.5) / 1000, (double)hist_quantile(f, 0.9) / 1000,
	    (double)hist_quantile(f, 0.99) / 1000);
}

static void head(const struct out *o, const struct stats *st)
{
	char command[4 * RUN_CMDLINE_BYTES], text[128];

	print_escape(command, sizeof(command), st->header.cmdline);
	snprintf(text, sizeof(text), " rmem: %.60s%s\n", command,
		 strlen(command) > 60 ? " ..." : "");
	o->line(o->ctx, text);
	row(o, "supervisor, job", "%d, %d", (int)st->header.supervisor_pid,
	    (int)st->header.job_pid);
}

static void row_fast(const struct out *o, const struct run_header *h)
{
	if (h->fast == RUN_FAST_REFUSED)
		row(o, "fast faults", "none: %.50s", h->fast_why);
	else if (h->fast_waits)
		row(o, "fast faults", "%" PRIu64 " waited, %.1f %% in time, %.1f us each",
		    h->fast_waits, 100.0 * (double)h->fast_hits / (double)h->fast_waits,
		    (double)h->fast_wait_ns / (double)h->fast_waits / 1000);
}

static void rows_processes(const struct out *o, const struct run_header *h)
{
	char a[32], why[256];

	row(o, "processes", "%u now, %u peak, %u managed", h->processes, h->processes_peak,
	    h->managed);
	if (h->unmanaged) {
		print_escape(why, sizeof(why), h->unmanaged_why);
		row(o, "unmanaged", "%u, %s: %.40s", h->unmanaged,
		    units_format_size(a, sizeof(a), h->unmanaged_bytes), why);
	}
	row_fast(o, h);
	row(o, "agents, ranges", "%u, %" PRIu64, h->agents_total, h->ranges_registered);
}

void stats_table(const struct stats *st, void (*line)(void *ctx, const char *text), void *ctx)
{
	const struct out o = {.line = line, .ctx = ctx};
	const struct core_stats *c = &st->core;
	char a[32];

	head(&o, st);
	row_memory(&o, "local", st->header.local_bytes, c->local_peak_bytes, c->local_bytes);
	row_memory(&o, "remote", st->header.remote_bytes, c->remote_peak_pages * PAGE_BYTES,
		   c->remote_pages * PAGE_BYTES);
	if (c->stuck_bytes)
		row(&o, "can't leave", "%12s", units_format_size(a, sizeof(a), c->stuck_bytes));
	row_pages(&o, "evicted", c->pages_evicted);
	row_pages(&o, "fetched", c->pages_fetched);
	row_pages(&o, "zero, not sent", c->pages_zero_elided);
	row_pages(&o, "clean, not sent", c->pages_clean_elided);
	rows_faults(&o, c);
	rows_processes(&o, &st->header);
	row(&o, "pager memory", "%12s",
	    units_format_size(a, sizeof(a), st->header.pager_rss_peak_bytes));
	row(&o, "time", "%.3f s", (double)st->wall_ns / 1e9);
	if (st->ended)
		row(&o, "exit status", "%d", st->exit_status);
}
