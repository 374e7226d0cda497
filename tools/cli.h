/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of rmem: a table of subcommands, each with a table of
 * options. Parsing, usage errors and --help come from the tables alone.
 */
#ifndef RMEM_TOOLS_CLI_H
#define RMEM_TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>

struct cli_option {
	const char *name;      /* "local": --local */
	char letter;	       /* 'i': -i as well; 0: none */
	const char *value;     /* what help calls it, "SIZE|PCT"; NULL: takes none */
	const char *help;      /* lines separated by \n */
	const char *otherwise; /* what holds when it is not given, for show-config */
	bool repeatable;
	bool in_config; /* a key of rmem.conf and of the environment, too */

	/* 0, or -errno with err text that names the remedy. @value is NULL for a
	 * switch on the command line, and yes or no elsewhere. */
	int (*set)(void *ctx, const char *value);
};

struct cli_command {
	const char *name;    /* "run" */
	const char *summary; /* one line */
	const char *usage;   /* what follows "rmem run" */
	const char *examples;
	const char *more; /* after the options, or NULL */
	const struct cli_option *option;
	size_t nr_options;
	bool mixed; /* options may follow the operands */

	/* @argv[0] is the subcommand's name; returns the exit status. */
	int (*main)(char **argv);
};

extern const struct cli_command cli_run, cli_attach, cli_bench, cli_ctl, cli_doctor, cli_pool,
	cli_stat, cli_top;

enum cli_parsed { CLI_GO, CLI_EXIT_OK, CLI_EXIT_USAGE };

/*
 * Options up to the first word that is none, or "--"; with @cmd->mixed all of
 * them, and the other words are moved together. *@rest is the index of what
 * follows, which ends with NULL. Help and usage errors have been printed on
 * return; exit with cli_exit() unless it is CLI_GO.
 */
enum cli_parsed cli_parse(const struct cli_command *cmd, char **argv, void *ctx, int *rest);
int cli_exit(enum cli_parsed how);

void cli_print_help(const struct cli_command *cmd);

/* Two lines, what is wrong and where help is; returns the exit status. */
int cli_usage_error(const char *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One line, for what is no mistake in the command line; returns the exit status. */
int cli_refuse(const char *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Everything written to stdout has arrived? 0, or the exit status. */
int cli_flush(void);

#endif
