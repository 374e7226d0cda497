/* SPDX-License-Identifier: Apache-2.0 */
/* address: where metrics are served. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/metrics/http.h"

#define BACKLOG	   16
#define HOST_BYTES 256
#define THIS_HOST  "127.0.0.1"

struct address {
	char host[HOST_BYTES];
	char port[8];
};

static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return text[0] >= '0' && text[0] <= '9' && strlen(text) < 6 && !*end && port <= 65535;
}

/* The host's end in "host:port" and "[host]:port"; NULL: it is neither. */
static const char *end_of_host(const char *text)
{
	const char *end;

	if (text[0] != '[') {
		end = strrchr(text, ':');
		return end && end > text && memchr(text, ':', (size_t)(end - text)) ? NULL : end;
	}
	end = strchr(text, ']');
	return end && end[1] == ':' ? end : NULL;
}

static int parse(const char *text, struct address *out)
{
	const char *end = end_of_host(text), *host = text + (text[0] == '[');
	const char *port = end ? end + 1 + (text[0] == '[') : text;
	size_t bytes = end ? (size_t)(end - host) : 0;

	if (!is_port(port) || (end && !bytes) || bytes >= sizeof(out->host))
		return err_set(-EINVAL,
			       "'%.80s' is no address: a port (9464), HOST:PORT or [IPV6]:PORT",
			       text);
	snprintf(out->host, sizeof(out->host), "%.*s", (int)bytes, host);
	if (!end)
		strcpy(out->host, THIS_HOST);
	snprintf(out->port, sizeof(out->port), "%s", port);
	return 0;
}

int metrics_check_address(const char *text)
{
	struct address a;

	return parse(text, &a);
}

static void show(int fd, char *shown, size_t shown_bytes)
{
	struct sockaddr_storage at;
	socklen_t bytes = sizeof(at);
	char host[HOST_BYTES] = "?", port[8] = "?";

	if (!getsockname(fd, (struct sockaddr *)&at, &bytes))
		getnameinfo((struct sockaddr *)&at, bytes, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(shown, shown_bytes, at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static int listen_at(const struct addrinfo *at)
{
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, err;

	if (fd < 0)
		return -errno;
	if (!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) &&
	    !bind(fd, at->ai_addr, at->ai_addrlen) && !listen(fd, BACKLOG))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int metrics_listen(const char *text, char *shown, size_t shown_bytes)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *at = NULL;
	struct address a;
	int fd = parse(text, &a), err;

	if (fd)
		return fd;
	err = getaddrinfo(a.host, a.port, &hints, &at);
	if (err)
		return err_set(-EINVAL, "--metrics %.80s: %s", text, gai_strerror(err));
	fd = listen_at(at);
	freeaddrinfo(at);
	if (fd < 0)
		return err_set(fd, "--metrics %.80s: %s: choose another port, or 0", text,
			       strerror(-fd));
	show(fd, shown, shown_bytes);
	return fd;
}
