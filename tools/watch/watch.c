/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/watch/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void watch_begin(struct watch *w, uint64_t now_ns)
{
	w->interval_ns = w->now_ns ? now_ns - w->now_ns : 0;
	w->now_ns = now_ns;
	for (struct watch_run *r = w->runs; r; r = r->next)
		r->taken = false;
}

static bool is_same_run(const struct watch_run *r, const struct stats *st)
{
	return r->now.header.supervisor_pid == st->header.supervisor_pid &&
	       r->now.header.start_ns == st->header.start_ns;
}

/* Where the run is in the list, or would be. */
static struct watch_run **place_of(struct watch *w, const struct stats *st)
{
	struct watch_run **at = &w->runs;

	while (*at && !is_same_run(*at, st) &&
	       (*at)->now.header.supervisor_pid <= st->header.supervisor_pid)
		at = &(*at)->next;
	return at;
}

static const struct run_proc *find_proc(const struct run_table *t, int32_t pid)
{
	for (uint32_t i = 0; i < t->nr; i++)
		if (t->proc[i].pid == pid)
			return &t->proc[i];
	return NULL;
}

/* Counters of a process are as old as the table they are in. */
static void compare_procs(struct watch_run *r, const struct run_table *now)
{
	const struct run_table *then = &r->now.table;
	uint64_t ns = now->at_ns - then->at_ns;

	if (!then->at_ns) {
		memset(r->proc, 0, sizeof(r->proc));
		return;
	}
	if (!ns)
		return; /* the same table: the rates still hold */
	for (uint32_t i = 0; i < now->nr; i++) {
		const struct run_proc *old = find_proc(then, now->proc[i].pid);

		if (old)
			rates_of_proc(&r->proc[i], &now->proc[i], old, ns);
		else /* new, or not one of the largest before */
			r->proc[i] = (struct rates){0};
	}
}

static void compare(struct watch_run *r, const struct stats *st, uint64_t now_ns)
{
	r->interval_ns = now_ns - r->now_ns;
	rates_of_run(&r->rates, &st->core, &r->now.core, r->interval_ns);
	history_add(&r->faults, now_ns, r->rates.faults);
	compare_procs(r, &st->table);
}

int watch_take(struct watch *w, const struct stats *st)
{
	struct watch_run **at = place_of(w, st), *r = *at;

	if (r && is_same_run(r, st)) {
		compare(r, st, w->now_ns);
	} else {
		r = calloc(1, sizeof(*r));
		if (!r)
			return -ENOMEM;
		r->next = *at;
		*at = r;
		w->nr++;
	}
	r->now = *st;
	r->now_ns = w->now_ns;
	r->taken = true;
	return 0;
}

static void drop(struct watch *w, struct watch_run **at)
{
	struct watch_run *r = *at;

	*at = r->next;
	free(r);
	w->nr--;
}

void watch_end(struct watch *w)
{
	for (struct watch_run **at = &w->runs; *at;)
		if ((*at)->taken)
			at = &(*at)->next;
		else
			drop(w, at);
}

void watch_fini(struct watch *w)
{
	while (w->runs)
		drop(w, &w->runs);
}

unsigned int watch_processes(const struct watch *w)
{
	unsigned int nr = 0;

	for (const struct watch_run *r = w->runs; r; r = r->next)
		nr += r->now.header.processes;
	return nr;
}
