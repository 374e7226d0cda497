/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/bpf_fast.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bpf/fast.skel.h"
#include "client/capture/kernel_maps.h"
#include "client/core/types.h"
#include "common/base/err.h"
#include "common/base/log.h"

struct bpf_fast {
	struct fast_bpf *skel;
	struct ring_buffer *alarm;
};

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

#define TEST_WORD 0x72656d656d206f6bULL

static int run_test(struct fast_bpf *skel, const uint64_t *word)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int err;

	skel->bss->shared.test_va = (uintptr_t)word;
	skel->bss->shared.test_word = 0;
	err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.self_test), &opts);
	skel->bss->shared.test_va = 0;
	return err;
}

/* The first of the two pages has been written to, the second not. */
static bool walk_is_right(struct fast_bpf *skel, const struct kernel_maps *maps,
			  const uint64_t *pages)
{
	struct fast_shared *sh = &skel->bss->shared;

	sh->direct_map = maps->direct_map;
	sh->direct_map_at = maps->direct_map_at;
	sh->levels = maps->levels;
	if (run_test(skel, pages) || sh->test_word != TEST_WORD)
		return false;
	return !run_test(skel, pages + PAGE_BYTES / sizeof(*pages)) && !sh->test_pte;
}

static int try_walk(struct fast_bpf *skel)
{
	uint64_t *pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kernel_maps maps;
	bool right = false;

	if (pages == MAP_FAILED)
		return -errno;
	madvise(pages, 2 * PAGE_BYTES, MADV_NOHUGEPAGE);
	pages[0] = TEST_WORD;
	for (unsigned int i = 0; !right && kernel_maps_guess(i, &maps); i++)
		right = walk_is_right(skel, &maps, pages);
	munmap(pages, 2 * PAGE_BYTES);
	return right ? 0 : err_set(-EOPNOTSUPP, "this kernel's page tables can't be read by BPF");
}

/* The programs know processes by the pids of the first pid namespace. */
#define PROC_PID_INIT_INO 0xeffffffcU /* linux/proc_ns.h */

static int check_namespace(void)
{
	struct stat st;

	if (!stat("/proc/self/ns/pid", &st) && st.st_ino != PROC_PID_INIT_INO)
		return err_set(-EOPNOTSUPP, "rmem runs in a pid namespace");
	return 0;
}

static int load_error(int err)
{
	if (err == -EPERM || err == -EACCES)
		return err_set(err, "no right to load BPF programs (CAP_BPF and CAP_PERFMON, or "
				    "root; and no lockdown of the kernel)");
	return err_set(err, "BPF programs can't be loaded here: %s", strerror(-err));
}

static int ignore(void *ctx, void *data, size_t bytes)
{
	(void)ctx, (void)data, (void)bytes;
	return 0;
}

static int load(struct bpf_fast *b)
{
	int err;

	libbpf_set_print(to_debug_log);
	b->skel = fast_bpf__open();
	err = b->skel ? fast_bpf__load(b->skel) : -errno;
	if (err)
		return load_error(err);
	err = try_walk(b->skel);
	if (err)
		return err;
	b->alarm = ring_buffer__new(bpf_map__fd(b->skel->maps.alarm), ignore, NULL, NULL);
	err = b->alarm ? fast_bpf__attach(b->skel) : -errno;
	return err ? load_error(err) : 0;
}

int fast_alarm_fd(const struct bpf_fast *b)
{
	return bpf_map__fd(b->skel->maps.alarm);
}

bool fast_alarm_rang(struct bpf_fast *b)
{
	return ring_buffer__consume(b->alarm) > 0;
}

int fast_load(struct bpf_fast **out, struct fast_shared **shared)
{
	struct bpf_fast *b;
	int err = check_namespace();

	if (err)
		return err;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	err = load(b);
	if (err) {
		fast_unload(b);
		return err;
	}
	*out = b;
	*shared = &b->skel->bss->shared;
	return 0;
}

void fast_unload(struct bpf_fast *b)
{
	if (!b)
		return;
	ring_buffer__free(b->alarm);
	fast_bpf__destroy(b->skel);
	free(b);
}
