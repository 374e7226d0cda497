/* SPDX-License-Identifier: Apache-2.0 */
/* What rmem top shows, without a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/capture/inject.h"
#include "tools/watch/text.h"
#include "tools/watch/view.h"

#define SECOND 1000000000ULL

static struct watch w;
static struct view v;
static struct screen s;

static struct stats run(int pid, const char *command, uint32_t nr)
{
	struct stats st = {.header = {.supervisor_pid = pid,
				      .job_pid = pid + 1,
				      .start_ns = (uint64_t)pid,
				      .local_bytes = 64 << 20,
				      .remote_bytes = 512 << 20,
				      .processes = nr},
			   .wall_ns = 100 * SECOND};

	snprintf(st.header.cmdline, sizeof(st.header.cmdline), "%s", command);
	st.table.nr = nr;
	for (uint32_t i = 0; i < nr; i++) {
		struct run_proc *p = &st.table.proc[i];

		*p = (struct run_proc){.pid = pid + 10 + (int)i,
				       .state = (uint8_t)(i % RUN_PROC_STATES),
				       .why = REFUSE_SECCOMP,
				       .local_bytes = (i * 7919 % 100) << 20,
				       .away_bytes = (uint64_t)i << 30};
		snprintf(p->comm, sizeof(p->comm), "worker%u", i);
	}
	return st;
}

/* Two looks at @nr runs of @procs processes each. */
static void watch_some(int nr, uint32_t procs)
{
	for (int i = 1; i <= 2; i++) {
		watch_begin(&w, (uint64_t)i * SECOND);
		for (int r = 0; r < nr; r++) {
			struct stats st = run(1000 * (r + 1), "python3 train.py", procs);

			st.table.at_ns = (uint64_t)i * SECOND;
			st.core.local_bytes = (uint64_t)r << 20;
			for (int f = 0; f < i * 100; f++)
				hist_add(&st.core.fault_ns, 18000);
			for (uint32_t p = 0; p < procs; p++)
				st.table.proc[p].faults = (uint64_t)i * p * 10;
			assert_int_equal(watch_take(&w, &st), 0);
		}
		watch_end(&w);
	}
}

static int setup(void **state)
{
	(void)state;
	v = (struct view){.rows = 24, .cols = 80, .delay_ms = 1000};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	watch_fini(&w);
	screen_fini(&s);
	return 0;
}

static bool shows(const char *text)
{
	for (size_t i = 0; i < s.nr; i++)
		if (strstr(s.line[i].text, text))
			return true;
	return false;
}

static void no_line_is_wider_than_the_screen_and_none_is_too_many(void **state)
{
	(void)state;
	for (int runs = 0; runs < 12; runs++) {
		watch_fini(&w);
		watch_some(runs, 13);
		for (v.cols = 1; v.cols < 200; v.cols += v.cols < 30 ? 7 : 25)
			for (v.rows = 1; v.rows < 60; v.rows++) {
				v.utf8 = v.rows % 2;
				v.help = v.rows % 7 == 0;
				view_draw(&v, &w, &s);
				assert_true(s.nr <= v.rows);
				for (size_t i = 0; i < s.nr; i++) {
					assert_true(s.line[i].cols <= v.cols);
					assert_int_equal(text_columns(s.line[i].text, v.utf8),
							 s.line[i].cols);
				}
			}
	}
}

static void eighty_by_twenty_four_has_all_that_matters(void **state)
{
	(void)state;
	watch_some(1, 3);
	view_draw(&v, &w, &s);
	assert_int_equal(s.nr, 24);
	assert_true(shows("rmem top"));
	assert_true(shows("PID JOB/COMM"));
	assert_true(shows("LOCAL REMOTE FAULT/s   P50   P99   IN/s  OUT/s STATE"));
	assert_true(shows("python3 train.py"));
	assert_true(shows("FAULT/s    100  p50  17us"));
	assert_true(shows("worker2"));
	assert_true(shows("q Quit"));
}

static void help_fits_eighty_by_twenty_four(void **state)
{
	(void)state;
	v.help = true;
	view_draw(&v, &w, &s);
	assert_true(shows("select it to see why"));
	v.cols = 100;
	view_draw(&v, &w, &s);
	for (size_t i = 1; i < s.nr; i++)
		assert_true(s.line[i].cols <= 80);
}

static void rows_are_sorted_and_equals_keep_their_places(void **state)
{
	size_t nr;
	struct row *row;

	(void)state;
	watch_some(2, 9);
	row = view_rows(&v, &w, &nr);
	assert_int_equal(nr, 2 * (1 + 9));
	assert_int_equal(row_pid(&row[0]), 2000); /* larger by a MiB */
	assert_int_equal(row[0].proc, -1);
	assert_int_equal(row_pid(&row[1]), 2018);
	free(row);
	v.sort = VIEW_SORT_FAULTS;
	row = view_rows(&v, &w, &nr);
	assert_int_equal(row_pid(&row[0]), 1000); /* equals: by pid */
	assert_int_equal(row_pid(&row[1]), 1018);
	assert_int_equal(row_pid(&row[9]), 1010);
	free(row);
	v.sort = VIEW_SORT_NAME;
	row = view_rows(&v, &w, &nr);
	assert_int_equal(row_pid(&row[1]), 1010);
	free(row);
}

static void a_filter_keeps_the_run_of_what_it_lets_through(void **state)
{
	size_t nr;

	(void)state;
	watch_some(2, 3);
	strcpy(v.filter, "WORKER1");
	free(view_rows(&v, &w, &nr));
	assert_int_equal(nr, 4);
	strcpy(v.filter, "train");
	free(view_rows(&v, &w, &nr));
	assert_int_equal(nr, 8);
	strcpy(v.filter, "2011");
	free(view_rows(&v, &w, &nr));
	assert_int_equal(nr, 2);
	strcpy(v.filter, "nothing");
	free(view_rows(&v, &w, &nr));
	assert_int_equal(nr, 0);
	view_draw(&v, &w, &s);
	assert_true(shows("nothing is called like that"));
}

static void the_selected_row_is_seen_wherever_it_is(void **state)
{
	(void)state;
	watch_some(1, 100);
	for (int i = 0; i < 150; i++) {
		int selected = 0;

		view_draw(&v, &w, &s);
		for (size_t l = 0; l < s.nr; l++)
			selected += s.line[l].selected;
		assert_int_equal(selected, 1);
		view_move(&v, &w, i < 120 ? 1 : -13);
	}
	view_move(&v, &w, -1000);
	assert_int_equal(v.selected, 1000);
	view_move(&v, &w, 1000);
	view_draw(&v, &w, &s);
	assert_true(shows("worker0"));
}

static void why_a_process_is_unmanaged_is_told_below(void **state)
{
	(void)state;
	watch_some(1, 6);
	v.selected = 1015;
	view_draw(&v, &w, &s);
	assert_true(shows("unmanaged: runs under seccomp"));
}

static void batch_shows_every_row(void **state)
{
	(void)state;
	watch_some(3, 200);
	v.rows = 0;
	view_draw(&v, &w, &s);
	assert_int_equal(s.nr, 1 + 3 * 4 + 1 + 3 * 201);
}

static void without_a_run_it_says_so(void **state)
{
	(void)state;
	view_draw(&v, &w, &s);
	assert_true(shows("no rmem is running here"));
}

static void hostile_names_do_not_reach_the_screen(void **state)
{
	struct stats st = run(1000, "a\x1b[2Jb", 1);

	(void)state;
	strcpy(st.table.proc[0].comm, "\x1b]0;evil\x07");
	watch_begin(&w, SECOND);
	assert_int_equal(watch_take(&w, &st), 0);
	watch_end(&w);
	v.selected = 1010;
	strcpy(v.filter, "\x1b");
	view_draw(&v, &w, &s);
	for (size_t i = 0; i < s.nr; i++)
		for (const char *c = s.line[i].text; *c; c++)
			assert_true(*c >= 0x20 && *c < 0x7f);
	assert_true(shows("\\x1b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			no_line_is_wider_than_the_screen_and_none_is_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(eighty_by_twenty_four_has_all_that_matters, setup,
						teardown),
		cmocka_unit_test_setup_teardown(help_fits_eighty_by_twenty_four, setup, teardown),
		cmocka_unit_test_setup_teardown(rows_are_sorted_and_equals_keep_their_places, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_filter_keeps_the_run_of_what_it_lets_through,
						setup, teardown),
		cmocka_unit_test_setup_teardown(the_selected_row_is_seen_wherever_it_is, setup,
						teardown),
		cmocka_unit_test_setup_teardown(why_a_process_is_unmanaged_is_told_below, setup,
						teardown),
		cmocka_unit_test_setup_teardown(batch_shows_every_row, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_run_it_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_names_do_not_reach_the_screen, setup,
						teardown),
	};

	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
