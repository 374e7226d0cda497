/* SPDX-License-Identifier: Apache-2.0 */
/* rmem run: start a program with remote memory. */
#include "client/run.h"
#include "common/base/err.h"
#include "tools/cli.h"
#include "tools/options.h"

static int run_main(char **argv)
{
	struct options o;
	enum cli_parsed how;
	int rest, err;
	options_init(&o);
	how = cli_parse(&cli_run, argv, &o, &rest);
	if (how != CLI_GO)
		return cli_exit(how);
	if (!argv[rest])
		return cli_usage_error("run", "a command is missing: name the program to run");
	o.cfg.argv = argv + rest;
	err = options_complete(&o);
	if (err)
		return cli_refuse("run", "%s", err_text(err));
	return supervisor_main(&o.cfg);
}

const struct cli_command cli_run = {
	.name = "run",
	.summary = "Runs a program with part of its memory remote.",
	.usage = "[OPTION]... [--] CMD [ARG]...",
	.examples = "  rmem run --local 2G --remote 16G ./bigjob\n"
		    "  rmem run --local 25% --summary -- sort -o out.txt in.txt\n"
		    "  rmem run --server tcp:memhost --stats run.json python3 train.py\n",
	.more = options_more,
	.option = options_table,
	.nr_options = OPTIONS_NR,
	.main = run_main,
};
