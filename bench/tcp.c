/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp read|echo|flight|single|stream COUNT [HOST:PORT]: what the store tcp costs beside
 * the least that loopback allows.
 *
 *	read    one 4 KiB page at a time through the store; median
 *	echo    as many bytes each way, bare io_uring at both ends; median
 *	flight  64 pages in flight through the store, neighbours
 *	single  the same, no two of them neighbours
 *	stream  a plain stream of as many bytes
 */
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "bench/bench.h"
#include "client/store/open.h"
#include "common/base/err.h"
#include "common/wire/wire.h"

#define IN_FLIGHT    64U
#define SLOTS	     8192U
#define STREAM_BYTES (256UL << 10)

static char *pages;

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *ns, uint64_t nr)
{
	qsort(ns, nr, sizeof(*ns), compare);
	return ns[nr / 2];
}

/* ---- through the store ---- */

static struct store *open_store(const char *rest)
{
	struct spec spec = {.scheme = (char *)"tcp", .rest = (char *)rest};
	struct store_open_args args = {.bytes = SLOTS * PAGE, .sock_fd = -1, .timeout_ms = 5000};
	struct store *s;

	if (store_tcp_type.open(&spec, &args, &s))
		die(err_text(-1));
	return s;
}

static unsigned int wait_some(struct store *s, struct store_done *done, unsigned int max)
{
	struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};
	int n;

	while ((n = s->ops->reap(s, done, max)) == 0)
		poll(&p, 1, -1);
	if (n < 0)
		die(err_text(n));
	return (unsigned int)n;
}

static void submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	int n = s->ops->submit(s, req, nr);

	if (n != (int)nr)
		die(n < 0 ? err_text(n) : "the store is full");
}

/* Every slot once, so that its memory is there. */
static void write_all(struct store *s)
{
	struct store_done done[IN_FLIGHT];

	for (uint32_t i = 0; i < SLOTS; i++) {
		struct store_req req = {.slot = i, .buf = pages, .op = STORE_WRITE};

		submit(s, &req, 1);
		wait_some(s, done, 1);
	}
}

static uint64_t read_pages(struct store *s, uint64_t count)
{
	uint64_t *ns = map_bytes(count * sizeof(*ns));
	struct store_done done;

	for (uint64_t i = 0; i < count; i++) {
		struct store_req req = {
			.slot = mix64(i) % SLOTS, .buf = pages, .op = STORE_READ, .urgent = true};
		uint64_t begin = now_ns();

		submit(s, &req, 1);
		wait_some(s, &done, 1);
		ns[i] = now_ns() - begin;
	}
	return median(ns, count);
}

static uint64_t read_many(struct store *s, uint64_t count, uint64_t step)
{
	struct store_req req[IN_FLIGHT];
	struct store_done done[IN_FLIGHT];
	uint64_t asked = 0, got = 0, begin = now_ns();
	unsigned int nr = IN_FLIGHT;

	for (uint32_t i = 0; i < IN_FLIGHT; i++)
		done[i].tag = i;
	while (got < count) {
		for (unsigned int i = 0; i < nr; i++)
			req[i] = (struct store_req){.slot = asked++ * step % SLOTS,
						    .buf = pages + done[i].tag * PAGE,
						    .tag = done[i].tag,
						    .op = STORE_READ};
		submit(s, req, nr);
		nr = wait_some(s, done, IN_FLIGHT);
		got += nr;
	}
	return now_ns() - begin;
}

/* ---- bare ---- */

/* Two ends of a loopback connection: the child's and ours. */
static int connect_child(int *child_end)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0),
	    fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len) ||
	    connect(fd, (struct sockaddr *)&a, len))
		die("no loopback connection");
	*child_end = accept(listener, NULL, NULL);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(*child_end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* Receives @in bytes. Sends @out before, where that is not 0. */
static void turn(struct io_uring *u, int fd, char *buf, size_t out, size_t in)
{
	size_t got = 0;

	if (out) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(u);

		io_uring_prep_send(sqe, fd, buf, out, MSG_NOSIGNAL | MSG_WAITALL);
		sqe->user_data = 0;
	}
	while (got < in) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(u);
		struct io_uring_cqe *cqe;
		bool received = false;

		io_uring_prep_recv(sqe, fd, buf + got, in - got, 0);
		sqe->user_data = 1;
		while (!received) {
			if (io_uring_submit_and_wait(u, 1) < 0)
				die("io_uring");
			while (!io_uring_peek_cqe(u, &cqe)) {
				if (cqe->res <= 0)
					exit(0); /* the other end has enough */
				received |= cqe->user_data == 1;
				got += cqe->user_data == 1 ? (size_t)cqe->res : 0;
				io_uring_cqe_seen(u, cqe);
			}
		}
	}
}

static uint64_t echo(uint64_t count)
{
	const size_t ask = WIRE_RUN_BYTES, answer = WIRE_DATA_BYTES + PAGE;
	uint64_t *ns = map_bytes(count * sizeof(*ns));
	int theirs, fd = connect_child(&theirs);
	bool is_child = fork() == 0;
	struct io_uring u;

	if (is_child)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (io_uring_queue_init(8, &u, 0))
		die("no io_uring");
	close(is_child ? fd : theirs);
	for (size_t out = 0; is_child; out = answer)
		turn(&u, theirs, pages, out, ask);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t begin = now_ns();

		turn(&u, fd, pages, ask, answer);
		ns[i] = now_ns() - begin;
	}
	return median(ns, count);
}

static uint64_t stream(uint64_t count)
{
	int theirs, fd = connect_child(&theirs);
	uint64_t begin, left = count * PAGE;
	ssize_t n = 1;

	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fd);
		while (send(theirs, pages, STREAM_BYTES, MSG_NOSIGNAL) > 0)
			;
		exit(0);
	}
	close(theirs);
	begin = now_ns();
	while (left && n > 0) {
		n = recv(fd, pages, left < STREAM_BYTES ? left : STREAM_BYTES, 0);
		left -= n > 0 ? (uint64_t)n : 0;
	}
	return now_ns() - begin;
}

int main(int argc, char **argv)
{
	uint64_t count, ns;
	struct store *s;

	if (argc < 3)
		die("see the head of bench/tcp.c");
	count = number(argv[2]);
	alarm(LIMIT_S);
	pages = map_bytes(STREAM_BYTES);
	memset(pages, 7, STREAM_BYTES);
	if (!strcmp(argv[1], "echo")) {
		ns = echo(count);
	} else if (!strcmp(argv[1], "stream")) {
		ns = stream(count);
	} else {
		if (argc < 4)
			die("HOST:PORT is missing");
		s = open_store(argv[3]);
		write_all(s);
		ns = !strcmp(argv[1], "read")	  ? read_pages(s, count)
		     : !strcmp(argv[1], "flight") ? read_many(s, count, 1)
						  : read_many(s, count, 2);
		s->ops->close(s);
	}
	printf("{\"ns\": %lu}\n", ns);
	return 0;
}
