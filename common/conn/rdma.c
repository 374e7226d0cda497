/* SPDX-License-Identifier: Apache-2.0 */
/* conn rdma: the queue pair of a connection: what is posted to it, and what it completes. */
#include "common/conn/rdma.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/err.h"
#include "common/conn/rdma_parts.h"

#define WORDS_BYTES    ((size_t)(NR_RECV + NR_SAY + 1) * VERBS_MESSAGE_BYTES)
#define IS_RECV	       (1ULL << 32) /* in a work request's number; below it an index */
#define READS_A_GROUP  4	    /* that have one completion, if so many are posted together */
#define WRITES_A_GROUP 16
#define POST_AT_ONCE   64
#define PROOF_BYTES    8

/* ---- the queue pair ---- */

static char *recv_slot(const struct verbs_conn *c, unsigned int i)
{
	return c->words + (size_t)i * VERBS_MESSAGE_BYTES;
}

static char *proof_slot(const struct verbs_conn *c)
{
	return recv_slot(c, NR_RECV + NR_SAY);
}

static char *say_slot(const struct verbs_conn *c, unsigned int i)
{
	return recv_slot(c, NR_RECV + i % NR_SAY);
}

static int post_recv(struct verbs_conn *c, unsigned int i)
{
	struct ibv_sge sge = {.addr = (uintptr_t)recv_slot(c, i),
			      .length = VERBS_MESSAGE_BYTES,
			      .lkey = c->words_mr->lkey};
	struct ibv_recv_wr wr = {.wr_id = IS_RECV | i, .sg_list = &sge, .num_sge = 1}, *bad;

	return -ibv_post_recv(c->id->qp, &wr, &bad);
}

static int make_words(struct verbs_conn *c)
{
	int rc;
	void *p =
		mmap(NULL, WORDS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_set(-ENOMEM, "out of memory");
	c->words = p;
	rc = verbs_pin(c->domain, p, WORDS_BYTES, 0, &c->words_mr);
	if (rc)
		return rc;
	for (unsigned int i = 0; i < NR_RECV && !rc; i++)
		rc = post_recv(c, i);
	return rc ? err_set(rc, "RDMA device %s: %s", c->domain->name, strerror(-rc)) : 0;
}

/*
 * libsiw takes the offset 0x90000, at which it is to map a queue, for none, and gives up:
 * with something else in that place a second try has another.
 */
static int create_qp(struct verbs_conn *c, struct ibv_qp_init_attr *attr)
{
	struct ibv_cq *in_the_way;
	int rc;

	if (rdma_create_qp(c->id, c->domain->pd, attr) == 0)
		return 0;
	in_the_way = ibv_create_cq(c->id->verbs, 1, NULL, NULL, 0);
	rc = rdma_create_qp(c->id, c->domain->pd, attr) ? errno : 0;
	if (in_the_way)
		ibv_destroy_cq(in_the_way);
	return rc;
}

static int make_queue(struct verbs_conn *c, unsigned int depth)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = c->domain->cq, .recv_cq = c->domain->cq, .qp_type = IBV_QPT_RC};
	int rc;

	assert(depth <= MAX_DEPTH);
	if (c->domain->is_iwarp)
		depth *= 2; /* with proofs */
	for (c->nr_posts = 1; c->nr_posts < depth + NR_OWN;)
		c->nr_posts *= 2;
	c->post = calloc(c->nr_posts, sizeof(*c->post));
	if (!c->post)
		return err_set(-ENOMEM, "out of memory");
	attr.cap = (struct ibv_qp_cap){.max_send_wr = depth + NR_OWN,
				       .max_recv_wr = NR_RECV,
				       .max_send_sge = 1,
				       .max_recv_sge = 1};
	rc = create_qp(c, &attr);
	return rc ? verbs_no_domain(c->domain, rc) : 0;
}

int verbs_conn_make(struct verbs_conn *c, struct verbs_domain *d, unsigned int depth)
{
	int rc;

	for (c->nr = 0; c->nr < VERBS_DOMAIN_CONNS && d->conn[c->nr];)
		c->nr++;
	assert(c->nr < VERBS_DOMAIN_CONNS);
	d->conn[c->nr] = c;
	d->nr_users++;
	c->domain = d;
	rc = make_queue(c, depth);
	return rc ? rc : make_words(c);
}

void verbs_conn_unmake(struct verbs_conn *c)
{
	struct window *w;

	if (!c->domain)
		return;
	/* First the windows: rxe waits for 50 s to destroy a queue pair that one is bound to. */
	while ((w = c->windows)) {
		c->windows = w->next;
		ibv_dealloc_mw(w->mw);
		free(w);
	}
	if (c->id->qp)
		rdma_destroy_qp(c->id);
	if (c->words_mr)
		ibv_dereg_mr(c->words_mr);
	if (c->words)
		munmap(c->words, WORDS_BYTES);
	free(c->post);
	c->domain->conn[c->nr] = NULL;
	verbs_domain_put(c->domain);
	c->domain = NULL;
}

/* ---- posting ---- */

static struct post *post_at(const struct verbs_conn *c, unsigned int i)
{
	return &c->post[i % c->nr_posts];
}

/* The number of a work request, noted as posted. */
static uint64_t note(struct verbs_conn *c, enum post_kind kind, uint64_t id, bool begins_group)
{
	if (c->head == c->tail)
		c->progress_ns = verbs_now_ns();
	*post_at(c, c->head) = (struct post){.id = id, .kind = kind, .begins_group = begins_group};
	return c->head++ % c->nr_posts;
}

static int post_one(struct verbs_conn *c, enum post_kind kind, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;
	int rc;

	if (c->head - c->tail == c->nr_posts)
		return -EAGAIN;
	wr->send_flags |= IBV_SEND_SIGNALED;
	wr->wr_id = note(c, kind, 0, true);
	rc = ibv_post_send(c->id->qp, wr, &bad);
	if (rc)
		c->head--;
	return -rc;
}

int verbs_say(struct verbs_conn *c, const void *words, size_t bytes)
{
	struct ibv_sge sge = {.addr = (uintptr_t)say_slot(c, c->say_head),
			      .length = (uint32_t)bytes,
			      .lkey = c->words_mr->lkey};
	struct ibv_send_wr wr = {.sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_SEND};
	int rc;

	assert(bytes <= VERBS_MESSAGE_BYTES);
	if (c->say_head - c->say_tail == NR_SAY)
		return -EAGAIN;
	memcpy(say_slot(c, c->say_head), words, bytes);
	rc = post_one(c, POST_SAY, &wr);
	if (!rc)
		c->say_head++;
	return rc;
}

/* A window of type 2B is this connection's alone. What is posted after the binding of it
 * is done after it. */
static int bind_window(struct verbs_conn *c, struct ibv_mw *mw, const struct verbs_region *r)
{
	struct ibv_send_wr wr = {.opcode = IBV_WR_BIND_MW};
	int rc;

	wr.bind_mw.mw = mw;
	wr.bind_mw.rkey = ibv_inc_rkey(mw->rkey);
	wr.bind_mw.bind_info.mr = r->mr;
	wr.bind_mw.bind_info.addr = (uintptr_t)r->mr->addr;
	wr.bind_mw.bind_info.length = r->mr->length;
	wr.bind_mw.bind_info.mw_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	rc = post_one(c, POST_KEY, &wr);
	if (!rc)
		mw->rkey = wr.bind_mw.rkey; /* not before: the device knows it by its old one */
	return rc;
}

int verbs_share(struct verbs_conn *c, struct verbs_region *r, uint32_t *key)
{
	struct window *w;
	int rc;

	*key = r->mr->rkey;
	if (!c->domain->has_windows)
		return 0;
	if (c->say_head - c->say_tail == NR_SAY)
		return -EAGAIN;
	w = calloc(1, sizeof(*w));
	if (!w)
		return err_set(-ENOMEM, "out of memory");
	w->mw = ibv_alloc_mw(c->domain->pd, IBV_MW_TYPE_2);
	rc = w->mw ? bind_window(c, w->mw, r) : -errno;
	if (rc) {
		if (w->mw)
			ibv_dealloc_mw(w->mw);
		free(w);
		return err_set(rc, "RDMA device %s has no key left: %s", c->domain->name,
			       strerror(-rc));
	}
	w->next = c->windows;
	c->windows = w;
	*key = w->mw->rkey;
	return 0;
}

int verbs_probe(struct verbs_conn *c)
{
	struct ibv_send_wr wr = {.opcode = IBV_WR_RDMA_WRITE}; /* of nothing */
	int rc;

	if (c->is_probing)
		return 0;
	rc = post_one(c, POST_PROBE, &wr);
	c->is_probing = !rc;
	return rc;
}

/* As many of one kind as are to have one completion. */
static unsigned int group_of(const struct verbs_op *op, unsigned int nr)
{
	unsigned int most = op[0].is_write ? WRITES_A_GROUP : READS_A_GROUP, n = 1;

	while (n < nr && n < most && op[n].is_write == op[0].is_write)
		n++;
	return n;
}

/* What is posted with one doorbell. */
struct list {
	struct ibv_send_wr wr[2 * POST_AT_ONCE];
	struct ibv_sge sge[2 * POST_AT_ONCE];
	unsigned int nr;
};

static void add(struct list *l, const struct verbs_op *op, uint32_t lkey, uint64_t wr_id,
		bool is_signalled)
{
	struct ibv_sge *sge = &l->sge[l->nr];
	struct ibv_send_wr *wr = &l->wr[l->nr];

	*sge = (struct ibv_sge){.addr = (uintptr_t)op->local, .length = op->bytes, .lkey = lkey};
	*wr = (struct ibv_send_wr){
		.wr_id = wr_id,
		.sg_list = sge,
		.num_sge = 1,
		.opcode = op->is_write ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ,
		.send_flags = is_signalled ? IBV_SEND_SIGNALED : 0,
	};
	wr->wr.rdma.remote_addr = op->remote;
	wr->wr.rdma.rkey = op->key;
	if (l->nr)
		l->wr[l->nr - 1].next = wr;
	l->nr++;
}

/* A read of a little of the last write is done after all of the group are where they
 * shall be. */
static void add_proof(struct verbs_conn *c, struct list *l, const struct verbs_op *last)
{
	struct verbs_op op = *last;

	op.is_write = false;
	op.local = proof_slot(c);
	op.bytes = PROOF_BYTES;
	add(l, &op, c->words_mr->lkey, note(c, POST_PROOF, 0, false), true);
}

static void add_group(struct verbs_conn *c, struct list *l, uint32_t lkey,
		      const struct verbs_op *op, unsigned int nr)
{
	bool needs_proof = op->is_write && c->domain->is_iwarp;

	for (unsigned int i = 0; i < nr; i++)
		add(l, &op[i], lkey, note(c, op->is_write ? POST_WRITE : POST_READ, op[i].id, !i),
		    i + 1 == nr && !needs_proof);
	if (needs_proof)
		add_proof(c, l, &op[nr - 1]);
}

static int post_some(struct verbs_conn *c, uint32_t lkey, const struct verbs_op *op,
		     unsigned int nr)
{
	struct ibv_send_wr *bad;
	struct list l;

	l.nr = 0;
	for (unsigned int i = 0, n; i < nr; i += n) {
		n = group_of(op + i, nr - i);
		add_group(c, &l, lkey, op + i, n);
	}
	return -ibv_post_send(c->id->qp, l.wr, &bad);
}

int verbs_post(struct verbs_conn *c, const struct verbs_region *local, const struct verbs_op *op,
	       unsigned int nr)
{
	int rc = 0;

	assert(c->head - c->tail + (c->domain->is_iwarp ? 2 * nr : nr) <= c->nr_posts);
	for (unsigned int i = 0; i < nr && !rc; i += POST_AT_ONCE)
		rc = post_some(c, local->mr->lkey, op + i,
			       nr - i < POST_AT_ONCE ? nr - i : POST_AT_ONCE);
	if (rc)
		c->why = "a request could not be posted";
	return rc;
}

uint64_t verbs_silent_ns(const struct verbs_conn *c)
{
	return c->head == c->tail ? 0 : verbs_now_ns() - c->progress_ns;
}

/* ---- completions ---- */

static int res_of(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_SUCCESS:
		return 0;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return -ETIMEDOUT;
	case IBV_WC_REM_ACCESS_ERR:
		return -EACCES;
	case IBV_WC_WR_FLUSH_ERR:
		return -ECANCELED; /* an end that had another reason */
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_OP_ERR:
		return -EREMOTEIO;
	default:
		return -EIO;
	}
}

const char *verbs_why(const struct verbs_conn *c)
{
	return c->why ? c->why : "the other side hung up";
}

static void note_failure(struct verbs_conn *c, enum ibv_wc_status status)
{
	if (!c->why && status != IBV_WC_WR_FLUSH_ERR)
		c->why = ibv_wc_status_str(status);
}

/* What is done and was not told of. Posts of our own show only when they fail. */
static bool tell(struct verbs_conn *c, struct verbs_done *out)
{
	while (c->tell != c->tell_end) {
		const struct post *p = post_at(c, c->tell++);
		bool is_data = p->kind == POST_READ || p->kind == POST_WRITE;

		if (p->kind == POST_SAY)
			c->say_tail++;
		else if (p->kind == POST_PROBE)
			c->is_probing = false;
		if (!is_data && (!p->res || c->is_broken))
			continue;
		c->is_broken |= p->res != 0;
		*out = (struct verbs_done){.conn = c, .res = p->res, .id = p->id};
		return true;
	}
	while (c->tail != c->head && post_at(c, c->tail)->is_done)
		c->tail++;
	return false;
}

static bool take_message(struct verbs_conn *c, const struct ibv_wc *wc, struct verbs_done *out)
{
	int res = res_of(wc->status);

	/* What was posted and comes back broken says more. */
	if (res && (c->is_broken || c->head != c->tail))
		return false;
	c->is_broken |= res != 0;
	*out = (struct verbs_done){.conn = c,
				   .is_message = true,
				   .res = res,
				   .words = recv_slot(c, (unsigned int)(wc->wr_id & ~IS_RECV)),
				   .bytes = res ? 0 : wc->byte_len};
	return true;
}

/* What became of this one became of those before it in its group, too: where it failed
 * they may have been done, but nobody knows. */
static void take_done(struct verbs_conn *c, const struct ibv_wc *wc)
{
	unsigned int last = c->tail + ((unsigned int)wc->wr_id - c->tail) % c->nr_posts;
	unsigned int first = last;

	while (first != c->tail && !post_at(c, first)->begins_group &&
	       !post_at(c, first - 1)->is_done)
		first--;
	for (unsigned int i = first; i != last + 1; i++) {
		post_at(c, i)->is_done = true;
		post_at(c, i)->res = res_of(wc->status);
	}
	c->tell = first;
	c->tell_end = last + 1;
	c->progress_ns = verbs_now_ns();
}

static struct verbs_conn *conn_of(const struct verbs_domain *d, uint32_t qp_num)
{
	for (unsigned int i = 0; i < VERBS_DOMAIN_CONNS; i++)
		if (d->conn[i] && d->conn[i]->id->qp && d->conn[i]->id->qp->qp_num == qp_num)
			return d->conn[i];
	return NULL; /* closed meanwhile */
}

unsigned int verbs_poll(struct verbs_domain *d, struct verbs_done *out, unsigned int max)
{
	unsigned int n = 0;
	struct ibv_wc wc;

	for (unsigned int i = 0; i < VERBS_DOMAIN_CONNS; i++)
		while (n < max && d->conn[i] && tell(d->conn[i], &out[n]))
			n++;
	while (n < max && ibv_poll_cq(d->cq, 1, &wc) > 0) {
		struct verbs_conn *c = conn_of(d, wc.qp_num);

		if (!c)
			continue;
		if (wc.status != IBV_WC_SUCCESS)
			note_failure(c, wc.status);
		if (wc.wr_id & IS_RECV) {
			n += take_message(c, &wc, &out[n]);
			continue;
		}
		take_done(c, &wc);
		while (n < max && tell(c, &out[n]))
			n++;
	}
	return n;
}

int verbs_heard(struct verbs_conn *c, const void *words)
{
	return post_recv(c, (unsigned int)(((const char *)words - c->words) / VERBS_MESSAGE_BYTES));
}

void verbs_fired(struct verbs_domain *d)
{
	struct ibv_cq *cq;
	unsigned int nr = 0;
	void *ctx;

	while (ibv_get_cq_event(d->channel, &cq, &ctx) == 0)
		nr++;
	if (!nr)
		return;
	ibv_ack_cq_events(d->cq, nr);
	d->is_armed = false;
}

int verbs_arm(struct verbs_domain *d)
{
	if (d->is_armed)
		return 0;
	d->is_armed = true;
	return -ibv_req_notify_cq(d->cq, 0);
}
