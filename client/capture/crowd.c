/* SPDX-License-Identifier: Apache-2.0 */
#include "client/capture/crowd.h"

#include <unistd.h>

void crowd_begin(struct crowd *c)
{
	*c = (struct crowd){.cpus = (unsigned int)sysconf(_SC_NPROCESSORS_ONLN)};
}

void crowd_faulted(struct crowd *c, uint32_t tid, bool posted)
{
	c->tid[posted][c->nr_faults[posted]++ % CROWD_FAULTS] = tid;
}

static unsigned int distinct(const uint32_t *tid)
{
	unsigned int nr = 0;

	for (unsigned int i = 0, k; i < CROWD_FAULTS; i++) {
		for (k = 0; tid[k] != tid[i]; k++)
			;
		nr += tid[i] && k == i;
	}
	return nr;
}

/* Agents, and much else, run for a moment; who wants a CPU all the time counts. */
static unsigned int all_the_time(const struct crowd *c)
{
	unsigned int least = c->running[0];

	for (unsigned int i = 1; i < CROWD_LOOKS; i++)
		if (c->running[i] < least)
			least = c->running[i];
	return least;
}

void crowd_look(struct crowd *c, unsigned int running)
{
	unsigned int want, posted = distinct(c->tid[true]), told = distinct(c->tid[false]);

	c->running[c->nr_looks++ % CROWD_LOOKS] = running;
	want = all_the_time(c);
	c->crowded =
		want > c->cpus + 1 || (want > c->cpus && (posted > told ? posted : told) < c->cpus);
}
