/* SPDX-License-Identifier: Apache-2.0 */
/* mirror(SPEC,SPEC[,SPEC]): see mirror.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/store/clock.h"
#include "client/store/mirror.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"

#define RESYNC_DEFAULT MIB(256)
#define SPARE_MS       1000U
#define RESUME_MS      1000U /* a copy whose server says nothing then is lost */
#define BOUNCE_BYTES   ((uint64_t)MIRROR_FLIGHTS * MIRROR_COPIES * PAGE_BYTES)

static struct mirror *to_mirror(struct store *s)
{
	return (struct mirror *)s;
}

/* ---- time ---- */

/* While anything is asked, joins or is looked for, a tick comes by itself. It goes on until
 * one finds nothing to do: to set it costs more than it does. */
static void set_timer(struct mirror *m, bool may_end)
{
	bool on = m->nr_active || mirror_live(m) < m->wanted || (m->ticking && !may_end);
	struct itimerspec t = {{0, on ? MIRROR_TICK_NS : 0}, {0, on ? MIRROR_TICK_NS : 0}};

	if (on == m->ticking)
		return;
	m->ticking = on;
	timerfd_settime(m->timer_fd, 0, &t, NULL);
}

static void drain(const struct mirror *m)
{
	uint64_t count;

	if (read(m->timer_fd, &count, sizeof(count)) < 0 ||
	    read(m->event_fd, &count, sizeof(count)) < 0)
		return; /* it says nothing new */
}

static int whole_loss(const struct mirror *m)
{
	return mirror_live(m) ? 0 : err_set(-EPIPE, "all copies of the mirror are lost");
}

/* A store may change its mind about this with each request. */
static void note_quick(struct mirror *m)
{
	m->store.quick = false;
	for (unsigned int c = 0; c < m->nr; c++)
		m->store.quick |= m->copy[c].store && m->copy[c].store->quick;
}

static int run(struct mirror *m)
{
	flights_run(m);
	if (mirror_live(m) < m->wanted) {
		probe_look(m);
		heal_run(m);
		flights_run(m);
	}
	set_timer(m, false);
	note_quick(m);
	return whole_loss(m);
}

/* ---- store ---- */

static uint32_t unread(const struct mirror *m)
{
	return m->out_head - m->out_tail;
}

static bool can_take(const struct mirror *m, const struct store_req *req)
{
	return m->free_head != UINT32_MAX &&
	       m->nr_active + unread(m) < MIRROR_FLIGHTS - MIRROR_RESYNCS &&
	       !(req->op == STORE_WRITE && heal_holds(m, req->slot));
}

static int mirror_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct mirror *m = to_mirror(s);
	unsigned int n = 0;
	int err = whole_loss(m);

	if (err)
		return err;
	m->batches++;
	for (; n < nr && can_take(m, &req[n]); n++) {
		if (req[n].slot >= m->store.nr_slots) {
			m->out[m->out_head++ % MIRROR_FLIGHTS] =
				(struct store_done){.tag = req[n].tag, .res = -ERANGE};
			continue;
		}
		flight_begin(m, &req[n]);
	}
	err = run(m);
	return err && !unread(m) && !n ? err : (int)n;
}

static int mirror_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct mirror *m = to_mirror(s);
	unsigned int n = 0;
	int err;

	if (!max)
		drain(m);
	err = run(m);
	if (!max)
		set_timer(m, true);
	while (n < max && unread(m))
		out[n++] = m->out[m->out_tail++ % MIRROR_FLIGHTS];
	return n ? (int)n : err;
}

static int mirror_pollfd(struct store *s)
{
	return to_mirror(s)->epoll_fd;
}

/* A copy that joins is spared it. */
static void mirror_drop(struct store *s, uint64_t slot)
{
	struct mirror *m = to_mirror(s);

	m->written[slot / 64] &= ~(1ULL << slot % 64);
	for (unsigned int c = 0; c < m->nr; c++)
		if (m->copy[c].store && m->copy[c].store->ops->drop)
			m->copy[c].store->ops->drop(m->copy[c].store, slot);
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void mirror_close(struct store *s)
{
	struct mirror *m = to_mirror(s);

	if (!m)
		return;
	probe_stop(m);
	for (unsigned int c = 0; c < MIRROR_COPIES; c++) {
		if (m->copy[c].store)
			m->copy[c].store->ops->close(m->copy[c].store);
		spec_free(m->copy[c].spec);
	}
	close_fd(m->epoll_fd);
	close_fd(m->timer_fd);
	close_fd(m->event_fd);
	if (m->bounce)
		munmap(m->bounce, BOUNCE_BYTES);
	free(m->written);
	free(m->writing);
	free(m);
}

static const struct store_ops mirror_ops = {
	.scheme = "mirror",
	.submit = mirror_submit,
	.reap = mirror_reap,
	.pollfd = mirror_pollfd,
	.drop = mirror_drop,
	.close = mirror_close,
};

/* ---- opening ---- */

static int watch_fd(const struct mirror *m, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	return fd >= 0 && epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &ev)
		       ? err_set(-errno, "store mirror: %s", strerror(errno))
		       : 0;
}

int mirror_watch(struct mirror *m, struct store *kid)
{
	return watch_fd(m, kid->ops->pollfd(kid));
}

static int open_fds(struct mirror *m)
{
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	m->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->epoll_fd < 0 || m->timer_fd < 0 || m->event_fd < 0)
		return err_set(-errno, "store mirror: %s", strerror(errno));
	return watch_fd(m, m->timer_fd) ?: watch_fd(m, m->event_fd);
}

static struct handed to_hand_over(const struct mirror *m)
{
	struct handed now = {.used = true, .nr_slots = m->store.nr_slots, .filled = heal_filled(m)};

	for (unsigned int c = 0; c < m->nr; c++) {
		uint32_t bit = m->dying >> c & 1 ? 0 : 1U << c;

		now.live |= m->copy[c].state == COPY_LIVE ? bit : 0;
		now.joining |= m->copy[c].state == COPY_JOINING ? bit : 0;
	}
	handed_add_fd(&now, m->epoll_fd);
	handed_add_fd(&now, m->timer_fd);
	handed_add_fd(&now, m->event_fd);
	return now;
}

void mirror_hand_over(struct mirror *m)
{
	struct handed now = to_hand_over(m);

	handover_set(m->handover, &now);
}

static int add_copy(struct mirror *m, const struct spec *spec, struct handover *handover)
{
	struct copy *copy = &m->copy[m->nr++];

	spec_format(spec, copy->name, sizeof(copy->name));
	copy->handover = handover;
	copy->spec = spec_copy(spec);
	return copy->spec ? 0 : err_set(-ENOMEM, "store mirror: out of memory");
}

static int open_copy(struct mirror *m, struct copy *copy)
{
	struct store_open_args args = m->args;
	int err;

	args.handover = copy->handover;
	err = m->args.open_kid(copy->spec, &args, &copy->store);
	if (err)
		return err;
	if (copy->store->nr_slots < m->store.nr_slots)
		m->store.nr_slots = copy->store->nr_slots;
	return mirror_watch(m, copy->store);
}

/* Whether a spare one is there is of no moment before it is needed; but it may be a mistake. */
static void look_at_spare(struct mirror *m, struct copy *copy)
{
	copy->state = COPY_LOST;
	copy->is_spare = true;
	if (m->args.probe_kid && m->args.probe_kid(copy->spec, SPARE_MS))
		log_warn("mirror: the spare one does not answer: %s", err_text(-EIO));
}

static int open_copies(struct mirror *m)
{
	int err = 0;

	for (unsigned int c = 0; c < m->nr && !err; c++)
		if (c < m->wanted)
			err = open_copy(m, &m->copy[c]);
		else
			look_at_spare(m, &m->copy[c]);
	return err;
}

/* One that was lost when the process before died is begun anew, and so is one whose
 * server has died with it. What was good below some slot still is: like a live one it
 * has had every write that was answered since. */
static int resume_copies(struct mirror *m, const struct handed *old)
{
	m->args.timeout_ms = RESUME_MS;
	m->store.nr_slots = old->nr_slots;
	m->next_slot = m->filled_said = old->filled;
	m->budget_ns = store_now_ns();
	for (unsigned int c = 0; c < m->nr; c++) {
		struct copy *copy = &m->copy[c];
		/* Good, and not given up by a process in between that did not get to say so:
		 * what is opened without anything handed over is new, and empty. */
		bool is_good = (old->live | old->joining) >> c & 1 && handover_get(copy->handover);
		int err = is_good ? open_copy(m, copy) : -EPIPE;

		if (!err && old->joining >> c & 1)
			copy->state = COPY_JOINING;
		if (!err)
			continue;
		if (is_good)
			log_warn("mirror: %s is lost (%s)", copy->name, err_text(err));
		handover_end(copy->handover, handover_nodes(copy->spec));
		copy->state = COPY_LOST;
	}
	return whole_loss(m);
}

/* What was written before nobody knows any more: anything may have been. */
static int allocate(struct mirror *m, bool is_resumed)
{
	uint64_t words = (m->store.nr_slots + 63) / 64;

	m->written = calloc(words, sizeof(*m->written));
	m->writing = calloc(words, sizeof(*m->writing));
	m->bounce = mmap(NULL, BOUNCE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->bounce == MAP_FAILED)
		m->bounce = NULL;
	if (!m->written || !m->writing || !m->bounce)
		return err_set(-ENOMEM, "store mirror: out of memory");
	if (is_resumed)
		memset(m->written, 0xff, words * sizeof(*m->written));
	munlock(m->bounce, BOUNCE_BYTES); /* a pager that locks its memory does not mean these */
	return 0;
}

static int parse(struct mirror *m, const struct spec *spec)
{
	const char *resync = spec_param(spec, "resync"), *copies = spec_param(spec, "copies");

	if (spec->nr_kids < 2 || spec->nr_kids > MIRROR_COPIES)
		return err_set(-EINVAL,
			       "store mirror stands before 2 or %u others: write for example "
			       "mirror(tcp:a,tcp:b)",
			       MIRROR_COPIES);
	if (spec->nr_params > (resync ? 1U : 0U) + (copies ? 1U : 0U))
		return err_set(-EINVAL, "store mirror takes nothing but resync=SIZE, a second, and "
					"copies=2, of three");
	if (copies && (strcmp(copies, "2") != 0 || spec->nr_kids != 3))
		return err_set(-EINVAL,
			       "store mirror: copies=2 of three, the third is spare: write for "
			       "example mirror(copies=2,tcp:a,tcp:b,tcp:c)");
	m->wanted = copies ? 2 : (unsigned int)spec->nr_kids;
	m->resync_bytes = RESYNC_DEFAULT;
	return resync ? units_parse_size(resync, &m->resync_bytes) : 0;
}

static int mirror_open(const struct spec *spec, const struct store_open_args *args,
		       struct store **out)
{
	const struct handed *old = handover_get(args->handover);
	struct mirror *m = calloc(1, sizeof(*m));
	struct handed now;
	int err;

	if (!m)
		return err_set(-ENOMEM, "store mirror: out of memory");
	m->store = (struct store){.ops = &mirror_ops, .nr_slots = UINT64_MAX};
	m->args = *args;
	m->args.wait_s = 0; /* there is another copy */
	m->handover = args->handover;
	m->epoll_fd = m->timer_fd = m->event_fd = -1;
	for (uint32_t i = 0; i < MIRROR_FLIGHTS; i++)
		m->flight[i].next_free = i + 1 < MIRROR_FLIGHTS ? i + 1 : UINT32_MAX;
	memset(m->resync_slot, 0xff, sizeof(m->resync_slot));
	err = parse(m, spec);
	if (!err)
		err = open_fds(m);
	for (unsigned int i = 0; !err && i < spec->nr_kids; i++)
		err = add_copy(m, spec->kid[i], handover_of_kid(args->handover, spec, i));
	if (!err)
		err = old ? resume_copies(m, old) : open_copies(m);
	if (!err)
		err = allocate(m, old != NULL);
	if (err) {
		mirror_close(&m->store);
		return err;
	}
	m->store.copies = m->nr;
	now = to_hand_over(m);
	handover_replace(m->handover, &now);
	*out = &m->store;
	return 0;
}

const struct store_type store_mirror_type = {
	.scheme = "mirror",
	.survives = true,
	.usage = "mirror(SPEC,SPEC[,SPEC])  every page in each of them: any one may be lost",
	.open = mirror_open,
};
