/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/seconds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

#define MAX_S 3600

int seconds_parse(const char *scheme, const char *text, unsigned int *out)
{
	size_t len = strlen(text);
	unsigned long value = len < 5 ? strtoul(text, NULL, 10) : 0;

	if (strspn(text, "0123456789") != len || value < 1 || value > MAX_S)
		return err_set(-EINVAL,
			       "server %s: timeout=%.40s is not a number of seconds from 1 to %d",
			       scheme, text, MAX_S);
	*out = (unsigned int)value;
	return 0;
}
