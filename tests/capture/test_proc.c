/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc says about a process whose shape is known: this one.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "tests/capture/fixture.h"
#include "tests/zero_page.h"

struct find {
	uint64_t va;
	struct proc_map map;
	bool found, sorted;
	uint64_t last;
};

static int find_map(void *ctx, const struct proc_map *m)
{
	struct find *f = ctx;

	f->sorted = f->sorted && m->start >= f->last;
	f->last = m->end;
	if (f->va >= m->start && f->va < m->end) {
		f->map = *m;
		f->found = true;
	}
	return 0;
}

static struct proc_map map_of(const void *at, bool smaps)
{
	struct find f = {.va = (uint64_t)at, .sorted = true};

	if (smaps)
		assert_int_equal(proc_smaps_each(getpid(), find_map, &f), 0);
	else
		assert_int_equal(proc_maps_each(getpid(), find_map, &f), 0);
	assert_true(f.found);
	assert_true(f.sorted);
	return f.map;
}

static void *map_pages(size_t nr, int flags)
{
	void *p = mmap(NULL, nr * PAGE_BYTES, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static int stop_at_once(void *ctx, const struct proc_map *m)
{
	(void)m;
	return ++*(int *)ctx;
}

static void mappings_are_told_apart(void **state)
{
	char *own = map_pages(4, MAP_PRIVATE), *shared = map_pages(4, MAP_SHARED);
	struct proc_map m;
	int local, calls = 0;

	(void)state;
	m = map_of(own, false);
	assert_true(m.anon && m.r && m.w && !m.x && !m.shared && !m.stack && !m.special);
	m = map_of((char *)sbrk(0) - 1, false);
	assert_true(m.anon);
	m = map_of(shared, false);
	assert_true(m.shared && !m.anon && !m.special);
	m = map_of(&local, false);
	assert_true(m.stack && !m.anon);
	m = map_of((void *)(uintptr_t)map_of, false);
	assert_true(m.x && !m.anon && !m.special);
	assert_int_equal(proc_maps_each(getpid(), stop_at_once, &calls), 1);
	assert_int_equal(calls, 1);
	assert_int_equal(proc_maps_each(0x7ffffff0, stop_at_once, &calls), -ESRCH);
	munmap(own, 4 * PAGE_BYTES);
	munmap(shared, 4 * PAGE_BYTES);
}

static void flags_come_with_smaps(void **state)
{
	char *p = map_pages(4, MAP_PRIVATE);
	struct proc_map m;

	(void)state;
	m = map_of(p, true);
	assert_false(m.wipeonfork || m.dontfork || m.locked || m.uffd_missing || m.io_or_pfn);
	madvise(p, 4 * PAGE_BYTES, MADV_DONTFORK);
	madvise(p, 4 * PAGE_BYTES, MADV_WIPEONFORK);
	assert_int_equal(mlock(p, 4 * PAGE_BYTES), 0);
	m = map_of(p, true);
	assert_true(m.wipeonfork && m.dontfork && m.locked);
	assert_int_equal(m.anon_bytes, 4 * PAGE_BYTES);
	munmap(p, 4 * PAGE_BYTES);
}

static void sizes_follow_what_is_touched(void **state)
{
	uint64_t virt, before, after, pss, anon;
	int fd = proc_open_statm(getpid());
	char *p;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(proc_statm(fd, &virt, &before), 0);
	p = map_pages(4096, MAP_PRIVATE);
	memset(p, 1, 4096 * PAGE_BYTES);
	assert_int_equal(proc_statm(fd, &virt, &after), 0);
	/* the kernel counts in batches for each processor */
	assert_in_range(after - before, 4096 * PAGE_BYTES - (2 << 20),
			4096 * PAGE_BYTES + (2 << 20));
	assert_true(virt > after);
	assert_int_equal(proc_pss_anon(getpid(), &pss, &anon), 0);
	assert_true(anon >= 4096 * PAGE_BYTES && pss <= anon);
	munmap(p, 4096 * PAGE_BYTES);
	close(fd);
	assert_int_equal(proc_open_statm(0x7ffffff0), -ESRCH);
}

static void odd_name_does_not_confuse_stat(void **state)
{
	struct proc_stat st;

	(void)state;
	prctl(PR_SET_NAME, "a) R 1 (b");
	assert_int_equal(proc_stat(getpid(), &st), 0);
	assert_string_equal(st.comm, "a) R 1 (b");
	assert_int_equal(st.ppid, getppid());
	assert_int_equal(st.pgid, getpgid(0));
	assert_int_equal(st.sid, getsid(0));
	assert_int_equal(st.state, 'R');
	assert_true(st.start_ticks > 0 && !st.kthread);
	assert_int_equal(proc_stat(2, &st), 0);
	if (!strcmp(st.comm, "kthreadd"))
		assert_true(st.kthread);
}

static void present_pages_are_exact(void **state)
{
	char *area = map_pages(3 * CHUNK_PAGES, MAP_PRIVATE);
	char *chunk = (char *)(((uint64_t)area + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1));
	int fd = proc_open_pagemap(getpid());
	uint64_t va = (uint64_t)chunk, next;
	unsigned int read = kernel_has_zero_page() ? CHUNK_PAGES : 5;
	pageset got;

	(void)state;
	madvise(area, 3 * CHUNK_BYTES, MADV_NOHUGEPAGE);
	/* every second page: more runs than one call reports; one was only read */
	for (unsigned int i = 0; i < CHUNK_PAGES; i += 2)
		chunk[i * PAGE_BYTES] = 1;
	assert_int_equal(*(volatile char *)(chunk + 5 * PAGE_BYTES), 0);
	assert_int_equal(proc_present(fd, va, va + CHUNK_BYTES, &got), 0);
	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		assert_int_equal(pageset_has(&got, i), i % 2 == 0 || i == read);
	assert_int_equal(proc_any(fd, va, va + CHUNK_BYTES, &got), 0);
	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		assert_int_equal(pageset_has(&got, i), i % 2 == 0 || i == 5);
	assert_int_equal(proc_present(fd, va + 3 * PAGE_BYTES, va + 9 * PAGE_BYTES, &got), 0);
	assert_int_equal(got.w[0], read == 5 ? 0x170 : 0x150);
	assert_int_equal(proc_next_present(fd, va + PAGE_BYTES, va + CHUNK_BYTES, &next), 0);
	assert_int_equal(next, va + 2 * PAGE_BYTES);
	madvise(chunk, CHUNK_BYTES, MADV_DONTNEED);
	assert_int_equal(proc_next_present(fd, va, va + CHUNK_BYTES, &next), 0);
	assert_int_equal(next, va + CHUNK_BYTES);
	close(fd);
	munmap(area, 3 * CHUNK_BYTES);
}

static void *sleep_until(void *arg)
{
	while (!__atomic_load_n((int *)arg, __ATOMIC_SEQ_CST))
		usleep(1000);
	return NULL;
}

/* The thread id, cleared at exit, is in the block that pthread_t points to;
 * glibc has it at 720. */
static uint64_t block_of(pthread_t t)
{
	return ((uint64_t)t + 720) & PAGE_MASK;
}

static bool has_page(const uint64_t *pages, size_t nr, uint64_t page)
{
	for (size_t i = 0; i < nr; i++)
		if (pages[i] == page)
			return true;
	return false;
}

static void control_blocks_of_threads_are_found(void **state)
{
	size_t nr, nr_tids;
	uint64_t *pages;
	pid_t *tids;
	pthread_t t;
	int stop = 0, tries = 0;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, sleep_until, &stop), 0);
	assert_int_equal(proc_tids(getpid(), &tids, &nr_tids), 0);
	assert_int_equal(nr_tids, 2);
	assert_int_equal(tids[0], getpid());
	/* The new thread makes its list known by itself, a moment after it starts. */
	do {
		usleep(1000);
		assert_int_equal(proc_thread_pages(getpid(), &pages, &nr), 0);
	} while (!has_page(pages, nr, block_of(t)) && ++tries < 1000);
	for (size_t i = 1; i < nr; i++)
		assert_true(pages[i] > pages[i - 1]);
	assert_true(has_page(pages, nr, block_of(pthread_self())));
	assert_true(has_page(pages, nr, block_of(t)));
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	pthread_join(t, NULL);
	free(pages);
	free(tids);
}

static void spaces_are_told_apart(void **state)
{
	pid_t other = fork();

	(void)state;
	if (!other)
		for (;;)
			pause();
	assert_int_equal(proc_same_space(getpid(), getpid()), 1);
	assert_int_equal(proc_same_space(getpid(), other), 0);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	assert_int_equal(proc_same_space(getpid(), other), -ESRCH);
}

static void new_tasks_change_the_last_pid(void **state)
{
	int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
	unsigned int running;
	pid_t before, after, pid, *pids;
	bool found = false;
	size_t nr;

	(void)state;
	assert_int_equal(proc_load(fd, &before, &running), 0);
	pid = fork();
	if (!pid)
		_exit(0);
	assert_int_equal(proc_load(fd, &after, &running), 0);
	assert_int_not_equal(before, after);
	assert_int_equal(proc_pids(&pids, &nr), 0);
	for (size_t i = 0; i < nr; i++) {
		found = found || pids[i] == pid;
		assert_true(!i || pids[i] > pids[i - 1]);
	}
	assert_true(found);
	free(pids);
	waitpid(pid, NULL, 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(mappings_are_told_apart),	    TEST(flags_come_with_smaps),
		TEST(sizes_follow_what_is_touched), TEST(odd_name_does_not_confuse_stat),
		TEST(present_pages_are_exact),	    TEST(control_blocks_of_threads_are_found),
		TEST(spaces_are_told_apart),	    TEST(new_tasks_change_the_last_pid),
	};

	return cmocka_run_group_tests(tests, fixture_setup, NULL);
}
