/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs of the fast fault path (bpf/fast.bpf.c): loaded, tried, attached.
 * From then on every page fault of the machine passes them, at some 50 ns for
 * those that are none of ours.
 */
#ifndef RMEM_CAPTURE_BPF_FAST_H
#define RMEM_CAPTURE_BPF_FAST_H

#include <stdbool.h>

#include "bpf/fast.h"

struct bpf_fast;

/*
 * Loads the programs, proves on a page of this process that they read page
 * tables right, and attaches them. Takes some 50 ms; any thread. 0 and returns
 * owned, with the area that is shared; else -errno with err text.
 */
int fast_load(struct bpf_fast **out, struct fast_shared **shared)
	__attribute__((warn_unused_result));

/* Polls readable when the alarm has rung (struct fast_shared); owned by @b. */
int fast_alarm_fd(const struct bpf_fast *b);

/* Has it, since this was last asked? */
bool fast_alarm_rang(struct bpf_fast *b);

/* Accepts NULL. The area is gone with it. */
void fast_unload(struct bpf_fast *b);

#endif
