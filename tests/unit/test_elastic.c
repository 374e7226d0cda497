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
	struct memstalls stalls;
	struct run {
		struct elastic e;
		uint64_t cap, used, wants, refaults;
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

		r->cap = elastic_cap(&r->e, &(struct elastic_view){.now_ms = w.now_ms,
								   .host = h,
								   .stalls = w.stalls,
								   .cap = r->cap,
								   .used = r->used,
								   .least = LEAST,
								   .refaults = r->refaults});
		r->refaults += r->wants > r->used ? 1000 : 0;
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

static void who_comes_late_gets_a_share(void **state)
{
	(void)state;
	begin(1, GIB(4));
	w.run[1] = (struct run){.cap = MIB(600), .wants = GIB(64)};
	w.nr = 2;
	seconds(10);
	assert_true(w.run[1].used > MIB(100));
	seconds(900);
	assert_true(w.run[1].used > w.run[0].used / 2);
	assert_true(host().available_bytes > elastic_margin(w.total) * 8 / 10);
}

static void who_waits_for_no_page_takes_none_from_others(void **state)
{
	uint64_t had;

	(void)state;
	begin(1, GIB(4));
	had = w.run[0].used;
	w.run[1] = (struct run){.cap = MIB(400), .used = MIB(400), .wants = MIB(400)};
	w.nr = 2;
	w.run[0].wants = w.run[0].used = had - GIB(1);
	seconds(100);
	assert_true(w.run[1].cap <= MIB(600) && w.run[1].used == MIB(400));
}

/* MemAvailable counts what can't be had at once, or at all. */
static void shortage_is_believed_more_than_what_is_available(void **state)
{
	uint64_t had;

	(void)state;
	begin(1, GIB(4));
	had = w.run[0].used - GIB(4); /* plenty for others */
	w.run[0].wants = w.run[0].used = had;
	seconds(10);
	assert_int_equal(w.run[0].used, had);
	w.stalls.waited_us += 1000000; /* of others, who have a limit of their own */
	tick();
	seconds(2);
	assert_int_equal(w.run[0].used, had);
	for (int i = 0; i < 20; i++) {
		w.stalls.reclaims++;
		tick();
	}
	assert_true(w.run[0].used < had - MIB(200));
	had = w.run[0].used;
	seconds(10);
	assert_true(w.run[0].used > had);
}

static void the_margin_of_a_small_group_is_small(void **state)
{
	(void)state;
	assert_int_equal(elastic_margin(MIB(512)), MIB(64));
	assert_int_equal(elastic_margin(GIB(4)), MIB(256));
	assert_int_equal(elastic_margin(GIB(20)), GIB(1));
	assert_int_equal(elastic_margin(GIB(1024)), GIB(4));
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
		cmocka_unit_test(who_comes_late_gets_a_share),
		cmocka_unit_test(who_waits_for_no_page_takes_none_from_others),
		cmocka_unit_test(shortage_is_believed_more_than_what_is_available),
		cmocka_unit_test(the_margin_of_a_small_group_is_small),
		cmocka_unit_test(unused_room_is_no_reason_to_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
