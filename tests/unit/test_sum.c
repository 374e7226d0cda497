/* SPDX-License-Identifier: Apache-2.0 */
/* What a page is known by: every flipped bit shows, and so does another page or half of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "client/core/types.h"
#include "client/sum.h"

#define BITS (8 * PAGE_BYTES)

static struct sum_secret secret;
static uint8_t page[PAGE_BYTES] __attribute__((aligned(4096)));

static int begin(void **state)
{
	(void)state;
	return sum_draw(&secret);
}

static unsigned int noticed(void)
{
	uint64_t was = sum_page(&secret, page);
	unsigned int nr = 0;

	for (unsigned int bit = 0; bit < BITS; bit++) {
		page[bit / 8] ^= (uint8_t)(1U << bit % 8);
		nr += sum_page(&secret, page) != was;
		page[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	assert_int_equal(sum_page(&secret, page), was);
	return nr;
}

static void every_flipped_bit_is_noticed(void **state)
{
	(void)state;
	memset(page, 0, sizeof(page));
	assert_int_equal(noticed(), BITS);
	memset(page, 0xff, sizeof(page));
	assert_int_equal(noticed(), BITS);
	for (unsigned int i = 0; i < PAGE_BYTES; i++)
		page[i] = (uint8_t)(i * 7 + i / 64);
	assert_int_equal(noticed(), BITS);
}

static void two_words_that_changed_places_are_noticed(void **state)
{
	uint64_t *word = (uint64_t *)page, was, w;

	(void)state;
	for (unsigned int i = 0; i < PAGE_BYTES / 8; i++)
		word[i] = i;
	was = sum_page(&secret, page);
	for (unsigned int i = 1; i < PAGE_BYTES / 8; i++) {
		w = word[i];
		word[i] = word[i - 1];
		word[i - 1] = w;
		assert_true(sum_page(&secret, page) != was);
		word[i - 1] = word[i];
		word[i] = w;
	}
}

static void each_run_has_a_secret_of_its_own(void **state)
{
	struct sum_secret other;

	(void)state;
	assert_int_equal(sum_draw(&other), 0);
	assert_true(sum_page(&other, page) != sum_page(&secret, page));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(two_words_that_changed_places_are_noticed),
		cmocka_unit_test(each_run_has_a_secret_of_its_own),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
