/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the options of a run are set to by the environment and by files. The
 * keys are the long options that options_table says may be there, and their
 * values go through the same setters.
 *
 *	option  >  RMEM_LOCAL ...  >  --config or RMEM_CONFIG
 *		>  ~/.config/rmem/rmem.conf  >  /etc/rmem/rmem.conf  >  default
 *
 * All of it is read and checked, also what something else overrides.
 */
#ifndef RMEM_TOOLS_SETTINGS_H
#define RMEM_TOOLS_SETTINGS_H

#include "tools/options.h"

#define SETTINGS_SYSTEM_FILE "/etc/rmem/rmem.conf"

/* To what the command line has set. 0, or -errno with err text, which begins with
 * FILE:LINE or the name of the variable. */
int settings_load(struct options *o) __attribute__((warn_unused_result));

/* Every key with its value and where that comes from, on stdout. */
void settings_show(const struct options *o, bool as_json);

#endif
