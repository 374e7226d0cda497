/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that Prometheus reads: text/plain; version=0.0.4. A family is begun
 * once, with its help and type; then its samples follow.
 */
#ifndef RMEM_METRICS_TEXT_H
#define RMEM_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/hist.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Zero it, then use it; metrics_text_fini() in any case. */
struct metrics_text {
	char *buf; /* owned, terminated */
	size_t bytes, room;
	bool failed; /* out of memory: not all of it is there */
};

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

void metrics_family(struct metrics_text *t, const char *name, enum metrics_type type,
		    const char *help);

/* One sample; with one label unless @label is NULL. The value is escaped. */
void metrics_sample(struct metrics_text *t, const char *name, const char *label,
		    const char *label_value, uint64_t value);

/* Samples of a histogram of nanoseconds, in seconds: buckets a power of two of
 * nanoseconds each, from 1 us to 17 s. */
void metrics_hist(struct metrics_text *t, const char *name, const struct hist *ns);

void metrics_text_fini(struct metrics_text *t);

#endif
