/* SPDX-License-Identifier: Apache-2.0 */
/* SPEC, sizes, times and chances, as people write them. What is parsed says the same again. */
#include <stdlib.h>
#include <string.h>

#include "common/base/units.h"
#include "common/spec.h"

static void parse_spec(const char *text)
{
	char again[2 * SPEC_MAX_CHARS], third[2 * SPEC_MAX_CHARS];
	struct spec *s, *copy, *t;

	if (spec_parse(text, &s))
		return;
	spec_format(s, again, sizeof(again));
	copy = spec_copy(s);
	if (!copy || spec_parse(again, &t))
		abort();
	spec_format(t, third, sizeof(third));
	if (strcmp(again, third) != 0 ||
	    strcmp(spec_format(copy, third, sizeof(third)), again) != 0)
		abort();
	spec_free(s);
	spec_free(copy);
	spec_free(t);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
	char *text = malloc(bytes + 1), said[32];
	uint64_t x = 0;

	memcpy(text, data, bytes);
	text[bytes] = 0;
	parse_spec(text);
	if (!units_parse_size(text, &x) && (!x || x > 1ULL << 60))
		abort();
	if (!units_parse_share(text, GIB(1), &x))
		units_format_size(said, sizeof(said), x);
	if (!units_parse_duration(text, &x) && x > 3600000000000ULL)
		abort();
	if (!units_parse_chance(text, &x) && x > 1ULL << 32)
		abort();
	free(text);
	return 0;
}
