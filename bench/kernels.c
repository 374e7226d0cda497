/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels NAME: a computation whose way through memory does not depend on its data.
 * matrix: a product of two matrices, 96 MiB in all, by quarters. fft: a Fourier transform
 * in place, 96 MiB with its roots of unity: the points are first swapped to the places whose
 * numbers are theirs, bits reversed, and then gone through 22 times. walk: through 96 MiB in
 * an order without a pattern, ten times, with 2,000 additions at each page.
 */
#include <complex.h>
#include <math.h>

#include "bench/bench.h"

#define N      2048UL	   /* 32 MiB a matrix */
#define POINTS (1UL << 22) /* 64 MiB */
#define PAGES  24576UL	   /* 96 MiB */

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

static void swap_reversed(double complex *x)
{
	for (size_t i = 0, j = 0; i < POINTS; i++) {
		if (i < j) {
			double complex t = x[i];

			x[i] = x[j];
			x[j] = t;
		}
		for (size_t bit = POINTS / 2; (j ^= bit) < bit && bit; bit /= 2)
			;
	}
}

/* Cooley and Tukey, 1965. */
static double fft(uint64_t *start)
{
	double complex *x = zeroed((POINTS + POINTS / 2) * sizeof(*x)), *root = x + POINTS;

	for (size_t i = 0; i < POINTS; i++)
		x[i] = (double)(mix64(i) % 7);
	for (size_t i = 0; i < POINTS / 2; i++)
		root[i] = cexp(-2 * M_PI * I * (double)i / (double)POINTS);
	*start = now_ns();
	swap_reversed(x);
	for (size_t half = 1; half < POINTS; half *= 2)
		for (size_t i = 0; i < POINTS; i += 2 * half)
			for (size_t k = 0; k < half; k++) {
				double complex odd =
					x[i + half + k] * root[k * (POINTS / 2 / half)];

				x[i + half + k] = x[i + k] - odd;
				x[i + k] += odd;
			}
	return creal(x[1]) + cimag(x[POINTS / 3]);
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

static const struct {
	const char *name;
	double (*run)(uint64_t *start);
} kernels[] = {{"matrix", matrix}, {"fft", fft}, {"walk", walk}};

int main(int argc, char **argv)
{
	uint64_t start = 0;

	alarm(LIMIT_S);
	for (size_t i = 0; argc == 2 && i < sizeof(kernels) / sizeof(*kernels); i++)
		if (!strcmp(argv[1], kernels[i].name)) {
			double sum = kernels[i].run(&start);

			printf("{\"seconds\": %.3f, \"sum\": %.6f}\n",
			       (double)(now_ns() - start) / 1e9, sum);
			return 0;
		}
	fprintf(stderr, "usage: kernels matrix|fft|walk\n");
	return 2;
}
