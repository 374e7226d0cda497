/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/rdma_rejoin.h"

#include <errno.h>
#include <stdlib.h>

#include "common/base/err.h"

#define ASK_NS 2000000000ULL /* then it is asked for once more: what was sent may be lost */

static uint64_t nr_slabs(const struct rdma_session *s)
{
	return (s->wanted_bytes + s->welcome.slab_bytes - 1) / s->welcome.slab_bytes;
}

void rejoin_begin(struct rejoin *j, uint64_t now_ns)
{
	rejoin_end(j);
	if (j->state == REJOIN_WHOLE)
		j->broken_ns = now_ns;
	j->state = REJOIN_WAITS;
}

void rejoin_end(struct rejoin *j)
{
	verbs_close(j->next);
	j->next = NULL;
}

static void ask(struct rejoin *j, uint64_t now_ns)
{
	struct verbs_asking ask = rdma_session_asking(j->session, j->lane);

	j->asked_ns = now_ns;
	/* It may be that the device is not there for a moment, too. */
	if (verbs_ask(j->session->host, &ask, now_ns, &j->next) == 0)
		j->state = REJOIN_ASKS;
}

void rejoin_tick(struct rejoin *j, uint64_t now_ns)
{
	if (j->state == REJOIN_WHOLE)
		return;
	if (j->state != REJOIN_WAITS && now_ns - j->asked_ns >= ASK_NS)
		rejoin_begin(j, now_ns);
	if (j->state == REJOIN_WAITS)
		ask(j, now_ns);
}

/* ---- the keys ---- */

static int say_lease(struct rejoin *j)
{
	uint64_t left = nr_slabs(j->session) - j->nr_asked;
	struct wire_msg m = {.type = WIRE_LEASE, .request = ++j->session->next_request};
	uint8_t buf[WIRE_MAX_BYTES];

	m.lease.nr_slabs = left < WIRE_LEASE_MAX_SLABS ? (uint32_t)left : WIRE_LEASE_MAX_SLABS;
	j->nr_asked += m.lease.nr_slabs;
	return verbs_say(j->session->conn[j->lane], buf, wire_encode(&m, buf));
}

/* The new one takes the place of the old one, which is closed here at the latest. */
static int on_open(struct rejoin *j)
{
	struct rdma_session *s = j->session;

	verbs_close(s->conn[j->lane]);
	s->conn[j->lane] = j->next;
	j->next = NULL;
	j->state = REJOIN_LEASES;
	j->nr_asked = j->nr_told = 0;
	if (say_lease(j))
		j->state = REJOIN_WAITS;
	return 0;
}

int rejoin_message(struct rejoin *j, const struct verbs_done *done)
{
	struct rdma_slab *slab = &j->session->slab[j->nr_told];
	struct wire_msg m;

	if (wire_decode(done->words, done->bytes, &m) || m.type != WIRE_LEASED ||
	    j->nr_told == j->nr_asked || m.leased.address != slab->address)
		return rdma_loss(j->session, done);
	slab->key[j->lane] = m.leased.key;
	j->nr_told++;
	if (verbs_heard(done->conn, done->words))
		j->state = REJOIN_WAITS;
	else if (j->nr_told == nr_slabs(j->session))
		j->state = REJOIN_WHOLE;
	else if (j->nr_told == j->nr_asked && say_lease(j))
		j->state = REJOIN_WAITS;
	return 0;
}

int rejoin_event(struct rejoin *j, const struct verbs_event *ev)
{
	struct wire_msg m;

	if (ev->what == VERBS_OPENS)
		return on_open(j);
	/* Whoever answers there and says no has not these pages. */
	if (rdma_session_refused(j->next, &m))
		return err_set(-EPIPE,
			       "%s was started anew or has ended the lease (%s), and the pages are "
			       "gone",
			       j->session->server, m.error.text);
	if (verbs_failure(j->next) == -ECONNREFUSED)
		return err_set(-EPIPE, "%s is gone, and the pages with it", j->session->server);
	rejoin_end(j);
	j->state = REJOIN_WAITS;
	return 0;
}
