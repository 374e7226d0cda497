/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/watch/text.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#define SECOND_NS 1000000000ULL

/* Three digits at the least, one of them after the point where that fits. */
static const char *scaled(char buf[TEXT_BYTES], double value, double step, const char *units)
{
	size_t i = 0;

	if (value < 0.05)
		return strcpy(buf, "0");
	while (value >= (i ? 999.95 : 999.5) && units[i + 1]) {
		value /= step;
		i++;
	}
	if (!i)
		snprintf(buf, TEXT_BYTES, value < 9.95 ? "%.1f" : "%.0f", value);
	else
		snprintf(buf, TEXT_BYTES, "%.1f%c", value, units[i]);
	return buf;
}

const char *text_size(char buf[TEXT_BYTES], double bytes)
{
	if (bytes >= 1 && bytes < 1000) {
		snprintf(buf, TEXT_BYTES, "%.0fB", bytes);
		return buf;
	}
	return scaled(buf, bytes, 1024, " KMGTPE");
}

const char *text_count(char buf[TEXT_BYTES], double count)
{
	return scaled(buf, count, 1000, " kMGTPE");
}

const char *text_time(char buf[TEXT_BYTES], uint64_t ns)
{
	static const char *const unit[] = {"ns", "us", "ms", "s"};
	double value = (double)ns;
	size_t i = 0;

	while (value >= 999.5 && i < 3) {
		value /= 1000;
		i++;
	}
	if (value > 9999)
		return strcpy(buf, ">9999");
	snprintf(buf, TEXT_BYTES, i && value < 9.95 ? "%.1f%s" : "%.0f%s", value, unit[i]);
	return buf;
}

const char *text_uptime(char buf[TEXT_BYTES], uint64_t ns)
{
	unsigned int s = (unsigned int)(ns / SECOND_NS % 60);
	unsigned int m = (unsigned int)(ns / SECOND_NS / 60 % 60);
	uint64_t h = ns / SECOND_NS / 3600;

	if (h < 24)
		snprintf(buf, TEXT_BYTES, "%u:%02u:%02u", (unsigned int)h, m, s);
	else if (h < 24 * 100)
		snprintf(buf, TEXT_BYTES, "%ud %02u:%02u", (unsigned int)(h / 24),
			 (unsigned int)(h % 24), m);
	else
		snprintf(buf, TEXT_BYTES, "%ud", (unsigned int)(h / 24 % 1000000));
	return buf;
}

/* ---- names ---- */

/* One character of @text: its bytes and columns. 0: it has to be escaped. */
static size_t shown_char(const char *text, bool utf8, unsigned int *cols)
{
	mbstate_t st = {0};
	wchar_t wc;
	size_t n;
	int width;

	*cols = 1;
	if ((unsigned char)*text < 0x80)
		return *text >= 0x20 && *text != 0x7f;
	n = utf8 ? mbrtowc(&wc, text, strlen(text), &st) : 0;
	if (n == 0 || n > 8)
		return 0;
	width = wcwidth(wc);
	if (width <= 0) /* controls, and what changes its neighbours or their order */
		return 0;
	*cols = (unsigned int)width;
	return n;
}

unsigned int text_clip(char *buf, size_t buf_bytes, const char *text, unsigned int cols, bool utf8)
{
	unsigned int used = 0, before = 0;
	size_t at = 0, at_before = 0;

	while (*text) {
		char hex[8];
		unsigned int width;
		size_t n = shown_char(text, utf8, &width);
		const char *from = n ? text : hex;

		if (!n)
			width = (unsigned int)snprintf(hex, sizeof(hex), "\\x%02x",
						       (unsigned char)*text);
		if (used + width > cols || at + (n ? n : width) + 2 > buf_bytes) {
			if (used < cols) /* the mark fits behind */
				before = used, at_before = at;
			if (cols)
				buf[at_before++] = '+', before++;
			buf[at_before] = '\0';
			return before;
		}
		if (used + width < cols)
			before = used + width, at_before = at + (n ? n : width);
		memcpy(buf + at, from, n ? n : width);
		at += n ? n : width;
		used += width;
		text += n ? n : 1;
	}
	buf[at] = '\0';
	return used;
}

unsigned int text_columns(const char *text, bool utf8)
{
	unsigned int used = 0, width;

	while (*text) {
		size_t n = shown_char(text, utf8, &width);

		used += n ? width : 1;
		text += n ? n : 1;
	}
	return used;
}

size_t text_bytes(const char *text, unsigned int cols, bool utf8)
{
	const char *at = text;
	unsigned int used = 0, width;

	while (*at) {
		size_t n = shown_char(at, utf8, &width);

		if (used + (n ? width : 1) > cols)
			break;
		used += n ? width : 1;
		at += n ? n : 1;
	}
	return (size_t)(at - text);
}
