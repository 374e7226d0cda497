/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/policy/readahead.h"

static void the_group_around_a_fault_comes(void **state)
{
	struct policy_fault f = {.va = 0x7f0000013000, .kind = POLICY_FETCH};
	struct policy_plan plan = {0};

	(void)state;
	policy_readahead.plan(NULL, &f, &plan);
	assert_int_equal(plan.nr_runs, 1);
	assert_int_equal(plan.run[0].va, 0x7f0000010000);
	assert_int_equal(plan.run[0].nr, 8);
	assert_int_equal(plan.run[0].stride, PAGE_BYTES);
	assert_int_equal(plan.run[0].marker, POLICY_NO_MARKER);
}

static void nothing_comes_for_what_was_there(void **state)
{
	(void)state;
	for (int kind = POLICY_JOINED; kind <= POLICY_MARKER; kind++) {
		struct policy_fault f = {.va = 0x7f0000013000, .kind = (uint8_t)kind};
		struct policy_plan plan = {0};

		policy_readahead.plan(NULL, &f, &plan);
		assert_int_equal(plan.nr_runs + plan.nr_pages + plan.zeros, 0);
	}
}

static void all_of_a_chunk_leaves(void **state)
{
	struct policy_room room = {.pages = 1000};
	struct policy_chunk pc = {.left_at = 0};
	pageset set = {{5}};

	(void)state;
	policy_came(&policy_readahead, NULL, &room, &pc, 0, 5, WAY_SOON);
	assert_false(policy_leave(&policy_readahead, NULL, &room, &pc, NULL, &set));
	assert_int_equal(set.w[0], 5);
	policy_forget(&policy_readahead, NULL, &pc);
	policy_unused(&policy_readahead, NULL, (space_id){1}, 0x7f0000010000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_group_around_a_fault_comes),
		cmocka_unit_test(nothing_comes_for_what_was_there),
		cmocka_unit_test(all_of_a_chunk_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
