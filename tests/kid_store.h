/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores behind a mirror, for its unit test and its fuzzer: each keeps one word of each page,
 * answers as often as it may, refuses, is full, or is lost. Opened anew it is empty, unless
 * it is gone on with.
 */
#ifndef RMEM_TESTS_KID_STORE_H
#define RMEM_TESTS_KID_STORE_H

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "client/store/open.h"
#include "common/base/err.h"

#define KIDS	    3U
#define KID_SLOTS   256U
#define KID_QUEUE   1024U
#define KID_ANSWERS UINT32_MAX /* as many as it is asked */

static struct kid {
	struct store store;
	uint64_t word[KID_SLOTS];
	struct store_req queue[KID_QUEUE];
	unsigned int nr, may_answer, reads, writes, opened;
	bool open, lost, refuses_reads, refuses_writes, full;
	bool away; /* its server does not answer */
} kid[KIDS];

static int kid_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct kid *k = (struct kid *)s;
	unsigned int i = 0;

	assert(k->open);
	if (k->lost)
		return err_set(-EPIPE, "hung up");
	for (; i < nr && !k->full && k->nr < KID_QUEUE; i++)
		k->queue[k->nr++] = req[i];
	return (int)i;
}

static int kid_serve(struct kid *k, const struct store_req *q)
{
	assert(q->slot < KID_SLOTS);
	if (q->op == STORE_WRITE) {
		k->writes++;
		if (k->refuses_writes)
			return -EIO;
		k->word[q->slot] = *(const uint64_t *)q->buf;
		return 0;
	}
	k->reads++;
	if (k->refuses_reads)
		return -EIO;
	*(uint64_t *)q->buf = k->word[q->slot];
	return 0;
}

static int kid_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct kid *k = (struct kid *)s;
	unsigned int n = 0;

	assert(k->open);
	if (k->lost)
		return err_set(-EPIPE, "hung up");
	for (; n < max && n < k->nr && k->may_answer; n++) {
		out[n] = (struct store_done){.tag = k->queue[n].tag,
					     .res = kid_serve(k, &k->queue[n])};
		k->may_answer -= k->may_answer != KID_ANSWERS;
	}
	memmove(k->queue, k->queue + n, (k->nr - n) * sizeof(*k->queue));
	k->nr -= n;
	return (int)n;
}

static int kid_pollfd(struct store *s)
{
	(void)s;
	return -1;
}

static void kid_close(struct store *s)
{
	assert(((struct kid *)s)->open);
	((struct kid *)s)->open = false;
}

static const struct store_ops kid_ops = {
	.submit = kid_submit, .reap = kid_reap, .pollfd = kid_pollfd, .close = kid_close};

/* kid:N */
static int kid_open(const struct spec *spec, const struct store_open_args *args, struct store **out)
{
	struct kid *k = &kid[spec->rest[0] - '0'];
	const struct handed *old = handover_get(args->handover);

	assert(!k->open || old);
	if (k->away) {
		k->open = false;
		return err_set(-ECONNREFUSED, "refused");
	}
	if (!old)
		memset(k->word, 0, sizeof(k->word)); /* a new lease is empty */
	handover_set(args->handover, &(struct handed){.used = true});
	k->store = (struct store){.ops = &kid_ops, .nr_slots = args->bytes / PAGE_BYTES};
	k->open = true;
	k->lost = false;
	k->nr = 0;
	k->opened++;
	*out = &k->store;
	return 0;
}

#endif
