/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sort MIB: quicksort of MIB MiB of random 64-bit integers, in place; then their order and
 * their sum are looked at. Not qsort(), which in glibc 2.36 is a merge sort at these sizes.
 */
#include "bench/bench.h"

#define SHORT 16U

static void insertion_sort(uint64_t *a, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint64_t x = a[i];
		size_t j = i;

		for (; j && a[j - 1] > x; j--)
			a[j] = a[j - 1];
		a[j] = x;
	}
}

static uint64_t middle(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t low = a < b ? a : b, high = a < b ? b : a;

	return c < low ? low : c > high ? high : c;
}

/* Both parts are shorter than the whole: each holds at least one of the three looked at. */
static void quicksort(uint64_t *a, size_t n)
{
	while (n > SHORT) {
		uint64_t pivot = middle(a[0], a[n / 2], a[n - 1]), *l = a, *r = a + n - 1;

		while (l <= r) {
			while (*l < pivot)
				l++;
			while (*r > pivot)
				r--;
			if (l <= r) {
				uint64_t t = *l;

				*l++ = *r;
				*r-- = t;
			}
		}
		quicksort(a, (size_t)(r + 1 - a));
		n -= (size_t)(l - a);
		a = l;
	}
	insertion_sort(a, n);
}

int main(int argc, char **argv)
{
	size_t n;
	uint64_t *a, sum = 0;

	if (argc != 2)
		return 2;
	alarm(LIMIT_S);
	n = (number(argv[1]) << 20) / sizeof(*a);
	a = map_bytes(n * sizeof(*a));
	for (size_t i = 0; i < n; i++)
		sum += a[i] = mix64(i + 1);
	quicksort(a, n);
	for (size_t i = 0; i < n; i++) {
		sum -= a[i];
		if (i && a[i - 1] > a[i]) {
			fprintf(stderr, "not in order at %zu\n", i);
			return 1;
		}
	}
	if (sum) {
		fprintf(stderr, "not the numbers that were sorted\n");
		return 1;
	}
	for (size_t i = 0; i < n; i += 997)
		sum += mix64(a[i] ^ i);
	printf("\"%016lx\"\n", sum);
	return 0;
}
