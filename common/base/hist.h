/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log-linear histogram of 64-bit values, 16 steps an octave (error under
 * 6.3 %), fixed size, no allocation: lives in shared memory. Pure.
 * After the bucketing of HdrHistogram (G. Tene), without its auto-resize.
 */
#ifndef RMEM_BASE_HIST_H
#define RMEM_BASE_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 4
#define HIST_OCTAVES  44 /* up to 2^47 ns, 39 hours; above is clamped */
#define HIST_BUCKETS  (HIST_OCTAVES << HIST_SUB_BITS)

struct hist {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t value);

/* What was added to @now since it looked like @then; max is that of @now. A
 * histogram that was begun anew in between counts from zero. */
void hist_since(struct hist *out, const struct hist *now, const struct hist *then);

/* How many of the values are below 2^@exp. */
uint64_t hist_below(const struct hist *h, unsigned int exp);

/* Lower edge of the bucket that holds quantile @q (0..1); 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
