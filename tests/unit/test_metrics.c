/* SPDX-License-Identifier: Apache-2.0 */
/* Text for Prometheus, and the addresses it is served at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/supervisor_metrics.h"
#include "common/base/err.h"
#include "common/metrics/http.h"

static void families_and_samples(void **state)
{
	struct metrics_text t = {.buf = NULL};

	(void)state;
	metrics_family(&t, "a_bytes", METRICS_GAUGE, "Back\\slash,\nline.");
	metrics_sample(&t, "a_bytes", NULL, NULL, UINT64_MAX);
	metrics_sample(&t, "a_bytes", "x", "q\"u\\o\nte", 0);
	assert_string_equal(t.buf, "# HELP a_bytes Back\\\\slash,\\nline.\n"
				   "# TYPE a_bytes gauge\n"
				   "a_bytes 18446744073709551615\n"
				   "a_bytes{x=\"q\\\"u\\\\o\\nte\"} 0\n");
	assert_int_equal(t.bytes, strlen(t.buf));
	metrics_text_fini(&t);
}

static void buckets_rise_to_the_count(void **state)
{
	struct metrics_text t = {.buf = NULL};
	struct hist h = {.count = 0};
	unsigned long last = 0;
	unsigned int nr = 0;

	(void)state;
	hist_add(&h, 1000);
	hist_add(&h, 1100);
	hist_add(&h, 60000000000);
	h.count = 99; /* the writer was between two words */
	metrics_hist(&t, "h", &h);
	assert_non_null(strstr(t.buf, "h_bucket{le=\"1.024e-06\"} 1\n"));
	assert_non_null(strstr(t.buf, "h_bucket{le=\"2.048e-06\"} 2\n"));
	assert_non_null(strstr(t.buf, "h_bucket{le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(t.buf, "h_count 3\n"));
	assert_non_null(strstr(t.buf, "h_sum 60.0000021\n"));
	for (const char *at = t.buf; (at = strstr(at, "_bucket{")); nr++) {
		unsigned long value = strtoul(strchr(at, '}') + 1, NULL, 10);

		assert_true(value >= last);
		last = value;
		at++;
	}
	assert_int_equal(nr, 26);
	metrics_text_fini(&t);
}

static void several_runs_are_added_up(void **state)
{
	static struct stats st[2];
	struct metrics_text t = {.buf = NULL};

	(void)state;
	st[0].core.pages_fetched = 1;
	st[1].core.pages_fetched = 2;
	st[1].table.in_state[RUN_PROC_MANAGED] = 5;
	hist_add(&st[0].core.fault_ns, 5);
	hist_add(&st[1].core.fault_ns, 5);
	metrics_of_runs(&t, st, 2);
	assert_false(t.failed);
	assert_non_null(strstr(t.buf, "\nrmem_runs 2\n"));
	assert_non_null(strstr(t.buf, "\nrmem_fetched_bytes_total 12288\n"));
	assert_non_null(strstr(t.buf, "\nrmem_processes{state=\"managed\"} 5\n"));
	assert_non_null(strstr(t.buf, "\nrmem_fault_duration_seconds_count 2\n"));
	metrics_text_fini(&t);
}

static void addresses(void **state)
{
	static const char *const good[] = {"0", "9464", "127.0.0.1:9464", "[::1]:9464",
					   "localhost:65535"};
	static const char *const bad[] = {
		"",	 "x",	 "65536", ":9464", "-1",   "1.2.3.4", "::1:9",
		"[::1]", "[]:9", "host:", "h:+5",  "h:5x", "[::1:9",  "h: 5"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(metrics_check_address(good[i]), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(metrics_check_address(bad[i]) < 0);
}

static void without_a_host_only_this_machine_may_ask(void **state)
{
	char at[300], again[300];
	int fd = metrics_listen("0", at, sizeof(at));

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(strncmp(at, "127.0.0.1:", 10), 0);
	assert_true(atoi(at + 10) > 0);
	assert_true(metrics_listen(at, again, sizeof(again)) < 0);
	assert_non_null(strstr(err_text(-1), "choose another port"));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(families_and_samples),
		cmocka_unit_test(buckets_rise_to_the_count),
		cmocka_unit_test(several_runs_are_added_up),
		cmocka_unit_test(addresses),
		cmocka_unit_test(without_a_host_only_this_machine_may_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
