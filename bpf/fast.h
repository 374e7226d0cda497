/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fast fault path and the pager share: one area of memory, which the
 * kernel holds and the pager maps. A faulting thread posts in the box of its
 * CPU and waits there, a few microseconds and no longer, for the pager's
 * answer. Plain structs; the only writer of each part is said beside it.
 *
 * Nothing here decides about bytes. A request that is lost, late, twice there or
 * made up costs time: the kernel's own message about the fault, by userfaultfd,
 * comes whenever the page is still missing.
 */
#ifndef RMEM_BPF_FAST_H
#define RMEM_BPF_FAST_H

#include <linux/types.h>

#define FAST_BOXES	 256U	/* CPUs beyond have no fast path */
#define FAST_TGIDS	 4096U	/* processes: a slot each by pid, the last one wins */
#define FAST_CHUNKS	 32768U /* 2 MiB each: 64 GiB, then some are slow */
#define FAST_WAYS	 4U	/* places where a chunk may be: side by side, in one cache line */
#define FAST_CHUNK_SHIFT 21
#define FAST_WATCHED	 4U /* threads that faulted last */

/* The program runs with interrupts off: never longer than this. */
#define FAST_MAX_WAIT_NS 20000U
/* A pager that has not looked for this long is busy or stuck: nobody waits. */
#define FAST_STALE_NS 200000U

#define FAST_WRITE 0x80000000U /* the fault is a write */

struct fast_box {
	/* by the program */
	__u64 seq __attribute__((aligned(64))); /* of the last request; 0 none yet */
	__u64 va, ip, posted_ns;
	__u32 space, tid;	    /* FAST_WRITE is in @space */
	__u64 waits, hits, wait_ns; /* how often, how often in time, how long altogether */
	/* by the pager: the last request that was answered */
	__u64 done __attribute__((aligned(64)));
};

struct fast_tgid {
	__u32 tgid, space;
};

struct fast_watch {
	__u32 tid;    /* by the pager; 0: none */
	__u32 sleeps; /* by the programs: 1 from when it goes to sleep until it is woken */
};

struct fast_shared {
	/* by the pager */
	__u64 beat_ns;	     /* when it last looked; 0: nobody looks */
	__u32 cpu;	     /* where it looks from */
	__u32 wait_ns;	     /* how long a fault may wait; 0: don't post */
	__u32 levels;	     /* of page tables: 4 or 5 */
	__u64 direct_map;    /* 0: the self-test looks where it is, */
	__u64 direct_map_at; /* here */
	__u32 alarm; /* wake the pager with the first thread of these; the program clears it */
	struct fast_watch watch[FAST_WATCHED];
	struct fast_tgid tgid[FAST_TGIDS];
	/* fast_chunk_key() of chunks whose faults are ours */
	__u64 chunk[FAST_CHUNKS] __attribute__((aligned(64)));
	/* self-test: asked by the loader, answered by a run of its program */
	__u64 test_va, test_pte, test_word;
	struct fast_box box[FAST_BOXES];
};

static inline __u64 fast_chunk_key(__u32 space, __u64 va)
{
	return (__u64)space << 36 | va >> FAST_CHUNK_SHIFT;
}

/* The first of its places. */
static inline __u32 fast_chunk_slot(__u64 key)
{
	return (__u32)(key * 0x9e3779b97f4a7c15ULL >> 40) & (FAST_CHUNKS - FAST_WAYS);
}

#endif
