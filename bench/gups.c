/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gups BITS UPDATES: RandomAccess of the HPC Challenge, in one thread: a table of 2^BITS words
 * of 64 bits, each its own index, and UPDATES times one of them, drawn at random, is XORed
 * with what was drawn. The same updates once more must leave each word as it was.
 *
 * Unlike there the number of updates is given, and is not four for each word: where most wait
 * for a page that would take an hour, and the time of one stays the same. And they are drawn
 * from one sequence, as one who verifies does, not from 128 parts of it by turns.
 */
#include "bench/bench.h"

#define POLY 7U

static void update(uint64_t *table, uint64_t mask, uint64_t n)
{
	uint64_t ran = 1;

	for (uint64_t i = 0; i < n; i++) {
		ran = ran << 1 ^ (ran >> 63 ? POLY : 0);
		table[ran & mask] ^= ran;
	}
}

/* Of the words as they are now: to be the same however much memory there was. */
static uint64_t sum_of(const uint64_t *table, uint64_t nr)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < nr; i++)
		sum += mix64(table[i] ^ i);
	return sum;
}

static uint64_t nr_wrong(const uint64_t *table, uint64_t nr)
{
	uint64_t wrong = 0;

	for (uint64_t i = 0; i < nr; i++)
		wrong += table[i] != i;
	return wrong;
}

int main(int argc, char **argv)
{
	uint64_t bits, nr, n, *table, sum, start, ns, wrong;

	if (argc != 3)
		return 2;
	alarm(LIMIT_S);
	bits = number(argv[1]);
	n = number(argv[2]);
	if (bits > 32)
		return 2;
	nr = 1UL << bits;
	table = map_bytes(nr * sizeof(*table));
	for (uint64_t i = 0; i < nr; i++)
		table[i] = i;
	start = now_ns();
	update(table, nr - 1, n);
	ns = now_ns() - start;
	sum = sum_of(table, nr);
	update(table, nr - 1, n);
	wrong = nr_wrong(table, nr);
	if (wrong) {
		fprintf(stderr, "%lu words are wrong\n", wrong);
		return 1;
	}
	printf("{\"result\": \"%016lx\", \"seconds\": %.6f}\n", sum, (double)ns / 1e9);
	return 0;
}
