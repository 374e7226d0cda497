/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/bpf_pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bpf/pins.h"
#include "bpf/pins.skel.h"
#include "client/capture/uffd.h"
#include "common/base/err.h"
#include "common/base/log.h"

_Static_assert(PINS_PAGES == CHUNK_PAGES, "a chunk has one page table");

struct bpf_pins {
	struct pins_bpf *skel;
};

int pins_alone(struct bpf_pins *p, int pagemap_fd, uint64_t chunk_va, const pageset *want,
	       pageset *alone, unsigned int *users)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct pins_shared *sh = &p->skel->bss->shared;
	int err;

	sh->pagemap_fd = pagemap_fd;
	sh->va = chunk_va;
	memcpy(sh->want, want->w, sizeof(sh->want));
	err = bpf_prog_test_run_opts(bpf_program__fd(p->skel->progs.pins), &opts);
	if (err)
		return err;
	if (sh->res)
		return -ENODATA;
	memcpy(alone->w, sh->alone, sizeof(alone->w));
	*users = (unsigned int)sh->users;
	return 0;
}

/* Pages of a chunk of our own: the first is not protected, the second is pinned, some that
 * were written last have a reference until their CPU has more of their kind. */
#define TRY_PAGES    256U
#define TRY_EXPECTED 64U

struct trial {
	char *chunk;
	int uffd, pagemap_fd, pipe[2];
};

static int prepare(struct trial *t)
{
	uint64_t va = (uintptr_t)t->chunk;
	struct iovec pinned = {t->chunk + PAGE_BYTES, PAGE_BYTES};
	int err;

	madvise(t->chunk, CHUNK_BYTES, MADV_NOHUGEPAGE);
	for (unsigned int i = 0; i < TRY_PAGES; i++)
		t->chunk[i * PAGE_BYTES] = 1;
	if (vmsplice(t->pipe[1], &pinned, 1, 0) != (ssize_t)PAGE_BYTES)
		return -errno;
	err = uffd_register(t->uffd, va, va + CHUNK_BYTES);
	return err ? err : uffd_guard(t->uffd, va + PAGE_BYTES, va + TRY_PAGES * PAGE_BYTES);
}

static bool is_right(struct bpf_pins *p, const struct trial *t)
{
	unsigned int users = 0;
	pageset want, alone;

	memset(&want, 0xff, sizeof(want));
	if (pins_alone(p, t->pagemap_fd, (uintptr_t)t->chunk, &want, &alone, &users) || !users)
		return false;
	return !pageset_has(&alone, 0) && !pageset_has(&alone, 1) &&
	       pageset_count(&alone) >= TRY_EXPECTED &&
	       pageset_next(&alone, TRY_PAGES) == CHUNK_PAGES;
}

/* Where the kernel has its maps when it does not move them about at boot
 * (Documentation/arch/x86/x86_64/mm.rst). */
static const struct place {
	uint64_t direct_map, page_map;
	uint32_t levels;
} places[] = {
	{0, 0, 4},
	{0, 0, 5},
	{0xffff888000000000ULL, 0xffffea0000000000ULL, 4},
	{0xff11000000000000ULL, 0xffd4000000000000ULL, 5},
};

static int find_place(struct bpf_pins *p, const struct trial *t)
{
	struct pins_shared *sh = &p->skel->bss->shared;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		sh->direct_map = places[i].direct_map;
		sh->page_map = places[i].page_map;
		sh->levels = places[i].levels;
		if (is_right(p, t))
			return 0;
	}
	return -EOPNOTSUPP;
}

static int try_it(struct bpf_pins *p, int dev_fd)
{
	struct trial t = {.pipe = {-1, -1}};
	char *mem = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	int err = -EOPNOTSUPP;

	if (mem == MAP_FAILED)
		return -errno;
	t.chunk = (char *)(((uintptr_t)mem + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1));
	t.pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	t.uffd = uffd_new(dev_fd);
	if (t.pagemap_fd >= 0 && t.uffd >= 0 && !pipe2(t.pipe, O_CLOEXEC | O_NONBLOCK)) {
		err = prepare(&t);
		if (!err)
			err = find_place(p, &t);
	}
	for (int i = 0; i < 2; i++)
		if (t.pipe[i] >= 0)
			close(t.pipe[i]);
	if (t.uffd >= 0)
		close(t.uffd);
	if (t.pagemap_fd >= 0)
		close(t.pagemap_fd);
	munmap(mem, 2 * CHUNK_BYTES);
	return err;
}

static int to_debug_log(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char line[256];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = 0;
	log_debug("bpf: %s", line);
	return 0;
}

int pins_load(int dev_userfaultfd, struct bpf_pins **out)
{
	struct bpf_pins *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	libbpf_set_print(to_debug_log);
	p->skel = pins_bpf__open_and_load();
	err = p->skel ? try_it(p, dev_userfaultfd) : -errno;
	if (!err) {
		*out = p;
		return 0;
	}
	pins_unload(p);
	if (err == -EPERM || err == -EACCES)
		return err_set(err,
			       "this kernel can't move pages (Linux 6.8): so rmem has to load a "
			       "BPF program that sees pinned pages, and has no right to "
			       "(CAP_BPF and CAP_PERFMON, or root; no lockdown of the kernel)");
	return err_set(
		err,
		"this kernel can't move pages (Linux 6.8), and pinned pages can't be seen by BPF "
		"here: %s",
		strerror(-err));
}

void pins_unload(struct bpf_pins *p)
{
	if (!p)
		return;
	pins_bpf__destroy(p->skel);
	free(p);
}
