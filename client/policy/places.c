/* SPDX-License-Identifier: Apache-2.0 */
#include "client/policy/places.h"

/* Its entry, or the gap where it would be. */
static struct places_key *entry(const struct places *p, uint64_t key)
{
	uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15ULL >> 32) & p->mask;

	while (p->table[i].nr && p->table[i].key != key)
		i = (i + 1) & p->mask;
	return &p->table[i];
}

bool places_make(struct places *p, const uint64_t *key, uint32_t nr)
{
	uint32_t used = 0, sum = 0;

	for (uint32_t i = 0; i < nr; i++) {
		struct places_key *k = entry(p, key[i]);

		if (!k->nr++ && ++used > p->mask / 2)
			return false;
		k->key = key[i];
	}
	for (uint32_t i = 0; i <= p->mask; i++)
		p->table[i].first = sum += p->table[i].nr;
	/* That is where the places of a key end: each is put before the others. */
	for (uint32_t i = nr; i--;)
		p->index[--entry(p, key[i])->first] = i;
	return true;
}

uint32_t places_find(const struct places *p, uint64_t key, uint32_t from)
{
	const struct places_key *k = entry(p, key);
	const uint32_t *at = p->index + k->first;
	uint32_t low = 0, high = k->nr;

	if (!k->nr)
		return PLACES_NONE;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (at[mid] < from)
			low = mid + 1;
		else
			high = mid;
	}
	return at[low < k->nr ? low : 0];
}
