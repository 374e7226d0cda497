/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core's files share with each other and with nobody else.
 *
 * All state is in one arena of shared memory and refers to itself by offsets
 * (struct ref) and indexes, never by pointers: whoever maps the arena next,
 * anywhere, can go on. Only struct core, the view of the process that drives
 * now, holds pointers; core_open() makes it anew.
 */
#ifndef RMEM_CORE_INTERNAL_H
#define RMEM_CORE_INTERNAL_H

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "client/core/core.h"

#define NO_FRAME UINT32_MAX
#define NO_SLOT	 UINT64_MAX

/* Offset of an arena object in units of ARENA_UNIT; 0 is none. */
typedef struct {
	uint32_t v;
} ref;

#define ARENA_UNIT    64UL
#define ARENA_CLASSES 16U /* 64 bytes << 0 .. 15 */

/* Page record. */
struct rec {
	uint64_t sum;
	uint64_t has_slot : 1;
	uint64_t slot : 35; /* 128 TiB of slots */
	uint64_t frame : 24;
	uint64_t state : 3;
	uint64_t guarded : 1; /* resident or moving: filled guarded, and no write allowed since */
};
_Static_assert(sizeof(struct rec) == 16, "the budget is 16 bytes a page");
_Static_assert(REC_STATES <= 8, "three bits");

enum frame_state {
	FRAME_FREE,
	FRAME_HELD,    /* in no list: reserved for a move, or between two lists */
	FRAME_DIRTY,   /* only copy; waits for a slot or for the store to take it */
	FRAME_WRITING, /* only copy until acknowledged */
	FRAME_CLEAN,   /* the store has it too: may be taken for something else */
	FRAME_FETCHING,
};

/* Standby frame, the twin of one page of memory at the start of the arena. Small: it is
 * written whole each time it is handed out, and what it was is kept (undo.c). */
struct frame {
	uint32_t prev, next; /* of the dirty, the clean or the ask list */
	ref chunk;	     /* owner; none: orphan, only its I/O keeps it */
	uint16_t idx;	     /* page in the chunk */
	uint8_t state;
	uint8_t retries;
	uint8_t avoid;	      /* copies that gave a wrong page */
	bool agent_waits : 1; /* it is the space's own agent that does */
	bool waited : 1;      /* a thread of the job waits for these bytes */
	bool hinted : 1;      /* by nobody but hints */
	bool fetched : 1;     /* the waiter had to wait for the store */
	bool ahead : 1;	      /* read ahead of any fault */
	bool away : 1;	      /* the bytes come from the store, not from the job */
	bool moves : 1;	      /* to another slot: its own leaves */
	bool marker : 1;      /* stands by until it is touched, which goes on with a plan */
	bool submitted : 1;   /* the store has the request */
	bool urgent : 1;      /* and knows that somebody waits */
	bool has_slot : 1;    /* and one reference to it */
	bool lent : 1;	      /* its bytes are where the store has them (store_ops.page) */
	bool writes : 1;      /* who wants it wants to write to it, or expects to */
	uint64_t slot;
	uint64_t since_ns; /* when the waiter's fault was read */
};
_Static_assert(sizeof(struct frame) == 40, "five words");

/* So many times a chunk has to leave as it came, once it was written to, before what is filled
 * there is guarded again. */
#define WRITTEN 2U

struct chunk {
	uint64_t va;
	ref space;
	ref hash_next;
	ref sib_prev, sib_next; /* chunks of the space */
	ref q_prev, q_next;	/* eviction queue */
	ref table;		/* CHUNK_PAGES records, or none */
	uint16_t next_idx;	/* where the next move starts to look */
	uint16_t nr_recs;	/* records that are not REC_NONE */
	bool queued;
	bool populated;	 /* a refusal now means pinned, not shared */
	uint8_t written; /* so many of WRITTEN are to come */
	struct policy_chunk pc;
	pageset removed; /* thrown away by the job, maybe still present: don't move */
};

enum agent_status { AGENT_NONE, AGENT_ASKED, AGENT_HERE, AGENT_REFUSED };

struct half {
	ref chunk; /* none while busy: its space is gone */
	bool busy;
	bool moved;	    /* the agent has answered: */
	bool some_stay;	    /* the policy kept others of the chunk here */
	bool same, changed; /* of what was copied, some is as the store has it; is not */
	pageset want;	    /* what it is asked to take, then what it took and is still there */
	pageset known;	    /* of @want, as the store has them: not copied out */
	unsigned int taken; /* copied out: as long as others are not, scratch has it too */
};

/* What the agent is to put in place. */
struct place {
	bool busy;
	ref chunk; /* none while busy: its space is gone */
	pageset want;
};

struct space {
	space_id id;
	ref hash_next;
	ref list_prev, list_next;
	ref chunks; /* head of the siblings */
	ref ranges; /* sorted, disjoint, not touching */
	uint32_t nr_ranges, max_ranges;
	uint8_t agent; /* enum agent_status */
	bool gone;
	bool forked;	  /* once: it may share pages */
	bool let_through; /* single pages, whatever the cap says */
	bool populating;
	bool quiescing, quiesce_stale;
	uint8_t nr_held;  /* remaps that wait for the range they go to to be vacated */
	bool sweeping;	  /* sweep_va walks memory that is in no queue */
	bool sweep_waits; /* and can't go on in this run */
	uint64_t sweep_va;
	uint64_t removed_pages; /* members of all chunks' removed sets */
	uint64_t made_va;	/* chunk whose pages were just made exclusive; 0 none */
	uint64_t share_va;	/* chunk to be made exclusive, or 0: */
	pageset share;		/* these pages of it */
	struct half half[CORE_HALVES];
	uint8_t turn; /* of the halves, the one to be used next */
	struct place place;
	struct core_space_stats stats;
};

/* A remap that was read before the message of the call that made room for it. */
struct held {
	space_id space;
	uint64_t from, to, bytes;
	bool vacated; /* from: the call's other message, that it is unmapped, has come */
};

struct waiting {
	space_id space;
	uint32_t tid;
	uint64_t va, ip, since_ns;
	bool write;   /* it was touched to be written to */
	bool guarded; /* it is there, and a write waits for core_write_fault() to allow it */
	bool hint;    /* waits for an agent's answer, and for nothing else */
	bool told;    /* the policy knows of it */
};

#define HASH_BUCKETS 16384U
#define MAX_WAITING  4096U
#define MAX_HELD     64U

/* Everything that outlives the process that drives. */
struct state {
	struct core_config cfg;
	struct core_stats stats;
	uint64_t heap_next, heap_end;
	ref heap_free[ARENA_CLASSES];
	ref space_hash[HASH_BUCKETS / 16];
	ref chunk_hash[HASH_BUCKETS];
	ref spaces;	    /* list head */
	ref q_head, q_tail; /* chunks, oldest first */
	uint32_t q_len;
	uint32_t spared; /* chunks given another round since something last moved */

	uint32_t frames_free, last_got;
	uint32_t clean_head, clean_tail, nr_clean;
	uint32_t dirty_head, dirty_tail, nr_dirty;
	uint32_t nr_writing, nr_fetching;
	uint32_t nr_urgent;	     /* of those that are being fetched */
	uint32_t reserve;	     /* frames kept for demand */
	uint32_t ask_head, ask_tail; /* fetching frames not yet submitted, urgent first */

	uint64_t nr_slots; /* of the store, as far as is known here */
	uint64_t slots_free, slot_cursor;
	uint64_t steal_cursor;
	uint32_t lost_parts;   /* of the store, a bit each */
	uint32_t nr_draining;  /* parts of the store */
	uint32_t drain_cursor; /* bucket of chunks */
	bool drain_found;      /* in this round through all of them */
	bool drain_rests;      /* until the next measurement */

	struct held held[MAX_HELD];
	uint32_t nr_held;
	uint32_t nr_waiting, waiting_head;
	uint64_t fill_seq;
	uint64_t fetch_ns;	/* mean of late of what a thread waits for a page from the store */
	int64_t local_anon;	/* last measured, plus fills, minus drops */
	uint64_t moving_pages;	/* asked for, or in scratch */
	uint64_t placing_pages; /* agents are to put in place */
	uint32_t nr_moved;	/* halves that hold what is to be copied out */
	uint64_t stuck_pages;	/* refused since all was last set to be swept again */
	uint64_t no_memory_ns;	/* since when the kernel has none; 0: a fault was answered since */
	uint64_t moved_ns;	/* when something last left, or nobody waited for it */
	uint64_t looked_ns;	/* when that was last asked */
	uint64_t swept_ns;	/* when all spaces were last set to be swept again */
	uint64_t mark;		/* the driver's: core_mark() */
	uint64_t layout;	/* bytes before the heap, as core_open() placed them */
	uint32_t doubt[FILL_PAGES],
		nr_doubts; /* takeover.c: the job may have these frames' pages */
	bool lost;
};

struct core {
	struct core_binds b;
	char *base; /* of the arena */
	struct state *st;
	struct frame *frames;
	uint16_t *slot_refs;
	uint64_t *slot_map;  /* bit set: free */
	uint64_t *frame_map; /* the same */
	struct waiting *waiting;
	struct space *heir; /* being made by core_forked() */
	struct {	    /* evict.c: what is to be moved next; va 0: nothing */
		space_id space;
		uint64_t va, since_ns;
		bool some_stay, some_left, swept;
		pageset want;	   /* less what has been handed over */
		struct half *half; /* that is being handed pages */
	} plan;
};

/* ---- arena.c ---- */
static inline void *at(const struct core *c, ref r)
{
	return r.v ? c->base + r.v * ARENA_UNIT : NULL;
}

static inline ref ref_to(const struct core *c, const void *p)
{
	return (ref){p ? (uint32_t)(((const char *)p - c->base) / (long)ARENA_UNIT) : 0};
}

/* Zeroed; none when the arena is used up. */
ref arena_get(struct core *c, uint64_t bytes);
void arena_put(struct core *c, ref r, uint64_t bytes);

/* ---- undo.c: what was changed since the last core_commit() ---- */
#define UNDO_BYTES_MAX (64UL << 20)

uint64_t undo_bytes(uint64_t arena_bytes); /* that the log takes, at the arena's end */
/* From now on stores beyond @from in the arena can be taken back. */
void undo_start(char *arena, uint64_t from, uint64_t arena_bytes);
void undo_stop(void);
int undo_all(void); /* 0; -EOVERFLOW: too much was changed */

/* memmove() or memset() is about to change this. */
void undo_note(const void *p, uint64_t bytes);

/* Commits: from now on these frames may be in the job, whatever their records say. */
void undo_filling(struct core *c, const uint32_t *frame, uint32_t nr);
uint32_t undo_filled(uint32_t *frame); /* how many; @frame has room for FILL_PAGES */

/* Until the next commit what is done can't be taken back. */
void undo_never(void);

/* ---- slot.c: slots of the store, counted ---- */
uint64_t slot_get(struct core *c); /* one reference, or NO_SLOT */
void slot_share(struct core *c, uint64_t slot);
void slot_put(struct core *c, uint64_t slot);
bool slot_is_shared(const struct core *c, uint64_t slot);
bool slot_is_written(const struct core *c, uint64_t slot);	 /* no write pending */
bool slot_may_be_rewritten(const struct core *c, uint64_t slot); /* by whom it belongs to alone */
void slot_set_pending(struct core *c, uint64_t slot, bool pending);
bool slot_is_leaving(const struct core *c, uint64_t slot); /* its part drains */
unsigned int slot_part(const struct core *c, uint64_t slot);
void slots_close(struct core *c, uint64_t first, uint64_t end); /* what is free stays unused */
void slots_drop_free(struct core *c); /* tells a new store, which does not know, which are free */
bool slots_scarce(const struct core *c);

/* ---- loss.c ---- */

/* What the job finds there is a signal, or it is stopped. */
void page_lost(struct core *c, struct chunk *ch, unsigned int idx, enum core_loss why, int err);
bool slot_is_lost(const struct core *c, uint64_t slot); /* with its part */
void parts_look(struct core *c);			/* whether the store has lost one */

/* ---- join.c ---- */

/* Frees all slots that the store has and that were not known. Commits. */
void slots_join(struct core *c);

/* ---- frame.c: standby ---- */
static inline void *frame_bytes(const struct core *c, uint32_t f)
{
	return c->base + (uint64_t)f * PAGE_BYTES;
}

/* What the page has that the frame stands for. */
static inline const void *frame_page(const struct core *c, uint32_t f)
{
	if (c->frames[f].lent)
		return c->b.store->ops->page(c->b.store, c->frames[f].slot);
	return frame_bytes(c, f);
}

/* Bulk work leaves the reserve alone. Takes over the oldest clean frame when
 * none is free. NO_FRAME: wait for the store. */
void frames_init(struct core *c);
uint32_t frame_get(struct core *c, bool bulk);
uint32_t frames_for_bulk(const struct core *c);
void frame_put(struct core *c, uint32_t f);
void frame_dirty_push(struct core *c, uint32_t f);
void frame_clean_push(struct core *c, uint32_t f);
void frame_keep_lent(struct core *c, uint32_t f);  /* its bytes are its own from now on */
void frame_write_anew(struct core *c, uint32_t f); /* to another slot; in no list */
void frame_unlist(struct core *c, uint32_t f);	   /* from dirty, clean or ask list */
void frame_ask_push(struct core *c, uint32_t f, bool urgent);

/* The page it belonged to needs these bytes no longer. Frees it, or leaves it
 * to its I/O. */
void frame_abandon(struct core *c, uint32_t f);

/* ---- chunk.c: records ---- */
struct chunk *chunk_find(const struct core *c, const struct space *s, uint64_t va);
struct chunk *chunk_make(struct core *c, struct space *s, uint64_t va); /* NULL: no memory */
void chunk_free(struct core *c, struct chunk *ch);
void chunk_tidy(struct core *c, struct chunk *ch); /* frees what is empty */
static inline struct rec *chunk_rec(const struct core *c, const struct chunk *ch, unsigned idx)
{
	return ch->table.v ? (struct rec *)at(c, ch->table) + idx : NULL;
}
static inline struct space *chunk_space(const struct core *c, const struct chunk *ch)
{
	return at(c, ch->space);
}
static inline unsigned page_idx(uint64_t va)
{
	return (unsigned)(va >> PAGE_SHIFT) % CHUNK_PAGES;
}
static inline uint64_t chunk_va(uint64_t va)
{
	return va & ~(CHUNK_BYTES - 1);
}
enum rec_state rec_state_at(const struct core *c, const struct space *s, uint64_t va);
bool chunk_need_table(struct core *c, struct chunk *ch);
void rec_set(struct core *c, struct chunk *ch, unsigned idx, enum rec_state state);
void rec_drop(struct core *c, struct chunk *ch, unsigned idx); /* slot, frame, record */
void rec_give_slot_up(struct core *c, struct rec *r);
void chunk_queue(struct core *c, struct chunk *ch, bool oldest);
void chunk_unqueue(struct core *c, struct chunk *ch);
void chunk_unremove(struct core *c, struct chunk *ch, unsigned idx, unsigned nr);

/* ---- space.c ---- */
struct space *space_find(const struct core *c, space_id id);
struct space *space_make(struct core *c, space_id id); /* NULL: no memory */
struct space *space_first(const struct core *c);
struct space *space_next(const struct core *c, const struct space *s);
bool space_busy(const struct space *s);	  /* the agent is at work, or a half is in use */
bool space_moving(const struct space *s); /* the agent moves or places pages */
/* The agent is at it: nothing may be put into the chunk, not even beside what it
 * takes. */
bool chunk_moving(const struct core *c, const struct chunk *ch);
void space_release(struct core *c, struct space *s); /* frees a gone one when idle */

/* ---- range.c: registered ranges ---- */
bool ranges_add(struct core *c, struct space *s, uint64_t start, uint64_t end);
bool ranges_del(struct core *c, struct space *s, uint64_t start, uint64_t end);
bool ranges_overlap(const struct core *c, const struct space *s, uint64_t start, uint64_t end);
bool ranges_has(const struct core *c, const struct space *s, uint64_t va);
/* First range that ends above @va, or NULL. */
const struct core_range *ranges_above(const struct core *c, const struct space *s, uint64_t va);

/* ---- fault.c ---- */
void fault_wait(struct core *c, const struct waiting *w);
void faults_retry(struct core *c);
bool cap_allows(const struct core *c, const struct space *s, uint32_t tid, uint64_t pages);
void page_filled(struct core *c, struct space *s, struct chunk *ch, unsigned idx, unsigned nr,
		 enum policy_way way);

/* Put the frame's bytes into the page it belongs to. 0: they are there. -EEXIST: the
 * job has newer ones, and the record is gone. Else why not, and they stay here. The
 * chunk may be freed. */
int frame_install(struct core *c, uint32_t f);

/* The same of @nr frames for pages in a row, at most FILL_PAGES, as far as that is simple:
 * how many are done. What refuses is tried alone. */
unsigned int frames_install(struct core *c, const uint32_t *frame, unsigned int nr);

/* The page is in the job: its agent has put it there. */
void page_placed(struct core *c, struct space *s, struct chunk *ch, unsigned int idx);

/* Have a page read that is at the store; for @w, or ahead of any fault. False:
 * not now. */
bool fetch(struct core *c, struct chunk *ch, unsigned int idx, const struct waiting *w);

/* It was answered as @kind counts, a counter of the core's, @since_ns it was heard of. */
void fault_answered(struct core *c, struct space *s, uint64_t since_ns, uint64_t *kind);

/* Nothing was filled, or allowed, for @err: who waits is woken, or is tried again. */
void fault_not_filled(struct core *c, const struct waiting *w, int err);

/* ---- guarded.c: pages whose writes are told of ---- */

/*
 * What is filled as the store lends it is guarded: until the job writes to it, which is told,
 * it may leave again without being copied. To be told costs what to copy thirty pages does: so
 * not what is fetched for a write, nor where what was guarded has been written to; nor where
 * other pages, which are allowed with it, may be shared by a fork.
 */
bool is_to_be_guarded(const struct core *c, const struct chunk *ch, uint32_t f);

/* Somebody waits to write to a page that is there and guarded; @ch, @r: its, or NULL. */
void write_try(struct core *c, struct space *s, struct chunk *ch, const struct rec *r,
	       const struct waiting *w);

/* ---- place.c: put in place by the agent ---- */
bool chunk_placing(const struct core *c, const struct chunk *ch);
bool page_placing(const struct core *c, const struct chunk *ch, unsigned int idx);

/* Ask the agent to put @nr pages of a chunk in place, which these frames hold, less those
 * that are waited for. Returns how many are left for the caller to put there, which are the
 * first in @frame then. Commits. */
unsigned int frames_place(struct core *c, uint32_t *frame, unsigned int nr);

/* ---- ahead.c: what the policy expects ---- */
unsigned int ahead_zeros(struct core *c, struct space *s, const struct waiting *w);

/* Tell the policy of the fault, once, and carry out what it plans. Chunks may
 * be freed. */
void ahead_run(struct core *c, struct space *s, const struct waiting *w, enum policy_kind kind);

/* ---- io.c ---- */
void io_reap(struct core *c);
void io_submit_reads(struct core *c);
bool io_submit_writes(struct core *c); /* true: go on soon */

/* ---- drain.c: parts of the store that leave ---- */
bool drain_run(struct core *c); /* true: go on soon */

/* ---- evict.c ---- */
uint64_t evict_target_bytes(const struct core *c); /* how much should leave now */
bool evict_run(struct core *c);			   /* true: go on soon */
uint64_t cap_hard_bytes(const struct core *c);
struct policy_room policy_room(const struct core *c);

/* ---- move.c ---- */
bool space_can_move(struct core *c, struct space *s); /* asks for an agent, if it has none */

/* What should leave the chunk is found out in one run and handed over in the next ones, so
 * that nobody who faults has to wait for all of it. -EINPROGRESS; 0: nothing here can or
 * should go; -errno: not now. @all_of_it: whatever the policy says. */
int chunk_plan(struct core *c, struct space *s, struct chunk *ch, bool all_of_it);

/* Pages that are now on their way, of those that were planned; -errno: not now. -EBUSY:
 * messages come first, or the agent is putting pages there. -EINPROGRESS: some have been
 * handed over, and none of the space may be read of or changed by messages until the rest
 * is (core_may_read()). */
int chunk_move(struct core *c, struct space *s, struct chunk *ch);

/* The space is gone, and with it what was being handed over of it. */
void move_forget(struct core *c, struct space *s);

/* ---- take_in.c ---- */
/* Copies a few of the pages out that were moved. True: there were any. */
bool take_in_run(struct core *c);
/* All of them, before records of the space change by a message. Commits. */
void take_all_in(struct core *c, struct space *s);
/* This page, if it is in scratch; the chunk may be gone afterwards. */
bool take_page_in(struct core *c, struct space *s, const struct chunk *ch, unsigned int idx);
/* All that the half has was copied, or nothing was moved to it. */
void half_done(struct core *c, struct space *s, struct half *half, struct chunk *ch);

/* ---- unshare.c: pages shared by forked processes ---- */
bool unshare_pending(const struct space *s); /* nothing of it may be moved now */
void unshare_run(struct core *c);
/* Pages of the chunk refused to be moved (EBUSY). False: they are pinned, not
 * shared. */
bool unshare_refused(struct core *c, struct space *s, struct chunk *ch, const pageset *busy);

/* ---- takeover.c ---- */
bool doubts_settle(struct core *c); /* true: none is left */
/* A fork: which frames in doubt, a bit each, have their page in the child; its records of
 * these are dropped when it has got all. */
uint64_t doubts_forked(struct core *c, struct space *parent, struct space *child);
void doubts_not_inherited(struct core *c, struct space *child, uint64_t has);

/* ---- core.c ---- */
/* Finds the core's parts in the arena; 0, -EINVAL, -ENOMEM. */
int core_lay_out(void *arena, uint64_t arena_bytes, const struct core_config *cfg,
		 const struct core_binds *binds, struct core **out, uint64_t *end);
void core_lost(struct core *c, enum core_loss why, space_id sp, uint64_t va, int err);
bool core_pressed(const struct core *c); /* a fault waits to be heard of */

#endif
