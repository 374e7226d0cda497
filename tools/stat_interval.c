/* SPDX-License-Identifier: Apache-2.0 */
/* rmem stat -i: a line for each run and interval, as vmstat does. */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/sampler.h"
#include "tools/stat.h"
#include "tools/watch/json.h"
#include "tools/watch/text.h"

#define COMMAND_COLS 13U

/* On a terminal the head is repeated before it scrolls away. */
static unsigned int lines_a_head(void)
{
	struct winsize ws = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) || ws.ws_row < 5)
		return 0;
	return ws.ws_row - 2U;
}

static void print_head(void)
{
	printf("%7s %7s %7s %8s %7s %7s %5s %5s %5s %s\n", "PID", "LOCAL", "REMOTE", "FAULT/s",
	       "IN/s", "OUT/s", "P50", "P99", "PROCS", "COMMAND");
}

static void print_rates(const struct watch_run *r)
{
	char t[7][TEXT_BYTES], command[4 * COMMAND_COLS + 2];
	const struct core_stats *c = &r->now.core;
	const struct rates *x = &r->rates;

	text_clip(command, sizeof(command), r->now.header.cmdline, COMMAND_COLS, false);
	printf("%7d %7s %7s %8s %7s %7s %5s %5s %5u %s\n", (int)r->now.header.supervisor_pid,
	       text_size(t[0], (double)c->local_bytes),
	       text_size(t[1], (double)(c->remote_pages * PAGE_BYTES)), text_count(t[2], x->faults),
	       text_size(t[3], x->in_bytes), text_size(t[4], x->out_bytes),
	       x->has_latency ? text_time(t[5], x->p50_ns) : "-",
	       x->has_latency ? text_time(t[6], x->p99_ns) : "-", r->now.header.processes, command);
}

static void print_json(const struct watch_run *r)
{
	json_t *line = json_rates(r);

	if (line)
		json_dumpf(line, stdout, JSON_COMPACT);
	json_decref(line);
	printf("\n");
}

/* Lines that were printed. */
static unsigned int print_look(const struct watch *w, bool json, unsigned int *to_head)
{
	unsigned int nr = 0;

	for (const struct watch_run *r = w->runs; r; r = r->next) {
		if (!r->rates.known) /* new: its first interval has just begun */
			continue;
		if (!json && (*to_head)-- == 0) {
			print_head();
			*to_head = lines_a_head() - 1U;
		}
		if (json)
			print_json(r);
		else
			print_rates(r);
		nr++;
	}
	return nr;
}

int stat_interval(const struct stat_options *o, pid_t only)
{
	struct watch w = {.runs = NULL};
	unsigned int to_head = 0;
	uint64_t next_ns = sampler_now_ns();
	int err = sampler_look(&w, only), status = 0;

	if (!err && only && !w.nr)
		err = -1; /* err text is there */
	for (uint64_t i = 0; !err && !status && (!o->count || i < o->count); i++) {
		next_ns += o->interval_ms * 1000000;
		sampler_sleep_until(next_ns);
		err = sampler_look(&w, only);
		if (only && !w.nr) /* the run has ended */
			break;
		print_look(&w, o->json, &to_head);
		status = cli_flush();
	}
	watch_fini(&w);
	return err ? cli_refuse("stat", "%s", err_text(err)) : status;
}
