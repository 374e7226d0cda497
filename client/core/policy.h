/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy: what leaves, what stays and what comes early. Decisions only: a
 * policy changes no state of the core, and a wrong decision costs time, never
 * a byte. Pure like the core. Calls are made on the pager's thread.
 *
 * Told of a fault, it writes a plan: the runs of pages that are touched next.
 * One page of a run is its marker, which is fetched like the others and kept
 * on standby instead of being put in place. When the job gets there, the touch
 * costs no I/O and tells the policy that its stream goes on, while most of
 * what was planned is still ahead: the next plan is carried out in time.
 *
 *	fault   plan: 8 pages, marker 0      touched   plan: the next 16
 *	  v                                     v
 *	  #     m======= ..................     #     =======m===============
 */
#ifndef RMEM_CORE_POLICY_H
#define RMEM_CORE_POLICY_H

#include "client/core/types.h"

/* Kept by the core in every chunk, for the policy alone; zero in a new one. */
struct policy_chunk {
	pageset kept;	     /* pages that are to stay when others leave */
	uint64_t left_at;    /* the time when pages of it last left */
	uint64_t cleared_at; /* and when it was last seen which of its pages are accessed */
	uint16_t soon;	     /* pages that came back from standby since its last turn */
	bool spared;	     /* the last time */
	bool dropped;	     /* at its last turn, kept pages that were not accessed */
};

/* What there is room for; and the time, in pages. */
struct policy_room {
	uint64_t pages;	   /* that the job may keep */
	uint64_t now;	   /* pages that were put in place so far */
	uint64_t fetch_ns; /* what a thread waits for a page from the store, on average */
};

/* How pages came to be in place. */
enum policy_way {
	WAY_NEW,  /* zeros: never left, or forgotten */
	WAY_SOON, /* from standby: left a moment ago */
	WAY_BACK, /* from the store */
};

enum policy_kind {
	POLICY_ZERO,   /* first touch, about to be answered with zeros */
	POLICY_FETCH,  /* the page is being fetched for this fault */
	POLICY_JOINED, /* it was on its way, ahead of this fault or for another one */
	POLICY_SOFT,   /* it stood by */
	POLICY_MARKER, /* so it did, as the marker of a plan */
};

struct policy_fault {
	space_id space;
	uint64_t va; /* of the page */
	uint64_t ip; /* 0 unknown */
	uint32_t tid;
	uint16_t offset; /* of the touch in the page */
	uint8_t kind;	 /* enum policy_kind */
};

#define POLICY_RUNS	 4U
#define POLICY_RUN_PAGES 1024U /* the core looks at no more of a run */
#define POLICY_NO_MARKER UINT32_MAX

/* The pages of va, va + stride, va + 2 * stride ... */
struct policy_run {
	uint64_t va;
	int64_t stride; /* in bytes, may be negative */
	uint32_t nr;
	uint32_t marker; /* index: the first page from there on that can be one */
};

struct policy_plan {
	uint32_t zeros;	  /* POLICY_ZERO: pages after this one that come with it */
	uint32_t nr_runs; /* for the other kinds */
	struct policy_run run[POLICY_RUNS];
	const uint64_t *page; /* after the runs: any pages of the space, in this order; the */
	uint32_t nr_pages;    /* first is the marker. The policy's, until its next call */
};

/* All but plan() may be NULL: then nobody wants to hear of it, and all leaves. Called by the
 * functions below, which know that. */
struct policy_ops {
	const char *name;

	/* @plan comes empty. The core trims it: runs to what left the job, the
	 * cap and the frames, in order; zeros to the chunk, what was never
	 * touched and the cap. Addresses may be any. */
	void (*plan)(void *ctx, const struct policy_fault *f, struct policy_plan *plan);

	/* The page came for a plan and lost its frame before it was touched. */
	void (*unused)(void *ctx, space_id space, uint64_t va);

	/* @nr pages of the chunk, from @idx on, were put in place. */
	void (*came)(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		     unsigned int idx, unsigned int nr, enum policy_way way);

	/* The chunk is oldest. @set comes with all of its pages that could leave; what is
	 * taken out of it stays for another round. @young: pages accessed since their
	 * bits were last cleared, or since they came; NULL: nobody knows. True: clear
	 * those of the pages that stay. */
	bool (*leave)(void *ctx, const struct policy_room *room, struct policy_chunk *pc,
		      const pageset *young, pageset *set);

	/* The chunk is no more. */
	void (*forget)(void *ctx, const struct policy_chunk *pc);
};

static inline void policy_unused(const struct policy_ops *p, void *ctx, space_id space, uint64_t va)
{
	if (p->unused)
		p->unused(ctx, space, va);
}

static inline void policy_came(const struct policy_ops *p, void *ctx,
			       const struct policy_room *room, struct policy_chunk *pc,
			       unsigned int idx, unsigned int nr, enum policy_way way)
{
	if (p->came)
		p->came(ctx, room, pc, idx, nr, way);
}

static inline bool policy_leave(const struct policy_ops *p, void *ctx,
				const struct policy_room *room, struct policy_chunk *pc,
				const pageset *young, pageset *set)
{
	return p->leave && p->leave(ctx, room, pc, young, set);
}

static inline void policy_forget(const struct policy_ops *p, void *ctx,
				 const struct policy_chunk *pc)
{
	if (p->forget)
		p->forget(ctx, pc);
}

#endif
