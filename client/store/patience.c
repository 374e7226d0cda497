/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/patience.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/log.h"

#define SECOND_NS 1000000000ULL
#define MAX_S	  3600

int patience_look(struct patience *p, uint64_t silent_ns)
{
	bool late = silent_ns >= p->timeout_s * SECOND_NS;

	if (p->waits && !late)
		log_warn("%s answers again, and the job goes on", p->server);
	if (late && silent_ns >= patience_limit_ns(p))
		return err_set(-EPIPE, "%s has not answered for %u s, and is given up", p->server,
			       p->wait_s > p->timeout_s ? p->wait_s : p->timeout_s);
	if (late && !p->waits)
		log_warn("%s has not answered for %u s: the job waits for it", p->server,
			 p->timeout_s);
	p->waits = late;
	return 0;
}

uint64_t patience_left_ns(const struct patience *p, uint64_t silent_ns)
{
	uint64_t limit = p->timeout_s * SECOND_NS;

	if (p->waits) /* soon: to say that it is back */
		return SECOND_NS;
	return silent_ns < limit ? limit - silent_ns : 1;
}

uint64_t patience_limit_ns(const struct patience *p)
{
	return (p->wait_s > p->timeout_s ? p->wait_s : p->timeout_s) * SECOND_NS;
}

int patience_parse(const char *scheme, const char *text, unsigned int *out)
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
