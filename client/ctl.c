/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between supervisor and pager. One datagram each, never blocking:
 * neither side may ever wait for the other.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "client/run.h"

int ctl_send(int fd, enum ctl_type type, int value, const char *fmt, ...)
{
	struct ctl_msg m = {.type = type, .value = value};
	ssize_t n;

	if (fmt) {
		va_list ap;

		va_start(ap, fmt);
		vsnprintf(m.text, sizeof(m.text), fmt, ap);
		va_end(ap);
	}
	do {
		n = send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int ctl_recv(int fd, struct ctl_msg *out)
{
	ssize_t n;

	do {
		n = recv(fd, out, sizeof(*out), MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	if (n != (ssize_t)sizeof(*out))
		return -EPROTO;
	out->text[sizeof(out->text) - 1] = '\0';
	return 0;
}
