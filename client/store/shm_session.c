/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/shm_session.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/store/refusal.h"
#include "common/base/err.h"
#include "common/base/units.h"
#include "common/conn/shm.h"

#define TURN_SHIFT   32 /* in the number of a request */
#define SEALS_NEEDED (F_SEAL_GROW | F_SEAL_SHRINK)

static int refused_private(const struct shm_session *s, const struct wire_error *e)
{
	char there[32], wanted[32];

	return err_set(-ENOSPC,
		       "this machine can spare %s for a private server, %s wanted: "
		       "lower --remote or name a --server",
		       units_format_size(there, sizeof(there), e->free_bytes),
		       units_format_size(wanted, sizeof(wanted), s->wanted_bytes));
}

static int refused(const struct shm_session *s, const struct wire_error *e)
{
	if (e->code == WIRE_ERR_CAPACITY && s->is_private)
		return refused_private(s, e);
	return refusal_take(s->server, s->wanted_bytes, e);
}

static int failed(const struct shm_session *s, int rc)
{
	return refusal_of_failure(s->server, rc);
}

static int send_msg(struct shm_session *s, struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes;
	int rc;

	m->request = ++s->next_request;
	s->deadline_ns = shm_deadline_ns(s->timeout_ms);
	bytes = wire_encode(m, buf);
	rc = shm_send(s->fd, buf, bytes, -1);
	/* A server that has refused and left: its words are still there to be read. */
	return rc == -EPIPE || !rc ? 0 : failed(s, rc);
}

/* The next message that is not for the process before, which died and had asked, too. */
static int recv_own(struct shm_session *s, struct wire_msg *m, int *fd)
{
	uint8_t buf[WIRE_MAX_BYTES];
	ssize_t n;
	int rc;

	for (;;) {
		n = shm_recv_until(s->fd, buf, sizeof(buf), fd, s->deadline_ns);
		if (n < 0)
			return (int)n;
		rc = wire_decode(buf, (size_t)n, m);
		if (rc || m->request >> TURN_SHIFT >= s->next_request >> TURN_SHIFT ||
		    m->type == WIRE_ERROR)
			return rc;
		if (*fd >= 0)
			close(*fd);
	}
}

/* The answer to the last request, which must be of @type, and the descriptor that came with
 * it, or -1; none may come when @got_fd is NULL. */
static int recv_msg(struct shm_session *s, uint16_t type, struct wire_msg *m, int *got_fd)
{
	int fd = -1, rc = recv_own(s, m, &fd);

	if (!rc && m->type == WIRE_ERROR)
		rc = refused(s, &m->error);
	else if (rc || m->type != type || m->request != s->next_request || (fd >= 0 && !got_fd))
		rc = failed(s, rc ? rc : -EBADMSG);
	if (rc && fd >= 0) {
		close(fd);
		fd = -1;
	}
	if (got_fd)
		*got_fd = fd;
	return rc;
}

static int say_hello(struct shm_session *s)
{
	struct wire_msg m = {.type = WIRE_HELLO,
			     .hello = {.version_min = WIRE_VERSION_MIN,
				       .version_max = WIRE_VERSION_MAX,
				       .access = WIRE_ACCESS_DESCRIPTOR,
				       .wanted_bytes = s->wanted_bytes,
				       .auth_method = WIRE_AUTH_NONE,
				       .name = "rmem"}};
	int rc = send_msg(s, &m);

	if (!rc)
		rc = recv_msg(s, WIRE_WELCOME, &m, NULL);
	if (!rc)
		s->welcome = m.welcome;
	return rc;
}

int shm_session_open(struct shm_session *s, const char *path, int sock_fd, uint32_t turn,
		     uint64_t bytes, unsigned int timeout_ms)
{
	int rc;

	*s = (struct shm_session){.fd = -1,
				  .wanted_bytes = bytes,
				  .timeout_ms = timeout_ms,
				  .next_request = (uint64_t)turn << TURN_SHIFT,
				  .is_private = !path[0]};
	if (s->is_private)
		snprintf(s->server, sizeof(s->server), "the private server");
	else
		snprintf(s->server, sizeof(s->server), "server shm:%s", path);
	if (sock_fd >= 0) {
		s->fd = sock_fd;
		rc = shm_adopt(sock_fd);
	} else {
		s->fd = shm_connect(path, timeout_ms);
		rc = s->fd < 0 ? s->fd : 0;
	}
	if (!rc)
		rc = say_hello(s);
	if (rc && s->fd >= 0) {
		close(s->fd);
		s->fd = -1;
	}
	return rc;
}

/* Nobody can take the memory away under us, and it is as large as was said. */
static int check_slab(const struct shm_session *s, int fd, uint64_t bytes)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS_NEEDED) != SEALS_NEEDED || (seals & F_SEAL_WRITE) ||
	    fstat(fd, &st) || (uint64_t)st.st_size != bytes)
		return err_set(-EPROTO,
			       "%s handed over a slab that is not as promised: is it an "
			       "rmemd?",
			       s->server);
	return 0;
}

static int map_slab(struct shm_session *s, char *at, uint64_t left)
{
	uint64_t bytes = left < s->welcome.slab_bytes ? left : s->welcome.slab_bytes;
	struct wire_msg m;
	int fd = -1, rc = recv_msg(s, WIRE_LEASED, &m, &fd);

	if (rc)
		return rc;
	if (fd < 0 || m.leased.bytes != bytes)
		rc = err_set(-EPROTO, "%s leased something else than it promised: is it an rmemd?",
			     s->server);
	if (!rc)
		rc = check_slab(s, fd, bytes);
	if (!rc &&
	    mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		rc = err_set(-errno,
			     "%s: can't map a slab: %s: raise vm.max_map_count or lower --remote",
			     s->server, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

int shm_session_map(struct shm_session *s, char *base)
{
	uint64_t slab_bytes = s->welcome.slab_bytes, done = 0;
	int rc = 0;

	while (done < s->wanted_bytes && !rc) {
		uint64_t slabs = (s->wanted_bytes - done + slab_bytes - 1) / slab_bytes;
		struct wire_msg m = {.type = WIRE_LEASE};

		m.lease.nr_slabs =
			slabs < WIRE_LEASE_MAX_SLABS ? (uint32_t)slabs : WIRE_LEASE_MAX_SLABS;
		rc = send_msg(s, &m);
		for (uint32_t i = 0; i < m.lease.nr_slabs && !rc; i++) {
			rc = map_slab(s, base + done, s->wanted_bytes - done);
			done += slab_bytes;
		}
	}
	return rc;
}

int shm_session_check(const struct shm_session *s)
{
	uint8_t buf[WIRE_MAX_BYTES];
	struct wire_msg m;
	ssize_t n = shm_recv(s->fd, buf, sizeof(buf), NULL);

	if (n == -EAGAIN)
		return 0;
	if (n == -EPIPE)
		return err_set(-EPIPE, "%s is gone, and the pages with it", s->server);
	if (n < 0)
		return err_set(-EPIPE, "%s can't be heard any more: %s", s->server,
			       strerror((int)-n));
	if (wire_decode(buf, (size_t)n, &m) == 0 && m.type == WIRE_ERROR)
		return err_set(-EPIPE, "%s ended the lease: %s", s->server, m.error.text);
	return err_set(-EPIPE, "%s says what nobody asked for: is it an rmemd?", s->server);
}

void shm_session_close(struct shm_session *s)
{
	struct wire_msg m = {.type = WIRE_BYE};

	if (s->fd < 0)
		return;
	send_msg(s, &m);
	close(s->fd);
	s->fd = -1;
}
