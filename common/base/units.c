/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/units.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/err.h"

/* Leaves headroom for sums of sizes everywhere else. */
#define MAX_BYTES      ((uint64_t)1 << 60)
#define MAX_FRACTION   1000000000000000000ULL /* 18 digits */
#define HOUR_NS	       3600000000000ULL
#define SAID_BYTES_MAX 40 /* of a wrong text, when quoting it */

typedef unsigned __int128 wide;

static const struct {
	const char *name;
	uint64_t factor;
} unit[] = {
	{"", 1},
	{"B", 1},
	{"K", KIB(1)},
	{"M", MIB(1)},
	{"G", GIB(1)},
	{"T", GIB(1024)},
	{"KiB", KIB(1)},
	{"MiB", MIB(1)},
	{"GiB", GIB(1)},
	{"TiB", GIB(1024)},
	{"KB", 1000},
	{"MB", 1000 * 1000},
	{"GB", 1000 * 1000 * 1000},
	{"TB", 1000ULL * 1000 * 1000 * 1000},
};

/* digits [ "." digits ], exactly: value = whole + part / scale. */
struct number {
	uint64_t whole, part, scale;
	bool too_large;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Returns what follows the number, or NULL when @text does not begin with one. */
static const char *parse_number(const char *text, struct number *out)
{
	*out = (struct number){.scale = 1};
	if (!is_digit(*text))
		return NULL;
	for (; is_digit(*text); text++) {
		out->whole = out->whole * 10 + (uint64_t)(*text - '0');
		if (out->whole > MAX_BYTES) {
			out->too_large = true;
			out->whole = MAX_BYTES;
		}
	}
	if (*text != '.')
		return text;
	if (!is_digit(*++text))
		return NULL;
	for (; is_digit(*text); text++) {
		if (out->scale < MAX_FRACTION) {
			out->part = out->part * 10 + (uint64_t)(*text - '0');
			out->scale *= 10;
		}
	}
	return text;
}

static uint64_t find_factor(const char *name)
{
	for (size_t i = 0; i < sizeof(unit) / sizeof(unit[0]); i++)
		if (strcasecmp(name, unit[i].name) == 0)
			return unit[i].factor;
	return 0;
}

static wide times(const struct number *n, uint64_t factor)
{
	return (wide)n->whole * factor + (wide)n->part * factor / n->scale;
}

static int not_a_size(const char *text)
{
	return err_set(-EINVAL, "'%.*s' is not a size: write for example 512M or 16G",
		       SAID_BYTES_MAX, text);
}

static int check_range(const char *text, const struct number *n, wide value, uint64_t *bytes)
{
	if (n->too_large || value > MAX_BYTES)
		return err_set(-ERANGE, "'%.*s' is too large: write for example 512M or 16G",
			       SAID_BYTES_MAX, text);
	if (value == 0)
		return err_set(-ERANGE,
			       "'%.*s' is zero, not a usable size: write for example 512M or 16G",
			       SAID_BYTES_MAX, text);
	*bytes = (uint64_t)value;
	return 0;
}

int units_parse_size(const char *text, uint64_t *bytes)
{
	struct number n;
	const char *end = parse_number(text, &n);
	uint64_t factor;

	if (!end)
		return not_a_size(text);
	if (end[0] == ' ' && end[1]) /* as units_format_size() writes it */
		end++;
	factor = find_factor(end);
	if (!factor || (factor == 1 && n.scale > 1))
		return not_a_size(text);
	return check_range(text, &n, times(&n, factor), bytes);
}

int units_parse_share(const char *text, uint64_t whole, uint64_t *bytes)
{
	struct number n;
	const char *end = parse_number(text, &n);
	wide value;

	if (!strchr(text, '%'))
		return units_parse_size(text, bytes);
	if (!end || strcmp(end, "%") != 0)
		return err_set(-EINVAL,
			       "'%.*s' is not a share: write for example 50%%, 512M or 16G",
			       SAID_BYTES_MAX, text);
	if (n.whole < 1 || n.whole > 100 || (n.whole == 100 && n.part))
		return err_set(-ERANGE, "'%.*s' is out of range: a share is 1%% to 100%%",
			       SAID_BYTES_MAX, text);
	value = ((wide)whole * n.whole + (wide)whole * n.part / n.scale) / 100;
	return check_range(text, &n, value, bytes);
}

const char *units_format_size(char *buf, size_t buf_bytes, uint64_t bytes)
{
	static const char *const name[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned int i = 0;
	uint64_t tenths;

	if (bytes < KIB(1)) {
		snprintf(buf, buf_bytes, "%llu B", (unsigned long long)bytes);
		return buf;
	}
	while (i + 1 < sizeof(name) / sizeof(name[0]) && bytes >> (10 * (i + 2)))
		i++;
	tenths = (uint64_t)((wide)bytes * 10 >> (10 * (i + 1)));
	snprintf(buf, buf_bytes, "%llu.%llu %s", (unsigned long long)tenths / 10,
		 (unsigned long long)tenths % 10, name[i]);
	return buf;
}

int units_parse_duration(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
	struct number n;
	const char *end = parse_number(text, &n);

	for (size_t i = 0; end && i < sizeof(units) / sizeof(units[0]); i++) {
		wide all = times(&n, units[i].ns);

		if (strcmp(end, units[i].name) != 0)
			continue;
		if (n.too_large || all > HOUR_NS)
			return err_set(-ERANGE, "'%.*s' is more than an hour", SAID_BYTES_MAX,
				       text);
		*ns = (uint64_t)all;
		return 0;
	}
	return err_set(-EINVAL, "'%.*s' is not a time: write for example 10us, 5ms or 2s",
		       SAID_BYTES_MAX, text);
}

int units_parse_chance(const char *text, uint64_t *of_2_32)
{
	struct number n;
	const char *end = parse_number(text, &n);
	uint64_t whole = end && !strcmp(end, "%") ? 100 : 1;
	wide all = end ? times(&n, 1ULL << 32) / whole : 0;

	if (!end || (*end && whole == 1) || n.too_large || all > 1ULL << 32)
		return err_set(-EINVAL, "'%.*s' is not a chance: write for example 0.001 or 0.1%%",
			       SAID_BYTES_MAX, text);
	*of_2_32 = (uint64_t)all;
	return 0;
}
