/* SPDX-License-Identifier: Apache-2.0 */
/* rmem stat: the counters of runs that are going on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/supervisor_stats.h"
#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/runs.h"

struct stat_options {
	bool json;
};

static int set_json(void *ctx, const char *value)
{
	struct stat_options *o = ctx;

	(void)value;
	o->json = true;
	return 0;
}

static const struct cli_option stat_table[] = {
	{.name = "json", .help = "JSON: an array of objects (rmem.stat/1)", .set = set_json},
};

static int read_run(pid_t pid, struct stats *st)
{
	struct timespec now;
	int fd = runs_open(pid);
	int err;

	if (fd < 0)
		return err_set(fd, "process %d: %s", (int)pid,
			       fd == -ESRCH ? "is no running rmem: see rmem stat" : strerror(-fd));
	err = stats_read(fd, st);
	close(fd);
	clock_gettime(CLOCK_MONOTONIC, &now);
	st->wall_ns =
		(uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - st->header.start_ns;
	return err;
}

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

static int show(const struct stats *st, size_t nr, bool json)
{
	if (json)
		return show_json(st, nr);
	for (size_t i = 0; i < nr; i++)
		stats_table(&st[i], print_table_line, NULL);
	if (!nr)
		printf("no rmem is running here that you may look at\n");
	return 0;
}

static int show_all(bool json)
{
	pid_t *pid = NULL;
	struct stats *st;
	size_t nr = 0, got = 0;
	int err = runs_find(&pid, &nr);

	if (err)
		return cli_refuse("stat", "/proc: %s", strerror(-err));
	st = calloc(nr + 1, sizeof(*st));
	for (size_t i = 0; st && i < nr; i++)
		if (!read_run(pid[i], &st[got])) /* else it has just ended */
			got++;
	err = st ? show(st, got, json) : cli_refuse("stat", "out of memory");
	free(st);
	free(pid);
	return err;
}

static int show_one(const char *text, bool json)
{
	static struct stats st;
	char *end;
	long pid = strtol(text, &end, 10);
	int err;

	if (text[0] < '1' || text[0] > '9' || *end || pid > 1 << 22)
		return cli_usage_error("stat", "'%s' is not a process number: see rmem stat", text);
	err = read_run((pid_t)pid, &st);
	return err ? cli_refuse("stat", "%s", err_text(err)) : show(&st, 1, json);
}

static int stat_main(char **argv)
{
	struct stat_options o = {.json = false};
	enum cli_parsed how;
	int rest, status;
	how = cli_parse(&cli_stat, argv, &o, &rest);
	if (how != CLI_GO)
		return cli_exit(how);
	if (argv[rest] && argv[rest + 1])
		return cli_usage_error("stat", "'%s' is too much: one process at a time",
				       argv[rest + 1]);
	status = argv[rest] ? show_one(argv[rest], o.json) : show_all(o.json);
	return status ? status : cli_flush();
}

const struct cli_command cli_stat = {
	.name = "stat",
	.summary = "Shows the counters of one running rmem, or of all.",
	.usage = "[--json] [PID]",
	.examples = "  rmem stat\n"
		    "  rmem stat 4711\n"
		    "  rmem stat --json | python3 -m json.tool\n",
	.option = stat_table,
	.nr_options = sizeof(stat_table) / sizeof(stat_table[0]),
	.mixed = true,
	.main = stat_main,
};
