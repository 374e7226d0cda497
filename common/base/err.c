/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERR_TEXT_BYTES 512

static _Thread_local char text[ERR_TEXT_BYTES];

int err_set(int code, const char *fmt, ...)
{
	char made[ERR_TEXT_BYTES]; /* an argument may be the text itself */
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(made, sizeof(made), fmt, ap);
	va_end(ap);
	memcpy(text, made, strlen(made) + 1);
	return code;
}

const char *err_text(int code)
{
	const char *plain;

	if (text[0])
		return text;
	plain = strerrordesc_np(code < 0 ? -code : code);
	return plain ? plain : "unknown error";
}

void err_clear(void)
{
	text[0] = '\0';
}
