/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/store/pool.h"

/* A part whose requests wait until the test lets them complete. */
struct slow {
	struct store store;
	int fd;
	unsigned int room, calls;
	struct store_req held[64];
	unsigned int nr_held, nr_ready;
	bool lost, closed;
};

static int slow_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct slow *p = (struct slow *)s;
	unsigned int n = 0;

	p->calls++;
	if (p->lost)
		return -EPIPE;
	for (; n < nr && p->nr_held < p->room; n++)
		p->held[p->nr_held++] = req[n];
	return (int)n;
}

static int slow_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct slow *p = (struct slow *)s;
	unsigned int n = 0;

	while (n < max && p->nr_ready) {
		out[n++] = (struct store_done){.tag = p->held[--p->nr_held].tag};
		p->nr_ready--;
	}
	return n ? (int)n : p->lost ? -EPIPE : 0;
}

static int slow_pollfd(struct store *s)
{
	return ((struct slow *)s)->fd;
}

static void slow_close(struct store *s)
{
	close(((struct slow *)s)->fd);
	__atomic_store_n(&((struct slow *)s)->closed, true, __ATOMIC_RELEASE);
}

static const struct store_ops slow_ops = {.scheme = "slow",
					  .submit = slow_submit,
					  .reap = slow_reap,
					  .pollfd = slow_pollfd,
					  .close = slow_close};

static struct slow part[3];
static struct store *pool;

static int open_pool(void **state)
{
	struct pool_part parts[3] = {0};

	(void)state;
	for (int i = 0; i < 3; i++) {
		part[i] = (struct slow){.store = {.ops = &slow_ops, .nr_slots = 10},
					.fd = eventfd(0, EFD_CLOEXEC),
					.room = 64};
		parts[i].store = &part[i].store;
	}
	return store_pool_open(parts, 3, NULL, &pool);
}

static int close_pool(void **state)
{
	(void)state;
	pool->ops->close(pool);
	return 0;
}

static void signal_part(int i)
{
	const uint64_t one = 1;

	assert_int_equal(write(part[i].fd, &one, sizeof(one)), sizeof(one));
}

static void neighbours_stay_together_and_each_part_counts_from_zero(void **state)
{
	struct store_req req[30];

	(void)state;
	for (uint32_t i = 0; i < 30; i++)
		req[i] = (struct store_req){.slot = i, .tag = i};
	assert_int_equal(pool->ops->submit(pool, req, 30), 30);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(part[i].calls, 1);
		assert_int_equal(part[i].nr_held, 10);
		for (uint32_t k = 0; k < 10; k++) {
			assert_int_equal(part[i].held[k].slot, k);
			assert_int_equal(part[i].held[k].tag, i * 10 + k);
		}
	}
}

static void a_full_part_takes_what_it_can_and_the_rest_waits(void **state)
{
	struct store_req req[20];

	(void)state;
	part[0].room = 4;
	for (uint32_t i = 0; i < 20; i++)
		req[i] = (struct store_req){.slot = i, .tag = i};
	assert_int_equal(pool->ops->submit(pool, req, 20), 4);
	assert_int_equal(part[1].nr_held, 0);
}

static void completions_of_every_part_wake_whoever_polls(void **state)
{
	struct pollfd p = {.fd = pool->ops->pollfd(pool), .events = POLLIN};
	struct store_req req = {.slot = 25, .tag = 9};
	struct store_done done;

	(void)state;
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(pool->ops->submit(pool, &req, 1), 1);
	part[2].nr_ready = 1;
	signal_part(2);
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(pool->ops->reap(pool, &done, 1), 1);
	assert_int_equal(done.tag, 9);
}

static void a_lost_part_is_told_also_to_who_asks_for_nothing(void **state)
{
	struct store_req req = {.slot = 1, .tag = 5};
	struct store_done done[4];

	(void)state;
	assert_int_equal(pool->ops->reap(pool, NULL, 0), 0);
	assert_int_equal(pool->ops->submit(pool, &req, 1), 1);
	part[2].lost = true;
	assert_int_equal(pool->ops->reap(pool, NULL, 0), -EPIPE);
	part[0].nr_ready = 1; /* what was done stays done */
	assert_int_equal(pool->ops->reap(pool, done, 4), 1);
	assert_int_equal(done[0].tag, 5);
	assert_int_equal(pool->ops->reap(pool, done, 4), -EPIPE);
}

static void a_slot_beyond_the_end_is_the_last_part_s_to_refuse(void **state)
{
	struct store_req req = {.slot = 31};

	(void)state;
	assert_int_equal(pool->ops->submit(pool, &req, 1), 1);
	assert_int_equal(part[2].held[0].slot, 11);
}

/* It is closed before long, and what becomes of it is nobody's business then. */
static void a_part_that_left_is_closed_and_asked_nothing(void **state)
{
	struct pollfd p = {.fd = pool->ops->pollfd(pool), .events = POLLIN};
	struct store_req req = {.slot = 25, .tag = 9};
	struct store_done done;

	(void)state;
	assert_int_equal(pool->nr_parts, 3);
	assert_int_equal(pool->part_end[0], 10);
	assert_int_equal(pool->part_end[2], 30);
	part[1].lost = true;
	signal_part(1);
	assert_int_equal(pool->ops->reap(pool, NULL, 0), -EPIPE);
	pool->ops->leave(pool, 1);
	for (int i = 0; i < 1000 && !__atomic_load_n(&part[1].closed, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	assert_true(part[1].closed);
	assert_int_equal(pool->ops->reap(pool, NULL, 0), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(pool->ops->submit(pool, &req, 1), 1);
	assert_int_equal(part[2].held[0].slot, 5);
	part[2].nr_ready = 1;
	assert_int_equal(pool->ops->reap(pool, &done, 1), 1);
}

static void a_part_that_comes_is_behind_the_others(void **state)
{
	static struct slow more;
	struct store_req req[2] = {{.slot = 29, .tag = 1}, {.slot = 33, .tag = 2}};
	struct pollfd p = {.fd = pool->ops->pollfd(pool), .events = POLLIN};
	const uint64_t one = 1;

	(void)state;
	more = (struct slow){.store = {.ops = &slow_ops, .nr_slots = 10},
			     .fd = eventfd(0, EFD_CLOEXEC),
			     .room = 64};
	assert_int_equal(store_pool_add(pool, &(struct pool_part){.store = &more.store}), 0);
	assert_int_equal(pool->nr_slots, 40);
	assert_int_equal(pool->nr_parts, 4);
	assert_int_equal(pool->part_end[3], 40);
	assert_int_equal(pool->ops->submit(pool, req, 2), 2);
	assert_int_equal(part[2].held[0].slot, 9);
	assert_int_equal(more.held[0].slot, 3);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(write(more.fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(poll(&p, 1, 0), 1);
}

static void more_than_there_is_room_for_do_not_come(void **state)
{
	static struct slow more[STORE_POOL_MAX];

	(void)state;
	for (unsigned int i = 0; i < STORE_POOL_MAX; i++) {
		bool fits = i + 3 < STORE_POOL_MAX;

		more[i] = (struct slow){.store = {.ops = &slow_ops, .nr_slots = 10},
					.fd = fits ? eventfd(0, EFD_CLOEXEC) : -1};
		assert_int_equal(store_pool_add(pool, &(struct pool_part){.store = &more[i].store}),
				 fits ? 0 : -ENOSPC);
	}
	assert_int_equal(pool->nr_slots, 10 * STORE_POOL_MAX);
}

static void a_lost_part_is_not_the_end_where_it_may_go(void **state)
{
	struct store_req req[2] = {{.slot = 5, .tag = 1}, {.slot = 15, .tag = 2}};
	struct store_done done[2];

	(void)state;
	pool->parts_may_go = true;
	assert_int_equal(pool->ops->submit(pool, req, 2), 2);
	part[0].lost = true;
	part[1].nr_ready = 1;
	assert_int_equal(pool->ops->reap(pool, done, 2), 1);
	assert_int_equal(done[0].tag, 2);
	assert_int_equal(pool->gone_parts, 1);
	assert_true(part[0].closed);
	assert_int_equal(pool->ops->submit(pool, req, 2), 0); /* of it, nothing is taken */
	assert_int_equal(pool->ops->submit(pool, &req[1], 1), 1);
	part[1].lost = true;
	assert_int_equal(pool->ops->submit(pool, &req[1], 1), 0);
	assert_int_equal(pool->gone_parts, 3);
	assert_int_equal(pool->ops->reap(pool, done, 2), 0);
}

/* The pool of a process that was killed: one part had left. */
static void what_has_left_stays_so_for_the_next_process(void **state)
{
	static struct handover node;
	struct pool_part parts[3] = {{.store = &part[0].store}, {0}, {.store = &part[2].store}};
	static struct store *dead; /* as it was when its process was killed */
	struct store *next;

	(void)state;
	assert_int_equal(store_pool_live(&node, 3), 7);
	for (int i = 0; i < 3; i++)
		parts[i].store = &part[i].store;
	assert_int_equal(store_pool_open(parts, 3, &node, &dead), 0);
	dead->ops->leave(dead, 1);
	while (!__atomic_load_n(&part[1].closed, __ATOMIC_ACQUIRE))
		usleep(1000);
	assert_int_equal(store_pool_live(&node, 3), 5);
	parts[1] = (struct pool_part){.nr_slots = 10};
	assert_int_equal(store_pool_open(parts, 3, &node, &next), 0);
	assert_int_equal(next->nr_slots, 30);
	next->ops->leave(next, 1); /* as a core does that was not sure */
	assert_int_equal(next->ops->reap(next, NULL, 0), 0);
	part[1].fd = eventfd(0, EFD_CLOEXEC);
	close(next->ops->pollfd(next));
	free(next); /* and not its parts, which are closed with the pool of all tests */
}

#define T(name) cmocka_unit_test_setup_teardown(name, open_pool, close_pool)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(neighbours_stay_together_and_each_part_counts_from_zero),
		T(a_full_part_takes_what_it_can_and_the_rest_waits),
		T(completions_of_every_part_wake_whoever_polls),
		T(a_lost_part_is_told_also_to_who_asks_for_nothing),
		T(a_slot_beyond_the_end_is_the_last_part_s_to_refuse),
		T(a_part_that_left_is_closed_and_asked_nothing),
		T(a_part_that_comes_is_behind_the_others),
		T(more_than_there_is_room_for_do_not_come),
		T(a_lost_part_is_not_the_end_where_it_may_go),
		T(what_has_left_stays_so_for_the_next_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
