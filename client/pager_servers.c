/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of a run change while its job goes on: one leaves, another comes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/pager.h"
#include "common/base/err.h"
#include "common/base/log.h"

/* For whoever wants to know which servers the run has. */
void pager_list_servers(const struct pager *p)
{
	const struct run_config *cfg = p->args->cfg;
	const struct servers_joined *joined = &p->kept->joined;
	unsigned int own = cfg->nr_servers ? cfg->nr_servers : 1, nr = own + joined->nr;
	struct run_header *h = p->args->header;
	uint64_t last = 0;

	for (unsigned int i = 0; i < nr; i++) {
		uint64_t end = p->store->nr_parts ? p->store->part_end[i] : p->store->nr_slots;
		const char *spec = i >= own	     ? joined->server[i - own].spec
				   : cfg->nr_servers ? cfg->server[i]
						     : "private";

		snprintf(h->server[i].spec, sizeof(h->server[i].spec), "%s", spec);
		h->server[i].bytes = (end - last) * PAGE_BYTES;
		last = end;
	}
	h->nr_servers = nr;
	h->remote_bytes = cfg->remote_bytes;
	for (unsigned int i = 0; i < joined->nr; i++)
		h->remote_bytes += joined->server[i].bytes;
}

/* Servers are to leave; as follow_cap(), nothing is believed that can't be so. */
static void follow_drain(struct pager *p)
{
	struct run_header *h = p->args->header;
	struct core *c = p->capture.core;
	uint32_t want = __atomic_load_n(&h->wanted_drain, __ATOMIC_ACQUIRE) &
			~__atomic_load_n(&h->refused_drain, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < p->store->nr_parts; i++) {
		if (!(want >> i & 1) || core_stats(c)->part[i] != PART_OPEN)
			continue;
		if (core_drain(c, i))
			__atomic_fetch_or(&h->refused_drain, 1U << i, __ATOMIC_RELEASE);
	}
}

/* What came may be another store, with another descriptor. */
static int watch_store(struct pager *p, int old_fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = TAG_STORE};
	int fd = p->store->ops->pollfd(p->store);

	if (fd == old_fd)
		return 0;
	if (old_fd >= 0)
		epoll_ctl(p->capture.epoll_fd, EPOLL_CTL_DEL, old_fd, NULL);
	return fd >= 0 && epoll_ctl(p->capture.epoll_fd, EPOLL_CTL_ADD, fd, &ev)
		       ? err_set(-errno, "epoll: %s", strerror(errno))
		       : 0;
}

static int join(struct pager *p, const char *spec, uint64_t bytes)
{
	uint64_t slots = p->store->nr_slots + bytes / PAGE_BYTES;
	int err, old_fd = p->store->ops->pollfd(p->store);

	if (!bytes || bytes % PAGE_BYTES || slots < bytes / PAGE_BYTES ||
	    slots > core_max_slots(p->capture.core))
		return err_set(-ENOSPC, "a run takes at most as much again as it was started with");
	core_keep_lent(p->capture.core);
	err = servers_join(p->args->cfg, spec, bytes, &p->kept->joined, p->nodes, &p->store);
	if (err)
		return err;
	err = watch_store(p, old_fd);
	if (!err)
		err = core_join(p->capture.core, p->store);
	if (err)
		pager_lose(p, err_text(err));
	pager_list_servers(p);
	log_warn("%s has come, and takes pages", spec);
	return err;
}

/* Said once of each. */
static void follow_loss(struct pager *p)
{
	const struct core_stats *st = core_stats(p->capture.core);
	const struct run_header *h = p->args->header;

	for (unsigned int i = 0; i < p->store->nr_parts; i++) {
		if (st->part[i] != PART_LOST || p->said_lost >> i & 1)
			continue;
		p->said_lost |= 1U << i;
		log_warn("%s is lost, and %lu pages with it: the job gets SIGBUS where it touches "
			 "one of them",
			 h->server[i].spec,
			 (unsigned long)(core_pages_lost(p->capture.core, i) +
					 st->records[REC_LOST]));
	}
}

/* As follow_cap(). */
static void follow_join(struct pager *p)
{
	struct run_join *j = &p->args->header->join;
	char spec[sizeof(j->spec)];
	int err;

	if (__atomic_load_n(&j->state, __ATOMIC_ACQUIRE) != RUN_JOIN_WANTED)
		return;
	memcpy(spec, j->spec, sizeof(spec));
	spec[sizeof(spec) - 1] = '\0';
	err = join(p, spec, j->bytes);
	snprintf(j->why, sizeof(j->why), "%s", err ? err_text(err) : "");
	__atomic_store_n(&j->state, err ? RUN_JOIN_REFUSED : RUN_JOIN_DONE, __ATOMIC_RELEASE);
}

void pager_follow_servers(struct pager *p)
{
	follow_drain(p);
	follow_join(p);
	follow_loss(p);
}
