/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/mapped.h"

#include <errno.h>
#include <string.h>

static int copy_page(const struct mapped *m, const struct store_req *req)
{
	char *page;

	if (req->slot >= m->nr_slots)
		return -ERANGE;
	page = m->base + req->slot * PAGE_BYTES;
	if (req->op == STORE_WRITE)
		memcpy(page, req->buf, PAGE_BYTES);
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
