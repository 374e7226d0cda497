/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened between two looks at a run: rates, and quantiles of the faults
 * of that interval alone. A counter that went back (exec, another process of
 * the same number) counts from zero.
 */
#ifndef RMEM_WATCH_RATES_H
#define RMEM_WATCH_RATES_H

#include <stdbool.h>
#include <stdint.h>

#include "client/core/core.h"
#include "client/run.h"

struct rates {
	bool known;		    /* there was a look before */
	double faults;		    /* a second, as what follows */
	double in_bytes, out_bytes; /* from and to the stores */
	bool has_latency;	    /* of a run, if there was a fault */
	uint64_t p50_ns, p99_ns;
};

void rates_of_run(struct rates *out, const struct core_stats *now, const struct core_stats *then,
		  uint64_t interval_ns);
void rates_of_proc(struct rates *out, const struct run_proc *now, const struct run_proc *then,
		   uint64_t interval_ns);

#endif
