/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store: anything that keeps pages. The core hands a store batches of
 * requests for slots (4 KiB each, numbered from 0 to nr_slots-1) and reaps
 * completions. Leaves (ram, shm, tcp, file) and filters (fault) implement the same
 * table, one file each; adding one touches no other file but the list in
 * client/session.c.
 *
 * Rules every store keeps:
 *  - submit() either takes a request or does not; what it takes completes
 *    exactly once, in any order, with 0 or -errno.
 *  - A buffer is the store's from submit() to its completion.
 *  - A write that completed with 0 is what every later read of the slot gives.
 *    While a write of a slot is in flight no other request for it is (the core
 *    sees to that), so a store need not order anything.
 *  - The store does not check sums; the core does.
 *  - A store never blocks for longer than it takes to hand a request on.
 */
#ifndef RMEM_CORE_STORE_H
#define RMEM_CORE_STORE_H

#include "client/core/types.h"

enum store_op { STORE_READ, STORE_WRITE };

struct store_req {
	uint64_t slot;
	void *buf;     /* PAGE_BYTES, page aligned; borrowed until completion */
	uint32_t tag;  /* comes back in the completion */
	uint8_t op;    /* enum store_op */
	uint8_t avoid; /* a read: copies (store_done.from) that gave a wrong page, a bit each */
	bool urgent;   /* a thread of the job waits for it: never behind bulk */
};

struct store_done {
	uint32_t tag;
	int res;      /* 0 or -errno */
	uint8_t from; /* a read of a store with copies: which one it was */
};

#define STORE_PARTS 16U

struct store;

struct store_ops {
	const char *scheme;

	/* Take up to @nr requests in order; returns how many were taken (0 when
	 * the store is full for now), or -errno when it is lost for good. */
	int (*submit)(struct store *s, const struct store_req *req, unsigned int nr);

	/* Up to @max completions; returns how many, or -errno when the store is
	 * lost, also with @max 0 and nothing in flight. */
	int (*reap)(struct store *s, struct store_done *out, unsigned int max);

	/* A descriptor that polls readable when reap() may have something, or -1
	 * when completions are always there as soon as submit() returned. */
	int (*pollfd)(struct store *s);

	/* The page that the slot holds, in memory to which nobody writes but this store when it
	 * is told to: the core reads it there, and asks for no STORE_READ. Good until the slot
	 * is written to, or the store is closed. NULL: what is read has to be copied. */
	const void *(*page)(struct store *s, uint64_t slot);

	/* What the slot holds is needed no more. A hint: if this process dies now, the next may
	 * need it all the same. NULL: the store does not care. */
	void (*drop)(struct store *s, uint64_t slot);

	/* Nothing is asked of the slots of @part from now on, and nothing of them is in
	 * flight: it may be closed. Said again by a core that was taken over. NULL: the store
	 * has no parts. */
	void (*leave)(struct store *s, unsigned int part);

	/* Frees the store and all it leased. Accepts NULL and half-built. */
	void (*close)(struct store *s);
};

/* Embedded first in every store. */
struct store {
	const struct store_ops *ops;
	uint64_t nr_slots;
	unsigned int nr_parts;		/* that can leave one by one (core_drain()); 0: none can */
	uint64_t part_end[STORE_PARTS]; /* of each, the slot after its last */
	bool parts_may_go; /* a part that is lost is not the end of the others; set by its owner */
	uint32_t gone_parts; /* lost, or left by a process before this one; a bit each. Nothing of
			      * them is in flight, or is taken any more, or will be told */
	unsigned int copies; /* of each page, of which a read may give a wrong one; 0: one */
	bool quick;	/* what is in flight is done within microseconds: while there is any, reap()
		     * is called again and again, and pollfd() need not tell of it */
	bool scattered; /* neighbours are written no faster than others: a page that was changed
			 * goes where it was, where memory has been touched already */
};

#endif
