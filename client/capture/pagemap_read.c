/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/pagemap_read.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/core/types.h"

/* Documentation/admin-guide/mm/pagemap.rst */
#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_SWAPPED (1ULL << 62)
#define ENTRY_FILE    (1ULL << 61)
#define ENTRY_PFN     ((1ULL << 55) - 1)
#define READ_PAGES    512U

static uint64_t zero_pfn, huge_zero_pfn; /* 0: can't be told */

static uint64_t pfn_at(int fd, const void *va)
{
	off_t off = (off_t)((uintptr_t)va >> PAGE_SHIFT) * 8;
	uint64_t e = 0;

	if (pread(fd, &e, sizeof(e), off) != sizeof(e) || !(e & ENTRY_PRESENT))
		return 0;
	return e & ENTRY_PFN;
}

/* The pages of zeros that the kernel shows where nothing was written: what it shows us. */
static void learn_zeros(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *mem = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *chunk = (char *)(((uintptr_t)mem + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1));
	uint64_t first;

	if (fd < 0 || mem == MAP_FAILED)
		return;
	munlock(mem, 2 * CHUNK_BYTES);
	madvise(mem, 2 * CHUNK_BYTES, MADV_DONTNEED); /* locked, it would be ours at once */
	madvise(chunk, CHUNK_BYTES, MADV_HUGEPAGE);
	(void)*(volatile char *)chunk;
	first = pfn_at(fd, chunk);
	if (first && pfn_at(fd, chunk + CHUNK_BYTES - PAGE_BYTES) == first + CHUNK_PAGES - 1)
		huge_zero_pfn = first;
	madvise(chunk, CHUNK_BYTES, MADV_DONTNEED);
	madvise(chunk, CHUNK_BYTES, MADV_NOHUGEPAGE);
	(void)*(volatile char *)chunk;
	zero_pfn = pfn_at(fd, chunk);
	munmap(mem, 2 * CHUNK_BYTES);
	close(fd);
}

static bool is_zeros(uint64_t entry)
{
	uint64_t pfn = entry & ENTRY_PFN;

	if (!(entry & ENTRY_PRESENT) || !pfn)
		return false;
	return pfn == zero_pfn ||
	       (huge_zero_pfn && pfn >= huge_zero_pfn && pfn < huge_zero_pfn + CHUNK_PAGES);
}

static bool is_wanted(uint64_t entry, uint64_t not )
{
	if (!(entry & (ENTRY_PRESENT | ENTRY_SWAPPED)))
		return false;
	return !(not &PAGE_IS_FILE && entry & ENTRY_FILE) &&
	       !(not &PAGE_IS_PFNZERO && is_zeros(entry));
}

int pagemap_read_regions(int fd, uint64_t not, uint64_t start, uint64_t end,
			 struct page_region *region, unsigned int nr, uint64_t max_pages,
			 uint64_t *next)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t entry[READ_PAGES], pages = 0;
	unsigned int n = 0;

	pthread_once(&once, learn_zeros);
	*next = start;
	while (*next < end) {
		uint64_t want = (end - *next) >> PAGE_SHIFT;
		ssize_t got = pread(fd, entry, (want < READ_PAGES ? want : READ_PAGES) * 8,
				    (off_t)(*next >> PAGE_SHIFT) * 8);

		if (got < 0)
			return -errno;
		if (!got) /* the space is gone, or ends here */
			break;
		for (unsigned int i = 0; i < got / 8; i++, *next += PAGE_BYTES) {
			if (!is_wanted(entry[i], not ))
				continue;
			if (max_pages && pages == max_pages)
				return (int)n;
			pages++;
			if (n && region[n - 1].end == *next) {
				region[n - 1].end += PAGE_BYTES;
				continue;
			}
			if (n == nr)
				return (int)n;
			region[n++] =
				(struct page_region){.start = *next, .end = *next + PAGE_BYTES};
		}
	}
	*next = end;
	return (int)n;
}
