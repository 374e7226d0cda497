/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the job's processes that others may read while the pager works:
 * made anew in its own memory, at most ten times a second and for at most a
 * hundredth of the time, then copied out under a sequence count.
 */
#include <stdlib.h>
#include <string.h>

#include "client/capture/capture.h"
#include "client/capture/proc.h"

#define REFRESH_NS    100000000ULL
#define REFRESH_SHARE 100
#define NAME_NS	      1000000000ULL /* names change: exec, prctl */

struct table {
	struct run_table next; /* what is copied out */
	struct process **all;  /* room to sort */
	size_t room;
};

static enum run_proc_state state_of(const struct process *p)
{
	if (p->borrows)
		return RUN_PROC_VFORK;
	if (p->state == PROC_REFUSED)
		return RUN_PROC_UNMANAGED;
	if (p->state == PROC_ASKED)
		return RUN_PROC_ENTERING;
	if (!p->space)
		return RUN_PROC_WATCHED;
	return p->space->agent.ring ? RUN_PROC_MANAGED : RUN_PROC_FORKED;
}

/* Of several processes in one space, one has its numbers. */
static void space_stats(const struct capture *cp, const struct process *p,
			struct core_space_stats *out)
{
	*out = (struct core_space_stats){0};
	if (p->space && p->space->pid == p->pid && !p->borrows)
		core_space_stats(cp->core, p->space->id, out);
}

static uint64_t size_of(const struct capture *cp, const struct process *p)
{
	struct core_space_stats st;

	space_stats(cp, p, &st);
	return p->counted_bytes + st.pages_away * PAGE_BYTES;
}

static void read_name(struct process *p, uint64_t now)
{
	struct proc_stat st;

	if (now < p->comm_ns || proc_stat(p->pid, &st))
		return;
	memcpy(p->comm, st.comm, sizeof(p->comm));
	p->comm_ns = now + NAME_NS;
}

static void fill_entry(const struct capture *cp, struct process *p, struct run_proc *out)
{
	struct core_space_stats st;

	space_stats(cp, p, &st);
	*out = (struct run_proc){
		.pid = p->pid,
		.ppid = p->ppid,
		.state = (uint8_t)state_of(p),
		.why = (uint8_t)p->why,
		.local_bytes = p->borrows ? 0 : p->counted_bytes,
		.away_bytes = st.pages_away * PAGE_BYTES,
		.faults = st.faults,
		.fetched_bytes = st.pages_fetched * PAGE_BYTES,
		.moved_bytes = st.pages_moved * PAGE_BYTES,
		.evicted_bytes = st.pages_evicted * PAGE_BYTES,
	};
	memcpy(out->comm, p->comm, sizeof(out->comm));
}

static int larger_first(const void *a, const void *b, void *ctx)
{
	uint64_t x = size_of(ctx, *(struct process *const *)a);
	uint64_t y = size_of(ctx, *(struct process *const *)b);

	return x > y ? -1 : x < y;
}

static bool make_room(struct table *t, size_t nr)
{
	struct process **grown;

	if (nr <= t->room)
		return true;
	grown = realloc(t->all, 2 * nr * sizeof(struct process *));
	if (!grown)
		return false;
	t->all = grown;
	t->room = 2 * nr;
	return true;
}

static void build(struct capture *cp, struct table *t, uint64_t now)
{
	size_t nr = 0;

	memset(&t->next, 0, sizeof(t->next));
	for (struct process *p = cp->procs; p; p = p->next) {
		t->next.in_state[state_of(p)]++;
		if (make_room(t, nr + 1))
			t->all[nr++] = p;
	}
	if (nr > RUN_PROCS)
		qsort_r(t->all, nr, sizeof(struct process *), larger_first, cp);
	if (nr > RUN_PROCS)
		nr = RUN_PROCS;
	for (size_t i = 0; i < nr; i++) {
		read_name(t->all[i], now);
		fill_entry(cp, t->all[i], &t->next.proc[i]);
	}
	t->next.nr = (uint32_t)nr;
	t->next.at_ns = now;
}

/* Readers take it again while the count is odd, or another than before. */
void table_publish(struct run_table *to, struct run_table *from)
{
	uint32_t seq = to->seq;

	from->seq = seq + 1;
	__atomic_store_n(&to->seq, seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(to, from, offsetof(struct run_table, proc) + from->nr * sizeof(from->proc[0]));
	__atomic_store_n(&to->seq, seq + 2, __ATOMIC_RELEASE);
}

void table_refresh(struct capture *cp)
{
	uint64_t now = capture_now_ns(), took;

	if (now < cp->table_ns)
		return;
	if (!cp->table)
		cp->table = calloc(1, sizeof(*cp->table));
	if (!cp->table)
		return;
	build(cp, cp->table, now);
	table_publish((struct run_table *)((char *)cp->header + RUN_TABLE_OFF), &cp->table->next);
	took = (capture_now_ns() - now) * REFRESH_SHARE;
	cp->table_ns = now + (took > REFRESH_NS ? took : REFRESH_NS);
}
