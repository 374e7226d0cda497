/* SPDX-License-Identifier: Apache-2.0 */
/* fault(): each fault does what it says and nothing else, by seed, over ram. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/store/open.h"
#include "common/base/err.h"

#define SLOTS 512U

static int open_kid(const struct spec *spec, const struct store_open_args *args, struct store **out)
{
	if (strcmp(spec->scheme, "ram"))
		return err_set(-EINVAL, "not here");
	return store_ram_type.open(spec, args, out);
}

static int try_open(const char *text, struct store **out)
{
	struct store_open_args args = {
		.bytes = SLOTS * PAGE_BYTES, .sock_fd = -1, .open_kid = open_kid};
	struct spec *spec;
	int err = spec_parse(text, &spec);

	if (err)
		return err;
	err = store_fault_type.open(spec, &args, out);
	spec_free(spec);
	return err;
}

static struct store *open_fault(const char *text)
{
	struct store *s = NULL;

	assert_int_equal(try_open(text, &s), 0);
	assert_int_equal(s->nr_slots, SLOTS);
	return s;
}

static uint8_t page[SLOTS][PAGE_BYTES] __attribute__((aligned(4096)));

/* What the slot holds after its @version-th write: all pages and bytes differ. */
static void fill(unsigned int slot, unsigned int version)
{
	uint64_t x = slot * 1000003ULL + version + 1;

	for (unsigned int i = 0; i < PAGE_BYTES / 8; i++)
		((uint64_t *)page[slot])[i] = x * (i + 1) * 0x9e3779b97f4a7c15ULL;
}

static unsigned int bits_off(unsigned int slot, unsigned int version)
{
	static uint8_t was[PAGE_BYTES];
	unsigned int bits = 0;

	memcpy(was, page[slot], PAGE_BYTES);
	fill(slot, version);
	for (unsigned int i = 0; i < PAGE_BYTES; i++)
		bits += (unsigned int)__builtin_popcount(was[i] ^ page[slot][i]);
	return bits;
}

/* All slots, one by one. How many were answered with 0. */
static unsigned int do_all(struct store *s, enum store_op op, unsigned int version)
{
	unsigned int good = 0;

	for (unsigned int i = 0; i < SLOTS; i++) {
		struct store_req req = {.slot = i, .buf = page[i], .tag = i + 7, .op = (uint8_t)op};
		struct store_done done;

		if (op == STORE_WRITE)
			fill(i, version);
		else
			memset(page[i], 0xee, PAGE_BYTES);
		assert_int_equal(s->ops->submit(s, &req, 1), 1);
		assert_int_equal(s->ops->reap(s, &done, 1), 1);
		assert_int_equal(done.tag, i + 7);
		assert_true(done.res == 0 || done.res == -EIO);
		good += !done.res;
		if (op == STORE_WRITE)
			assert_int_equal(bits_off(i, version), 0); /* the buffer is not its */
	}
	assert_int_equal(s->ops->reap(s, &(struct store_done){0}, 1), 0);
	return good;
}

static void without_faults_it_is_the_store_behind(void **state)
{
	struct store *s = open_fault("fault(ram)");

	(void)state;
	assert_int_equal(s->ops->pollfd(s), -1);
	assert_false(s->quick);
	do_all(s, STORE_WRITE, 0);
	assert_int_equal(do_all(s, STORE_READ, 0), SLOTS);
	for (unsigned int i = 0; i < SLOTS; i++)
		assert_int_equal(bits_off(i, 0), 0);
	s->ops->close(s);
}

/* How many pages are wrong after two versions were written, by @least to @most bits. */
static unsigned int wrong_pages(const char *text, unsigned int least, unsigned int most)
{
	struct store *s = open_fault(text);
	unsigned int wrong = 0;

	do_all(s, STORE_WRITE, 0);
	do_all(s, STORE_WRITE, 1);
	assert_int_equal(do_all(s, STORE_READ, 1), SLOTS);
	for (unsigned int i = 0; i < SLOTS; i++) {
		unsigned int bits = bits_off(i, 1);

		wrong += bits > 0;
		if (bits)
			assert_in_range(bits, least, most);
	}
	s->ops->close(s);
	return wrong;
}

static void pages_go_wrong_as_often_as_they_should(void **state)
{
	static const struct {
		const char *text;
		unsigned int least, most;
	} kind[] = {
		{"fault(flip=0.25,ram)", 1, 1},
		{"fault(rot=25%,ram)", 1, 1},
		{"fault(zero=0.25,ram)", 8 * PAGE_BYTES / 3, 8 * PAGE_BYTES},
		{"fault(swap=0.25,ram)", 8 * PAGE_BYTES / 3, 8 * PAGE_BYTES},
		{"fault(torn=0.25,ram)", 8 * PAGE_BYTES / 6, 8 * PAGE_BYTES / 3},
		{"fault(lost=0.25,ram)", 8 * PAGE_BYTES / 4, 8 * PAGE_BYTES},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(kind) / sizeof(*kind); i++)
		assert_in_range(wrong_pages(kind[i].text, kind[i].least, kind[i].most), SLOTS / 8,
				SLOTS * 3 / 8);
}

static void stale_pages_are_older_versions(void **state)
{
	struct store *s = open_fault("fault(stale=1,ram)");
	struct store_req req = {.slot = 4, .buf = page[4]};
	struct store_done done;

	(void)state;
	for (unsigned int version = 0; version < 2; version++) {
		fill(4, version);
		req.op = STORE_WRITE;
		assert_int_equal(s->ops->submit(s, &req, 1), 1);
		assert_int_equal(s->ops->reap(s, &done, 1), 1);
	}
	req.op = STORE_READ;
	assert_int_equal(s->ops->submit(s, &req, 1), 1);
	assert_int_equal(s->ops->reap(s, &done, 1), 1);
	assert_int_equal(bits_off(4, 0), 0);
	s->ops->close(s);
}

static void a_seed_gives_the_same_again(void **state)
{
	static const char *const text[] = {"fault(fail=0.1,seed=5,ram)",
					   "fault(fail=0.1,seed=5,ram)",
					   "fault(fail=0.1,seed=6,ram)"};
	unsigned int failed[3][SLOTS];

	(void)state;
	for (unsigned int k = 0; k < 3; k++) {
		struct store *s = open_fault(text[k]);
		unsigned int nr = 0;

		for (unsigned int i = 0; i < SLOTS; i++) {
			struct store_req req = {.slot = i, .buf = page[i], .op = STORE_WRITE};
			struct store_done done;

			assert_int_equal(s->ops->submit(s, &req, 1), 1);
			assert_int_equal(s->ops->reap(s, &done, 1), 1);
			failed[k][i] = done.res != 0;
			nr += done.res != 0;
		}
		assert_in_range(nr, SLOTS / 20, SLOTS / 5);
		s->ops->close(s);
	}
	assert_memory_equal(failed[0], failed[1], sizeof(failed[0]));
	assert_memory_not_equal(failed[0], failed[2], sizeof(failed[0]));
}

static void stuck_requests_are_never_answered(void **state)
{
	struct store *s = open_fault("fault(stuck=1,ram)");
	struct store_req req[SLOTS];
	struct store_done done;
	unsigned int taken = 0;
	int n;

	(void)state;
	for (unsigned int i = 0; i < SLOTS; i++)
		req[i] = (struct store_req){.slot = i, .buf = page[i]};
	while ((n = s->ops->submit(s, req, SLOTS)) > 0)
		taken += (unsigned int)n;
	assert_int_equal(n, 0); /* full, not lost */
	assert_true(taken >= SLOTS);
	assert_int_equal(s->ops->reap(s, &done, 1), 0);
	s->ops->close(s);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void delayed_requests_come_late_and_wake_who_sleeps(void **state)
{
	struct store *s = open_fault("fault(delay=20ms,jitter=5ms,ram)");
	struct store_req req[64];
	struct store_done done[64];
	unsigned int got = 0, seen = 0;
	uint64_t start = now_ns();

	(void)state;
	assert_false(s->quick);
	for (unsigned int i = 0; i < 64; i++) {
		fill(i, 0);
		req[i] = (struct store_req){.slot = i, .buf = page[i], .tag = i, .op = STORE_WRITE};
	}
	assert_int_equal(s->ops->submit(s, req, 64), 64);
	assert_int_equal(s->ops->reap(s, done, 64), 0);
	while (got < 64) {
		struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};
		int n;

		assert_int_equal(poll(&p, 1, 5000), 1);
		n = s->ops->reap(s, done + got, 64 - got);
		assert_true(n >= 0);
		got += (unsigned int)n;
		if (got < 64)
			continue;
		for (unsigned int i = 0; i < 64; i++)
			seen += done[i].tag;
	}
	assert_int_equal(seen, 63 * 64 / 2);
	assert_true(now_ns() - start >= 20000000);
	s->ops->close(s);
}

static void a_little_late_is_looked_for(void **state)
{
	struct store *s = open_fault("fault(delay=50us,ram)");
	struct store_req req = {.slot = 1, .buf = page[1], .op = STORE_WRITE};
	struct store_done done;
	uint64_t start = now_ns();
	int n;

	(void)state;
	assert_true(s->quick);
	assert_int_equal(s->ops->submit(s, &req, 1), 1);
	while (!(n = s->ops->reap(s, &done, 1)) && now_ns() - start < 5000000000ULL)
		;
	assert_int_equal(n, 1);
	assert_true(now_ns() - start >= 50000);
	s->ops->close(s);
}

static void what_is_wrong_is_said(void **state)
{
	static const char *const wrong[][2] = {
		{"fault(ram,ram)", "stands before one other"},
		{"fault(delay=10us)", "stands before one other"},
		{"fault", "stands before one other"},
		{"fault(speed=9,ram)", "no such key: speed"},
		{"fault(flip=2,ram)", "flip=2: '2' is not a chance"},
		{"fault(delay=10,ram)", "delay=10: '10' is not a time"},
		{"fault(seed=x,ram)", "seed=x: 'x' is not a positive number"},
		{"fault(tcp:a)", "not here"},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct store *s = NULL;
		int err = try_open(wrong[i][0], &s);

		assert_true(err < 0);
		assert_null(s);
		if (!strstr(err_text(err), wrong[i][1]))
			fail_msg("%s: %s", wrong[i][0], err_text(err));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_faults_it_is_the_store_behind),
		cmocka_unit_test(pages_go_wrong_as_often_as_they_should),
		cmocka_unit_test(stale_pages_are_older_versions),
		cmocka_unit_test(a_seed_gives_the_same_again),
		cmocka_unit_test(stuck_requests_are_never_answered),
		cmocka_unit_test(delayed_requests_come_late_and_wake_who_sleeps),
		cmocka_unit_test(a_little_late_is_looked_for),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
