/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core makes of a policy's plans, and of a want of room: over two chunks of a space whose
 * pages all left, a store that answers at once, and a policy that plans what
 * the test says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "client/core/core.h"

#define PAGES	    (2 * CHUNK_PAGES)
#define FRAMES	    64U
#define BASE	    0x7f0000000000ULL
#define ARENA_BYTES (64UL << 20)
#define CAP_BYTES   (64UL << 20)

static const space_id job = {1};

static struct {
	struct core *core;
	struct store store;
	void *arena;
	bool present[PAGES];
	bool asked; /* to move: */
	bool never; /* is the moment right for that */
	uint64_t now_ns;
	uint64_t moving_va, half_va[CORE_HALVES];
	pageset moving;
	unsigned int half;
	uint64_t slot[PAGES]; /* what it holds */
	struct store_done done[PAGES];
	unsigned int nr_done, nr_reads, nr_told, nr_unused, nr_fills, nr_zeros;
	uint64_t read[PAGES]; /* pages, in the order they were asked for */
	bool urgent[PAGES];
	struct policy_plan plan;
	struct policy_fault told;
	uint64_t unused_va;
} w;

static uint64_t va_of(unsigned int page)
{
	return BASE + page * PAGE_BYTES;
}

/* ---- kernel ---- */

static int fill(void *ctx, space_id sp, uint64_t va, unsigned int nr, const void *const *src,
		bool *guard, unsigned int *done)
{
	unsigned int page = (unsigned int)((va - BASE) / PAGE_BYTES);

	(void)ctx;
	*guard = false;
	(void)sp;
	w.nr_fills++;
	for (*done = 0; *done < nr; ++*done, page++) {
		assert_true(page < PAGES);
		if (w.present[page])
			return -EEXIST;
		assert_int_equal(*(const uint64_t *)src[*done], page + 1);
		w.present[page] = true;
	}
	return 0;
}

static int fill_zero(void *ctx, space_id sp, uint64_t va, unsigned int nr, unsigned int *done)
{
	(void)ctx;
	(void)sp;
	(void)va;
	(void)nr;
	w.nr_zeros++;
	*done = 0;
	return -EEXIST;
}

static void wake(void *ctx, space_id sp, uint64_t va, unsigned int nr)
{
	(void)ctx;
	(void)sp;
	(void)va;
	(void)nr;
}

static int scan(void *ctx, space_id sp, uint64_t chunk_va, bool movable, pageset *out)
{
	(void)ctx;
	(void)sp;
	(void)movable;
	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		if (w.present[(chunk_va - BASE) / PAGE_BYTES + i])
			pageset_add(out, i);
	return 0;
}

static uint64_t next_present(void *ctx, space_id sp, uint64_t va, uint64_t end)
{
	(void)ctx;
	(void)sp;
	for (; va < end; va += CHUNK_BYTES)
		for (unsigned int i = 0; i < CHUNK_PAGES; i++)
			if (w.present[(va - BASE) / PAGE_BYTES + i])
				return va;
	return end;
}

static bool can_move(void *ctx, space_id sp)
{
	(void)ctx;
	(void)sp;
	return true;
}

static int move(void *ctx, space_id sp, unsigned int half, uint64_t chunk_va, const pageset *want,
		const pageset *known)
{
	(void)ctx;
	(void)known;
	(void)sp;
	if (w.asked || w.never)
		return -EAGAIN;
	w.asked = true;
	w.half = half;
	w.moving = *want;
	w.moving_va = w.half_va[half] = chunk_va;
	return 0;
}

static int copy_out(void *ctx, space_id sp, unsigned int half, const pageset *set,
		    void *const *frames)
{
	uint64_t first = (w.half_va[half] - BASE) / PAGE_BYTES;

	(void)ctx;
	(void)sp;
	for (unsigned int i = pageset_next(set, 0); i < CHUNK_PAGES; i = pageset_next(set, i + 1))
		*(uint64_t *)*frames++ = first + i + 1;
	return 0;
}

static void drop(void *ctx, space_id sp, unsigned int half)
{
	(void)ctx;
	(void)sp;
	(void)half;
}

static int quiesce(void *ctx, space_id sp)
{
	(void)ctx;
	(void)sp;
	return -EOPNOTSUPP;
}

static const struct capture_ops capture = {
	.fill = fill,
	.fill_zero = fill_zero,
	.wake = wake,
	.scan = scan,
	.next_present = next_present,
	.can_move = can_move,
	.move = move,
	.copy_out = copy_out,
	.drop = drop,
	.quiesce = quiesce,
};

/* ---- store, policy, clock ---- */

static int store_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	(void)s;
	for (unsigned int i = 0; i < nr; i++) {
		uint64_t *word = req[i].buf;

		w.done[w.nr_done++] = (struct store_done){.tag = req[i].tag};
		if (req[i].op == STORE_WRITE) {
			w.slot[req[i].slot] = *word;
			continue;
		}
		*word = w.slot[req[i].slot];
		w.urgent[w.nr_reads] = req[i].urgent;
		w.read[w.nr_reads++] = *word - 1;
	}
	return (int)nr;
}

static int store_reap(struct store *s, struct store_done *out, unsigned int max)
{
	unsigned int n = w.nr_done < max ? w.nr_done : max;

	(void)s;
	memcpy(out, w.done, n * sizeof(*out));
	memmove(w.done, w.done + n, (w.nr_done - n) * sizeof(*out));
	w.nr_done -= n;
	return (int)n;
}

static const struct store_ops store_ops = {.submit = store_submit, .reap = store_reap};

static void policy_plan(void *ctx, const struct policy_fault *f, struct policy_plan *plan)
{
	(void)ctx;
	w.told = *f;
	w.nr_told++;
	*plan = w.plan;
	w.plan.nr_runs = 0;
}

static void hears_of_unused(void *ctx, space_id sp, uint64_t va)
{
	(void)ctx;
	(void)sp;
	w.unused_va = va;
	w.nr_unused++;
}

static const struct policy_ops policy = {
	.plan = policy_plan,
	.unused = hears_of_unused,
};

static uint64_t now(void *ctx)
{
	(void)ctx;
	return w.now_ns += 1000;
}

static uint64_t sum(void *ctx, const void *page)
{
	(void)ctx;
	return *(const uint64_t *)page;
}

static void lost(void *ctx, enum core_loss why, space_id sp, uint64_t va, int err)
{
	(void)ctx;
	(void)sp;
	(void)va;
	fail_msg("lost: %d, %d", (int)why, err);
}

static const struct env_ops env = {.now_ns = now, .sum = sum, .lost = lost};

/* ---- a space whose pages left ---- */

static void let_all_leave(void)
{
	const pageset none = {{0}};

	core_observe(w.core, 2 * CAP_BYTES, 2 * CAP_BYTES, true);
	for (unsigned int n = 0; n < 1000 && core_stats(w.core)->pages_moved < PAGES; n++) {
		core_run(w.core);
		if (!w.asked)
			continue;
		for (unsigned int i = 0; i < CHUNK_PAGES; i++)
			if (pageset_has(&w.moving, i))
				w.present[(w.moving_va - BASE) / PAGE_BYTES + i] = false;
		w.asked = false;
		core_moved(w.core, job, w.half, &w.moving, &none, &none, &none, false);
		core_observe(w.core, 2 * CAP_BYTES, 2 * CAP_BYTES, true);
	}
	core_observe(w.core, 0, 0, true);
	core_run(w.core);
	assert_int_equal(core_stats(w.core)->records[REC_REMOTE] +
				 core_stats(w.core)->records[REC_STANDBY],
			 PAGES);
	assert_false(core_busy(w.core));
}

static int setup(void **state)
{
	struct core_config cfg = {.cap_bytes = CAP_BYTES, .nr_frames = FRAMES};
	struct core_binds binds = {.capture = &capture, .policy = &policy, .env = &env};

	(void)state;
	memset(&w, 0, sizeof(w));
	memset(w.present, 1, sizeof(w.present));
	w.store = (struct store){.ops = &store_ops, .nr_slots = PAGES};
	binds.store = &w.store;
	w.arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w.arena == MAP_FAILED || core_open(w.arena, ARENA_BYTES, &cfg, &binds, &w.core))
		return -1;
	if (core_space_add(w.core, job) ||
	    core_range_added(w.core, job, BASE, BASE + PAGES * PAGE_BYTES))
		return -1;
	core_agent_ready(w.core, job);
	let_all_leave();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	core_check(w.core);
	core_close(w.core);
	munmap(w.arena, ARENA_BYTES);
	return 0;
}

static void plan_run(unsigned int page, int64_t stride, uint32_t nr, uint32_t marker)
{
	w.plan.run[w.plan.nr_runs++] =
		(struct policy_run){va_of(page), stride * (int64_t)PAGE_BYTES, nr, marker};
}

static void fault(unsigned int page)
{
	w.nr_reads = w.nr_told = w.nr_fills = 0;
	core_fault(w.core, job, va_of(page) + 8, 0x400000, 7, false);
	core_run(w.core);
	assert_true(w.present[page]);
}

static unsigned int present(unsigned int from, unsigned int to)
{
	unsigned int n = 0;

	for (unsigned int i = from; i < to; i++)
		n += w.present[i];
	return n;
}

/* ---- tests ---- */

static void the_page_of_the_fault_is_asked_for_first_and_the_rest_is_not_urgent(void **state)
{
	(void)state;
	plan_run(101, 1, 8, POLICY_NO_MARKER);
	fault(100);
	assert_int_equal(w.nr_reads, 9);
	assert_int_equal(w.read[0], 100);
	assert_true(w.urgent[0]);
	for (unsigned int i = 1; i < 9; i++) {
		assert_int_equal(w.read[i], 100 + i);
		assert_false(w.urgent[i]);
	}
	assert_int_equal(present(0, PAGES), 9);
	assert_int_equal(w.told.va, va_of(100));
	assert_int_equal(w.told.kind, POLICY_FETCH);
	assert_int_equal(w.told.ip, 0x400000);
	assert_int_equal(w.told.tid, 7);
	assert_int_equal(core_stats(w.core)->pages_prefetched, 8);
}

static void pages_in_a_row_are_put_in_place_together(void **state)
{
	(void)state;
	plan_run(101, 1, 8, POLICY_NO_MARKER);
	fault(100);
	assert_int_equal(w.nr_fills, 2);
	w.present[304] = true; /* brought by others, meanwhile */
	plan_run(301, 1, 8, POLICY_NO_MARKER);
	fault(300);
	assert_int_equal(present(300, 309), 9);
}

/* The job may have a userfaultfd of its own there, and the kernel takes our zeros all the same. */
static void a_hint_beyond_what_is_registered_is_left_alone(void **state)
{
	uint64_t beyond = BASE + PAGES * PAGE_BYTES;

	(void)state;
	w.nr_zeros = 0;
	core_hint(w.core, job, beyond, 0x400000, 7, false);
	core_run(w.core);
	assert_int_equal(w.nr_zeros, 0);
	core_fault(w.core, job, beyond, 0x400000, 7, false); /* by a message: it is ours */
	assert_int_equal(w.nr_zeros, 1);
}

static void runs_have_strides_and_cross_chunks(void **state)
{
	(void)state;
	plan_run(500, 3, 8, POLICY_NO_MARKER);
	plan_run(90, -5, 4, POLICY_NO_MARKER);
	fault(100);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(w.present[500 + 3 * i]);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(w.present[90 - 5 * i]);
	assert_int_equal(present(0, PAGES), 13);
}

static void a_marker_stands_by_and_its_touch_is_told(void **state)
{
	(void)state;
	plan_run(101, 1, 8, 2);
	fault(100);
	assert_false(w.present[103]);
	assert_int_equal(present(100, 109), 8);
	plan_run(109, 1, 4, POLICY_NO_MARKER);
	fault(103);
	assert_int_equal(w.told.kind, POLICY_MARKER);
	assert_int_equal(w.nr_told, 1);
	assert_int_equal(w.nr_reads, 4); /* not the marker itself */
	assert_int_equal(present(100, 113), 13);
	assert_int_equal(core_stats(w.core)->markers_hit, 1);
}

static void a_marker_that_is_in_the_job_is_followed_by_the_next_that_is_not(void **state)
{
	(void)state;
	plan_run(103, 1, 2, POLICY_NO_MARKER);
	fault(100);
	plan_run(101, 1, 8, 2);
	fault(200);
	assert_true(w.present[103] && w.present[104]);
	assert_false(w.present[105]);
	assert_int_equal(present(100, 109), 8);
}

static void a_marker_whose_frame_was_taken_is_reported_and_fetched_again(void **state)
{
	(void)state;
	plan_run(101, 1, 1, 0);
	fault(100);
	for (unsigned int i = 0; i < 2 * FRAMES && !w.nr_unused; i++) {
		plan_run(200 + i, 1, 1, 0);
		fault(400 + i);
	}
	assert_int_equal(w.nr_unused, 1);
	assert_int_equal(w.unused_va, va_of(101));
	assert_int_equal(core_stats(w.core)->pages_unused, 1);
	fault(101);
	assert_int_equal(w.told.kind, POLICY_FETCH);
}

static void a_page_that_stands_by_is_put_in_place_without_the_store(void **state)
{
	(void)state;
	plan_run(CHUNK_PAGES - 4, 1, 4, POLICY_NO_MARKER); /* they left last */
	fault(100);
	assert_int_equal(w.nr_reads, 1);
	assert_int_equal(present(CHUNK_PAGES - 4, CHUNK_PAGES), 4);
	assert_int_equal(core_stats(w.core)->pages_early, 4);
}

/* Moved, and not yet copied out of scratch. */
static void what_is_just_leaving_comes_back_with_the_plan(void **state)
{
	const pageset none = {{0}};
	unsigned int page;

	(void)state;
	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		fault(i);
	core_observe(w.core, 2 * CAP_BYTES, 2 * CAP_BYTES, true);
	for (unsigned int n = 0; n < 8 && !w.asked; n++)
		core_run(w.core);
	assert_true(w.asked);
	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		if (pageset_has(&w.moving, i))
			w.present[(w.moving_va - BASE) / PAGE_BYTES + i] = false;
	page = (unsigned int)((w.moving_va - BASE) / PAGE_BYTES) + pageset_next(&w.moving, 0);
	w.asked = false;
	core_moved(w.core, job, w.half, &w.moving, &none, &none, &none, false);
	core_observe(w.core, 0, 0, true);
	assert_int_equal(core_page_state(w.core, job, va_of(page)), REC_MOVING);
	plan_run(page + 1, 1, 4, 0);
	core_fault(w.core, job, va_of(page), 0x400000, 7, false);
	assert_int_equal(present(page, page + 5), 4);
	assert_int_equal(core_page_state(w.core, job, va_of(page + 1)), REC_STANDBY);
	while (core_run(w.core))
		;
}

static void addresses_that_are_none_are_passed_over(void **state)
{
	(void)state;
	w.plan.nr_runs = 3;
	w.plan.run[0] = (struct policy_run){0, -1, UINT32_MAX, 0};
	w.plan.run[1] =
		(struct policy_run){BASE - 2 * PAGE_BYTES + 5, PAGE_BYTES, 4, POLICY_NO_MARKER};
	w.plan.run[2] = (struct policy_run){UINT64_MAX, INT64_MAX, 100, 0};
	fault(100);
	assert_int_equal(present(0, PAGES), 3);
	assert_true(w.present[0] && w.present[1]);
}

static void a_plan_leaves_half_of_the_frames_alone(void **state)
{
	(void)state;
	plan_run(101, 1, 1000, POLICY_NO_MARKER);
	fault(100);
	assert_in_range(w.nr_reads, FRAMES / 4, 1 + FRAMES / 2);
}

static void a_plan_ends_where_the_cap_does(void **state)
{
	uint64_t hard = CAP_BYTES - FRAMES * PAGE_BYTES + CAP_BYTES / 16;

	(void)state;
	core_observe(w.core, hard, hard - 10 * PAGE_BYTES, true);
	plan_run(301, 1, 1000, POLICY_NO_MARKER);
	fault(300);
	assert_in_range(present(300, PAGES), 2, 10);
	assert_int_equal(w.nr_reads, present(300, PAGES));
}

static void a_wait_for_room_is_told_while_no_moment_is_right_for_a_move(void **state)
{
	const pageset none = {{0}};

	(void)state;
	fault(100);
	w.never = true;
	core_observe(w.core, 2 * CAP_BYTES, 2 * CAP_BYTES, true);
	w.now_ns += 20000000000; /* in which nobody waited */
	core_run(w.core);
	core_fault(w.core, job, va_of(200), 0x400000, 7, false);
	core_run(w.core);
	assert_true(core_waiting(w.core));
	assert_in_range(core_stalled_ns(w.core), 0, 1000000);
	for (unsigned int i = 0; i < 40; i++) {
		w.now_ns += 500000000;
		core_run(w.core);
	}
	assert_in_range(core_stalled_ns(w.core), 20000000000, 21000000000);
	w.now_ns += 20000000000; /* in which nobody looked: the pager stood still */
	core_run(w.core);
	assert_in_range(core_stalled_ns(w.core), 0, 1000000);

	w.never = false;
	for (unsigned int i = 0; i < 8 && !w.asked; i++)
		core_run(w.core);
	assert_true(w.asked);
	w.present[100] = w.asked = false;
	core_moved(w.core, job, w.half, &w.moving, &none, &none, &none, false);
	core_observe(w.core, 0, 0, true);
	core_run(w.core);
	assert_true(w.present[200]);
	assert_int_equal(core_stalled_ns(w.core), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_page_of_the_fault_is_asked_for_first_and_the_rest_is_not_urgent),
		T(pages_in_a_row_are_put_in_place_together),
		T(a_hint_beyond_what_is_registered_is_left_alone),
		T(runs_have_strides_and_cross_chunks),
		T(a_marker_stands_by_and_its_touch_is_told),
		T(a_marker_that_is_in_the_job_is_followed_by_the_next_that_is_not),
		T(a_marker_whose_frame_was_taken_is_reported_and_fetched_again),
		T(a_page_that_stands_by_is_put_in_place_without_the_store),
		T(what_is_just_leaving_comes_back_with_the_plan),
		T(addresses_that_are_none_are_passed_over),
		T(a_plan_leaves_half_of_the_frames_alone),
		T(a_plan_ends_where_the_cap_does),
		T(a_wait_for_room_is_told_while_no_moment_is_right_for_a_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
