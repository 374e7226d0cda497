/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does reading memory that was never written map the shared zero page, or, as
 * on some kernels for virtual machines, a page of its own? Then it is present
 * like any other, may be moved, and costs memory. No other test may assume.
 */
#ifndef RMEM_TESTS_ZERO_PAGE_H
#define RMEM_TESTS_ZERO_PAGE_H

#include <assert.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGEMAP_EXCLUSIVE (1ULL << 56) /* mapped once: never said of the zero page */

static inline bool kernel_has_zero_page(void)
{
	volatile char *p =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;
	ssize_t got;

	assert(p != MAP_FAILED && fd >= 0 && *p == 0);
	got = pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)p / 4096 * sizeof(entry)));
	assert(got == (ssize_t)sizeof(entry));
	close(fd);
	munmap((void *)p, 4096);
	return !(entry & PAGEMAP_EXCLUSIVE);
}

#endif
