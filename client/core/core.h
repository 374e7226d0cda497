/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core: what state each page of the job is in, and what must happen next.
 *
 * A state machine. No threads, no system calls, no clock: events come in by
 * the functions below, effects go out through the four tables (capture, store,
 * policy, env). The same object file runs in the pager and in the seeded
 * simulator; `nm -u` on its library is a test. All its memory is one arena of
 * shared memory addressed by offsets, and what it does to it can be taken back up
 * to the last core_commit(), so that another process can take over (undo.c).
 *
 *	none      no record: never left; a fault on it is a first touch -> zeros
 *	moving    in the agent's hands; faults wait for the answer
 *	standby   taken out, bytes in a frame (dirty, being written, clean)
 *	remote    bytes at the store only
 *	fetching  being read into a frame
 *	resident  in the job, and the store still has a copy with this sum; perhaps guarded:
 *		  the job has not written to it since it came
 *	removed   the job threw it away; not evictable until it was filled again
 *	lost      poisoned
 *
 * Whoever drives the core keeps these rules:
 *  1. Messages of a space are read, and given to the core, only while
 *     core_may_read() says so, in the order in which the kernel gave them.
 *     While some are read and not yet given in, capture's move() answers
 *     -EAGAIN. Events are given in before faults, which may have pages placed.
 *  2. After each round of messages and completions core_run() is called; it
 *     retries what had to wait, starts evictions, submits to the store.
 *  3. Everything on one thread.
 */
#ifndef RMEM_CORE_CORE_H
#define RMEM_CORE_CORE_H

#include "client/core/capture.h"
#include "client/core/env.h"
#include "client/core/policy.h"
#include "client/core/store.h"
#include "client/core/types.h"
#include "common/base/hist.h"

/* The job's memory may exceed its cap by this much, or a sixteenth of the cap
 * if that is less, before a fault has to wait for something to leave. */
#define CORE_SLACK_BYTES (16UL << 20)

/* What is known of a page that left, or is about to. */
enum rec_state {
	REC_NONE,
	REC_MOVING,   /* frame reserved; slot of the copy before, if any */
	REC_STANDBY,  /* frame holds the bytes; its slot is the frame's */
	REC_REMOTE,   /* slot */
	REC_FETCHING, /* slot and frame */
	REC_RESIDENT, /* slot: the store's copy is as the page was when it came */
	REC_LOST,
};
#define REC_STATES (REC_LOST + 1)

/* A part of the store. */
enum core_part {
	PART_OPEN,
	PART_DRAINS, /* takes no pages, and those that it has move elsewhere */
	PART_LEFT,
	PART_LOST,
};
#define CORE_PARTS (PART_LOST + 1)

#define CORE_HALVES 2U /* scratch halves a space has, one chunk each */

struct core_config {
	uint64_t cap_bytes;  /* what the job may keep local, frames included */
	uint32_t nr_frames;  /* standby frames, PAGE_BYTES each */
	uint64_t max_slots;  /* that the store may ever have: core_join(); 0: no more than now */
	bool on_loss_sigbus; /* poison single pages instead of stopping the job */
	unsigned int place_least; /* pages of a chunk that are worth asking an agent to place */
};

struct core_binds {
	const struct capture_ops *capture;
	void *capture_ctx;
	const struct policy_ops *policy;
	void *policy_ctx;
	const struct env_ops *env;
	void *env_ctx;
	struct store *store;
};

/* Counters; all since the start. Readable by anyone who maps the arena. */
struct core_stats {
	uint64_t faults_write, faults_zero, faults_soft, faults_remote, faults_joined,
		faults_benign;
	uint64_t faults_deferred;
	uint64_t pages_moved, pages_evicted, pages_zero_elided, pages_clean_elided;
	uint64_t pages_known; /* of the latter, those that were guarded, and not copied */
	uint64_t pages_fetched, pages_prefetched, pages_zero_ahead;
	uint64_t pages_early;  /* put in place from standby, because a policy expected a touch */
	uint64_t pages_unused; /* fetched ahead, and given up before anybody touched them */
	uint64_t markers_hit;  /* touched: the plan went on */
	uint64_t pages_written, write_errors;
	uint64_t sums_wrong;	 /* pages that came back with other bytes than were sent */
	uint64_t pages_repaired; /* of them, those of which another copy was right */
	uint64_t moves_busy, moves_overtaken, populates;
	uint64_t events_remove, events_unmap, events_remap, events_fork;
	uint64_t remote_pages, remote_peak_pages;
	uint64_t local_bytes, local_peak_bytes;
	uint64_t spaces, spaces_peak, chunks, records_bytes;
	uint64_t records[REC_STATES]; /* pages in each state now; REC_NONE is not counted */
	uint64_t stuck_bytes;	      /* seen but can't leave: locked, pinned, shared, read-only */
	uint64_t part_pages[STORE_PARTS]; /* slots in use */
	uint8_t part[STORE_PARTS];	  /* enum core_part */
	struct hist fault_ns;
};

/* The same of one space, by plain increments on the way. */
struct core_space_stats {
	uint64_t faults; /* answered */
	uint64_t pages_fetched, pages_moved, pages_evicted;
	uint64_t pages_away; /* now: at the store, or on standby */
};

struct core;

/*
 * Bytes of arena needed at most for this configuration; the arena may be
 * sparse. @arena must be zeroed, page aligned. The frames are the first
 * nr_frames pages of the arena. Errors: -EINVAL, -ENOMEM.
 */
int core_open(void *arena, uint64_t arena_bytes, const struct core_config *cfg,
	      const struct core_binds *binds, struct core **out)
	__attribute__((warn_unused_result));

/*
 * The process that drove the core is dead, and this one goes on in its place, with
 * the same arena, configuration and slots: what the dead one changed since its last
 * core_commit() is taken back, and what was in flight to the store is asked for anew.
 * The store has nothing in flight. Then, before core_run():
 *  - whoever waits for a fault must be woken, in all spaces: what waited here is forgotten;
 *  - moves, populates and places of which core_half(), core_awaits_populate() and
 *    core_awaits_place() tell are answered, also those that no agent was told of, and no
 *    others;
 *  - spaces of which the core does not know (core_space_known()) are added, those that
 *    ended are said to be gone, and for those that have one, core_agent_ready();
 *  - events that were read and not given in (core_marked()) are given in.
 * As core_open(); -EOVERFLOW, -EIO: it can't be done.
 */
int core_takeover(void *arena, uint64_t arena_bytes, const struct core_config *cfg,
		  const struct core_binds *binds, struct core **out)
	__attribute__((warn_unused_result));

/* What the core thinks of a scratch half. */
enum core_half {
	HALF_FREE,
	HALF_ASKED, /* core_moved() is to come */
	HALF_HOLDS, /* what it needs */
};
enum core_half core_half(const struct core *c, space_id sp, unsigned int half);
bool core_awaits_populate(const struct core *c, space_id sp);
bool core_awaits_place(const struct core *c, space_id sp);
bool core_in_doubt(const struct core *c); /* what was being filled is not settled yet */
bool core_space_known(const struct core *c, space_id sp);

/* What was done until now stays done, whoever dies. To be called before anything that
 * makes what was true before untrue for good: emptying scratch, forgetting a message or
 * an answer. The core itself calls it before it asks a store or an agent for something. */
void core_commit(struct core *c);

/* Was this core built so that it can be taken over? */
bool core_can_be_taken_over(void);

/* A number that is committed with what was done; 0 at first. */
void core_mark(struct core *c, uint64_t mark);
uint64_t core_marked(const struct core *c);

/* For tests: @crash, which does not return, when so many stores were made since a
 * commit, unless they can't be taken back. UINT64_MAX, NULL: no more. */
void core_crash_after(uint64_t stores, void (*crash)(void));

/* Gives every slot, frame and record back. Accepts NULL. */
void core_close(struct core *c);

/* From now on the job may keep so much, as core_config's cap_bytes; more than the
 * frames take. What is too much leaves as fast as it can, and nothing comes in
 * meanwhile. */
void core_set_cap(struct core *c, uint64_t cap_bytes);

/* A part of the store is to leave: all that it holds moves to others in the background.
 * 0, also when it has been told so before; -EINVAL: there is no such part; -ENOSPC: the
 * others have no room for its pages. */
int core_drain(struct core *c, unsigned int part) __attribute__((warn_unused_result));

/* How many pages were in @part of the store alone, and are not asked for yet: when it is lost,
 * they are. Looks at all that there is. */
uint64_t core_pages_lost(const struct core *c, unsigned int part);

/* The store is about to be another: pages that it lent (store_ops.page) are kept here from now
 * on. Before anything that tells who takes over of the new one. Commits. */
void core_keep_lent(struct core *c);

/* The store has another part, behind those that it had; @store may be another one, whose
 * first slots are those of the old one, after core_keep_lent(). What leaves from now on goes
 * to the new part first. 0; -ENOSPC: more than max_slots. */
int core_join(struct core *c, struct store *store) __attribute__((warn_unused_result));
uint64_t core_max_slots(const struct core *c);

const struct core_stats *core_stats(const struct core *c);

/* All zero for a space that is not known. */
void core_space_stats(const struct core *c, space_id sp, struct core_space_stats *out);

/* ---- spaces ---- */

/* A space that is now managed; it has no registered range yet. */
int core_space_add(struct core *c, space_id sp) __attribute__((warn_unused_result));

/* Its last user is gone (exit, exec). Also ends its moves in flight; the
 * capture side still answers core_moved() once for each, which is ignored. */
void core_space_gone(struct core *c, space_id sp);

/* [start, end) of the space has been registered, whole. */
int core_range_added(struct core *c, space_id sp, uint64_t start, uint64_t end)
	__attribute__((warn_unused_result));

struct core_range {
	uint64_t start, end;
};

/* These ranges, sorted and disjoint, are all of the space that is registered,
 * at a moment when no message of it is unread: forget what is known beyond. */
void core_ranges_are(struct core *c, space_id sp, const struct core_range *real, unsigned int nr);

/* All that is known to be registered, sorted; valid until the next call. */
const struct core_range *core_ranges(const struct core *c, space_id sp, unsigned int *nr);

/* Is all of [start, end) known to be registered? */
bool core_range_known(const struct core *c, space_id sp, uint64_t start, uint64_t end);

/* While an agent is being put into the space, the thread that is stopped for it
 * must not wait for room: its faults are answered page by page, cap or not. */
void core_let_through(struct core *c, space_id sp, bool on);

void core_agent_ready(struct core *c, space_id sp);
void core_agent_failed(struct core *c, space_id sp, int err);

/* ---- messages, in the order read ---- */

/* May the space's messages be read now? Not while its agent moves or places pages. */
bool core_may_read(const struct core *c, space_id sp);

/* The thread that faulted is the space's own agent. */
#define CORE_AGENT_TID UINT32_MAX

/* @va is where it was touched, to the byte; @ip 0: unknown; @write: to be written to. */
void core_fault(struct core *c, space_id sp, uint64_t va, uint64_t ip, uint32_t tid, bool write);

/* The same, heard of by other means than a message, at any time between messages.
 * It need not be true. What can't be answered now is forgotten, and what is not known to be
 * registered is left alone: if the page is missed, a message says so. */
void core_hint(struct core *c, space_id sp, uint64_t va, uint64_t ip, uint32_t tid, bool write);

/* A write to a page that is present and guarded: it may get a copy of its own,
 * once there is room for it. */
void core_write_fault(struct core *c, space_id sp, uint64_t va, uint32_t tid);
void core_removed(struct core *c, space_id sp, uint64_t start, uint64_t end);
void core_unmapped(struct core *c, space_id sp, uint64_t start, uint64_t end);
void core_remapped(struct core *c, space_id sp, uint64_t from, uint64_t to, uint64_t bytes);

/* All messages of calls that took effect have been read and given in. */
void core_settled(struct core *c, space_id sp);

/* @child is new, with the ranges and the records of the parent, less what
 * capture's not_inherited() says. */
void core_forked(struct core *c, space_id parent, space_id child);

/* ---- answers ---- */

/* @moved went to scratch; of these @known are as they were filled (capture's move()), and
 * may not be copied out. @busy refused with EBUSY, @invalid with EINVAL.
 * @overtaken: an event arrived, the rest of the command was not carried out. */
void core_moved(struct core *c, space_id sp, unsigned int half, const pageset *moved,
		const pageset *known, const pageset *busy, const pageset *invalid, bool overtaken);
/* What place() was asked for: @placed is there now, @present was there already. */
void core_placed(struct core *c, space_id sp, const pageset *placed, const pageset *present,
		 bool overtaken);
void core_populated(struct core *c, space_id sp, uint64_t chunk_va, int err);
void core_quiesced(struct core *c, space_id sp, bool done); /* @done false: not now */

/* From within capture_ops.not_inherited only. */
void core_not_inherited(struct core *c, uint64_t start, uint64_t end);

/* ---- driving ---- */

/* What the job keeps local now, without the frames: measured. @held_bytes of it,
 * or what is to be treated so, counts against the cap. Between two measurements
 * the core adds what it fills and takes off what it moves. Not @exact: it is at
 * most that much, and says nothing of the peak. */
void core_observe(struct core *c, uint64_t anon_bytes, uint64_t held_bytes, bool exact);

/* Reap, retry, evict, submit. Returns true when it should be called again
 * soon although nothing came in (work was left to keep the call short). */
bool core_run(struct core *c);

/* Does a fault wait for something that no message may tell? */
bool core_waiting(const struct core *c);

/* How long a fault has waited for room, and nothing left nor was under way; 0: none does. Where
 * no moment is the right one for a move this goes on: it is for the caller to say so. */
uint64_t core_stalled_ns(const struct core *c);

/* Is anything in flight to or from the store? */
bool core_busy(const struct core *c);

/* For tests. core_check() checks every invariant, and aborts on a breach: slow. */
void core_check(const struct core *c);
enum rec_state core_page_state(const struct core *c, space_id sp, uint64_t va);

#endif
