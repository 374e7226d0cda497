/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_BYTES	     1024
#define LOG_LINES_PER_SECOND 100

static const char *const level_name[] = {"error", "warn", "info", "debug"};

static enum log_level max_level = LOG_LEVEL_WARN;
static const char *prefix = "rmem: ";
static log_sink_fn *sink;
static void *sink_ctx;

static pthread_mutex_t rate_lock = PTHREAD_MUTEX_INITIALIZER;
static time_t rate_second;
static unsigned int rate_lines, rate_dropped;

void log_set_level(enum log_level level)
{
	max_level = level;
}

int log_parse_level(const char *name, enum log_level *out)
{
	for (size_t i = 0; i < sizeof(level_name) / sizeof(level_name[0]); i++) {
		if (strcmp(name, level_name[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_set_sink(log_sink_fn *fn, void *ctx)
{
	sink = fn;
	sink_ctx = ctx;
}

void log_set_prefix(const char *text)
{
	prefix = text;
}

/* One write a line, so that lines of several processes don't mix. */
static void write_stderr(const char *line)
{
	char out[LOG_LINE_BYTES + 64];
	int len = snprintf(out, sizeof(out), "%s%s\n", prefix, line);
	ssize_t ignored;

	if (len >= (int)sizeof(out)) {
		len = sizeof(out) - 1;
		out[len - 1] = '\n';
	}
	ignored = write(STDERR_FILENO, out, (size_t)len);
	(void)ignored;
}

static void emit(enum log_level level, const char *line)
{
	if (sink)
		sink(sink_ctx, level, line);
	else
		write_stderr(line);
}

/* May a line leave now? @missed: how many did not in an earlier second. */
static int rate_take(unsigned int *missed)
{
	struct timespec now;
	int taken;

	clock_gettime(CLOCK_MONOTONIC, &now);
	*missed = 0;
	pthread_mutex_lock(&rate_lock);
	if (now.tv_sec != rate_second) {
		*missed = rate_dropped;
		rate_second = now.tv_sec;
		rate_lines = 0;
		rate_dropped = 0;
	}
	taken = rate_lines < LOG_LINES_PER_SECOND;
	if (taken)
		rate_lines++;
	else
		rate_dropped++;
	pthread_mutex_unlock(&rate_lock);
	return taken;
}

/* A line may hold names that others chose: no terminal escapes, no line feeds. */
static void defuse(char *line)
{
	for (unsigned char *c = (unsigned char *)line; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			*c = '?';
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_BYTES], said[64];
	unsigned int missed;
	va_list ap;

	if (level > max_level || !rate_take(&missed))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	defuse(line);
	if (missed) {
		snprintf(said, sizeof(said), "left out %u lines: too many in a second", missed);
		emit(LOG_LEVEL_WARN, said);
	}
	emit(level, line);
}
