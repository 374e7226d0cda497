/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn/tcp_ring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

#define WHAT_MASK   7ULL
#define CQ_PER_SQ   4U
#define FLUSH_TRIES 100

struct tcp_ring {
	struct io_uring uring;
	struct __kernel_timespec timeout;
	bool dead;
};

/* Completions are worked off when we enter the kernel anyway, not by an interrupt; put
 * off until we wait, they would not make the descriptor readable. */
static int open_uring(unsigned int entries, enum tcp_waiting how, struct io_uring *out)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, /* Linux 6.1 */
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,	 /* Linux 5.19 */
		0,
	};
	int rc = -EINVAL;

	for (size_t i = how == TCP_POLLS_FD; i < 3 && rc == -EINVAL; i++) {
		struct io_uring_params p = {
			.flags = flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = entries * CQ_PER_SQ,
		};

		rc = io_uring_queue_init_params(entries, out, &p);
	}
	return rc;
}

static int cannot_open(int rc)
{
	if (rc == -EPERM || rc == -EACCES)
		return err_set(rc, "tcp: this process may not use io_uring: set "
				   "kernel.io_uring_disabled=0, or let the container use it");
	if (rc == -ENOSYS)
		return err_set(rc,
			       "tcp: this kernel has no io_uring, or a seccomp filter hides it: "
			       "let the container use it");
	if (rc == -ENOMEM)
		return err_set(rc, "tcp: no memory for io_uring: raise the limit of locked memory "
				   "(ulimit -l)");
	return err_set(rc, "tcp: can't set up io_uring: %s", strerror(-rc));
}

int tcp_ring_open(unsigned int entries, enum tcp_waiting how, struct tcp_ring **out)
{
	struct tcp_ring *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_set(-ENOMEM, "out of memory");
	rc = open_uring(entries, how, &r->uring);
	if (rc) {
		free(r);
		return cannot_open(rc);
	}
	*out = r;
	return 0;
}

void tcp_ring_close(struct tcp_ring *r)
{
	if (!r)
		return;
	io_uring_queue_exit(&r->uring);
	free(r);
}

int tcp_ring_fd(const struct tcp_ring *r)
{
	return r->uring.ring_fd;
}

/* The completion queue is full: what has come is to be taken first. */
static bool is_busy(int rc)
{
	return rc == -EBUSY || rc == -EAGAIN || rc == -EINTR;
}

int tcp_ring_flush(struct tcp_ring *r)
{
	int rc;

	if (r->dead)
		return -EIO;
	if (!io_uring_sq_ready(&r->uring))
		return 0;
	rc = io_uring_submit(&r->uring);
	if (rc >= 0 || is_busy(rc))
		return 0;
	r->dead = true;
	return err_set(rc, "tcp: io_uring: %s", strerror(-rc));
}

int tcp_ring_wait(struct tcp_ring *r, int timeout_ms)
{
	struct __kernel_timespec t = {.tv_sec = timeout_ms / 1000,
				      .tv_nsec = timeout_ms % 1000 * 1000000L};
	struct io_uring_cqe *cqe;
	int rc;

	if (r->dead)
		return -EIO;
	rc = io_uring_submit_and_wait_timeout(&r->uring, &cqe, 1, timeout_ms < 0 ? NULL : &t, NULL);
	if (rc >= 0 || rc == -ETIME || is_busy(rc))
		return 0;
	r->dead = true;
	return err_set(rc, "tcp: io_uring: %s", strerror(-rc));
}

/* A queue entry that says whose and what it is. Full, the queue is flushed. */
static struct io_uring_sqe *new_entry(struct tcp_ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

	for (int i = 0; !sqe && i < FLUSH_TRIES && !tcp_ring_flush(r); i++)
		sqe = io_uring_get_sqe(&r->uring);
	if (!sqe)
		r->dead = true;
	return sqe;
}

static void mark(struct io_uring_sqe *sqe, enum tcp_what what, void *who)
{
	assert(((uintptr_t)who & WHAT_MASK) == 0);
	sqe->user_data = (uint64_t)(uintptr_t)who | (uint64_t)what;
}

void tcp_ring_recv(struct tcp_ring *r, int fd, struct msghdr *msg, void *who)
{
	struct io_uring_sqe *sqe = new_entry(r);

	if (!sqe)
		return;
	io_uring_prep_recvmsg(sqe, fd, msg, 0);
	sqe->ioprio = IORING_RECVSEND_POLL_FIRST; /* asked for just now, it can't be there */
	mark(sqe, TCP_RECEIVED, who);
}

void tcp_ring_send(struct tcp_ring *r, int fd, struct msghdr *msg, void *who)
{
	struct io_uring_sqe *sqe = new_entry(r);

	if (!sqe)
		return;
	io_uring_prep_sendmsg(sqe, fd, msg, MSG_NOSIGNAL);
	mark(sqe, TCP_SENT, who);
}

static void poll_once(struct tcp_ring *r, int fd, unsigned int events, enum tcp_what what,
		      void *who)
{
	struct io_uring_sqe *sqe = new_entry(r);

	if (!sqe)
		return;
	io_uring_prep_poll_add(sqe, fd, events);
	mark(sqe, what, who);
}

void tcp_ring_watch(struct tcp_ring *r, int fd, void *who)
{
	poll_once(r, fd, POLLRDHUP | POLLHUP | POLLERR, TCP_HUNG_UP, who);
}

void tcp_ring_poll(struct tcp_ring *r, int fd, void *who)
{
	poll_once(r, fd, POLLIN, TCP_READABLE, who);
}

void tcp_ring_timeout(struct tcp_ring *r, uint64_t ns, void *who)
{
	struct io_uring_sqe *sqe = new_entry(r);

	if (!sqe)
		return;
	r->timeout.tv_sec = (int64_t)(ns / 1000000000);
	r->timeout.tv_nsec = (long long)(ns % 1000000000);
	io_uring_prep_timeout(sqe, &r->timeout, 0, 0);
	mark(sqe, TCP_TIMED_OUT, who);
}

void tcp_ring_nudge(struct tcp_ring *r, void *who)
{
	struct io_uring_sqe *sqe = new_entry(r);

	if (!sqe)
		return;
	io_uring_prep_nop(sqe);
	mark(sqe, TCP_NUDGED, who);
}

bool tcp_ring_next(struct tcp_ring *r, struct tcp_event *out)
{
	struct io_uring_cqe *cqe = NULL;

	if (io_uring_peek_cqe(&r->uring, &cqe) || !cqe)
		return false;
	out->what = (enum tcp_what)(cqe->user_data & WHAT_MASK);
	out->who = (void *)(uintptr_t)(cqe->user_data & ~WHAT_MASK);
	out->res = cqe->res;
	io_uring_cqe_seen(&r->uring, cqe);
	return true;
}
