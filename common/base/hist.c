/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/hist.h"

#define SUB_COUNT (1U << HIST_SUB_BITS)

/* Below SUB_COUNT a bucket a value; above, SUB_COUNT buckets an octave. */
static unsigned int bucket_of(uint64_t value)
{
	unsigned int octave, idx;

	if (value < SUB_COUNT)
		return (unsigned int)value;
	octave = 63 - (unsigned int)__builtin_clzll(value) - HIST_SUB_BITS;
	idx = ((octave + 1) << HIST_SUB_BITS) + (unsigned int)((value >> octave) & (SUB_COUNT - 1));
	return idx < HIST_BUCKETS ? idx : HIST_BUCKETS - 1;
}

static uint64_t lower_edge(unsigned int idx)
{
	unsigned int octave = idx >> HIST_SUB_BITS;

	if (octave == 0)
		return idx;
	return (uint64_t)(SUB_COUNT + (idx & (SUB_COUNT - 1))) << (octave - 1);
}

void hist_add(struct hist *h, uint64_t value)
{
	h->count++;
	h->sum += value;
	if (value > h->max)
		h->max = value;
	h->bucket[bucket_of(value)]++;
}

static uint64_t since(uint64_t now, uint64_t then)
{
	return now < then ? now : now - then;
}

void hist_since(struct hist *out, const struct hist *now, const struct hist *then)
{
	out->count = since(now->count, then->count);
	out->sum = since(now->sum, then->sum);
	out->max = now->max;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		out->bucket[i] = since(now->bucket[i], then->bucket[i]);
}

uint64_t hist_below(const struct hist *h, unsigned int exp)
{
	unsigned int end =
		exp >= HIST_OCTAVES + HIST_SUB_BITS - 1 ? HIST_BUCKETS : bucket_of(1ULL << exp);
	uint64_t nr = 0;

	for (unsigned int i = 0; i < end; i++)
		nr += h->bucket[i];
	return nr;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
	uint64_t rank, seen = 0, edge = 0;

	if (!(q > 0))
		q = 0;
	else if (q > 1)
		q = 1;
	rank = (uint64_t)(q * (double)h->count);
	if (rank < q * (double)h->count || rank == 0)
		rank++;
	/* Another process may be adding: the buckets may lag behind the count. */
	for (unsigned int i = 0; i < HIST_BUCKETS && seen < rank; i++) {
		if (h->bucket[i]) {
			seen += h->bucket[i];
			edge = lower_edge(i);
		}
	}
	return edge;
}
