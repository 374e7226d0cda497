/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between client and server. Half of the inputs get a right checksum, so that what is
 * behind it is reached; what was decoded is encoded to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "common/wire/wire.c" /* for its checksum */

static void decode(const unsigned char *buf, size_t bytes)
{
	unsigned char again[WIRE_MAX_BYTES];
	struct wire_msg m, n;
	size_t length;

	if (wire_decode(buf, bytes, &m))
		return;
	length = wire_encode(&m, again);
	if (!length || length > sizeof(again) || wire_decode(again, length, &n))
		abort();
}

static void fix_sum(unsigned char *buf)
{
	uint32_t sum = header_check(buf);

	for (unsigned int i = 0; i < 4; i++)
		buf[CHECK_OFF + i] = (unsigned char)(sum >> 8 * i);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
	unsigned char buf[WIRE_MAX_BYTES];

	decode(data, bytes);
	if (bytes < WIRE_HEADER_BYTES || bytes > sizeof(buf))
		return 0;
	memcpy(buf, data, bytes);
	fix_sum(buf);
	decode(buf, bytes);
	return 0;
}
