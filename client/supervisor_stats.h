/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of one run, as JSON (schema rmem.stat/1) and as a table. One
 * writer for --stats, --summary and `rmem stat`.
 *
 *	schema version command supervisor_pid pager_pid job_pid wall_ns
 *	exit_status (null while it runs) reason (null, or why rmem stopped the job)
 *	local   { cap ("auto", "fixed") cap_bytes bytes peak_bytes stuck_bytes }
 *	remote  { cap_bytes bytes peak_bytes }
 *	faults  { zero standby remote joined benign deferred write }
 *	fault_latency_ns { count p50 p90 p99 max }
 *	fast_path { state why waits in_time wait_ns }
 *	pages   { moved evicted fetched prefetched zero_elided clean_elided unwritten zero_ahead
 *		  written }
 *	bytes   { evicted fetched zero_elided clean_elided }
 *	moves   { busy overtaken populates }  events { remove unmap remap fork }
 *	processes { now peak managed unmanaged unmanaged_bytes unmanaged_why }
 *	managed_bytes records_bytes chunks spaces { now peak }
 *	agents  { now total }  ranges_registered  write_errors
 *	pager   { rss_peak_bytes }
 *	process [ { pid ppid comm state why local_bytes remote_bytes faults
 *		fetched_bytes evicted_bytes moved_bytes } ] the 256 largest that are alive
 */
#ifndef RMEM_CLIENT_SUPERVISOR_STATS_H
#define RMEM_CLIENT_SUPERVISOR_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "client/core/core.h"
#include "client/run.h"

struct stats {
	struct run_header header;
	struct core_stats core; /* zero when the pager has written none yet */
	struct run_table table; /* likewise */
	uint64_t wall_ns;
	bool ended;
	int exit_status;
	const char *reason; /* NULL: none */
};

/* Reads header and counters from the memfd of a run. 0; -ENODATA when it is
 * not one of this version; -errno. */
int stats_read(int state_fd, struct stats *out) __attribute__((warn_unused_result));

json_t *stats_json(const struct stats *st); /* returns owned; NULL: no memory */

/* ---- supervisor_procs.c ---- */
/* As it was at one moment; empty when there is none. */
void procs_read(int state_fd, struct run_table *out);
const char *procs_state(const struct run_proc *p);
const char *procs_why(const struct run_proc *p); /* NULL: managed, or may yet be */
json_t *procs_json(const struct run_proc *p);	 /* returns owned */
json_t *procs_list_json(const struct run_table *t);

/* At most 80 columns. Each line goes to @line with its newline. */
void stats_table(const struct stats *st, void (*line)(void *ctx, const char *text), void *ctx);

/* Can a file be made at @path? Leaves nothing. 0 or -errno. */
int stats_file_check(const char *path) __attribute__((warn_unused_result));

/* Writes a new file and renames it to @path; what is no regular file (a pipe,
 * /dev/stdout) is written to directly. 0 or -errno. */
int stats_file_write(const char *path, const struct stats *st) __attribute__((warn_unused_result));

#endif
