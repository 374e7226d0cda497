/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent does on command, against the real kernel: pages go out and
 * come back whole, and those that must not go stay.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "common/compat.h"
#include "tests/capture/fixture.h"

#define AREA_VA	    ((uint64_t)0x600000000000)
#define AREA_CHUNKS 32U
#define AREA_BYTES  (AREA_CHUNKS * CHUNK_BYTES)
#define AREA_WORDS  (AREA_BYTES / sizeof(uint64_t))
#define OTHER_VA    ((uint64_t)0x610000000000)

static const pageset all_pages = {{~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL}};

static uint64_t pattern(uint64_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL;
}

static uint64_t *map_at(uint64_t va, uint64_t bytes, int prot)
{
	void *p = mmap((void *)va, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		_exit(9);
	return p;
}

static void say_ready(void)
{
	if (write(1, "R", 1) != 1)
		_exit(8);
}

static void wait_for_word(void)
{
	char c;

	if (read(0, &c, 1) != 1)
		_exit(7);
}

static void go(struct victim *v)
{
	assert_int_equal(write(v->stdin_fd, "g", 1), 1);
}

static void register_range(struct victim *v, uint64_t va, uint64_t bytes)
{
	struct uffdio_register reg = {
		.range = {va, bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	assert_int_equal(ioctl(v->agent.uffd_job, UFFDIO_REGISTER, &reg), 0);
}

static void move_chunk(struct victim *v, uint64_t va, unsigned int half, const pageset *want,
		       struct agent_cmd *cmd)
{
	*cmd = (struct agent_cmd){.op = AGENT_MOVE, .half = half, .va = va, .want = *want};
	victim_command(v, cmd);
}

static void copy_out(struct victim *v, unsigned int half, const pageset *set, char *dst)
{
	uint64_t scratch = v->agent.ring->scratch[half];
	unsigned int end;

	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES; i = pageset_next(set, end)) {
		end = pageset_next_gap(set, i);

		struct iovec here = {dst + i * PAGE_BYTES, (end - i) * PAGE_BYTES};
		struct iovec there = {(void *)(scratch + i * PAGE_BYTES), here.iov_len};

		assert_int_equal(process_vm_readv(v->pid, &here, 1, &there, 1, 0), here.iov_len);
	}
}

/* Reads one message; what is no page fault is returned. */
static bool read_message(struct victim *v, struct uffd_msg *msg, int timeout_ms)
{
	struct pollfd pfd = {.fd = v->agent.uffd_job, .events = POLLIN};

	if (poll(&pfd, 1, timeout_ms) != 1)
		return false;
	return read(v->agent.uffd_job, msg, sizeof(*msg)) == sizeof(*msg);
}

static int serve_until_exit(struct victim *v, const char *store)
{
	struct uffd_msg msg;
	int status;

	while (!waitpid(v->pid, &status, WNOHANG)) {
		if (!read_message(v, &msg, 10))
			continue;
		assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);

		uint64_t va = msg.arg.pagefault.address & PAGE_MASK;
		struct uffdio_copy copy = {
			.dst = va,
			.src = (uint64_t)(store + (va - AREA_VA)),
			.len = PAGE_BYTES,
		};

		assert_in_range(va, AREA_VA, AREA_VA + AREA_BYTES - 1);
		if (ioctl(v->agent.uffd_job, UFFDIO_COPY, &copy))
			assert_int_equal(errno, EEXIST);
	}
	return status;
}

/* ---- victims ---- */

static void fill_then_check(void *arg)
{
	uint64_t *p = map_at(AREA_VA, AREA_BYTES, PROT_READ | PROT_WRITE);

	(void)arg;
	madvise(p, AREA_BYTES, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < AREA_WORDS; i++)
		p[i] = pattern(i);
	say_ready();
	wait_for_word();
	for (uint64_t i = 0; i < AREA_WORDS; i++) {
		if (p[i] != pattern(i))
			_exit(1);
	}
}

/* What is mapped from now on, scratch too, is locked and has pages at once. */
static void lock_what_comes(void *arg)
{
	(void)arg;
	madvise(map_at(AREA_VA, CHUNK_BYTES, PROT_READ | PROT_WRITE), CHUNK_BYTES, MADV_NOHUGEPAGE);
	memset((void *)AREA_VA, 5, CHUNK_BYTES);
	if (mlockall(MCL_FUTURE))
		_exit(9);
	say_ready();
	wait_for_word();
	for (uint64_t i = 0; i < CHUNK_BYTES; i++)
		if (*(volatile char *)(AREA_VA + i) != 5)
			_exit(1);
}

static void idle(void)
{
	say_ready();
	for (;;)
		pause();
}

static void small_then_huge(void *arg)
{
	(void)arg;
	madvise(map_at(AREA_VA, CHUNK_BYTES, PROT_READ | PROT_WRITE), CHUNK_BYTES, MADV_NOHUGEPAGE);
	memset((void *)AREA_VA, 1, CHUNK_BYTES);
	madvise(map_at(OTHER_VA, 8 * CHUNK_BYTES, PROT_READ | PROT_WRITE), 8 * CHUNK_BYTES,
		MADV_HUGEPAGE);
	memset((void *)OTHER_VA, 2, 8 * CHUNK_BYTES);
	idle();
}

/* Pages 0-3 read-write, 4-7 read-only, 8-11 a hole. */
static void three_kinds(void *arg)
{
	(void)arg;
	madvise(map_at(AREA_VA, 12 * PAGE_BYTES, PROT_READ | PROT_WRITE), 12 * PAGE_BYTES,
		MADV_NOHUGEPAGE);
	memset((void *)AREA_VA, 1, 8 * PAGE_BYTES);
	mprotect((void *)(AREA_VA + 4 * PAGE_BYTES), 4 * PAGE_BYTES, PROT_READ);
	idle();
}

static void shared_with_child(void *arg)
{
	(void)arg;
	madvise(map_at(AREA_VA, CHUNK_BYTES, PROT_READ | PROT_WRITE), CHUNK_BYTES, MADV_NOHUGEPAGE);
	memset((void *)AREA_VA, 1, CHUNK_BYTES);
	if (!fork())
		for (;;)
			pause();
	idle();
}

/* Replaces its memory when told to. */
static void replace_on_word(void *arg)
{
	(void)arg;
	madvise(map_at(AREA_VA, CHUNK_BYTES, PROT_READ | PROT_WRITE), CHUNK_BYTES, MADV_NOHUGEPAGE);
	memset((void *)AREA_VA, 1, CHUNK_BYTES);
	madvise(map_at(OTHER_VA, CHUNK_BYTES, PROT_READ | PROT_WRITE), CHUNK_BYTES,
		MADV_NOHUGEPAGE);
	memset((void *)OTHER_VA, 3, CHUNK_BYTES);
	say_ready();
	wait_for_word();
	/* Moved over the old one with its pages in it: present before the event is read. */
	if (mremap((void *)OTHER_VA, CHUNK_BYTES, CHUNK_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
		   (void *)AREA_VA) == MAP_FAILED)
		_exit(6);
	for (uint64_t i = 0; i < CHUNK_BYTES; i += PAGE_BYTES) {
		if (*(volatile char *)(AREA_VA + i) != 3)
			_exit(1);
	}
}

/* ---- tests ---- */

static void every_word_comes_back(void **state)
{
	struct agent_cmd cmd;
	struct victim v;
	uint64_t start, move_ns = 0;
	char *store;

	(void)state;
	store = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(store, MAP_FAILED);
	memset(store, 0, AREA_BYTES);
	victim_fork(&v, fill_then_check, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, AREA_BYTES);
	for (unsigned int c = 0; c < AREA_CHUNKS; c++) {
		start = now_ns();
		move_chunk(&v, AREA_VA + c * CHUNK_BYTES, c % AGENT_HALVES, &all_pages, &cmd);
		move_ns += now_ns() - start;
		assert_int_equal(cmd.err, 0);
		assert_int_equal(cmd.overtaken, 0);
		assert_memory_equal(&cmd.moved, &all_pages, sizeof(all_pages));
		copy_out(&v, c % AGENT_HALVES, &cmd.moved, store + c * CHUNK_BYTES);
	}
	printf("moved at %.2f GB/s\n", (double)AREA_BYTES / (double)move_ns);
	assert_int_equal(v.agent.ring->pages, AREA_CHUNKS * CHUNK_PAGES);
	go(&v);
	assert_int_equal(serve_until_exit(&v, store), 0);
	munmap(store, AREA_BYTES);
	v.pid = fork(); /* the fixture waits for one */
	if (!v.pid)
		_exit(0);
	victim_wait(&v);
}

/* Two thirds of a chunk, with gaps, and two pages that stay where they are. */
static void fill_with_gaps(void *arg)
{
	uint64_t *p = map_at(AREA_VA, AREA_BYTES, PROT_READ | PROT_WRITE);

	(void)arg;
	madvise(p, AREA_BYTES, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < CHUNK_PAGES; i++)
		if (i % 3)
			p[i * PAGE_BYTES / 8] = pattern(i);
	say_ready();
	wait_for_word();
	for (uint64_t i = 0; i < CHUNK_PAGES; i++)
		if (p[i * PAGE_BYTES / 8] != (i % 3 ? pattern(i) : 0))
			_exit(1);
}

static void one_move_goes_over_gaps_and_not_over_what_stays(void **state)
{
	struct agent_cmd cmd = {.op = AGENT_MOVE, .half = 1, .va = AREA_VA};
	struct victim v;
	char *store = mmap(NULL, AREA_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)state;
	assert_ptr_not_equal(store, MAP_FAILED);
	victim_fork(&v, fill_with_gaps, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, AREA_BYTES);
	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		pageset_add(i % 3 ? &cmd.want : &cmd.gaps, i);
	pageset_del(&cmd.want, 100); /* stays */
	pageset_del(&cmd.want, 301); /* was a gap when it was looked at: goes home */
	pageset_add(&cmd.gaps, 301);

	pageset want = cmd.want;

	victim_command(&v, &cmd);
	assert_int_equal(cmd.err, 0);
	assert_memory_equal(&cmd.moved, &want, sizeof(want));
	copy_out(&v, 1, &want, store);
	go(&v);
	assert_int_equal(serve_until_exit(&v, store), 0);
	munmap(store, AREA_BYTES);
	v.pid = fork(); /* the fixture waits for one */
	if (!v.pid)
		_exit(0);
	victim_wait(&v);
}

static bool is_huge(struct victim *v, uint64_t va)
{
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = va,
		.end = va + CHUNK_BYTES,
		.vec = (uint64_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_PRESENT | PAGE_IS_HUGE,
		.return_mask = PAGE_IS_HUGE,
	};
	int fd = proc_open_pagemap(v->pid), n;

	assert_true(fd >= 0);
	n = ioctl(fd, PAGEMAP_SCAN, &arg);
	close(fd);
	return n == 1 && region.start == va && region.end == va + CHUNK_BYTES;
}

static void huge_page_is_moved_whole(void **state)
{
	uint64_t start, ns = 0;
	struct agent_cmd cmd;
	struct victim v;

	(void)state;
	victim_fork(&v, small_then_huge, NULL);
	victim_ready(&v);
	if (!is_huge(&v, OTHER_VA)) {
		victim_kill(&v);
		skip(); /* no huge page was free */
	}
	victim_must_inject(&v);
	register_range(&v, AREA_VA, CHUNK_BYTES);
	register_range(&v, OTHER_VA, 8 * CHUNK_BYTES);
	for (unsigned int i = 0; i < 8; i++) {
		/* also into a half that has held small pages before */
		if (i == 4)
			move_chunk(&v, AREA_VA, 0, &all_pages, &cmd);
		if (!is_huge(&v, OTHER_VA + i * CHUNK_BYTES))
			continue;
		start = now_ns();
		move_chunk(&v, OTHER_VA + i * CHUNK_BYTES, 0, &all_pages, &cmd);
		ns = now_ns() - start;
		assert_int_equal(cmd.err, 0);
		assert_int_equal(pageset_count(&cmd.moved), CHUNK_PAGES);
		if (!is_huge(&v, v.agent.ring->scratch[0]))
			fail_msg("move %u split the huge page (%d us)", i, (int)(ns / 1000));
	}
	printf("a huge page moves in %d us\n", (int)(ns / 1000));
	victim_kill(&v);
}

static void pages_are_sorted_by_what_they_are(void **state)
{
	struct agent_cmd cmd;
	struct victim v;
	pageset want = {{0xfff}};

	(void)state;
	victim_fork(&v, three_kinds, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, 12 * PAGE_BYTES);
	move_chunk(&v, AREA_VA, 1, &want, &cmd);
	assert_int_equal(cmd.err, 0);
	assert_int_equal(cmd.overtaken, 0);
	assert_int_equal(cmd.moved.w[0], 0x00f);
	assert_int_equal(cmd.invalid.w[0], 0x0f0);
	assert_int_equal(pageset_count(&cmd.busy), 0);
	victim_kill(&v);
}

static void shared_page_is_busy_until_populated(void **state)
{
	struct agent_cmd cmd, pop = {.op = AGENT_POPULATE, .va = AREA_VA, .want = {{0xff}}};
	pageset want = {{0xff}};
	struct victim v;

	(void)state;
	victim_fork(&v, shared_with_child, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, CHUNK_BYTES);
	move_chunk(&v, AREA_VA, 0, &want, &cmd);
	assert_int_equal(cmd.busy.w[0], 0xff);
	assert_int_equal(pageset_count(&cmd.moved), 0);
	victim_command(&v, &pop);
	assert_int_equal(pop.err, 0);
	move_chunk(&v, AREA_VA, 0, &want, &cmd);
	assert_int_equal(cmd.moved.w[0], 0xff);
	victim_kill(&v);
}

/* While an event is unread nothing is taken, least of all from the mapping
 * that has just come to lie at the same address. */
static void unread_event_overtakes_a_move(void **state)
{
	struct agent_cmd cmd;
	struct uffd_msg msg;
	struct victim v;

	(void)state;
	victim_fork(&v, replace_on_word, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, CHUNK_BYTES);
	move_chunk(&v, AREA_VA, 0, &(pageset){{1}}, &cmd);
	assert_int_equal(cmd.moved.w[0], 1);
	go(&v);
	nap_ms(100);
	move_chunk(&v, AREA_VA, 0, &all_pages, &cmd);
	assert_int_equal(cmd.err, 0);
	assert_int_equal(cmd.overtaken, 1);
	assert_int_equal(pageset_count(&cmd.moved), 0);
	assert_true(read_message(&v, &msg, 1000));
	assert_int_equal(msg.event, UFFD_EVENT_UNMAP);
	assert_int_equal(msg.arg.remove.start, AREA_VA);
	assert_int_equal(msg.arg.remove.end, AREA_VA + CHUNK_BYTES);
	assert_int_equal(victim_wait(&v), 0);
}

/* One thread sets the page's accessed bit, the other clears it, until killed. */
static void *touch_forever(void *page)
{
	for (;;)
		(void)*(volatile char *)page;
	return NULL;
}

static void touched_and_cooled(void *arg)
{
	uint64_t *p = map_at(AREA_VA, CHUNK_BYTES, PROT_READ | PROT_WRITE);
	pthread_t t;

	(void)arg;
	madvise(p, CHUNK_BYTES, MADV_NOHUGEPAGE);
	*p = pattern(0);
	if (pthread_create(&t, NULL, touch_forever, p))
		_exit(9);
	say_ready();
	for (;;)
		madvise(p, PAGE_BYTES, MADV_COLD);
}

/* The kernel's count of what it moved is wrong now and then (traps.move_uncounted):
 * a page is in scratch and said to be, or it is at home. */
static void page_is_where_the_agent_says(void **state)
{
	const pageset first = {{1}};
	uint64_t end_ns = now_ns() + 3000000000ULL, moved = 0, word;
	static char page[PAGE_BYTES] __attribute__((aligned(4096)));
	struct uffdio_copy copy = {.dst = AREA_VA, .src = (uint64_t)page, .len = PAGE_BYTES};
	struct agent_cmd cmd;
	struct victim v;
	pageset here;
	int pagemap;

	(void)state;
	victim_fork(&v, touched_and_cooled, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, CHUNK_BYTES);
	pagemap = proc_open_pagemap(v.pid);
	while (now_ns() < end_ns) {
		move_chunk(&v, AREA_VA, 0, &first, &cmd);
		assert_int_equal(cmd.err, 0);
		assert_int_equal(proc_present(pagemap, AREA_VA, AREA_VA + PAGE_BYTES, &here), 0);
		assert_int_equal(pageset_has(&cmd.moved, 0), !pageset_has(&here, 0));
		if (!pageset_has(&cmd.moved, 0))
			continue;
		copy_out(&v, 0, &first, page);
		memcpy(&word, page, sizeof(word));
		assert_int_equal(word, pattern(0));
		assert_int_equal(ioctl(v.agent.uffd_job, UFFDIO_COPY, &copy), 0);
		moved++;
	}
	assert_true(moved > 0);
	close(pagemap);
	victim_kill(&v);
}

/* Zeros there would be taken for what has just been moved. */
static void what_scratch_holds_at_first_is_nobodys(void **state)
{
	static char store[CHUNK_BYTES] __attribute__((aligned(4096)));
	struct agent_cmd cmd;
	struct victim v;
	int status;

	(void)state;
	victim_fork(&v, lock_what_comes, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, CHUNK_BYTES);
	for (unsigned int half = 0; half < AGENT_HALVES; half++) {
		const pageset mine = {{half ? 0xff00 : 0xff}};

		move_chunk(&v, AREA_VA, half, &mine, &cmd);
		assert_int_equal(cmd.err, 0);
		assert_memory_equal(&cmd.moved, &mine, sizeof(mine));
		copy_out(&v, half, &mine, store);
	}
	for (unsigned int i = 0; i < 16 * PAGE_BYTES; i++)
		assert_int_equal(store[i], 5);
	go(&v);
	status = serve_until_exit(&v, store);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Nobody reads messages here: an event would keep the agent for ever. */
static void scratch_is_dropped_without_an_event(void **state)
{
	static char store[CHUNK_BYTES] __attribute__((aligned(4096)));
	struct pollfd pfd = {.events = POLLIN};
	const pageset some = {{0x0f0f}};
	struct agent_cmd cmd;
	struct victim v;
	pageset here;
	int pagemap;

	(void)state;
	victim_fork(&v, small_then_huge, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	register_range(&v, AREA_VA, CHUNK_BYTES);
	pagemap = proc_open_pagemap(v.pid);
	pfd.fd = v.agent.uffd_job;
	for (unsigned int i = 0; i < 8; i++) {
		const uint64_t scratch = v.agent.ring->scratch[i % AGENT_HALVES];
		struct uffdio_copy back = {
			.dst = AREA_VA, .src = (uint64_t)store, .len = 4 * PAGE_BYTES};

		cmd = (struct agent_cmd){.op = AGENT_MOVE,
					 .half = i % AGENT_HALVES,
					 .va = AREA_VA,
					 .want = some,
					 .bounce = i % 4 > 1};
		pageset_add(&cmd.want, 300 + i); /* another one each time */
		victim_command(&v, &cmd);
		assert_int_equal(cmd.err, 0);
		assert_memory_equal(&cmd.moved, &cmd.want, sizeof(cmd.want));
		assert_int_equal(proc_any(pagemap, scratch, scratch + CHUNK_BYTES, &here), 0);
		assert_int_equal(pageset_count(&here), i % 4 > 1 ? 0 : 9);
		assert_int_equal(ioctl(pfd.fd, UFFDIO_COPY, &back), 0);
		back.dst += 8 * PAGE_BYTES;
		assert_int_equal(ioctl(pfd.fd, UFFDIO_COPY, &back), 0);
	}
	assert_int_equal(poll(&pfd, 1, 0), 0);
	close(pagemap);
	victim_kill(&v);
}

static void busy_forever(void *arg)
{
	(void)arg;
	idle();
}

static void process_dies_when_nobody_is_left(void **state)
{
	struct victim v;
	int status;

	(void)state;
	victim_fork(&v, busy_forever, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	nap_ms(20);
	assert_int_equal(waitpid(v.pid, &status, WNOHANG), 0);
	close(v.wake_fd);
	v.wake_fd = -1;
	status = victim_wait(&v);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

struct left {
	uint64_t start, end, bytes;
};

static int count_left(void *ctx, const struct proc_map *m)
{
	struct left *l = ctx;

	if (m->start < l->end && m->end > l->start)
		l->bytes += m->end - m->start;
	return 0;
}

static void exit_leaves_only_code(void **state)
{
	struct agent_cmd cmd = {.op = AGENT_EXIT};
	struct pollfd pfd = {.events = POLLIN};
	struct victim v;
	struct left l;

	(void)state;
	victim_fork(&v, busy_forever, NULL);
	victim_ready(&v);
	victim_must_inject(&v);
	l = (struct left){.start = v.agent.ring->own_start, .end = v.agent.ring->own_end};
	assert_int_equal(proc_maps_each(v.pid, count_left, &l), 0);
	assert_int_equal(l.bytes, l.end - l.start);
	victim_command(&v, &cmd);
	pfd.fd = v.agent.pidfd;
	assert_int_equal(poll(&pfd, 1, 1000), 1);
	l.bytes = 0;
	assert_int_equal(proc_maps_each(v.pid, count_left, &l), 0);
	assert_int_equal(l.bytes, v.agent.ring->code_end - v.agent.ring->code_start);
	victim_kill(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_word_comes_back),
		TEST(one_move_goes_over_gaps_and_not_over_what_stays),
		TEST(huge_page_is_moved_whole),
		TEST(pages_are_sorted_by_what_they_are),
		TEST(shared_page_is_busy_until_populated),
		TEST(unread_event_overtakes_a_move),
		TEST(page_is_where_the_agent_says),
		TEST(what_scratch_holds_at_first_is_nobodys),
		TEST(scratch_is_dropped_without_an_event),
		TEST(process_dies_when_nobody_is_left),
		TEST(exit_leaves_only_code),
	};

	return cmocka_run_group_tests(tests, fixture_setup_move, NULL);
}
