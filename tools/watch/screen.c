/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/watch/screen.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/watch/text.h"

void screen_clear(struct screen *s, unsigned int cols, bool utf8)
{
	s->cols = cols < SCREEN_MAX_COLS ? cols : SCREEN_MAX_COLS;
	s->utf8 = utf8;
	s->nr = 0;
}

void screen_fini(struct screen *s)
{
	free(s->line);
	*s = (struct screen){0};
}

struct line *screen_line(struct screen *s)
{
	struct line *l;

	if (s->nr == s->room) {
		size_t room = s->room ? 2 * s->room : 32;

		l = realloc(s->line, room * sizeof(*l));
		if (l) {
			s->line = l;
			s->room = room;
		}
	}
	if (!s->room)
		return NULL;
	if (s->nr < s->room)
		s->nr++;
	l = &s->line[s->nr - 1];
	l->text[0] = '\0';
	l->bytes = l->cols = l->nr_spans = 0;
	l->selected = false;
	return l;
}

static void put_text(const struct screen *s, struct line *l, enum tone tone, const char *text)
{
	size_t bytes = text_bytes(text, s->cols - l->cols, s->utf8);
	struct span *last = l->nr_spans ? &l->span[l->nr_spans - 1] : NULL;

	if (bytes > LINE_BYTES - 1 - l->bytes)
		return;
	memcpy(l->text + l->bytes, text, bytes);
	l->text[l->bytes + bytes] = '\0';
	l->cols += text_columns(l->text + l->bytes, s->utf8);
	if (last && (last->tone == tone || l->nr_spans == LINE_SPANS))
		last->bytes += bytes;
	else if (bytes)
		l->span[l->nr_spans++] = (struct span){l->bytes, bytes, tone};
	l->bytes += bytes;
}

void line_put(const struct screen *s, struct line *l, enum tone tone, const char *fmt, ...)
{
	char text[LINE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_text(s, l, tone, text);
}

void line_pad(const struct screen *s, struct line *l, unsigned int col)
{
	if (col > l->cols)
		line_put(s, l, TONE_PLAIN, "%*s", (int)(col - l->cols), "");
}

void line_put_right(const struct screen *s, struct line *l, enum tone tone, const char *text)
{
	unsigned int cols = text_columns(text, s->utf8);

	if (l->cols + cols + 1 > s->cols)
		return;
	line_pad(s, l, s->cols - cols);
	put_text(s, l, tone, text);
}

void line_bar(const struct screen *s, struct line *l, unsigned int width, double share,
	      enum tone tone, const char *text)
{
	unsigned int in = width > 2 ? width - 2 : 0, full, len = (unsigned int)strlen(text);
	char inside[SCREEN_MAX_COLS + 1];

	if (in > SCREEN_MAX_COLS)
		in = SCREEN_MAX_COLS;
	share = share > 1 ? 1 : share > 0 ? share : 0;
	full = (unsigned int)(share * in + 0.5);
	memset(inside, '|', full);
	memset(inside + full, ' ', in - full);
	inside[in] = '\0';
	if (len <= in)
		memcpy(inside + in - len, text, len);
	line_put(s, l, TONE_BOLD, "[");
	line_put(s, l, tone, "%.*s", (int)full, inside);
	line_put(s, l, TONE_PLAIN, "%s", inside + full);
	line_put(s, l, TONE_BOLD, "]");
}
