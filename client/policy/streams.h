/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default policy. Faults that go on in equal steps (walks.h) become a
 * stream; from then on its pages come before they are touched, a window at a
 * time, the next one being asked for when the first page of the last is
 * reached. Where there is no pattern nothing comes.
 *
 *	head: last page seen            tail: first page not planned
 *	  #  .  .  .  .  m  =  =  =  =  =  =  |
 *	                 `---- window -----'
 *
 * The window doubles each time the stream goes on as planned. It is halved when
 * it goes on otherwise, when a page of it was not there, or was given up unused;
 * a stream that has no window left is none.
 *
 * Where half of a small region was missed in whatever order (spots.h), or pages of a matrix
 * a column apart (columns.h), a rough stream begins: what was left out before its head is
 * planned with the window after it. Who goes on in any order is often beyond that before
 * the marker is touched: only several times in a row halve the window.
 *
 * What leaves is the business of keep.h.
 */
#ifndef RMEM_POLICY_STREAMS_H
#define RMEM_POLICY_STREAMS_H

#include "client/core/policy.h"
#include "client/policy/columns.h"
#include "client/policy/keep.h"
#include "client/policy/spots.h"
#include "client/policy/walks.h"
#include "client/policy/zeros.h"

#define STREAMS	      32U
#define STREAM_FIRST  4U   /* pages of the first window */
#define STREAM_LEAST  2U   /* of the smallest */
#define STREAM_WINDOW 128U /* of the largest */
#define STREAM_ROUGH  32U  /* of the first of a rough one */
#define STREAM_PROVEN 2U

struct stream {
	space_id space;
	int64_t stride;	    /* in bytes; 0: no stream */
	uint64_t base;	    /* where it began */
	int64_t head, tail; /* in steps from there */
	uint32_t window;
	uint32_t used;	  /* tick of the last hit */
	uint8_t by;	  /* index of the walker that began it */
	uint8_t hits;	  /* plans that were reached, at most STREAM_PROVEN */
	bool shrunk;	  /* since the last plan */
	uint8_t overruns; /* of a rough one, since a plan was reached */
	bool rough;	  /* goes forward, but its pages in any order */
};

/* Zeroed is ready. */
struct streams {
	struct stream stream[STREAMS];
	uint32_t tick;
	struct walks walks;
	struct spots spots;
	struct columns columns;
	struct zeros zeros;
	struct keep keep;
};

/* ctx is a struct streams. */
extern const struct policy_ops policy_streams;

#endif
