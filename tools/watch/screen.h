/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of text with tones, before they meet a terminal or a file. A line is
 * never wider than the screen, whatever is put into it.
 */
#ifndef RMEM_WATCH_SCREEN_H
#define RMEM_WATCH_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#define SCREEN_MAX_COLS 512U
#define LINE_BYTES	(SCREEN_MAX_COLS * 4 + 1)
#define LINE_SPANS	64U

enum tone {
	TONE_PLAIN,
	TONE_BOLD,
	TONE_DIM,
	TONE_GOOD,
	TONE_WARN,
	TONE_BAD,
	TONE_HEAD,     /* of the table */
	TONE_SORT,     /* its column that sorts */
	TONE_SELECTED, /* the whole line */
};

struct span {
	size_t at, bytes;
	enum tone tone;
};

struct line {
	char text[LINE_BYTES];
	size_t bytes;
	unsigned int cols;
	struct span span[LINE_SPANS];
	unsigned int nr_spans;
	bool selected;
};

struct screen {
	unsigned int cols;
	bool utf8;
	struct line *line;
	size_t nr, room;
};

/* Takes all lines away. */
void screen_clear(struct screen *s, unsigned int cols, bool utf8);
void screen_fini(struct screen *s);

/* A new empty line below the others; when memory is out, the last one anew.
 * Valid until the next call. NULL: there is not even one. */
struct line *screen_line(struct screen *s);

/* Appends, clipped at the edge. The text has been cleaned (text.h). */
void line_put(const struct screen *s, struct line *l, enum tone tone, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Blanks up to column @col. */
void line_pad(const struct screen *s, struct line *l, unsigned int col);

/* Appends so that it ends at the right edge, if there is room for it. */
void line_put_right(const struct screen *s, struct line *l, enum tone tone, const char *text);

/* "[||||    12.0M/64.0M]" in @width columns: @share (0..1) of it in @tone. */
void line_bar(const struct screen *s, struct line *l, unsigned int width, double share,
	      enum tone tone, const char *text);

#endif
