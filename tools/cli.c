/* SPDX-License-Identifier: Apache-2.0 */
/* cli: parse by table, complain in one form, print help. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/run.h"
#include "client/supervisor_print.h"
#include "common/base/err.h"
#include "tools/cli.h"

#define MAX_OPTIONS  32
#define HEAD_COLUMNS 22 /* of help: an option and its value, then what it does */

static void complain(const char *cmd, const char *fmt, va_list ap)
{
	char text[1024], shown[2048];

	vsnprintf(text, sizeof(text), fmt, ap);
	print_escape(shown, sizeof(shown), text);
	fprintf(stderr, "rmem%s%s: %s\n", *cmd ? " " : "", cmd, shown);
}

int cli_usage_error(const char *cmd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(cmd, fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try 'rmem%s%s --help'\n", *cmd ? " " : "", cmd);
	return RUN_EXIT_FAILED;
}

int cli_refuse(const char *cmd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	complain(cmd, fmt, ap);
	va_end(ap);
	return RUN_EXIT_FAILED;
}

int cli_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return cli_refuse("", "standard output can't be written");
}

int cli_exit(enum cli_parsed how)
{
	return how == CLI_EXIT_USAGE ? RUN_EXIT_FAILED : cli_flush();
}

static void print_option(const struct cli_option *o)
{
	const char *line = o->help;
	char head[48];
	int at = 0;

	if (o->letter)
		at = snprintf(head, sizeof(head), "-%c, ", o->letter);
	snprintf(head + at, sizeof(head) - (size_t)at, "--%s%s%s", o->name, o->value ? " " : "",
		 o->value ? o->value : "");
	if (strlen(head) > HEAD_COLUMNS) {
		printf("  %s\n", head);
		head[0] = '\0';
	}
	while (line) {
		const char *end = strchr(line, '\n');
		int len = end ? (int)(end - line) : (int)strlen(line);

		printf("  %-*s %.*s\n", HEAD_COLUMNS, head, len, line);
		head[0] = '\0';
		line = end ? end + 1 : NULL;
	}
}

void cli_print_help(const struct cli_command *cmd)
{
	printf("Examples:\n%s\n", cmd->examples);
	printf("Usage: rmem %s %s\n\n%s\n\nOptions:\n", cmd->name, cmd->usage, cmd->summary);
	for (size_t i = 0; i < cmd->nr_options; i++)
		print_option(&cmd->option[i]);
	printf("  %-*s %s\n", HEAD_COLUMNS, "-h, --help", "this text");
	if (cmd->more)
		printf("\n%s", cmd->more);
}

static const struct cli_option *find(const struct cli_command *cmd, const char *name, size_t len)
{
	for (size_t i = 0; i < cmd->nr_options; i++)
		if (strlen(cmd->option[i].name) == len && !memcmp(cmd->option[i].name, name, len))
			return &cmd->option[i];
	return NULL;
}

static enum cli_parsed usage(const struct cli_command *cmd, const char *what, const char *arg,
			     const char *remedy)
{
	cli_usage_error(cmd->name, "%s '%s': %s", what, arg, remedy);
	return CLI_EXIT_USAGE;
}

static const struct cli_option *find_letter(const struct cli_command *cmd, char letter)
{
	for (size_t i = 0; i < cmd->nr_options; i++)
		if (letter && cmd->option[i].letter == letter)
			return &cmd->option[i];
	return NULL;
}

/* --name, --name=value, -n, -nvalue; -bn is -b -n. *@value is what is attached, or NULL. */
static const struct cli_option *find_word(const struct cli_command *cmd, const char *word,
					  const char **value)
{
	const struct cli_option *o;

	if (word[1] != '-') {
		o = find_letter(cmd, word[1]);
		*value = o && o->value && word[2] ? word + 2 : NULL;
		return o;
	}
	*value = strchr(word, '=');
	o = find(cmd, word + 2, *value ? (size_t)(*value - word - 2) : strlen(word + 2));
	if (*value)
		++*value;
	return o;
}

static bool has_letters(const struct cli_command *cmd)
{
	for (size_t i = 0; i < cmd->nr_options; i++)
		if (cmd->option[i].letter)
			return true;
	return false;
}

/* Of letters in one word, the first is done: the word is looked at again. */
static void next_letter(char *word, int *at)
{
	if (word[1] == '-' || !word[2])
		return;
	memmove(word + 1, word + 2, strlen(word + 2) + 1);
	--*at;
}

/* One option at argv[*at]; advances *at over its value. */
static enum cli_parsed parse_one(const struct cli_command *cmd, char **argv, int *at, void *ctx,
				 bool *seen)
{
	const char *value;
	const struct cli_option *o = find_word(cmd, argv[*at], &value);
	int err;

	if (!o)
		return usage(cmd, "unknown option", argv[*at],
			     argv[*at][1] == '-' || has_letters(cmd)
				     ? "see the help for those there are"
				     : "options are long, as in --name");
	if (seen[o - cmd->option] && !o->repeatable)
		return usage(cmd, "repeated option", argv[*at], "give it once");
	seen[o - cmd->option] = true;
	if (value && !o->value)
		return usage(cmd, "option", argv[*at], "takes no value");
	if (!o->value)
		next_letter(argv[*at], at);
	else if (!value && !(value = argv[++*at]))
		return usage(cmd, "option", argv[*at - 1], "needs a value after it");
	err = o->set(ctx, value);
	if (!err)
		return CLI_GO;
	cli_usage_error(cmd->name, "--%s: %s", o->name, err_text(err));
	return CLI_EXIT_USAGE;
}

static bool is_option(const char *word)
{
	return word[0] == '-' && word[1];
}

/* The option at argv[*at], help among them. */
static enum cli_parsed parse_any(const struct cli_command *cmd, char **argv, int *at, void *ctx,
				 bool *seen)
{
	if (!strcmp(argv[*at], "-h") || !strcmp(argv[*at], "--help")) {
		cli_print_help(cmd);
		return CLI_EXIT_OK;
	}
	return parse_one(cmd, argv, at, ctx, seen);
}

enum cli_parsed cli_parse(const struct cli_command *cmd, char **argv, void *ctx, int *rest)
{
	bool seen[MAX_OPTIONS] = {false};
	enum cli_parsed how = CLI_GO;
	int at = 1, words = 0;

	for (; argv[at] && how == CLI_GO; at++) {
		if (!strcmp(argv[at], "--")) {
			at++;
			break;
		}
		if (is_option(argv[at]))
			how = parse_any(cmd, argv, &at, ctx, seen);
		else if (cmd->mixed)
			argv[++words] = argv[at];
		else
			break;
	}
	*rest = at;
	if (!cmd->mixed || how != CLI_GO)
		return how;
	while (argv[at])
		argv[++words] = argv[at++];
	argv[words + 1] = NULL;
	*rest = 1;
	return how;
}
