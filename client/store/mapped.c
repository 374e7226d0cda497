/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/mapped.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "client/store/clock.h"
#include "common/base/first_look.h"
#include "common/compat.h"

#define HUGE_BYTES (2UL << 20)
#define HUGE_SLOTS (HUGE_BYTES / PAGE_BYTES)
#define SLOW_NS	   1000000U /* a huge page takes 0.1 to 0.2 ms, 512 small ones 0.7 to 1.2 */
#define LOOKS	   4U	    /* 20 us more by small pages where one takes 3.4 to 6 */
#define SLOW_PAUSE 8U /* of which so many are not tried when one did not, then twice as many */

int mapped_reserve(struct mapped *m)
{
	size_t bytes = m->nr_slots * PAGE_BYTES + HUGE_BYTES;
	void *area =
		mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		return -ENOMEM;
	m->area = area;
	m->area_bytes = bytes;
	m->base = (char *)(((uintptr_t)area + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	return 0;
}

void mapped_release(struct mapped *m)
{
	if (m->area)
		munmap(m->area, m->area_bytes);
	m->area = NULL;
}

void mapped_note_new(struct mapped *m, unsigned int nr, uint64_t since_ns)
{
	uint64_t ns = (store_now_ns() - since_ns) / nr;

	m->new_ns = m->new_ns ? (7 * m->new_ns + ns) / 8 : ns;
}

/* Longer than its small pages would have taken, and the first looks at them? Both this program and
 * the kernel on its behalf look at each, by tables of their own where that is dear, and not once:
 * the host forgets. */
static bool was_slow(const struct mapped *m, uint64_t ns)
{
	return ns >= SLOW_NS && ns > HUGE_SLOTS * (m->new_ns + LOOKS * first_look_ns());
}

bool mapped_make_huge(struct mapped *m, uint64_t slot)
{
	uint64_t first = slot & ~(HUGE_SLOTS - 1), since;
	char *at;

	if (slot >= m->nr_slots || first < m->tried || first + HUGE_SLOTS > m->nr_slots)
		return false;
	at = m->base + first * PAGE_BYTES;
	since = store_now_ns();
	*(volatile char *)at; /* one of its pages has to be there */
	if (madvise(at, HUGE_BYTES, MADV_COLLAPSE)) {
		m->tried = errno == EAGAIN ? first + HUGE_SLOTS : UINT64_MAX;
		return false;
	}
	if (was_slow(m, store_now_ns() - since))
		m->pause = m->pause ? 2 * m->pause : SLOW_PAUSE;
	else
		m->pause = 0;
	m->top = first + HUGE_SLOTS;
	m->tried = m->top + m->pause * HUGE_SLOTS;
	return true;
}

static void write_page(struct mapped *m, const struct store_req *req, char *page)
{
	uint64_t since;

	if (req->slot < m->top) {
		memcpy(page, req->buf, PAGE_BYTES);
		return;
	}
	since = store_now_ns();
	memcpy(page, req->buf, PAGE_BYTES);
	mapped_note_new(m, 1, since);
	m->top = req->slot + 1;
}

static int copy_page(struct mapped *m, const struct store_req *req)
{
	char *page;

	if (req->slot >= m->nr_slots)
		return -ERANGE;
	page = m->base + req->slot * PAGE_BYTES;
	if (req->op == STORE_WRITE)
		write_page(m, req, page);
	else
		memcpy(req->buf, page, PAGE_BYTES);
	return 0;
}

unsigned int mapped_room(const struct mapped *m)
{
	return MAPPED_MAX_DONE - (m->head - m->tail);
}

void mapped_done(struct mapped *m, const struct store_req *req, int res)
{
	m->done[m->head++ % MAPPED_MAX_DONE] = (struct store_done){.tag = req->tag, .res = res};
}

unsigned int mapped_submit(struct mapped *m, const struct store_req *req, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr && mapped_room(m); i++) {
		/* The next one: outside of the memory it is not read, and does no harm. */
		if (i + 1 < nr && req[i + 1].op == STORE_READ)
			page_prefetch(m->base + req[i + 1].slot * PAGE_BYTES);

		mapped_done(m, &req[i], copy_page(m, &req[i]));
	}
	return i;
}

unsigned int mapped_reap(struct mapped *m, struct store_done *out, unsigned int max)
{
	unsigned int n = 0;

	while (n < max && m->tail != m->head)
		out[n++] = m->done[m->tail++ % MAPPED_MAX_DONE];
	return n;
}
