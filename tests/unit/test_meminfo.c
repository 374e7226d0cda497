/* SPDX-License-Identifier: Apache-2.0 */
/* What control groups allow, from files as the kernel would show them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/base/units.h"
#include "common/meminfo.h"

static char root[] = "/tmp/rmem-test-groups-XXXXXX";
static struct memgroup g;

static void put(const char *file, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, file);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int begin(void **state)
{
	char path[PATH_MAX];

	(void)state;
	strcpy(root + strlen(root) - 6, "XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(path, sizeof(path), "%s/a", root);
	mkdir(path, 0700);
	snprintf(g.path, sizeof(g.path), "%s/a/b", root);
	mkdir(g.path, 0700);
	g.root = strlen(root);
	g.v2 = true;
	return 0;
}

static int end(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static struct meminfo host, here;

static void look(void)
{
	static const struct memgroup none;

	assert_int_equal(meminfo_read(&none, &host), 0);
	assert_int_equal(meminfo_read(&g, &here), 0);
}

static void without_limits_the_host_counts(void **state)
{
	(void)state;
	put("a/b/memory.max", "max\n");
	put("a/b/memory.high", "max\n");
	put("a/b/memory.current", "4096\n");
	look();
	assert_false(here.limited);
	assert_int_equal(here.total_bytes, host.total_bytes);
}

static void a_limit_less_what_is_in_use_is_available(void **state)
{
	(void)state;
	put("a/b/memory.max", "134217728\n"); /* 128 MiB */
	put("a/b/memory.current", "67108864\n");
	put("a/b/memory.stat", "anon 1\ninactive_file 8388608\nactive_file 4194304\n");
	look();
	assert_true(here.limited);
	assert_int_equal(here.total_bytes, MIB(128));
	assert_int_equal(here.available_bytes, MIB(128 - 64 + 8 + 2));
	put("a/b/memory.high", "100663296\n"); /* 96 MiB */
	look();
	assert_int_equal(here.available_bytes, MIB(96 - 64 + 8 + 2));
}

static void the_groups_around_it_count_too(void **state)
{
	(void)state;
	put("a/b/memory.max", "67108864\n");
	put("a/b/memory.current", "0\n");
	put("a/memory.max", "134217728\n");
	put("a/memory.current", "125829120\n"); /* 120 MiB, of others */
	look();
	assert_int_equal(here.total_bytes, MIB(64));
	assert_int_equal(here.available_bytes, MIB(8));
}

static void more_in_use_than_allowed_is_nothing_available(void **state)
{
	(void)state;
	put("a/b/memory.max", "4096\n");
	put("a/b/memory.current", "8192\n");
	look();
	assert_int_equal(here.available_bytes, 0);
}

static void version_1_counts_with_the_groups_below(void **state)
{
	(void)state;
	g.v2 = false;
	put("a/b/memory.limit_in_bytes", "134217728\n");
	put("a/b/memory.usage_in_bytes", "67108864\n");
	put("a/b/memory.stat", "inactive_file 1\ntotal_inactive_file 8388608\n");
	put("a/memory.limit_in_bytes", "9223372036854771712\n");
	put("a/memory.usage_in_bytes", "67108864\n");
	look();
	assert_int_equal(here.total_bytes, MIB(128));
	assert_int_equal(here.available_bytes, MIB(72));
}

static void limits_that_were_met_are_counted(void **state)
{
	struct memstalls before, after;

	(void)state;
	put("a/memory.events", "low 0\nhigh 3\nmax 5\noom 1\n");
	memstalls_read(&g, &before);
	put("a/memory.events", "low 0\nhigh 3\nmax 12\noom 1\n");
	memstalls_read(&g, &after);
	assert_true(after.reclaims - before.reclaims >= 7);
}

static void who_is_in_no_group_has_the_host(void **state)
{
	struct memgroup mine;

	(void)state;
	memgroup_find(&mine, 0); /* whatever it finds, it is there */
	if (mine.path[0]) {
		struct stat st;

		assert_int_equal(stat(mine.path, &st), 0);
		assert_true(S_ISDIR(st.st_mode) && mine.root <= strlen(mine.path));
	}
	memgroup_find(&mine, 4194303); /* no such process */
	assert_int_equal(mine.path[0], 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_limits_the_host_counts),
		TEST(a_limit_less_what_is_in_use_is_available),
		TEST(the_groups_around_it_count_too),
		TEST(more_in_use_than_allowed_is_nothing_available),
		TEST(version_1_counts_with_the_groups_below),
		TEST(limits_that_were_met_are_counted),
		TEST(who_is_in_no_group_has_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
