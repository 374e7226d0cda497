/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/tcp_lane.h"

#include <assert.h>
#include <string.h>

#include "client/store/tcp_loss.h"

#define MAX_SEND_BYTES (1UL << 20)

static struct lane_run *run_at(struct lane *l, uint32_t i)
{
	return &l->run[i % LANE_MAX_PAGES];
}

void lane_init(struct lane *l, const struct tcp_session *s, enum tcp_lane_name name,
	       struct tcp_ring *ring, struct lane_done *done)
{
	l->session = s;
	l->fd = s->fd[name];
	l->ring = ring;
	l->done = done;
	tcp_ring_watch(ring, l->fd, l);
}

/* ---- runs ---- */

static uint64_t slab_pages(const struct lane *l)
{
	return l->session->welcome.slab_bytes / PAGE_BYTES;
}

/* Does @req go on where the last run ends, and is that not sent yet? */
static bool continues(struct lane *l, const struct store_req *req)
{
	const struct lane_run *last = run_at(l, l->run_head - 1);

	return l->run_head != l->run_sent && last->op == req->op &&
	       last->slot + last->nr_pages == req->slot && last->nr_pages < WIRE_RUN_MAX_PAGES &&
	       req->slot % slab_pages(l) != 0;
}

bool lane_add(struct lane *l, const struct store_req *req)
{
	if (l->page_head - l->page_tail == LANE_MAX_PAGES)
		return false;
	if (lane_is_idle(l))
		l->progress_ns = tcp_deadline_ns(0);
	if (continues(l, req)) {
		run_at(l, l->run_head - 1)->nr_pages++;
	} else {
		*run_at(l, l->run_head) = (struct lane_run){.request = ++l->next_request,
							    .slot = req->slot,
							    .page = l->page_head,
							    .nr_pages = 1,
							    .op = req->op};
		l->run_head++;
	}
	l->page[l->page_head++ % LANE_MAX_PAGES] = (struct lane_page){req->buf, req->tag};
	return true;
}

static size_t answer_head_bytes(const struct lane_run *r)
{
	return r->op == STORE_READ ? WIRE_DATA_BYTES : WIRE_WRITTEN_BYTES;
}

static size_t answer_bytes(const struct lane_run *r)
{
	return answer_head_bytes(r) + (r->op == STORE_READ ? r->nr_pages * PAGE_BYTES : 0);
}

/* ---- vectors ---- */

struct vector {
	struct iovec *iov;
	size_t nr;
	size_t bytes;
	size_t skip; /* so much of what comes next is done already */
};

static void vector_add(struct vector *v, void *base, size_t bytes)
{
	size_t done = v->skip < bytes ? v->skip : bytes;
	struct iovec *last = v->nr ? &v->iov[v->nr - 1] : NULL;

	v->skip -= done;
	base = (char *)base + done;
	bytes -= done;
	v->bytes += bytes;
	if (!bytes)
		return;
	if (last && (char *)last->iov_base + last->iov_len == base)
		last->iov_len += bytes;
	else
		v->iov[v->nr++] = (struct iovec){base, bytes};
}

static void vector_add_pages(struct vector *v, struct lane *l, const struct lane_run *r)
{
	for (uint32_t i = 0; i < r->nr_pages; i++)
		vector_add(v, l->page[(r->page + i) % LANE_MAX_PAGES].buf, PAGE_BYTES);
}

static bool has_room(const struct vector *v, const struct lane_run *r)
{
	return v->nr + 1 + r->nr_pages <= LANE_MAX_IOV && v->bytes < MAX_SEND_BYTES;
}

/* ---- out ---- */

static void encode(struct lane *l, struct lane_run *r)
{
	uint8_t buf[WIRE_MAX_BYTES];
	uint64_t pages = slab_pages(l);
	struct wire_msg m = {.type = r->op == STORE_READ ? WIRE_READ : WIRE_WRITE,
			     .request = r->request,
			     .run = {.slab = l->session->slab[r->slot / pages],
				     .off_bytes = r->slot % pages * PAGE_BYTES,
				     .nr_pages = r->nr_pages}};
	size_t bytes = wire_encode(&m, buf);

	assert(bytes == WIRE_RUN_BYTES);
	memcpy(r->out, buf, WIRE_RUN_BYTES);
}

static void send_runs(struct lane *l)
{
	struct vector v = {.iov = l->out_iov};

	for (; l->run_sent != l->run_head; l->run_sent++) {
		struct lane_run *r = run_at(l, l->run_sent);

		if (!has_room(&v, r))
			break;
		encode(l, r);
		vector_add(&v, r->out, WIRE_RUN_BYTES);
		if (r->op == STORE_WRITE)
			vector_add_pages(&v, l, r);
	}
	l->out_msg = (struct msghdr){.msg_iov = l->out_iov, .msg_iovlen = v.nr};
	l->sending = true;
	tcp_ring_send(l->ring, l->fd, &l->out_msg, l);
}

/* The rest of a send that went in part. */
static void sent(struct lane *l, size_t bytes)
{
	struct msghdr *m = &l->out_msg;

	while (m->msg_iovlen && bytes >= m->msg_iov->iov_len) {
		bytes -= m->msg_iov->iov_len;
		m->msg_iov++;
		m->msg_iovlen--;
	}
	if (!m->msg_iovlen)
		return;
	m->msg_iov->iov_base = (char *)m->msg_iov->iov_base + bytes;
	m->msg_iov->iov_len -= bytes;
	l->sending = true;
	tcp_ring_send(l->ring, l->fd, m, l);
}

/* ---- in ---- */

static void receive_runs(struct lane *l)
{
	struct vector v = {.iov = l->in_iov, .skip = l->in_bytes};

	for (uint32_t i = l->run_tail; i != l->run_sent; i++) {
		struct lane_run *r = run_at(l, i);

		if (!has_room(&v, r))
			break;
		vector_add(&v, r->in, answer_head_bytes(r));
		if (r->op == STORE_READ)
			vector_add_pages(&v, l, r);
	}
	l->in_msg = (struct msghdr){.msg_iov = l->in_iov, .msg_iovlen = v.nr};
	l->receiving = true;
	tcp_ring_recv(l->ring, l->fd, &l->in_msg, l);
}

static bool is_answer(const struct lane_run *r)
{
	struct wire_msg m;

	if (wire_decode(r->in, answer_head_bytes(r), &m) || m.request != r->request)
		return false;
	if (r->op == STORE_WRITE)
		return m.type == WIRE_WRITTEN;
	return m.type == WIRE_DATA && m.data.nr_pages == r->nr_pages;
}

static void complete(struct lane *l, const struct lane_run *r)
{
	struct lane_done *d = l->done;

	for (uint32_t i = 0; i < r->nr_pages; i++)
		d->done[d->head++ % LANE_MAX_DONE] =
			(struct store_done){.tag = l->page[(r->page + i) % LANE_MAX_PAGES].tag};
	l->page_tail += r->nr_pages;
	l->run_tail++;
	l->in_bytes = 0;
}

/*
 * What stands where the head of @r's answer should: the words of an ERROR, perhaps.
 * Its rest was received behind the head, to where pages belong: @off of @bytes.
 */
static int not_an_answer(struct lane *l, const struct lane_run *r, size_t off, size_t bytes)
{
	uint8_t words[WIRE_MAX_BYTES];
	size_t have = answer_head_bytes(r);

	memcpy(words, r->in, have);
	for (const struct iovec *iov = l->in_iov; bytes && have < sizeof(words); iov++) {
		size_t part = iov->iov_len < bytes ? iov->iov_len : bytes;
		size_t skip = off < part ? off : part;
		size_t take =
			part - skip < sizeof(words) - have ? part - skip : sizeof(words) - have;

		memcpy(words + have, (char *)iov->iov_base + skip, take);
		have += take;
		off -= skip;
		bytes -= part;
	}
	return loss_of_words(l->session, l->fd, words, have);
}

static int received(struct lane *l, size_t bytes)
{
	size_t off = 0;

	while (off < bytes) {
		struct lane_run *r = run_at(l, l->run_tail);
		size_t head = answer_head_bytes(r), left = answer_bytes(r) - l->in_bytes;
		size_t part = bytes - off < left ? bytes - off : left;
		bool is_head = l->in_bytes < head;

		l->in_bytes += part;
		off += part;
		if (is_head && l->in_bytes >= head && !is_answer(r))
			return not_an_answer(l, r, off - (l->in_bytes - head), bytes);
		if (l->in_bytes == answer_bytes(r))
			complete(l, r);
	}
	return 0;
}

/* ---- */

void lane_go(struct lane *l)
{
	if (!l->sending && l->run_sent != l->run_head)
		send_runs(l);
	if (!l->receiving && l->run_tail != l->run_sent)
		receive_runs(l);
}

int lane_event(struct lane *l, const struct tcp_event *ev)
{
	if (ev->what == TCP_SENT)
		l->sending = false;
	else if (ev->what == TCP_RECEIVED)
		l->receiving = false;
	/* A receive under way brings the server's last words, or its end. */
	if (ev->what == TCP_HUNG_UP || (ev->what == TCP_SENT && ev->res <= 0))
		return l->receiving ? 0 : loss_of_words(l->session, l->fd, NULL, 0);
	if (ev->res <= 0)
		return loss_of_end(l->session, ev->res);
	l->progress_ns = tcp_deadline_ns(0);
	if (ev->what == TCP_RECEIVED)
		return received(l, (size_t)ev->res);
	sent(l, (size_t)ev->res);
	return 0;
}
