/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels NAME: a computation whose way through memory does not depend on its data.
 * matrix: a product of two matrices, 96 MiB in all, by quarters. walk: through 96 MiB in
 * an order without a pattern, ten times, with some 2 us of work at each page.
 */
#include "bench/bench.h"

#define N     2048UL  /* 32 MiB a matrix */
#define PAGES 24576UL /* 96 MiB */

static void *zeroed(size_t bytes)
{
	void *m = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	madvise(m, bytes, MADV_NOHUGEPAGE);
	return m;
}

#define LEAF 64UL

/* c += a * b, by quarters, all with rows of N. */
static void multiply(double *restrict c, const double *restrict a, const double *restrict b,
		     size_t n)
{
	size_t h = n / 2, down = h * N;

	if (n == LEAF) {
		for (size_t i = 0; i < LEAF; i++)
			for (size_t k = 0; k < LEAF; k++)
				for (size_t j = 0; j < LEAF; j++)
					c[i * N + j] += a[i * N + k] * b[k * N + j];
		return;
	}
	for (unsigned int q = 0; q < 8; q++) {
		size_t i = q & 1 ? down : 0, j = q & 2 ? h : 0;

		multiply(c + i + j, a + i + (q & 4 ? h : 0), b + (q & 4 ? down : 0) + j, h);
	}
}

static double matrix(uint64_t *start)
{
	double *a = zeroed(3 * N * N * sizeof(*a)), *b = a + N * N, *c = b + N * N, sum = 0;

	for (size_t i = 0; i < N * N; i++) {
		a[i] = (double)(mix64(i) % 7);
		b[i] = (double)(mix64(i) % 5);
	}
	*start = now_ns();
	multiply(c, a, b, N);
	for (size_t i = 0; i < N * N; i += 997)
		sum += c[i];
	return sum;
}

static double walk(uint64_t *start)
{
	static uint32_t order[PAGES];
	uint64_t *mem = zeroed(PAGES * PAGE), sum = 0;
	volatile uint64_t work = 0;

	for (uint32_t i = 0; i < PAGES; i++) {
		order[i] = i;
		mem[i * PAGE_WDS] = i;
	}
	for (uint32_t i = PAGES - 1; i; i--) {
		uint32_t j = (uint32_t)(mix64(i) % (i + 1)), t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	*start = now_ns();
	for (unsigned int round = 0; round < 10; round++)
		for (uint32_t i = 0; i < PAGES; i++) {
			sum += mem[order[i] * PAGE_WDS];
			for (unsigned int k = 0; k < 2000; k++)
				work += k;
		}
	return (double)sum;
}

int main(int argc, char **argv)
{
	uint64_t start = 0;
	double sum;

	alarm(LIMIT_S);
	if (argc != 2 || (strcmp(argv[1], "matrix") && strcmp(argv[1], "walk"))) {
		fprintf(stderr, "usage: kernels matrix|walk\n");
		return 2;
	}
	sum = argv[1][0] == 'm' ? matrix(&start) : walk(&start);
	printf("{\"seconds\": %.3f, \"sum\": %.6f}\n", (double)(now_ns() - start) / 1e9, sum);
	return 0;
}
