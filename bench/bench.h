/* SPDX-License-Identifier: Apache-2.0 */
/* What the small programs measured by bench/run have in common. */
#ifndef RMEM_BENCH_BENCH_H
#define RMEM_BENCH_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE	 4096UL
#define LIMIT_S	 300 /* nothing here outlives this, whatever happens to bench/run */
#define PAGE_WDS (PAGE / sizeof(uint64_t))

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline uint64_t mix64(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static inline uint64_t page_tag(uint64_t idx)
{
	return mix64(idx + 1) | 1;
}

/* Half of each page is random, half is not: swap that compresses gets a fair
 * share, and no page is zero or the same as another. */
static inline void page_fill(uint64_t *page, uint64_t idx)
{
	uint64_t tag = page_tag(idx);

	for (uint64_t i = 0; i < PAGE_WDS / 2; i++)
		page[i] = tag + i * (tag >> 7 | 1);
	for (uint64_t i = PAGE_WDS / 2; i < PAGE_WDS; i++)
		page[i] = idx + 1;
}

static inline uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (end == text || *end || !n) {
		fprintf(stderr, "'%s' is not a positive number\n", text);
		exit(2);
	}
	return n;
}

static inline void *map_bytes(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		fprintf(stderr, "mmap of %lu bytes: %s\n", bytes, strerror(errno));
		exit(1);
	}
	return p;
}

static inline void wait_line(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		;
}

#endif
