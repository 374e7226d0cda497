/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Through the bounce buffer, out and in, against the real kernel: what the agent has moved out
 * comes to the pager, and the pages that held it are put in place with other bytes.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/compat.h"
#include "tests/capture/fixture.h"

#define AREA_VA	   ((uint64_t)0x600000000000)
#define OTHER_VA   ((uint64_t)0x610000000000)
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))

static const pageset all_pages = {{~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL}};

static uint64_t pattern(uint64_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15ULL;
}

static uint64_t *map_at(uint64_t va)
{
	void *p = mmap((void *)va, CHUNK_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED || madvise(p, CHUNK_BYTES, MADV_NOHUGEPAGE))
		_exit(9);
	return p;
}

static void ready_and_wait(void)
{
	char c;

	if (write(1, "R", 1) != 1 || read(0, &c, 1) != 1)
		_exit(8);
}

/* ---- victims ---- */

static void fill_then_check(void *arg)
{
	uint64_t *p = map_at(AREA_VA);

	(void)arg;
	for (uint64_t i = 0; i < CHUNK_PAGES * PAGE_WORDS; i++)
		p[i] = pattern(i);
	ready_and_wait();
	for (uint64_t i = 0; i < CHUNK_PAGES * PAGE_WORDS; i++)
		if (p[i] != pattern(i))
			_exit(1);
}

/* Another mapping, with its pages, takes the place of the first. */
static void replace_on_word(void *arg)
{
	uint64_t *p = map_at(AREA_VA), *other = map_at(OTHER_VA);

	(void)arg;
	memset(p, 1, CHUNK_BYTES);
	other[0] = 3;
	ready_and_wait();
	if (mremap(other, CHUNK_BYTES, CHUNK_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, p) == MAP_FAILED)
		_exit(6);
	for (uint64_t i = 0; i < CHUNK_PAGES; i++)
		if (*(volatile uint64_t *)(p + i * PAGE_WORDS) != (i ? 0 : 3))
			_exit(1);
}

/* ---- what the pager does ---- */

static uint32_t by_kernel; /* both ways to copy are tried on every machine */

static void begin(struct victim *v, void (*fn)(void *))
{
	struct uffdio_register reg = {
		.range = {AREA_VA, CHUNK_BYTES},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	victim_fork(v, fn, NULL);
	victim_ready(v);
	victim_must_inject(v);
	v->agent.ring->by_kernel = by_kernel;
	assert_int_equal(ioctl(v->agent.uffd_job, UFFDIO_REGISTER, &reg), 0);
}

static char *bounce(const struct victim *v, uint64_t off)
{
	return (char *)v->agent.ring + PAGE_BYTES + off;
}

/* All that is wanted leaves for @store, and its pages are to spare. How many then are. */
static unsigned int move_out(struct victim *v, unsigned int half, const pageset *want, char *store)
{
	struct agent_cmd cmd = {.op = AGENT_MOVE,
				.half = half,
				.va = AREA_VA,
				.want = *want,
				.bounce = 1,
				.keep = 1};

	victim_command(v, &cmd);
	assert_int_equal(cmd.err, 0);
	assert_int_equal(cmd.bounce, 1);
	assert_memory_equal(&cmd.moved, want, sizeof(*want));
	for (unsigned int i = pageset_next(want, 0); i < CHUNK_PAGES; i = pageset_next(want, i + 1))
		memcpy(store + i * PAGE_BYTES, bounce(v, half * CHUNK_BYTES + i * PAGE_BYTES),
		       PAGE_BYTES);
	return cmd.spare;
}

static void place(struct victim *v, const pageset *want, const char *store, struct agent_cmd *cmd)
{
	*cmd = (struct agent_cmd){.op = AGENT_PLACE, .va = AREA_VA, .want = *want};
	for (unsigned int i = pageset_next(want, 0); i < CHUNK_PAGES; i = pageset_next(want, i + 1))
		memcpy(bounce(v, AGENT_BOUNCE_IN + i * PAGE_BYTES), store + i * PAGE_BYTES,
		       PAGE_BYTES);
	victim_command(v, cmd);
	assert_int_equal(cmd->err, 0);
}

static void go(struct victim *v)
{
	assert_int_equal(write(v->stdin_fd, "g", 1), 1);
}

static bool is_message(struct victim *v, struct uffd_msg *msg, int timeout_ms)
{
	struct pollfd pfd = {.fd = v->agent.uffd_job, .events = POLLIN};

	return poll(&pfd, 1, timeout_ms) == 1 &&
	       read(v->agent.uffd_job, msg, sizeof(*msg)) == sizeof(*msg);
}

/* ---- tests ---- */

static void pages_to_spare_are_put_in_place(void **state)
{
	char *store = calloc(1, CHUNK_BYTES);
	struct agent_cmd cmd;
	struct uffd_msg msg;
	struct victim v;
	pageset odd = {{0}}, even = all_pages;

	(void)state;
	assert_non_null(store);
	for (unsigned int i = 1; i < CHUNK_PAGES; i += 2) {
		pageset_add(&odd, i);
		pageset_del(&even, i);
	}
	begin(&v, fill_then_check);
	assert_int_equal(move_out(&v, 0, &all_pages, store), CHUNK_PAGES);
	place(&v, &odd, store, &cmd);
	assert_memory_equal(&cmd.moved, &odd, sizeof(odd));
	assert_int_equal(cmd.spare, CHUNK_PAGES / 2);
	place(&v, &even, store, &cmd);
	assert_memory_equal(&cmd.moved, &even, sizeof(even));
	assert_int_equal(cmd.spare, 0);
	go(&v);
	assert_int_equal(victim_wait(&v), 0); /* and nobody has to answer a fault */
	assert_false(is_message(&v, &msg, 0));
	free(store);
}

static void no_more_is_placed_than_there_is_to_spare(void **state)
{
	char *store = calloc(1, CHUNK_BYTES);
	struct agent_cmd cmd;
	struct victim v;
	const pageset first = {{0xff}}, more = {{0xff00, 0xff}};

	(void)state;
	assert_non_null(store);
	begin(&v, fill_then_check);
	assert_int_equal(move_out(&v, 0, &first, store), 8);
	assert_int_equal(move_out(&v, 1, &more, store), 24);
	cmd = (struct agent_cmd){.op = AGENT_DROP, .half = 0};
	victim_command(&v, &cmd);
	place(&v, &(pageset){{0xffff, 0xff}}, store, &cmd);
	assert_int_equal(cmd.moved.w[0], 0xffff);
	assert_int_equal(pageset_count(&cmd.moved), 16);
	assert_int_equal(cmd.spare, 0);
	victim_kill(&v);
	free(store);
}

static void a_page_that_is_not_there_is_not_touched(void **state)
{
	char *store = calloc(1, CHUNK_BYTES);
	const pageset some = {{0xff}}, most = {{0x7f}};
	struct uffdio_range range;
	struct agent_cmd cmd;
	struct victim v;

	(void)state;
	assert_non_null(store);
	begin(&v, fill_then_check);
	assert_int_equal(move_out(&v, 1, &some, store), 8);
	/* So that it raises no event, for which the agent would wait. */
	range = (struct uffdio_range){v.agent.ring->scratch[1], CHUNK_BYTES};
	assert_int_equal(ioctl(v.agent.uffd_job, UFFDIO_UNREGISTER, &range), 0);
	cmd = (struct agent_cmd){.op = AGENT_ADVISE,
				 .va = v.agent.ring->scratch[1] + 3 * PAGE_BYTES,
				 .bytes = PAGE_BYTES,
				 .advice = MADV_DONTNEED};
	victim_command(&v, &cmd);
	assert_int_equal(cmd.err, 0);
	place(&v, &some, store, &cmd);
	assert_memory_equal(&cmd.moved, &most, sizeof(most));
	assert_int_equal(cmd.spare, 0);
	victim_kill(&v);
	free(store);
}

static void a_page_that_is_there_stays(void **state)
{
	char *store = calloc(1, CHUNK_BYTES), *wrong = calloc(1, CHUNK_BYTES);
	const pageset some = {{0xff00}}, most = {{0xf000}}, rest = {{0x0f00}};
	struct agent_cmd cmd;
	struct victim v;

	(void)state;
	assert_non_null(store);
	assert_non_null(wrong);
	begin(&v, fill_then_check);
	move_out(&v, 1, &some, store);
	place(&v, &most, store, &cmd);
	assert_memory_equal(&cmd.moved, &most, sizeof(most));
	/* Whatever is said of those that are there. */
	memcpy(wrong, store, CHUNK_BYTES);
	memset(wrong + 12 * PAGE_BYTES, 7, 4 * PAGE_BYTES);
	place(&v, &some, wrong, &cmd);
	assert_memory_equal(&cmd.moved, &rest, sizeof(rest));
	go(&v);
	assert_int_equal(victim_wait(&v), 0);
	free(wrong);
	free(store);
}

static void an_unread_event_comes_first(void **state)
{
	char *store = calloc(1, CHUNK_BYTES);
	struct agent_cmd cmd;
	struct uffd_msg msg;
	struct victim v;
	const pageset some = {{0xff00}};

	(void)state;
	assert_non_null(store);
	begin(&v, replace_on_word);
	move_out(&v, 0, &some, store);
	go(&v);
	nap_ms(100);
	place(&v, &some, store, &cmd);
	assert_int_equal(cmd.overtaken, 1);
	assert_int_equal(pageset_count(&cmd.moved), 0);
	assert_true(is_message(&v, &msg, 1000));
	assert_int_equal(msg.event, UFFD_EVENT_UNMAP);
	assert_int_equal(victim_wait(&v), 0);
	free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_to_spare_are_put_in_place),
		TEST(no_more_is_placed_than_there_is_to_spare),
		TEST(a_page_that_is_not_there_is_not_touched),
		TEST(a_page_that_is_there_stays),
		TEST(an_unread_event_comes_first),
	};

	int failed = cmocka_run_group_tests(tests, fixture_setup_move, NULL);

	by_kernel = 1;
	return failed + cmocka_run_group_tests_name("by_kernel", tests, fixture_setup_move, NULL);
}
