/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runs that are watched, each with its last two looks. Who looks calls
 * watch_begin(), watch_take() for each run found, watch_end().
 */
#ifndef RMEM_WATCH_WATCH_H
#define RMEM_WATCH_WATCH_H

#include "client/supervisor_stats.h"
#include "tools/watch/history.h"
#include "tools/watch/rates.h"

struct watch_run {
	struct watch_run *next; /* by supervisor pid */
	struct stats now;
	uint64_t now_ns, interval_ns; /* since the look before; 0: there was none */
	struct rates rates;
	struct rates proc[RUN_PROCS]; /* of now.table.proc[] */
	struct history faults;
	bool taken;
};

struct watch {
	struct watch_run *runs;
	size_t nr;
	uint64_t interval_ns; /* between the last two looks */
	uint64_t now_ns;
};

void watch_begin(struct watch *w, uint64_t now_ns);

/* 0 or -ENOMEM. */
int watch_take(struct watch *w, const struct stats *st) __attribute__((warn_unused_result));

/* Forgets the runs that were not taken. */
void watch_end(struct watch *w);

void watch_fini(struct watch *w);

/* How many processes all runs have. */
unsigned int watch_processes(const struct watch *w);

#endif
