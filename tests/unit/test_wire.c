/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/wire.h"

static const struct wire_msg every_message[] = {
	{.type = WIRE_HELLO,
	 .request = 1,
	 .hello = {.version_min = 1,
		   .version_max = 3,
		   .access = WIRE_ACCESS_DESCRIPTOR,
		   .patience_s = WIRE_MAX_PATIENCE_S,
		   .wanted_bytes = 1ULL << 33,
		   .auth_method = 7,
		   .auth_bytes = 5,
		   .auth = {1, 2, 3, 4, 0},
		   .name = "a job"}},
	{.type = WIRE_WELCOME,
	 .request = 1,
	 .welcome = {.version = 1,
		     .session = 9,
		     .slab_bytes = 64 << 20,
		     .capacity_bytes = 1ULL << 34,
		     .free_bytes = 4096,
		     .token = {1, 2, 0, 4, 255}}},
	{.type = WIRE_LEASE, .request = 1ULL << 63, .lease.nr_slabs = WIRE_LEASE_MAX_SLABS},
	{.type = WIRE_LEASED,
	 .request = 5,
	 .leased = {.access = WIRE_ACCESS_DESCRIPTOR, .slab = 77, .bytes = 64 << 20}},
	{.type = WIRE_STATUS, .request = 6},
	{.type = WIRE_STATUS_REPLY,
	 .request = 6,
	 .status_reply = {.capacity_bytes = 1 << 30,
			  .reserved_bytes = 1 << 20,
			  .leased_bytes = 4096,
			  .nr_clients = 3}},
	{.type = WIRE_BYE, .request = 8},
	{.type = WIRE_ERROR,
	 .request = 9,
	 .error = {.code = WIRE_ERR_CAPACITY,
		   .free_bytes = 1,
		   .capacity_bytes = 2,
		   .text = "too little"}},
	{.type = WIRE_LEASED,
	 .request = 10,
	 .leased = {.access = WIRE_ACCESS_MESSAGES, .slab = 1ULL << 63, .bytes = 4096}},
	{.type = WIRE_JOIN, .request = 11, .join = {.session = 9, .token = {255, 0, 3}}},
	{.type = WIRE_JOINED, .request = 11},
	{.type = WIRE_READ,
	 .request = 12,
	 .run = {.slab = 77, .off_bytes = (1 << 30) - 4096, .nr_pages = 1}},
	{.type = WIRE_DATA, .request = 12, .data.nr_pages = WIRE_RUN_MAX_PAGES},
	{.type = WIRE_WRITE,
	 .request = 13,
	 .run = {.slab = 1ULL << 40, .off_bytes = 1 << 20, .nr_pages = WIRE_RUN_MAX_PAGES}},
	{.type = WIRE_WRITTEN, .request = 13},
	{.type = WIRE_LEASED,
	 .request = 15,
	 .leased = {.access = WIRE_ACCESS_RDMA,
		    .key = UINT32_MAX,
		    .address = 1ULL << 47,
		    .slab = 3,
		    .bytes = 64 << 20}},
};
#define NR_MESSAGES (sizeof(every_message) / sizeof(every_message[0]))

/* A copy of exactly @bytes, so that a sanitizer sees a read beyond it. */
static int decode_exact(const uint8_t *buf, size_t bytes, struct wire_msg *out)
{
	uint8_t *copy = malloc(bytes ? bytes : 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, buf, bytes);
	rc = wire_decode(copy, bytes, out);
	free(copy);
	return rc;
}

/* What decoded encodes to the very same bytes: nothing was ignored or made up. */
static void expect_faithful(const struct wire_msg *m, const uint8_t *buf, size_t bytes)
{
	uint8_t again[WIRE_MAX_BYTES];

	assert_int_equal(wire_encode(m, again), bytes);
	assert_memory_equal(again, buf, bytes);
}

static void expect_clean(const uint8_t *buf, size_t bytes)
{
	struct wire_msg m;
	int rc = decode_exact(buf, bytes, &m);

	if (rc == 0)
		expect_faithful(&m, buf, bytes);
	else
		assert_true(rc == -EBADMSG || rc == -EPROTONOSUPPORT || rc == -EOPNOTSUPP);
}

static void every_message_survives_the_way(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg m;

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		assert_int_equal(decode_exact(buf, bytes, &m), 0);
		assert_int_equal(m.version, WIRE_VERSION_MIN);
		assert_int_equal(m.type, every_message[i].type);
		assert_int_equal(m.request, every_message[i].request);
		m.version = 0;
		assert_memory_equal(&m, &every_message[i], sizeof(m));
	}
}

static void the_bytes_on_the_wire_are_fixed(void **state)
{
	/* clang-format off */
	static const uint8_t lease[] = {
		'R', 'M', 'E', 'M', 1, 0, 3, 0, 8, 0, 0, 0, 0xf8, 0x96, 0xe1, 0xfb,
		0x02, 0x01, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0,
	};
	/* clang-format on */
	struct wire_msg m = {.type = WIRE_LEASE, .request = 0x102, .lease.nr_slabs = 16};
	uint8_t buf[WIRE_MAX_BYTES];

	(void)state;
	assert_int_equal(wire_encode(&m, buf), sizeof(lease));
	assert_memory_equal(buf, lease, sizeof(lease));
}

/* Makes the check fit a header that was tampered with. */
static void seal(uint8_t *header)
{
	uint32_t crc = ~0U;

	for (size_t i = 0; i < WIRE_HEADER_BYTES; i++) {
		crc ^= i < 12 || i >= 16 ? header[i] : 0;
		for (int bit = 0; bit < 8 && (i < 12 || i >= 16); bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	crc = ~crc;
	for (size_t i = 0; i < 4; i++)
		header[12 + i] = (uint8_t)(crc >> (8 * i));
}

static void every_message_cut_anywhere_is_refused(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg m;

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		for (size_t cut = 0; cut < bytes; cut++)
			assert_int_equal(decode_exact(buf, cut, &m), -EBADMSG);
	}
}

/* Also with a header that agrees with the cut. */
static void every_payload_cut_anywhere_is_refused(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg m;

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		for (size_t cut = WIRE_HEADER_BYTES; cut < bytes; cut++) {
			buf[8] = (uint8_t)(cut - WIRE_HEADER_BYTES);
			buf[9] = (uint8_t)((cut - WIRE_HEADER_BYTES) >> 8);
			seal(buf);
			assert_int_equal(decode_exact(buf, cut, &m), -EBADMSG);
		}
	}
}

static void every_message_with_more_behind_it_is_refused(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES + 8] = {0};
	struct wire_msg m;

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		assert_int_equal(decode_exact(buf, bytes + 1, &m), -EBADMSG);
		buf[8]++;
		seal(buf);
		assert_int_equal(decode_exact(buf, bytes + 1, &m), -EBADMSG);
	}
}

static void every_bit_flipped_is_refused_or_makes_another_valid_message(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		for (size_t bit = 0; bit < bytes * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			expect_clean(buf, bytes);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void every_header_bit_flipped_is_refused(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg m;

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		for (size_t bit = 0; bit < WIRE_HEADER_BYTES * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(decode_exact(buf, bytes, &m), -EBADMSG);
			assert_int_equal(m.request, 0);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

/* Flips that the check does not tell, because it was made to fit. */
static void every_header_bit_flipped_on_purpose_is_refused_or_valid(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		for (size_t bit = 0; bit < WIRE_HEADER_BYTES * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			seal(buf);
			expect_clean(buf, bytes);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			seal(buf);
		}
	}
}

static void random_bytes_behind_a_good_header_are_refused_or_valid(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];

	(void)state;
	srand(2);
	for (int round = 0; round < 200000; round++) {
		size_t bytes = wire_encode(&every_message[(size_t)round % NR_MESSAGES], buf);

		for (int i = rand() % 4; i >= 0 && bytes > WIRE_HEADER_BYTES; i--)
			buf[WIRE_HEADER_BYTES + (size_t)rand() % (bytes - WIRE_HEADER_BYTES)] =
				(uint8_t)rand();
		expect_clean(buf, bytes);
	}
}

static void unknown_versions_are_told_apart(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(&every_message[0], buf);
	struct wire_msg m;

	(void)state;
	for (int version = 0; version < 256; version++) {
		buf[4] = (uint8_t)version;
		seal(buf);
		assert_int_equal(decode_exact(buf, bytes, &m), version == 1 ? 0 : -EPROTONOSUPPORT);
	}
}

static void an_unknown_type_is_told_apart_and_keeps_its_request(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(&every_message[4], buf);
	struct wire_msg m;

	(void)state;
	buf[6] = 200;
	seal(buf);
	assert_int_equal(decode_exact(buf, bytes, &m), -EOPNOTSUPP);
	assert_int_equal(m.request, 6);
	buf[6] = 0;
	seal(buf);
	assert_int_equal(decode_exact(buf, bytes, &m), -EOPNOTSUPP);
}

/* One field of a good message made bad at a time. */
static void expect_bad(const struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(m, buf);
	struct wire_msg out;

	assert_int_equal(decode_exact(buf, bytes, &out), -EBADMSG);
}

static void contradictions_are_refused(void **state)
{
	struct wire_msg m;

#define BREAK(index, change)              \
	do {                              \
		m = every_message[index]; \
		m.change;                 \
		expect_bad(&m);           \
	} while (0)
	(void)state;
	BREAK(0, hello.version_min = 0);
	BREAK(0, hello.version_min = 4);
	BREAK(0, hello.access = 0);
	BREAK(0, hello.auth_method = WIRE_AUTH_NONE);
	BREAK(0, hello.patience_s = WIRE_MAX_PATIENCE_S + 1);
	BREAK(0, hello.wanted_bytes = 4097);
	BREAK(0, hello.wanted_bytes = 1ULL << 61);
	BREAK(1, welcome.version = 2);
	BREAK(1, welcome.slab_bytes = 0);
	BREAK(1, welcome.slab_bytes = 3 << 20);
	BREAK(1, welcome.slab_bytes = 1ULL << 31);
	BREAK(1, welcome.free_bytes = (1ULL << 34) + 1);
	BREAK(2, lease.nr_slabs = 0);
	BREAK(2, lease.nr_slabs = WIRE_LEASE_MAX_SLABS + 1);
	BREAK(3, leased.access = 0);
	BREAK(3, leased.access = 4);
	BREAK(3, leased.access = WIRE_ACCESS_RDMA); /* without an address */
	BREAK(3, leased.key = 1);
	BREAK(3, leased.address = 1);
	BREAK(3, leased.bytes = 0);
	BREAK(3, leased.bytes = 100);
	BREAK(5, status_reply.reserved_bytes = 1ULL << 31);
	BREAK(5, status_reply.leased_bytes = 1 << 21);
	BREAK(7, error.code = 0);
	BREAK(7, error.free_bytes = 3);
	BREAK(8, leased.key = 1);
	BREAK(NR_MESSAGES - 1, leased.address = 0);
	BREAK(NR_MESSAGES - 1, leased.address = UINT64_MAX - 4096);
	BREAK(11, run.nr_pages = 0);
	BREAK(11, run.nr_pages = 2); /* beyond the largest slab */
	BREAK(11, run.off_bytes = 100);
	BREAK(11, run.off_bytes = 1 << 30);
	BREAK(11, run.off_bytes = UINT64_MAX - 4095); /* its end wraps */
	BREAK(12, data.nr_pages = 0);
	BREAK(12, data.nr_pages = WIRE_RUN_MAX_PAGES + 1);
	BREAK(13, run.nr_pages = WIRE_RUN_MAX_PAGES + 1);
	BREAK(13, run.nr_pages = UINT32_MAX);
#undef BREAK
}

static void texts_are_made_printable_and_refused_when_they_are_not(void **state)
{
	struct wire_msg m = every_message[7], out;
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes;

	(void)state;
	strcpy(m.error.text, "a\x1b[2J\nb");
	bytes = wire_encode(&m, buf);
	assert_int_equal(decode_exact(buf, bytes, &out), 0);
	assert_string_equal(out.error.text, "a?[2J?b");
	buf[bytes - 1] = '\n';
	assert_int_equal(decode_exact(buf, bytes, &out), -EBADMSG);
	memset(m.error.text, 'x', WIRE_TEXT_MAX_BYTES);
	m.error.text[WIRE_TEXT_MAX_BYTES] = '\0';
	bytes = wire_encode(&m, buf);
	assert_int_equal(decode_exact(buf, bytes, &out), 0);
	assert_int_equal(strlen(out.error.text), WIRE_TEXT_MAX_BYTES);
}

static void a_stream_is_cut_where_messages_end(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < NR_MESSAGES; i++) {
		size_t bytes = wire_encode(&every_message[i], buf);

		for (size_t have = 0; have < sizeof(buf); have++)
			assert_int_equal(wire_length(buf, have),
					 have < WIRE_HEADER_BYTES ? 0 : (int)bytes);
		for (size_t bit = 0; bit < WIRE_HEADER_BYTES * 8; bit++) {
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(wire_length(buf, bytes), -EBADMSG);
			buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		buf[9] = 2; /* longer than any message */
		seal(buf);
		assert_int_equal(wire_length(buf, sizeof(buf)), -EBADMSG);
	}
}

static void messages_that_are_read_ahead_have_the_length_that_is_said(void **state)
{
	uint8_t buf[WIRE_MAX_BYTES];

	(void)state;
	assert_int_equal(wire_encode(&every_message[11], buf), WIRE_RUN_BYTES);
	assert_int_equal(wire_encode(&every_message[12], buf), WIRE_DATA_BYTES);
	assert_int_equal(wire_encode(&every_message[13], buf), WIRE_RUN_BYTES);
	assert_int_equal(wire_encode(&every_message[14], buf), WIRE_WRITTEN_BYTES);
}

static void the_largest_hello_fits(void **state)
{
	struct wire_msg m = every_message[0], out;
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes;

	(void)state;
	m.hello.auth_bytes = WIRE_AUTH_MAX_BYTES;
	memset(m.hello.name, 'n', WIRE_NAME_MAX_BYTES);
	bytes = wire_encode(&m, buf);
	assert_int_equal(decode_exact(buf, bytes, &out), 0);
	assert_int_equal(strlen(out.hello.name), WIRE_NAME_MAX_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_survives_the_way),
		cmocka_unit_test(the_bytes_on_the_wire_are_fixed),
		cmocka_unit_test(every_message_cut_anywhere_is_refused),
		cmocka_unit_test(every_payload_cut_anywhere_is_refused),
		cmocka_unit_test(every_message_with_more_behind_it_is_refused),
		cmocka_unit_test(every_bit_flipped_is_refused_or_makes_another_valid_message),
		cmocka_unit_test(every_header_bit_flipped_is_refused),
		cmocka_unit_test(every_header_bit_flipped_on_purpose_is_refused_or_valid),
		cmocka_unit_test(unknown_versions_are_told_apart),
		cmocka_unit_test(random_bytes_behind_a_good_header_are_refused_or_valid),
		cmocka_unit_test(an_unknown_type_is_told_apart_and_keeps_its_request),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(texts_are_made_printable_and_refused_when_they_are_not),
		cmocka_unit_test(a_stream_is_cut_where_messages_end),
		cmocka_unit_test(messages_that_are_read_ahead_have_the_length_that_is_said),
		cmocka_unit_test(the_largest_hello_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
