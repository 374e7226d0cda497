/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror(): who comes next: a spare store in the place of one that is lost, and another process
 * in the place of one that was killed.
 */
#include "tests/mirror_rig.h"

/* ---- one that is spare ---- */

static void a_spare_one_takes_the_place_of_a_lost_one(void **state)
{
	(void)state;
	m->ops->close(m);
	memset(left, 0, sizeof(left));
	assert_int_equal(try_open("mirror(copies=2,kid:0,kid:1,kid:2)"), 0);
	write_all(1);
	assert_false(kid[2].open);
	assert_int_equal(kid[2].writes, 0);
	lose(0, true);
	for (uint64_t until = now_ms() + 5000; kid[2].opened < 1 && now_ms() < until; usleep(200))
		reap();
	__atomic_store_n(&kid[0].away, false, __ATOMIC_RELEASE); /* too late: two are enough */
	for (unsigned int i = 0; i < SLOTS; i += 2)
		write_one(i, i + 1001);
	for (uint64_t until = now_ms() + 600; now_ms() < until; usleep(200))
		reap();
	assert_false(kid[0].open);
	for (unsigned int i = 0; i < SLOTS; i++)
		assert_int_equal(kid[2].word[i], i % 2 ? i + 1 : i + 1001);
	lose(1, true);
	reap();
	for (unsigned int i = 0; i < SLOTS; i++)
		read_one(i, i % 2 ? i + 1 : i + 1001);
	for (uint64_t until = now_ms() + 5000; !kid[0].open && now_ms() < until; usleep(200))
		reap();
	assert_true(kid[0].open); /* and now it is the spare one */
}

/* ---- another process ---- */

/* This one was killed: it closes nothing, and what it had asked for is not done. */
static void kill_and_go_on(void)
{
	static struct store *dead[16];
	static unsigned int nr;

	assert_true(nr < 16);
	probe_stop((struct mirror *)m); /* its thread died, too */
	dead[nr++] = m;
	assert_ptr_equal(dead[nr - 1], m);
	for (unsigned int k = 0; k < KIDS; k++)
		kid[k].nr = 0;
	assert_int_equal(try_open("mirror(kid:0,kid:1)"), 0);
}

static void both_copies_are_gone_on_with(void **state)
{
	(void)state;
	write_all(1);
	kill_and_go_on();
	assert_int_equal(kid[0].opened + kid[1].opened, 4);
	read_all(1);
	for (unsigned int i = 0; i < SLOTS; i += 2)
		write_one(i, i + 1001);
	lose(0, false); /* and what the first has written is healed, too */
	reap();
	wait_until_whole(0);
	for (unsigned int i = 0; i < SLOTS; i++)
		assert_int_equal(kid[0].word[i], i % 2 ? i + 1 : i + 1001);
}

static void a_copy_that_was_lost_is_not_believed_by_the_next(void **state)
{
	(void)state;
	write_all(1);
	lose(1, true);
	write_all(501);
	kill_and_go_on();
	assert_false(kid[1].open);
	read_all(501);
	wait_until_whole(1);
	holds_all(1, 501);
}

/* It takes @pages of them, and stands still. */
static void fill_a_part(unsigned int pages)
{
	write_all(1);
	lose(1, false);
	kid[1].may_answer = pages;
	kid[1].writes = 0;
	for (uint64_t until = now_ms() + 5000; kid[1].writes < pages && now_ms() < until;
	     usleep(200))
		reap();
	assert_int_equal(kid[1].writes, pages);
}

static void a_copy_that_was_being_filled_is_gone_on_with(void **state)
{
	(void)state;
	fill_a_part(SLOTS - 10);
	kill_and_go_on();
	assert_int_equal(kid[1].opened, 3);
	kid[1].may_answer = KID_ANSWERS;
	write_one(0, 1001); /* good there already, and not copied again */
	kill_and_go_on();
	assert_int_equal(kid[1].opened, 4);
	wait_until_whole(1);
	assert_in_range(kid[1].writes, SLOTS + 1, SLOTS + 2 * 64);
	assert_int_equal(kid[1].word[0], 1001);
	kid[1].word[0] = kid[0].word[0] = 1;
	holds_all(1, 1);
}

/* Its server ended the lease meanwhile. */
static void a_copy_that_was_being_filled_and_is_gone_is_filled_anew(void **state)
{
	(void)state;
	fill_a_part(SLOTS - 10);
	memset(&left[2], 0, sizeof(left[2]));
	kid[1].open = false;
	kill_and_go_on();
	assert_false(kid[1].open);
	kid[1].may_answer = KID_ANSWERS;
	kid[1].writes = 0;
	wait_until_whole(1);
	assert_int_equal(kid[1].writes, SLOTS);
	holds_all(1, 1);
}

/* Which slots are free the next process is told by the core. */
static void what_is_free_is_not_copied(void **state)
{
	(void)state;
	write_all(1);
	kill_and_go_on();
	for (unsigned int i = 0; i < SLOTS; i++)
		if (i % 4)
			m->ops->drop(m, i);
	lose(1, false);
	kid[1].writes = 0;
	wait_until_whole(1);
	assert_int_equal(kid[1].writes, SLOTS / 4);
	read_one(4, 5);
}

/* It was given up by a process that was killed before it had said so. */
static void a_copy_of_which_nothing_is_left_is_not_believed(void **state)
{
	(void)state;
	write_all(1);
	memset(&left[1], 0, sizeof(left[1]));
	kid[0].open = false;
	kill_and_go_on();
	assert_false(kid[0].open);
	read_all(1);
	wait_until_whole(0);
	holds_all(0, 1);
}

static void a_server_that_died_with_the_process_is_done_without(void **state)
{
	(void)state;
	write_all(1);
	__atomic_store_n(&kid[0].away, true, __ATOMIC_RELEASE);
	kill_and_go_on();
	assert_false(kid[0].open);
	read_all(1);
	__atomic_store_n(&kid[1].away, true, __ATOMIC_RELEASE);
	assert_true(try_open("mirror(kid:0,kid:1)") < 0);
	assert_non_null(strstr(err_text(-EPIPE), "all copies"));
	kid[1].open = true; /* for its owner to close */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_spare_one_takes_the_place_of_a_lost_one),
		TEST(both_copies_are_gone_on_with),
		TEST(a_copy_that_was_lost_is_not_believed_by_the_next),
		TEST(a_copy_that_was_being_filled_is_gone_on_with),
		TEST(a_copy_that_was_being_filled_and_is_gone_is_filled_anew),
		TEST(what_is_free_is_not_copied),
		TEST(a_copy_of_which_nothing_is_left_is_not_believed),
		TEST(a_server_that_died_with_the_process_is_done_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
