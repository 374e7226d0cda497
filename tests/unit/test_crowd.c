/* SPDX-License-Identifier: Apache-2.0 */
/* Does more want a processor than there are? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/capture/crowd.h"

static struct crowd c;

static int begin(void **state)
{
	(void)state;
	crowd_begin(&c);
	c.cpus = 2;
	return 0;
}

static void look(unsigned int running)
{
	for (unsigned int i = 0; i < CROWD_LOOKS; i++)
		crowd_look(&c, running);
}

static void fault(unsigned int threads, bool posted)
{
	for (unsigned int i = 0; i < 2 * CROWD_FAULTS; i++)
		crowd_faulted(&c, 100 + i % threads, posted);
}

static void the_pager_and_what_else_fits_are_none(void **state)
{
	(void)state;
	assert_false(c.crowded);
	fault(1, false);
	look(2);
	assert_false(c.crowded);
}

static void one_that_waits_beside_one_that_computes_is(void **state)
{
	(void)state;
	fault(1, false);
	look(3);
	assert_true(c.crowded);
}

static void two_that_wait_are_none_on_two_processors(void **state)
{
	(void)state;
	fault(2, false);
	look(3);
	assert_false(c.crowded);
	look(4);
	assert_true(c.crowded);
	look(3);
	assert_false(c.crowded);
	fault(1, false); /* one computes now */
	look(3);
	assert_true(c.crowded);
}

static void one_by_two_numbers_is_one(void **state)
{
	(void)state;
	fault(1, false);
	for (unsigned int i = 0; i < CROWD_FAULTS; i++)
		crowd_faulted(&c, 7, true);
	look(3);
	assert_true(c.crowded);
	fault(2, true);
	look(3);
	assert_false(c.crowded);
}

static void who_runs_for_a_moment_does_not_count(void **state)
{
	(void)state;
	look(2);
	crowd_look(&c, 9);
	crowd_look(&c, 9);
	crowd_look(&c, 9);
	assert_false(c.crowded);
	crowd_look(&c, 9);
	assert_true(c.crowded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_pager_and_what_else_fits_are_none, begin),
		cmocka_unit_test_setup(one_that_waits_beside_one_that_computes_is, begin),
		cmocka_unit_test_setup(two_that_wait_are_none_on_two_processors, begin),
		cmocka_unit_test_setup(one_by_two_numbers_is_one, begin),
		cmocka_unit_test_setup(who_runs_for_a_moment_does_not_count, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
