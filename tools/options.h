/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that `rmem run` and `rmem attach` share, and the step from what
 * was typed to a complete run_config.
 */
#ifndef RMEM_TOOLS_OPTIONS_H
#define RMEM_TOOLS_OPTIONS_H

#include "client/run.h"
#include "tools/cli.h"

#define OPTIONS_NR 8

struct options {
	struct run_config cfg;
	const char *local;  /* as typed, checked; NULL: default */
	const char *remote; /* as typed, checked; NULL: default */
};

extern const struct cli_option options_table[OPTIONS_NR];
extern const char options_more[]; /* help: sizes, servers, exit status */

void options_init(struct options *o);

/* Fills the defaults in and checks sizes against this machine. 0, or -errno
 * with err text. */
int options_complete(struct options *o) __attribute__((warn_unused_result));

#endif
