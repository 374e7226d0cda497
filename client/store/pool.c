/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/base/err.h"

struct pool {
	struct store store;
	struct store *part[STORE_POOL_MAX]; /* NULL: has left */
	unsigned int nr;
	unsigned int turn; /* whose completions are looked at first */
	int poll_fd;	   /* epoll of what the parts poll on; -1: none does */
};

#define MAX_RUN 64U /* handed on at once */

static struct store *part_of(const struct pool *p, uint64_t *slot)
{
	unsigned int i = 0;

	while (i < p->nr - 1 && *slot >= p->store.part_end[i])
		i++;
	*slot -= i ? p->store.part_end[i - 1] : 0;
	return p->part[i];
}

/* A store may change its mind about this with each request. */
static void note_quick(struct pool *p)
{
	p->store.quick = false;
	for (unsigned int i = 0; i < p->nr; i++)
		p->store.quick |= p->part[i] && p->part[i]->quick;
}

/* Requests for one part, together: a store that combines neighbours must see them. */
static unsigned int take_run(const struct pool *p, const struct store_req *req, unsigned int nr,
			     struct store_req *run, struct store **part)
{
	unsigned int n = 0;

	for (; n < nr && n < MAX_RUN; n++) {
		struct store *of;

		run[n] = req[n];
		of = part_of(p, &run[n].slot);
		if (n && of != *part)
			break;
		*part = of;
	}
	return n;
}

static int pool_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct pool *p = (struct pool *)s;
	unsigned int taken = 0;

	while (taken < nr) {
		struct store_req run[MAX_RUN];
		struct store *part = NULL;
		unsigned int want = take_run(p, req + taken, nr - taken, run, &part);
		int n = part->ops->submit(part, run, want);

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
		struct store *part = p->part[(p->turn + i) % p->nr];
		int n = part ? part->ops->reap(part, max ? out + got : NULL, max - got) : 0;

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
	struct store *part = part_of(p, &slot);

	if (part->ops->drop)
		part->ops->drop(part, slot);
}

static void *close_part(void *arg)
{
	struct store *part = arg;

	part->ops->close(part);
	return NULL;
}

/* Saying good-bye may take its time, and a thread of the job may wait meanwhile. */
static void pool_leave(struct store *s, unsigned int i)
{
	struct pool *p = (struct pool *)s;
	struct store *part = p->part[i];
	int fd = part->ops->pollfd(part);
	pthread_t thread;

	if (fd >= 0)
		epoll_ctl(p->poll_fd, EPOLL_CTL_DEL, fd, NULL);
	p->part[i] = NULL;
	note_quick(p);
	if (pthread_create(&thread, NULL, close_part, part))
		close_part(part);
	else
		pthread_detach(thread);
}

static void pool_close(struct store *s)
{
	struct pool *p = (struct pool *)s;

	if (!p)
		return;
	for (unsigned int i = 0; i < p->nr; i++)
		if (p->part[i])
			p->part[i]->ops->close(p->part[i]);
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

int store_pool_open(struct store *const *part, unsigned int nr, struct store **out)
{
	struct pool *p = calloc(1, sizeof(*p));
	int err = 0;

	if (!p) {
		for (unsigned int i = 0; i < nr; i++)
			part[i]->ops->close(part[i]);
		return err_set(-ENOMEM, "no memory for a pool of servers");
	}
	p->store.ops = &pool_ops;
	p->poll_fd = -1;
	for (unsigned int i = 0; i < nr; i++) {
		p->part[p->nr++] = part[i];
		p->store.nr_slots += part[i]->nr_slots;
		p->store.part_end[p->store.nr_parts++] = p->store.nr_slots;
		if (part[i]->copies > p->store.copies)
			p->store.copies = part[i]->copies;
		if (!err)
			err = watch_part(p, part[i]);
	}
	note_quick(p);
	if (err) {
		pool_close(&p->store);
		return err;
	}
	*out = &p->store;
	return 0;
}
