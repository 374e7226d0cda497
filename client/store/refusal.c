/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/refusal.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/units.h"

/* As a user would type it, rounded up. */
static void format_option(char *buf, size_t buf_bytes, uint64_t bytes)
{
	bool is_gib = bytes % GIB(1) == 0;
	uint64_t unit = is_gib ? GIB(1) : MIB(1);

	snprintf(buf, buf_bytes, "%llu%c", (unsigned long long)((bytes + unit - 1) / unit),
		 is_gib ? 'G' : 'M');
}

static int refused_capacity(const char *server, uint64_t wanted_bytes, const struct wire_error *e)
{
	char there[32], wanted[32], needed[32];

	format_option(needed, sizeof(needed), e->capacity_bytes - e->free_bytes + wanted_bytes);
	return err_set(-ENOSPC,
		       "%s has %s free, %s wanted: start rmemd with --capacity %s or lower "
		       "--remote",
		       server, units_format_size(there, sizeof(there), e->free_bytes),
		       units_format_size(wanted, sizeof(wanted), wanted_bytes), needed);
}

int refusal_take(const char *server, uint64_t wanted_bytes, const struct wire_error *e)
{
	switch (e->code) {
	case WIRE_ERR_CAPACITY:
		return refused_capacity(server, wanted_bytes, e);
	case WIRE_ERR_VERSION:
		return err_set(-EPROTONOSUPPORT,
			       "%s is of another version (%s): install the same rmem at both ends",
			       server, e->text);
	case WIRE_ERR_TOO_MANY_CLIENTS:
	case WIRE_ERR_DRAINING:
		return err_set(-EBUSY, "%s refuses: %s: try again later or name another", server,
			       e->text);
	case WIRE_ERR_STALE:
		return err_set(
			-ESTALE,
			"%s has ended the lease, or was started anew, and the pages are gone "
			"with it: %s",
			server, e->text);
	case WIRE_ERR_DENIED:
		return err_set(-EACCES, "%s refuses: %s: run as that user", server, e->text);
	default:
		return err_set(-EPROTO, "%s refuses: %s (code %u): see its log", server, e->text,
			       e->code);
	}
}

int refusal_of_failure(const char *server, int rc)
{
	switch (rc) {
	case -EPIPE:
		return err_set(rc, "%s closed the connection: see its log", server);
	case -ETIMEDOUT:
		return err_set(rc, "%s did not answer in time: is it stopped?", server);
	case -EPROTONOSUPPORT:
		return err_set(rc,
			       "%s answers in another protocol version: install the same rmem at "
			       "both ends",
			       server);
	case -EBADMSG:
	case -EMSGSIZE:
	case -EOPNOTSUPP:
		return err_set(-EPROTO, "%s does not speak rmem's protocol: is it an rmemd?",
			       server);
	default:
		return err_set(rc, "%s: %s", server, strerror(-rc));
	}
}
