/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base/hist.h"

static struct hist h;

static int clear(void **state)
{
	(void)state;
	memset(&h, 0, sizeof(h));
	return 0;
}

static void an_empty_histogram_says_zero(void **state)
{
	(void)state;
	assert_int_equal(hist_quantile(&h, 0.5), 0);
}

static void small_values_are_exact(void **state)
{
	(void)state;
	for (uint64_t v = 0; v < 16; v++)
		hist_add(&h, v);
	for (uint64_t v = 0; v < 16; v++)
		assert_int_equal(hist_quantile(&h, (double)(v + 1) / 16), v);
	assert_int_equal(h.count, 16);
	assert_int_equal(h.sum, 120);
	assert_int_equal(h.max, 15);
}

static void every_value_is_told_within_a_sixteenth(void **state)
{
	(void)state;
	for (uint64_t v = 1; v < 1ULL << 47; v += v / 7 + 1) {
		uint64_t edge;

		clear(NULL);
		hist_add(&h, v);
		edge = hist_quantile(&h, 0.5);
		assert_true(edge <= v);
		assert_true(v - edge <= edge / 16);
	}
}

static void edges_fall_into_their_own_bucket(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (unsigned int i = 1; i < HIST_BUCKETS; i++) {
		uint64_t edge;

		clear(NULL);
		h.count = 1;
		h.bucket[i] = 1;
		edge = hist_quantile(&h, 1);
		assert_true(edge > last);
		last = edge;
		clear(NULL);
		hist_add(&h, edge);
		assert_int_equal(h.bucket[i], 1);
	}
}

static void what_is_too_large_goes_into_the_last_bucket(void **state)
{
	(void)state;
	hist_add(&h, UINT64_MAX);
	hist_add(&h, 1ULL << 47);
	assert_int_equal(h.bucket[HIST_BUCKETS - 1], 2);
	assert_int_equal(h.max, UINT64_MAX);
}

static void quantiles_follow_the_ranks(void **state)
{
	(void)state;
	for (int i = 0; i < 90; i++)
		hist_add(&h, 3);
	for (int i = 0; i < 9; i++)
		hist_add(&h, 1024);
	hist_add(&h, 1 << 20);
	assert_int_equal(hist_quantile(&h, 0), 3);
	assert_int_equal(hist_quantile(&h, 0.5), 3);
	assert_int_equal(hist_quantile(&h, 0.9), 3);
	assert_int_equal(hist_quantile(&h, 0.99), 1024);
	assert_int_equal(hist_quantile(&h, 1), 1 << 20);
	assert_int_equal(hist_quantile(&h, 7), 1 << 20);
	assert_int_equal(hist_quantile(&h, -1), 3);
}

static void a_reader_that_races_a_writer_gets_the_last_bucket_there_is(void **state)
{
	(void)state;
	hist_add(&h, 5);
	h.count = 10;
	assert_int_equal(hist_quantile(&h, 0.99), 5);
}

static void a_difference_holds_what_came_in_between(void **state)
{
	static struct hist then, diff;

	(void)state;
	for (int i = 0; i < 1000; i++)
		hist_add(&h, 7);
	then = h;
	hist_since(&diff, &h, &then);
	assert_int_equal(diff.count, 0);
	assert_int_equal(hist_quantile(&diff, 0.99), 0);
	hist_add(&h, 4096);
	hist_since(&diff, &h, &then);
	assert_int_equal(diff.count, 1);
	assert_int_equal(diff.sum, 4096);
	assert_int_equal(hist_quantile(&diff, 0.5), 4096);
}

static void a_difference_to_one_begun_anew_counts_from_zero(void **state)
{
	static struct hist then, diff;

	(void)state;
	for (int i = 0; i < 10; i++)
		hist_add(&then, 9);
	hist_add(&h, 9);
	hist_since(&diff, &h, &then);
	assert_int_equal(diff.count, 1);
	assert_int_equal(hist_quantile(&diff, 0.5), 9);
}

static void below_a_power_of_two_is_exact(void **state)
{
	(void)state;
	for (unsigned int exp = 0; exp < 47; exp++) {
		hist_add(&h, (1ULL << exp) - 1);
		hist_add(&h, 1ULL << exp);
	}
	for (unsigned int exp = 0; exp < 47; exp++) {
		uint64_t below = 0;

		for (unsigned int e = 0; e < 47; e++)
			below += ((1ULL << e) - 1 < 1ULL << exp) + (1ULL << e < 1ULL << exp);
		assert_int_equal(hist_below(&h, exp), below);
	}
	assert_int_equal(hist_below(&h, 64), h.count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_histogram_says_zero, clear),
		cmocka_unit_test_setup(small_values_are_exact, clear),
		cmocka_unit_test_setup(every_value_is_told_within_a_sixteenth, clear),
		cmocka_unit_test_setup(edges_fall_into_their_own_bucket, clear),
		cmocka_unit_test_setup(what_is_too_large_goes_into_the_last_bucket, clear),
		cmocka_unit_test_setup(quantiles_follow_the_ranks, clear),
		cmocka_unit_test_setup(a_reader_that_races_a_writer_gets_the_last_bucket_there_is,
				       clear),
		cmocka_unit_test_setup(a_difference_holds_what_came_in_between, clear),
		cmocka_unit_test_setup(a_difference_to_one_begun_anew_counts_from_zero, clear),
		cmocka_unit_test_setup(below_a_power_of_two_is_exact, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
