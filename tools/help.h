/* SPDX-License-Identifier: Apache-2.0 */
/* `rmem help`: the overview, one command, or a topic such as stores. */
#ifndef RMEM_TOOLS_HELP_H
#define RMEM_TOOLS_HELP_H

#include "tools/cli.h"

/* @argv[0] is "help" or an option for it, @command ends with NULL; returns the
 * exit status. */
int help_main(char **argv, const struct cli_command *const *command);

#endif
