/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/watch/view.h"

#include <stdio.h>
#include <stdlib.h>

#include "tools/watch/text.h"
#include "tools/watch/view_parts.h"

#define LEAST_ROWS 3U /* of the table, whatever the runs' blocks would take */

static void draw_title(const struct view *v, const struct watch *w, struct screen *out)
{
	unsigned int nr = watch_processes(w);
	struct line *l = screen_line(out);
	char clock[16] = "", right[64];
	struct tm tm;

	if (!l)
		return;
	if (localtime_r(&v->time, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	line_put(out, l, TONE_BOLD, " rmem top");
	line_put(out, l, TONE_PLAIN, "  %s  %zu run%s, %u process%s", clock, w->nr,
		 w->nr == 1 ? "" : "s", nr, nr == 1 ? "" : "es");
	if (v->paused)
		line_put(out, l, TONE_WARN, "  PAUSED");
	snprintf(right, sizeof(right), "every %.1f s, by %s ", (double)v->delay_ms / 1000,
		 view_sort_name(v->sort));
	line_put_right(out, l, TONE_PLAIN, right);
}

static void draw_empty(struct screen *out, const struct view *v)
{
	struct line *l = screen_line(out);

	if (l)
		line_put(out, l, TONE_PLAIN,
			 v->filter[0] ? "  nothing is called like that"
				      : "  no rmem is running here that you may look at");
}

static void key(const struct screen *s, struct line *l, const char *name, const char *what)
{
	line_put(s, l, TONE_BOLD, " %s ", name);
	line_put(s, l, TONE_HEAD, "%-6s", what);
}

static void draw_keys(const struct view *v, struct screen *out)
{
	char filter[VIEW_FILTER_BYTES * 4];
	struct line *l = screen_line(out);

	if (!l)
		return;
	text_clip(filter, sizeof(filter), v->filter, out->cols > 30 ? out->cols - 30 : 0,
		  out->utf8);
	if (v->typing) {
		line_put(out, l, TONE_HEAD, " Filter:");
		line_put(out, l, TONE_BOLD, " %s_", filter);
		line_put(out, l, TONE_DIM, "   Enter keeps, Esc clears");
		return;
	}
	key(out, l, "h", "Help");
	key(out, l, "s", "Sort");
	key(out, l, "F", "Filter");
	key(out, l, "p", v->paused ? "Go on" : "Pause");
	key(out, l, "q", "Quit");
	if (v->filter[0])
		line_put(out, l, TONE_WARN, "  only '%s'", filter);
}

/* How many lines the runs' blocks may take. */
static unsigned int block_rows(const struct view *v)
{
	unsigned int rest, least;

	if (!v->rows)
		return 0;
	rest = v->rows > 4 ? v->rows - 4 : 0; /* title, head, detail, keys */
	least = rest / 2 > LEAST_ROWS ? rest / 2 : LEAST_ROWS;
	return rest > least ? rest - least : 1;
}

static size_t selected_index(const struct view *v, const struct row *row, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (row_pid(&row[i]) == v->selected)
			return i;
	return 0;
}

/* Rows of the table, scrolled so that the selected one is seen. */
static const struct row *draw_rows(struct view *v, struct screen *out, const struct row *row,
				   size_t nr, size_t room)
{
	size_t at = selected_index(v, row, nr);

	if (!v->rows)
		v->first = 0, room = nr;
	if (at < v->first)
		v->first = at;
	if (room && at >= v->first + room)
		v->first = at - room + 1;
	if (v->first + room > nr)
		v->first = nr > room ? nr - room : 0;
	for (size_t i = v->first; i < nr && i < v->first + room; i++)
		draw_row(&row[i], out, v->rows && i == at);
	return nr ? &row[at] : NULL;
}

void view_draw(struct view *v, const struct watch *w, struct screen *out)
{
	const struct row *selected;
	struct row *row;
	size_t nr, room;

	screen_clear(out, v->cols, v->utf8);
	draw_title(v, w, out);
	if (v->help) {
		view_draw_help(v, out);
		return;
	}
	draw_blocks(w, out, block_rows(v));
	draw_head(v, out);
	row = view_rows(v, w, &nr);
	room = v->rows > out->nr + 2 ? v->rows - out->nr - 2 : 0;
	if (!nr)
		draw_empty(out, v);
	selected = draw_rows(v, out, row, nr, room);
	while (v->rows && out->nr + 2 < v->rows)
		if (!screen_line(out))
			break;
	if (v->rows) {
		draw_detail(selected, out);
		draw_keys(v, out);
	}
	if (v->rows && out->nr > v->rows)
		out->nr = v->rows;
	free(row);
}
