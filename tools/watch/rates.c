/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/watch/rates.h"

static double per_second(uint64_t now, uint64_t then, uint64_t interval_ns)
{
	uint64_t more = now < then ? now : now - then;

	return interval_ns ? (double)more * 1e9 / (double)interval_ns : 0;
}

void rates_of_run(struct rates *out, const struct core_stats *now, const struct core_stats *then,
		  uint64_t interval_ns)
{
	struct hist diff;

	hist_since(&diff, &now->fault_ns, &then->fault_ns);
	*out = (struct rates){
		.known = true,
		.faults = per_second(now->fault_ns.count, then->fault_ns.count, interval_ns),
		.in_bytes = per_second(now->pages_fetched, then->pages_fetched, interval_ns) *
			    PAGE_BYTES,
		.out_bytes = per_second(now->pages_evicted, then->pages_evicted, interval_ns) *
			     PAGE_BYTES,
		.has_latency = diff.count > 0,
		.p50_ns = hist_quantile(&diff, 0.5),
		.p99_ns = hist_quantile(&diff, 0.99),
	};
}

void rates_of_proc(struct rates *out, const struct run_proc *now, const struct run_proc *then,
		   uint64_t interval_ns)
{
	*out = (struct rates){
		.known = true,
		.faults = per_second(now->faults, then->faults, interval_ns),
		.in_bytes = per_second(now->fetched_bytes, then->fetched_bytes, interval_ns),
		.out_bytes = per_second(now->evicted_bytes, then->evicted_bytes, interval_ns),
	};
}
