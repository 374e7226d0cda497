/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of `rmem stat` share. */
#ifndef RMEM_TOOLS_STAT_H
#define RMEM_TOOLS_STAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct stat_options {
	bool json, prom;
	uint64_t interval_ms; /* 0: once */
	uint64_t count;	      /* of intervals; 0: without end */
};

/* Until the count, or the end of @only (0: all runs). Exit status. */
int stat_interval(const struct stat_options *o, pid_t only);

#endif
