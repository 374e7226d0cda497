/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default policy, driven by traces over a model of the core: pages are at
 * the store, on their way, markers or in place. A touch of a marker, or of a
 * page that is still on its way, counts as one that did not come in time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "client/policy/streams.h"

#define PAGES	   (1U << 18)
#define FIRST_PAGE 0x7f0000000ULL

enum where { REMOTE, COMING, STANDBY, MARKER, MAPPED };

struct world {
	struct streams policy;
	uint8_t where[PAGES];
	uint32_t due[PAGES]; /* when what is coming is there */
	uint32_t now, delay; /* in touches */
	uint32_t touched, in_time, faults, ahead;
	uint64_t rnd;
};

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->rnd = 12345;
	return w;
}

static uint32_t any(struct world *w, uint32_t below)
{
	w->rnd ^= w->rnd << 13;
	w->rnd ^= w->rnd >> 7;
	w->rnd ^= w->rnd << 17;
	return (uint32_t)(w->rnd >> 11) % below;
}

/* The numbers below @nr in any order. */
static void shuffle(struct world *w, uint32_t *order, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		uint32_t k = any(w, i + 1);

		order[i] = order[k];
		order[k] = i;
	}
}

static void carry_out(struct world *w, const struct policy_run *run)
{
	bool marked = false;

	for (uint32_t i = 0; i < run->nr; i++) {
		uint64_t va = run->va + (uint64_t)(i * run->stride);
		uint64_t page = (va >> PAGE_SHIFT) - FIRST_PAGE;

		if (page >= PAGES || w->where[page] != REMOTE)
			continue;
		w->ahead++;
		w->where[page] = !marked && i >= run->marker ? MARKER : COMING;
		w->due[page] = w->now + w->delay;
		marked |= w->where[page] == MARKER;
	}
}

static void touch_at(struct world *w, uint64_t at, uint64_t ip, uint32_t tid)
{
	uint32_t page = (uint32_t)(at >> PAGE_SHIFT);
	struct policy_fault f = {.space = {1},
				 .va = (FIRST_PAGE + page) << PAGE_SHIFT,
				 .ip = ip,
				 .tid = tid,
				 .offset = at % PAGE_BYTES};
	struct policy_plan plan = {0};

	assert_true(page < PAGES);
	w->now++;
	w->touched++;
	if (w->where[page] == COMING && w->due[page] <= w->now)
		w->where[page] = MAPPED;
	if (w->where[page] == MAPPED) {
		w->in_time++;
		return;
	}
	w->faults++;
	f.kind = w->where[page] == REMOTE    ? POLICY_FETCH
		 : w->where[page] == STANDBY ? POLICY_SOFT
		 : w->due[page] > w->now     ? POLICY_JOINED
					     : POLICY_MARKER;
	w->where[page] = MAPPED;
	policy_streams.plan(&w->policy, &f, &plan);
	assert_true(plan.nr_runs <= POLICY_RUNS);
	for (uint32_t i = 0; i < plan.nr_runs; i++)
		carry_out(w, &plan.run[i]);
}

static void touch(struct world *w, uint32_t page, uint64_t ip, uint32_t tid)
{
	touch_at(w, (uint64_t)page << PAGE_SHIFT, ip, tid);
}

static void walk(struct world *w, uint32_t from, int32_t stride, uint32_t steps, uint32_t tid)
{
	for (uint32_t i = 0; i < steps; i++)
		touch(w, (uint32_t)((int32_t)from + (int32_t)i * stride), 0, tid);
}

static void assert_in_time(const struct world *w, unsigned int percent)
{
	print_message("[ %u of %u touched pages were in place, %u came ahead ]\n", w->in_time,
		      w->touched, w->ahead);
	assert_true(w->in_time * 100ULL >= (uint64_t)w->touched * percent);
}

/* ---- streams ---- */

static void a_sequence_forward_is_in_place_before_it_is_touched(void **state)
{
	struct world *w = world_new();

	(void)state;
	walk(w, 1000, 1, 2000, 1);
	assert_in_time(w, 95);
	free(w);
}

static void a_sequence_backward_is_too(void **state)
{
	struct world *w = world_new();

	(void)state;
	walk(w, 5000, -1, 2000, 1);
	assert_in_time(w, 95);
	free(w);
}

static void strides_are_followed(void **state)
{
	static const int32_t stride[] = {3, -5, 16, -16, 200};

	(void)state;
	for (unsigned int i = 0; i < sizeof(stride) / sizeof(*stride); i++) {
		struct world *w = world_new();

		walk(w, PAGES / 2, stride[i], 500, 1);
		assert_in_time(w, 90);
		assert_true(w->ahead <= w->touched + 2 * STREAM_WINDOW);
		free(w);
	}
}

/* What eight loops, or one that reads eight arrays, do by turns. */
static void eight_in_turn(struct world *w, int32_t stride, bool same_ip, bool known_ip)
{
	for (uint32_t i = 0; i < 400; i++)
		for (uint32_t k = 0; k < 8; k++)
			touch(w, (uint32_t)((int32_t)(k * 20000 + 10000) + (int32_t)i * stride),
			      known_ip ? 0x400000 + (same_ip ? 0 : k * 64) : 0, 1);
}

static void eight_streams_by_turns_are_told_apart(void **state)
{
	static const int32_t stride[] = {1, -1, 3, -5, 16};

	(void)state;
	for (unsigned int i = 0; i < sizeof(stride) / sizeof(*stride); i++)
		for (unsigned int how = 0; how < 3; how++) {
			struct world *w = world_new();

			eight_in_turn(w, stride[i], how == 1, how > 0);
			assert_in_time(w, 90);
			free(w);
		}
}

static void eight_streams_in_random_order_are_told_apart(void **state)
{
	struct world *w = world_new();
	uint32_t at[8] = {0};

	(void)state;
	for (uint32_t i = 0; i < 4000; i++) {
		uint32_t k = any(w, 8);

		touch(w, k * 20000 + 500 + at[k]++ * (k + 1), 0, 1);
	}
	assert_in_time(w, 90);
	free(w);
}

static void two_threads_in_one_array_have_a_stream_each(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		touch(w, 1000 + i, 0, 1);
		touch(w, 3000 + i, 0, 2);
		touch(w, 5000 - i * 2, 0, 1);
	}
	assert_in_time(w, 90);
	free(w);
}

static void a_stream_among_random_touches_is_found(void **state)
{
	struct world *w = world_new();
	uint32_t in_time = 0;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t before = w->in_time;

		touch(w, 1000 + i, 0, 1);
		in_time += w->in_time - before;
		for (uint32_t k = 0; k < 4; k++)
			touch(w, 50000 + any(w, PAGES - 50000), 0, 1);
	}
	assert_true(in_time >= 900);
	free(w);
}

static void a_sequence_that_leaves_some_pages_out_is_one(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint32_t page = 1000; page < 6000; page += 1 + (any(w, 4) == 0))
		touch(w, page, 0, 1);
	assert_in_time(w, 90);
	free(w);
}

static void pages_come_in_time_from_a_store_that_takes_its_time(void **state)
{
	struct world *w = world_new();

	(void)state;
	w->delay = 32;
	walk(w, 1000, 1, 4000, 1);
	assert_in_time(w, 90);
	free(w);
}

static void after_pages_that_were_there_all_the_time_it_goes_on(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint32_t page = 2000; page < 2600; page++)
		w->where[page] = MAPPED;
	walk(w, 1000, 1, 3000, 1);
	assert_true(w->faults < 120);
	free(w);
}

/* Down a column of a matrix: rows take 40,000 bytes, or 9.77 pages. */
static void rows_that_are_no_whole_pages_are_followed(void **state)
{
	static const int64_t row[] = {40000, -40000, 8000, -4104, 123456};

	(void)state;
	for (unsigned int i = 0; i < sizeof(row) / sizeof(*row); i++) {
		struct world *w = world_new();
		uint64_t at = (uint64_t)PAGES / 2 * PAGE_BYTES + 72;

		for (uint32_t n = 0; n < 2000; n++, at += (uint64_t)row[i])
			touch_at(w, at, 0x400000, 1);
		assert_in_time(w, 95);
		assert_true(w->ahead < 2300);
		free(w);
	}
}

/* Four columns side by side, which are in other pages where a row crosses from one to the next:
 * eight rows at a time, as a matrix is packed for its product. */
static void blocks_of_rows_that_are_no_whole_pages_are_followed(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint64_t block = 0; block < 8; block++)
		for (uint64_t n = 0; n < 500; n++)
			for (uint64_t i = 0; i < 320; i += 8)
				touch_at(w, block * 320 + n * 40000 + i * 8, 0x400000 + n % 4, 1);
	print_message("[ %u faults, %u came ahead ]\n", w->faults, w->ahead);
	assert_true(w->faults < 650);
	free(w);
}

/* The page in which the rows from @at on are in the next page. */
static void touch_crossing(struct world *w, uint64_t at)
{
	touch(w, (uint32_t)((at + PAGE_BYTES - 1) >> PAGE_SHIFT), 0x400000 + at % 7, 1);
}

/* As a matrix is packed for its product: of 16 columns each, which are in no order, the page in
 * which this block of rows goes on. Some are there already. */
static void columns_in_any_order_are_followed(void **state)
{
	static const uint8_t order[16] = {0, 12, 8, 4, 1, 13, 9, 5, 2, 14, 10, 6, 3, 15, 11, 7};
	struct world *w = world_new();
	uint64_t matrix = 1000 * PAGE_BYTES + 16;

	(void)state;
	for (uint32_t n = 0; n < 100; n++)
		touch_at(w, matrix + n * 40000, 0x400000, 1);
	w->touched = w->in_time = w->ahead = 0;
	for (uint64_t block = 1; block < 10; block++)
		for (uint64_t n = 0; n < 4096; n++) {
			uint64_t column = n / 16 * 16 + order[n % 16];

			if (any(w, 4))
				touch_crossing(w, matrix + column * 40000 + block * PAGE_BYTES);
		}
	assert_in_time(w, 90);
	free(w);
}

/* As blocks of a matrix are packed of which some pages are there: what is missed is where a row
 * goes over a border, most often 10 pages on, and what was meant is a row. */
static void of_rows_that_were_seen_nobody_takes_ten_pages_for_one(void **state)
{
	struct world *w = world_new();
	uint64_t matrix = 1000 * PAGE_BYTES + 16;

	(void)state;
	for (uint32_t n = 0; n < 100; n++)
		touch_at(w, matrix + n * 40000, 0x400000, 1);
	w->touched = w->in_time = w->ahead = 0;
	for (uint64_t block = 1; block < 10; block++)
		for (uint64_t n = 0; n < 1000; n++)
			touch(w,
			      (uint32_t)((matrix + n * 40000 + block * PAGE_BYTES) >> PAGE_SHIFT),
			      0x400000, 1);
	assert_in_time(w, 90);
	assert_true(w->ahead < w->touched + w->touched / 10);
	free(w);
}

/* Elsewhere a row takes ten pages. */
static void rows_of_whole_pages_are_followed_beside_others(void **state)
{
	struct world *w = world_new();

	(void)state;
	columns_learn(&w->policy.columns, 40000);
	for (uint32_t n = 0; n < 3000; n++)
		touch(w, 1000 + 10 * n, 0x400000, 1);
	assert_in_time(w, 90);
	free(w);
}

static void of_strides_the_one_that_others_are_multiples_of_is_known(void **state)
{
	struct columns c = {0};

	(void)state;
	columns_learn(&c, 160000);
	columns_learn(&c, -40000);
	columns_learn(&c, 2560000);
	columns_learn(&c, 8000); /* anything agrees on that */
	assert_int_equal(c.stride[0], 40000);
	assert_int_equal(c.stride[1], 0);
	columns_learn(&c, 123456);
	assert_int_equal(c.stride[1], 123456);
	for (int64_t i = 1; i < 10; i++)
		columns_learn(&c, 1000003 * i + 17);
	assert_int_not_equal(c.stride[0], 0);
}

/* As rows that are swapped in two columns of a matrix at a time: 20 pages in no order, then
 * the next 20. */
static void pages_in_any_order_of_a_region_that_moves_on_are_in_time(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint32_t first = 1000; first < 9000; first += 20) {
		uint32_t order[20] = {0};

		shuffle(w, order, 20);
		for (uint32_t i = 0; i < 20; i++)
			touch(w, first + order[i], 0x400000 + i % 5, 1);
	}
	assert_in_time(w, 95);
	assert_true(w->ahead < 8400);
	free(w);
}

static void a_third_of_each_region_brings_nothing(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint32_t first = 1000; first < 100000; first += 64)
		for (uint32_t i = 0; i < 21; i++)
			touch(w, first + any(w, 64), 0x400000 + i, 1);
	print_message("[ %u faults, %u came ahead ]\n", w->faults, w->ahead);
	assert_true(w->ahead * 20ULL <= w->faults);
	free(w);
}

/* ---- no streams ---- */

static void random_touches_bring_nothing(void **state)
{
	static const uint32_t pages[] = {1000, 4000, 30000, PAGES};

	(void)state;
	for (unsigned int i = 0; i < sizeof(pages) / sizeof(*pages); i++) {
		struct world *w = world_new();

		columns_learn(&w->policy.columns, 40000); /* of a matrix elsewhere */
		for (uint32_t n = 0; n < 100000; n++) {
			uint32_t page = any(w, pages[i]);

			w->where[page] = REMOTE;
			touch(w, page, 0, 1 + n % 3);
			w->where[page] = REMOTE; /* it left again */
		}
		print_message("[ %u pages: %u faults, %u came ahead ]\n", pages[i], w->faults,
			      w->ahead);
		assert_true(w->ahead * 100ULL <= w->faults);
		free(w);
	}
}

/* Each page once, in the order of a random cycle. */
static void a_pointer_chase_brings_nothing(void **state)
{
	struct world *w = world_new();
	uint32_t *order = calloc(20000, sizeof(*order));

	(void)state;
	assert_non_null(order);
	shuffle(w, order, 20000);
	for (uint32_t i = 0; i < 20000; i++)
		touch(w, order[i], 0x400123, 7);
	assert_true(w->ahead * 100ULL <= w->faults);
	free(order);
	free(w);
}

static void neighbours_now_and_then_are_no_stream(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint32_t n = 0; n < 20000; n++) {
		uint32_t page = any(w, PAGES - 4);

		for (uint32_t k = 0; k < 3; k++) { /* records of three pages */
			w->where[page + k] = REMOTE;
			touch(w, page + k, 0, 1);
			w->where[page + k] = REMOTE;
		}
	}
	assert_true(w->ahead * 100ULL <= w->faults);
	free(w);
}

static void first_touches_are_answered_in_growing_batches(void **state)
{
	struct world *w = world_new();
	struct policy_fault f = {.space = {1}, .tid = 1, .kind = POLICY_ZERO};
	uint32_t faults = 0;

	(void)state;
	for (uint64_t page = 0; page < 4 * CHUNK_PAGES; faults++) {
		struct policy_plan plan = {0};

		f.va = (FIRST_PAGE + page) << PAGE_SHIFT;
		policy_streams.plan(&w->policy, &f, &plan);
		assert_int_equal(plan.nr_runs, 0);
		page += 1 + plan.zeros;
	}
	assert_true(faults < 20);
	free(w);
}

/* ---- waste ---- */

static void a_stream_that_stops_leaves_two_windows_at_most(void **state)
{
	(void)state;
	for (uint32_t steps = 1; steps < 600; steps += 7) {
		struct world *w = world_new();

		walk(w, 1000, 1, steps, 1);
		assert_true(w->ahead <= steps + 2 * STREAM_WINDOW);
		free(w);
	}
}

static void short_runs_teach_it_to_wait(void **state)
{
	struct world *w = world_new();

	(void)state;
	for (uint32_t n = 0; n < 5000; n++)
		walk(w, any(w, PAGES / 8) * 8, 1, 4, 1);
	print_message("[ %u faults, %u came ahead ]\n", w->faults, w->ahead);
	assert_true(w->ahead * 8 <= w->faults);
	free(w);
}

static uint32_t window_after(struct world *w, uint32_t page)
{
	struct policy_fault f = {.space = {1},
				 .va = (FIRST_PAGE + page) << PAGE_SHIFT,
				 .tid = 1,
				 .kind = POLICY_FETCH};
	struct policy_plan plan = {0};

	policy_streams.plan(&w->policy, &f, &plan);
	return plan.nr_runs ? plan.run[0].nr : 0;
}

static void a_window_shrinks_while_what_came_is_gone_but_who_goes_on_is_followed(void **state)
{
	struct world *w = world_new();
	uint32_t page = 2000, nr, last = STREAM_WINDOW;

	(void)state;
	walk(w, 1000, 1, 1000, 1);
	for (; last > STREAM_FIRST; last = nr) {
		nr = window_after(w, page++);
		assert_int_equal(nr, last / 2);
	}
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(window_after(w, page++), STREAM_FIRST);
	free(w);
}

static void a_window_shrinks_once_for_each_plan_that_was_given_up(void **state)
{
	struct world *w = world_new();

	(void)state;
	walk(w, 1000, 1, 1000, 1);
	for (uint64_t k = 1; k < 40; k++)
		policy_streams.unused(&w->policy, (space_id){1},
				      (FIRST_PAGE + 1999 + k) << PAGE_SHIFT);
	assert_int_equal(window_after(w, 2000), STREAM_WINDOW / 2);
	free(w);
}

static void what_was_given_up_elsewhere_is_not_its_fault(void **state)
{
	struct world *w = world_new();
	uint32_t before;

	(void)state;
	walk(w, 1000, 1, 1000, 1);
	before = w->faults;
	policy_streams.unused(&w->policy, (space_id){1}, (FIRST_PAGE + 90000) << PAGE_SHIFT);
	policy_streams.unused(&w->policy, (space_id){2}, (FIRST_PAGE + 2001) << PAGE_SHIFT);
	walk(w, 2000, 1, 1000, 1);
	assert_true(w->faults - before <= 1000 / STREAM_WINDOW + 1);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sequence_forward_is_in_place_before_it_is_touched),
		cmocka_unit_test(a_sequence_backward_is_too),
		cmocka_unit_test(strides_are_followed),
		cmocka_unit_test(rows_that_are_no_whole_pages_are_followed),
		cmocka_unit_test(blocks_of_rows_that_are_no_whole_pages_are_followed),
		cmocka_unit_test(of_strides_the_one_that_others_are_multiples_of_is_known),
		cmocka_unit_test(columns_in_any_order_are_followed),
		cmocka_unit_test(of_rows_that_were_seen_nobody_takes_ten_pages_for_one),
		cmocka_unit_test(rows_of_whole_pages_are_followed_beside_others),
		cmocka_unit_test(pages_in_any_order_of_a_region_that_moves_on_are_in_time),
		cmocka_unit_test(a_third_of_each_region_brings_nothing),
		cmocka_unit_test(eight_streams_by_turns_are_told_apart),
		cmocka_unit_test(eight_streams_in_random_order_are_told_apart),
		cmocka_unit_test(two_threads_in_one_array_have_a_stream_each),
		cmocka_unit_test(a_stream_among_random_touches_is_found),
		cmocka_unit_test(a_sequence_that_leaves_some_pages_out_is_one),
		cmocka_unit_test(pages_come_in_time_from_a_store_that_takes_its_time),
		cmocka_unit_test(after_pages_that_were_there_all_the_time_it_goes_on),
		cmocka_unit_test(random_touches_bring_nothing),
		cmocka_unit_test(a_pointer_chase_brings_nothing),
		cmocka_unit_test(neighbours_now_and_then_are_no_stream),
		cmocka_unit_test(first_touches_are_answered_in_growing_batches),
		cmocka_unit_test(a_stream_that_stops_leaves_two_windows_at_most),
		cmocka_unit_test(short_runs_teach_it_to_wait),
		cmocka_unit_test(
			a_window_shrinks_while_what_came_is_gone_but_who_goes_on_is_followed),
		cmocka_unit_test(a_window_shrinks_once_for_each_plan_that_was_given_up),
		cmocka_unit_test(what_was_given_up_elsewhere_is_not_its_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
