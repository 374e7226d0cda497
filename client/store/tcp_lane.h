/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane: one tcp connection of a store and the requests on it. Neighbouring slots of
 * the same kind become one run, which is one message, until it is sent. Answers come
 * in the order of requests, so what is received goes straight to where it belongs:
 *
 *	page   [ tail ........................................ head )  buffers and tags
 *	run    [ tail ... answered next ... sent ... waiting .. head )
 *
 * One send and one receive are under way at a time, each of as many runs as fit.
 */
#ifndef RMEM_STORE_TCP_LANE_H
#define RMEM_STORE_TCP_LANE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "client/core/store.h"
#include "client/store/tcp_session.h"
#include "common/conn/tcp_ring.h"
#include "common/wire/wire.h"

#define LANE_MAX_PAGES 2048U /* powers of two */
#define LANE_MAX_IOV   512U
#define LANE_MAX_DONE  (2 * TCP_NR_LANES * LANE_MAX_PAGES)

struct lane_page {
	void *buf;
	uint32_t tag;
};

struct lane_run {
	uint64_t request;
	uint64_t slot;
	uint32_t page; /* its first, runs freely */
	uint32_t nr_pages;
	uint8_t op; /* enum store_op */
	uint8_t out[WIRE_RUN_BYTES];
	uint8_t in[WIRE_DATA_BYTES];
};

/* What was completed and not yet reaped. */
struct lane_done {
	struct store_done done[LANE_MAX_DONE];
	uint32_t head, tail; /* run freely */
};

struct lane {
	const struct tcp_session *session;
	struct tcp_ring *ring;
	struct lane_done *done;
	int fd;
	uint64_t next_request;
	uint64_t progress_ns; /* when anything moved last, or began to */
	bool sending, receiving;

	struct lane_page page[LANE_MAX_PAGES];
	uint32_t page_head, page_tail;
	struct lane_run run[LANE_MAX_PAGES];
	uint32_t run_head, run_sent, run_tail;

	struct iovec out_iov[LANE_MAX_IOV];
	struct msghdr out_msg;

	struct iovec in_iov[LANE_MAX_IOV];
	struct msghdr in_msg;
	size_t in_bytes; /* of the answer at the tail */
};

/* @fd and what it is given is borrowed. */
void lane_init(struct lane *l, const struct tcp_session *s, enum tcp_lane_name name,
	       struct tcp_ring *ring, struct lane_done *done);

/* False when it is full. */
bool lane_add(struct lane *l, const struct store_req *req);

/* Sends and receives what can be. */
void lane_go(struct lane *l);

/* Notes what came to pass. 0; when the server is lost, what tcp_loss.h says. */
int lane_event(struct lane *l, const struct tcp_event *ev) __attribute__((warn_unused_result));

static inline bool lane_is_idle(const struct lane *l)
{
	return l->run_head == l->run_tail;
}

#endif
