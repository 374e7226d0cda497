/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "tools/watch/text.h"

static void sizes_take_six_columns(void **state)
{
	char t[TEXT_BYTES];

	(void)state;
	assert_string_equal(text_size(t, 0), "0");
	assert_string_equal(text_size(t, 1), "1B");
	assert_string_equal(text_size(t, 999), "999B");
	assert_string_equal(text_size(t, 1024), "1.0K");
	assert_string_equal(text_size(t, 64.0 * (1 << 20)), "64.0M");
	assert_string_equal(text_size(t, 1023.0 * 1024), "1.0M");
	for (double v = 1; v < 1e19; v *= 1.007)
		assert_true(strlen(text_size(t, v)) <= 6);
}

static void counts_take_six_columns(void **state)
{
	char t[TEXT_BYTES];

	(void)state;
	assert_string_equal(text_count(t, 0), "0");
	assert_string_equal(text_count(t, 0.01), "0");
	assert_string_equal(text_count(t, 0.5), "0.5");
	assert_string_equal(text_count(t, 9.96), "10");
	assert_string_equal(text_count(t, 999), "999");
	assert_string_equal(text_count(t, 12345), "12.3k");
	for (double v = 0.01; v < 1e19; v *= 1.007)
		assert_true(strlen(text_count(t, v)) <= 6);
}

static void times_take_five_columns(void **state)
{
	char t[TEXT_BYTES];

	(void)state;
	assert_string_equal(text_time(t, 0), "0ns");
	assert_string_equal(text_time(t, 850), "850ns");
	assert_string_equal(text_time(t, 1234), "1.2us");
	assert_string_equal(text_time(t, 18400), "18us");
	assert_string_equal(text_time(t, 917500), "918us");
	assert_string_equal(text_time(t, 999600), "1.0ms");
	assert_string_equal(text_time(t, 5000000000), "5.0s");
	for (uint64_t v = 1; v < UINT64_MAX / 2; v += v / 100 + 1)
		assert_true(strlen(text_time(t, v)) <= 5);
}

static void uptimes_take_nine_columns(void **state)
{
	const uint64_t s = 1000000000;
	char t[TEXT_BYTES];

	(void)state;
	assert_string_equal(text_uptime(t, 0), "0:00:00");
	assert_string_equal(text_uptime(t, 251 * s), "0:04:11");
	assert_string_equal(text_uptime(t, 86399 * s), "23:59:59");
	assert_string_equal(text_uptime(t, 99 * 86400 * s), "99d 00:00");
	for (uint64_t v = 1; v < UINT64_MAX / 2; v += v / 10 + 1)
		assert_true(strlen(text_uptime(t, v)) <= 9);
}

static const char *clip(const char *text, unsigned int cols, bool utf8)
{
	static char buf[256];
	unsigned int used = text_clip(buf, sizeof(buf), text, cols, utf8);

	assert_true(used <= cols);
	assert_int_equal(used, text_columns(buf, utf8));
	return buf;
}

static void what_a_terminal_would_obey_is_escaped(void **state)
{
	(void)state;
	for (int utf8 = 0; utf8 < 2; utf8++) {
		assert_string_equal(clip("\x1b[2J", 20, utf8), "\\x1b[2J");
		assert_string_equal(clip("a\nb\tc\x7f", 20, utf8), "a\\x0ab\\x09c\\x7f");
		assert_string_equal(clip("\x9b"
					 "31m",
					 20, utf8),
				    "\\x9b31m");
		assert_string_equal(clip("\xc2\x9b", 20, utf8), "\\xc2\\x9b"); /* CSI in UTF-8 */
		assert_string_equal(clip("\xe2\x80\xae"
					 "x",
					 20, utf8),
				    "\\xe2\\x80\\xaex"); /* RLO */
	}
}

static void every_byte_is_harmless(void **state)
{
	(void)state;
	srand(1);
	for (int n = 0; n < 20000; n++) {
		char text[16] = "";

		for (int i = 0; i < 15; i++)
			text[i] = (char)(rand() % 255 + 1);
		for (const char *c = clip(text, (unsigned int)rand() % 40, false); *c; c++)
			assert_true(*c >= 0x20 && *c < 0x7f);
		for (const char *c = clip(text, (unsigned int)rand() % 40, true); *c; c++)
			assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
	}
}

static void letters_of_the_world_keep_their_width(void **state)
{
	(void)state;
	assert_string_equal(clip("日本", 4, true), "日本");
	assert_int_equal(text_columns("日本", true), 4);
	assert_string_equal(clip("日本語", 4, true), "日+");
	assert_string_equal(clip("日本語", 5, true), "日本+");
	assert_string_equal(clip("grün", 4, true), "grün");
	assert_string_equal(clip("grün", 20, false), "gr\\xc3\\xbcn");
}

static void what_is_cut_says_so(void **state)
{
	(void)state;
	assert_string_equal(clip("python3", 7, false), "python3");
	assert_string_equal(clip("python3", 6, false), "pytho+");
	assert_string_equal(clip("python3", 1, false), "+");
	assert_string_equal(clip("python3", 0, false), "");
	assert_string_equal(clip("ab\x01", 4, false), "ab+");
	assert_string_equal(clip("", 4, false), "");
}

static void the_first_columns_end_between_characters(void **state)
{
	(void)state;
	assert_int_equal(text_bytes("日本", 3, true), 3);
	assert_int_equal(text_bytes("abc", 2, true), 2);
	assert_int_equal(text_bytes("abc", 9, true), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_take_six_columns),
		cmocka_unit_test(counts_take_six_columns),
		cmocka_unit_test(times_take_five_columns),
		cmocka_unit_test(uptimes_take_nine_columns),
		cmocka_unit_test(what_a_terminal_would_obey_is_escaped),
		cmocka_unit_test(every_byte_is_harmless),
		cmocka_unit_test(letters_of_the_world_keep_their_width),
		cmocka_unit_test(what_is_cut_says_so),
		cmocka_unit_test(the_first_columns_end_between_characters),
	};

	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
