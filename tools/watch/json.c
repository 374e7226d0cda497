/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/watch/json.h"

#include "client/supervisor_print.h"

#define N(x) ((json_int_t)(x))

static json_t *rate(const struct rates *x, double value)
{
	return x->known ? json_real(value) : json_null();
}

static json_t *latency(const struct rates *x, uint64_t ns)
{
	return x->has_latency ? json_integer(N(ns)) : json_null();
}

static json_t *json_run(const struct watch_run *r)
{
	const struct run_header *h = &r->now.header;
	const struct core_stats *c = &r->now.core;
	const struct rates *x = &r->rates;
	char command[4 * RUN_CMDLINE_BYTES + 8];

	print_escape(command, sizeof(command), h->cmdline);
	return json_pack("{s:i, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I}",
			 "supervisor_pid", (int)h->supervisor_pid, "command", command,
			 "interval_ns", N(r->interval_ns), "faults_per_s", rate(x, x->faults),
			 "in_bytes_per_s", rate(x, x->in_bytes), "out_bytes_per_s",
			 rate(x, x->out_bytes), "fault_p50_ns", latency(x, x->p50_ns),
			 "fault_p99_ns", latency(x, x->p99_ns), "local_bytes", N(c->local_bytes),
			 "local_cap_bytes", N(h->local_bytes), "remote_bytes",
			 N(c->remote_pages * PAGE_BYTES), "remote_cap_bytes", N(h->remote_bytes),
			 "processes", N(h->processes));
}

json_t *json_rates(const struct watch_run *r)
{
	json_t *all = json_pack("{s:s}", "schema", "rmem.rate/1"), *run = json_run(r);

	if (all && run)
		json_object_update(all, run);
	json_decref(run);
	return all;
}

static json_t *json_process(const struct watch_run *r, uint32_t i)
{
	json_t *p = procs_json(&r->now.table.proc[i]);
	const struct rates *x = &r->proc[i];

	if (!p)
		return NULL;
	json_object_set_new(p, "faults_per_s", rate(x, x->faults));
	json_object_set_new(p, "in_bytes_per_s", rate(x, x->in_bytes));
	json_object_set_new(p, "out_bytes_per_s", rate(x, x->out_bytes));
	return p;
}

json_t *json_top(const struct watch *w, time_t now)
{
	json_t *runs = json_array();

	for (const struct watch_run *r = w->runs; r; r = r->next) {
		json_t *run = json_run(r), *procs = json_array();

		for (uint32_t i = 0; i < r->now.table.nr; i++)
			json_array_append_new(procs, json_process(r, i));
		json_object_set_new(run, "process", procs);
		json_array_append_new(runs, run);
	}
	return json_pack("{s:s, s:I, s:I, s:o}", "schema", "rmem.top/1", "time_s", N(now),
			 "interval_ns", N(w->interval_ns), "runs", runs);
}
