/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks: a run at a glance. Four lines where there is room:
 *
 *	 4711 python3 train.py              up 0:04:11, 3 processes
 *	 Local  [||||||||||||||||||||| 61.2M/64.0M]  FAULT/s  12.3k  p50 ...
 *	 Remote [||||||||            256.4M/512.0M]     IN/s  48.1M  OUT/s ...
 *	 Faults ____..::--==++**##                                   max 12.3k
 *
 * else one.
 */
#include <stdio.h>

#include "tools/watch/text.h"
#include "tools/watch/view_parts.h"

#define BLOCK_LINES 4U
#define BAR_COLS    34U /* on 80 columns; of what is wider, half */
#define SMALL_COLS  22U

/* The cap is there to be reached; the end of the remote memory is not. */
static enum tone local_tone(double share)
{
	return share > 1.1 ? TONE_BAD : share > 1.01 ? TONE_WARN : TONE_GOOD;
}

static enum tone remote_tone(double share)
{
	return share > 0.9 ? TONE_BAD : share > 0.75 ? TONE_WARN : TONE_GOOD;
}

static void bar(const struct screen *s, struct line *l, unsigned int cols, double bytes,
		uint64_t limit, enum tone (*tone)(double share))
{
	double share = limit ? bytes / (double)limit : 0;
	char text[2 * TEXT_BYTES], a[TEXT_BYTES], b[TEXT_BYTES];

	snprintf(text, sizeof(text), " %.6s/%.6s", text_size(a, bytes),
		 text_size(b, (double)limit));
	line_bar(s, l, cols, share, tone(share), text);
}

static void local_bar(const struct screen *s, struct line *l, const struct watch_run *r,
		      unsigned int cols)
{
	bar(s, l, cols, (double)r->now.core.local_bytes, r->now.header.local_bytes, local_tone);
}

static void remote_bar(const struct screen *s, struct line *l, const struct watch_run *r,
		       unsigned int cols)
{
	bar(s, l, cols, (double)(r->now.core.remote_pages * PAGE_BYTES), r->now.header.remote_bytes,
	    remote_tone);
}

/* Of fixed width, so that nothing jumps about. */
static void put_number(const struct screen *s, struct line *l, const char *name, int cols,
		       const char *number)
{
	line_put(s, l, TONE_PLAIN, "  %s ", name);
	line_put(s, l, TONE_BOLD, "%*s", cols, number);
}

static void name_line(const struct watch_run *r, struct screen *out)
{
	const struct run_header *h = &r->now.header;
	uint32_t unmanaged = r->now.table.in_state[RUN_PROC_UNMANAGED];
	char name[LINE_BYTES], right[96], up[TEXT_BYTES], size[TEXT_BYTES];
	struct line *l = screen_line(out);

	if (!l)
		return;
	snprintf(right, sizeof(right), "up %s, %u process%s", text_uptime(up, r->now.wall_ns),
		 h->processes, h->processes == 1 ? "" : "es");
	if (unmanaged)
		snprintf(right, sizeof(right), "up %s, %u processes, %u of them (%s) unmanaged", up,
			 h->processes, unmanaged, text_size(size, (double)h->unmanaged_bytes));
	line_put(out, l, TONE_BOLD, "%6d ", (int)h->supervisor_pid);
	if (out->cols > l->cols + text_columns(right, false) + 2)
		text_clip(name, sizeof(name), h->cmdline,
			  out->cols - l->cols - text_columns(right, false) - 2, out->utf8);
	else
		text_clip(name, sizeof(name), h->cmdline, out->cols - l->cols, out->utf8);
	line_put(out, l, TONE_BOLD, "%s", name);
	line_put_right(out, l, unmanaged ? TONE_WARN : TONE_PLAIN, right);
}

static void bar_lines(const struct watch_run *r, struct screen *out)
{
	unsigned int cols = BAR_COLS + (out->cols > 80 ? (out->cols - 80) / 2 : 0);
	const struct rates *x = &r->rates;
	char a[TEXT_BYTES];
	struct line *l = screen_line(out);

	if (!l)
		return;
	line_put(out, l, TONE_PLAIN, " Local  ");
	local_bar(out, l, r, cols);
	put_number(out, l, "FAULT/s", 6, x->known ? text_count(a, x->faults) : "-");
	put_number(out, l, "p50", 5, x->has_latency ? text_time(a, x->p50_ns) : "-");
	put_number(out, l, "p99", 5, x->has_latency ? text_time(a, x->p99_ns) : "-");
	l = screen_line(out);
	line_put(out, l, TONE_PLAIN, " Remote ");
	remote_bar(out, l, r, cols);
	put_number(out, l, "   IN/s", 6, x->known ? text_size(a, x->in_bytes) : "-");
	put_number(out, l, "     OUT/s", 6, x->known ? text_size(a, x->out_bytes) : "-");
}

static void history_line_of(const struct watch_run *r, struct screen *out)
{
	char text[HISTORY_LINE_BYTES], max[TEXT_BYTES];
	struct line *l = screen_line(out);

	if (!l)
		return;
	history_line(&r->faults, text, out->utf8);
	line_put(out, l, TONE_PLAIN, " Faults ");
	line_put(out, l, TONE_GOOD, "%s", text);
	line_put(out, l, TONE_PLAIN, " max %s", text_count(max, history_max(&r->faults)));
}

static void small_block(const struct watch_run *r, struct screen *out)
{
	const struct rates *x = &r->rates;
	struct line *l = screen_line(out);
	char a[TEXT_BYTES];

	if (!l)
		return;
	line_put(out, l, TONE_BOLD, "%6d ", (int)r->now.header.supervisor_pid);
	line_put(out, l, TONE_PLAIN, "L");
	local_bar(out, l, r, SMALL_COLS);
	line_put(out, l, TONE_PLAIN, " R");
	remote_bar(out, l, r, SMALL_COLS);
	line_put(out, l, TONE_PLAIN, " %6s/s", x->known ? text_count(a, x->faults) : "-");
	line_put(out, l, TONE_PLAIN, " p99 %5s", x->has_latency ? text_time(a, x->p99_ns) : "-");
}

static void more_line(struct screen *out, size_t left)
{
	struct line *l = screen_line(out);

	if (l)
		line_put(out, l, TONE_DIM, "       and %zu more, in the table below", left);
}

static void block(const struct watch_run *r, struct screen *out)
{
	name_line(r, out);
	bar_lines(r, out);
	history_line_of(r, out);
}

void draw_blocks(const struct watch *w, struct screen *out, unsigned int rows)
{
	bool small = rows && w->nr * BLOCK_LINES > rows;
	size_t left = w->nr;

	for (const struct watch_run *r = w->runs; r; r = r->next, left--, rows--) {
		if (!small) {
			block(r, out);
		} else if (rows > 1 || left == 1) {
			small_block(r, out);
		} else {
			more_line(out, left);
			return;
		}
	}
}
