/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring between pager and agent. The agent is a task that shares a job
 * process's address space and nothing else; it does there what only that
 * address space may do to itself. This header is compiled into both sides.
 *
 * One memfd, mapped by both: a page for the ring, and behind it the bounce
 * buffer, through which pages that were moved to scratch come to the pager.
 * Scratch has two halves, of a chunk each, so that one is filled while the
 * pager copies the other.
 *
 * The pager writes a command into a free slot, sets state QUEUED and, if the
 * agent sleeps, writes one byte to the wake pipe. The agent takes commands in
 * order (QUEUED -> RUNNING by compare and swap, so that the pager may take a
 * queued one back: the last one first, because the agent waits at a slot until
 * that is filled), answers in place, sets DONE and writes to the done eventfd
 * if the pager asked for it. End of file on the wake pipe means that pager and
 * supervisor are both gone: the agent then kills the process, because nobody
 * can answer its faults any more.
 *
 * Whatever the job writes into this memory harms only the job: the pager
 * copies answers before it looks at them and checks every value.
 */
#ifndef RMEM_CAPTURE_AGENT_H
#define RMEM_CAPTURE_AGENT_H

#include <stdint.h>

#include "client/core/types.h"

#define AGENT_ABI    6U
#define AGENT_SLOTS  4U
#define AGENT_HALVES 2U
#define AGENT_NAME   "rmem-agent"

/* A chunk for each half, out; and one in. */
#define AGENT_BOUNCE_BYTES ((AGENT_HALVES + 1) * CHUNK_BYTES)
#define AGENT_BOUNCE_IN	   (AGENT_HALVES * CHUNK_BYTES)
#define AGENT_SHARED_BYTES (PAGE_BYTES + AGENT_BOUNCE_BYTES) /* of the memfd */

enum agent_op {
	AGENT_MOVE = 1, /* drop the half, chunk -> scratch[half] */
	AGENT_TAKE,	/* drop the half, copy want to it, MADV_DONTNEED what was copied */
	AGENT_PLACE,	/* bounce buffer to spare pages of scratch, and from there to the chunk */
	AGENT_POPULATE, /* MADV_POPULATE_WRITE of want, page runs */
	AGENT_DROP,	/* MADV_DONTNEED of the half */
	AGENT_ADVISE,	/* madvise(va, bytes, advice) */
	AGENT_EXIT,	/* unmap what is the agent's, and exit */
};

enum agent_state { AGENT_FREE, AGENT_QUEUED, AGENT_RUNNING, AGENT_DONE };

struct agent_cmd {
	uint32_t state; /* enum agent_state, atomic */
	uint32_t op;
	uint32_t half;
	int32_t err; /* 0 or -errno, of the command as a whole */
	uint64_t va;
	uint64_t bytes; /* AGENT_ADVISE */
	uint32_t advice;
	uint32_t bounce;    /* AGENT_MOVE: on to the bounce buffer; answered: they are there */
	uint32_t keep;	    /* and what is in scratch stays there, to spare for AGENT_PLACE */
	uint32_t spare;	    /* answered: pages to spare */
	uint32_t overtaken; /* a MOVE answered EAGAIN: an event is unread */
	pageset want;
	pageset known;	 /* of @want, what need not be copied: nobody asks for it */
	pageset gaps;	 /* nothing is there: one MOVE may go over them */
	pageset moved;	 /* in scratch[half] now, or the bounce buffer's half; placed */
	pageset busy;	 /* EBUSY: shared after fork, or pinned; EEXIST: to be placed */
	pageset invalid; /* EINVAL: protection, locked, another mapping */
};

struct agent_ring {
	uint32_t abi;
	uint32_t sleeping; /* atomic: the agent waits (or is about to) in read(wake_fd) */
	uint32_t notify;   /* atomic: pager wants a write to done_fd */
	uint32_t next;	   /* slot the agent looks at next; agent's own */
	int32_t uffd_job;  /* descriptor numbers in the agent's own table */
	int32_t wake_fd;
	int32_t done_fd;
	int32_t target_pidfd; /* of the process to kill when nobody is left */
	uint32_t has_move;    /* scratch is registered on uffd_job; without MOVE it is not */
	uint32_t by_kernel;   /* the kernel copies: to look at scratch is dear (first_look.h) */
	uint64_t scratch[AGENT_HALVES]; /* a chunk each, chunk aligned, not side by side */
	uint64_t bounce;		/* AGENT_BOUNCE_BYTES */
	uint64_t own_start;		/* all mappings made for the agent, for scans */
	uint64_t own_end;		/* to skip and AGENT_EXIT to unmap */
	uint64_t code_start;		/* inside it; all that AGENT_EXIT leaves */
	uint64_t code_end;
	uint64_t moves, pages; /* statistics */
	struct agent_cmd cmd[AGENT_SLOTS];
};

#endif
