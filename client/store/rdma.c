/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdma: pages at an rmemd on another machine, read and written one-sided. Two queue pairs,
 * so that a page which a thread waits for never stands behind those that leave: urgent
 * reads on the first, all else on the second. While something is under way and has been
 * for no longer than it usually takes, completions are looked for; then they are waited for.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/store/open.h"
#include "client/store/patience.h"
#include "client/store/rdma_lane.h"
#include "client/store/rdma_rejoin.h"
#include "client/store/rdma_session.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/wake.h"
#include "common/conn/tcp.h"

#define DEFAULT_TIMEOUT_S 10
#define AT_ONCE		  16

/* A read that takes longer than so many wake-ups is not worth a spinning core. */
#define WORTH_WAKES  20
#define WORTH_MIN_NS 100000U
#define WORTH_MAX_NS 2000000U
#define MEAN_SHIFT   4	/* a running mean of about 16 reads */
#define TRY_READS    16 /* that were slept through; the next is looked out for */

struct rdma_store {
	struct store store;
	struct rdma_session session;
	struct verbs_region *region; /* the staging arena */
	struct rlane *lane;	     /* RDMA_NR_LANES of them */
	struct rejoin rejoin[RDMA_NR_LANES];
	struct rlane_done done;
	int epoll_fd, timer_fd, event_fd;
	struct patience patience; /* with no progress */
	bool timing, nudged;
	uint64_t worth_ns; /* of spinning */
	uint64_t read_ns;  /* mean of urgent reads that were looked out for, from posted to done */
	uint64_t spin_until_ns;
	unsigned int slept; /* reads since one was */
	bool lost;
	char why[256];
};

static struct rdma_store *to_rdma(struct store *s)
{
	return (struct rdma_store *)s;
}

static uint32_t nr_done(const struct rdma_store *r)
{
	return r->done.head - r->done.tail;
}

static bool is_idle(const struct rdma_store *r)
{
	return rlane_is_idle(&r->lane[RDMA_URGENT]) && rlane_is_idle(&r->lane[RDMA_BULK]);
}

/* ---- loss ---- */

/* One connection ended; why may have been said on the other. */
static int look_for_words(struct rdma_store *r, int rc)
{
	char why[sizeof(r->why)];
	struct verbs_done done;

	snprintf(why, sizeof(why), "%s", err_text(rc));
	while (rc != -ECONNABORTED && verbs_poll(r->session.domain, &done, 1))
		if (done.is_message && !done.res)
			rc = rdma_loss(&r->session, &done);
	return rc == -ECONNABORTED ? rc : err_set(-EPIPE, "%s", why);
}

static int lose(struct rdma_store *r, int rc)
{
	if (!r->lost && rc == -EPIPE)
		rc = look_for_words(r, rc);
	if (!r->lost)
		snprintf(r->why, sizeof(r->why), "%s", err_text(rc));
	r->lost = true;
	r->store.quick = false;
	return err_set(-EPIPE, "%s", r->why);
}

static int failed(const struct rdma_store *r, int rc)
{
	return err_set(-EPIPE, "%s: the connection failed: %s", r->session.server, strerror(-rc));
}

/* ---- time ---- */

static bool is_whole(const struct rdma_store *r)
{
	return r->rejoin[RDMA_URGENT].state == REJOIN_WHOLE &&
	       r->rejoin[RDMA_BULK].state == REJOIN_WHOLE;
}

static void set_timer(struct rdma_store *r, uint64_t ns)
{
	const struct itimerspec t = {.it_value = {.tv_sec = (time_t)(ns / 1000000000),
						  .tv_nsec = (long)(ns % 1000000000)}};

	r->timing = true;
	if (timerfd_settime(r->timer_fd, 0, &t, NULL))
		log_debug("a timer can't be set"); /* the device has time-outs, too */
}

/* rxe and others may retry for ever: there is a limit of ours to how long nothing moves. */
static int check_silence(struct rdma_store *r)
{
	uint64_t most = 0;
	int rc;

	for (unsigned int i = 0; i < RDMA_NR_LANES; i++) {
		uint64_t silent = verbs_silent_ns(r->session.conn[i]);

		most = silent > most ? silent : most;
	}
	rc = patience_look(&r->patience, most);
	if (!rc && !is_idle(r))
		set_timer(r, patience_left_ns(&r->patience, most));
	return rc;
}

/* How long the longest of those that are not whole has not been so. */
static uint64_t broken_ns(const struct rdma_store *r, uint64_t now)
{
	uint64_t most = 0;

	for (unsigned int i = 0; i < RDMA_NR_LANES; i++)
		if (r->rejoin[i].state != REJOIN_WHOLE && now - r->rejoin[i].broken_ns > most)
			most = now - r->rejoin[i].broken_ns;
	return most;
}

static int on_time(struct rdma_store *r)
{
	uint64_t now = tcp_deadline_ns(0);
	int rc;

	r->timing = false;
	if (is_whole(r))
		return check_silence(r);
	rc = patience_look(&r->patience, broken_ns(r, now));
	for (unsigned int i = 0; i < RDMA_NR_LANES && !rc; i++)
		rejoin_tick(&r->rejoin[i], now);
	if (!is_whole(r))
		set_timer(r, REJOIN_TICK_NS);
	return rc;
}

/* ---- completions ---- */

/* Another connection may do what this one can't any more. */
static int broke(struct rdma_store *r, struct rejoin *j, const struct verbs_done *done,
		 uint64_t now)
{
	if (done->res == -EACCES || done->res == -EREMOTEIO)
		return rdma_loss(&r->session, done); /* the keys are no longer good */
	if (j->state != REJOIN_WHOLE && j->state != REJOIN_LEASES)
		return 0; /* what was under way comes back, too */
	log_warn("a connection broke, another is asked for server=%s: %s", r->session.server,
		 verbs_why(done->conn));
	rejoin_begin(j, now);
	set_timer(r, 1);
	return 0;
}

static int post_lane(struct rdma_store *r, enum rdma_lane_name name, uint64_t now)
{
	int rc = r->rejoin[name].state == REJOIN_WHOLE ? rlane_post(&r->lane[name], now) : 0;

	return rc ? failed(r, rc) : 0;
}

static int on_message(struct rdma_store *r, struct rejoin *j, const struct verbs_done *done,
		      uint64_t now)
{
	int rc;

	if (j->state != REJOIN_LEASES)
		return rdma_loss(&r->session, done);
	rc = rejoin_message(j, done);
	if (rc || j->state != REJOIN_WHOLE)
		return rc;
	log_warn("connected again server=%s", r->session.server);
	rlane_again(&r->lane[j->lane]);
	return post_lane(r, j->lane, now);
}

/* What was slept through says what it is to be woken; what took very long is an accident, or
 * there will be more of it. */
static void note_time(struct rdma_store *r, uint64_t posted_ns, uint64_t now)
{
	uint64_t ns = now - posted_ns;

	if (posted_ns >= r->spin_until_ns)
		return;
	if (ns > 2 * r->worth_ns)
		ns = 2 * r->worth_ns;
	r->read_ns += (ns >> MEAN_SHIFT) - (r->read_ns >> MEAN_SHIFT);
}

static int on_done(struct rdma_store *r, const struct verbs_done *done, uint64_t now)
{
	enum rdma_lane_name name =
		done->conn == r->session.conn[RDMA_BULK] ? RDMA_BULK : RDMA_URGENT;
	uint64_t posted_ns;

	if (done->conn != r->session.conn[name])
		return 0; /* one that is not ours yet */
	if (done->res)
		return broke(r, &r->rejoin[name], done, now);
	if (done->is_message)
		return on_message(r, &r->rejoin[name], done, now);
	posted_ns = rlane_finish(&r->lane[name], done->id);
	if (name == RDMA_URGENT)
		note_time(r, posted_ns, now);
	return 0;
}

/* How many things were done; -errno when the server is lost. */
static int look(struct rdma_store *r)
{
	struct verbs_done done[AT_ONCE];
	unsigned int n = verbs_poll(r->session.domain, done, AT_ONCE);
	uint64_t now = n ? tcp_deadline_ns(0) : 0;

	for (unsigned int i = 0; i < n; i++) {
		int rc = on_done(r, &done[i], now);

		if (rc)
			return rc;
	}
	return (int)n;
}

/* A connection came or went. */
static int on_host(struct rdma_store *r)
{
	struct verbs_event ev;
	int rc = verbs_next(r->session.host, &ev);

	if (rc <= 0)
		return rc ? failed(r, rc) : 0;
	for (unsigned int i = 0; i < RDMA_NR_LANES; i++) {
		if (ev.conn == r->rejoin[i].next)
			return rejoin_event(&r->rejoin[i], &ev);
		/* While another is asked for it is the server that ends this one. */
		if (ev.conn == r->session.conn[i] && r->rejoin[i].state != REJOIN_ASKS)
			return err_set(-EPIPE, "%s is gone, and the pages with it",
				       r->session.server);
	}
	return 0;
}

static int on_fd(struct rdma_store *r, int fd)
{
	uint64_t count;

	if (fd == verbs_domain_fd(r->session.domain)) {
		verbs_fired(r->session.domain);
		return 0;
	}
	if (fd == verbs_host_fd(r->session.host))
		return on_host(r);
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	if (fd == r->timer_fd)
		return on_time(r);
	r->nudged = false;
	return 0;
}

/* What is waited for in the descriptor. */
static int look_at_fds(struct rdma_store *r)
{
	struct epoll_event ev[4];
	int n = epoll_wait(r->epoll_fd, ev, 4, 0), rc = 0;

	for (int i = 0; i < n && !rc; i++)
		rc = on_fd(r, ev[i].data.fd);
	if (!rc) {
		rc = verbs_arm(r->session.domain);
		rc = rc ? failed(r, rc) : 0;
	}
	return rc;
}

static bool may_spin(const struct rdma_store *r)
{
	return !is_idle(r) && is_whole(r) && tcp_deadline_ns(0) < r->spin_until_ns;
}

static int work(struct rdma_store *r)
{
	int n = look(r);

	if (n)
		return n;
	r->store.quick = may_spin(r);
	if (r->store.quick)
		return 0;
	n = look_at_fds(r);
	return n ? n : look(r); /* it may have come before it was armed */
}

/* ---- store ---- */

static bool take(struct rdma_store *r, const struct store_req *req)
{
	bool is_urgent = req->op == STORE_READ && req->urgent;

	if (req->slot < r->store.nr_slots)
		return rlane_add(&r->lane[is_urgent ? RDMA_URGENT : RDMA_BULK], req);
	r->done.done[r->done.head++ % RLANE_MAX_DONE] =
		(struct store_done){.tag = req->tag, .res = -ERANGE};
	return true;
}

/* For twice what it usually takes, if that is short; else now and then, to hear of it when it
 * is. */
static void look_out(struct rdma_store *r, uint64_t now)
{
	bool is_short = r->read_ns < r->worth_ns;

	if (!is_short && !rlane_is_idle(&r->lane[RDMA_URGENT]) && ++r->slept > TRY_READS)
		is_short = true;
	if (is_short) {
		r->spin_until_ns = now + 2 * (r->read_ns < r->worth_ns ? r->read_ns : r->worth_ns);
		r->slept = 0;
	}
	r->store.quick = is_short && is_whole(r);
}

static int post(struct rdma_store *r)
{
	uint64_t now = tcp_deadline_ns(0);
	int rc = post_lane(r, RDMA_URGENT, now);

	if (!rc)
		rc = post_lane(r, RDMA_BULK, now);
	if (rc)
		return rc;
	if (!r->timing && !is_idle(r))
		set_timer(r, patience_left_ns(&r->patience, 0));
	look_out(r, now);
	return 0;
}

static int rdma_store_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct rdma_store *r = to_rdma(s);
	unsigned int i = 0;
	int rc;

	if (r->lost)
		return lose(r, -EPIPE);
	/* In flight or not reaped, all have room among the done. */
	while (i < nr && nr_done(r) < RLANE_MAX_DONE / 2 && take(r, &req[i]))
		i++;
	rc = post(r);
	return rc ? lose(r, rc) : (int)i;
}

/* What could not be handed over keeps the descriptor readable. */
static void nudge(struct rdma_store *r)
{
	const uint64_t one = 1;

	if (nr_done(r) && !r->nudged)
		r->nudged = write(r->event_fd, &one, sizeof(one)) == sizeof(one);
}

/* What was done stays done: that the server is lost is told when nothing is left to tell. */
static int rdma_store_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct rdma_store *r = to_rdma(s);
	unsigned int n = 0;
	int rc = 0;

	if (!r->lost && (max || (is_idle(r) && !nr_done(r))))
		rc = work(r);
	if (rc < 0)
		lose(r, rc);
	while (n < max && nr_done(r))
		out[n++] = r->done.done[r->done.tail++ % RLANE_MAX_DONE];
	if (r->lost)
		return n ? (int)n : lose(r, -EPIPE);
	if (max)
		nudge(r);
	return (int)n;
}

static int rdma_store_pollfd(struct store *s)
{
	return to_rdma(s)->epoll_fd;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void rdma_store_close(struct store *s)
{
	struct rdma_store *r = to_rdma(s);

	if (!r)
		return;
	/* Nothing is written into the staging arena after the connections are closed. */
	for (unsigned int i = 0; i < RDMA_NR_LANES; i++)
		rejoin_end(&r->rejoin[i]);
	rdma_session_close(&r->session);
	verbs_release(r->region);
	close_fd(r->event_fd);
	close_fd(r->timer_fd);
	close_fd(r->epoll_fd);
	free(r->lane);
	free(r);
}

static const struct store_ops rdma_ops = {
	.scheme = "rdma",
	.submit = rdma_store_submit,
	.reap = rdma_store_reap,
	.pollfd = rdma_store_pollfd,
	.close = rdma_store_close,
};

/* ---- opening ---- */

static int parse_spec(const struct spec *spec, struct net_addr *a, unsigned int *timeout_s)
{
	const char *timeout = spec_param(spec, "timeout");
	int rc = spec->nr_kids ? -EINVAL : net_addr_parse(NET_RDMA, spec->rest, false, a);

	if (spec->nr_kids || spec->nr_params > (timeout ? 1 : 0))
		return err_set(-EINVAL,
			       "server rdma: takes an address, and timeout=SECONDS: write "
			       "for example rdma:memhost:%d",
			       NET_RDMA_PORT);
	if (!rc && !a->host[0])
		return err_set(-EINVAL,
			       "server rdma:%s names no machine: write for example "
			       "rdma:memhost:%d",
			       spec->rest, NET_RDMA_PORT);
	*timeout_s = DEFAULT_TIMEOUT_S;
	return !rc && timeout ? patience_parse("rdma", timeout, timeout_s) : rc;
}

static int watch(const struct rdma_store *r, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static int open_fds(struct rdma_store *r)
{
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->epoll_fd < 0 || r->timer_fd < 0 || r->event_fd < 0 || watch(r, r->timer_fd) ||
	    watch(r, r->event_fd) || watch(r, verbs_host_fd(r->session.host)) ||
	    watch(r, verbs_domain_fd(r->session.domain)))
		return err_set(-errno, "store rdma: %s", strerror(errno));
	return 0;
}

static int open_lanes(struct rdma_store *r)
{
	size_t bytes = (size_t)(RDMA_URGENT_DEPTH + RDMA_BULK_DEPTH) * PAGE_BYTES;
	int rc = verbs_allocate(r->session.domain, bytes, &r->region);
	char *at = rc ? NULL : verbs_memory(r->region);

	if (rc)
		return rc;
	r->lane = calloc(RDMA_NR_LANES, sizeof(*r->lane));
	if (!r->lane)
		return err_set(-ENOMEM, "store rdma: out of memory");
	for (unsigned int i = 0; i < RDMA_NR_LANES; i++) {
		rlane_init(&r->lane[i], &r->session, i, at, r->region, &r->done);
		r->rejoin[i] = (struct rejoin){.session = &r->session, .lane = i};
		at += rlane_pages(i) * PAGE_BYTES;
	}
	return look_at_fds(r);
}

/* A new session, or that of the process before. */
static int open_session(struct rdma_store *r, const struct net_addr *addr,
			const struct store_open_args *args)
{
	const struct handed *old = handover_get(args->handover);
	int rc;

	if (old)
		return rdma_session_resume(&r->session, addr, args->bytes, args->timeout_ms,
					   args->wait_s, old);
	rc = rdma_session_open(&r->session, addr, args->bytes, args->timeout_ms, args->wait_s);
	return rc ? rc : rdma_session_lease(&r->session);
}

/* Descriptors of the device are all of one kind, whosever store had them: verbs_left(). */
static void hand_over(const struct rdma_store *r, struct handover *k)
{
	struct handed now = {.used = true};

	handed_set_session(&now, &r->session.welcome);
	handed_add_fd(&now, r->epoll_fd);
	handed_add_fd(&now, r->timer_fd);
	handed_add_fd(&now, r->event_fd);
	handover_replace(k, &now);
}

static int rdma_open_store(const struct spec *spec, const struct store_open_args *args,
			   struct store **out)
{
	struct net_addr addr;
	struct rdma_store *r;
	unsigned int timeout_s;
	int rc = parse_spec(spec, &addr, &timeout_s);

	if (rc)
		return rc;
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(-ENOMEM, "store rdma: out of memory");
	r->store = (struct store){.ops = &rdma_ops, .nr_slots = args->bytes / PAGE_BYTES};
	r->patience = (struct patience){
		.server = r->session.server, .timeout_s = timeout_s, .wait_s = args->wait_s};
	r->epoll_fd = r->timer_fd = r->event_fd = -1;
	r->worth_ns = wake_worth_ns(WORTH_WAKES, WORTH_MIN_NS, WORTH_MAX_NS);
	r->read_ns = r->worth_ns / 2; /* until it is known */
	rc = open_session(r, &addr, args);
	if (!rc)
		rc = open_fds(r);
	if (!rc)
		rc = open_lanes(r);
	if (rc) {
		rdma_store_close(&r->store);
		return rc;
	}
	log_info("%s is reached by %s", r->session.server, verbs_device(r->session.domain));
	hand_over(r, args->handover);
	*out = &r->store;
	return 0;
}

static int rdma_probe(const struct spec *spec, unsigned int timeout_ms, uint64_t *free_bytes,
		      uint64_t *capacity_bytes)
{
	struct rdma_session session;
	struct net_addr addr;
	unsigned int timeout_s;
	int rc = parse_spec(spec, &addr, &timeout_s);

	if (!rc)
		rc = rdma_session_open(&session, &addr, 0, timeout_ms, 0);
	if (rc)
		return rc;
	*free_bytes = session.welcome.free_bytes;
	*capacity_bytes = session.welcome.capacity_bytes;
	rdma_session_close(&session);
	return 0;
}

const struct store_type store_rdma_type = {
	.scheme = "rdma",
	.survives = true,
	.usage = "rdma:HOST[:PORT]    the same by RDMA, one-sided (port 7771)",
	.open = rdma_open_store,
	.probe = rdma_probe,
};
