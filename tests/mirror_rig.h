/* SPDX-License-Identifier: Apache-2.0 */
/* A mirror over stores that answer when the test says so, and what its unit tests ask of it. */
#ifndef RMEM_TESTS_MIRROR_RIG_H
#define RMEM_TESTS_MIRROR_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/store/mirror.h"
#include "tests/kid_store.h"

#define SLOTS KID_SLOTS

static inline int probe_kid(const struct spec *spec, unsigned int timeout_ms)
{
	(void)timeout_ms;
	return __atomic_load_n(&kid[atoi(spec->rest)].away, __ATOMIC_ACQUIRE) ? -ECONNREFUSED : 0;
}

static struct store *m;
static struct handover left[1 + KIDS]; /* to the next process */

static inline int try_open(const char *text)
{
	struct store_open_args args = {.bytes = SLOTS * PAGE_BYTES,
				       .sock_fd = -1,
				       .handover = left,
				       .open_kid = kid_open,
				       .probe_kid = probe_kid};
	struct spec *spec;
	int err = spec_parse(text, &spec);

	if (!err)
		err = store_mirror_type.open(spec, &args, &m);
	spec_free(spec);
	return err;
}

static inline int begin(void **state)
{
	(void)state;
	memset(kid, 0, sizeof(kid));
	for (unsigned int k = 0; k < KIDS; k++)
		kid[k].may_answer = KID_ANSWERS;
	m = NULL;
	memset(left, 0, sizeof(left));
	return try_open("mirror(kid:0,kid:1)");
}

static inline int end(void **state)
{
	(void)state;
	m->ops->close(m);
	assert_false(kid[0].open || kid[1].open || kid[2].open);
	return 0;
}

/* ---- requests ---- */

static uint64_t page[SLOTS][PAGE_BYTES / 8] __attribute__((aligned(4096)));
static bool done[SLOTS];
static int res[SLOTS];
static uint8_t from[SLOTS];

static inline void submit(enum store_op op, unsigned int slot, uint64_t word, unsigned int avoid)
{
	struct store_req req = {.slot = slot,
				.buf = page[slot],
				.tag = slot,
				.op = (uint8_t)op,
				.avoid = (uint8_t)avoid};

	page[slot][0] = word;
	done[slot] = false;
	assert_int_equal(m->ops->submit(m, &req, 1), 1);
}

/* The mirror's result when it has nothing more to tell. */
static inline int reap(void)
{
	struct store_done d[16];
	int n;

	while ((n = m->ops->reap(m, d, 16)) > 0)
		for (int i = 0; i < n; i++) {
			assert_false(done[d[i].tag]);
			done[d[i].tag] = true;
			res[d[i].tag] = d[i].res;
			from[d[i].tag] = d[i].from;
		}
	return n;
}

static inline uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Ticks pass. */
static inline void reap_until(const bool *what, unsigned int ms)
{
	uint64_t until = now_ms() + ms;

	while (!*what && now_ms() < until) {
		reap();
		usleep(200);
	}
	assert_true(*what);
}

static inline void write_one(unsigned int slot, uint64_t word)
{
	submit(STORE_WRITE, slot, word, 0);
	reap_until(&done[slot], 5000);
	assert_int_equal(res[slot], 0);
}

static inline void read_one(unsigned int slot, uint64_t word)
{
	submit(STORE_READ, slot, ~0ULL, 0);
	reap_until(&done[slot], 5000);
	assert_int_equal(res[slot], 0);
	assert_int_equal(page[slot][0], word);
}

/* Each slot has its number and @base. */
static inline void write_all(unsigned int base)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		write_one(i, i + base);
}

static inline void read_all(unsigned int base)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		read_one(i, i + base);
}

/* So has it in that copy. */
static inline void holds_all(unsigned int c, unsigned int base)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		assert_int_equal(kid[c].word[i], i + base);
}

static inline void lose(unsigned int k, bool away)
{
	__atomic_store_n(&kid[k].away, away, __ATOMIC_RELEASE);
	kid[k].lost = true;
}

/* Until the copy has been opened again and is read from. */
static inline void wait_until_whole(unsigned int k)
{
	uint64_t until = now_ms() + 10000;
	unsigned int reads;

	__atomic_store_n(&kid[k].away, false, __ATOMIC_RELEASE);
	while (!kid[k].open && now_ms() < until) {
		reap();
		usleep(200);
	}
	assert_true(kid[k].open);
	reads = kid[k].reads;
	while (kid[k].reads == reads && now_ms() < until) {
		submit(STORE_READ, 0, 0, 1U << !k);
		reap_until(&done[0], 5000);
	}
	assert_true(kid[k].reads > reads);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

#endif
