/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/wake.h"

#define SECOND_NS 1000000000ULL

static void it_is_measured_once(void **state)
{
	uint64_t cost = wake_cost_ns();

	(void)state;
	assert_in_range(cost, 1, SECOND_NS);
	assert_int_equal(wake_cost_ns(), cost);
}

static void what_it_is_worth_has_limits(void **state)
{
	uint64_t cost = wake_cost_ns();

	(void)state;
	assert_int_equal(wake_worth_ns(4, 0, UINT64_MAX), 4 * cost);
	assert_int_equal(wake_worth_ns(4, 4 * cost + 1, UINT64_MAX), 4 * cost + 1);
	assert_int_equal(wake_worth_ns(4, 0, 4 * cost - 1), 4 * cost - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_measured_once),
		cmocka_unit_test(what_it_is_worth_has_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
