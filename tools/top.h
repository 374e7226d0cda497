/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `rmem top` share. */
#ifndef RMEM_TOOLS_TOP_H
#define RMEM_TOOLS_TOP_H

#include "tools/watch/view.h"

struct top {
	struct watch watch;
	struct view view;
	struct screen screen;
	pid_t only;	/* 0: all runs */
	uint64_t count; /* of looks; 0: without end */
	bool batch, json;
};

/* top_terminal.c: until somebody quits. Exit status. */
int top_terminal(struct top *t);

#endif
