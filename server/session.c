/* SPDX-License-Identifier: Apache-2.0 */
#include "server/session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/conn/rdma.h"
#include "server/client.h"
#include "server/server.h"

static int draw_token(uint8_t *token)
{
	ssize_t n = getrandom(token, WIRE_TOKEN_BYTES, 0);

	return n == WIRE_TOKEN_BYTES ? 0 : err_set(-EIO, "the server has no random numbers");
}

/* Accepts a half-made one. Nobody reaches a slab any more before it goes. */
static void release(struct session *old)
{
	for (size_t i = 0; old->region && i < old->tenant.nr_slabs; i++)
		verbs_release(old->region[i]);
	free(old->region);
	verbs_domain_put(old->domain);
	tenant_close(&old->tenant);
	free(old);
}

/* Slabs shall be near the device that reaches into them, unless somebody said where. */
static int open_regions(struct session *new, const struct client *c)
{
	uint64_t nr = tenant_slabs_left(&new->tenant);

	new->domain = verbs_domain_get(verbs_domain(c->verbs));
	if (new->tenant.node == SLAB_NODE_ANY)
		new->tenant.node = verbs_node(new->domain);
	if (!slab_has_node(new->tenant.node))
		new->tenant.node = SLAB_NODE_ANY;
	new->region = nr ? calloc(nr, sizeof(struct verbs_region *)) : NULL;
	return nr && !new->region ? err_set(-ENOMEM, "the server is out of memory") : 0;
}

int session_open(struct server *s, struct client *c, const struct wire_hello *h)
{
	struct session *new = calloc(1, sizeof(*new));
	int rc;

	if (!new)
		return err_set(-ENOMEM, "the server is out of memory");
	rc = h->access != WIRE_ACCESS_DESCRIPTOR ? draw_token(new->token) : 0;
	if (!rc)
		rc = tenant_open(&new->tenant, &s->bank, h->wanted_bytes);
	if (!rc && h->access == WIRE_ACCESS_RDMA)
		rc = open_regions(new, c);
	if (rc) {
		release(new);
		return rc;
	}
	new->access = h->access;
	new->patience_s = h->patience_s;
	new->tenant.maps = h->access != WIRE_ACCESS_DESCRIPTOR;
	new->id = s->next_session++;
	new->member[0] = c;
	memcpy(new->name, h->name, sizeof(new->name));
	new->next = s->sessions;
	s->sessions = new;
	c->session = new;
	return 0;
}

/* Takes as long whether the first byte is wrong or the last. */
static bool is_token(const uint8_t *a, const uint8_t *b)
{
	unsigned int differs = 0, is_set = 0;

	for (size_t i = 0; i < WIRE_TOKEN_BYTES; i++) {
		differs |= a[i] ^ b[i];
		is_set |= a[i];
	}
	return is_set && !differs;
}

struct session *session_find(const struct server *s, const struct wire_join *j, uint16_t access)
{
	struct session *at = s->sessions;

	while (at && at->id != j->session)
		at = at->next;
	if (!at || !is_token(at->token, j->token) || at->access != access)
		return NULL;
	return at;
}

void session_join(struct session *at, struct client *c, unsigned int which)
{
	assert(!at->member[which]);
	at->member[which] = c;
	c->session = at;
	memcpy(c->name, at->name, sizeof(c->name));
}

static void session_free(struct server *s, struct session *old)
{
	struct session **at = &s->sessions;

	while (*at != old)
		at = &(*at)->next;
	*at = old->next;
	release(old);
}

void session_leave_to(struct client *c)
{
	struct session *at = c->session;

	at->member[at->member[0] != c] = NULL;
	c->session = NULL;
}

void session_leave(struct server *s, struct client *c)
{
	struct session *old = c->session;

	if (!old)
		return;
	if (old->member[0] == c)
		log_info("client left name=%s %s session=%llu", c->name, c->who,
			 (unsigned long long)old->id);
	session_leave_to(c);
	if (!old->member[0] && !old->member[1])
		session_free(s, old);
}

struct client *session_other(const struct client *c)
{
	return c->session ? c->session->member[c->session->member[0] == c] : NULL;
}
