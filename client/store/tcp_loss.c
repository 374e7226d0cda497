/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/tcp_loss.h"

#include <errno.h>
#include <string.h>

#include "common/base/err.h"

int loss_of_end(const struct tcp_session *s, int rc)
{
	if (rc == -ETIMEDOUT)
		return err_set(-EPIPE, "%s can't be reached any more, and the pages with it",
			       s->server);
	if (rc == 0 || rc == -EPIPE || rc == -ECONNRESET)
		return err_set(-EPIPE, "%s is gone, and the pages with it", s->server);
	return err_set(-EPIPE, "%s: the connection failed: %s", s->server, strerror(-rc));
}

int loss_of_words(const struct tcp_session *s, int fd, const uint8_t *words, size_t have)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg m;
	ssize_t n;
	int len;

	if (have)
		memcpy(buf, words, have);
	n = have < sizeof(buf) ? tcp_recv_now(fd, buf + have, sizeof(buf) - have) : 0;
	if (n > 0)
		have += (size_t)n;
	if (!have)
		return loss_of_end(s, n == -EAGAIN ? 0 : (int)n);
	len = wire_length(buf, have);
	if (len > 0 && (size_t)len <= have && wire_decode(buf, (size_t)len, &m) == 0 &&
	    m.type == WIRE_ERROR)
		return err_set(-ECONNABORTED, "%s ended the lease: %s", s->server, m.error.text);
	return err_set(-EPIPE, "%s sent what answers no request: is it an rmemd?", s->server);
}
