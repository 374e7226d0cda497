/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer: a tcp connection's bytes. Messages are cut out of what comes; answers wait in
 * a queue of fixed size, and while it is full nothing more is read: a client that does
 * not listen is not listened to. Pages are received into slabs and sent out of them.
 *
 *	open --refused--> last words: says why, reads to the end --time, end--> cut
 *	  +----------------------- gone, or its session over ------------------> cut
 *
 * While an operation that points into a slab is under way, the slab must stay: the
 * owner lets the session go when peer_is_clear().
 */
#ifndef RMEMD_PEER_H
#define RMEMD_PEER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "common/conn/tcp_ring.h"
#include "common/wire/wire.h"

#define PEER_IN_BYTES  4096U
#define PEER_MAX_OUT   64U			   /* answers; a power of two */
#define PEER_ONE_ROUND (WIRE_LEASE_MAX_SLABS + 1U) /* the most that one message makes */

enum peer_state { PEER_OPEN, PEER_LAST_WORDS, PEER_CUT };

struct peer_out {
	uint8_t head[WIRE_MAX_BYTES];
	size_t head_bytes;
	char *pages;
	size_t page_bytes;
};

struct peer {
	struct client *client;
	struct tcp_ring *ring;
	int fd;
	enum peer_state state;

	uint8_t in[PEER_IN_BYTES];
	size_t in_bytes;
	char *fill;	   /* where pages of a WRITE go ... */
	size_t fill_bytes; /* ... and how many are to come */
	uint64_t fill_request;
	struct iovec in_iov[2];
	struct msghdr in_msg;
	bool receiving, receiving_pages;

	struct peer_out out[PEER_MAX_OUT];
	unsigned int out_head, out_tail; /* run freely */
	struct iovec out_iov[2 * PEER_MAX_OUT];
	struct msghdr out_msg;
	size_t out_done_bytes; /* of the answer at the tail */
	bool sending;
};

/* Borrows @fd. NULL: out of memory. */
struct peer *peer_new(struct client *c, struct tcp_ring *ring, int fd);
void peer_free(struct peer *p);

/* The next message that is there whole, decoded: 1, 0 when there is none or no room
 * for its answer, -errno of wire_decode() (@out->request is set then). */
int peer_next(struct peer *p, struct wire_msg *out) __attribute__((warn_unused_result));

/* Answers, in the order of their requests. */
void peer_say(struct peer *p, const struct wire_msg *m);
void peer_send_pages(struct peer *p, uint64_t request, char *from, uint32_t nr_pages);
void peer_take_pages(struct peer *p, uint64_t request, char *to, uint32_t nr_pages);

/* Notes what came to pass. False when the connection is at its end. */
bool peer_event(struct peer *p, const struct tcp_event *ev);

/* Receives and sends what can be. */
void peer_go(struct peer *p);

/* What was said is sent, the rest is not read. */
void peer_last_words(struct peer *p);

void peer_cut(struct peer *p);

/* Nothing under way, or to be sent, points into a slab. */
bool peer_is_clear(const struct peer *p);

/* Cut, and nothing is under way. */
bool peer_is_over(const struct peer *p);

#endif
