/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages between supervisor and pager. One datagram each, never blocking:
 * neither side may ever wait for the other, but for a moment where a message must
 * not be lost.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "client/run.h"

#define SEND_TRIES 200U /* one in each millisecond */

/* Who waits for one of these would wait for ever; the rest only tells. */
static bool must_arrive(enum ctl_type type)
{
	return type != CTL_LOG && type != CTL_STATUS;
}

/* A full queue or a lack of memory passes: whoever reads is never held up for long. */
static bool room_may_come(unsigned int *tries)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	if ((errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM) || ++*tries > SEND_TRIES)
		return false;
	nanosleep(&pause, NULL);
	return true;
}

int ctl_send(int fd, enum ctl_type type, int value, const char *fmt, ...)
{
	struct ctl_msg m = {.type = type, .value = value};
	unsigned int tries = 0;
	ssize_t n;

	if (fmt) {
		va_list ap;

		va_start(ap, fmt);
		vsnprintf(m.text, sizeof(m.text), fmt, ap);
		va_end(ap);
	}
	do {
		n = send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && (errno == EINTR || (must_arrive(type) && room_may_come(&tries))));
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
