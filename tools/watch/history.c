/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/watch/history.h"

#include <string.h>

#define LEVELS 8

static double *slot(struct history *h, uint64_t second)
{
	return &h->value[second % HISTORY_SECONDS];
}

void history_add(struct history *h, uint64_t now_ns, double rate)
{
	uint64_t now_s = now_ns / 1000000000, from;

	if (!h->nr) {
		*slot(h, now_s) = rate;
		h->last_s = now_s;
		h->nr = 1;
		return;
	}
	if (now_s == h->last_s && rate > *slot(h, now_s))
		*slot(h, now_s) = rate;
	from = now_s > h->last_s + HISTORY_SECONDS ? now_s - HISTORY_SECONDS : h->last_s;
	for (uint64_t s = from + 1; s <= now_s; s++) {
		*slot(h, s) = rate;
		if (h->nr < HISTORY_SECONDS)
			h->nr++;
	}
	if (now_s > h->last_s)
		h->last_s = now_s;
}

double history_max(const struct history *h)
{
	double max = 0;

	for (unsigned int i = 0; i < h->nr; i++) {
		double v = h->value[(h->last_s - i) % HISTORY_SECONDS];

		if (v > max)
			max = v;
	}
	return max;
}

/* The lowest is kept for nothing at all. */
static unsigned int level_of(double value, double max)
{
	unsigned int level;

	if (value <= 0 || max <= 0)
		return 0;
	level = (unsigned int)(value / max * LEVELS + 0.5);
	return level < 2 ? 1 : level - 1;
}

void history_line(const struct history *h, char buf[HISTORY_LINE_BYTES], bool utf8)
{
	static const char *const block[LEVELS] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	static const char plain[LEVELS + 1] = "_.:-=+*#";
	double max = history_max(h);
	size_t at = 0;

	for (unsigned int i = HISTORY_SECONDS; i-- > 0;) {
		unsigned int level;

		if (i >= h->nr) {
			buf[at++] = ' ';
			continue;
		}
		level = level_of(h->value[(h->last_s - i) % HISTORY_SECONDS], max);
		if (utf8) {
			memcpy(buf + at, block[level], 3);
			at += 3;
		} else {
			buf[at++] = plain[level];
		}
	}
	buf[at] = '\0';
}
