/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror(): over two stores that answer when the test says so, refuse, hold back, and are
 * lost. What is read is always what was last written; a copy that was lost is
 * filled before it is believed again.
 */
#include "tests/mirror_rig.h"

static void a_write_is_done_when_all_copies_have_it(void **state)
{
	(void)state;
	assert_int_equal(m->nr_slots, SLOTS);
	assert_int_equal(m->copies, 2);
	kid[1].may_answer = 0;
	submit(STORE_WRITE, 5, 77, 0);
	reap();
	assert_false(done[5]);
	assert_int_equal(kid[0].word[5], 77);
	kid[1].may_answer = KID_ANSWERS;
	reap();
	assert_true(done[5]);
	assert_int_equal(kid[1].word[5], 77);
	read_one(5, 77);
}

static void a_full_copy_is_asked_later(void **state)
{
	(void)state;
	kid[0].full = true;
	submit(STORE_WRITE, 5, 77, 0);
	reap();
	assert_false(done[5]);
	kid[0].full = false;
	reap();
	assert_true(done[5]);
	assert_int_equal(kid[0].word[5], 77);
}

static void a_wrong_page_is_read_from_another_copy(void **state)
{
	unsigned int reads;

	(void)state;
	write_one(5, 77);
	for (unsigned int k = 0; k < 2; k++) {
		kid[k].word[5] = 78;
		reads = kid[0].reads + kid[1].reads;
		submit(STORE_READ, 5, 0, 0);
		reap();
		if (page[5][0] == 78) {
			assert_int_equal(from[5], k);
			submit(STORE_READ, 5, 0, 1U << k);
			reap();
			reads++;
		}
		assert_int_equal(page[5][0], 77);
		assert_int_equal(kid[0].reads + kid[1].reads, reads + 1);
		kid[k].word[5] = 77;
	}
}

static void a_refused_read_is_asked_of_another(void **state)
{
	(void)state;
	write_one(5, 77);
	kid[0].refuses_reads = true;
	read_one(5, 77);
	kid[1].refuses_reads = true;
	submit(STORE_READ, 5, 0, 0);
	reap();
	assert_true(done[5]);
	assert_int_equal(res[5], -EIO);
	kid[0].refuses_reads = kid[1].refuses_reads = false;
}

static void who_is_slow_is_not_waited_for(void **state)
{
	uint64_t start;

	(void)state;
	write_one(5, 77);
	kid[0].may_answer = kid[1].may_answer = 0;
	submit(STORE_READ, 5, 0, 0);
	assert_int_equal(kid[0].nr + kid[1].nr, 1);
	start = now_ms();
	while (kid[0].nr + kid[1].nr < 2 && now_ms() - start < 5000) {
		reap();
		usleep(200);
	}
	assert_int_equal(kid[0].nr + kid[1].nr, 2);
	kid[1].may_answer = KID_ANSWERS;
	reap();
	assert_true(done[5]);
	assert_int_equal(page[5][0], 77);
	/* What the other says later is nobody's business. */
	page[5][0] = 1;
	kid[0].word[5] = 99;
	kid[0].may_answer = KID_ANSWERS;
	reap();
	assert_int_equal(page[5][0], 1);
	kid[0].word[5] = 77;
}

static void a_lost_copy_is_done_without(void **state)
{
	(void)state;
	write_one(5, 77);
	kid[0].may_answer = 0;
	submit(STORE_WRITE, 6, 88, 0);
	submit(STORE_READ, 5, 0, 0);
	reap();
	assert_false(done[6]);
	lose(0, true);
	reap_until(&done[6], 1000);
	reap_until(&done[5], 1000);
	assert_int_equal(res[6], 0);
	assert_int_equal(page[5][0], 77);
	assert_false(kid[0].open);
	for (unsigned int i = 0; i < 100; i++)
		write_one(i, i + 1000);
	for (unsigned int i = 0; i < 100; i++)
		read_one(i, i + 1000);
}

static void who_refuses_a_write_is_not_read_again(void **state)
{
	(void)state;
	write_one(5, 77);
	kid[1].away = true;
	kid[1].refuses_writes = true;
	write_one(5, 78);
	assert_false(kid[1].open);
	for (unsigned int i = 0; i < 200; i++)
		read_one(5, 78);
}

static void a_copy_that_says_nothing_for_a_second_is_lost(void **state)
{
	uint64_t start = now_ms();

	(void)state;
	kid[1].may_answer = 0;
	kid[1].away = true;
	submit(STORE_WRITE, 5, 77, 0);
	reap_until(&done[5], 5000);
	assert_int_equal(res[5], 0);
	assert_true(now_ms() - start > 500);
	assert_false(kid[1].open);
}

static void a_copy_that_is_slow_but_answers_is_kept(void **state)
{
	uint64_t next = 0;

	(void)state;
	kid[1].may_answer = 0;
	for (unsigned int i = 0; i < 8; i++)
		submit(STORE_WRITE, i, i + 1, 0);
	for (uint64_t until = now_ms() + 2000; now_ms() < until; usleep(200)) {
		if (now_ms() >= next) {
			kid[1].may_answer = 1;
			next = now_ms() + 300;
		}
		reap();
	}
	assert_true(kid[1].open);
	kid[1].may_answer = KID_ANSWERS;
	reap();
	assert_true(done[7]);
}

static void the_last_copy_is_never_given_up_for_being_late(void **state)
{
	(void)state;
	lose(1, true);
	reap();
	kid[0].may_answer = 0;
	submit(STORE_WRITE, 5, 77, 0);
	for (uint64_t until = now_ms() + 1500; now_ms() < until; usleep(200))
		reap();
	assert_false(done[5]);
	kid[0].may_answer = KID_ANSWERS;
	reap();
	assert_true(done[5]);
	assert_int_equal(res[5], 0);
}

static void when_all_are_lost_it_is_said(void **state)
{
	(void)state;
	submit(STORE_WRITE, 5, 77, 0);
	reap();
	kid[0].may_answer = kid[1].may_answer = 0;
	submit(STORE_READ, 5, 77, 0);
	lose(0, true);
	lose(1, true);
	for (uint64_t until = now_ms() + 3000; !done[5] && now_ms() < until;)
		if (reap() < 0)
			break;
	assert_int_equal(reap(), -EPIPE);
	assert_non_null(strstr(err_text(-EPIPE), "all copies"));
	assert_int_equal(m->ops->submit(m, &(struct store_req){.buf = page[0]}, 1), -EPIPE);
}

static void who_comes_back_is_filled_before_he_is_believed(void **state)
{
	(void)state;
	write_all(1);
	lose(0, true);
	reap();
	for (unsigned int i = 0; i < SLOTS; i += 2)
		write_one(i, i + 1001);
	wait_until_whole(0);
	assert_int_equal(kid[0].opened, 2);
	for (unsigned int i = 0; i < SLOTS; i++)
		assert_int_equal(kid[0].word[i], i % 2 ? i + 1 : i + 1001);
	lose(1, true);
	reap();
	for (unsigned int i = 0; i < SLOTS; i++)
		read_one(i, i % 2 ? i + 1 : i + 1001);
}

static void what_is_written_meanwhile_is_not_overtaken(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < SLOTS; i++)
		write_one(i, 1);
	lose(0, false);
	/* Written again and again while it is filled: the last word counts on both. */
	for (uint64_t round = 2; round < 40; round++)
		for (unsigned int i = 0; i < SLOTS; i += 7) {
			struct store_req req = {
				.slot = i, .buf = page[i], .tag = i, .op = STORE_WRITE};

			page[i][0] = round;
			done[i] = false;
			while (m->ops->submit(m, &req, 1) == 0) {
				reap(); /* on its way to the copy that joins */
				usleep(100);
			}
			reap_until(&done[i], 5000);
			usleep(200);
		}
	wait_until_whole(0);
	for (unsigned int i = 0; i < SLOTS; i++) {
		assert_int_equal(kid[0].word[i], kid[1].word[i]);
		assert_int_equal(kid[0].word[i], i % 7 ? 1 : 39);
	}
}

static void a_copy_that_is_lost_again_while_it_is_filled(void **state)
{
	(void)state;
	write_all(1);
	lose(0, false);
	while (kid[0].opened < 2) {
		reap();
		usleep(200);
	}
	lose(0, true);
	reap();
	assert_false(kid[0].open);
	read_all(1);
	wait_until_whole(0);
	holds_all(0, 1);
}

static void a_page_that_nobody_can_read_keeps_a_copy_from_joining(void **state)
{
	(void)state;
	write_one(5, 77);
	lose(1, false);
	kid[0].refuses_reads = true;
	for (uint64_t until = now_ms() + 5000; kid[1].opened < 2 && now_ms() < until; usleep(200))
		reap();
	__atomic_store_n(&kid[1].away, true, __ATOMIC_RELEASE);
	for (uint64_t until = now_ms() + 5000; kid[1].open && now_ms() < until; usleep(200))
		reap();
	assert_false(kid[1].open);
	kid[0].refuses_reads = false;
	write_one(5, 78); /* nothing holds the slot */
	read_one(5, 78);
}

static void a_write_that_only_who_joins_took_is_refused(void **state)
{
	(void)state;
	write_one(5, 77);
	kid[0].may_answer = 0; /* so that the other one joins for a while */
	lose(1, false);
	for (uint64_t until = now_ms() + 5000; kid[1].opened < 2 && now_ms() < until; usleep(200))
		reap();
	submit(STORE_WRITE, 6, 88, 0);
	reap();
	assert_int_equal(kid[1].word[6], 88);
	assert_false(done[6]);
	kid[0].refuses_writes = true;
	kid[0].may_answer = KID_ANSWERS;
	reap_until(&done[6], 500);
	assert_int_equal(res[6], -EIO);
	assert_true(kid[0].open);
	kid[0].refuses_writes = false;
	write_one(6, 89);
	read_one(5, 77);
	read_one(6, 89);
}

static void what_is_wrong_is_said(void **state)
{
	static const char *const wrong[][2] = {
		{"mirror(kid:0)", "2 or 3 others"},
		{"mirror(resync=x,kid:0,kid:1)", "'x' is not a size"},
		{"mirror(speed=1,kid:0,kid:1)", "nothing but resync"},
		{"mirror(copies=1,kid:0,kid:1,kid:2)", "the third is spare"},
		{"mirror(copies=2,kid:0,kid:1)", "the third is spare"},
		{"mirror", "2 or 3 others"},
	};
	struct store *was = m;

	(void)state;
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_true(try_open(wrong[i][0]) < 0);
		if (!strstr(err_text(-EINVAL), wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], err_text(-EINVAL));
		assert_ptr_equal(m, was);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_write_is_done_when_all_copies_have_it),
		TEST(a_full_copy_is_asked_later),
		TEST(a_wrong_page_is_read_from_another_copy),
		TEST(a_refused_read_is_asked_of_another),
		TEST(who_is_slow_is_not_waited_for),
		TEST(a_lost_copy_is_done_without),
		TEST(who_refuses_a_write_is_not_read_again),
		TEST(a_copy_that_says_nothing_for_a_second_is_lost),
		TEST(a_copy_that_is_slow_but_answers_is_kept),
		TEST(the_last_copy_is_never_given_up_for_being_late),
		TEST(when_all_are_lost_it_is_said),
		TEST(who_comes_back_is_filled_before_he_is_believed),
		TEST(what_is_written_meanwhile_is_not_overtaken),
		TEST(a_copy_that_is_lost_again_while_it_is_filled),
		TEST(a_page_that_nobody_can_read_keeps_a_copy_from_joining),
		TEST(a_write_that_only_who_joins_took_is_refused),
		TEST(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
