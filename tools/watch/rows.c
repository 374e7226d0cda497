/* SPDX-License-Identifier: Apache-2.0 */
/* rows: which runs and processes the table has, and in what order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/watch/text.h"
#include "tools/watch/view.h"

static const struct run_proc *proc_of(const struct row *r)
{
	return r->proc < 0 ? NULL : &r->run->now.table.proc[r->proc];
}

pid_t row_pid(const struct row *r)
{
	const struct run_proc *p = proc_of(r);

	return p ? p->pid : r->run->now.header.supervisor_pid;
}

static const char *name_of(const struct row *r)
{
	const struct run_proc *p = proc_of(r);

	return p ? p->comm : r->run->now.header.cmdline;
}

static uint64_t size_of(const struct row *r)
{
	const struct run_proc *p = proc_of(r);
	const struct core_stats *c = &r->run->now.core;

	return p ? p->local_bytes + p->away_bytes : c->local_bytes + c->remote_pages * PAGE_BYTES;
}

static double key_of(const struct row *r, enum view_sort sort)
{
	const struct rates *rates = r->proc < 0 ? &r->run->rates : &r->run->proc[r->proc];

	switch (sort) {
	case VIEW_SORT_FAULTS:
		return rates->faults;
	case VIEW_SORT_IN:
		return rates->in_bytes;
	case VIEW_SORT_OUT:
		return rates->out_bytes;
	case VIEW_SORT_PID:
		return -(double)row_pid(r);
	default:
		return (double)size_of(r);
	}
}

/* Equals by pid, so that nothing changes places without a reason. */
static int compare(const void *a, const void *b, void *ctx)
{
	const struct row *x = a, *y = b;
	enum view_sort sort = *(const enum view_sort *)ctx;
	double kx = key_of(x, sort), ky = key_of(y, sort);
	int names = sort == VIEW_SORT_NAME ? strcmp(name_of(x), name_of(y)) : 0;

	if (names)
		return names;
	if (sort != VIEW_SORT_NAME && kx != ky)
		return kx > ky ? -1 : 1;
	return row_pid(x) < row_pid(y) ? -1 : row_pid(x) > row_pid(y);
}

static bool passes(const struct view *v, const struct row *r)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)row_pid(r));
	return !v->filter[0] || strcasestr(name_of(r), v->filter) || strstr(pid, v->filter);
}

/* The run and its processes from @row on. A run that passes shows all it has. */
static size_t add_run(const struct view *v, const struct watch_run *run, struct row *row)
{
	enum view_sort sort = v->sort;
	size_t nr = 1;
	bool all;

	row[0] = (struct row){.run = run, .proc = -1};
	all = passes(v, &row[0]);
	for (uint32_t i = 0; i < run->now.table.nr; i++) {
		row[nr] = (struct row){.run = run, .proc = (int)i};
		nr += all || passes(v, &row[nr]);
	}
	qsort_r(row + 1, nr - 1, sizeof(*row), compare, &sort);
	return all || nr > 1 ? nr : 0;
}

struct row *view_rows(const struct view *v, const struct watch *w, size_t *nr)
{
	size_t room = w->nr, at = 0, runs = 0;
	enum view_sort sort = v->sort;
	struct row *run, *row = NULL;

	*nr = 0;
	for (const struct watch_run *r = w->runs; r; r = r->next)
		room += r->now.table.nr;
	run = calloc(w->nr + 1, sizeof(*run));
	if (run)
		row = calloc(room + 1, sizeof(*row));
	for (const struct watch_run *r = w->runs; r && row; r = r->next)
		run[runs++] = (struct row){.run = r, .proc = -1};
	if (row)
		qsort_r(run, runs, sizeof(*run), compare, &sort);
	for (size_t i = 0; i < runs; i++)
		at += add_run(v, run[i].run, row + at);
	free(run);
	*nr = at;
	return row;
}

static size_t index_of(const struct view *v, const struct row *row, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (row_pid(&row[i]) == v->selected)
			return i;
	return 0;
}

void view_move(struct view *v, const struct watch *w, long by)
{
	size_t nr;
	struct row *row = view_rows(v, w, &nr);
	long at = nr ? (long)index_of(v, row, nr) + by : 0;

	if (at < 0)
		at = 0;
	if (nr) {
		if (at >= (long)nr)
			at = (long)nr - 1;
		v->selected = row_pid(&row[at]);
	}
	free(row);
}

const char *view_sort_name(enum view_sort sort)
{
	static const char *const name[VIEW_SORTS] = {"size",  "fault/s", "in/s",
						     "out/s", "pid",	 "name"};

	return name[sort];
}
