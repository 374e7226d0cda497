/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror_probe: lost copies are looked for. A thread asks whether their servers answer,
 * since that may take as long as a network lets it. All else is the pager's: a store
 * belongs to the thread that opened it.
 */
#include <unistd.h>

#include "client/store/mirror.h"

#define PROBE_MS 300U
#define LOOK_US	 250000U

static bool is_lost(struct mirror *m, unsigned int c)
{
	return __atomic_load_n(&m->copy[c].state, __ATOMIC_ACQUIRE) == COPY_LOST;
}

static void *probe(void *arg)
{
	struct mirror *m = arg;
	uint64_t one = 1;

	while (!__atomic_load_n(&m->closing, __ATOMIC_ACQUIRE)) {
		for (unsigned int c = 0; c < m->nr; c++) {
			struct copy *copy = &m->copy[c];

			if (!__atomic_load_n(&m->seeks, __ATOMIC_ACQUIRE) || !is_lost(m, c) ||
			    __atomic_load_n(&copy->answers, __ATOMIC_ACQUIRE) ||
			    m->args.probe_kid(copy->spec, PROBE_MS))
				continue;
			__atomic_store_n(&copy->answers, true, __ATOMIC_RELEASE);
			if (write(m->event_fd, &one, sizeof(one)) < 0)
				continue;
		}
		usleep(LOOK_US);
	}
	return NULL;
}

void probe_look(struct mirror *m)
{
	bool any = false;

	for (unsigned int c = 0; c < m->nr; c++)
		any |= is_lost(m, c);
	__atomic_store_n(&m->seeks, any, __ATOMIC_RELEASE);
	if (!any || m->probing || !m->args.probe_kid)
		return;
	m->probing = !pthread_create(&m->prober, NULL, probe, m);
}

/* What was heard is old news when it is needed. */
void probe_rest(struct mirror *m)
{
	__atomic_store_n(&m->seeks, false, __ATOMIC_RELEASE);
	for (unsigned int c = 0; c < m->nr; c++)
		__atomic_store_n(&m->copy[c].answers, false, __ATOMIC_RELEASE);
}

void probe_stop(struct mirror *m)
{
	__atomic_store_n(&m->closing, true, __ATOMIC_RELEASE);
	if (m->probing)
		pthread_join(m->prober, NULL);
}
