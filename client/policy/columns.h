/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that lie a known stride apart, a few rows of a matrix, whose columns are gone through in
 * whatever order, some left out, as where blocks of a matrix are packed for a product. The
 * stride is one that was seen to the byte before (walks.h). What is missed then is the page in
 * which the few rows of a column go over the border of the one before:
 *
 *	column 0  |.......####|##.......      column 1  |.........##|####.....
 *	          page         ^ missed                              ^ missed
 *
 * Where those of several faults agree on where the rows of all columns are, they tell which
 * pages of other columns are.
 */
#ifndef RMEM_POLICY_COLUMNS_H
#define RMEM_POLICY_COLUMNS_H

#include "client/core/policy.h"

#define COLUMNS_STRIDES 4U
#define COLUMNS_CALLERS 8U
#define COLUMNS_FAULTS	8U

struct columns {
	struct {
		uint64_t owner; /* space and thread */
		uint64_t at[COLUMNS_FAULTS];
		uint32_t nr;
	} caller[COLUMNS_CALLERS];
	uint32_t stride[COLUMNS_STRIDES]; /* bytes; 0: none */
	uint32_t next;
};

/* A stride that was seen, in bytes. Of two, one a multiple of the other, the smaller is kept. */
void columns_learn(struct columns *all, int64_t stride);

/* The stride that was seen to the byte, of which @stride, whole pages, is what a few steps look
 * like: of rows of 9.77 pages most steps are 10, but whoever took them for 10 would be on
 * another row after each fourth. @stride itself where none is known, or when @steps that were
 * alike are more than there would be. */
int64_t columns_exactly(const struct columns *all, int64_t stride, unsigned int steps);

/* Takes the fault in. The stride that the last ones of the thread agree on, or 0. With @base
 * in column n is the page of @base + n * stride; the fault's is column 0. */
int64_t columns_add(struct columns *all, const struct policy_fault *f, uint64_t *base);

#endif
