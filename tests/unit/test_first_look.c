/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "common/base/first_look.h"

static long mapped_pages(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = -1;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld", &pages), 1);
	fclose(f);
	return pages;
}

/* From nothing worth speaking of to an emulated fault; and what it took is given back. */
static void it_is_measured_once_and_leaves_nothing(void **state)
{
	uint64_t ns;
	long before;

	(void)state;
	mapped_pages(); /* the library's buffers */
	before = mapped_pages();
	ns = first_look_ns();
	assert_int_equal(mapped_pages(), before);
	assert_in_range(ns, 0, 1000000);
	assert_int_equal(first_look_ns(), ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_measured_once_and_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
