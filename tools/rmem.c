/* SPDX-License-Identifier: Apache-2.0 */
/* rmem: the table of subcommands; a file a subcommand. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/run.h"
#include "client/session.h"
#include "tools/cli.h"
#include "tools/help.h"

static const struct cli_command *const command[] = {
	&cli_run,  &cli_attach, &cli_ctl,    &cli_stat, &cli_top,
	&cli_pool, &cli_bench,	&cli_doctor, NULL,
};

static void print_version(void)
{
	printf("rmem %s\n", RMEM_VERSION);
	for (const struct store_type *const *t = session_stores(); *t; t++)
		printf("%s+%s", t == session_stores() ? "" : " ", (*t)->scheme);
	printf(" +uffd-move +bpf x86-64\n");
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
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))
		return help_main(argv + 1, command);
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
		print_version();
		return cli_flush();
	}
	for (const struct cli_command *const *c = command; *c; c++)
		if (!strcmp(argv[1], (*c)->name))
			return (*c)->main(argv + 1);
	return cli_usage_error("", "unknown command '%s': to run a program, rmem run %s", argv[1],
			       argv[1][0] == '-' ? "PROGRAM" : argv[1]);
}
