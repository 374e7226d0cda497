/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last minute of one rate, a value a second, and the line drawn of it.
 * Looks that are further apart fill the seconds between; of several in one
 * second the highest stays, so that no peak is lost.
 */
#ifndef RMEM_WATCH_HISTORY_H
#define RMEM_WATCH_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_SECONDS	   60U
#define HISTORY_LINE_BYTES (HISTORY_SECONDS * 3 + 1)

struct history {
	double value[HISTORY_SECONDS]; /* at the second modulo the size */
	uint64_t last_s;	       /* the newest one's */
	unsigned int nr;
};

/* @rate was what happened on average until @now_ns, since the look before. */
void history_add(struct history *h, uint64_t now_ns, double rate);

double history_max(const struct history *h);

/* HISTORY_SECONDS columns, the newest at the right; blank where nothing is
 * known. Eighths of a block with @utf8, else "_.:-=+*#". */
void history_line(const struct history *h, char buf[HISTORY_LINE_BYTES], bool utf8);

#endif
