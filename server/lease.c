/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lease.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/units.h"

void bank_init(struct bank *b, uint64_t capacity_bytes, int node, uint32_t epoch)
{
	*b = (struct bank){.capacity_bytes = capacity_bytes,
			   .next_slab = (uint64_t)epoch << 32 | 1,
			   .node = node};
}

uint64_t bank_free_bytes(const struct bank *b)
{
	return b->capacity_bytes - b->reserved_bytes;
}

static uint64_t slabs_in(uint64_t bytes)
{
	return bytes / SLAB_BYTES + (bytes % SLAB_BYTES != 0);
}

int tenant_open(struct tenant *t, struct bank *b, uint64_t bytes)
{
	char wanted[32], left[32];

	memset(t, 0, sizeof(*t));
	if (bytes > bank_free_bytes(b))
		return err_set(-ENOSPC, "%s free, %s wanted",
			       units_format_size(left, sizeof(left), bank_free_bytes(b)),
			       units_format_size(wanted, sizeof(wanted), bytes));
	if (bytes) {
		t->slab = calloc(slabs_in(bytes), sizeof(*t->slab));
		if (!t->slab)
			return err_set(-ENOMEM, "the server is out of memory");
	}
	t->bank = b;
	t->node = b->node;
	t->reserved_bytes = bytes;
	b->reserved_bytes += bytes;
	return 0;
}

uint64_t tenant_slabs_left(const struct tenant *t)
{
	return slabs_in(t->reserved_bytes - t->leased_bytes);
}

int tenant_draw(struct tenant *t, const struct slab **out, uint64_t *slab_id)
{
	uint64_t bytes = t->reserved_bytes - t->leased_bytes;
	struct slab *slab;
	int rc;

	assert(bytes > 0);
	slab = &t->slab[t->nr_slabs];
	rc = slab_open(bytes < SLAB_BYTES ? bytes : SLAB_BYTES, t->node, slab);
	if (!rc && t->maps)
		rc = slab_map(slab);
	if (rc) {
		slab_close(slab);
		return rc;
	}
	t->nr_slabs++;
	t->leased_bytes += slab->bytes;
	t->bank->leased_bytes += slab->bytes;
	slab->id = t->bank->next_slab++;
	*slab_id = slab->id;
	*out = slab;
	return 0;
}

const struct slab *tenant_find(const struct tenant *t, uint64_t slab_id)
{
	size_t low = 0, high = t->nr_slabs;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->slab[mid].id == slab_id)
			return &t->slab[mid];
		if (t->slab[mid].id < slab_id)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

void tenant_close(struct tenant *t)
{
	if (!t->bank)
		return;
	for (size_t i = 0; i < t->nr_slabs; i++)
		slab_close(&t->slab[i]);
	free(t->slab);
	t->bank->reserved_bytes -= t->reserved_bytes;
	t->bank->leased_bytes -= t->leased_bytes;
	memset(t, 0, sizeof(*t));
}
