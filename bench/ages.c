/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ages MIB: fills memory, and reads which of its pages were accessed, chunk by chunk, as the
 * pager does. Then clears that, and touches every page anew: what this costs the job.
 */
#include <sys/syscall.h>

#include "bench/bench.h"
#include "client/capture/bpf_ages.h"
#include "client/capture/bpf_fast.h"
#include "common/base/err.h"

static char *mem;
static uint64_t nr_chunks;

static void *aligned(uint64_t bytes)
{
	char *p = map_bytes(bytes + CHUNK_BYTES);

	p = (char *)(((uintptr_t)p + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1));
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

static uint64_t touch_all(void)
{
	uint64_t start = now_ns();

	for (uint64_t i = 0; i < nr_chunks * CHUNK_PAGES; i++)
		((volatile char *)mem)[i * PAGE]++;
	return now_ns() - start;
}

static uint64_t read_all(struct bpf_ages *ages, uint64_t *young)
{
	uint64_t start = now_ns();
	pageset set;

	*young = 0;
	for (uint64_t i = 0; i < nr_chunks; i++)
		if (!ages_young(ages, getpid(), (uintptr_t)mem + i * CHUNK_BYTES, &set))
			*young += pageset_count(&set);
	return now_ns() - start;
}

static uint64_t clear_all(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	uint64_t start = now_ns();
	pageset all;

	memset(&all, 0xff, sizeof(all));
	for (uint64_t i = 0; i < nr_chunks; i++)
		if (ages_clear(pidfd, (uintptr_t)mem + i * CHUNK_BYTES, &all))
			exit(1);
	close(pidfd);
	return now_ns() - start;
}

int main(int argc, char **argv)
{
	uint64_t read_ns, clear_ns, again_ns, touch_ns, young, before;
	struct fast_shared *shared;
	struct bpf_fast *fast;
	struct bpf_ages *ages;
	int err;

	if (argc != 2)
		return 2;
	alarm(LIMIT_S);
	nr_chunks = number(argv[1]) / 2;
	mem = aligned(nr_chunks * CHUNK_BYTES);
	err = fast_load(&fast, &shared);
	if (!err)
		err = ages_load(shared->direct_map, shared->levels, &ages);
	if (err) {
		fprintf(stderr, "%s\n", err_text(err));
		return 1;
	}
	touch_all();
	touch_ns = touch_all();
	read_ns = read_all(ages, &before);
	clear_ns = clear_all();
	again_ns = touch_all();
	read_all(ages, &young);
	/* Not exactly: reclaim and monitors of the kernel clear these bits, too. */
	if (before < nr_chunks * CHUNK_PAGES * 99 / 100 || young < before * 99 / 100) {
		fprintf(stderr, "%lu, then %lu pages of %lu were accessed\n", before, young,
			nr_chunks * CHUNK_PAGES);
		return 1;
	}
	printf("{\"read_ns\": %lu, \"clear_ns\": %lu, \"touch_ns\": %lu, \"touch_cleared_ns\": "
	       "%lu}\n",
	       read_ns, clear_ns, touch_ns, again_ns);
	ages_unload(ages);
	fast_unload(fast);
	return 0;
}
