/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a list of keys each of them is: in one step, and one for each doubling of how often it
 * is there. A list of recorded faults names the same pages again and again.
 */
#ifndef RMEM_POLICY_PLACES_H
#define RMEM_POLICY_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#define PLACES_NONE UINT32_MAX

struct places_key {
	uint64_t key;
	uint32_t first, nr; /* of index; nr 0: no key */
};

struct places {
	uint32_t *index;	  /* of the list, those of a key together and in order */
	struct places_key *table; /* hashed, with gaps: at most half of it is used */
	uint32_t mask;		  /* its size, a power of two, less one */
};

/* Of @key[@nr], which is not needed any more afterwards. The caller has set index, with room for
 * @nr, and table, zeroed, with its mask, and owns them. False: the table is too small. */
bool places_make(struct places *p, const uint64_t *key, uint32_t nr);

/* The first place of @key at or after @from; else the first one of all; PLACES_NONE: it has
 * none. */
uint32_t places_find(const struct places *p, uint64_t key, uint32_t from);

#endif
