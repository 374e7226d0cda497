/* SPDX-License-Identifier: Apache-2.0 */
/* rmem: the table of subcommands; a file a subcommand. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/run.h"
#include "client/session.h"
#include "tools/cli.h"

static const struct cli_command *const command[] = {
	&cli_run,
	&cli_attach,
	&cli_stat,
	&cli_doctor,
};

#define NR_COMMANDS (sizeof(command) / sizeof(command[0]))

static void print_help(void)
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
	for (size_t i = 0; i < NR_COMMANDS; i++)
		printf("  %-8s %s\n", command[i]->name, command[i]->summary);
	printf("\n"
	       "  -h, --help     this text; rmem COMMAND --help for one command\n"
	       "  --version      version and features\n");
}

static void print_version(void)
{
	printf("rmem %s\n", RMEM_VERSION);
	for (const struct store_type *const *t = session_stores(); *t; t++)
		printf("%s+%s", t == session_stores() ? "" : " ", (*t)->scheme);
	printf(" +uffd-move -bpf x86-64\n");
}

/* A descriptor of ours must never become somebody's standard output. */
static void reserve_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) < 0)
			_exit(RUN_EXIT_FAILED);
}

int main(int argc, char **argv)
{
	reserve_standard_fds();
	if (argc < 2)
		return cli_usage_error("", "a command is missing: for example rmem run ./job");
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
		print_help();
		return cli_flush();
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		print_version();
		return cli_flush();
	}
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(argv[1], command[i]->name))
			return command[i]->main(argv + 1);
	return cli_usage_error("", "unknown command '%s': to run a program, rmem run %s", argv[1],
			       argv[1][0] == '-' ? "PROGRAM" : argv[1]);
}
