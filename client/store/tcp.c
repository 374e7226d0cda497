/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp: pages at an rmemd on another machine. Two connections, so that a page which a
 * thread waits for never stands behind those that leave: urgent reads on the first,
 * all else on the second. One io_uring moves both; its descriptor is what is polled.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "client/store/open.h"
#include "client/store/patience.h"
#include "client/store/tcp_lane.h"
#include "client/store/tcp_loss.h"
#include "client/store/tcp_session.h"
#include "common/base/err.h"
#include "common/conn/tcp.h"
#include "common/conn/tcp_ring.h"

#define RING_ENTRIES	  16
#define DEFAULT_TIMEOUT_S 10
#define CLOSE_MS	  1000

struct tcp_store {
	struct store store;
	struct tcp_session session;
	struct tcp_ring *ring;
	struct lane *lane; /* TCP_NR_LANES of them */
	struct lane_done done;
	struct patience patience; /* with no progress */
	bool timing, nudged;
	bool lost;
	char why[256];
};

static struct tcp_store *to_tcp(struct store *s)
{
	return (struct tcp_store *)s;
}

static uint32_t nr_done(const struct tcp_store *t)
{
	return t->done.head - t->done.tail;
}

static bool is_idle(const struct tcp_store *t)
{
	return lane_is_idle(&t->lane[TCP_URGENT]) && lane_is_idle(&t->lane[TCP_BULK]);
}

/* ---- time ---- */

/* How long a lane has made no progress that has something to do. */
static uint64_t silent_ns(const struct tcp_store *t)
{
	uint64_t now = tcp_deadline_ns(0), most = 0;

	for (unsigned int i = 0; i < TCP_NR_LANES; i++) {
		const struct lane *l = &t->lane[i];

		if (!lane_is_idle(l) && now - l->progress_ns > most)
			most = now - l->progress_ns;
	}
	return most;
}

static int on_time(struct tcp_store *t)
{
	uint64_t silent = silent_ns(t);
	int rc = patience_look(&t->patience, silent);

	t->timing = false;
	if (!rc && !is_idle(t)) {
		t->timing = true;
		tcp_ring_timeout(t->ring, patience_left_ns(&t->patience, silent), t);
	}
	return rc;
}

/* ---- the ring ---- */

static int on_event(struct tcp_store *t, const struct tcp_event *ev)
{
	if (ev->what == TCP_TIMED_OUT)
		return on_time(t);
	if (ev->what == TCP_NUDGED) {
		t->nudged = false;
		return 0;
	}
	return lane_event(ev->who, ev);
}

/* Sends and receives what can be, under a time-out. */
static int go(struct tcp_store *t)
{
	for (unsigned int i = 0; i < TCP_NR_LANES; i++)
		lane_go(&t->lane[i]);
	if (!t->timing && !is_idle(t)) {
		t->timing = true;
		tcp_ring_timeout(t->ring, patience_left_ns(&t->patience, 0), t);
	}
	return tcp_ring_flush(t->ring);
}

static int work(struct tcp_store *t)
{
	struct tcp_event ev;
	int rc = 0;

	while (!rc && tcp_ring_next(t->ring, &ev))
		rc = on_event(t, &ev);
	if (!rc && t->patience.waits) /* it may have answered */
		rc = patience_look(&t->patience, silent_ns(t));
	return rc ? rc : go(t);
}

/* ---- loss ---- */

/* One connection ended; why may have been said on the other. */
static int look_for_words(struct tcp_store *t, int rc)
{
	char why[sizeof(t->why)];
	struct tcp_event ev;

	snprintf(why, sizeof(why), "%s", err_text(rc));
	while (rc != -ECONNABORTED && tcp_ring_next(t->ring, &ev))
		if (ev.what != TCP_TIMED_OUT && ev.what != TCP_NUDGED)
			rc = lane_event(ev.who, &ev);
	for (unsigned int i = 0; i < TCP_NR_LANES && rc != -ECONNABORTED; i++)
		if (!t->lane[i].receiving)
			rc = loss_of_words(&t->session, t->lane[i].fd, NULL, 0);
	return rc == -ECONNABORTED ? rc : err_set(-EPIPE, "%s", why);
}

static int lose(struct tcp_store *t, int rc)
{
	if (!t->lost && rc == -EPIPE)
		rc = look_for_words(t, rc);
	if (!t->lost)
		snprintf(t->why, sizeof(t->why), "%s", err_text(rc));
	t->lost = true;
	return err_set(-EPIPE, "%s", t->why);
}

/* ---- store ---- */

static bool take(struct tcp_store *t, const struct store_req *req)
{
	bool is_urgent = req->op == STORE_READ && req->urgent;

	if (req->slot < t->store.nr_slots)
		return lane_add(&t->lane[is_urgent ? TCP_URGENT : TCP_BULK], req);
	t->done.done[t->done.head++ % LANE_MAX_DONE] =
		(struct store_done){.tag = req->tag, .res = -ERANGE};
	return true;
}

static int tcp_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct tcp_store *t = to_tcp(s);
	unsigned int i = 0;
	int rc;

	if (t->lost)
		return lose(t, -EPIPE);
	/* In flight or not reaped, all have room among the done. */
	while (i < nr && nr_done(t) < LANE_MAX_DONE / 2 && take(t, &req[i]))
		i++;
	rc = go(t);
	return rc ? lose(t, rc) : (int)i;
}

/* What could not be handed over keeps the descriptor readable. */
static int nudge(struct tcp_store *t)
{
	if (!nr_done(t) || t->nudged)
		return 0;
	t->nudged = true;
	tcp_ring_nudge(t->ring, t);
	return tcp_ring_flush(t->ring);
}

/* What was done stays done: that the server is lost is told when nothing is left to
 * tell. Asked for nothing while something is in flight, it leaves the ring alone. */
static int tcp_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct tcp_store *t = to_tcp(s);
	unsigned int n = 0;
	int rc = 0;

	if (!t->lost && (max || (is_idle(t) && !nr_done(t))))
		rc = work(t);
	if (rc)
		lose(t, rc);
	while (n < max && nr_done(t))
		out[n++] = t->done.done[t->done.tail++ % LANE_MAX_DONE];
	if (t->lost)
		return n ? (int)n : lose(t, -EPIPE);
	rc = max ? nudge(t) : 0;
	return rc && !n ? lose(t, rc) : (int)n;
}

static int tcp_pollfd(struct store *s)
{
	return tcp_ring_fd(to_tcp(s)->ring);
}

/* Nothing of the caller's is written to after this. */
static void stop_lanes(struct tcp_store *t)
{
	uint64_t deadline_ns = tcp_deadline_ns(CLOSE_MS);
	struct tcp_event ev;

	for (unsigned int i = 0; i < TCP_NR_LANES; i++)
		tcp_cut(t->lane[i].fd);
	while (tcp_deadline_ns(0) < deadline_ns && (t->lane[0].sending || t->lane[0].receiving ||
						    t->lane[1].sending || t->lane[1].receiving)) {
		if (tcp_ring_wait(t->ring, CLOSE_MS / 10))
			return;
		while (tcp_ring_next(t->ring, &ev)) {
			struct lane *l = ev.who;

			if (ev.what == TCP_SENT)
				l->sending = false;
			else if (ev.what == TCP_RECEIVED)
				l->receiving = false;
		}
	}
}

static void say_bye(struct tcp_store *t)
{
	struct wire_msg m = {.type = WIRE_BYE};
	uint8_t buf[WIRE_MAX_BYTES];

	/* Said or not: hanging up means the same. */
	if (!t->lost && lane_is_idle(&t->lane[TCP_URGENT]) &&
	    tcp_send_now(t->session.fd[TCP_URGENT], buf, wire_encode(&m, buf)) < 0)
		return;
}

static void tcp_close(struct store *s)
{
	struct tcp_store *t = to_tcp(s);

	if (!t)
		return;
	if (t->ring && t->lane) {
		say_bye(t);
		stop_lanes(t);
	}
	tcp_ring_close(t->ring);
	tcp_session_close(&t->session);
	free(t->lane);
	free(t);
}

static const struct store_ops tcp_ops = {
	.scheme = "tcp",
	.submit = tcp_submit,
	.reap = tcp_reap,
	.pollfd = tcp_pollfd,
	.close = tcp_close,
};

/* ---- opening ---- */

static int parse_spec(const struct spec *spec, struct net_addr *a, unsigned int *timeout_s)
{
	const char *timeout = spec_param(spec, "timeout");
	int rc = spec->nr_kids ? -EINVAL : net_addr_parse(NET_TCP, spec->rest, false, a);

	if (spec->nr_kids || spec->nr_params > (timeout ? 1 : 0))
		return err_set(-EINVAL,
			       "server tcp: takes an address, and timeout=SECONDS: write "
			       "for example tcp:memhost:%d",
			       NET_TCP_PORT);
	if (!rc && !a->host[0])
		return err_set(-EINVAL,
			       "server tcp:%s names no machine: write for example "
			       "tcp:memhost:%d",
			       spec->rest, NET_TCP_PORT);
	*timeout_s = DEFAULT_TIMEOUT_S;
	return !rc && timeout ? patience_parse("tcp", timeout, timeout_s) : rc;
}

static int open_lanes(struct tcp_store *t)
{
	int rc = tcp_ring_open(RING_ENTRIES, TCP_POLLS_FD, &t->ring);

	if (rc)
		return rc;
	t->lane = calloc(TCP_NR_LANES, sizeof(*t->lane));
	if (!t->lane)
		return err_set(-ENOMEM, "store tcp: out of memory");
	for (unsigned int i = 0; i < TCP_NR_LANES; i++)
		lane_init(&t->lane[i], &t->session, i, t->ring, &t->done);
	return tcp_ring_flush(t->ring);
}

/* A new session, or that of the process before. */
static int open_session(struct tcp_store *t, const struct net_addr *addr,
			const struct store_open_args *args)
{
	const struct handed *old = handover_get(args->handover);
	int rc;

	if (old)
		return tcp_session_resume(&t->session, addr, args->bytes, args->timeout_ms,
					  args->wait_s, old);
	rc = tcp_session_open(&t->session, addr, args->bytes, args->timeout_ms, args->wait_s);
	return rc ? rc : tcp_session_lease(&t->session);
}

static void hand_over(const struct tcp_store *t, struct handover *k)
{
	struct handed now = {.used = true};

	tcp_session_hand_over(&t->session, &now);
	handed_add_fd(&now, tcp_ring_fd(t->ring));
	handover_replace(k, &now);
}

static int tcp_open_store(const struct spec *spec, const struct store_open_args *args,
			  struct store **out)
{
	struct net_addr addr;
	struct tcp_store *t;
	unsigned int timeout_s;
	int rc = parse_spec(spec, &addr, &timeout_s);

	if (rc)
		return rc;
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(-ENOMEM, "store tcp: out of memory");
	t->store = (struct store){.ops = &tcp_ops, .nr_slots = args->bytes / PAGE_BYTES};
	t->patience = (struct patience){
		.server = t->session.server, .timeout_s = timeout_s, .wait_s = args->wait_s};
	rc = open_session(t, &addr, args);
	if (!rc)
		rc = open_lanes(t);
	if (rc) {
		tcp_close(&t->store);
		return rc;
	}
	hand_over(t, args->handover);
	*out = &t->store;
	return 0;
}

static int tcp_probe(const struct spec *spec, unsigned int timeout_ms, uint64_t *free_bytes,
		     uint64_t *capacity_bytes)
{
	struct tcp_session session;
	struct net_addr addr;
	unsigned int timeout_s;
	int rc = parse_spec(spec, &addr, &timeout_s);

	if (!rc)
		rc = tcp_session_open(&session, &addr, 0, timeout_ms, 0);
	if (rc)
		return rc;
	*free_bytes = session.welcome.free_bytes;
	*capacity_bytes = session.welcome.capacity_bytes;
	tcp_session_close(&session);
	return 0;
}

const struct store_type store_tcp_type = {
	.scheme = "tcp",
	.survives = true,
	.usage = "tcp:HOST[:PORT]     memory of an rmemd on another machine (port 7770)",
	.open = tcp_open_store,
	.probe = tcp_probe,
};
