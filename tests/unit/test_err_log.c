/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"

static void an_error_keeps_code_and_text(void **state)
{
	(void)state;
	assert_int_equal(err_set(-EIO, "server %s: page %d", "a", 7), -EIO);
	assert_string_equal(err_text(-EIO), "server a: page 7");
}

static void without_a_text_the_code_speaks(void **state)
{
	(void)state;
	err_clear();
	assert_string_equal(err_text(-ENOENT), "No such file or directory");
	assert_string_equal(err_text(ENOENT), "No such file or directory");
	assert_string_equal(err_text(-99999), "unknown error");
}

static void a_text_can_be_wrapped_in_itself(void **state)
{
	(void)state;
	err_set(-EIO, "inner");
	err_set(-EIO, "outer: %s", err_text(-EIO));
	assert_string_equal(err_text(-EIO), "outer: inner");
}

static void an_over_long_text_is_cut(void **state)
{
	char text[4096];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	err_set(-EIO, "%s", text);
	assert_int_equal(strlen(err_text(-EIO)), 511);
}

static void *fail_elsewhere(void *arg)
{
	err_set(-EIO, "elsewhere");
	return arg;
}

static void each_thread_has_its_own_text(void **state)
{
	pthread_t thread;

	(void)state;
	err_set(-EIO, "here");
	assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
	pthread_join(thread, NULL);
	assert_string_equal(err_text(-EIO), "here");
}

static struct {
	unsigned int nr;
	enum log_level level;
	char first[256], last[256];
} heard;

static void hear(void *ctx, enum log_level level, const char *line)
{
	(void)ctx;
	if (heard.nr++ == 0)
		snprintf(heard.first, sizeof(heard.first), "%s", line);
	heard.level = level;
	snprintf(heard.last, sizeof(heard.last), "%s", line);
}

static void next_second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	usleep((useconds_t)((1000000000 - now.tv_nsec) / 1000 + 2000));
}

static int start_hearing(void **state)
{
	(void)state;
	memset(&heard, 0, sizeof(heard));
	log_set_level(LOG_LEVEL_WARN);
	log_set_sink(hear, NULL);
	return 0;
}

static int stop_hearing(void **state)
{
	(void)state;
	log_set_sink(NULL, NULL);
	return 0;
}

static void lines_above_the_level_are_dropped(void **state)
{
	(void)state;
	log_info("no");
	log_debug("no");
	assert_int_equal(heard.nr, 0);
	log_error("yes %d", 5);
	assert_int_equal(heard.nr, 1);
	assert_int_equal(heard.level, LOG_LEVEL_ERROR);
	assert_string_equal(heard.last, "yes 5");
}

static void a_line_can_not_fake_another(void **state)
{
	(void)state;
	log_warn("name=%s", "a\nrmem: all is well\x1b[2J\x7f");
	assert_string_equal(heard.last, "name=a?rmem: all is well?[2J?");
}

static void a_flood_is_cut_to_100_a_second_and_said_once(void **state)
{
	(void)state;
	next_second();
	for (int i = 0; i < 150; i++)
		log_warn("flood %d", i);
	assert_int_equal(heard.nr, 100);
	assert_string_equal(heard.last, "flood 99");
	next_second();
	memset(&heard, 0, sizeof(heard));
	log_warn("after");
	assert_int_equal(heard.nr, 2);
	assert_string_equal(heard.first, "left out 50 lines: too many in a second");
	assert_string_equal(heard.last, "after");
}

static void levels_have_names(void **state)
{
	enum log_level level = LOG_LEVEL_ERROR;

	(void)state;
	assert_int_equal(log_parse_level("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_parse_level("loud", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
}

static void stderr_gets_whole_lines_with_the_prefix(void **state)
{
	char got[2048], text[2000];
	int pipe_fd[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	(void)state;
	memset(text, 'y', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(pipe(pipe_fd), 0);
	dup2(pipe_fd[1], STDERR_FILENO);
	log_error("short");
	n = read(pipe_fd[0], got, sizeof(got));
	log_error("%s", text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_int_equal(n, strlen("rmem: short\n"));
	assert_memory_equal(got, "rmem: short\n", (size_t)n);
	n = read(pipe_fd[0], got, sizeof(got));
	assert_true(n > 1000 && n < 1100);
	assert_int_equal(got[n - 1], '\n');
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_keeps_code_and_text),
		cmocka_unit_test(without_a_text_the_code_speaks),
		cmocka_unit_test(a_text_can_be_wrapped_in_itself),
		cmocka_unit_test(an_over_long_text_is_cut),
		cmocka_unit_test(each_thread_has_its_own_text),
		cmocka_unit_test_setup_teardown(lines_above_the_level_are_dropped, start_hearing,
						stop_hearing),
		cmocka_unit_test_setup_teardown(a_line_can_not_fake_another, start_hearing,
						stop_hearing),
		cmocka_unit_test_setup_teardown(a_flood_is_cut_to_100_a_second_and_said_once,
						start_hearing, stop_hearing),
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(stderr_gets_whole_lines_with_the_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
