/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fits MIB ROUNDS: a job that fits its cap. Each round touches random and
 * sequential memory, maps and unmaps some, and makes system calls, in parts
 * that take about as long as each other.
 */
#include <sys/syscall.h>

#include "bench/bench.h"

#define TOUCHES 40000U
#define SWEEP	(8UL << 20)
#define CALLS	20000U
#define PIECES	8U
#define PIECE	(1UL << 20)

static uint64_t touch_random(uint64_t *mem, uint64_t nr_words, uint64_t seed)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < TOUCHES; i++)
		sum += mem[mix64(seed * TOUCHES + i) % nr_words]++;
	return sum;
}

static uint64_t sweep(const uint64_t *mem, uint64_t bytes, uint64_t round)
{
	uint64_t start = round * SWEEP % (bytes - SWEEP) / sizeof(*mem), sum = 0;

	for (uint64_t i = 0; i < SWEEP / sizeof(*mem); i++)
		sum += mem[start + i];
	return sum;
}

static void call(void)
{
	for (uint64_t i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
}

static void map_and_unmap(void)
{
	for (uint64_t i = 0; i < PIECES; i++) {
		void *p = map_bytes(PIECE);

		for (uint64_t off = 0; off < PIECE; off += PAGE)
			((volatile char *)p)[off] = 1;
		munmap(p, PIECE);
	}
}

int main(int argc, char **argv)
{
	uint64_t bytes, rounds, sum = 0, *mem;

	if (argc != 3)
		return 2;
	alarm(LIMIT_S);
	bytes = number(argv[1]) << 20;
	rounds = number(argv[2]);
	mem = map_bytes(bytes);
	madvise(mem, bytes / 2, MADV_HUGEPAGE); /* a hint */
	for (uint64_t i = 0; i < bytes / PAGE; i++)
		page_fill(mem + i * PAGE_WDS, i);
	for (uint64_t r = 0; r < rounds; r++) {
		sum += touch_random(mem, bytes / sizeof(*mem), r);
		sum += sweep(mem, bytes, r);
		call();
		map_and_unmap();
	}
	printf("{\"sum\": %lu}\n", sum);
	return 0;
}
