/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of runs as text for Prometheus; docs/metrics.md says what each
 * means. No label names a process, a page or a job: few series, for ever.
 */
#ifndef RMEM_CLIENT_SUPERVISOR_METRICS_H
#define RMEM_CLIENT_SUPERVISOR_METRICS_H

#include "client/supervisor_stats.h"
#include "common/metrics/text.h"

/* Sums over the @nr runs at @st (may be 0). */
void metrics_of_runs(struct metrics_text *out, const struct stats *st, size_t nr);

#endif
