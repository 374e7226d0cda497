/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/bpf_pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bpf/pins.h"
#include "bpf/pins.skel.h"
#include "client/capture/kernel_maps.h"
#include "common/base/err.h"

_Static_assert(PINS_PAGES == CHUNK_PAGES, "a chunk has one page table");

struct bpf_pins {
	struct pins_bpf *skel;
	char *drain; /* a page of ours */
};

/* Pages that came lately are held for a while by lists of the processor that brought
 * them, mostly ours: this empties them. */
static void drain_lists(const struct bpf_pins *p)
{
	madvise(p->drain, PAGE_BYTES, MADV_COLD);
}

int pins_read(struct bpf_pins *p, int pidfd, uint64_t chunk_va, pageset *free, pageset *young)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct pins_shared *sh = &p->skel->bss->shared;
	int err;

	drain_lists(p);
	sh->pidfd = pidfd;
	sh->va = chunk_va;
	sh->res = -1;
	err = bpf_prog_test_run_opts(bpf_program__fd(p->skel->progs.pins), &opts);
	if (err)
		return err;
	if (sh->res)
		return -ENODATA;
	memcpy(free->w, sh->free, sizeof(free->w));
	if (young)
		memcpy(young->w, sh->young, sizeof(young->w));
	return 0;
}

/* Of three pages the first is not there, a pipe holds the second, the third is free. */
static int tells(struct bpf_pins *p, int pidfd, char *chunk)
{
	struct iovec second = {chunk + PAGE_BYTES, PAGE_BYTES};
	pageset free, held;
	int end[2], err;

	if (pipe2(end, O_CLOEXEC))
		return -errno;
	err = pins_read(p, pidfd, (uintptr_t)chunk, &free, NULL);
	if (!err && vmsplice(end[1], &second, 1, 0) != PAGE_BYTES)
		err = -errno;
	if (!err)
		err = pins_read(p, pidfd, (uintptr_t)chunk, &held, NULL);
	close(end[0]);
	close(end[1]);
	if (!err && ((free.w[0] & 7) != 6 || (held.w[0] & 7) != 4))
		err = -EOPNOTSUPP;
	return err;
}

static int try_all(struct bpf_pins *p, int pidfd, char *chunk)
{
	struct pins_shared *sh = &p->skel->bss->shared;
	struct kernel_maps maps;
	int err = -EOPNOTSUPP;

	for (unsigned int i = 0; kernel_maps_guess(i, &maps); i++) {
		sh->direct_map = maps.direct_map;
		sh->direct_map_at = maps.direct_map_at;
		sh->page_map = maps.page_map;
		sh->page_map_at = maps.page_map_at;
		sh->levels = maps.levels;
		err = tells(p, pidfd, chunk);
		if (!err || err == -EPERM)
			break;
	}
	return err;
}

static int try_it(struct bpf_pins *p)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), err;
	char *mem = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	char *chunk;

	if (pidfd < 0 || mem == MAP_FAILED)
		return -errno;
	chunk = (char *)(((uintptr_t)mem + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1));
	madvise(mem, 2 * CHUNK_BYTES, MADV_NOHUGEPAGE);
	munlock(mem, 2 * CHUNK_BYTES);
	madvise(chunk, PAGE_BYTES, MADV_DONTNEED); /* locked memory came at once */
	chunk[PAGE_BYTES] = chunk[2 * PAGE_BYTES] = 1;
	err = try_all(p, pidfd, chunk);
	munmap(mem, 2 * CHUNK_BYTES);
	close(pidfd);
	return err;
}

static int load(struct bpf_pins *p)
{
	int err;

	p->drain =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->drain == MAP_FAILED)
		return -errno;
	munlock(p->drain, PAGE_BYTES); /* locked, it would empty nothing */
	libbpf_set_print(NULL);	       /* what fails is said by the caller */
	p->skel = pins_bpf__open();
	err = p->skel ? pins_bpf__load(p->skel) : -errno;
	return err ? err : try_it(p);
}

int pins_load(struct bpf_pins **out)
{
	struct bpf_pins *p = calloc(1, sizeof(*p));
	int err = p ? load(p) : -ENOMEM;

	if (!err) {
		*out = p;
		return 0;
	}
	pins_unload(p);
	if (err == -EPERM || err == -EACCES)
		return err_set(err, "no right to load BPF programs (CAP_BPF and CAP_PERFMON, or "
				    "root; and no lockdown of the kernel)");
	return err_set(err, "BPF can't tell here which pages are pinned: %s", strerror(-err));
}

void pins_unload(struct bpf_pins *p)
{
	if (!p)
		return;
	pins_bpf__destroy(p->skel);
	if (p->drain && p->drain != MAP_FAILED)
		munmap(p->drain, PAGE_BYTES);
	free(p);
}
