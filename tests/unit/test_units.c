/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/units.h"

static void expect_size(const char *text, uint64_t bytes)
{
	uint64_t got = 0;

	assert_int_equal(units_parse_size(text, &got), 0);
	assert_int_equal(got, bytes);
}

static void expect_refused(const char *text, int code)
{
	uint64_t got = 77;

	err_clear();
	assert_int_equal(units_parse_size(text, &got), code);
	assert_int_equal(got, 77);
	assert_non_null(strstr(err_text(code), "write for example 512M or 16G"));
}

static void sizes_are_read_as_people_write_them(void **state)
{
	(void)state;
	expect_size("1", 1);
	expect_size("4096", 4096);
	expect_size("12B", 12);
	expect_size("3K", 3072);
	expect_size("512M", MIB(512));
	expect_size("16G", GIB(16));
	expect_size("16g", GIB(16));
	expect_size("2GiB", GIB(2));
	expect_size("10GB", 10000000000);
	expect_size("1kb", 1000);
	expect_size("2T", GIB(2048));
	expect_size("1.5G", GIB(1) + MIB(512));
	expect_size("0.5K", 512);
	expect_size("1.25 GiB", GIB(1) + MIB(256));
	expect_size("007M", MIB(7));
	expect_size("1.00000000000000000000000000000000000001K", 1024);
}

static void times_and_chances(void **state)
{
	static const char *const no_time[] = {"", "5", "us", "5 us", "-1us", "1h", "5usx", "nan"};
	static const char *const no_chance[] = {"",  "-0.1", "1.1",  "101%",
						"x", "0.1x", "50%%", "5e-1"};
	uint64_t x = 77;

	(void)state;
	assert_int_equal(units_parse_duration("10us", &x), 0);
	assert_int_equal(x, 10000);
	assert_int_equal(units_parse_duration("1.5ms", &x), 0);
	assert_int_equal(x, 1500000);
	assert_int_equal(units_parse_duration("0ns", &x), 0);
	assert_int_equal(x, 0);
	assert_int_equal(units_parse_duration("3601s", &x), -ERANGE);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(units_parse_duration(no_time[i], &x), -EINVAL);
	assert_int_equal(units_parse_chance("0", &x), 0);
	assert_int_equal(x, 0);
	assert_int_equal(units_parse_chance("0.25", &x), 0);
	assert_int_equal(x, 1U << 30);
	assert_int_equal(units_parse_chance("25%", &x), 0);
	assert_int_equal(x, 1U << 30);
	assert_int_equal(units_parse_chance("1", &x), 0);
	assert_int_equal(x, 1ULL << 32);
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(units_parse_chance(no_chance[i], &x), -EINVAL);
}

static void what_is_no_size_is_refused(void **state)
{
	static const char *const wrong[] = {
		"",	" 5",  "5 ",  "-1",	"+1",  "64Q",	"1e99", "1E3",
		"G",	".5G", "1.G", "1.5",	"5%",  "1..2G", "0x10", "1,5G",
		"1.5B", "5GG", "5iB", "5 GiB ", "nan", "inf",	"5\n",	"5  G",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		expect_refused(wrong[i], -EINVAL);
}

static void zero_and_too_large_are_out_of_range(void **state)
{
	(void)state;
	expect_refused("0", -ERANGE);
	expect_refused("0G", -ERANGE);
	expect_refused("0.0001K", -ERANGE);
	expect_refused("99999999999999999999", -ERANGE);
	expect_refused("18446744073709551617", -ERANGE);
	expect_refused("18446744073709551616G", -ERANGE);
	expect_refused("17179869184G", -ERANGE);
	expect_refused("1048577T", -ERANGE);
	expect_size("1048576T", 1ULL << 60);
}

static void a_wrong_size_is_named(void **state)
{
	uint64_t got;

	(void)state;
	assert_int_equal(units_parse_size("64Q", &got), -EINVAL);
	assert_string_equal(err_text(-EINVAL),
			    "'64Q' is not a size: write for example 512M or 16G");
}

static void a_share_is_a_percentage_or_a_size(void **state)
{
	uint64_t got;

	(void)state;
	assert_int_equal(units_parse_share("50%", GIB(8), &got), 0);
	assert_int_equal(got, GIB(4));
	assert_int_equal(units_parse_share("12.5%", GIB(8), &got), 0);
	assert_int_equal(got, GIB(1));
	assert_int_equal(units_parse_share("100%", UINT64_MAX >> 4, &got), 0);
	assert_int_equal(got, UINT64_MAX >> 4);
	assert_int_equal(units_parse_share("3G", 1, &got), 0);
	assert_int_equal(got, GIB(3));
}

static void a_wrong_share_is_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
	} wrong[] = {
		{"0%", -ERANGE},
		{"0.5%", -ERANGE},
		{"101%", -ERANGE},
		{"100.1%", -ERANGE},
		{"-5%", -EINVAL},
		{"%", -EINVAL},
		{"5%%", -EINVAL},
		{"5%x", -EINVAL},
		{"5K%", -EINVAL},
		{"64Q", -EINVAL},
		{"0", -ERANGE},
		{"", -EINVAL},
		{"9999999999999999999999%", -ERANGE},
	};
	uint64_t got = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(units_parse_share(wrong[i].text, GIB(1), &got), wrong[i].code);
	assert_int_equal(got, 77);
}

static void expect_format(uint64_t bytes, const char *text)
{
	char buf[32];

	assert_string_equal(units_format_size(buf, sizeof(buf), bytes), text);
}

static void sizes_are_written_with_one_decimal(void **state)
{
	(void)state;
	expect_format(0, "0 B");
	expect_format(1023, "1023 B");
	expect_format(1024, "1.0 KiB");
	expect_format(GIB(1) + MIB(512), "1.5 GiB");
	expect_format(GIB(1) - 1, "1023.9 MiB");
	expect_format(GIB(4096), "4.0 TiB");
	expect_format(UINT64_MAX, "15.9 EiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_read_as_people_write_them),
		cmocka_unit_test(times_and_chances),
		cmocka_unit_test(what_is_no_size_is_refused),
		cmocka_unit_test(zero_and_too_large_are_out_of_range),
		cmocka_unit_test(a_wrong_size_is_named),
		cmocka_unit_test(a_share_is_a_percentage_or_a_size),
		cmocka_unit_test(a_wrong_share_is_refused),
		cmocka_unit_test(sizes_are_written_with_one_decimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
