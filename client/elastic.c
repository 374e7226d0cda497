/* SPDX-License-Identifier: Apache-2.0 */
#include "client/elastic.h"

#include "client/core/types.h"
#include "common/base/units.h"

#define CALM_MS	    2000U  /* nobody wanted memory for so long */
#define GROW_MS	    1000U  /* between two steps up */
#define BUSY	    100U   /* refaults between two steps: more memory would be of use */
#define STALL_US    10000U /* a tenth of a tick in which somebody waited for memory */
#define AHEAD_TICKS 3U	   /* until what is given back is there */
#define INSIST	    3U	   /* ticks after which our share counts twice as much */

uint64_t elastic_margin(uint64_t total_bytes)
{
	uint64_t margin = total_bytes / 20, least = MIB(256);

	if (least > total_bytes / 8)
		least = total_bytes / 8;
	if (margin < least)
		return least;
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

/* Did memory run short since the last tick, whatever is said to be available? Where
 * much is, who waited met some limit of his own. */
static bool ran_short(struct elastic *e, const struct elastic_view *v)
{
	struct memstalls last = e->stalls;

	e->stalls = v->stalls;
	if (!e->ticks++)
		return false;
	return v->stalls.reclaims > last.reclaims ||
	       (v->stalls.waited_us - last.waited_us > STALL_US &&
		v->host.available_bytes < v->host.total_bytes / 4);
}

/* Of @want, our share of what is in use; the more the longer it is wanted, since it may
 * be that nobody else can give. */
static uint64_t share(const struct elastic *e, const struct elastic_view *v, uint64_t here,
		      uint64_t want)
{
	uint64_t available = min64(v->host.available_bytes, v->host.total_bytes);
	uint64_t in_use = (v->host.total_bytes - available) >> min64(e->insisted / INSIST, 63);

	if (here >= in_use)
		return want;
	return (uint64_t)((double)want * (double)here / (double)in_use);
}

/* Half of what is wanted, since it takes a while until it is seen. What is under way
 * already counts before more is asked for. */
static uint64_t shrink(struct elastic *e, const struct elastic_view *v, uint64_t want)
{
	uint64_t here = min64(v->cap, v->used), less;

	if (v->used > v->cap + v->cap / 16)
		return v->cap;
	less = share(e, v, here, want / 2);
	e->insisted++;
	here = here > less ? here - less : 0;
	return min64(v->cap, here > v->least ? here : v->least);
}

/* What is available when what is decided now has had its effect, if others go on taking
 * as much as since the last tick. */
static uint64_t available_soon(struct elastic *e, const struct elastic_view *v)
{
	uint64_t left = v->host.available_bytes + v->used, taken = 0;

	if (e->ticks > 1 && left < e->left)
		taken = min64(AHEAD_TICKS * (e->left - left), v->host.available_bytes);
	e->left = left;
	return v->host.available_bytes - taken;
}

static uint64_t grow(struct elastic *e, const struct elastic_view *v, uint64_t margin)
{
	uint64_t more = v->host.available_bytes - margin, refaults = v->refaults - e->refaults;

	if (v->now_ms - e->wanted_ms < CALM_MS || v->now_ms - e->grown_ms < GROW_MS)
		return v->cap;
	e->grown_ms = v->now_ms;
	e->refaults = v->refaults;
	if (v->used < v->cap - v->cap / 8)
		return v->cap;
	if (more > margin / 2)
		return v->cap + (more - margin / 2) / 4 + margin / 16;
	return refaults > BUSY ? v->cap + margin / 16 : v->cap;
}

uint64_t elastic_cap(struct elastic *e, const struct elastic_view *v)
{
	uint64_t margin = elastic_margin(v->host.total_bytes);
	bool shortage = ran_short(e, v);
	uint64_t available = available_soon(e, v);
	uint64_t want = available < margin ? margin - available : 0;

	if (shortage && want < margin / 4)
		want = margin / 4;
	if (want) {
		e->wanted_ms = v->now_ms;
		return shrink(e, v, want) & PAGE_MASK;
	}
	e->insisted = 0;
	return grow(e, v, margin) & PAGE_MASK;
}
