/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receives and sends that are under way, many at once, through one io_uring. Its
 * owner queues, flushes, and takes what has come to pass:
 *
 *	recv, send, watch, timeout --> flush --> (the kernel) --> next, one event each
 *
 * What an operation points at (message, vectors, buffers) must stay where it is until
 * its event was taken. One thread.
 */
#ifndef RMEM_CONN_TCP_RING_H
#define RMEM_CONN_TCP_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum tcp_what {
	TCP_RECEIVED,  /* res: bytes; 0 the peer has said all; -errno */
	TCP_SENT,      /* res: bytes, maybe not all; -errno */
	TCP_HUNG_UP,   /* the peer is going, or gone */
	TCP_TIMED_OUT, /* the time of tcp_ring_timeout() is over */
	TCP_READABLE,  /* the descriptor of tcp_ring_poll() */
	TCP_NUDGED,
};

struct tcp_event {
	enum tcp_what what;
	int res;
	void *who; /* as given with the operation; 8-byte aligned */
};

struct tcp_ring;

/* How its owner waits. */
enum tcp_waiting {
	TCP_WAITS_IN_RING, /* by tcp_ring_wait() alone, always the thread that opened it */
	TCP_POLLS_FD,
};

/* 0 and returns owned, or -errno with err text. */
int tcp_ring_open(unsigned int entries, enum tcp_waiting how, struct tcp_ring **out)
	__attribute__((warn_unused_result));

/* Accepts NULL. Operations under way are given up. */
void tcp_ring_close(struct tcp_ring *r);

/* Readable when there are events. */
int tcp_ring_fd(const struct tcp_ring *r);

void tcp_ring_recv(struct tcp_ring *r, int fd, struct msghdr *msg, void *who);
void tcp_ring_send(struct tcp_ring *r, int fd, struct msghdr *msg, void *who);

/* One event when the peer hangs up; what it says before that does not matter. */
void tcp_ring_watch(struct tcp_ring *r, int fd, void *who);

/* One event when any descriptor, say an epoll's, is readable. */
void tcp_ring_poll(struct tcp_ring *r, int fd, void *who);

/* One event when @ns have gone; one timeout at a time. */
void tcp_ring_timeout(struct tcp_ring *r, uint64_t ns, void *who);

/* An event of its own making, so that the ring's descriptor is readable. */
void tcp_ring_nudge(struct tcp_ring *r, void *who);

/* Hands to the kernel what was queued. 0 or -errno when the ring is of no use any more. */
int tcp_ring_flush(struct tcp_ring *r) __attribute__((warn_unused_result));

/* The same, and waits for an event, at most @timeout_ms (-1: for ever). */
int tcp_ring_wait(struct tcp_ring *r, int timeout_ms) __attribute__((warn_unused_result));

/* The next event; false when there is none. */
bool tcp_ring_next(struct tcp_ring *r, struct tcp_event *out);

#endif
