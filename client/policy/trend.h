/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last steps of a walk, in pages, and the stride that they agree on. Noise
 * is borne once there is enough of a pattern: what most of the steps say counts
 * (after Leap, USENIX ATC 2020).
 */
#ifndef RMEM_POLICY_TREND_H
#define RMEM_POLICY_TREND_H

#include <stdint.h>

#define TREND_STEPS 8U

struct trend {
	int32_t step[TREND_STEPS];
	uint8_t nr, next;
};

void trend_add(struct trend *t, int32_t step);

/* The @back-th last step, from 0; 0 when there are not so many. */
int32_t trend_step(const struct trend *t, unsigned int back);

/* What the last @least steps agree on; 0: they don't. */
int32_t trend_steady(const struct trend *t, unsigned int least);

/* What most of all steps say, or the direction of all, if they are short. */
int32_t trend_mostly(const struct trend *t);

#endif
