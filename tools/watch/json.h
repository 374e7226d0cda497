/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rates as JSON, an object a line.
 *
 *	rmem.rate/1  one run, one interval (rmem stat -i):
 *		schema supervisor_pid command interval_ns faults_per_s
 *		in_bytes_per_s out_bytes_per_s fault_p50_ns fault_p99_ns (null
 *		without faults) local_bytes local_cap_bytes remote_bytes
 *		remote_cap_bytes processes
 *	rmem.top/1   all runs (rmem top --json):
 *		schema time_s interval_ns runs [ rmem.rate/1 without schema,
 *		process [ as in rmem.stat/1, and the rates; null: not known yet ] ]
 */
#ifndef RMEM_WATCH_JSON_H
#define RMEM_WATCH_JSON_H

#include <jansson.h>
#include <time.h>

#include "tools/watch/watch.h"

/* Each returns owned; NULL: no memory. */
json_t *json_rates(const struct watch_run *r);
json_t *json_top(const struct watch *w, time_t now);

#endif
