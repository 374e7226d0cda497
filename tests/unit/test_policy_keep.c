/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves and what is kept, for a room of 32 chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/keep.h"

#define ROOM (32 * CHUNK_PAGES)

static struct keep k;
static struct policy_chunk pc[64];
static struct policy_room room;

static int begin(void **state)
{
	(void)state;
	k = (struct keep){0};
	for (unsigned int i = 0; i < 64; i++)
		pc[i] = (struct policy_chunk){0};
	room = (struct policy_room){.pages = ROOM, .fetch_ns = 1000000};
	return 0;
}

static void come(unsigned int c, unsigned int idx, unsigned int nr, enum policy_way way)
{
	room.now += nr;
	keep_came(&k, &room, &pc[c], idx, nr, way);
}

static pageset pages(unsigned int from, unsigned int to, unsigned int step)
{
	pageset s = {{0}};

	for (unsigned int i = from; i < to; i += step)
		pageset_add(&s, i);
	return s;
}

/* How many of the chunk's pages leave, when all of them could. */
static unsigned int leave(unsigned int c, const pageset *young, bool *clear)
{
	pageset set = pages(0, CHUNK_PAGES, 1);
	bool x = keep_leave(&k, &room, &pc[c], young, &set);

	if (clear)
		*clear = x;
	return pageset_count(&set);
}

static void what_came_once_leaves(void **state)
{
	(void)state;
	come(0, 0, CHUNK_PAGES, WAY_NEW);
	assert_int_equal(leave(0, NULL, NULL), CHUNK_PAGES);
	assert_int_equal(k.pages, 0);
}

static void what_came_back_soon_is_kept(void **state)
{
	(void)state;
	come(0, 0, CHUNK_PAGES, WAY_NEW);
	leave(0, NULL, NULL);
	come(0, 0, 100, WAY_SOON);
	come(0, 200, 100, WAY_BACK);
	assert_int_equal(k.pages, 200);
	assert_int_equal(leave(0, NULL, NULL), CHUNK_PAGES - 200);
	assert_int_equal(k.pages, 200);
	keep_forget(&k, &pc[0]);
	assert_int_equal(k.pages, 0);
}

static void what_came_back_late_is_not(void **state)
{
	(void)state;
	come(0, 0, CHUNK_PAGES, WAY_NEW);
	leave(0, NULL, NULL);
	room.now += ROOM + ROOM / 5;
	come(0, 0, 100, WAY_BACK);
	assert_int_equal(k.pages, 0);
}

static void what_is_new_in_a_kept_place_is_new(void **state)
{
	(void)state;
	come(0, 0, 10, WAY_SOON);
	come(0, 0, 10, WAY_NEW);
	assert_int_equal(k.pages, 0);
}

/* So that there is always a place for what comes. */
static void fill_with_kept(void)
{
	for (unsigned int c = 0; c < 32; c++) {
		pc[c].left_at = room.now + 1;
		come(c, 0, CHUNK_PAGES, WAY_BACK);
	}
}

static void some_room_is_for_what_comes(void **state)
{
	(void)state;
	fill_with_kept();
	assert_in_range(k.pages, ROOM / 2, ROOM - 8 * CHUNK_PAGES);
	assert_true(k.refused > 0);
}

static void what_is_not_accessed_leaves_when_others_are_refused(void **state)
{
	const pageset none = {{0}};
	pageset some = pages(0, CHUNK_PAGES, 2), all = pages(0, CHUNK_PAGES, 1);
	uint64_t kept;
	bool clear;

	(void)state;
	fill_with_kept();
	kept = k.pages;
	assert_int_equal(leave(0, &all, &clear), 0);
	assert_true(clear);
	assert_int_equal(leave(0, &none, &clear), 0); /* it has had no time yet */
	room.now += ROOM;
	assert_int_equal(leave(0, &some, &clear), CHUNK_PAGES / 2);
	assert_int_equal(k.pages, kept - CHUNK_PAGES / 2);
	assert_int_equal(leave(1, &none, &clear), 0); /* nobody has looked at it */
}

/* However the turns fall: here one is due each time that chunk 0 has its own. */
static void all_are_looked_at_before_any_is_again(void **state)
{
	pageset all = pages(0, CHUNK_PAGES, 1);
	unsigned int looks[32] = {0};
	bool clear;

	(void)state;
	fill_with_kept();
	for (unsigned int round = 0; round < 40; round++) {
		room.now += ROOM;
		k.refused = CHUNK_PAGES + CHUNK_PAGES / 2; /* one look's worth */
		for (unsigned int c = 0; c < 24; c++) {
			leave(c, &all, &clear);
			looks[c] += clear;
		}
	}
	for (unsigned int c = 0; c < 24; c++)
		assert_in_range(looks[c], 1, 4);
}

/* Looks at four kept chunks, and again @after fills: how many are let go, not accessed? */
static unsigned int let_go_after(unsigned int c, uint64_t after)
{
	const pageset none = {{0}};
	pageset all = pages(0, CHUNK_PAGES, 1);
	unsigned int nr = 0;
	bool clear;

	for (unsigned int i = c; i < c + 4; i++) {
		k.refused = ROOM;
		leave(i, &all, &clear);
		assert_true(clear);
	}
	k.refused = 0;
	room.now += after;
	for (unsigned int i = c; i < c + 4; i++)
		nr += leave(i, &none, &clear) == CHUNK_PAGES;
	return nr;
}

static void who_was_let_go_for_good_was_not_let_go_soon_enough(void **state)
{
	(void)state;
	fill_with_kept();
	assert_int_equal(let_go_after(0, ROOM / 2), 0);
	for (unsigned int c = 4; c < 16; c += 4)
		assert_int_equal(let_go_after(c, ROOM), 4);
	assert_int_equal(let_go_after(16, ROOM / 2), 4);
}

static void who_comes_back_was_let_go_too_soon(void **state)
{
	(void)state;
	fill_with_kept();
	for (unsigned int c = 0; c < 16; c += 4) {
		assert_int_equal(let_go_after(c, ROOM), 4);
		for (unsigned int i = c; i < c + 4; i++)
			come(i, 0, CHUNK_PAGES, WAY_BACK);
	}
	assert_int_equal(let_go_after(16, ROOM / 2), 0);
}

/* Whoever is looked at anew in the turn that lets pages of his go. */
static void what_comes_back_is_regretted_after_a_look_too(void **state)
{
	const pageset none = {{0}};
	pageset all = pages(0, CHUNK_PAGES, 1);
	bool clear;

	(void)state;
	fill_with_kept();
	k.refused = 2 * CHUNK_PAGES;
	leave(0, &all, &clear);
	room.now += ROOM;
	k.round = room.now;
	k.refused = 2 * CHUNK_PAGES;
	assert_int_equal(leave(0, &none, &clear), CHUNK_PAGES);
	assert_true(clear);
	come(0, 0, 100, WAY_BACK);
	assert_int_equal(k.regretted, 100);
}

/* Also when it has just been learnt that looks are to be rarer. */
static void a_look_costs_no_more_than_was_refused(void **state)
{
	pageset all = pages(0, CHUNK_PAGES, 1);
	bool clear;

	(void)state;
	fill_with_kept();
	k.haste = 2;
	k.refused = CHUNK_PAGES;
	k.regretted = CHUNK_PAGES;
	room.now += ROOM;
	leave(0, &all, &clear);
	assert_int_equal(k.haste, 1);
	assert_in_range(k.refused, 0, CHUNK_PAGES);
}

static void where_accesses_are_not_known_it_is_who_has_his_turn(void **state)
{
	unsigned int left = 0;

	(void)state;
	fill_with_kept();
	for (unsigned int c = 0; c < 8; c++)
		left += leave(c, NULL, NULL);
	assert_in_range(left, CHUNK_PAGES, 4 * CHUNK_PAGES);
}

static void what_is_in_use_all_the_time_is_kept_and_others_yield(void **state)
{
	pageset all = pages(0, CHUNK_PAGES, 1);
	uint64_t kept;

	(void)state;
	fill_with_kept();
	kept = k.pages;
	for (unsigned int i = 0; i < 40; i++) /* a fifth of a chunk, again and again */
		come(40, 0, 100, WAY_SOON);
	for (unsigned int i = 0; i < CHUNK_PAGES; i++)
		come(40, i, 1, WAY_SOON);
	assert_true(k.pages > kept);
	assert_int_equal(leave(40, &all, NULL), 0);
	fill_with_kept();
	for (unsigned int c = 0; c < 32 && k.pages > kept; c++)
		leave(c, &all, NULL);
	assert_int_equal(k.pages, kept);
	assert_int_equal(pageset_count(&pc[40].kept), CHUNK_PAGES);
}

/* Moving many runs costs more than bringing cheap pages back. */
static void cheap_pages_are_not_picked_out(void **state)
{
	(void)state;
	room.fetch_ns = 5000;
	come(0, 0, CHUNK_PAGES, WAY_NEW);
	leave(0, NULL, NULL);
	for (unsigned int i = 0; i < CHUNK_PAGES; i += 2)
		come(0, i, 1, WAY_SOON);
	assert_int_equal(leave(0, NULL, NULL), CHUNK_PAGES);
	assert_int_equal(k.pages, 0);

	come(1, 0, CHUNK_PAGES / 2, WAY_SOON); /* one run */
	assert_int_equal(leave(1, NULL, NULL), CHUNK_PAGES / 2);

	come(2, 0, CHUNK_PAGES, WAY_SOON);
	for (unsigned int i = 0; i < CHUNK_PAGES; i += 32) /* few: not worth it */
		come(2, i, 1, WAY_NEW);
	assert_int_equal(leave(2, NULL, NULL), 0);
}

#define TEST(f) cmocka_unit_test_setup(f, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_came_once_leaves),
		TEST(what_came_back_soon_is_kept),
		TEST(what_came_back_late_is_not),
		TEST(what_is_new_in_a_kept_place_is_new),
		TEST(some_room_is_for_what_comes),
		TEST(what_is_not_accessed_leaves_when_others_are_refused),
		TEST(all_are_looked_at_before_any_is_again),
		TEST(who_was_let_go_for_good_was_not_let_go_soon_enough),
		TEST(who_comes_back_was_let_go_too_soon),
		TEST(what_comes_back_is_regretted_after_a_look_too),
		TEST(a_look_costs_no_more_than_was_refused),
		TEST(where_accesses_are_not_known_it_is_who_has_his_turn),
		TEST(what_is_in_use_all_the_time_is_kept_and_others_yield),
		TEST(cheap_pages_are_not_picked_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
