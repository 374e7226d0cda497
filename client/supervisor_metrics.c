/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_metrics: the table of what is told to Prometheus. */
#include "client/supervisor_metrics.h"

#include <stddef.h>
#include <string.h>

/* A sample is a number of struct stats, times a factor. Those of one family
 * follow each other; the first has its help. */
struct sample {
	const char *name, *help, *label, *value;
	enum metrics_type type;
	size_t off;
	bool is_32bit;
	uint64_t factor; /* 0: 1 */
};

#define CORE(field)	offsetof(struct stats, core.field)
#define HEADER(field)	offsetof(struct stats, header.field)
#define IN_STATE(state) offsetof(struct stats, table.in_state[state])

static const struct sample sample[] = {
	{.name = "rmem_local_bytes",
	 .help = "Memory that the jobs keep on this machine, pages on standby among it.",
	 .type = METRICS_GAUGE,
	 .off = CORE(local_bytes)},
	{.name = "rmem_local_limit_bytes",
	 .help = "The cap on that (--local).",
	 .type = METRICS_GAUGE,
	 .off = HEADER(local_bytes)},
	{.name = "rmem_stuck_bytes",
	 .help = "Memory that can not leave: locked, pinned, shared or read-only.",
	 .type = METRICS_GAUGE,
	 .off = CORE(stuck_bytes)},
	{.name = "rmem_unmanaged_bytes",
	 .help = "Memory of processes that run unmanaged.",
	 .type = METRICS_GAUGE,
	 .off = HEADER(unmanaged_bytes)},
	{.name = "rmem_remote_bytes",
	 .help = "Room taken at the servers.",
	 .type = METRICS_GAUGE,
	 .off = CORE(remote_pages),
	 .factor = PAGE_BYTES},
	{.name = "rmem_remote_limit_bytes",
	 .help = "Room leased from the servers (--remote).",
	 .type = METRICS_GAUGE,
	 .off = HEADER(remote_bytes)},
	{.name = "rmem_pages",
	 .help = "Pages that have left, or have a copy at a server, by where they are.",
	 .type = METRICS_GAUGE,
	 .label = "state",
	 .value = "moving",
	 .off = CORE(records[REC_MOVING])},
	{.name = "rmem_pages",
	 .label = "state",
	 .value = "standby",
	 .off = CORE(records[REC_STANDBY])},
	{.name = "rmem_pages",
	 .label = "state",
	 .value = "remote",
	 .off = CORE(records[REC_REMOTE])},
	{.name = "rmem_pages",
	 .label = "state",
	 .value = "fetching",
	 .off = CORE(records[REC_FETCHING])},
	{.name = "rmem_pages",
	 .label = "state",
	 .value = "resident",
	 .off = CORE(records[REC_RESIDENT])},
	{.name = "rmem_pages", .label = "state", .value = "lost", .off = CORE(records[REC_LOST])},
	{.name = "rmem_faults_total",
	 .help = "Faults answered, by what the page was: never there, on standby, at a server, "
		 "or write-protected after a fork.",
	 .type = METRICS_COUNTER,
	 .label = "kind",
	 .value = "zero",
	 .off = CORE(faults_zero)},
	{.name = "rmem_faults_total",
	 .label = "kind",
	 .value = "standby",
	 .off = CORE(faults_soft)},
	{.name = "rmem_faults_total",
	 .label = "kind",
	 .value = "remote",
	 .off = CORE(faults_remote)},
	{.name = "rmem_faults_total", .label = "kind", .value = "wp", .off = CORE(faults_write)},
	{.name = "rmem_moved_bytes_total",
	 .help = "Moved out of the jobs.",
	 .type = METRICS_COUNTER,
	 .off = CORE(pages_moved),
	 .factor = PAGE_BYTES},
	{.name = "rmem_evicted_bytes_total",
	 .help = "Sent to the servers.",
	 .type = METRICS_COUNTER,
	 .off = CORE(pages_evicted),
	 .factor = PAGE_BYTES},
	{.name = "rmem_elided_bytes_total",
	 .help = "Moved out and not sent: all zero, or the server's copy is the same.",
	 .type = METRICS_COUNTER,
	 .label = "reason",
	 .value = "zero",
	 .off = CORE(pages_zero_elided),
	 .factor = PAGE_BYTES},
	{.name = "rmem_elided_bytes_total",
	 .label = "reason",
	 .value = "clean",
	 .off = CORE(pages_clean_elided),
	 .factor = PAGE_BYTES},
	{.name = "rmem_fetched_bytes_total",
	 .help = "Fetched from the servers.",
	 .type = METRICS_COUNTER,
	 .off = CORE(pages_fetched),
	 .factor = PAGE_BYTES},
	{.name = "rmem_prefetched_bytes_total",
	 .help = "Of these, put in place ahead of any fault.",
	 .type = METRICS_COUNTER,
	 .off = CORE(pages_prefetched),
	 .factor = PAGE_BYTES},
	{.name = "rmem_store_errors_total",
	 .help = "Requests that a server failed, and that were made again.",
	 .type = METRICS_COUNTER,
	 .label = "op",
	 .value = "write",
	 .off = CORE(write_errors)},
	{.name = "rmem_wrong_sums_total",
	 .help = "Pages that came back with other bytes than were sent.",
	 .type = METRICS_COUNTER,
	 .off = CORE(sums_wrong)},
	{.name = "rmem_repaired_pages_total",
	 .help = "Of these, those of which another copy was right.",
	 .type = METRICS_COUNTER,
	 .off = CORE(pages_repaired)},
	{.name = "rmem_takeovers_total",
	 .help = "Pagers that died and were replaced.",
	 .type = METRICS_COUNTER,
	 .off = HEADER(takeovers)},
	{.name = "rmem_events_total",
	 .help = "Changes to their memory that the jobs made, as the kernel tells them.",
	 .type = METRICS_COUNTER,
	 .label = "event",
	 .value = "fork",
	 .off = CORE(events_fork)},
	{.name = "rmem_events_total",
	 .label = "event",
	 .value = "remap",
	 .off = CORE(events_remap)},
	{.name = "rmem_events_total",
	 .label = "event",
	 .value = "remove",
	 .off = CORE(events_remove)},
	{.name = "rmem_events_total",
	 .label = "event",
	 .value = "unmap",
	 .off = CORE(events_unmap)},
	{.name = "rmem_processes",
	 .help = "Processes of the jobs, by what rmem does with them.",
	 .type = METRICS_GAUGE,
	 .label = "state",
	 .value = "watched",
	 .off = IN_STATE(RUN_PROC_WATCHED),
	 .is_32bit = true},
	{.name = "rmem_processes",
	 .label = "state",
	 .value = "entering",
	 .off = IN_STATE(RUN_PROC_ENTERING),
	 .is_32bit = true},
	{.name = "rmem_processes",
	 .label = "state",
	 .value = "managed",
	 .off = IN_STATE(RUN_PROC_MANAGED),
	 .is_32bit = true},
	{.name = "rmem_processes",
	 .label = "state",
	 .value = "forked",
	 .off = IN_STATE(RUN_PROC_FORKED),
	 .is_32bit = true},
	{.name = "rmem_processes",
	 .label = "state",
	 .value = "vfork",
	 .off = IN_STATE(RUN_PROC_VFORK),
	 .is_32bit = true},
	{.name = "rmem_processes",
	 .label = "state",
	 .value = "unmanaged",
	 .off = IN_STATE(RUN_PROC_UNMANAGED),
	 .is_32bit = true},
};

static uint64_t value_in(const struct sample *s, const struct stats *st)
{
	const char *at = (const char *)st + s->off;
	uint32_t narrow;
	uint64_t wide;

	memcpy(&narrow, at, sizeof(narrow));
	if (s->is_32bit)
		return narrow;
	memcpy(&wide, at, sizeof(wide));
	return wide * (s->factor ? s->factor : 1);
}

static void put_sample(struct metrics_text *out, const struct sample *s, const struct stats *st,
		       size_t nr)
{
	uint64_t sum = 0;

	if (s->help)
		metrics_family(out, s->name, s->type, s->help);
	for (size_t i = 0; i < nr; i++)
		sum += value_in(s, &st[i]);
	metrics_sample(out, s->name, s->label, s->value, sum);
}

static void put_latency(struct metrics_text *out, const struct stats *st, size_t nr)
{
	struct hist all = {.count = 0};

	for (size_t i = 0; i < nr; i++) {
		all.sum += st[i].core.fault_ns.sum;
		for (unsigned int b = 0; b < HIST_BUCKETS; b++)
			all.bucket[b] += st[i].core.fault_ns.bucket[b];
	}
	metrics_family(out, "rmem_fault_duration_seconds", METRICS_HISTOGRAM,
		       "How long it took to answer a fault, all kinds together.");
	metrics_hist(out, "rmem_fault_duration_seconds", &all);
}

void metrics_of_runs(struct metrics_text *out, const struct stats *st, size_t nr)
{
	metrics_family(out, "rmem_build_info", METRICS_GAUGE,
		       "Always 1; the version is its label.");
	metrics_sample(out, "rmem_build_info", "version", RMEM_VERSION, 1);
	metrics_family(out, "rmem_runs", METRICS_GAUGE, "Runs of rmem that these numbers are of.");
	metrics_sample(out, "rmem_runs", NULL, NULL, nr);
	for (size_t i = 0; i < sizeof(sample) / sizeof(sample[0]); i++)
		put_sample(out, &sample[i], st, nr);
	put_latency(out, st, nr);
}
