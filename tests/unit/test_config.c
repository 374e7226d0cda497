/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/config.h"

static const char sample[] = "# a comment\n"
			     "[run]\n"
			     "local = 2G\n"
			     "  remote=16G\n"
			     "server = file:/var/tmp,size=16G\n"
			     "server = shm:/run/rmem.sock ; beside it\n"
			     "\n"
			     "[other]\r\n"
			     "x : y z\r\n"
			     "empty =\n"
			     "last = 1";

static char path[64];

static void write_file(const void *data, size_t bytes)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, bytes), bytes);
	close(fd);
}

static int read_text(const char *text, struct config_file *f)
{
	write_file(text, strlen(text));
	err_clear();
	return config_read(path, f);
}

static void refused(const char *text, const char *said)
{
	struct config_file f;
	int err = read_text(text, &f);

	assert_int_equal(err, -EINVAL);
	if (!strstr(err_text(err), said) || strncmp(err_text(err), path, strlen(path)))
		fail_msg("'%s' instead of '%s'", err_text(err), said);
	config_free(&f);
}

static void is_entry(const struct config_file *f, size_t i, unsigned int line, const char *section,
		     const char *key, const char *value)
{
	assert_true(i < f->nr);
	assert_string_equal(f->entry[i].section, section);
	assert_string_equal(f->entry[i].key, key);
	assert_string_equal(f->entry[i].value, value);
	assert_int_equal(f->entry[i].line, line);
}

static void entries_come_in_order_with_their_lines(void **state)
{
	struct config_file f;

	(void)state;
	assert_int_equal(read_text(sample, &f), 0);
	assert_int_equal(f.nr, 7);
	is_entry(&f, 0, 3, "run", "local", "2G");
	is_entry(&f, 1, 4, "run", "remote", "16G");
	is_entry(&f, 2, 5, "run", "server", "file:/var/tmp,size=16G");
	is_entry(&f, 3, 6, "run", "server", "shm:/run/rmem.sock");
	is_entry(&f, 4, 9, "other", "x", "y z");
	is_entry(&f, 5, 10, "other", "empty", "");
	is_entry(&f, 6, 11, "other", "last", "1");
	config_free(&f);
	assert_int_equal(read_text("", &f), 0);
	assert_int_equal(f.nr, 0);
	config_free(&f);
}

static void a_line_that_cannot_be_read_is_named(void **state)
{
	char text[512];

	(void)state;
	refused("[run]\nlocal\n", ":2: is neither");
	refused("[run\nlocal = 1G\n", ":1: is neither");
	refused("x = 1\n\nnonsense\nmore nonsense\n", ":3: is neither");
	refused("a = b\x01\n", ":1: is not text");
	memset(text, 'x', sizeof(text));
	memcpy(text, "ok = 1\nk = ", 11);
	text[sizeof(text) - 1] = '\0';
	refused(text, ":2: is longer than 198");
	memcpy(text, "ok\nn = k = ", 11);
	refused(text, ":1: is neither");
}

static void a_line_of_the_greatest_length_is_whole(void **state)
{
	char text[CONFIG_LINE_CHARS + 8];
	struct config_file f;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[1] = '=';
	text[CONFIG_LINE_CHARS] = '\n';
	text[CONFIG_LINE_CHARS + 1] = 'y';
	text[CONFIG_LINE_CHARS + 2] = '=';
	text[CONFIG_LINE_CHARS + 3] = '\0';
	assert_int_equal(read_text(text, &f), 0);
	assert_int_equal(f.nr, 2);
	assert_int_equal(strlen(f.entry[0].value), CONFIG_LINE_CHARS - 2);
	is_entry(&f, 1, 2, "", "y", "");
	config_free(&f);
}

static void zero_bytes_are_no_end(void **state)
{
	static const char text[] = "a = 1\nb = 2\0c\nd = 3\n";
	struct config_file f;

	(void)state;
	write_file(text, sizeof(text) - 1);
	assert_int_equal(config_read(path, &f), -EINVAL);
	assert_non_null(strstr(err_text(-EINVAL), ":2: is not text"));
	config_free(&f);
}

static void too_much_is_refused(void **state)
{
	size_t bytes = CONFIG_MAX_BYTES + 1;
	char *text = malloc(bytes);
	struct config_file f;

	(void)state;
	memset(text, '\n', bytes);
	write_file(text, bytes);
	assert_int_equal(config_read(path, &f), -EFBIG);
	config_free(&f);
	for (size_t i = 0; i + 4 <= bytes; i += 4)
		memcpy(text + i, "k=1\n", 4);
	write_file(text, CONFIG_MAX_BYTES);
	assert_int_equal(config_read(path, &f), -EINVAL);
	assert_non_null(strstr(err_text(-EINVAL), ":1025: is one value too many"));
	config_free(&f);
	free(text);
}

static void only_our_own_file_is_read(void **state)
{
	struct config_file f;

	(void)state;
	write_file(sample, sizeof(sample) - 1);
	chmod(path, 0620);
	assert_int_equal(config_read(path, &f), -EPERM);
	config_free(&f);
	chmod(path, 0602);
	assert_int_equal(config_read(path, &f), -EPERM);
	assert_non_null(strstr(err_text(-EPERM), "chmod go-w"));
	config_free(&f);
	chmod(path, 0644);
	assert_int_equal(config_read(path, &f), 0);
	config_free(&f);
	if (!chown(path, 65534, 65534)) {
		assert_int_equal(config_read(path, &f), -EPERM);
		assert_non_null(strstr(err_text(-EPERM), "another user"));
		config_free(&f);
	}
	unlink(path);
	assert_int_equal(config_read(path, &f), -ENOENT);
	config_free(&f);
	assert_int_equal(config_read("/var/tmp", &f), -EINVAL);
	config_free(&f);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(config_read(path, &f), -EINVAL);
	config_free(&f);
	unlink(path);
}

static void yes_and_no(void **state)
{
	bool b = false;

	(void)state;
	assert_int_equal(config_parse_bool("yes", &b), 0);
	assert_true(b);
	assert_int_equal(config_parse_bool("no", &b), 0);
	assert_false(b);
	assert_int_equal(config_parse_bool("", &b), -EINVAL);
	assert_int_equal(config_parse_bool("true", &b), -EINVAL);
}

/* Whatever the bytes: entries whose lines are in the file, or one line of text. */
static void judge(const void *data, size_t bytes)
{
	struct config_file f;
	int err;

	write_file(data, bytes);
	err_clear();
	err = config_read(path, &f);
	if (err) {
		assert_int_equal(err, -EINVAL);
		assert_int_equal(strncmp(err_text(err), path, strlen(path)), 0);
		assert_null(strchr(err_text(err), '\n'));
	}
	for (size_t i = 0; i < f.nr; i++) {
		assert_in_range(f.entry[i].line, 1, bytes);
		assert_true(strlen(f.entry[i].value) <= CONFIG_LINE_CHARS);
	}
	config_free(&f);
}

static void any_prefix_and_any_flipped_bits_are_answered(void **state)
{
	char data[sizeof(sample)];
	size_t bytes = sizeof(sample) - 1;

	(void)state;
	for (size_t i = 0; i <= bytes; i++)
		judge(sample, i);
	for (size_t i = 0; i < bytes * 8; i++) {
		memcpy(data, sample, bytes);
		data[i / 8] = (char)(data[i / 8] ^ 1 << (i % 8));
		judge(data, bytes);
	}
	srand(4711);
	for (int round = 0; round < 2000; round++) {
		memcpy(data, sample, bytes);
		for (int k = 0; k < 8; k++)
			data[(size_t)rand() % bytes] = (char)rand();
		judge(data, bytes);
	}
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/var/tmp/rmem-unit-XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_in_order_with_their_lines),
		cmocka_unit_test(a_line_that_cannot_be_read_is_named),
		cmocka_unit_test(a_line_of_the_greatest_length_is_whole),
		cmocka_unit_test(zero_bytes_are_no_end),
		cmocka_unit_test(too_much_is_refused),
		cmocka_unit_test(only_our_own_file_is_read),
		cmocka_unit_test(yes_and_no),
		cmocka_unit_test(any_prefix_and_any_flipped_bits_are_answered),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
