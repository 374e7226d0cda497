/* SPDX-License-Identifier: Apache-2.0 */
/* Rates, history and the runs that are watched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tools/watch/watch.h"

#define SECOND 1000000000ULL

static struct stats run(int pid, uint64_t start_ns)
{
	struct stats st = {.header = {.supervisor_pid = pid, .start_ns = start_ns}};

	return st;
}

static void look(struct watch *w, uint64_t at_ns, const struct stats *st, size_t nr)
{
	watch_begin(w, at_ns);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(watch_take(w, &st[i]), 0);
	watch_end(w);
}

static void rates_are_of_the_interval_alone(void **state)
{
	static struct core_stats then, now;
	struct rates r;

	(void)state;
	memset(&then, 0, sizeof(then));
	for (int i = 0; i < 1000; i++)
		hist_add(&then.fault_ns, 5);
	now = then;
	now.pages_fetched = 100;
	now.pages_evicted = 50;
	for (int i = 0; i < 10; i++)
		hist_add(&now.fault_ns, 1 << 20);
	rates_of_run(&r, &now, &then, 2 * SECOND);
	assert_true(r.known && r.has_latency);
	assert_true(r.faults == 5);
	assert_true(r.in_bytes == 50 * 4096.0 && r.out_bytes == 25 * 4096.0);
	assert_int_equal(r.p50_ns, 1 << 20);
	assert_int_equal(r.p99_ns, 1 << 20);
	rates_of_run(&r, &now, &now, SECOND);
	assert_true(r.known && !r.has_latency && r.faults == 0);
}

static void a_counter_that_went_back_counts_from_zero(void **state)
{
	const struct run_proc then = {.faults = 1000, .evicted_bytes = 7},
			      now = {.faults = 30, .evicted_bytes = 8};
	struct rates r;

	(void)state;
	rates_of_proc(&r, &now, &then, SECOND);
	assert_true(r.faults == 30 && r.out_bytes == 1);
	rates_of_proc(&r, &now, &then, 0);
	assert_true(r.faults == 0);
}

static void runs_come_and_go(void **state)
{
	struct watch w = {.runs = NULL};
	struct stats st[3] = {run(30, 1), run(10, 2), run(20, 3)};

	(void)state;
	look(&w, SECOND, st, 3);
	assert_int_equal(w.nr, 3);
	assert_int_equal(w.runs->now.header.supervisor_pid, 10);
	assert_int_equal(w.runs->next->next->now.header.supervisor_pid, 30);
	assert_false(w.runs->rates.known);
	look(&w, 2 * SECOND, st, 2);
	assert_int_equal(w.nr, 2);
	assert_true(w.runs->rates.known);
	assert_int_equal(w.interval_ns, SECOND);
	look(&w, 3 * SECOND, st, 0);
	assert_int_equal(w.nr, 0);
	watch_fini(&w);
}

static void another_run_of_the_same_pid_is_another(void **state)
{
	struct watch w = {.runs = NULL};
	struct stats st = run(10, 1);

	(void)state;
	look(&w, SECOND, &st, 1);
	st.header.start_ns = 2;
	look(&w, 2 * SECOND, &st, 1);
	assert_int_equal(w.nr, 1);
	assert_false(w.runs->rates.known);
	watch_fini(&w);
}

static void processes_are_compared_by_pid(void **state)
{
	struct watch w = {.runs = NULL};
	struct stats st = run(10, 1);

	(void)state;
	st.table.nr = 2;
	st.table.at_ns = SECOND;
	st.table.proc[0] = (struct run_proc){.pid = 5, .faults = 100};
	st.table.proc[1] = (struct run_proc){.pid = 6, .faults = 200};
	look(&w, SECOND, &st, 1);
	assert_false(w.runs->proc[0].known);
	st.table.at_ns = 3 * SECOND;
	st.table.proc[0] = (struct run_proc){.pid = 6, .faults = 300};
	st.table.proc[1] = (struct run_proc){.pid = 7, .faults = 900};
	look(&w, 2 * SECOND, &st, 1);
	assert_true(w.runs->proc[0].known && w.runs->proc[0].faults == 50);
	assert_false(w.runs->proc[1].known); /* new */
	look(&w, 3 * SECOND, &st, 1);	     /* the same table once more */
	assert_true(w.runs->proc[0].faults == 50);
	watch_fini(&w);
}

static void history_has_a_column_a_second(void **state)
{
	char line[HISTORY_LINE_BYTES];
	struct history h = {.nr = 0};

	(void)state;
	history_line(&h, line, false);
	assert_int_equal(strlen(line), 60);
	assert_int_equal(strspn(line, " "), 60);
	history_add(&h, 100 * SECOND, 0);
	history_add(&h, 101 * SECOND, 70);
	history_add(&h, 102 * SECOND, 10);
	history_line(&h, line, false);
	assert_string_equal(line + 57, "_#.");
	assert_true(history_max(&h) == 70);
}

static void the_highest_of_a_second_stays(void **state)
{
	struct history h = {.nr = 0};

	(void)state;
	history_add(&h, 100 * SECOND, 1);
	history_add(&h, 100 * SECOND + 5, 9);
	history_add(&h, 100 * SECOND + 6, 2);
	assert_int_equal(h.nr, 1);
	assert_true(history_max(&h) == 9);
}

static void long_intervals_fill_the_seconds_between(void **state)
{
	char line[HISTORY_LINE_BYTES];
	struct history h = {.nr = 0};

	(void)state;
	history_add(&h, 100 * SECOND, 8);
	history_add(&h, 105 * SECOND, 4);
	assert_int_equal(h.nr, 6);
	history_line(&h, line, true);
	assert_string_equal(line + 54, "█▄▄▄▄▄");
	history_add(&h, 100000 * SECOND, 1);
	assert_int_equal(h.nr, 60);
	assert_true(history_max(&h) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_are_of_the_interval_alone),
		cmocka_unit_test(a_counter_that_went_back_counts_from_zero),
		cmocka_unit_test(runs_come_and_go),
		cmocka_unit_test(another_run_of_the_same_pid_is_another),
		cmocka_unit_test(processes_are_compared_by_pid),
		cmocka_unit_test(history_has_a_column_a_second),
		cmocka_unit_test(the_highest_of_a_second_stays),
		cmocka_unit_test(long_intervals_fill_the_seconds_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
