/* SPDX-License-Identifier: Apache-2.0 */
/* The table of processes: read while it is written, and when its writer died. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/capture/capture.h"
#include "client/supervisor_stats.h"

static int fd;
static char *state_map;

static int setup(void **state)
{
	(void)state;
	fd = memfd_create("test", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, RUN_HEADER_BYTES))
		return -1;
	state_map = mmap(NULL, RUN_HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return state_map == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(state_map, RUN_HEADER_BYTES);
	close(fd);
	return 0;
}

static struct run_table *shared(void)
{
	return (struct run_table *)(state_map + RUN_TABLE_OFF);
}

static void fill(struct run_table *t, uint64_t n)
{
	memset(t, 0, sizeof(*t));
	t->nr = 200;
	t->at_ns = n;
	for (uint32_t i = 0; i < t->nr; i++)
		t->proc[i].faults = t->proc[i].moved_bytes = n;
}

static void no_writer_no_processes(void **state)
{
	static struct run_table t;

	(void)state;
	procs_read(fd, &t);
	assert_int_equal(t.nr, 0);
}

static void a_table_is_of_one_moment(void **state)
{
	static struct run_table t;
	pid_t writer = fork();
	unsigned int changes = 0;
	uint64_t last = 0;

	(void)state;
	if (writer == 0)
		for (uint64_t n = 1;; n++) {
			fill(&t, n);
			table_publish(shared(), &t);
			usleep(50);
		}
	for (int looks = 0; looks < 1000000 && changes < 1000; looks++) {
		procs_read(fd, &t);
		for (uint32_t i = 0; i < t.nr; i++) {
			assert_int_equal(t.proc[i].faults, t.at_ns);
			assert_int_equal(t.proc[i].moved_bytes, t.at_ns);
		}
		changes += t.at_ns != last;
		last = t.at_ns;
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	assert_int_equal(changes, 1000);
}

static void a_writer_that_died_in_the_middle_leaves_numbers(void **state)
{
	static struct run_table t;

	(void)state;
	shared()->seq = 7;
	shared()->nr = 100000;
	memset(shared()->proc, 0xff, sizeof(shared()->proc));
	procs_read(fd, &t);
	assert_int_equal(t.nr, RUN_PROCS);
	for (uint32_t i = 0; i < t.nr; i++) {
		assert_int_equal(t.proc[i].comm[15], '\0');
		assert_string_equal(procs_state(&t.proc[i]), "?");
		assert_null(procs_why(&t.proc[i]));
	}
}

static void names_in_json_are_escaped(void **state)
{
	struct run_proc p = {.pid = 1, .comm = "\x1b[1m\xff"};
	json_t *obj = procs_json(&p);

	(void)state;
	assert_non_null(obj);
	assert_string_equal(json_string_value(json_object_get(obj, "comm")), "\\x1b[1m\\xff");
	json_decref(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_writer_no_processes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_table_is_of_one_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(a_writer_that_died_in_the_middle_leaves_numbers,
						setup, teardown),
		cmocka_unit_test(names_in_json_are_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
