/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn/address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/base/err.h"
#include "common/conn/tcp.h"

const char *net_scheme(enum net_kind kind)
{
	return kind == NET_RDMA ? "rdma" : "tcp";
}

uint16_t net_port(enum net_kind kind)
{
	return kind == NET_RDMA ? NET_RDMA_PORT : NET_TCP_PORT;
}

static int bad(enum net_kind kind, const char *text, const char *what)
{
	return err_set(-EINVAL, "%s:%.200s: %s: write for example %s:memhost:%u", net_scheme(kind),
		       text, what, net_scheme(kind), net_port(kind));
}

static int parse_port(const char *whole, const char *text, bool any_port, struct net_addr *out)
{
	unsigned long value = 0;
	size_t len = strlen(text);

	if (len && len <= 5 && strspn(text, "0123456789") == len)
		value = strtoul(text, NULL, 10);
	else
		value = UINT16_MAX + 1UL;
	if (value > UINT16_MAX || (value == 0 && !any_port))
		return bad(out->kind, whole, "the port is not a number from 1 to 65535");
	out->port = (uint16_t)value;
	return 0;
}

static bool is_host(const char *host, size_t len, bool is_v6)
{
	static const char v6_chars[] = "0123456789abcdefABCDEF:.%-_";

	for (size_t i = 0; i < len; i++)
		if (is_v6 ? !strchr(v6_chars, host[i]) && !(host[i] >= 'g' && host[i] <= 'z')
			  : host[i] <= ' ' || host[i] >= 0x7f || strchr("[]/", host[i]))
			return false;
	return len < NET_HOST_MAX_BYTES;
}

int net_addr_parse(enum net_kind kind, const char *text, bool any_port, struct net_addr *out)
{
	bool is_v6 = text[0] == '[';
	const char *host = text + is_v6;
	size_t len = strcspn(host, is_v6 ? "]" : ":");
	const char *rest = host + len;

	*out = (struct net_addr){.kind = kind, .port = net_port(kind)};
	if (is_v6 && *rest++ != ']')
		return bad(kind, text, "']' is missing");
	if (is_v6 && !len)
		return bad(kind, text, "nothing between '[' and ']'");
	if (!is_v6 && *rest && strchr(rest + 1, ':'))
		return err_set(-EINVAL,
			       "%s:%.200s: an IPv6 address goes in brackets: write for example "
			       "%s:[fd00::1]:%u",
			       net_scheme(kind), text, net_scheme(kind), net_port(kind));
	if (!is_host(host, len, is_v6) || (*rest && *rest != ':'))
		return bad(kind, text, "not a host and a port");
	memcpy(out->host, host, len);
	return *rest ? parse_port(text, rest + 1, any_port, out) : 0;
}

const char *net_addr_format(char *buf, size_t buf_bytes, const struct net_addr *a)
{
	bool is_v6 = strchr(a->host, ':') != NULL;

	snprintf(buf, buf_bytes, "%s:%s%s%s:%u", net_scheme(a->kind), is_v6 ? "[" : "", a->host,
		 is_v6 ? "]" : "", a->port);
	return buf;
}

static int say_why_not(const struct net_addr *a, int code)
{
	char name[NET_NAME_MAX_BYTES];

	net_addr_format(name, sizeof(name), a);
	if (code == EAI_INPROGRESS)
		return err_set(-ETIMEDOUT,
			       "server %s: looking up its name took too long: check the name "
			       "service, or give its address",
			       name);
	if (code == EAI_MEMORY || code == EAI_SYSTEM)
		return err_set(-EAGAIN, "server %s: can't look up its name: %s", name,
			       gai_strerror(code));
	return err_set(-ENOENT,
		       "server %s: no machine of that name (%s): check the spelling, or "
		       "give its address",
		       name, gai_strerror(code));
}

/* What the look-up works on. It outlives a look-up that can't be called back. */
struct lookup {
	struct gaicb cb;
	struct addrinfo hints;
	struct net_addr addr;
	char port[8];
};

static int wait_for(struct lookup *l, uint64_t deadline_ns)
{
	const struct gaicb *list[] = {&l->cb};
	int rc = EAI_INPROGRESS;

	while (rc == EAI_INPROGRESS) {
		uint64_t now = tcp_deadline_ns(0), left = deadline_ns > now ? deadline_ns - now : 0;
		struct timespec t = {.tv_sec = (time_t)(left / 1000000000),
				     .tv_nsec = (long)(left % 1000000000)};

		if (!left)
			break;
		gai_suspend(list, 1, &t);
		rc = gai_error(&l->cb);
	}
	return rc;
}

/* getaddrinfo() waits as long as the name service likes; this does not. */
static int look_up(struct lookup *l, uint64_t deadline_ns, struct addrinfo **out)
{
	struct gaicb *list[] = {&l->cb};
	int rc = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);

	if (!rc)
		rc = wait_for(l, deadline_ns);
	if (rc == EAI_INPROGRESS && gai_cancel(&l->cb) != EAI_CANCELED)
		return rc; /* a thread works on it still: it keeps its lookup */
	*out = l->cb.ar_result;
	free(l);
	return rc;
}

int net_resolve(const struct net_addr *a, uint64_t deadline_ns, struct addrinfo **out)
{
	struct lookup *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(-ENOMEM, "out of memory");
	l->addr = *a;
	snprintf(l->port, sizeof(l->port), "%u", a->port);
	l->hints = (struct addrinfo){.ai_socktype = SOCK_STREAM,
				     .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	l->cb = (struct gaicb){
		.ar_name = l->addr.host, .ar_service = l->port, .ar_request = &l->hints};
	if (getaddrinfo(l->addr.host, l->port, &l->hints, out) == 0) {
		free(l);
		return 0;
	}
	l->hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
	rc = look_up(l, deadline_ns, out);
	return rc ? say_why_not(a, rc) : 0;
}
