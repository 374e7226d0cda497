/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease: who may have how much. A bank has the capacity; a tenant reserves
 * all it will ever want at once, so that no two are promised the same, then
 * draws slabs against that, and gives all back when it ends. Knows no socket.
 */
#ifndef RMEMD_LEASE_H
#define RMEMD_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/slab.h"

struct bank {
	uint64_t capacity_bytes;
	uint64_t reserved_bytes; /* <= capacity_bytes */
	uint64_t leased_bytes;	 /* <= reserved_bytes */
	uint64_t next_slab;	 /* begins with the server's epoch */
	int node;
};

struct tenant {
	struct bank *bank;
	uint64_t reserved_bytes;
	uint64_t leased_bytes;
	struct slab *slab; /* by rising number */
	size_t nr_slabs;
	bool maps; /* slabs are mapped here as they are drawn */
	int node;  /* where they are to be, as the bank says at first */
};

/*
 * @epoch: of this life of the server, drawn by lot. The numbers of its slabs begin with it, and
 * each READ and WRITE carries such a number: what was leased in another life, or by another
 * server that had this address, is not found here.
 */
void bank_init(struct bank *b, uint64_t capacity_bytes, int node, uint32_t epoch);
uint64_t bank_free_bytes(const struct bank *b);

/* Reserves @bytes (may be 0). 0, -ENOSPC or -ENOMEM with err text. */
int tenant_open(struct tenant *t, struct bank *b, uint64_t bytes)
	__attribute__((warn_unused_result));

/* How many slabs it may still draw. */
uint64_t tenant_slabs_left(const struct tenant *t);

/* Draws the next slab; borrowed until the next call. -errno with err text. */
int tenant_draw(struct tenant *t, const struct slab **out, uint64_t *slab_id)
	__attribute__((warn_unused_result));

/* Its slab of that number, or NULL: nobody else's is found. */
const struct slab *tenant_find(const struct tenant *t, uint64_t slab_id);

/* Gives everything back. Accepts one that was never opened. */
void tenant_close(struct tenant *t);

#endif
