/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk's queue belongs to those that wait: of bulk only so much is in
 * flight that a page which a thread waits for finds a short queue. What is not
 * taken stays with the core, which may yet find it urgent.
 */
#include "client/store/file_io.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"

#define BULK_WAITED 32U	  /* pages of bulk in flight while a thread waits for one */
#define ALONE_AFTER 1024U /* requests that are not merged after a failure */

static struct file_store *to_file(struct store *s)
{
	return (struct file_store *)s;
}

/* ---- in ---- */

static bool may_take(const struct file_store *f, const struct store_req *r,
		     const unsigned int more[2], unsigned int nr)
{
	unsigned int most = f->nr_urgent ? BULK_WAITED : FILE_BULK_PAGES;

	if (r->urgent)
		return f->nr_free > nr;
	return f->in_bulk[r->op] + more[r->op] < most && f->nr_free > nr + FILE_URGENT_RUNS;
}

/* How many of the requests go now. Each may need a run of its own. */
static unsigned int count_takable(const struct file_store *f, const struct store_req *req,
				  unsigned int nr)
{
	unsigned int more[2] = {0, 0}, n = 0;

	while (n < nr && n < FILE_RUN_PAGES && may_take(f, &req[n], more, n)) {
		if (!req[n].urgent)
			more[req[n].op]++;
		n++;
	}
	return n;
}

static bool goes_before(const struct store_req *a, const struct store_req *b)
{
	if (a->urgent != b->urgent)
		return a->urgent;
	return a->op != b->op ? a->op < b->op : a->slot < b->slot;
}

/* By insertion: what leaves together got its slots in order. */
static void sort(const struct store_req **sorted, const struct store_req *req, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		unsigned int at = i;

		for (; at && goes_before(&req[i], sorted[at - 1]); at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = &req[i];
	}
}

static struct file_run *run_new(struct file_store *f, const struct store_req *r)
{
	struct file_run *run = f->free;

	f->free = run->next_free;
	f->nr_free--;
	run->slot = r->slot;
	run->nr = run->nr_iov = 0;
	run->op = (enum store_op)r->op;
	run->urgent = r->urgent;
	run->is_beyond = r->slot >= f->store.nr_slots;
	return run;
}

static void run_add(struct file_run *run, const struct store_req *r)
{
	struct iovec *last = run->nr_iov ? &run->iov[run->nr_iov - 1] : NULL;

	run->tag[run->nr++] = r->tag;
	if (last && (char *)last->iov_base + last->iov_len == r->buf)
		last->iov_len += PAGE_BYTES;
	else
		run->iov[run->nr_iov++] = (struct iovec){r->buf, PAGE_BYTES};
}

static bool continues(const struct file_store *f, const struct file_run *run,
		      const struct store_req *r)
{
	return !f->alone && !run->is_beyond && run->nr < FILE_RUN_PAGES &&
	       run->urgent == r->urgent && run->op == (enum store_op)r->op &&
	       run->slot + run->nr == r->slot && r->slot < f->store.nr_slots;
}

static void run_start(struct file_store *f, struct file_run *run)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&f->ring);

	assert(sqe); /* the ring has an entry for each run */
	if (run->is_beyond)
		io_uring_prep_nop(sqe);
	else if (run->op == STORE_WRITE)
		io_uring_prep_writev(sqe, f->disk.fd, run->iov, run->nr_iov,
				     run->slot * PAGE_BYTES);
	else
		io_uring_prep_readv(sqe, f->disk.fd, run->iov, run->nr_iov, run->slot * PAGE_BYTES);
	io_uring_sqe_set_data(sqe, run);
	f->nr_flying++;
	if (run->urgent)
		f->nr_urgent++;
	else
		f->in_bulk[run->op] += run->nr;
}

/* What the kernel has no memory for now is handed on when reap() comes by. */
static int flush(struct file_store *f)
{
	int rc = 1;

	while (!f->err && io_uring_sq_ready(&f->ring) && rc > 0)
		rc = io_uring_submit(&f->ring);
	if (rc >= 0 && !io_uring_sq_ready(&f->ring))
		return 0;
	if (rc >= 0 || rc == -EAGAIN || rc == -EBUSY || rc == -EINTR)
		return eventfd_write(f->event_fd, 1) ? -errno : 0;
	f->err = err_set(rc, "server file:%s: io_uring: %s", f->path, strerror(-rc));
	return f->err;
}

int file_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct file_store *f = to_file(s);
	const struct store_req *sorted[FILE_RUN_PAGES];
	struct file_run *run = NULL;

	if (f->err)
		return f->err;
	nr = count_takable(f, req, nr);
	sort(sorted, req, nr);
	for (unsigned int i = 0; i < nr; i++) {
		if (run && !continues(f, run, sorted[i])) {
			run_start(f, run);
			run = NULL;
		}
		if (!run)
			run = run_new(f, sorted[i]);
		run_add(run, sorted[i]);
		if (f->alone)
			f->alone--;
	}
	if (!run)
		return 0;
	run_start(f, run);
	return flush(f) ? f->err : (int)nr;
}

/* ---- out ---- */

/* The first failure; the core tries again, and stops the job if it stays. */
static void say_failure(struct file_store *f, const struct file_run *run, int res)
{
	char size[32], place[32];

	if (f->has_said)
		return;
	f->has_said = true;
	log_error("server file:%s: %s of %s at %s failed: %s: %s", f->path,
		  run->op == STORE_WRITE ? "a write" : "a read",
		  units_format_size(size, sizeof(size), run->nr * PAGE_BYTES),
		  units_format_size(place, sizeof(place), run->slot * PAGE_BYTES),
		  res < 0 ? strerror(-res) : "cut short",
		  res == -ENOSPC || res == -EDQUOT
			  ? "the disk gave less than it had reserved: free some of it"
			  : "look at the disk (dmesg)");
}

static void run_ended(struct file_store *f, struct file_run *run, int res)
{
	f->nr_flying--;
	if (run->urgent)
		f->nr_urgent--;
	else
		f->in_bulk[run->op] -= run->nr;
	if (run->is_beyond)
		res = -ERANGE;
	else if (res < (int)(run->nr * PAGE_BYTES)) {
		say_failure(f, run, res);
		f->alone = ALONE_AFTER; /* one bad block shall fail one page */
	}
	f->ended = run;
	f->ended_res = res;
	f->ended_at = 0;
}

static bool next_ended(struct file_store *f)
{
	struct io_uring_cqe *cqe;

	if (!f->ended && !io_uring_peek_cqe(&f->ring, &cqe)) {
		run_ended(f, io_uring_cqe_get_data(cqe), cqe->res);
		io_uring_cqe_seen(&f->ring, cqe);
	}
	return f->ended;
}

static int page_res(const struct file_store *f)
{
	if (f->ended_res < 0)
		return f->ended_res;
	return (f->ended_at + 1) * PAGE_BYTES <= (unsigned int)f->ended_res ? 0 : -EIO;
}

static void tell_one(struct file_store *f, struct store_done *out)
{
	struct file_run *run = f->ended;

	*out = (struct store_done){.tag = run->tag[f->ended_at], .res = page_res(f)};
	if (++f->ended_at < run->nr)
		return;
	f->ended = NULL;
	run->next_free = f->free;
	f->free = run;
	f->nr_free++;
}

/* Silent until there is more; what came in between rings again. */
static void rearm(struct file_store *f)
{
	eventfd_t n;

	if (f->ended || io_uring_cq_ready(&f->ring) || eventfd_read(f->event_fd, &n))
		return;
	if (io_uring_cq_ready(&f->ring) || io_uring_sq_ready(&f->ring))
		eventfd_write(f->event_fd, 1);
}

int file_reap(struct store *s, struct store_done *out, unsigned int max)
{
	struct file_store *f = to_file(s);
	unsigned int n = 0;

	while (n < max && next_ended(f))
		tell_one(f, &out[n++]);
	if (n < max || !max)
		rearm(f);
	if (io_uring_sq_ready(&f->ring))
		flush(f);
	return n ? (int)n : f->err;
}
