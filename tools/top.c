/* SPDX-License-Identifier: Apache-2.0 */
/* rmem top: the runs and their processes, live; its command line and batch mode. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/sampler.h"
#include "tools/top.h"
#include "tools/watch/json.h"

#define BATCH_COLS 80

static int set_batch(void *ctx, const char *value)
{
	struct top *t = ctx;

	(void)value;
	t->batch = true;
	return 0;
}

static int set_json(void *ctx, const char *value)
{
	struct top *t = ctx;

	(void)value;
	t->json = t->batch = true;
	return 0;
}

static int set_delay(void *ctx, const char *value)
{
	struct top *t = ctx;

	return sampler_parse_delay(value, &t->view.delay_ms);
}

static int set_count(void *ctx, const char *value)
{
	struct top *t = ctx;

	return sampler_parse_count(value, &t->count);
}

static int set_sort(void *ctx, const char *value)
{
	struct top *t = ctx;

	for (int i = 0; i < VIEW_SORTS; i++)
		if (!strcmp(value, view_sort_name((enum view_sort)i))) {
			t->view.sort = (enum view_sort)i;
			return 0;
		}
	return err_set(-EINVAL, "'%.40s': size, fault/s, in/s, out/s, pid or name", value);
}

static const struct cli_option top_table[] = {
	{.name = "delay",
	 .letter = 'd',
	 .value = "SECS",
	 .help = "between two looks (default: 1)",
	 .set = set_delay},
	{.name = "count",
	 .letter = 'n',
	 .value = "N",
	 .help = "end after N looks",
	 .set = set_count},
	{.name = "batch",
	 .letter = 'b',
	 .help = "plain text, for files and pipes",
	 .set = set_batch},
	{.name = "json", .help = "an object a line (rmem.top/1)", .set = set_json},
	{.name = "sort",
	 .value = "KEY",
	 .help = "size (default), fault/s, in/s, out/s, pid or name",
	 .set = set_sort},
};

static const char top_more[] =
	"Keys: h help, s sort, F filter, p pause, q quit, arrows select. No colour when\n"
	"NO_COLOR is set.\n";

/* ---- batch ---- */

static void print_text(struct top *t)
{
	t->view.time = time(NULL);
	view_draw(&t->view, &t->watch, &t->screen);
	for (size_t i = 0; i < t->screen.nr; i++) {
		const struct line *l = &t->screen.line[i];
		size_t bytes = l->bytes;

		while (bytes && l->text[bytes - 1] == ' ')
			bytes--;
		printf("%.*s\n", (int)bytes, l->text);
	}
	printf("\n");
}

static void print_json(const struct top *t)
{
	json_t *all = json_top(&t->watch, time(NULL));

	if (all)
		json_dumpf(all, stdout, JSON_COMPACT);
	json_decref(all);
	printf("\n");
}

/* Rates need an interval: the first output comes after the first one. */
static int batch(struct top *t)
{
	uint64_t next_ns = sampler_now_ns();
	int err = sampler_look(&t->watch, t->only), status = 0;

	for (uint64_t i = 0; !err && !status && (!t->count || i < t->count); i++) {
		next_ns += t->view.delay_ms * 1000000;
		sampler_sleep_until(next_ns);
		err = sampler_look(&t->watch, t->only);
		if (err)
			break;
		if (t->json)
			print_json(t);
		else
			print_text(t);
		status = cli_flush();
	}
	return err ? cli_refuse("top", "%s", err_text(err)) : status;
}

/* ---- */

static int run(struct top *t)
{
	setlocale(LC_CTYPE, "");
	t->view.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	t->view.cols = BATCH_COLS;
	if (t->batch)
		return batch(t);
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return cli_usage_error("top", "there is no terminal: for a file or a pipe, -b");
	return top_terminal(t);
}

static int check_run(pid_t pid)
{
	struct stats *st = calloc(1, sizeof(*st));
	int err = st ? sampler_read(pid, st) : err_set(-ENOMEM, "out of memory");

	free(st);
	return err;
}

static int top_main(char **argv)
{
	struct top t = {.view.delay_ms = 1000};
	enum cli_parsed how;
	int rest, status;

	how = cli_parse(&cli_top, argv, &t, &rest);
	if (how != CLI_GO)
		return cli_exit(how);
	if (argv[rest] && argv[rest + 1])
		return cli_usage_error("top", "'%s' is too much: one run, or all of them",
				       argv[rest + 1]);
	if (argv[rest] && sampler_parse_pid(argv[rest], &t.only))
		return cli_usage_error("top", "%s", err_text(-EINVAL));
	if (t.only && check_run(t.only))
		return cli_refuse("top", "%s", err_text(-ESRCH));
	status = run(&t);
	watch_fini(&t.watch);
	screen_fini(&t.screen);
	return status;
}

const struct cli_command cli_top = {
	.name = "top",
	.summary = "Shows runs and their processes live, as top does.",
	.usage = "[OPTION]... [PID]",
	.examples = "  rmem top\n"
		    "  rmem top -d 5 --sort fault/s\n"
		    "  rmem top -b -n 1                      one look, as plain text\n",
	.more = top_more,
	.option = top_table,
	.nr_options = sizeof(top_table) / sizeof(top_table[0]),
	.mixed = true,
	.main = top_main,
};
