/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/first_look.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/log.h"

#define LOOK_PAGE   4096UL
#define LOOK_PAGES  32U /* every other one of as many again: in one run fewer are asked for */
#define LOOK_BYTES  (2 * LOOK_PAGES * LOOK_PAGE)
#define LOOK_ROUNDS 3U /* the best of them: others run, too */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

static bool copy_by_kernel(char *to, char *from)
{
	struct iovec here[LOOK_PAGES], there[LOOK_PAGES];

	for (unsigned int i = 0; i < LOOK_PAGES; i++) {
		here[i] = (struct iovec){to + 2 * i * LOOK_PAGE, LOOK_PAGE};
		there[i] = (struct iovec){from + 2 * i * LOOK_PAGE, LOOK_PAGE};
	}
	return process_vm_readv(getpid(), here, LOOK_PAGES, there, LOOK_PAGES, 0) == LOOK_BYTES / 2;
}

static bool copy_by_looking(char *to, char *from)
{
	for (unsigned int i = 0; i < LOOK_PAGES; i++)
		memcpy(to + 2 * i * LOOK_PAGE, from + 2 * i * LOOK_PAGE, LOOK_PAGE);
	return true;
}

/* Moves the pages from one place to another, where nobody has looked at them, and copies. */
static bool one_round(char *area, char **at, bool (*copy)(char *to, char *from), uint64_t *best)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
	char *to = area + (*at == area ? LOOK_BYTES : 0);
	uint64_t since;

	if (mremap(*at, LOOK_BYTES, LOOK_BYTES, flags, to) != to)
		return false;
	*at = to;
	since = now_ns();
	if (!copy(area + 2 * LOOK_BYTES, to))
		return false;
	since = now_ns() - since;
	if (since < *best)
		*best = since;
	return true;
}

static uint64_t measure_in(char *area)
{
	uint64_t looking = UINT64_MAX, kernel = UINT64_MAX;
	char *at = area;

	/* A huge page would be looked at once for many. */
	madvise(area, 3 * LOOK_BYTES, MADV_NOHUGEPAGE);
	memset(area, 1, LOOK_BYTES);
	memset(area + 2 * LOOK_BYTES, 1, LOOK_BYTES);
	for (unsigned int i = 0; i < LOOK_ROUNDS; i++)
		if (!one_round(area, &at, copy_by_looking, &looking) ||
		    !one_round(area, &at, copy_by_kernel, &kernel))
			return 0;
	looking /= LOOK_PAGES;
	kernel /= LOOK_PAGES;
	log_debug("first look: %lu ns a page, by the kernel %lu", looking, kernel);
	return looking > 2 * kernel ? looking - kernel : 0;
}

static uint64_t measure(void)
{
	char *area = mmap(NULL, 3 * LOOK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	uint64_t ns;

	if (area == MAP_FAILED)
		return 0;
	ns = measure_in(area);
	munmap(area, 3 * LOOK_BYTES);
	return ns;
}

uint64_t first_look_ns(void)
{
	static uint64_t ns = UINT64_MAX;

	if (ns == UINT64_MAX)
		ns = measure();
	return ns;
}
