/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory there is: the host's, as /proc tells it, and no more than the
 * memory control groups of a process allow it (version 1 or 2), since beyond that
 * the kernel kills. No other file reads /proc/meminfo.
 */
#ifndef RMEM_COMMON_MEMINFO_H
#define RMEM_COMMON_MEMINFO_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Where the group of a process is: found once, since that reads all mounts. */
struct memgroup {
	char path[PATH_MAX]; /* "": it is in none, or can't see it */
	size_t root;	     /* length of the part of path that is above all groups */
	bool v2;
};

struct meminfo {
	uint64_t total_bytes, available_bytes, swap_bytes;
	bool limited; /* by a control group, not by the host */
};

/* Counters since boot, of moments in which memory was too short for somebody. */
struct memstalls {
	uint64_t reclaims;  /* an allocation had to reclaim (vmscan:mm_vmscan_direct_reclaim_*), or
			      met the limit of one of the groups */
	uint64_t waited_us; /* PSI: tasks waited for memory; 0 where the kernel counts no PSI */
};

/* Of process @pid, 0: the caller's. */
void memgroup_find(struct memgroup *g, pid_t pid);

/* 0 or -errno with err text. */
int meminfo_read(const struct memgroup *g, struct meminfo *out) __attribute__((warn_unused_result));

/* The same for the caller, where it is asked only once. */
int meminfo_mine(struct meminfo *out) __attribute__((warn_unused_result));

/* What can't be read counts as 0. */
void memstalls_read(const struct memgroup *g, struct memstalls *out);

#endif
