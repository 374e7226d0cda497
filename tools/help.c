/* SPDX-License-Identifier: Apache-2.0 */
/*
 * help: `rmem help`, `rmem help COMMAND`, `rmem help TOPIC`. What is in a
 * list here comes from the table that the program itself works with.
 */
#include <stdio.h>
#include <string.h>

#include "client/session.h"
#include "tools/help.h"

struct topic {
	const char *name;
	const char *summary;
	void (*print)(void);
};

static void print_stores(void)
{
	printf("Examples:\n"
	       "  rmem run --server shm:/run/rmem.sock --remote 16G ./bigjob\n"
	       "  rmem run --server shm:/run/a.sock --server shm:/run/b.sock ./bigjob\n"
	       "  rmem doctor --server shm:/run/rmem.sock\n"
	       "\n"
	       "Usage: --server SPEC, up to %d times\n"
	       "\n"
	       "Stores:\n",
	       RUN_MAX_SERVERS);
	for (const struct store_type *const *t = session_stores(); *t; t++)
		printf("  %s\n", (*t)->usage);
	printf("\n"
	       "Without --server a private rmemd on this machine is started and ended with\n"
	       "the job. Several servers are one pool: the second is used when the first is\n"
	       "full. All of --remote is reserved before the job starts.\n");
}

static const struct topic topic[] = {
	{"stores", "What --server SPEC may be.", print_stores},
};

#define NR_TOPICS (sizeof(topic) / sizeof(topic[0]))

static void print_overview(const struct cli_command *const *command)
{
	printf("Examples:\n"
	       "  rmem run --local 2G --remote 16G ./bigjob    2 GiB here, 16 GiB elsewhere\n"
	       "  rmem run --summary -- python3 train.py       half of the free memory here\n"
	       "  rmem doctor                                  what is missing on this machine?\n"
	       "\n"
	       "Usage: rmem COMMAND [OPTION]...\n"
	       "\n"
	       "Runs an unmodified program on more memory than this machine gives it.\n"
	       "\n"
	       "Commands:\n");
	for (; *command; command++)
		printf("  %-8s %s\n", (*command)->name, (*command)->summary);
	printf("  %-8s %s\n\nTopics:\n", "help", "Explains a command or a topic: rmem help run.");
	for (size_t i = 0; i < NR_TOPICS; i++)
		printf("  %-8s %s\n", topic[i].name, topic[i].summary);
	printf("\n"
	       "Options:\n"
	       "  %-22s %s\n"
	       "  %-22s %s\n"
	       "\n"
	       "The manual: man rmem.\n",
	       "-h, --help", "this text; rmem COMMAND --help for one command", "--version",
	       "version and features");
}

static bool print_about(const char *what, const struct cli_command *const *command)
{
	for (; *command; command++)
		if (!strcmp(what, (*command)->name)) {
			cli_print_help(*command);
			return true;
		}
	for (size_t i = 0; i < NR_TOPICS; i++)
		if (!strcmp(what, topic[i].name)) {
			topic[i].print();
			return true;
		}
	return false;
}

int help_main(char **argv, const struct cli_command *const *command)
{
	const char *what = argv[1];

	if (what && argv[2])
		return cli_usage_error("help", "'%s' is too much: one command or topic", argv[2]);
	if (!what || !strcmp(what, "help") || !strcmp(what, "-h") || !strcmp(what, "--help"))
		print_overview(command);
	else if (!print_about(what, command))
		return cli_usage_error("help", "no command or topic '%s': see the list", what);
	return cli_flush();
}
