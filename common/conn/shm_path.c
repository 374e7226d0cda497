/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets with a path: connecting to one, listening on one, leaving none behind. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/conn/shm.h"

#define BACKLOG	       128
#define RETRY_PAUSE_NS 10000000L
#define LOCK_TRIES     100

static int make_addr(const char *path, struct sockaddr_un *addr)
{
	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	if (path[0] != '/')
		return err_set(-EINVAL, "shm:%s: the path must begin with '/'", path);
	if (strlen(path) >= sizeof(addr->sun_path))
		return err_set(
			-ENAMETOOLONG,
			"shm:%s: the path is longer than the %zu characters a socket may have",
			path, sizeof(addr->sun_path) - 1);
	memcpy(addr->sun_path, path, strlen(path) + 1);
	return 0;
}

static int make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 ? fd : -errno;
}

static int try_connect(const struct sockaddr_un *addr)
{
	int fd = make_socket(), rc;

	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static int say_why_not(const char *path, int code)
{
	switch (code) {
	case -ENOENT:
	case -ENOTDIR:
		return err_set(code, "server shm:%s is not there: start rmemd --listen shm:%s",
			       path, path);
	case -ECONNREFUSED:
		return err_set(code,
			       "server shm:%s: nobody listens there: start rmemd --listen shm:%s",
			       path, path);
	case -EPROTOTYPE:
		return err_set(code, "server shm:%s: the socket is not of an rmemd", path);
	case -EACCES:
	case -EPERM:
		return err_set(code,
			       "server shm:%s refuses this user: run as the user who started rmemd",
			       path);
	case -EAGAIN:
		return err_set(-ETIMEDOUT,
			       "server shm:%s does not take connections: is it stopped?", path);
	default:
		return err_set(code, "server shm:%s: can't connect: %s", path, strerror(-code));
	}
}

int shm_connect(const char *path, unsigned int timeout_ms)
{
	uint64_t deadline_ns = shm_deadline_ns(timeout_ms);
	const struct timespec pause = {.tv_nsec = RETRY_PAUSE_NS};
	struct sockaddr_un addr;
	int fd = make_addr(path, &addr);

	if (fd)
		return fd;
	/* A full backlog answers EAGAIN and can't be polled for. */
	while ((fd = try_connect(&addr)) == -EAGAIN && shm_deadline_ns(0) < deadline_ns)
		nanosleep(&pause, NULL);
	return fd >= 0 ? fd : say_why_not(path, fd);
}

static int cannot_listen(const char *path, int code)
{
	return err_set(code, "shm:%s: can't listen: %s: name a path in a folder you may write to",
		       path, strerror(-code));
}

/* @path is taken. Removes it when it is a socket that nobody listens on. */
static int remove_stale(const char *path, const struct sockaddr_un *addr)
{
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : cannot_listen(path, -errno);
	if (!S_ISSOCK(st.st_mode))
		return err_set(-EEXIST,
			       "shm:%s: there is something that is not a socket: name "
			       "another path",
			       path);
	fd = try_connect(addr);
	if (fd >= 0)
		close(fd);
	if (fd != -ECONNREFUSED)
		return err_set(
			-EADDRINUSE,
			"shm:%s: a server listens there already: stop it or name another path",
			path);
	return unlink(path) ? cannot_listen(path, -errno) : 0;
}

/* Two servers that start at once must not remove each other's socket. */
static int lock_folder(const char *path)
{
	const struct timespec pause = {.tv_nsec = RETRY_PAUSE_NS};
	char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;

	memcpy(copy, path, strlen(path) + 1);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB); i++)
		nanosleep(&pause, NULL);
	return fd;
}

static int bind_path(int fd, const char *path, const struct sockaddr_un *addr)
{
	int rc;

	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return cannot_listen(path, -errno);
	rc = remove_stale(path, addr);
	if (rc)
		return rc;
	if (bind(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		return cannot_listen(path, -errno);
	return 0;
}

static int open_listener(int fd, const char *path, const struct sockaddr_un *addr,
			 struct shm_listener *out)
{
	struct stat st;
	int rc;

	/* The mode of the socket is the mode of the path that bind() makes. */
	if (fchmod(fd, 0600))
		return cannot_listen(path, -errno);
	rc = bind_path(fd, path, addr);
	if (rc)
		return rc;
	if (listen(fd, BACKLOG) || lstat(path, &st)) {
		rc = cannot_listen(path, -errno);
		unlink(path);
		return rc;
	}
	*out = (struct shm_listener){.fd = fd, .dev = st.st_dev, .ino = st.st_ino};
	memcpy(out->path, path, strlen(path) + 1);
	return 0;
}

int shm_listen(const char *path, struct shm_listener *out)
{
	struct sockaddr_un addr;
	int fd, lock, rc = make_addr(path, &addr);

	out->fd = -1;
	if (rc)
		return rc;
	fd = make_socket();
	if (fd < 0)
		return cannot_listen(path, fd);
	lock = lock_folder(path);
	rc = open_listener(fd, path, &addr, out);
	if (lock >= 0)
		close(lock);
	if (rc)
		close(fd);
	return rc;
}

void shm_unlisten(struct shm_listener *l)
{
	struct stat st;

	if (l->fd < 0)
		return;
	if (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
}

int shm_accept(const struct shm_listener *l)
{
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	return fd >= 0 ? fd : -errno;
}
