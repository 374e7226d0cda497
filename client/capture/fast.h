/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pager's side of the fast fault path: boxes in which threads of the job post
 * their faults (bpf/fast.h), looked at while faults come. What a box says becomes a
 * core_hint(), which is answered by what is true then, or not at all; if it isn't
 * in time, the message of userfaultfd comes.
 *
 * Without the right to load BPF programs there are no boxes, and all of this
 * does nothing. Pager's thread only.
 */
#ifndef RMEM_CAPTURE_FAST_H
#define RMEM_CAPTURE_FAST_H

#include <stdbool.h>
#include <stdint.h>

#include "client/core/types.h"

struct bpf_ages;
struct capture;

/* Begins to load the programs, in a thread, since it takes longer than a fault
 * may; once, and only when there is something to be managed. */
void fast_start(struct capture *cp);

/* There are boxes, and threads would wait for an answer. */
bool fast_is_on(const struct capture *cp);

/* What reads accessed bits (bpf_ages.h); NULL: nothing does, or not yet. */
struct bpf_ages *fast_ages(const struct capture *cp);

/* The pager looks, and looks again soon. */
void fast_awake(struct capture *cp, uint64_t now_ns);

/* Thread @tid has faulted: whether it sleeps is known from now on. */
void fast_watch(struct capture *cp, uint32_t tid);

/* All threads that faulted last sleep, or have ended: no fault is near. To look for one would
 * keep a CPU from who has work, often from the one that they sleep for. */
bool fast_all_sleep(const struct capture *cp);

/* It goes to sleep; if because fast_all_sleep() (@dozes), it is woken as soon as one of them
 * is, where that has been of use. Until fast_rise(). */
void fast_asleep(struct capture *cp, bool dozes);
void fast_rise(struct capture *cp);

/* Gives what has been posted to the core; how many faults that was. */
unsigned int fast_serve(struct capture *cp);

/* Is any posted that was not given to the core yet? A load for each CPU. */
bool fast_pressed(const struct capture *cp);

/* [va, va + nr pages) of the space is filled, or need not be waited for. */
void fast_answered(struct capture *cp, space_id sp, uint64_t va, unsigned int nr);

/* Faults near @va are ours: the page has just been filled. */
void fast_note(struct capture *cp, space_id sp, uint64_t va);

/* Which processes live in which spaces, and does waiting pay? Now and then. */
void fast_refresh(struct capture *cp);

#endif
