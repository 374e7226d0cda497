/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at the runs of this machine, again and again. */
#ifndef RMEM_TOOLS_SAMPLER_H
#define RMEM_TOOLS_SAMPLER_H

#include <sys/types.h>

#include "client/supervisor_stats.h"
#include "tools/watch/watch.h"

uint64_t sampler_now_ns(void); /* CLOCK_MONOTONIC */

/* Header, counters and processes of one run. 0 or -errno with err text. */
int sampler_read(pid_t pid, struct stats *out) __attribute__((warn_unused_result));

/* One look at all runs, or at @only (0: all). What ended meanwhile is left
 * out. 0 or -errno with err text. */
int sampler_look(struct watch *w, pid_t only) __attribute__((warn_unused_result));

/* A process number as typed. 0 or -EINVAL with err text. */
int sampler_parse_pid(const char *text, pid_t *out) __attribute__((warn_unused_result));

/* "0.5", "2": seconds from 0.1 to a day. 0 or -EINVAL with err text. */
int sampler_parse_delay(const char *text, uint64_t *out_ms) __attribute__((warn_unused_result));

/* 1 and more. 0 or -EINVAL with err text. */
int sampler_parse_count(const char *text, uint64_t *out) __attribute__((warn_unused_result));

/* Sleeps until @ns of sampler_now_ns(). */
void sampler_sleep_until(uint64_t ns);

#endif
