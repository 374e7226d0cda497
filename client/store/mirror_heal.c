/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror_heal: a lost copy is opened anew where its server answers (mirror_probe.c), and
 * filled with all that is needed, under a limit, while the job goes on. It is read
 * from when that is done, and not a page earlier.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/store/clock.h"
#include "client/store/mirror.h"
#include "common/base/err.h"
#include "common/base/log.h"

#define OPEN_MS	  1000U /* it has just answered */
#define NO_SLOT	  UINT64_MAX
#define SAY_SLOTS 64U /* filled, before the next process is told: it may have to do so many again */

/* ---- joining ---- */

static unsigned int joining(const struct mirror *m)
{
	unsigned int c = 0;

	while (c < m->nr && m->copy[c].state != COPY_JOINING)
		c++;
	return c;
}

static void join(struct mirror *m, unsigned int c)
{
	struct copy *copy = &m->copy[c];
	struct store_open_args args = m->args;
	struct store *s = NULL;

	args.timeout_ms = OPEN_MS;
	args.handover = copy->handover;
	if (m->args.open_kid(copy->spec, &args, &s)) {
		handover_forget(copy->handover, handover_nodes(copy->spec));
		log_info("mirror: %s answers, but: %s", copy->name, err_text(-EIO));
		__atomic_store_n(&copy->answers, false, __ATOMIC_RELEASE);
		return;
	}
	if (s->nr_slots < m->store.nr_slots || mirror_watch(m, s)) {
		handover_forget(copy->handover, handover_nodes(copy->spec));
		s->ops->close(s);
		__atomic_store_n(&copy->answers, false, __ATOMIC_RELEASE);
		return;
	}
	log_warn("mirror: %s %s, and is filled", copy->name,
		 copy->is_spare ? "takes the place of another" : "is there again");
	copy->is_spare = false;
	copy->store = s;
	copy->heard_tick = m->tick;
	m->next_slot = m->filled_said = m->resynced = 0;
	m->budget_ns = store_now_ns();
	m->budget = 0;
	__atomic_store_n(&copy->state, COPY_JOINING, __ATOMIC_RELEASE);
	__atomic_store_n(&copy->answers, false, __ATOMIC_RELEASE);
	mirror_hand_over(m);
}

/* ---- filling ---- */

bool heal_holds(const struct mirror *m, uint64_t slot)
{
	for (unsigned int i = 0; m->nr_resyncs && i < MIRROR_RESYNCS; i++)
		if (m->resync_slot[i] == slot)
			return true;
	return false;
}

uint64_t heal_filled(const struct mirror *m)
{
	uint64_t filled = m->next_slot;

	for (unsigned int i = 0; m->nr_resyncs && i < MIRROR_RESYNCS; i++)
		if (m->resync_slot[i] < filled)
			filled = m->resync_slot[i];
	return filled;
}

static void say_filled(struct mirror *m)
{
	uint64_t filled = heal_filled(m);

	if (filled - m->filled_said < SAY_SLOTS)
		return;
	m->filled_said = filled;
	mirror_hand_over(m);
}

static void hold(struct mirror *m, uint64_t was, uint64_t is)
{
	unsigned int i = 0;

	while (m->resync_slot[i] != was)
		i++;
	m->resync_slot[i] = is;
}

void heal_arrived(struct mirror *m, uint64_t slot)
{
	hold(m, slot, NO_SLOT);
	m->nr_resyncs--;
	m->resynced++;
}

/* A page's worth of the limit; a tenth of a second of it may be saved up. */
static bool may_spend(struct mirror *m)
{
	uint64_t now = store_now_ns(), most = m->resync_bytes / 10 + PAGE_BYTES;

	m->budget += (uint64_t)((double)(now - m->budget_ns) * (double)m->resync_bytes / 1e9);
	m->budget_ns = now;
	if (m->budget > most)
		m->budget = most;
	if (m->budget < PAGE_BYTES)
		return false;
	m->budget -= PAGE_BYTES;
	return true;
}

/* The next slot that has to be copied, at next_slot; false: there is none. */
static bool find_next(struct mirror *m)
{
	while (m->next_slot < m->store.nr_slots) {
		if (!(m->next_slot % 64) && !m->written[m->next_slot / 64])
			m->next_slot += 64;
		else if (!bit_has(m->written, m->next_slot))
			m->next_slot++;
		else
			return true;
	}
	return false;
}

static void fill(struct mirror *m, unsigned int c)
{
	/* What is being written waits: the copy may have joined in the midst of it. So does
	 * what is on its way still for one that was to join, and was lost. */
	while (m->nr_resyncs < MIRROR_RESYNCS && m->free_head != UINT32_MAX && find_next(m) &&
	       !bit_has(m->writing, m->next_slot) && !heal_holds(m, m->next_slot) && may_spend(m)) {
		uint64_t slot = m->next_slot++;

		hold(m, NO_SLOT, slot);
		m->nr_resyncs++;
		flight_begin_copy(m, slot);
	}
	say_filled(m);
	if (m->nr_resyncs || find_next(m) || m->copy[c].state != COPY_JOINING || m->dying >> c & 1)
		return;
	__atomic_store_n(&m->copy[c].state, COPY_LIVE, __ATOMIC_RELEASE);
	mirror_hand_over(m);
	log_warn("mirror: %s is whole again, %llu pages", m->copy[c].name,
		 (unsigned long long)m->resynced);
	if (mirror_live(m) >= m->wanted)
		probe_rest(m);
}

void heal_run(struct mirror *m)
{
	unsigned int c = joining(m);

	for (unsigned int i = 0; c == m->nr && i < m->nr; i++)
		if (m->copy[i].state == COPY_LOST &&
		    __atomic_load_n(&m->copy[i].answers, __ATOMIC_ACQUIRE)) {
			join(m, i);
			c = joining(m);
		}
	if (c < m->nr)
		fill(m, c);
}
