/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults MIB ROUNDS: what a first touch of a page costs a program that nobody manages.
 * Says the time a fault of the quickest round, and of all of them.
 */
#include "bench/bench.h"

int main(int argc, char **argv)
{
	uint64_t bytes, rounds, best = UINT64_MAX, all = 0;
	volatile char *mem;

	if (argc != 3)
		return 2;
	alarm(LIMIT_S);
	bytes = number(argv[1]) << 20;
	rounds = number(argv[2]);
	mem = (volatile char *)map_bytes(bytes);
	for (uint64_t r = 0; r < rounds; r++) {
		uint64_t t = now_ns();

		for (uint64_t i = 0; i < bytes; i += PAGE)
			mem[i] = 1;
		t = now_ns() - t;
		all += t;
		best = t < best ? t : best;
		madvise((void *)mem, bytes, MADV_DONTNEED);
	}
	printf("{\"best_ns\": %.1f, \"mean_ns\": %.1f}\n", (double)best / (double)(bytes / PAGE),
	       (double)all / (double)(rounds * (bytes / PAGE)));
	return 0;
}
