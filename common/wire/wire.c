/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "common/wire/bytes.h"

#define CHECK_OFF 12

/* Of each message a pair: put_x() writes the payload, get_x() checks it. */

static bool is_printable(const uint8_t *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (text[i] < ' ' || text[i] == 0x7f)
			return false;
	return true;
}

static void put_text(struct writer *w, const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		uint8_t c = (uint8_t)text[i];

		write_le(w, is_printable(&c, 1) ? c : '?', 1);
	}
}

static bool get_text(struct reader *r, size_t bytes, char *out, size_t max_bytes)
{
	const uint8_t *text;

	if (bytes > max_bytes)
		return false;
	text = read_bytes(r, bytes);
	if (!text || !is_printable(text, bytes))
		return false;
	memcpy(out, text, bytes);
	out[bytes] = '\0';
	return true;
}

static bool is_pages(uint64_t bytes, uint64_t max_bytes)
{
	return bytes % WIRE_PAGE_BYTES == 0 && bytes <= max_bytes;
}

static bool get_token(struct reader *r, uint8_t *out)
{
	const uint8_t *token = read_bytes(r, WIRE_TOKEN_BYTES);

	if (token)
		memcpy(out, token, WIRE_TOKEN_BYTES);
	return token != NULL;
}

static void put_hello(struct writer *w, const struct wire_msg *m)
{
	const struct wire_hello *h = &m->hello;
	size_t name_bytes = strnlen(h->name, WIRE_NAME_MAX_BYTES);

	assert(h->auth_bytes <= WIRE_AUTH_MAX_BYTES);
	write_le(w, h->version_min, 2);
	write_le(w, h->version_max, 2);
	write_le(w, h->access, 2);
	write_le(w, h->auth_method, 2);
	write_le(w, h->auth_bytes, 2);
	write_le(w, name_bytes, 2);
	write_le(w, h->patience_s, 4);
	write_le(w, h->wanted_bytes, 8);
	write_bytes(w, h->auth, h->auth_bytes);
	put_text(w, h->name, name_bytes);
}

static bool get_hello(struct reader *r, struct wire_msg *m)
{
	struct wire_hello *h = &m->hello;
	const uint8_t *auth;
	size_t name_bytes;

	h->version_min = read_u16(r);
	h->version_max = read_u16(r);
	h->access = read_u16(r);
	h->auth_method = read_u16(r);
	h->auth_bytes = read_u16(r);
	name_bytes = read_u16(r);
	h->patience_s = read_u32(r);
	h->wanted_bytes = read_u64(r);
	if (r->bad || h->version_min == 0 || h->version_min > h->version_max || h->access == 0 ||
	    h->auth_bytes > WIRE_AUTH_MAX_BYTES || h->patience_s > WIRE_MAX_PATIENCE_S ||
	    (h->auth_method == WIRE_AUTH_NONE && h->auth_bytes) ||
	    !is_pages(h->wanted_bytes, WIRE_MAX_STORE_BYTES))
		return false;
	auth = read_bytes(r, h->auth_bytes);
	if (!auth)
		return false;
	memcpy(h->auth, auth, h->auth_bytes);
	return get_text(r, name_bytes, h->name, WIRE_NAME_MAX_BYTES);
}

static void put_welcome(struct writer *w, const struct wire_msg *m)
{
	const struct wire_welcome *v = &m->welcome;

	write_le(w, v->version, 2);
	write_le(w, 0, 6);
	write_le(w, v->session, 8);
	write_le(w, v->slab_bytes, 8);
	write_le(w, v->capacity_bytes, 8);
	write_le(w, v->free_bytes, 8);
	write_bytes(w, v->token, WIRE_TOKEN_BYTES);
}

static bool get_welcome(struct reader *r, struct wire_msg *m)
{
	struct wire_welcome *v = &m->welcome;

	v->version = read_u16(r);
	read_reserved(r, 6);
	v->session = read_u64(r);
	v->slab_bytes = read_u64(r);
	v->capacity_bytes = read_u64(r);
	v->free_bytes = read_u64(r);
	return get_token(r, v->token) && v->version >= WIRE_VERSION_MIN &&
	       v->version <= WIRE_VERSION_MAX && v->slab_bytes &&
	       is_pages(v->slab_bytes, WIRE_SLAB_MAX_BYTES) &&
	       (v->slab_bytes & (v->slab_bytes - 1)) == 0 &&
	       v->capacity_bytes <= WIRE_MAX_STORE_BYTES && v->free_bytes <= v->capacity_bytes;
}

static void put_lease(struct writer *w, const struct wire_msg *m)
{
	write_le(w, m->lease.nr_slabs, 4);
	write_le(w, 0, 4);
}

static bool get_lease(struct reader *r, struct wire_msg *m)
{
	m->lease.nr_slabs = read_u32(r);
	read_reserved(r, 4);
	return m->lease.nr_slabs >= 1 && m->lease.nr_slabs <= WIRE_LEASE_MAX_SLABS;
}

static void put_leased(struct writer *w, const struct wire_msg *m)
{
	const struct wire_leased *l = &m->leased;

	write_le(w, l->access, 2);
	write_le(w, 0, 2);
	write_le(w, l->key, 4);
	write_le(w, l->address, 8);
	write_le(w, l->slab, 8);
	write_le(w, l->bytes, 8);
}

/* Key and address are there where the slab is reached by them, and nowhere else. */
static bool is_reached(const struct wire_leased *l)
{
	switch (l->access) {
	case WIRE_ACCESS_DESCRIPTOR:
	case WIRE_ACCESS_MESSAGES:
		return l->key == 0 && l->address == 0;
	case WIRE_ACCESS_RDMA:
		return l->address && l->address <= UINT64_MAX - WIRE_SLAB_MAX_BYTES;
	default:
		return false;
	}
}

static bool get_leased(struct reader *r, struct wire_msg *m)
{
	struct wire_leased *l = &m->leased;

	l->access = read_u16(r);
	read_reserved(r, 2);
	l->key = read_u32(r);
	l->address = read_u64(r);
	l->slab = read_u64(r);
	l->bytes = read_u64(r);
	return is_reached(l) && l->bytes && is_pages(l->bytes, WIRE_SLAB_MAX_BYTES);
}

static void put_status_reply(struct writer *w, const struct wire_msg *m)
{
	const struct wire_status_reply *s = &m->status_reply;

	write_le(w, s->capacity_bytes, 8);
	write_le(w, s->reserved_bytes, 8);
	write_le(w, s->leased_bytes, 8);
	write_le(w, s->nr_clients, 4);
	write_le(w, 0, 4);
}

static bool get_status_reply(struct reader *r, struct wire_msg *m)
{
	struct wire_status_reply *s = &m->status_reply;

	s->capacity_bytes = read_u64(r);
	s->reserved_bytes = read_u64(r);
	s->leased_bytes = read_u64(r);
	s->nr_clients = read_u32(r);
	read_reserved(r, 4);
	return s->capacity_bytes <= WIRE_MAX_STORE_BYTES &&
	       s->reserved_bytes <= s->capacity_bytes && s->leased_bytes <= s->reserved_bytes;
}

static void put_error(struct writer *w, const struct wire_msg *m)
{
	const struct wire_error *e = &m->error;
	size_t text_bytes = strnlen(e->text, WIRE_TEXT_MAX_BYTES);

	write_le(w, e->code, 4);
	write_le(w, text_bytes, 2);
	write_le(w, 0, 2);
	write_le(w, e->free_bytes, 8);
	write_le(w, e->capacity_bytes, 8);
	put_text(w, e->text, text_bytes);
}

static bool get_error(struct reader *r, struct wire_msg *m)
{
	struct wire_error *e = &m->error;
	size_t text_bytes;

	e->code = read_u32(r);
	text_bytes = read_u16(r);
	read_reserved(r, 2);
	e->free_bytes = read_u64(r);
	e->capacity_bytes = read_u64(r);
	return e->code && e->capacity_bytes <= WIRE_MAX_STORE_BYTES &&
	       e->free_bytes <= e->capacity_bytes &&
	       get_text(r, text_bytes, e->text, WIRE_TEXT_MAX_BYTES);
}

static void put_join(struct writer *w, const struct wire_msg *m)
{
	write_le(w, m->join.session, 8);
	write_bytes(w, m->join.token, WIRE_TOKEN_BYTES);
}

static bool get_join(struct reader *r, struct wire_msg *m)
{
	m->join.session = read_u64(r);
	return get_token(r, m->join.token);
}

static void put_run(struct writer *w, const struct wire_msg *m)
{
	write_le(w, m->run.slab, 8);
	write_le(w, m->run.off_bytes, 8);
	write_le(w, m->run.nr_pages, 4);
	write_le(w, 0, 4);
}

/* What it names lies in the largest slab there can be: no sum of it wraps. */
static bool get_run(struct reader *r, struct wire_msg *m)
{
	struct wire_run *run = &m->run;

	run->slab = read_u64(r);
	run->off_bytes = read_u64(r);
	run->nr_pages = read_u32(r);
	read_reserved(r, 4);
	return run->nr_pages >= 1 && run->nr_pages <= WIRE_RUN_MAX_PAGES &&
	       is_pages(run->off_bytes, WIRE_SLAB_MAX_BYTES - run->nr_pages * WIRE_PAGE_BYTES);
}

static void put_data(struct writer *w, const struct wire_msg *m)
{
	write_le(w, m->data.nr_pages, 4);
	write_le(w, 0, 4);
}

static bool get_data(struct reader *r, struct wire_msg *m)
{
	m->data.nr_pages = read_u32(r);
	read_reserved(r, 4);
	return m->data.nr_pages >= 1 && m->data.nr_pages <= WIRE_RUN_MAX_PAGES;
}

static void put_nothing(struct writer *w, const struct wire_msg *m)
{
	(void)w;
	(void)m;
}

static bool get_nothing(struct reader *r, struct wire_msg *m)
{
	(void)r;
	(void)m;
	return true;
}

static const struct message {
	void (*put)(struct writer *w, const struct wire_msg *m);
	bool (*get)(struct reader *r, struct wire_msg *m);
} message[] = {
	[WIRE_HELLO] = {put_hello, get_hello},
	[WIRE_WELCOME] = {put_welcome, get_welcome},
	[WIRE_LEASE] = {put_lease, get_lease},
	[WIRE_LEASED] = {put_leased, get_leased},
	[WIRE_STATUS] = {put_nothing, get_nothing},
	[WIRE_STATUS_REPLY] = {put_status_reply, get_status_reply},
	[WIRE_BYE] = {put_nothing, get_nothing},
	[WIRE_ERROR] = {put_error, get_error},
	[WIRE_JOIN] = {put_join, get_join},
	[WIRE_JOINED] = {put_nothing, get_nothing},
	[WIRE_READ] = {put_run, get_run},
	[WIRE_DATA] = {put_data, get_data},
	[WIRE_WRITE] = {put_run, get_run},
	[WIRE_WRITTEN] = {put_nothing, get_nothing},
};

static const struct message *find_message(uint16_t type)
{
	if (type >= sizeof(message) / sizeof(message[0]) || !message[type].get)
		return NULL;
	return &message[type];
}

/* CRC-32C (Castagnoli) of the header without its check, four bits at a time. */
static uint32_t header_check(const uint8_t *header)
{
	static const uint32_t step[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};
	uint32_t crc = ~0U;

	for (size_t i = 0; i < WIRE_HEADER_BYTES; i++) {
		if (i >= CHECK_OFF && i < CHECK_OFF + 4)
			continue;
		crc ^= header[i];
		crc = crc >> 4 ^ step[crc & 15];
		crc = crc >> 4 ^ step[crc & 15];
	}
	return ~crc;
}

size_t wire_encode(const struct wire_msg *m, void *buf)
{
	const struct message *msg = find_message(m->type);
	struct writer header = {.at = buf, .left = WIRE_HEADER_BYTES};
	struct writer check = {.at = (uint8_t *)buf + CHECK_OFF, .left = 4};
	struct writer w = {.at = (uint8_t *)buf + WIRE_HEADER_BYTES,
			   .left = WIRE_MAX_BYTES - WIRE_HEADER_BYTES};

	assert(msg);
	msg->put(&w, m);
	write_le(&header, WIRE_MAGIC, 4);
	write_le(&header, m->version ? m->version : WIRE_VERSION_MIN, 2);
	write_le(&header, m->type, 2);
	write_le(&header, WIRE_MAX_BYTES - WIRE_HEADER_BYTES - w.left, 4);
	write_le(&header, 0, 4);
	write_le(&header, m->request, 8);
	write_le(&check, header_check(buf), 4);
	return WIRE_MAX_BYTES - w.left;
}

int wire_length(const void *buf, size_t bytes)
{
	struct reader r = {.at = buf, .left = bytes};
	uint32_t magic, payload_bytes, check;

	if (bytes < WIRE_HEADER_BYTES)
		return 0;
	magic = read_u32(&r);
	read_u32(&r);
	payload_bytes = read_u32(&r);
	check = read_u32(&r);
	if (magic != WIRE_MAGIC || check != header_check(buf) ||
	    payload_bytes > WIRE_MAX_BYTES - WIRE_HEADER_BYTES)
		return -EBADMSG;
	return (int)(WIRE_HEADER_BYTES + payload_bytes);
}

int wire_decode(const void *buf, size_t bytes, struct wire_msg *out)
{
	struct reader r = {.at = buf, .left = bytes};
	const struct message *msg;
	uint32_t magic, payload_bytes, check;

	memset(out, 0, sizeof(*out));
	magic = read_u32(&r);
	out->version = read_u16(&r);
	out->type = read_u16(&r);
	payload_bytes = read_u32(&r);
	check = read_u32(&r);
	out->request = read_u64(&r);
	if (r.bad || magic != WIRE_MAGIC || check != header_check(buf) || payload_bytes != r.left ||
	    bytes > WIRE_MAX_BYTES) {
		out->request = 0;
		return -EBADMSG;
	}
	if (out->version < WIRE_VERSION_MIN || out->version > WIRE_VERSION_MAX)
		return -EPROTONOSUPPORT;
	msg = find_message(out->type);
	if (!msg)
		return -EOPNOTSUPP;
	return msg->get(&r, out) && reader_done(&r) ? 0 : -EBADMSG;
}
