/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture: what the core asks of the address spaces it manages. Implemented
 * by client/capture on a real kernel and by tests/sim on a model of one.
 *
 * "fill" calls put bytes into a missing page of a space and wake whoever
 * waits for it (UFFDIO_COPY). They are synchronous and may do part of a run.
 *   0        all pages filled
 *   -EEXIST  stopped at a page that is present (already filled by somebody);
 *            @done pages before it were filled; waiters were NOT woken on it
 *   -EAGAIN  an event of this space is unread; nothing may be decided until
 *            it has been read and given to the core
 *   -ENOENT  stopped at an address that is not (or no longer) registered
 *   -ESRCH   the space is gone
 *   -ENOMEM  the kernel had no memory
 */
#ifndef RMEM_CORE_CAPTURE_H
#define RMEM_CORE_CAPTURE_H

#include "client/core/types.h"

/* Pages of one fill(). */
#define FILL_PAGES 64U

struct capture_ops {
	/* @src[i] are the bytes of page i of @nr, at most FILL_PAGES. @guard, if that can be done
	 * here: a write to them is a fault (core_write_fault()) until allow(); says afterwards
	 * whether it is so. */
	int (*fill)(void *ctx, space_id sp, uint64_t va, unsigned int nr, const void *const *src,
		    bool *guard, unsigned int *done);

	/* Fill @nr pages with private zero pages. */
	int (*fill_zero)(void *ctx, space_id sp, uint64_t va, unsigned int nr, unsigned int *done);

	/* Let the job write to these pages, which a fill guarded, or were guarded because a
	 * fork shares them, and wake who waits to. Results as fill. */
	int (*allow)(void *ctx, space_id sp, uint64_t va, unsigned int nr);

	/* Make waiters on [va, va + nr pages) fault again. */
	void (*wake)(void *ctx, space_id sp, uint64_t va, unsigned int nr);

	/* Every later touch of the page raises SIGBUS. 0 or as fill. */
	int (*poison)(void *ctx, space_id sp, uint64_t va);

	/* Pages of the chunk at @chunk_va that are present now. With @movable
	 * only those that may leave: private anonymous, writable, not the zero
	 * page, not one of those the kernel writes to at thread exit. */
	int (*scan)(void *ctx, space_id sp, uint64_t chunk_va, bool movable, pageset *out);

	/* Which pages of the chunk were accessed since age(), or since they came where
	 * that was later. 0, or -errno: it can't be told here. */
	int (*ages)(void *ctx, space_id sp, uint64_t chunk_va, pageset *young);

	/* From now on these pages count as not accessed. */
	void (*age)(void *ctx, space_id sp, uint64_t chunk_va, const pageset *set);

	/* The lowest chunk at or after @va that holds a present page in a
	 * registered range below @end; @end when there is none. */
	uint64_t (*next_present)(void *ctx, space_id sp, uint64_t va, uint64_t end);

	/* Would move() be taken now? False while messages are unread: who
	 * faulted, or waits for an event to be read, comes first. */
	bool (*can_move)(void *ctx, space_id sp);

	/* Ask the space's agent to move @want of the chunk into scratch half
	 * @half. Answered later by core_moved(), exactly once, also when the
	 * space dies. From this call until that answer nothing is filled into
	 * the chunk, and until core_may_read() no message of the space is read
	 * (docs/design.md, Moves and messages). Messages may have come since
	 * can_move(), and are unread; none may be read and not yet given. Of @known, which
	 * fills guarded and nothing has allowed to be written to since, those that the kernel
	 * still guards need not be copied out: the answer tells which. 0;
	 * -EAGAIN: not while they are unread; -errno when it can't be asked. */
	int (*move)(void *ctx, space_id sp, unsigned int half, uint64_t chunk_va,
		    const pageset *want, const pageset *known);

	/* Ask the space's agent to put @bytes[i], i counting the members of @want in order,
	 * into the missing pages @want of the chunk, or the first of them: @want says
	 * afterwards which. A fill that is answered later, by core_placed(), exactly once,
	 * also when the space dies. The bytes are copied before this returns. Until the
	 * answer no message of the space is read. 0 or -errno: it can't be asked now.
	 * Optional. */
	int (*place)(void *ctx, space_id sp, uint64_t chunk_va, pageset *want,
		     const void *const *bytes);

	/* Copy the pages @set out of scratch half @half into frames[i], i
	 * counting the members of @set in order. Synchronous. 0 or -ESRCH. */
	int (*copy_out)(void *ctx, space_id sp, unsigned int half, const pageset *set,
			void *const *frames);

	/* What the half holds is mapped here, and copy_out() costs for a page alone what it
	 * costs for one of many. May be NULL: it is not. */
	bool (*at_hand)(void *ctx, space_id sp, unsigned int half);

	/* The half's pages are no longer needed; may be done lazily, before
	 * the half is used again. */
	void (*drop)(void *ctx, space_id sp, unsigned int half);

	/* Make @want exclusive to this space and present (MADV_POPULATE_WRITE
	 * by the agent). May fault, so messages are read meanwhile. Answered
	 * later by core_populated(), exactly once. 0 or -errno. */
	int (*populate)(void *ctx, space_id sp, uint64_t chunk_va, const pageset *want);

	/* Put an agent into the space. Answered by core_agent_ready() or
	 * core_agent_failed(), or never when the space goes away. */
	void (*want_agent)(void *ctx, space_id sp);

	/* Tell when every thread of the space has been seen outside the system
	 * call it was in at the time of this call. Answered by core_quiesced(), once.
	 * Optional: -EOPNOTSUPP. */
	int (*quiesce)(void *ctx, space_id sp);

	/* The space was just forked; its forking thread has not returned yet.
	 * Calls core_not_inherited() for each range whose bytes a child does not
	 * get (MADV_DONTFORK, MADV_WIPEONFORK). 0, or -errno when it can't be
	 * told; -ESRCH: the child is gone. */
	int (*not_inherited)(void *ctx, space_id parent, space_id child);
};

#endif
