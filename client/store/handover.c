/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/handover.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

const struct handed *handover_get(const struct handover *k)
{
	const struct handed *now;

	if (!k)
		return NULL;
	now = &k->copy[__atomic_load_n(&k->which, __ATOMIC_ACQUIRE)];
	return now->used ? now : NULL;
}

void handover_set(struct handover *k, const struct handed *now)
{
	if (!k)
		return;
	k->copy[!k->which] = *now;
	__atomic_store_n(&k->which, !k->which, __ATOMIC_RELEASE);
}

void handed_add_fd(struct handed *now, int fd)
{
	if (fd < 0)
		return;
	assert(now->nr_fds < HANDOVER_FDS);
	now->fd[now->nr_fds++] = fd;
}

static void close_fds(const struct handed *old)
{
	for (uint32_t i = 0; i < old->nr_fds; i++)
		close(old->fd[i]);
}

void handover_replace(struct handover *k, const struct handed *now)
{
	const struct handed *was = handover_get(k);
	struct handed old = was ? *was : (struct handed){0};

	handover_set(k, now);
	close_fds(&old);
}

void handed_set_session(struct handed *now, const struct wire_welcome *w)
{
	now->session = w->session;
	now->slab_bytes = w->slab_bytes;
	memcpy(now->token, w->token, WIRE_TOKEN_BYTES);
}

void handed_session(const struct handed *old, struct wire_welcome *w)
{
	w->session = old->session;
	w->slab_bytes = old->slab_bytes;
	memcpy(w->token, old->token, WIRE_TOKEN_BYTES);
}

unsigned int handover_nodes(const struct spec *spec)
{
	unsigned int n = 1;

	for (size_t i = 0; spec && i < spec->nr_kids; i++)
		n += handover_nodes(spec->kid[i]);
	return n;
}

struct handover *handover_of_kid(struct handover *k, const struct spec *spec, unsigned int i)
{
	if (!k)
		return NULL;
	for (k++; i--;)
		k += handover_nodes(spec->kid[i]);
	return k;
}

void handover_forget(struct handover *k, unsigned int nodes)
{
	const struct handed nothing = {0};

	for (unsigned int i = 0; k && i < nodes; i++)
		handover_set(&k[i], &nothing);
}

void handover_end(struct handover *k, unsigned int nodes)
{
	for (unsigned int i = 0; k && i < nodes; i++) {
		const struct handed nothing = {0}, *now = handover_get(&k[i]);
		struct handed old;

		if (!now)
			continue;
		old = *now;
		handover_set(&k[i], &nothing);
		close_fds(&old);
	}
}
