/* SPDX-License-Identifier: Apache-2.0 */
/* Accessed bits of another process, read by BPF and cleared by MADV_COLD. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/capture/bpf_ages.h"
#include "client/capture/bpf_fast.h"
#include "client/capture/kernel_maps.h"
#include "client/capture/proc.h"
#include "common/base/err.h"
#include "tests/zero_page.h"

static struct bpf_fast *fast;
static struct bpf_ages *ages;
static char *chunk;
static pid_t child;
static int child_pidfd, sock;

#define ONLY_READ 0x1000U

/* Touches the page that it is told, and says so. */
static void serve(int fd)
{
	unsigned int idx;

	while (read(fd, &idx, sizeof(idx)) == sizeof(idx)) {
		volatile char *byte = chunk + (idx & ~ONLY_READ) * PAGE_BYTES;

		if (idx & ONLY_READ)
			(void)*byte;
		else
			++*byte;
		if (write(fd, &idx, sizeof(idx)) < 0)
			break;
	}
	_exit(0);
}

static void touch(unsigned int idx)
{
	assert_int_equal(write(sock, &idx, sizeof(idx)), sizeof(idx));
	assert_int_equal(read(sock, &idx, sizeof(idx)), sizeof(idx));
}

/* MADV_COLD passes over pages that are not on a list of the kernel's yet, and makes only its
 * own processor put those there that it has touched (lru_add_drain(), mm/swap.c). */
static void stay_on_this_processor(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static int begin(void **state)
{
	int pair[2];
	char *mem = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	(void)state;
	chunk = (char *)(((uintptr_t)mem + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1));
	madvise(chunk, CHUNK_BYTES, MADV_NOHUGEPAGE);
	stay_on_this_processor();
	if (mem == MAP_FAILED || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		return -1;
	sock = pair[0];
	child = fork();
	if (!child) {
		close(pair[0]);
		serve(pair[1]);
	}
	close(pair[1]);
	child_pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	return child_pidfd < 0 ? -1 : 0;
}

static int end(void **state)
{
	(void)state;
	close(sock);
	waitpid(child, NULL, 0);
	close(child_pidfd);
	return 0;
}

static void young_are(const pageset *want)
{
	pageset young;

	assert_int_equal(ages_young(ages, child, (uintptr_t)chunk, &young), 0);
	assert_memory_equal(&young, want, sizeof(young));
}

static void untouched_memory_is_not_young(void **state)
{
	const pageset none = {{0}};

	(void)state;
	young_are(&none);
}

static void what_was_touched_is_young_until_it_is_cleared(void **state)
{
	pageset all = {{0}}, some = {{0}}, rest = {{0}};

	(void)state;
	for (unsigned int i = 0; i < CHUNK_PAGES; i += 3) {
		touch(i);
		pageset_add(&all, i);
		pageset_add(i % 2 ? &some : &rest, i);
	}
	young_are(&all);
	assert_int_equal(ages_clear(child_pidfd, (uintptr_t)chunk, &some), 0);
	young_are(&rest);
	touch(3); /* the processor remembers nothing of what was cleared */
	touch(511 - 511 % 3);
	pageset_add(&rest, 3);
	pageset_add(&rest, 511 - 511 % 3);
	young_are(&rest);
}

/* By both ways of looking. */
static void what_is_there_is_what_pagemap_says(void **state)
{
	int pagemap = proc_open_pagemap(child);
	uint64_t va = (uintptr_t)chunk;
	pageset any, own, guarded, want;
	unsigned int idx = 1;

	(void)state;
	assert_true(pagemap >= 0);
	for (unsigned int n = 0; n < 300; n++) {
		if (n % 20 == 0) {
			assert_int_equal(ages_present(ages, child, va, &any, &own, &guarded), 0);
			assert_int_equal(proc_any(pagemap, va, va + CHUNK_BYTES, &want), 0);
			assert_memory_equal(&any, &want, sizeof(any));
			assert_int_equal(proc_present(pagemap, va, va + CHUNK_BYTES, &want), 0);
			assert_memory_equal(&own, &want, sizeof(own));
		}
		idx = idx * 75 % 509;
		touch(idx | (n % 3 ? 0 : ONLY_READ));
	}
	assert_true(pageset_count(&own) > 100);
	assert_int_equal(pageset_count(&any) > pageset_count(&own), kernel_has_zero_page());
	close(pagemap);
}

static void who_is_gone_is_not_told_of(void **state)
{
	pageset young;

	(void)state;
	assert_true(ages_young(ages, 4194303, (uintptr_t)chunk, &young) < 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_true(ages_young(ages, child, (uintptr_t)chunk, &young) < 0);
}

/* No bar, but nobody should have to wait for it: 3 us where this was written. */
static void it_takes_microseconds(void **state)
{
	struct timespec a, b;
	pageset young;

	(void)state;
	touch(7);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(ages_young(ages, child, (uintptr_t)chunk, &young), 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%ld ns a chunk\n",
	       ((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec) / 1000);
}

/* As on a machine whose kernel has moved them about, which neither guests nor all hosts do. */
static void where_the_kernel_says_its_maps_are_they_are(void **state)
{
	struct fast_shared *shared;
	struct bpf_fast *again;
	struct kernel_maps maps;

	(void)state;
	kernel_maps_left_out = 2;
	if (!kernel_maps_guess(0, &maps)) {
		printf("skipped: this kernel doesn't say where its maps are\n");
		skip();
	}
	assert_int_equal(fast_load(&again, &shared), 0);
	fast_unload(again);
	kernel_maps_left_out = 0;
}

/* As the pager does, before it loads them. */
static void who_locks_all_of_his_memory_can_read_them_too(void **state)
{
	struct fast_shared *shared;
	struct bpf_fast *another;
	struct bpf_ages *second;
	int err;

	(void)state;
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		skip();
	assert_int_equal(fast_load(&another, &shared), 0);
	err = ages_load(shared->direct_map, shared->levels, &second);
	if (err)
		fail_msg("%s", err_text(err));
	ages_unload(second);
	fast_unload(another);
	munlockall();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(untouched_memory_is_not_young, begin, end),
		cmocka_unit_test_setup_teardown(what_was_touched_is_young_until_it_is_cleared,
						begin, end),
		cmocka_unit_test_setup_teardown(what_is_there_is_what_pagemap_says, begin, end),
		cmocka_unit_test_setup_teardown(who_is_gone_is_not_told_of, begin, end),
		cmocka_unit_test_setup_teardown(it_takes_microseconds, begin, end),
		cmocka_unit_test(who_locks_all_of_his_memory_can_read_them_too),
		cmocka_unit_test(where_the_kernel_says_its_maps_are_they_are),
	};
	struct fast_shared *shared;
	int err = fast_load(&fast, &shared);

	if (!err)
		err = ages_load(shared->direct_map, shared->levels, &ages);
	if (err) {
		printf("skipped: %s\n", err_text(err));
		return 77;
	}
	err = cmocka_run_group_tests(tests, NULL, NULL);
	ages_unload(ages);
	fast_unload(fast);
	return err;
}
