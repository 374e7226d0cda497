/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/bpf_ages.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bpf/ages.h"
#include "bpf/ages.skel.h"
#include "client/capture/proc.h"
#include "client/capture/uffd.h"
#include "common/base/err.h"
#include "common/compat.h"

_Static_assert(AGES_PAGES == CHUNK_PAGES, "a chunk has one page table");

struct bpf_ages {
	struct ages_bpf *skel;
	bool tell_guarded;
};

static int ask(struct bpf_ages *a, pid_t pid, uint64_t chunk_va, bool present)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct ages_shared *sh = &a->skel->bss->shared;
	int err;

	sh->pid = pid;
	sh->present = present;
	sh->va = chunk_va;
	err = bpf_prog_test_run_opts(bpf_program__fd(a->skel->progs.ages), &opts);
	return !err && sh->res ? -ENODATA : err;
}

int ages_young(struct bpf_ages *a, pid_t pid, uint64_t chunk_va, pageset *young)
{
	int err = ask(a, pid, chunk_va, false);

	if (!err)
		memcpy(young->w, a->skel->bss->shared.young, sizeof(young->w));
	return err;
}

int ages_present(struct bpf_ages *a, pid_t pid, uint64_t chunk_va, pageset *any, pageset *own,
		 pageset *guarded)
{
	const struct ages_shared *sh = &a->skel->bss->shared;
	int err = ask(a, pid, chunk_va, true);

	if (err)
		return err;
	memcpy(any->w, sh->any, sizeof(any->w));
	memcpy(own->w, sh->own, sizeof(own->w));
	*guarded = (pageset){{0}};
	if (a->tell_guarded)
		memcpy(guarded->w, sh->guarded, sizeof(guarded->w));
	return 0;
}

bool ages_tell_guarded(const struct bpf_ages *a)
{
	return a->tell_guarded;
}

int ages_clear(int pidfd, uint64_t chunk_va, const pageset *set)
{
	struct iovec run[CHUNK_PAGES / 2];
	unsigned int nr = 0, idx, end;

	for (idx = pageset_next(set, 0); idx < CHUNK_PAGES; idx = pageset_next(set, end)) {
		end = pageset_next_gap(set, idx);
		run[nr++] = (struct iovec){(void *)(chunk_va + idx * PAGE_BYTES),
					   (end - idx) * PAGE_BYTES};
	}
	if (!nr || syscall(SYS_process_madvise, pidfd, run, nr, MADV_COLD, 0) >= 0)
		return 0;
	return -errno;
}

/* As the kernel says: what was only read shows the page of zeros, or on some kernels is a page
 * like any other. */
static bool is_own(const char *chunk, const pageset *own)
{
	uint64_t va = (uintptr_t)chunk;
	int fd = proc_open_pagemap(getpid());
	pageset present;
	bool same = fd >= 0 && !proc_present(fd, va, va + CHUNK_BYTES, &present) &&
		    !memcmp(own, &present, sizeof(present));

	if (fd >= 0)
		close(fd);
	return same;
}

/* Of two pages that were touched, one is touched again after both were cleared; a third was
 * only read. */
static int try_it(struct bpf_ages *a, char *chunk)
{
	const pageset both = {{3}};
	pageset young = {{0}}, any, own, guarded;
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0), err;

	if (pidfd < 0)
		return -errno;
	madvise(chunk, CHUNK_BYTES, MADV_NOHUGEPAGE);
	munlock(chunk, CHUNK_BYTES); /* the pager locks all of its memory, which is never cold */
	chunk[0] = chunk[PAGE_BYTES] = 1;
	err = ages_young(a, getpid(), (uintptr_t)chunk, &young);
	if (!err && young.w[0] != 3)
		err = -EOPNOTSUPP;
	(void)((volatile char *)chunk)[2 * PAGE_BYTES];
	if (!err)
		err = ages_present(a, getpid(), (uintptr_t)chunk, &any, &own, &guarded);
	if (!err && (any.w[0] != 7 || !is_own(chunk, &own)))
		err = -EOPNOTSUPP;
	if (!err)
		err = ages_clear(pidfd, (uintptr_t)chunk, &both);
	close(pidfd);
	((volatile char *)chunk)[PAGE_BYTES]++;
	if (!err)
		err = ages_young(a, getpid(), (uintptr_t)chunk, &young);
	young.w[0] &= both.w[0];
	return !err && young.w[0] != 2 ? -EOPNOTSUPP : err;
}

/* Of two pages of this process the second is protected, and then no longer. Both are there. */
static bool try_guarded(struct bpf_ages *a, char *chunk)
{
	uint64_t va = (uintptr_t)chunk + PAGE_BYTES;
	int fd = uffd_open();
	pageset any, own, before = {{0}}, after = {{~0ULL}};
	bool right;

	if (fd < 0)
		return false;
	a->tell_guarded = true;
	right = !uffd_register(fd, va - PAGE_BYTES, va + PAGE_BYTES) &&
		!uffd_guard(fd, va, va + PAGE_BYTES) &&
		!ages_present(a, getpid(), va - PAGE_BYTES, &any, &own, &before) &&
		!uffd_allow(fd, va, va + PAGE_BYTES) &&
		!ages_present(a, getpid(), va - PAGE_BYTES, &any, &own, &after);
	close(fd);
	return right && before.w[0] == 2 && pageset_count(&before) == 1 && !pageset_count(&after);
}

static int load(struct bpf_ages *a, uint64_t direct_map, uint32_t levels)
{
	char *mem, *chunk;
	int err, tries = 3;

	a->skel = ages_bpf__open_and_load();
	if (!a->skel)
		return -errno;
	a->skel->bss->shared.direct_map = direct_map;
	a->skel->bss->shared.levels = levels;
	mem = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		   0);
	if (mem == MAP_FAILED)
		return -errno;
	chunk = (char *)(((uintptr_t)mem + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1));
	/* Pages that another processor has touched are not cold before it has listed them. */
	do
		err = try_it(a, chunk);
	while (err == -EOPNOTSUPP && --tries);
	a->tell_guarded = !err && try_guarded(a, chunk);
	munmap(mem, 2 * CHUNK_BYTES);
	return err;
}

int ages_load(uint64_t direct_map, uint32_t levels, struct bpf_ages **out)
{
	struct bpf_ages *a = calloc(1, sizeof(*a));
	int err = a ? load(a, direct_map, levels) : -ENOMEM;

	if (!err) {
		*out = a;
		return 0;
	}
	ages_unload(a);
	return err_set(err, "accessed bits can't be read here: %s", strerror(-err));
}

void ages_unload(struct bpf_ages *a)
{
	if (!a)
		return;
	ages_bpf__destroy(a->skel);
	free(a);
}
