/* SPDX-License-Identifier: Apache-2.0 */
#include "common/metrics/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXP_FIRST 10U /* 1.024 us */
#define EXP_LAST  34U /* 17.2 s */

static bool make_room(struct metrics_text *t, size_t more)
{
	size_t room = t->room ? t->room : 4096;
	char *grown;

	if (t->failed || t->bytes + more < t->room)
		return !t->failed;
	while (room <= t->bytes + more)
		room *= 2;
	grown = realloc(t->buf, room);
	if (!grown) {
		t->failed = true;
		return false;
	}
	t->buf = grown;
	t->room = room;
	return true;
}

static void put(struct metrics_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct metrics_text *t, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text) || !make_room(t, (size_t)n)) {
		t->failed = true;
		return;
	}
	memcpy(t->buf + t->bytes, text, (size_t)n + 1);
	t->bytes += (size_t)n;
}

/* Help knows no quotes, a label's value does. */
static void put_escaped(struct metrics_text *t, const char *text, bool quotes)
{
	for (; *text; text++) {
		if (*text == '\\')
			put(t, "\\\\");
		else if (*text == '\n')
			put(t, "\\n");
		else if (*text == '"' && quotes)
			put(t, "\\\"");
		else
			put(t, "%c", *text);
	}
}

void metrics_family(struct metrics_text *t, const char *name, enum metrics_type type,
		    const char *help)
{
	static const char *const word[] = {"counter", "gauge", "histogram"};

	put(t, "# HELP %s ", name);
	put_escaped(t, help, false);
	put(t, "\n# TYPE %s %s\n", name, word[type]);
}

void metrics_sample(struct metrics_text *t, const char *name, const char *label,
		    const char *label_value, uint64_t value)
{
	put(t, "%s", name);
	if (label) {
		put(t, "{%s=\"", label);
		put_escaped(t, label_value, true);
		put(t, "\"}");
	}
	put(t, " %" PRIu64 "\n", value);
}

static double seconds(double ns)
{
	return ns / 1e9;
}

/* The writer adds while we read: the count is that of the buckets read. */
void metrics_hist(struct metrics_text *t, const char *name, const struct hist *ns)
{
	uint64_t all = 0;

	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		all += ns->bucket[i];
	for (unsigned int exp = EXP_FIRST; exp <= EXP_LAST; exp++)
		put(t, "%s_bucket{le=\"%.10g\"} %" PRIu64 "\n", name,
		    seconds((double)(1ULL << exp)), hist_below(ns, exp));
	put(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, all);
	put(t, "%s_sum %.10g\n", name, seconds((double)ns->sum));
	put(t, "%s_count %" PRIu64 "\n", name, all);
}

void metrics_text_fini(struct metrics_text *t)
{
	free(t->buf);
	*t = (struct metrics_text){0};
}
