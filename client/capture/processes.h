/* SPDX-License-Identifier: Apache-2.0 */
/* What processes.c, discover.c and measure.c share. Pager's thread only. */
#ifndef RMEM_CAPTURE_PROCESSES_H
#define RMEM_CAPTURE_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

struct capture;

/* ---- discover.c ---- */

/* Adds processes that were born since the last look, if any task was. -errno: not all
 * could be looked at, and will be the next time. */
int processes_discover(struct capture *cp);

/* The same, and whoever is there now is known after it: the look that a number was given out
 * before may have come before its process was to be seen. For decisions that can't be taken
 * back. It looks at all of /proc if anything was born in the last second. */
int processes_discover_all(struct capture *cp);

/* ---- measure.c ---- */

/* Sets anon_bytes, shared_bytes and unmanaged_bytes. */
void processes_measure(struct capture *cp);

/* Who shares pages with whom has changed: old samples say nothing any more. */
void processes_forget_samples(struct capture *cp);

/* Above this the cap is near. */
uint64_t processes_trigger_bytes(const struct capture *cp);

/* It is, or will be before an agent could be placed, if the job grows on as it does: large
 * processes are managed from now on. */
bool processes_near_cap(const struct capture *cp);

#endif
