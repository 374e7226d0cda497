/* SPDX-License-Identifier: Apache-2.0 */
#include "server/peer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/conn/tcp.h"

struct peer *peer_new(struct client *c, struct tcp_ring *ring, int fd)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (p) {
		p->client = c;
		p->ring = ring;
		p->fd = fd;
	}
	return p;
}

void peer_free(struct peer *p)
{
	free(p);
}

static unsigned int nr_out(const struct peer *p)
{
	return p->out_head - p->out_tail;
}

/* ---- answers ---- */

static struct peer_out *new_out(struct peer *p, const struct wire_msg *m)
{
	struct peer_out *out = &p->out[p->out_head % PEER_MAX_OUT];

	assert(nr_out(p) < PEER_MAX_OUT);
	p->out_head++;
	out->head_bytes = wire_encode(m, out->head);
	out->page_bytes = 0;
	return out;
}

void peer_say(struct peer *p, const struct wire_msg *m)
{
	new_out(p, m);
}

void peer_send_pages(struct peer *p, uint64_t request, char *from, uint32_t nr_pages)
{
	struct wire_msg m = {.type = WIRE_DATA, .request = request, .data.nr_pages = nr_pages};
	struct peer_out *out = new_out(p, &m);

	out->pages = from;
	out->page_bytes = nr_pages * WIRE_PAGE_BYTES;
}

void peer_take_pages(struct peer *p, uint64_t request, char *to, uint32_t nr_pages)
{
	p->fill = to;
	p->fill_bytes = nr_pages * WIRE_PAGE_BYTES;
	p->fill_request = request;
}

static void send_more(struct peer *p)
{
	struct iovec *iov = p->out_iov;
	size_t skip = p->out_done_bytes;

	for (unsigned int i = p->out_tail; i != p->out_head; i++) {
		struct peer_out *out = &p->out[i % PEER_MAX_OUT];
		size_t head = skip < out->head_bytes ? skip : out->head_bytes;
		size_t pages = skip - head;

		if (head < out->head_bytes)
			*iov++ = (struct iovec){out->head + head, out->head_bytes - head};
		if (pages < out->page_bytes)
			*iov++ = (struct iovec){out->pages + pages, out->page_bytes - pages};
		skip = 0;
	}
	p->out_msg =
		(struct msghdr){.msg_iov = p->out_iov, .msg_iovlen = (size_t)(iov - p->out_iov)};
	p->sending = true;
	tcp_ring_send(p->ring, p->fd, &p->out_msg, p);
}

static void sent(struct peer *p, size_t bytes)
{
	bytes += p->out_done_bytes;
	while (nr_out(p)) {
		const struct peer_out *out = &p->out[p->out_tail % PEER_MAX_OUT];

		if (bytes < out->head_bytes + out->page_bytes)
			break;
		bytes -= out->head_bytes + out->page_bytes;
		p->out_tail++;
	}
	p->out_done_bytes = bytes;
	if (p->state == PEER_LAST_WORDS && !nr_out(p))
		tcp_finish(p->fd);
}

/* ---- what comes ---- */

static void receive_more(struct peer *p)
{
	struct iovec *iov = p->in_iov;

	if (p->fill_bytes)
		*iov++ = (struct iovec){p->fill, p->fill_bytes};
	*iov++ = (struct iovec){p->in + p->in_bytes, PEER_IN_BYTES - p->in_bytes};
	p->in_msg = (struct msghdr){.msg_iov = p->in_iov, .msg_iovlen = (size_t)(iov - p->in_iov)};
	p->receiving = true;
	p->receiving_pages = p->fill_bytes != 0;
	tcp_ring_recv(p->ring, p->fd, &p->in_msg, p);
}

static void filled(struct peer *p, size_t bytes)
{
	struct wire_msg m = {.type = WIRE_WRITTEN, .request = p->fill_request};

	p->fill += bytes;
	p->fill_bytes -= bytes;
	if (!p->fill_bytes)
		peer_say(p, &m);
}

static void received(struct peer *p, size_t bytes)
{
	size_t pages = bytes < p->fill_bytes ? bytes : p->fill_bytes;

	if (pages)
		filled(p, pages);
	p->in_bytes += bytes - pages;
}

static void drop_in(struct peer *p, size_t bytes)
{
	p->in_bytes -= bytes;
	memmove(p->in, p->in + bytes, p->in_bytes);
}

/* Pages that came along behind their WRITE. */
static void fill_from_in(struct peer *p)
{
	size_t bytes = p->in_bytes < p->fill_bytes ? p->in_bytes : p->fill_bytes;

	if (!bytes)
		return;
	memcpy(p->fill, p->in, bytes);
	drop_in(p, bytes);
	filled(p, bytes);
}

int peer_next(struct peer *p, struct wire_msg *out)
{
	int len, rc;

	fill_from_in(p);
	if (p->fill_bytes || PEER_MAX_OUT - nr_out(p) < PEER_ONE_ROUND)
		return 0;
	len = wire_length(p->in, p->in_bytes);
	out->request = 0;
	if (len <= 0 || (size_t)len > p->in_bytes)
		return len < 0 ? len : 0;
	rc = wire_decode(p->in, (size_t)len, out);
	drop_in(p, (size_t)len);
	return rc ? rc : 1;
}

/* ---- */

bool peer_event(struct peer *p, const struct tcp_event *ev)
{
	if (ev->what == TCP_SENT)
		p->sending = false;
	else
		p->receiving = p->receiving_pages = false;
	if (p->state == PEER_CUT)
		return true;
	if (ev->res <= 0)
		return false;
	if (ev->what == TCP_SENT)
		sent(p, (size_t)ev->res);
	else if (p->state == PEER_OPEN)
		received(p, (size_t)ev->res);
	return true;
}

void peer_go(struct peer *p)
{
	if (p->state == PEER_CUT)
		return;
	if (!p->sending && nr_out(p))
		send_more(p);
	if (!p->receiving && (p->fill_bytes || p->in_bytes < PEER_IN_BYTES) &&
	    PEER_MAX_OUT - nr_out(p) >= PEER_ONE_ROUND)
		receive_more(p);
}

void peer_last_words(struct peer *p)
{
	p->state = PEER_LAST_WORDS;
	p->in_bytes = p->fill_bytes = 0;
}

void peer_cut(struct peer *p)
{
	if (p->state != PEER_CUT)
		tcp_cut(p->fd);
	p->state = PEER_CUT;
}

bool peer_is_clear(const struct peer *p)
{
	return !p->sending && !p->receiving_pages && (p->state == PEER_CUT || !nr_out(p));
}

bool peer_is_over(const struct peer *p)
{
	return p->state == PEER_CUT && !p->sending && !p->receiving;
}
