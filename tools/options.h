/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that `rmem run` and `rmem attach` share, and the step from what
 * was typed to a complete run_config.
 */
#ifndef RMEM_TOOLS_OPTIONS_H
#define RMEM_TOOLS_OPTIONS_H

#include "client/run.h"
#include "tools/cli.h"

enum option_id {
	OPTION_LOCAL,
	OPTION_REMOTE,
	OPTION_SERVER,
	OPTION_STATS,
	OPTION_SUMMARY,
	OPTION_JSON_STATUS_FD,
	OPTION_METRICS,
	OPTION_RECORD,
	OPTION_REPLAY,
	OPTION_ON_LOSS,
	OPTION_BPF,
	OPTION_POLICY,
	OPTION_CONFIG,
	OPTIONS_NR,
};

enum origin_kind { FROM_DEFAULT, FROM_OPTION, FROM_ENV, FROM_FILE };

/* Where a value comes from. */
struct origin {
	enum origin_kind kind;
	const char *where; /* the variable, or the file; lives as long as rmem does */
	unsigned int line; /* of the file */
};

struct options {
	struct run_config cfg;
	const char *config_path; /* NULL: not given */
	struct origin now;	 /* of what the setters are being given */
	struct origin origin[OPTIONS_NR];
	const char *value[OPTIONS_NR]; /* as written, checked; NULL: default. Servers are
					* in cfg */
	struct origin server_origin[RUN_MAX_SERVERS];
};

extern const struct cli_option options_table[OPTIONS_NR];
extern const char options_more[]; /* help: sizes, servers, exit status */

void options_init(struct options *o);

/* --config, for commands that have a table of their own. */
int options_set_config(struct options *o, const char *value);

/* Adds what environment and files say, fills the defaults in and checks sizes
 * against this machine. 0, or -errno with err text. */
int options_complete(struct options *o) __attribute__((warn_unused_result));

#endif
