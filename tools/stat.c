/* SPDX-License-Identifier: Apache-2.0 */
/* rmem stat: the counters of runs that are going on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/supervisor_metrics.h"
#include "client/supervisor_stats.h"
#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/runs.h"
#include "tools/sampler.h"
#include "tools/stat.h"

static int set_json(void *ctx, const char *value)
{
	struct stat_options *o = ctx;

	(void)value;
	o->json = true;
	return 0;
}

static int set_interval(void *ctx, const char *value)
{
	struct stat_options *o = ctx;

	return sampler_parse_delay(value, &o->interval_ms);
}

static int set_count(void *ctx, const char *value)
{
	struct stat_options *o = ctx;

	return sampler_parse_count(value, &o->count);
}

static int set_prom(void *ctx, const char *value)
{
	struct stat_options *o = ctx;

	(void)value;
	o->prom = true;
	return 0;
}

static const struct cli_option stat_table[] = {
	{.name = "interval",
	 .letter = 'i',
	 .value = "SECS",
	 .help = "a line of rates for each run, every SECS seconds",
	 .set = set_interval},
	{.name = "count",
	 .letter = 'n',
	 .value = "N",
	 .help = "with -i: end after N intervals",
	 .set = set_count},
	{.name = "json",
	 .help = "JSON: an array of objects (rmem.stat/1); with -i an\n"
		 "object a line (rmem.rate/1)",
	 .set = set_json},
	{.name = "prom",
	 .help = "text for Prometheus: the sum of all runs; for the\n"
		 "textfile collector of node_exporter",
	 .set = set_prom},
};

static void print_table_line(void *ctx, const char *text)
{
	(void)ctx;
	fputs(text, stdout);
}

static int show_json(const struct stats *st, size_t nr)
{
	json_t *all = json_array();
	int err = all ? 0 : -1;

	for (size_t i = 0; i < nr && !err; i++)
		err = json_array_append_new(all, stats_json(&st[i]));
	if (!err)
		err = json_dumpf(all, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(all);
	return err ? cli_refuse("stat", "out of memory or standard output can't be written") : 0;
}

static int show_prom(const struct stats *st, size_t nr)
{
	struct metrics_text text = {.buf = NULL};
	int err;

	metrics_of_runs(&text, st, nr);
	err = text.failed || fputs(text.buf, stdout) == EOF;
	metrics_text_fini(&text);
	return err ? cli_refuse("stat", "out of memory or standard output can't be written") : 0;
}

static int show(const struct stats *st, size_t nr, const struct stat_options *o)
{
	if (o->json)
		return show_json(st, nr);
	if (o->prom)
		return show_prom(st, nr);
	for (size_t i = 0; i < nr; i++)
		stats_table(&st[i], print_table_line, NULL);
	if (!nr)
		printf("no rmem is running here that you may look at\n");
	return 0;
}

static int show_all(const struct stat_options *o)
{
	pid_t *pid = NULL;
	struct stats *st;
	size_t nr = 0, got = 0;
	int err = runs_find(&pid, &nr);

	if (err)
		return cli_refuse("stat", "/proc: %s", strerror(-err));
	st = calloc(nr + 1, sizeof(*st));
	for (size_t i = 0; st && i < nr; i++)
		if (!sampler_read(pid[i], &st[got])) /* else it has just ended */
			got++;
	err = st ? show(st, got, o) : cli_refuse("stat", "out of memory");
	free(st);
	free(pid);
	return err;
}

static int show_one(pid_t pid, const struct stat_options *o)
{
	static struct stats st;
	int err = sampler_read(pid, &st);

	return err ? cli_refuse("stat", "%s", err_text(err)) : show(&st, 1, o);
}

static int stat_main(char **argv)
{
	struct stat_options o = {.json = false};
	enum cli_parsed how;
	pid_t pid = 0;
	int rest, status;

	how = cli_parse(&cli_stat, argv, &o, &rest);
	if (how != CLI_GO)
		return cli_exit(how);
	if (argv[rest] && argv[rest + 1])
		return cli_usage_error("stat", "'%s' is too much: one process at a time",
				       argv[rest + 1]);
	if (o.count && !o.interval_ms)
		return cli_usage_error("stat", "--count needs an interval: for example -i 1");
	if (o.prom && (o.json || o.interval_ms))
		return cli_usage_error("stat", "--prom goes with neither --json nor -i");
	if (argv[rest] && sampler_parse_pid(argv[rest], &pid))
		return cli_usage_error("stat", "%s", err_text(-EINVAL));
	if (o.interval_ms)
		return stat_interval(&o, pid);
	status = pid ? show_one(pid, &o) : show_all(&o);
	return status ? status : cli_flush();
}

const struct cli_command cli_stat = {
	.name = "stat",
	.summary = "Shows the counters of one running rmem, or of all.",
	.usage = "[-i SECS [-n N]] [--json | --prom] [PID]",
	.examples = "  rmem stat\n"
		    "  rmem stat -i 1                        rates, a line a second\n"
		    "  rmem stat --json 4711 | python3 -m json.tool\n",
	.option = stat_table,
	.nr_options = sizeof(stat_table) / sizeof(stat_table[0]),
	.mixed = true,
	.main = stat_main,
};
