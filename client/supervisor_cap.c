/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_cap: --local auto. Looks at the host now and then, and wants the cap
 * where rmem ctl would want it; the pager follows. */
#include "client/core/core.h"
#include "client/elastic.h"
#include "client/supervisor.h"

bool cap_is_auto(const struct supervisor *s)
{
	return __atomic_load_n(&s->header->cap, __ATOMIC_ACQUIRE) == RUN_CAP_AUTO;
}

static uint64_t wish(struct supervisor *s, uint64_t now_ms)
{
	const struct run_header *h = s->header;
	uint64_t off = __atomic_load_n(&h->stats_off, __ATOMIC_ACQUIRE);
	const struct core_stats *st = (const struct core_stats *)((const char *)h + off);
	struct meminfo host;
	uint64_t all;

	if (!off || meminfo_read(&host))
		return h->local_bytes;
	all = st->local_bytes + st->remote_pages * PAGE_BYTES;
	return elastic_cap(&s->elastic, now_ms, &host, h->local_bytes, st->local_bytes,
			   elastic_least(h->least_local_bytes, all, h->remote_bytes));
}

void cap_tick(struct supervisor *s)
{
	struct run_header *h = s->header;
	uint64_t now = supervisor_now_ms(), cap, wanted;

	if (now - s->cap_ms < ELASTIC_TICK_MS)
		return;
	s->cap_ms = now;
	wanted = __atomic_load_n(&h->wanted_local_bytes, __ATOMIC_ACQUIRE);
	if (!cap_is_auto(s))
		return;
	cap = wish(s, now);
	/* Not over what rmem ctl wants since. */
	if (cap != h->local_bytes)
		__atomic_compare_exchange_n(&h->wanted_local_bytes, &wanted, cap, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}
