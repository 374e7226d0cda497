/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `rmem top` shows: a title, a block for each run, the table of runs and
 * their processes, and, on a terminal, a line about the one that is selected
 * and one of keys. Knows no terminal: it fills a screen.
 */
#ifndef RMEM_WATCH_VIEW_H
#define RMEM_WATCH_VIEW_H

#include <sys/types.h>
#include <time.h>

#include "tools/watch/screen.h"
#include "tools/watch/watch.h"

enum view_sort {
	VIEW_SORT_SIZE, /* local and remote */
	VIEW_SORT_FAULTS,
	VIEW_SORT_IN,
	VIEW_SORT_OUT,
	VIEW_SORT_PID,
	VIEW_SORT_NAME,
};
#define VIEW_SORTS (VIEW_SORT_NAME + 1)

#define VIEW_FILTER_BYTES 64

struct view {
	unsigned int rows; /* 0: as many as it takes, and no keys (batch) */
	unsigned int cols;
	bool utf8;
	time_t time; /* of the clock on the wall */
	uint64_t delay_ms;
	bool paused, help;
	bool typing; /* the filter is being typed */
	char filter[VIEW_FILTER_BYTES];
	enum view_sort sort;
	pid_t selected; /* 0: the first row */
	size_t first;	/* row at the top of the table */
};

/* A line of the table. */
struct row {
	const struct watch_run *run;
	int proc; /* index in the run's table; -1: the run itself */
};

/* Runs by @v->sort, below each its processes, as the filter lets them. Returns
 * owned array; NULL with *@nr 0 when there are none. */
struct row *view_rows(const struct view *v, const struct watch *w, size_t *nr);
pid_t row_pid(const struct row *row);

void view_draw(struct view *v, const struct watch *w, struct screen *out);

/* Selects the row @by lines further. */
void view_move(struct view *v, const struct watch *w, long by);

const char *view_sort_name(enum view_sort sort);

/* view_help.c */
void view_draw_help(const struct view *v, struct screen *out);

#endif
