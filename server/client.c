/* SPDX-License-Identifier: Apache-2.0 */
#include "server/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "common/conn/shm.h"

#define MESSAGES_AT_ONCE 16 /* then the others have their turn */

int client_open(int fd, struct client **out)
{
	struct client *c = calloc(1, sizeof(*c));
	uid_t uid;

	if (!c) {
		close(fd);
		return err_set(-ENOMEM, "out of memory for one more client");
	}
	c->fd = fd;
	if (shm_peer(fd, &uid, &c->pid))
		c->pid = 0;
	*out = c;
	return 0;
}

void client_close(struct client *c)
{
	if (c->session)
		log_info("client left name=%s pid=%d session=%llu", c->name, (int)c->pid,
			 (unsigned long long)c->session);
	tenant_close(&c->tenant);
	close(c->fd);
	free(c);
}

static int send_msg(int fd, const struct wire_msg *m, int pass_fd)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(m, buf);

	return shm_send(fd, buf, bytes, pass_fd);
}

static int refuse(int fd, int rc, const struct wire_msg *m)
{
	if (send_msg(fd, m, -1))
		log_debug("a refusal was not read text=%s", m->error.text);
	return rc;
}

int client_refuse(int fd, int rc, uint64_t request, enum wire_error_code code, const char *text)
{
	struct wire_msg m = {.type = WIRE_ERROR, .request = request, .error.code = code};

	snprintf(m.error.text, sizeof(m.error.text), "%s", text);
	return refuse(fd, rc, &m);
}

static int refuse_capacity(struct client *c, const struct server *s, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_ERROR,
			     .request = in->request,
			     .error = {.code = WIRE_ERR_CAPACITY,
				       .free_bytes = bank_free_bytes(&s->bank),
				       .capacity_bytes = s->bank.capacity_bytes}};

	snprintf(m.error.text, sizeof(m.error.text), "%s", err_text(-ENOSPC));
	log_warn("refused for lack of room name=%s pid=%d: %s", in->hello.name, (int)c->pid,
		 m.error.text);
	return refuse(c->fd, -ENOSPC, &m);
}

/* May this HELLO become a session at all? */
static int check_hello(struct client *c, const struct server *s, const struct wire_msg *in)
{
	const struct wire_hello *h = &in->hello;
	char text[128];

	if (c->session)
		return client_refuse(c->fd, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
				     "a second HELLO on one connection");
	if (h->version_min > WIRE_VERSION_MAX || h->version_max < WIRE_VERSION_MIN) {
		snprintf(text, sizeof(text),
			 "this server speaks protocol %d to %d, the client %u to %u",
			 WIRE_VERSION_MIN, WIRE_VERSION_MAX, h->version_min, h->version_max);
		return client_refuse(c->fd, -EPROTONOSUPPORT, in->request, WIRE_ERR_VERSION, text);
	}
	if (h->access != WIRE_ACCESS_DESCRIPTOR)
		return client_refuse(c->fd, -EOPNOTSUPP, in->request, WIRE_ERR_ACCESS,
				     "only shared memory is served on this socket");
	if (h->auth_method != WIRE_AUTH_NONE)
		return client_refuse(c->fd, -EOPNOTSUPP, in->request, WIRE_ERR_AUTH,
				     "this server knows no authentication: send method 0");
	if (s->drain_deadline_ns)
		return client_refuse(c->fd, -ESHUTDOWN, in->request, WIRE_ERR_DRAINING,
				     "the server is being stopped");
	return 0;
}

static int on_hello(struct client *c, struct server *s, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_WELCOME, .request = in->request};
	char size[32];
	int rc = check_hello(c, s, in);

	if (rc)
		return rc;
	rc = tenant_open(&c->tenant, &s->bank, in->hello.wanted_bytes);
	if (rc == -ENOSPC)
		return refuse_capacity(c, s, in);
	if (rc)
		return client_refuse(c->fd, rc, in->request, WIRE_ERR_INTERNAL, err_text(rc));
	c->session = s->next_session++;
	c->deadline_ns = 0;
	memcpy(c->name, in->hello.name, sizeof(c->name));
	s->had_client = true;
	log_info("client name=%s pid=%d session=%llu reserved=%s", c->name, (int)c->pid,
		 (unsigned long long)c->session,
		 units_format_size(size, sizeof(size), c->tenant.reserved_bytes));
	m.welcome = (struct wire_welcome){.version = WIRE_VERSION_MAX,
					  .session = c->session,
					  .slab_bytes = SLAB_BYTES,
					  .capacity_bytes = s->bank.capacity_bytes,
					  .free_bytes = bank_free_bytes(&s->bank)};
	return send_msg(c->fd, &m, -1);
}

static int send_slab(struct client *c, uint64_t request)
{
	struct wire_msg m = {
		.type = WIRE_LEASED, .request = request, .leased.access = WIRE_ACCESS_DESCRIPTOR};
	const struct slab *slab;
	int rc = tenant_draw(&c->tenant, &slab, &m.leased.slab);

	if (rc) {
		log_error("can't lease name=%s pid=%d: %s", c->name, (int)c->pid, err_text(rc));
		return client_refuse(c->fd, rc, request, WIRE_ERR_INTERNAL, err_text(rc));
	}
	m.leased.bytes = slab->bytes;
	return send_msg(c->fd, &m, slab->fd);
}

static int on_lease(struct client *c, struct server *s, const struct wire_msg *in)
{
	int rc = 0;

	if (s->drain_deadline_ns)
		return client_refuse(c->fd, -ESHUTDOWN, in->request, WIRE_ERR_DRAINING,
				     "the server is being stopped");
	if (in->lease.nr_slabs > tenant_slabs_left(&c->tenant))
		return client_refuse(c->fd, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
				     "more slabs than the HELLO reserved");
	for (uint32_t i = 0; i < in->lease.nr_slabs && !rc; i++)
		rc = send_slab(c, in->request);
	return rc;
}

static int on_status(struct client *c, struct server *s, const struct wire_msg *in)
{
	struct wire_msg m = {.type = WIRE_STATUS_REPLY,
			     .request = in->request,
			     .status_reply = {.capacity_bytes = s->bank.capacity_bytes,
					      .reserved_bytes = s->bank.reserved_bytes,
					      .leased_bytes = s->bank.leased_bytes,
					      .nr_clients = s->nr_clients}};

	return send_msg(c->fd, &m, -1);
}

static int answer(struct client *c, struct server *s, const struct wire_msg *in)
{
	if (in->type == WIRE_HELLO)
		return on_hello(c, s, in);
	if (in->type == WIRE_BYE)
		return -EPIPE;
	if (c->session && in->type == WIRE_LEASE)
		return on_lease(c, s, in);
	if (c->session && in->type == WIRE_STATUS)
		return on_status(c, s, in);
	return client_refuse(c->fd, -EPROTO, in->request, WIRE_ERR_SEQUENCE,
			     c->session ? "this message is not for a server"
					: "the first message must be HELLO");
}

static int refuse_undecoded(struct client *c, int rc, uint64_t request)
{
	switch (rc) {
	case -EPROTONOSUPPORT:
		return client_refuse(c->fd, rc, request, WIRE_ERR_VERSION,
				     "this server speaks protocol 1");
	case -EOPNOTSUPP:
		return client_refuse(c->fd, rc, request, WIRE_ERR_TYPE,
				     "a message of unknown type");
	default:
		return client_refuse(c->fd, rc, request, WIRE_ERR_MALFORMED,
				     "not a message of this protocol");
	}
}

int client_serve(struct client *c, struct server *s)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg in;

	for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
		ssize_t n = shm_recv(c->fd, buf, sizeof(buf), NULL);
		enum request_op op;
		int rc;

		if (n == -EAGAIN)
			return 0;
		if (n == -EMSGSIZE || n == -EBADMSG)
			return refuse_undecoded(c, (int)n, 0);
		if (n < 0)
			return (int)n;
		rc = wire_decode(buf, (size_t)n, &in);
		op = rc ? REQUEST_OTHER : request_op_of(in.type);
		rc = rc ? refuse_undecoded(c, rc, in.request) : answer(c, s, &in);
		s->numbers.requests[op][rc && rc != -EPIPE]++;
		if (rc)
			return rc;
	}
	return 0;
}
