/* SPDX-License-Identifier: Apache-2.0 */
/* Files of --record: what was put in comes out; nothing that is cut, flipped or foreign
 * is taken for one; nothing is left behind. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/record.h"
#include "common/base/err.h"

#define NR 5000U

static char folder[64], path[96];

static uint64_t key_at(uint32_t i)
{
	static const uint64_t edge[] = {0, UINT64_MAX, 1ULL << 63, 1, (1ULL << 44) - 1};

	return i < 5 ? edge[i] : (uint64_t)i * 0x9e3779b97f4a7c15ULL >> (i % 50);
}

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/rmem-record-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/r", folder);
	return 0;
}

static unsigned int files(void)
{
	DIR *d = opendir(folder);
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void write_one(uint32_t nr)
{
	struct record *r;

	assert_int_equal(record_create(path, &r), 0);
	for (uint32_t i = 0; i < nr; i++)
		record_add(r, key_at(i));
	assert_false(record_is_cut(r));
	assert_int_equal(record_write(r), 0);
	record_close(r);
	assert_int_equal(files(), 1);
}

static void what_goes_in_comes_out(void **state)
{
	(void)state;
	for (uint32_t nr = 0; nr <= NR; nr += NR) {
		uint64_t *key;
		uint32_t got;

		write_one(nr);
		assert_int_equal(record_load(path, &key, &got), 0);
		assert_int_equal(got, nr);
		for (uint32_t i = 0; i < nr; i++)
			assert_int_equal(key[i], key_at(i));
		free(key);
	}
}

static void without_an_end_nothing_is_there(void **state)
{
	struct record *r;

	(void)state;
	assert_int_equal(record_create(path, &r), 0);
	record_add(r, 1);
	record_close(r);
	assert_int_equal(files(), 0);
	record_close(NULL);
}

static void refused(const char *says)
{
	uint64_t *key = NULL;
	uint32_t nr;

	assert_int_not_equal(record_load(path, &key, &nr), 0);
	assert_null(key);
	assert_non_null(strstr(err_text(-1), path));
	assert_non_null(strstr(err_text(-1), says));
}

static void put(const char *bytes, size_t nr)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, nr, f), nr);
	fclose(f);
}

static void what_is_damaged_is_refused(void **state)
{
	static char good[1 << 20], bad[1 << 20];
	size_t nr;
	FILE *f;

	(void)state;
	write_one(200);
	f = fopen(path, "r");
	nr = fread(good, 1, sizeof(good), f);
	fclose(f);
	for (size_t cut = 0; cut < nr; cut++) {
		put(good, cut);
		refused("--replay");
	}
	for (size_t i = 0; i < nr; i++)
		for (int bit = 0; bit < 8; bit++) {
			memcpy(bad, good, nr);
			bad[i] ^= (char)(1 << bit);
			put(bad, nr);
			refused(i < 8 ? "no recording" : "damaged");
		}
	put("#!/bin/sh\nexit 0\n", 17);
	refused("no recording");
	unlink(path);
	refused("No such file");
}

static void what_can_not_be_written_is_said_at_once(void **state)
{
	struct record *r;

	(void)state;
	assert_int_not_equal(record_create("/proc/none/r", &r), 0);
	assert_non_null(strstr(err_text(-1), "--record /proc/none/r"));
	assert_int_not_equal(record_create("/dev/null", &r), 0);
	assert_non_null(strstr(err_text(-1), "no file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_goes_in_comes_out, setup, teardown),
		cmocka_unit_test_setup_teardown(without_an_end_nothing_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_damaged_is_refused, setup, teardown),
		cmocka_unit_test(what_can_not_be_written_is_said_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
