/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_procs: the table of the job's processes, read and shown. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/capture/inject.h"
#include "client/supervisor_print.h"
#include "client/supervisor_stats.h"

#define TRIES	 20
#define PAUSE_NS 200000L /* the pager writes for microseconds, unless it is preempted */

static bool read_seq(int fd, uint32_t *seq)
{
	return pread(fd, seq, sizeof(*seq), (off_t)RUN_TABLE_OFF) == (ssize_t)sizeof(*seq);
}

/* Numbers that a writer which died left half written are still numbers. */
static void tame(struct run_table *t)
{
	if (t->nr > RUN_PROCS)
		t->nr = RUN_PROCS;
	for (uint32_t i = 0; i < t->nr; i++)
		t->proc[i].comm[sizeof(t->proc[i].comm) - 1] = '\0';
}

void procs_read(int state_fd, struct run_table *out)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	for (int i = 0; i < TRIES; i++) {
		uint32_t after;

		if (pread(state_fd, out, sizeof(*out), (off_t)RUN_TABLE_OFF) !=
			    (ssize_t)sizeof(*out) ||
		    !read_seq(state_fd, &after)) {
			memset(out, 0, sizeof(*out));
			return;
		}
		if (out->seq == after && !(after & 1))
			break;
		nanosleep(&pause, NULL);
	}
	tame(out);
}

const char *procs_state(const struct run_proc *p)
{
	static const char *const name[RUN_PROC_STATES] = {
		[RUN_PROC_WATCHED] = "watched", [RUN_PROC_ENTERING] = "entering",
		[RUN_PROC_MANAGED] = "managed", [RUN_PROC_FORKED] = "forked",
		[RUN_PROC_VFORK] = "vfork",	[RUN_PROC_UNMANAGED] = "unmanaged",
	};

	return p->state < RUN_PROC_STATES ? name[p->state] : "?";
}

const char *procs_why(const struct run_proc *p)
{
	if (p->state != RUN_PROC_UNMANAGED || p->why > REFUSE_OTHER)
		return NULL;
	return inject_refusal_text((enum inject_refusal)p->why);
}

#define N(x) ((json_int_t)(x))

json_t *procs_json(const struct run_proc *p)
{
	char comm[4 * sizeof(p->comm) + 8];

	print_escape(comm, sizeof(comm), p->comm);
	return json_pack("{s:i, s:i, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I}", "pid",
			 (int)p->pid, "ppid", (int)p->ppid, "comm", comm, "state", procs_state(p),
			 "why", procs_why(p), "local_bytes", N(p->local_bytes), "remote_bytes",
			 N(p->away_bytes), "faults", N(p->faults), "fetched_bytes",
			 N(p->fetched_bytes), "evicted_bytes", N(p->evicted_bytes), "moved_bytes",
			 N(p->moved_bytes));
}

json_t *procs_list_json(const struct run_table *t)
{
	json_t *all = json_array();

	for (uint32_t i = 0; all && i < t->nr; i++)
		json_array_append_new(all, procs_json(&t->proc[i]));
	return all;
}
