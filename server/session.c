/* SPDX-License-Identifier: Apache-2.0 */
#include "server/session.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "server/client.h"
#include "server/server.h"

static int draw_token(uint8_t *token)
{
	ssize_t n = getrandom(token, WIRE_TOKEN_BYTES, 0);

	return n == WIRE_TOKEN_BYTES ? 0 : err_set(-EIO, "the server has no random numbers");
}

int session_open(struct server *s, struct client *c, const struct wire_hello *h)
{
	struct session *new = calloc(1, sizeof(*new));
	int rc;

	if (!new)
		return err_set(-ENOMEM, "the server is out of memory");
	rc = h->access == WIRE_ACCESS_MESSAGES ? draw_token(new->token) : 0;
	if (!rc)
		rc = tenant_open(&new->tenant, &s->bank, h->wanted_bytes);
	if (rc) {
		free(new);
		return rc;
	}
	new->tenant.maps = h->access == WIRE_ACCESS_MESSAGES;
	new->id = s->next_session++;
	new->member[0] = c;
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

int session_join(struct server *s, struct client *c, const struct wire_join *j)
{
	struct session *at = s->sessions;

	while (at && at->id != j->session)
		at = at->next;
	if (!at || !is_token(at->token, j->token) || !at->member[0] || at->member[1])
		return -EACCES;
	at->member[1] = c;
	c->session = at;
	return 0;
}

static void session_free(struct server *s, struct session *old)
{
	struct session **at = &s->sessions;

	while (*at != old)
		at = &(*at)->next;
	*at = old->next;
	tenant_close(&old->tenant);
	free(old);
}

void session_leave(struct server *s, struct client *c)
{
	struct session *old = c->session;

	if (!old)
		return;
	if (old->member[0] == c)
		log_info("client left name=%s %s session=%llu", c->name, c->who,
			 (unsigned long long)old->id);
	old->member[old->member[0] != c] = NULL;
	c->session = NULL;
	if (!old->member[0] && !old->member[1])
		session_free(s, old);
}

struct client *session_other(const struct client *c)
{
	return c->session ? c->session->member[c->session->member[0] == c] : NULL;
}
