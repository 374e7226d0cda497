/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: columns of the runs and processes. Quantiles are those of a run: a
 * histogram for each space would cost 6 KiB and a line of cache a fault.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tools/watch/text.h"
#include "tools/watch/view_parts.h"

#define PID_COLS  7U
#define NAME_COLS 14U /* on 80 columns; what is wider goes to it and to the state */
#define REST_COLS 59U /* all but the name, with the blanks between */
#define CELLS	  10

enum cell { PID, NAME, LOCAL, REMOTE, FAULTS, P50, P99, IN, OUT, STATE };

static const struct {
	const char *title;
	unsigned int cols; /* 0: what is left */
} column[CELLS] = {
	[PID] = {"PID", PID_COLS}, [NAME] = {"JOB/COMM", 0},  [LOCAL] = {"LOCAL", 6},
	[REMOTE] = {"REMOTE", 6},  [FAULTS] = {"FAULT/s", 7}, [P50] = {"P50", 5},
	[P99] = {"P99", 5},	   [IN] = {"IN/s", 6},	      [OUT] = {"OUT/s", 6},
	[STATE] = {"STATE", 9},
};

static bool sorts_by(enum view_sort sort, enum cell cell)
{
	switch (sort) {
	case VIEW_SORT_SIZE:
		return cell == LOCAL || cell == REMOTE;
	case VIEW_SORT_FAULTS:
		return cell == FAULTS;
	case VIEW_SORT_IN:
		return cell == IN;
	case VIEW_SORT_OUT:
		return cell == OUT;
	case VIEW_SORT_PID:
		return cell == PID;
	default:
		return cell == NAME;
	}
}

static unsigned int name_cols(const struct screen *s)
{
	unsigned int spare =
		s->cols > NAME_COLS + REST_COLS + 7 ? s->cols - NAME_COLS - REST_COLS - 7 : 0;

	return NAME_COLS + spare / 2;
}

static void put_cell(const struct screen *s, struct line *l, enum cell cell, enum tone tone,
		     const char *text)
{
	if (cell == NAME || cell == STATE) {
		unsigned int end = l->cols + name_cols(s);

		line_put(s, l, tone, "%s", text);
		if (cell == NAME)
			line_put(s, l, tone, "%*s", end > l->cols ? (int)(end - l->cols) : 0, "");
	} else {
		line_put(s, l, tone, "%*s", (int)column[cell].cols, text);
	}
	if (cell != STATE)
		line_put(s, l, tone == TONE_SORT ? TONE_HEAD : tone, " ");
}

void draw_head(const struct view *v, struct screen *out)
{
	struct line *l = screen_line(out);

	if (!l)
		return;
	for (int i = 0; i < CELLS; i++)
		put_cell(out, l, (enum cell)i,
			 sorts_by(v->sort, (enum cell)i) ? TONE_SORT : TONE_HEAD, column[i].title);
	if (v->rows && out->cols > l->cols)
		line_put(out, l, TONE_HEAD, "%*s", (int)(out->cols - l->cols), "");
}

static enum tone state_tone(const struct run_proc *p)
{
	switch (p->state) {
	case RUN_PROC_UNMANAGED:
		return TONE_WARN;
	case RUN_PROC_MANAGED:
		return TONE_GOOD;
	default:
		return TONE_PLAIN;
	}
}

/* Where there is room, why it is unmanaged as well. */
static void put_state(const struct screen *s, struct line *l, const struct run_proc *p)
{
	const char *why = procs_why(p);

	put_cell(s, l, STATE, state_tone(p), procs_state(p));
	if (why && s->cols >= 100)
		line_put(s, l, TONE_WARN, ": %s", why);
}

static void put_numbers(const struct screen *s, struct line *l, const struct rates *x, double local,
			double remote, bool is_run)
{
	char a[TEXT_BYTES];

	put_cell(s, l, LOCAL, TONE_PLAIN, text_size(a, local));
	put_cell(s, l, REMOTE, TONE_PLAIN, text_size(a, remote));
	put_cell(s, l, FAULTS, TONE_PLAIN, x->known ? text_count(a, x->faults) : "-");
	put_cell(s, l, P50, TONE_PLAIN, is_run && x->has_latency ? text_time(a, x->p50_ns) : "-");
	put_cell(s, l, P99, TONE_PLAIN, is_run && x->has_latency ? text_time(a, x->p99_ns) : "-");
	put_cell(s, l, IN, TONE_PLAIN, x->known ? text_size(a, x->in_bytes) : "-");
	put_cell(s, l, OUT, TONE_PLAIN, x->known ? text_size(a, x->out_bytes) : "-");
}

static const char *run_state(const struct stats *st)
{
	return st->header.job_pid ? "running" : "starting";
}

void draw_row(const struct row *row, struct screen *out, bool selected)
{
	const struct stats *st = &row->run->now;
	const struct run_proc *p = row->proc < 0 ? NULL : &st->table.proc[row->proc];
	char pid[TEXT_BYTES], name[LINE_BYTES] = " ";
	struct line *l = screen_line(out);

	if (!l)
		return;
	l->selected = selected;
	snprintf(pid, sizeof(pid), "%d", (int)row_pid(row));
	put_cell(out, l, PID, p ? TONE_PLAIN : TONE_BOLD, pid);
	text_clip(name + (p != NULL), sizeof(name) - 1, p ? p->comm : st->header.cmdline,
		  name_cols(out) - (p != NULL), out->utf8);
	put_cell(out, l, NAME, p ? TONE_PLAIN : TONE_BOLD, name);
	if (p) {
		put_numbers(out, l, &row->run->proc[row->proc], (double)p->local_bytes,
			    (double)p->away_bytes, false);
		put_state(out, l, p);
	} else {
		put_numbers(out, l, &row->run->rates, (double)st->core.local_bytes,
			    (double)(st->core.remote_pages * PAGE_BYTES), true);
		put_cell(out, l, STATE, TONE_PLAIN, run_state(st));
	}
	if (selected)
		line_pad(out, l, out->cols);
}

/* ---- the line about one of them ---- */

static void proc_detail(const struct run_proc *p, const struct screen *s, struct line *l)
{
	char comm[64], a[TEXT_BYTES], b[TEXT_BYTES], c[TEXT_BYTES], d[TEXT_BYTES];
	const char *why = procs_why(p);

	text_clip(comm, sizeof(comm), p->comm, 16, s->utf8);
	line_put(s, l, TONE_PLAIN, " %d %s, %s", (int)p->pid, comm, procs_state(p));
	if (why)
		line_put(s, l, TONE_WARN, ": %s", why);
	else
		line_put(s, l, TONE_PLAIN, ": %s faults, out %s, sent %s, in %s",
			 text_count(a, (double)p->faults), text_size(b, (double)p->moved_bytes),
			 text_size(c, (double)p->evicted_bytes),
			 text_size(d, (double)p->fetched_bytes));
}

static void run_detail(const struct stats *st, const struct screen *s, struct line *l)
{
	char a[TEXT_BYTES], b[TEXT_BYTES], c[TEXT_BYTES], d[TEXT_BYTES];
	const struct core_stats *k = &st->core;

	line_put(s, l, TONE_PLAIN, " %d since its start: %s faults, out %s, sent %s, in %s",
		 (int)st->header.supervisor_pid, text_count(a, (double)k->fault_ns.count),
		 text_size(b, (double)(k->pages_moved * PAGE_BYTES)),
		 text_size(c, (double)(k->pages_evicted * PAGE_BYTES)),
		 text_size(d, (double)(k->pages_fetched * PAGE_BYTES)));
}

void draw_detail(const struct row *row, struct screen *out)
{
	struct line *l = screen_line(out);

	if (!l || !row)
		return;
	if (row->proc < 0)
		run_detail(&row->run->now, out, l);
	else
		proc_detail(&row->run->now.table.proc[row->proc], out, l);
}
