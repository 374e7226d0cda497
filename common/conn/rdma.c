/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn/rdma.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/conn/rdma_parts.h"

#define WORDS_BYTES    ((size_t)(NR_RECV + NR_SAY + 1) * VERBS_MESSAGE_BYTES)
#define IS_RECV	       (1ULL << 32) /* in a work request's number; below it an index */
#define READS_A_GROUP  4	    /* that have one completion, if so many are posted together */
#define WRITES_A_GROUP 16
#define POST_AT_ONCE   64
#define PROOF_BYTES    8

uint64_t verbs_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* ---- domain ---- */

static int node_of(const struct ibv_context *device)
{
	char path[IBV_SYSFS_PATH_MAX + 32], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/device/numa_node", device->device->ibdev_path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1; /* a device that is only software */
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = 0;
	close(fd);
	return text[0] ? atoi(text) : -1;
}

static int no_domain(const struct verbs_domain *d, int code)
{
	return err_set(-code, "RDMA device %s: %s", d->name,
		       code == ENOMEM ? "out of its resources or of memory to lock: raise ulimit -l"
				      : strerror(code));
}

static int domain_make(struct verbs_domain *d, struct ibv_context *device)
{
	struct ibv_device_attr attr;
	int cqes = VERBS_DOMAIN_CONNS * (int)(MAX_DEPTH + NR_OWN + NR_RECV);
	int rc = ibv_query_device(device, &attr);

	if (rc)
		return no_domain(d, rc);
	d->has_windows = attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B;
	d->is_iwarp = device->device->transport_type == IBV_TRANSPORT_IWARP;
	d->nr_reads = attr.max_qp_rd_atom < (int)MAX_READS ? (unsigned int)attr.max_qp_rd_atom
							   : MAX_READS;
	if (cqes > attr.max_cqe)
		cqes = attr.max_cqe;
	d->pd = ibv_alloc_pd(device);
	d->channel = d->pd ? ibv_create_comp_channel(device) : NULL;
	d->cq = d->channel ? ibv_create_cq(device, cqes, NULL, d->channel, 0) : NULL;
	if (!d->cq)
		return no_domain(d, errno);
	/* From the start: what comes before somebody could arm it would never be told of. */
	rc = verbs_arm(d);
	if (rc)
		return no_domain(d, -rc);
	rc = fcntl(d->channel->fd, F_GETFL);
	if (rc < 0 || fcntl(d->channel->fd, F_SETFL, rc | O_NONBLOCK) ||
	    fcntl(d->channel->fd, F_SETFD, FD_CLOEXEC))
		return no_domain(d, errno);
	return 0;
}

int verbs_domain_open(struct rdma_cm_id *id, struct verbs_domain **out)
{
	struct verbs_domain *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(-ENOMEM, "out of memory");
	d->nr_users = 1;
	d->node = node_of(id->verbs);
	snprintf(d->name, sizeof(d->name), "%s port %u", ibv_get_device_name(id->verbs->device),
		 id->port_num);
	rc = domain_make(d, id->verbs);
	if (rc)
		verbs_domain_put(d);
	else
		*out = d;
	return rc;
}

struct verbs_domain *verbs_domain_get(struct verbs_domain *d)
{
	d->nr_users++;
	return d;
}

void verbs_domain_put(struct verbs_domain *d)
{
	if (!d || --d->nr_users)
		return;
	if (d->cq)
		ibv_destroy_cq(d->cq);
	if (d->channel)
		ibv_destroy_comp_channel(d->channel);
	if (d->pd)
		ibv_dealloc_pd(d->pd);
	free(d);
}

struct verbs_domain *verbs_domain(const struct verbs_conn *c)
{
	return c->domain;
}

const char *verbs_device(const struct verbs_domain *d)
{
	return d->name;
}

int verbs_node(const struct verbs_domain *d)
{
	return d->node;
}

int verbs_domain_fd(const struct verbs_domain *d)
{
	return d->channel->fd;
}

/* ---- memory ---- */

/* Root may have as much as it likes; others up to their own limit. siw minds it even where
 * the kernel does not. */
static void raise_limit(void)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		return; /* then it is said which one is too low */
}

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *at, size_t bytes, int access)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, at, bytes, access);

	if (!mr && (errno == ENOMEM || errno == EPERM)) {
		raise_limit();
		mr = ibv_reg_mr(pd, at, bytes, access);
	}
	return mr;
}

/* What a read over iWARP brings comes as a write of the other side's. */
static int local_access(const struct verbs_domain *d)
{
	return d->is_iwarp ? IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE
			   : IBV_ACCESS_LOCAL_WRITE;
}

static int no_region(const struct verbs_domain *d, size_t bytes, int code)
{
	if (code == ENOMEM)
		return err_set(-code,
			       "can't lock %zu KiB for the RDMA device %s: raise ulimit -l "
			       "(LimitMEMLOCK=)",
			       bytes / 1024, d->name);
	return err_set(-code, "can't register memory with the RDMA device %s: %s", d->name,
		       strerror(code));
}

int verbs_register(struct verbs_domain *d, void *at, size_t bytes, bool is_shared,
		   struct verbs_region **out)
{
	struct verbs_region *r = calloc(1, sizeof(*r));
	int access = local_access(d);

	if (!r)
		return err_set(-ENOMEM, "out of memory");
	/* With windows the region itself has no key that does anything from outside. */
	if (is_shared)
		access |= d->has_windows ? IBV_ACCESS_MW_BIND
					 : IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	r->mr = reg_mr(d->pd, at, bytes, access);
	if (!r->mr) {
		free(r);
		return no_region(d, bytes, errno);
	}
	r->domain = d;
	d->nr_users++;
	*out = r;
	return 0;
}

int verbs_allocate(struct verbs_domain *d, size_t bytes, struct verbs_region **out)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (p == MAP_FAILED)
		return err_set(-ENOMEM, "out of memory");
	if (d->node >= 0 && numa_available() >= 0 && d->node <= numa_max_node())
		numa_tonode_memory(p, bytes, d->node);
	rc = verbs_register(d, p, bytes, false, out);
	if (rc)
		munmap(p, bytes);
	else
		(*out)->own = p;
	return rc;
}

char *verbs_memory(const struct verbs_region *r)
{
	return r->mr->addr;
}

void verbs_release(struct verbs_region *r)
{
	if (!r)
		return;
	if (r->own)
		munmap(r->own, r->mr->length);
	ibv_dereg_mr(r->mr);
	verbs_domain_put(r->domain);
	free(r);
}

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
	int rc = 0;
	void *p =
		mmap(NULL, WORDS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return err_set(-ENOMEM, "out of memory");
	c->words = p;
	c->words_mr = reg_mr(c->domain->pd, p, WORDS_BYTES, local_access(c->domain));
	if (!c->words_mr)
		return no_region(c->domain, WORDS_BYTES, errno);
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
	return rc ? no_domain(c->domain, rc) : 0;
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
	if (c->domain->is_iwarp)
		wr.opcode = IBV_WR_RDMA_READ;
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
