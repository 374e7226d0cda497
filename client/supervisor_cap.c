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
	struct elastic_view v = {.now_ms = now_ms, .cap = h->local_bytes};
	uint64_t all;

	if (!off || meminfo_read(&s->memgroup, &v.host))
		return h->local_bytes;
	memstalls_read(&s->memgroup, &v.stalls);
	all = st->local_bytes + st->remote_pages * PAGE_BYTES;
	v.used = st->local_bytes;
	v.least = elastic_least(h->least_local_bytes, all, h->remote_bytes);
	v.refaults = st->faults_remote + st->faults_joined;
	return elastic_cap(&s->elastic, &v);
}

void cap_tick(struct supervisor *s)
{
	struct run_header *h = s->header;
	uint64_t now = supervisor_now_ms(), cap, wanted;

	if (now - s->cap_ms < ELASTIC_TICK_MS)
		return;
	if (!s->cap_ms)
		memgroup_find(&s->memgroup, s->cfg->attach_pid);
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
