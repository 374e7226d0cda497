/* SPDX-License-Identifier: Apache-2.0 */
#include "client/elastic.h"

#include "client/core/types.h"
#include "common/base/units.h"

#define CALM_MS 2000U /* nobody wanted memory for so long */
#define GROW_MS 1000U /* between two steps up */

uint64_t elastic_margin(uint64_t total_bytes)
{
	uint64_t margin = total_bytes / 20;

	if (margin < MIB(256))
		return MIB(256);
	return margin < GIB(4) ? margin : GIB(4);
}

uint64_t elastic_least(uint64_t least, uint64_t all_bytes, uint64_t remote_cap_bytes)
{
	uint64_t fits = remote_cap_bytes - remote_cap_bytes / 16;
	uint64_t rest = all_bytes > fits ? all_bytes - fits : 0;

	return rest > least ? rest : least;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Half of what is wanted, since others who share the host see the same want. What
 * is under way already counts before more is asked for. */
static uint64_t shrink(uint64_t want, uint64_t cap, uint64_t used, uint64_t least)
{
	uint64_t here = min64(cap, used), less = want / 2;

	if (used > cap + cap / 16)
		return cap;
	here = here > less ? here - less : 0;
	return min64(cap, here > least ? here : least);
}

uint64_t elastic_cap(struct elastic *e, uint64_t now_ms, const struct meminfo *host, uint64_t cap,
		     uint64_t used, uint64_t least)
{
	uint64_t margin = elastic_margin(host->total_bytes), spare;

	if (host->available_bytes < margin) {
		e->wanted_ms = now_ms;
		return shrink(margin - host->available_bytes, cap, used, least) & PAGE_MASK;
	}
	if (host->available_bytes < margin + margin / 2 || now_ms - e->wanted_ms < CALM_MS ||
	    now_ms - e->grown_ms < GROW_MS || used < cap - cap / 8)
		return cap;
	e->grown_ms = now_ms;
	spare = host->available_bytes - margin - margin / 2;
	return (cap + min64(spare / 2, cap / 2)) & PAGE_MASK;
}
