/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/store/mapped.h"
#include "client/store/open.h"
#include "common/base/err.h"
#include "common/base/units.h"

static const struct spec ram_spec = {.scheme = (char *)"ram", .rest = (char *)""};

static struct store *open_ram(uint64_t bytes)
{
	struct store_open_args args = {.bytes = bytes, .sock_fd = -1};
	struct store *s = NULL;

	assert_int_equal(store_ram_type.open(&ram_spec, &args, &s), 0);
	assert_int_equal(s->nr_slots, bytes / PAGE_BYTES);
	return s;
}

static char page[PAGE_BYTES] __attribute__((aligned(4096)));

static void do_one(struct store *s, enum store_op op, uint64_t slot, int expected)
{
	struct store_req req = {.slot = slot, .buf = page, .tag = (uint32_t)slot + 7, .op = op};
	struct store_done done;

	assert_int_equal(s->ops->submit(s, &req, 1), 1);
	assert_int_equal(s->ops->reap(s, &done, 1), 1);
	assert_int_equal(done.tag, (uint32_t)slot + 7);
	assert_int_equal(done.res, expected);
	assert_int_equal(s->ops->reap(s, &done, 1), 0);
}

static void what_is_written_is_read(void **state)
{
	struct store *s = open_ram(MIB(1));

	(void)state;
	for (uint64_t slot = 0; slot < 256; slot++) {
		memset(page, (int)slot + 1, sizeof(page));
		do_one(s, STORE_WRITE, slot, 0);
	}
	for (uint64_t slot = 0; slot < 256; slot++) {
		memset(page, 0, sizeof(page));
		do_one(s, STORE_READ, slot, 0);
		assert_int_equal((unsigned char)page[0], (slot + 1) & 0xff);
		assert_int_equal((unsigned char)page[PAGE_BYTES - 1], (slot + 1) & 0xff);
	}
	s->ops->close(s);
}

/* In rows, with gaps, again, and both kinds in one batch. */
static void new_slots_and_old_ones_in_any_order(void **state)
{
	enum { SLOTS = 512, BATCH = 40, ROUNDS = 400 };
	static unsigned char buf[BATCH][PAGE_BYTES];
	struct store *s = open_ram(SLOTS * PAGE_BYTES);
	unsigned char has[SLOTS] = {0};
	struct store_done done[BATCH];
	uint32_t x = 1;

	(void)state;
	for (unsigned int r = 1; r <= ROUNDS; r++) {
		struct store_req req[BATCH];
		bool asked[SLOTS] = {false};
		unsigned int nr = 0;

		for (uint64_t slot = r; nr < BATCH; nr++) {
			x = x * 1664525 + 1013904223;
			slot = (x >> 24 < 200 ? slot + 1 : x >> 8) % (SLOTS * r / ROUNDS + 50) %
			       SLOTS;
			if (asked[slot])
				break;
			asked[slot] = true;
			req[nr] = (struct store_req){
				.slot = slot, .buf = buf[nr], .tag = nr, .op = STORE_READ};
			if (x >> 16 & 3) {
				req[nr].op = STORE_WRITE;
				has[slot] = (unsigned char)(r + nr);
				memset(buf[nr], has[slot], PAGE_BYTES);
			}
		}
		assert_int_equal(s->ops->submit(s, req, nr), nr);
		assert_int_equal(s->ops->reap(s, done, BATCH), nr);
		for (unsigned int i = 0; i < nr; i++) {
			const unsigned char *seen = s->ops->page(s, req[i].slot);

			assert_int_equal(done[i].tag, i);
			assert_int_equal(done[i].res, 0);
			assert_int_equal(buf[i][99], has[req[i].slot]);
			assert_int_equal(seen[PAGE_BYTES - 1], has[req[i].slot]);
		}
	}
	s->ops->close(s);
}

/* Memory may come in pieces of 2 MiB, but for the last. */
static void more_than_a_huge_page(void **state)
{
	enum { SLOTS = 3 * 512 + 100, BATCH = 64 };
	static uint64_t buf[BATCH][PAGE_BYTES / sizeof(uint64_t)];
	struct store *s = open_ram(SLOTS * PAGE_BYTES);
	struct store_done done[BATCH];

	(void)state;
	for (unsigned int i = 0; i < 2 * SLOTS; i += BATCH) {
		struct store_req req[BATCH];
		unsigned int nr = 0;

		for (; nr < BATCH && i + nr < 2 * SLOTS; nr++) {
			uint64_t slot = (i + nr) * 7 % SLOTS; /* each twice: written, then read */
			bool written = i + nr >= SLOTS;

			buf[nr][PAGE_BYTES / sizeof(uint64_t) - 1] = written ? 0 : ~slot;
			buf[nr][0] = written ? 0 : slot;
			req[nr] = (struct store_req){.slot = slot,
						     .buf = buf[nr],
						     .tag = nr,
						     .op = written ? STORE_READ : STORE_WRITE};
		}
		assert_int_equal(s->ops->submit(s, req, nr), nr);
		assert_int_equal(s->ops->reap(s, done, BATCH), nr);
		for (unsigned int n = 0; n < nr; n++) {
			assert_int_equal(done[n].res, 0);
			assert_int_equal(buf[n][0], req[n].slot);
			assert_int_equal(buf[n][PAGE_BYTES / sizeof(uint64_t) - 1], ~req[n].slot);
		}
	}
	s->ops->close(s);
}

static void a_slot_beyond_the_end_is_refused(void **state)
{
	struct store *s = open_ram(PAGE_BYTES);

	(void)state;
	do_one(s, STORE_READ, 1, -ERANGE);
	do_one(s, STORE_WRITE, UINT64_MAX, -ERANGE);
	s->ops->close(s);
}

static void every_request_taken_completes_once_also_when_the_store_is_full(void **state)
{
	enum { NR = 3000 };
	struct store_req req[NR];
	struct store_done done[64];
	unsigned char seen[NR] = {0};
	struct store *s = open_ram(MIB(16));
	unsigned int taken = 0, completed = 0;

	(void)state;
	for (unsigned int i = 0; i < NR; i++)
		req[i] = (struct store_req){.slot = i, .buf = page, .tag = i, .op = STORE_WRITE};
	while (completed < NR) {
		int n = s->ops->submit(s, req + taken, NR - taken);

		assert_in_range(n, 0, MAPPED_MAX_DONE);
		taken += (unsigned int)n;
		n = s->ops->reap(s, done, 64);
		assert_in_range(n, 1, 64);
		for (int i = 0; i < n; i++) {
			assert_int_equal(done[i].res, 0);
			assert_int_equal(seen[done[i].tag]++, 0);
		}
		completed += (unsigned int)n;
	}
	assert_int_equal(taken, NR);
	s->ops->close(s);
}

static void memory_comes_as_it_is_written(void **state)
{
	struct store *s = open_ram(GIB(512));

	(void)state;
	memset(page, 9, sizeof(page));
	do_one(s, STORE_WRITE, s->nr_slots - 1, 0);
	s->ops->close(s);
}

/* As a pager leaves it that is killed: nobody closes it. */
static void another_process_goes_on_with_it(void **state)
{
	static struct store *dead;
	struct handover handover = {0};
	struct store_open_args args = {.bytes = MIB(1), .sock_fd = -1, .handover = &handover};
	struct store *s;

	(void)state;
	assert_int_equal(store_ram_type.open(&ram_spec, &args, &dead), 0);
	memset(page, 7, sizeof(page));
	do_one(dead, STORE_WRITE, 255, 0);
	assert_non_null(handover_get(&handover));
	assert_int_equal(store_ram_type.open(&ram_spec, &args, &s), 0);
	memset(page, 0, sizeof(page));
	do_one(s, STORE_READ, 255, 0);
	assert_int_equal(page[PAGE_BYTES - 1], 7);
	s->ops->close(s);
}

static void completions_are_there_at_once(void **state)
{
	struct store *s = open_ram(PAGE_BYTES);

	(void)state;
	assert_int_equal(s->ops->pollfd(s), -1);
	s->ops->close(NULL);
	s->ops->close(s);
}

static void a_wrong_spec_or_size_is_refused(void **state)
{
	struct spec with_rest = {.scheme = (char *)"ram", .rest = (char *)"x"};
	struct store_open_args args = {.bytes = PAGE_BYTES, .sock_fd = -1};
	struct store *s;

	(void)state;
	assert_int_equal(store_ram_type.open(&with_rest, &args, &s), -EINVAL);
	args.bytes = 100;
	assert_int_equal(store_ram_type.open(&ram_spec, &args, &s), -EINVAL);
	args.bytes = 1ULL << 60;
	err_clear();
	assert_int_equal(store_ram_type.open(&ram_spec, &args, &s), -ENOMEM);
	assert_non_null(strstr(err_text(-ENOMEM), "lower --remote"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(another_process_goes_on_with_it),
		cmocka_unit_test(new_slots_and_old_ones_in_any_order),
		cmocka_unit_test(more_than_a_huge_page),
		cmocka_unit_test(a_slot_beyond_the_end_is_refused),
		cmocka_unit_test(every_request_taken_completes_once_also_when_the_store_is_full),
		cmocka_unit_test(memory_comes_as_it_is_written),
		cmocka_unit_test(completions_are_there_at_once),
		cmocka_unit_test(a_wrong_spec_or_size_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
