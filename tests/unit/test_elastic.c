/* SPDX-License-Identifier: Apache-2.0 */
/* --local auto against scripted hosts: others get what they want, and the job gets
 * it back; two of them don't swing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client/elastic.h"
#include "common/base/units.h"

#define LEAST MIB(64)
#define RUNS  2

/* A host, jobs that would use all they are given, and others. */
static struct {
	uint64_t now_ms, total, others;
	struct run {
		struct elastic e;
		uint64_t cap, used, wants;
	} run[RUNS];
	unsigned int nr;
} w;

static struct meminfo host(void)
{
	uint64_t used = w.others;

	for (unsigned int i = 0; i < w.nr; i++)
		used += w.run[i].used;
	return (struct meminfo){.total_bytes = w.total,
				.available_bytes = used < w.total ? w.total - used : 0};
}

/* What leaves goes at 1 GiB/s, what comes in at half of that. */
static void tick(void)
{
	struct meminfo h = host();

	w.now_ms += ELASTIC_TICK_MS;
	for (unsigned int i = 0; i < w.nr; i++) {
		struct run *r = &w.run[i];
		uint64_t most = r->cap < r->wants ? r->cap : r->wants;

		r->cap = elastic_cap(&r->e, w.now_ms, &h, r->cap, r->used, LEAST);
		if (r->used > r->cap)
			r->used -= r->used - r->cap < MIB(100) ? r->used - r->cap : MIB(100);
		else if (r->used < most)
			r->used += most - r->used < MIB(50) ? most - r->used : MIB(50);
	}
}

static void seconds(unsigned int s)
{
	for (unsigned int i = 0; i < s * 10; i++)
		tick();
}

static void begin(unsigned int nr, uint64_t cap)
{
	w.total = GIB(16);
	w.others = GIB(1);
	w.now_ms = 100000;
	w.nr = nr;
	for (unsigned int i = 0; i < nr; i++)
		w.run[i] = (struct run){.cap = cap, .wants = GIB(64)};
	seconds(60);
}

static void takes_what_can_be_spared(void **state)
{
	(void)state;
	begin(1, GIB(4));
	assert_in_range(host().available_bytes, elastic_margin(w.total),
			2 * elastic_margin(w.total));
	assert_true(w.run[0].used > GIB(13));
}

static void gives_back_and_grows_again(void **state)
{
	(void)state;
	begin(1, GIB(4));
	for (int i = 0; i < 40; i++) { /* another program: 4 GiB in 4 s */
		w.others += MIB(100);
		tick();
		assert_true(host().available_bytes > 0);
	}
	seconds(5);
	assert_true(host().available_bytes > elastic_margin(w.total) * 9 / 10);
	w.others -= GIB(4);
	seconds(30);
	assert_true(w.run[0].used > GIB(13));
}

static void not_below_the_least(void **state)
{
	(void)state;
	begin(1, GIB(4));
	w.others = GIB(16);
	seconds(60);
	assert_int_equal(w.run[0].cap, LEAST);
}

static void what_the_servers_have_no_room_for_stays(void **state)
{
	(void)state;
	assert_int_equal(elastic_least(LEAST, GIB(4), GIB(16)), LEAST);
	assert_int_equal(elastic_least(LEAST, GIB(17), GIB(16)), GIB(2));
	assert_int_equal(elastic_least(LEAST, GIB(17), 0), GIB(17));
}

static void two_share_and_do_not_swing(void **state)
{
	uint64_t low = UINT64_MAX, high = 0;

	(void)state;
	begin(2, GIB(4));
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t sum = w.run[0].used + w.run[1].used;

		tick();
		low = sum < low ? sum : low;
		high = sum > high ? sum : high;
	}
	assert_true(high - low < GIB(1));
	assert_true(host().available_bytes > elastic_margin(w.total) / 2);
}

static void unused_room_is_no_reason_to_grow(void **state)
{
	(void)state;
	w.nr = 0;
	begin(1, GIB(4));
	w.run[0] = (struct run){.cap = GIB(4), .wants = GIB(1)};
	seconds(60);
	assert_int_equal(w.run[0].cap, GIB(4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_can_be_spared),
		cmocka_unit_test(gives_back_and_grows_again),
		cmocka_unit_test(not_below_the_least),
		cmocka_unit_test(what_the_servers_have_no_room_for_stays),
		cmocka_unit_test(two_share_and_do_not_swing),
		cmocka_unit_test(unused_room_is_no_reason_to_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
