/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/store/aside.h"
#include "common/base/err.h"

struct pool {
	struct store store;
	struct pool_part part[STORE_POOL_MAX];
	struct handover *handover;
	unsigned int nr;
	unsigned int turn; /* whose completions are looked at first */
	int poll_fd;	   /* epoll of what the parts poll on; -1: none does */
};

#define MAX_RUN 64U /* handed on at once */

static unsigned int part_of(const struct pool *p, uint64_t *slot)
{
	unsigned int i = 0;

	while (i < p->nr - 1 && *slot >= p->store.part_end[i])
		i++;
	*slot -= i ? p->store.part_end[i - 1] : 0;
	return i;
}

/* A store may change its mind about this with each request. */
static void note_quick(struct pool *p)
{
	p->store.quick = false;
	for (unsigned int i = 0; i < p->nr; i++)
		p->store.quick |= p->part[i].store && p->part[i].store->quick;
}

/* Requests for one part, together: a store that combines neighbours must see them. */
static unsigned int take_run(const struct pool *p, const struct store_req *req, unsigned int nr,
			     struct store_req *run, unsigned int *part)
{
	unsigned int n = 0;

	for (; n < nr && n < MAX_RUN; n++) {
		unsigned int of;

		run[n] = req[n];
		of = part_of(p, &run[n].slot);
		if (n && of != *part)
			break;
		*part = of;
	}
	return n;
}

static struct handed to_hand_over(const struct pool *p)
{
	struct handed now = {.used = true};

	/* The rest have no store; gcc's bounds warnings need an end that they know. */
	for (unsigned int i = 0; i < STORE_POOL_MAX; i++)
		now.live |= (uint32_t)(p->part[i].store != NULL) << i;
	handed_add_fd(&now, p->poll_fd);
	return now;
}

static void hand_over(struct pool *p)
{
	struct handed now = to_hand_over(p);

	handover_set(p->handover, &now);
}

/* It is asked nothing from now on. */
static struct store *take_out(struct pool *p, unsigned int i)
{
	struct store *part = p->part[i].store;
	int fd = part->ops->pollfd(part);

	if (fd >= 0)
		epoll_ctl(p->poll_fd, EPOLL_CTL_DEL, fd, NULL);
	p->part[i].store = NULL;
	note_quick(p);
	hand_over(p);
	handover_forget(p->part[i].handover, p->part[i].nodes);
	return part;
}

/* What it was asked for is not answered any more, and not written to. True: the others go on. */
static bool lose_part(struct pool *p, unsigned int i)
{
	struct store *part;

	if (!p->store.parts_may_go)
		return false;
	p->store.gone_parts |= 1U << i;
	part = take_out(p, i);
	part->ops->close(part);
	return true;
}

static int pool_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct pool *p = (struct pool *)s;
	unsigned int taken = 0;

	while (taken < nr) {
		struct store_req run[MAX_RUN];
		unsigned int i = 0, want = take_run(p, req + taken, nr - taken, run, &i);
		struct store *part = p->part[i].store;
		int n = part ? part->ops->submit(part, run, want) : 0;

		if (n < 0 && lose_part(p, i))
			n = 0;
		if (n < 0)
			return taken ? (int)taken : n; /* told by the next call */
		taken += (unsigned int)n;
		if ((unsigned int)n < want)
			break;
	}
	note_quick(p);
	return (int)taken;
}

/* Each is asked, also for nothing: a lost one shows by its answer alone. What the
 * others have done stays done: it is told first. */
static int pool_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct pool *p = (struct pool *)s;
	unsigned int got = 0;
	int lost = 0;

	for (unsigned int i = 0; i < p->nr && (got < max || !max); i++) {
		unsigned int k = (p->turn + i) % p->nr;
		struct store *part = p->part[k].store;
		int n = part ? part->ops->reap(part, max ? out + got : NULL, max - got) : 0;

		if (n < 0 && lose_part(p, k))
			continue;
		if (n < 0)
			lost = n;
		else
			got += (unsigned int)n;
	}
	p->turn++;
	note_quick(p);
	return got ? (int)got : lost;
}

static int pool_pollfd(struct store *s)
{
	return ((struct pool *)s)->poll_fd;
}

static void pool_drop(struct store *s, uint64_t slot)
{
	const struct pool *p = (const struct pool *)s;
	struct store *part = p->part[part_of(p, &slot)].store;

	if (part && part->ops->drop)
		part->ops->drop(part, slot);
}

static void pool_leave(struct store *s, unsigned int i)
{
	struct pool *p = (struct pool *)s;

	if (!p->part[i].store) /* the process before has begun this */
		return;
	store_close_aside(take_out(p, i));
}

static void pool_close(struct store *s)
{
	struct pool *p = (struct pool *)s;

	if (!p)
		return;
	for (unsigned int i = 0; i < p->nr; i++)
		if (p->part[i].store)
			p->part[i].store->ops->close(p->part[i].store);
	if (p->poll_fd >= 0)
		close(p->poll_fd);
	free(p);
}

static const struct store_ops pool_ops = {
	.scheme = "pool",
	.submit = pool_submit,
	.reap = pool_reap,
	.pollfd = pool_pollfd,
	.drop = pool_drop,
	.leave = pool_leave,
	.close = pool_close,
};

static int watch_part(struct pool *p, struct store *part)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP};
	int fd = part->ops->pollfd(part);

	if (fd < 0)
		return 0;
	if (p->poll_fd < 0)
		p->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->poll_fd < 0 || epoll_ctl(p->poll_fd, EPOLL_CTL_ADD, fd, &ev))
		return err_set(-errno, "several servers can't be waited for together");
	return 0;
}

static int add_part(struct pool *p, const struct pool_part *part)
{
	int err = part->store ? watch_part(p, part->store) : 0;

	p->part[p->nr++] = *part;
	p->store.nr_slots += part->store ? part->store->nr_slots : part->nr_slots;
	p->store.part_end[p->store.nr_parts++] = p->store.nr_slots;
	p->store.gone_parts |= (uint32_t)!part->store << (p->nr - 1);
	if (!part->store)
		return 0;
	if (part->store->copies > p->store.copies)
		p->store.copies = part->store->copies;
	return err;
}

int store_pool_add(struct store *s, const struct pool_part *part)
{
	struct pool *p = (struct pool *)s;
	int err;

	if (p->nr == STORE_POOL_MAX)
		return err_set(-ENOSPC, "a run has at most %u servers", STORE_POOL_MAX);
	err = add_part(p, part);
	if (err) { /* as if it had not been */
		p->nr--;
		p->store.nr_parts--;
		p->store.nr_slots -= part->store->nr_slots;
		return err;
	}
	note_quick(p);
	hand_over(p);
	return 0;
}

uint32_t store_pool_live(const struct handover *handover, unsigned int nr)
{
	const struct handed *old = handover_get(handover);

	return old ? old->live : (1U << nr) - 1;
}

int store_pool_open(const struct pool_part *part, unsigned int nr, struct handover *handover,
		    struct store **out)
{
	struct pool *p = calloc(1, sizeof(*p));
	struct handed now;
	int err = 0;

	if (!p)
		return err_set(-ENOMEM, "no memory for a pool of servers");
	p->store.ops = &pool_ops;
	p->poll_fd = -1;
	p->handover = handover;
	for (unsigned int i = 0; i < nr; i++)
		err = add_part(p, &part[i]) ?: err;
	note_quick(p);
	if (err) {
		p->nr = 0;
		pool_close(&p->store);
		return err;
	}
	now = to_hand_over(p);
	handover_replace(handover, &now);
	*out = &p->store;
	return 0;
}
