/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/trend.h"

/* Steps in one direction that leave out less than half are a sequence. */
#define DENSE (2 * (int32_t)TREND_STEPS)

void trend_add(struct trend *t, int32_t step)
{
	t->step[t->next] = step;
	t->next = (uint8_t)((t->next + 1) % TREND_STEPS);
	t->nr = (uint8_t)(t->nr + (t->nr < TREND_STEPS));
}

int32_t trend_step(const struct trend *t, unsigned int back)
{
	return back < t->nr ? t->step[(t->next + TREND_STEPS - 1 - back) % TREND_STEPS] : 0;
}

int32_t trend_steady(const struct trend *t, unsigned int least)
{
	unsigned int n = 1;

	while (n < t->nr && trend_step(t, n) == trend_step(t, 0))
		n++;
	return t->nr >= least && n >= least ? trend_step(t, 0) : 0;
}

/* What the last step says, if most of all said the same. */
static int32_t majority(const struct trend *t)
{
	int32_t last = trend_step(t, 0);
	unsigned int n = 0;

	for (unsigned int i = 0; i < t->nr; i++)
		n += t->step[i] == last;
	return n > TREND_STEPS / 2 ? last : 0;
}

static int32_t direction(const struct trend *t)
{
	int32_t up = 0, down = 0;

	for (unsigned int i = 0; i < t->nr; i++) {
		if (t->step[i] > DENSE || t->step[i] < -DENSE)
			return 0;
		up += t->step[i] > 0 ? t->step[i] : 0;
		down -= t->step[i] < 0 ? t->step[i] : 0;
	}
	if (t->nr < TREND_STEPS || (up && down) || up + down > DENSE)
		return 0;
	return up ? 1 : -1;
}

int32_t trend_mostly(const struct trend *t)
{
	int32_t stride = majority(t);

	return stride ? stride : direction(t);
}
