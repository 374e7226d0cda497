/* SPDX-License-Identifier: Apache-2.0 */
/* Replay: pages come in the order of a run before, through strays, jumps and holes;
 * and not where that run does not tell. And recording, which says all and brings
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/policy/recorder.h"
#include "client/policy/replay.h"

#define NR	    4000U
#define PAGES	    1000U
#define PAGES_POWER 1024U

static const space_id space = {1}, other = {2};

static struct {
	uint64_t key[NR];
	uint32_t index[NR];
	struct places_key table[4 * PAGES_POWER];
	struct places places;
	struct replay r;
	unsigned int below_planned, noted;
} w;

static void below_plan(void *ctx, const struct policy_fault *f, struct policy_plan *plan)
{
	(void)ctx;
	w.below_planned++;
	plan->zeros = f->kind == POLICY_ZERO ? 7 : 0;
}

static void below_unused(void *ctx, space_id sp, uint64_t va)
{
	(void)ctx;
	(void)sp;
	(void)va;
}

static const struct policy_ops below = {
	.plan = below_plan,
	.unused = below_unused,
};

/* A walk without a pattern, the same each round. */
static uint64_t page_at(uint32_t i)
{
	return (uint64_t)(i % PAGES) * 7919 % PAGES + 100;
}

static void init(uint32_t nr)
{
	memset(w.table, 0, sizeof(w.table));
	w.places = (struct places){.index = w.index, .table = w.table, .mask = 4 * PAGES_POWER - 1};
	assert_true(places_make(&w.places, w.key, nr));
	replay_init(&w.r, w.key, &w.places, nr, &below, NULL);
}

static void begin(void)
{
	memset(&w, 0, sizeof(w));
	for (uint32_t i = 0; i < NR; i++)
		w.key[i] = replay_key(space, page_at(i) << PAGE_SHIFT);
	init(NR);
}

static struct policy_plan fault(uint64_t page, enum policy_kind kind)
{
	const struct policy_fault f = {
		.space = space, .va = page << PAGE_SHIFT, .kind = (uint8_t)kind};
	struct policy_plan plan = {0};

	policy_replay.plan(&w.r, &f, &plan);
	return plan;
}

static void begin_in_step(void)
{
	begin();
	fault(page_at(0), POLICY_FETCH);
	fault(page_at(1), POLICY_FETCH);
}

/* Is the plan what came after fault @i then? */
static void assert_follows(const struct policy_plan *plan, uint32_t i)
{
	assert_true(plan->nr_pages >= REPLAY_LEAST);
	for (uint32_t k = 0; k < plan->nr_pages; k++)
		assert_int_equal(plan->page[k] >> PAGE_SHIFT, page_at(i + k));
}

static void two_faults_in_a_row_are_enough(void **state)
{
	struct policy_plan plan;

	(void)state;
	begin();
	plan = fault(page_at(50), POLICY_FETCH);
	assert_int_equal(plan.nr_pages, 0);
	plan = fault(page_at(51), POLICY_FETCH);
	assert_follows(&plan, 52);
}

static void the_marker_brings_the_next_plan_and_it_grows(void **state)
{
	struct policy_plan plan;
	uint32_t at = 52, nr;

	(void)state;
	begin();
	fault(page_at(50), POLICY_FETCH);
	plan = fault(page_at(51), POLICY_FETCH);
	for (int i = 0; i < 4; i++) {
		nr = plan.nr_pages;
		plan = fault(page_at(at), POLICY_MARKER);
		assert_follows(&plan, at + nr);
		assert_true(plan.nr_pages > nr || nr == REPLAY_WINDOW);
		at += nr;
	}
}

static void what_was_late_narrows_it(void **state)
{
	uint32_t was;

	(void)state;
	begin_in_step();
	was = w.r.window;
	fault(page_at(5), POLICY_FETCH);
	assert_true(w.r.window < was);
}

static void strays_and_holes_are_passed_over(void **state)
{
	struct policy_plan plan;

	(void)state;
	begin_in_step();
	fault(5, POLICY_FETCH); /* never seen then */
	fault(6, POLICY_FETCH);
	plan = fault(page_at(2), POLICY_MARKER);
	assert_follows(&plan, 2 + REPLAY_FIRST);
	plan = fault(page_at(20), POLICY_JOINED); /* what is between did not fault */
	assert_int_equal(plan.nr_pages, 0);
	assert_int_equal(w.r.pos, 21);
	assert_int_equal(w.below_planned, 1); /* by the first fault alone */
}

static void a_jump_is_followed(void **state)
{
	struct policy_plan plan;

	(void)state;
	begin_in_step();
	for (uint32_t i = 0; i < REPLAY_FAR - 1; i++)
		assert_int_equal(fault(page_at(700 + i + i / 3), POLICY_FETCH).nr_pages, 0);
	plan = fault(page_at(699 + REPLAY_FAR + REPLAY_FAR / 3), POLICY_FETCH);
	assert_follows(&plan, 700 + REPLAY_FAR + REPLAY_FAR / 3);
}

/* Every second page, of a loop over all of them that comes much later. */
static void a_resemblance_is_no_jump(void **state)
{
	(void)state;
	begin();
	for (uint32_t i = 0; i < NR; i++)
		w.key[i] =
			replay_key(space, (i < 200 ? page_at(i) : 5000 + i % PAGES) << PAGE_SHIFT);
	init(NR);
	for (uint32_t i = 0; i < 2 * PAGES; i += 2)
		assert_int_equal(fault(5000 + i % PAGES, POLICY_FETCH).nr_pages, 0);
	assert_int_equal(w.below_planned, PAGES);
}

/* What follows it is asked for again. */
static void what_had_no_room_is_planned_anew(void **state)
{
	struct policy_plan plan;

	(void)state;
	begin_in_step();
	fault(page_at(2), POLICY_MARKER);
	plan = fault(page_at(10), POLICY_FETCH);
	assert_follows(&plan, 11);
}

static void each_key_is_found(void **state)
{
	(void)state;
	begin();
	for (uint32_t i = 0; i < NR; i++) {
		assert_int_equal(places_find(&w.places, w.key[i], i), i);
		assert_int_equal(places_find(&w.places, w.key[i], i + 1),
				 i + PAGES < NR ? i + PAGES : i % PAGES);
	}
	assert_int_equal(places_find(&w.places, replay_key(other, 0), 0), PLACES_NONE);
	memset(w.table, 0, sizeof(w.table));
	w.places.mask = PAGES_POWER - 1;
	assert_false(places_make(&w.places, w.key, NR)); /* more than half of it is used */
}

static void who_goes_elsewhere_is_left_to_the_policy_below(void **state)
{
	(void)state;
	begin();
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(fault(50000 + i * 31, POLICY_FETCH).nr_pages, 0);
	assert_int_equal(w.below_planned, 100);
	assert_int_equal(fault(1, POLICY_ZERO).zeros, 7);
}

static void nothing_is_planned_for_another_space_nor_beyond_the_end(void **state)
{
	struct policy_plan plan;

	(void)state;
	begin();
	for (uint32_t i = 10; i < NR; i += 2)
		w.key[i] = replay_key(other, page_at(i) << PAGE_SHIFT);
	init(NR);
	fault(page_at(0), POLICY_FETCH);
	plan = fault(page_at(1), POLICY_FETCH);
	for (uint32_t k = 8; k < plan.nr_pages; k++)
		assert_int_equal(plan.page[k] >> PAGE_SHIFT, page_at(11 + 2 * (k - 8)));
	begin();
	fault(page_at(NR - 3), POLICY_FETCH); /* rounds are alike: the first one is meant */
	w.r.pos = NR - 3;
	w.r.tail = NR - 3;
	w.r.marker = NR - 3;
	w.r.in_step = true;
	plan = fault(page_at(NR - 3), POLICY_MARKER);
	assert_true(w.r.tail <= NR);
	assert_true(plan.nr_pages <= 3);
}

static void an_empty_recording_says_nothing(void **state)
{
	(void)state;
	begin();
	init(0);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(fault(page_at(i), POLICY_FETCH).nr_pages, 0);
}

static void note(void *ctx, space_id sp, uint64_t va)
{
	(void)ctx;
	assert_int_equal(sp.v, space.v);
	assert_int_equal(va >> PAGE_SHIFT, page_at(w.noted));
	w.noted++;
}

static void recording_says_all_and_brings_nothing(void **state)
{
	struct recorder r = {.note = note, .below = &below};

	(void)state;
	begin();
	for (uint32_t i = 0; i < 100; i++) {
		const struct policy_fault f = {.space = space,
					       .va = page_at(i) << PAGE_SHIFT,
					       .kind = (uint8_t)(1 + i % 4)};
		struct policy_plan plan = {0};

		policy_recorder.plan(&r, &f, &plan);
		assert_int_equal(plan.nr_runs + plan.nr_pages, 0);
	}
	assert_int_equal(w.noted, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_faults_in_a_row_are_enough),
		cmocka_unit_test(the_marker_brings_the_next_plan_and_it_grows),
		cmocka_unit_test(what_was_late_narrows_it),
		cmocka_unit_test(strays_and_holes_are_passed_over),
		cmocka_unit_test(a_jump_is_followed),
		cmocka_unit_test(a_resemblance_is_no_jump),
		cmocka_unit_test(what_had_no_room_is_planned_anew),
		cmocka_unit_test(each_key_is_found),
		cmocka_unit_test(who_goes_elsewhere_is_left_to_the_policy_below),
		cmocka_unit_test(nothing_is_planned_for_another_space_nor_beyond_the_end),
		cmocka_unit_test(an_empty_recording_says_nothing),
		cmocka_unit_test(recording_says_all_and_brings_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
