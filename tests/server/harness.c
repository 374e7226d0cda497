/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/server/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/conn/shm.h"

#define MAX_ARGS 12
#define STEP_US	 5000

void rmemd_prepare(struct rmemd *r)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->dir, "/tmp/rmemd-test-XXXXXX");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->path, sizeof(r->path), "%s/s", r->dir);
	r->spec = (struct spec){.scheme = (char *)"shm", .rest = r->path};
}

static void log_path(const struct rmemd *r, char *buf, size_t bytes)
{
	snprintf(buf, bytes, "%s/log", r->dir);
}

static void become_rmemd(const struct rmemd *r, const char *const *args)
{
	const char *argv[MAX_ARGS + 2] = {"rmemd"};
	char log[64];
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_path(r, log, sizeof(log));
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	for (int i = 0; i < MAX_ARGS && args[i]; i++)
		argv[i + 1] = args[i];
	execv(RMEMD_PATH, (char *const *)argv);
	_exit(99);
}

void rmemd_spawn(struct rmemd *r, const char *const *args)
{
	r->pid = fork();
	assert_true(r->pid >= 0);
	if (r->pid == 0)
		become_rmemd(r, args);
}

void rmemd_start(struct rmemd *r, const char *const *args)
{
	const char *all[MAX_ARGS + 1] = {"--listen", NULL};
	char listen[64];
	int fd = -1;

	snprintf(listen, sizeof(listen), "shm:%s", r->path);
	all[1] = listen;
	for (int i = 0; i + 2 < MAX_ARGS && args[i]; i++)
		all[i + 2] = args[i];
	rmemd_spawn(r, all);
	for (int ms = 0; ms < PATIENCE_MS && fd < 0; ms += STEP_US / 1000) {
		fd = shm_connect(r->path, 0);
		usleep(STEP_US);
	}
	assert_true(fd >= 0);
	close(fd);
}

static void read_log(struct rmemd *r);

/* It says which port it got at @said. */
static int wait_for_port(struct rmemd *r, const char *said)
{
	const char *at = NULL;

	for (int ms = 0; ms < PATIENCE_MS && !at; ms += STEP_US / 1000) {
		usleep(STEP_US);
		read_log(r);
		at = strstr(r->log, said);
	}
	assert_non_null(at);
	return atoi(at + strlen(said));
}

static void take_tcp_port(struct rmemd *r)
{
	snprintf(r->tcp_rest, sizeof(r->tcp_rest), "127.0.0.1:%d",
		 wait_for_port(r, "listening on tcp:127.0.0.1:"));
	r->tcp_spec = (struct spec){.scheme = (char *)"tcp", .rest = r->tcp_rest};
	assert_int_equal(net_addr_parse(NET_TCP, r->tcp_rest, false, &r->addr), 0);
}

void rmemd_start_tcp(struct rmemd *r, const char *const *args)
{
	const char *all[MAX_ARGS + 1] = {"--listen", "tcp:127.0.0.1:0", NULL};

	for (int i = 0; i + 3 < MAX_ARGS && args[i]; i++)
		all[i + 2] = args[i];
	rmemd_start(r, all);
	take_tcp_port(r);
}

void rmemd_start_rdma(struct rmemd *r, const char *address, const char *const *args)
{
	const char *all[MAX_ARGS + 1] = {"--listen", NULL};
	char listen[64], said[96];

	snprintf(listen, sizeof(listen), "rdma:%s:0", address);
	snprintf(said, sizeof(said), "listening on rdma:%s:", address);
	all[1] = listen;
	for (int i = 0; i + 3 < MAX_ARGS && args[i]; i++)
		all[i + 2] = args[i];
	rmemd_start_tcp(r, all);
	snprintf(r->rdma_rest, sizeof(r->rdma_rest), "%s:%d", address, wait_for_port(r, said));
}

static void read_log(struct rmemd *r)
{
	char path[64];
	FILE *f;

	log_path(r, path, sizeof(path));
	f = fopen(path, "r");
	if (f) {
		r->log[fread(r->log, 1, sizeof(r->log) - 1, f)] = '\0';
		fclose(f);
	}
}

int rmemd_wait(struct rmemd *r)
{
	int status;

	for (int ms = 0; ms < PATIENCE_MS; ms += STEP_US / 1000) {
		if (waitpid(r->pid, &status, WNOHANG) == r->pid) {
			r->pid = 0;
			read_log(r);
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
		usleep(STEP_US);
	}
	return 256;
}

void rmemd_cleanup(struct rmemd *r)
{
	char path[64];

	if (r->pid > 0) {
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
		unlink(r->path);
	}
	log_path(r, path, sizeof(path));
	unlink(path);
	assert_int_equal(rmdir(r->dir), 0);
}

int raw_connect(const struct rmemd *r)
{
	int fd = shm_connect(r->path, PATIENCE_MS);

	assert_true(fd >= 0);
	return fd;
}

void raw_send(int fd, const struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(m, buf);

	assert_int_equal(shm_send(fd, buf, bytes, -1), 0);
}

void raw_recv(int fd, struct wire_msg *m, int *got_fd)
{
	uint8_t buf[WIRE_MAX_BYTES];
	ssize_t n = shm_recv_until(fd, buf, sizeof(buf), got_fd, shm_deadline_ns(PATIENCE_MS));

	assert_true(n > 0);
	assert_int_equal(wire_decode(buf, (size_t)n, m), 0);
}

void raw_expect_error(int fd, enum wire_error_code code)
{
	struct wire_msg m;

	raw_recv(fd, &m, NULL);
	assert_int_equal(m.type, WIRE_ERROR);
	assert_int_equal(m.error.code, code);
	assert_true(m.error.text[0] != '\0');
}

void raw_expect_end(int fd)
{
	uint8_t buf[WIRE_MAX_BYTES];

	assert_int_equal(shm_recv_until(fd, buf, sizeof(buf), NULL, shm_deadline_ns(PATIENCE_MS)),
			 -EPIPE);
	close(fd);
}

void raw_hello(int fd, uint64_t wanted_bytes, struct wire_msg *welcome)
{
	struct wire_msg m = {.type = WIRE_HELLO,
			     .request = 1,
			     .hello = {.version_min = WIRE_VERSION_MIN,
				       .version_max = WIRE_VERSION_MAX,
				       .access = WIRE_ACCESS_DESCRIPTOR,
				       .wanted_bytes = wanted_bytes,
				       .name = "test"}};

	raw_send(fd, &m);
	raw_recv(fd, welcome, NULL);
}

int raw_lease(int fd, struct wire_leased *leased)
{
	struct wire_msg m = {.type = WIRE_LEASE, .request = 2, .lease.nr_slabs = 1};
	int slab_fd = -1;

	raw_send(fd, &m);
	raw_recv(fd, &m, &slab_fd);
	assert_int_equal(m.type, WIRE_LEASED);
	assert_true(slab_fd >= 0);
	*leased = m.leased;
	return slab_fd;
}

int tcp_raw_connect(const struct rmemd *r)
{
	int fd = tcp_connect(&r->addr, tcp_deadline_ns(PATIENCE_MS));

	assert_true(fd >= 0);
	return fd;
}

void tcp_raw_send(int fd, const struct wire_msg *m)
{
	uint8_t buf[WIRE_MAX_BYTES];
	size_t bytes = wire_encode(m, buf);

	assert_int_equal(tcp_send_until(fd, buf, bytes, tcp_deadline_ns(PATIENCE_MS)), 0);
}

void tcp_raw_recv(int fd, struct wire_msg *m)
{
	uint64_t deadline_ns = tcp_deadline_ns(PATIENCE_MS);
	uint8_t buf[WIRE_MAX_BYTES];
	int len;

	assert_int_equal(tcp_recv_until(fd, buf, WIRE_HEADER_BYTES, deadline_ns), 0);
	len = wire_length(buf, WIRE_HEADER_BYTES);
	assert_true(len >= WIRE_HEADER_BYTES);
	assert_int_equal(tcp_recv_until(fd, buf + WIRE_HEADER_BYTES,
					(size_t)len - WIRE_HEADER_BYTES, deadline_ns),
			 0);
	assert_int_equal(wire_decode(buf, (size_t)len, m), 0);
}

void tcp_raw_expect_error(int fd, enum wire_error_code code)
{
	struct wire_msg m;

	tcp_raw_recv(fd, &m);
	assert_int_equal(m.type, WIRE_ERROR);
	assert_int_equal(m.error.code, code);
	assert_true(m.error.text[0] != '\0');
}

void tcp_raw_expect_end(int fd)
{
	uint8_t byte;

	assert_int_equal(tcp_recv_until(fd, &byte, 1, tcp_deadline_ns(PATIENCE_MS)), -EPIPE);
	close(fd);
}

void tcp_raw_hello(int fd, uint64_t wanted_bytes, struct wire_msg *welcome)
{
	struct wire_msg m = {.type = WIRE_HELLO,
			     .request = 1,
			     .hello = {.version_min = WIRE_VERSION_MIN,
				       .version_max = WIRE_VERSION_MAX,
				       .access = WIRE_ACCESS_MESSAGES,
				       .wanted_bytes = wanted_bytes,
				       .name = "test"}};

	tcp_raw_send(fd, &m);
	tcp_raw_recv(fd, welcome);
}

void tcp_pair_open(const struct rmemd *r, uint64_t bytes, struct tcp_pair *out)
{
	struct wire_msg m;

	memset(out, 0, sizeof(*out));
	out->fd[0] = tcp_raw_connect(r);
	tcp_raw_hello(out->fd[0], bytes, &m);
	assert_int_equal(m.type, WIRE_WELCOME);
	out->welcome = m.welcome;
	out->nr_slabs = (unsigned int)((bytes + m.welcome.slab_bytes - 1) / m.welcome.slab_bytes);
	assert_true(out->nr_slabs <= 4);
	m = (struct wire_msg){.type = WIRE_LEASE, .request = 2, .lease.nr_slabs = out->nr_slabs};
	tcp_raw_send(out->fd[0], &m);
	for (unsigned int i = 0; i < out->nr_slabs; i++) {
		tcp_raw_recv(out->fd[0], &m);
		assert_int_equal(m.type, WIRE_LEASED);
		assert_int_equal(m.leased.access, WIRE_ACCESS_MESSAGES);
		out->slab[i] = m.leased;
	}
	out->fd[1] = tcp_raw_connect(r);
	m = (struct wire_msg){
		.type = WIRE_JOIN, .request = 1, .join.session = out->welcome.session};
	memcpy(m.join.token, out->welcome.token, WIRE_TOKEN_BYTES);
	tcp_raw_send(out->fd[1], &m);
	tcp_raw_recv(out->fd[1], &m);
	assert_int_equal(m.type, WIRE_JOINED);
}

void tcp_pair_close(struct tcp_pair *pair)
{
	close(pair->fd[0]);
	close(pair->fd[1]);
}

void tcp_raw_write(int fd, uint64_t slab, uint64_t off_bytes, uint32_t nr_pages, const char *pages)
{
	struct wire_msg m = {.type = WIRE_WRITE,
			     .request = 11,
			     .run = {.slab = slab, .off_bytes = off_bytes, .nr_pages = nr_pages}};

	tcp_raw_send(fd, &m);
	assert_int_equal(
		tcp_send_until(fd, pages, nr_pages * PAGE_BYTES, tcp_deadline_ns(PATIENCE_MS)), 0);
	tcp_raw_recv(fd, &m);
	assert_int_equal(m.type, WIRE_WRITTEN);
	assert_int_equal(m.request, 11);
}

void tcp_raw_read(int fd, uint64_t slab, uint64_t off_bytes, uint32_t nr_pages, char *pages)
{
	struct wire_msg m = {.type = WIRE_READ,
			     .request = 12,
			     .run = {.slab = slab, .off_bytes = off_bytes, .nr_pages = nr_pages}};

	tcp_raw_send(fd, &m);
	tcp_raw_recv(fd, &m);
	assert_int_equal(m.type, WIRE_DATA);
	assert_int_equal(m.request, 12);
	assert_int_equal(m.data.nr_pages, nr_pages);
	assert_int_equal(
		tcp_recv_until(fd, pages, nr_pages * PAGE_BYTES, tcp_deadline_ns(PATIENCE_MS)), 0);
}

uint64_t free_bytes(const struct rmemd *r)
{
	uint64_t left = 0, capacity = 0;

	assert_int_equal(store_shm_type.probe(&r->spec, PATIENCE_MS, &left, &capacity), 0);
	return left;
}

void expect_free(const struct rmemd *r, uint64_t bytes)
{
	uint64_t left = 0, capacity;

	for (int ms = 0; ms < PATIENCE_MS; ms += STEP_US / 1000) {
		int rc = store_shm_type.probe(&r->spec, PATIENCE_MS, &left, &capacity);

		if (rc == 0 && left == bytes)
			return;
		assert_true(rc == 0 || rc == -EBUSY);
		usleep(STEP_US);
	}
	fail_msg("%llu bytes are free", (unsigned long long)left);
}

void expect_no_socket(const struct rmemd *r)
{
	for (int ms = 0; ms < PATIENCE_MS && access(r->path, F_OK) == 0; ms += STEP_US / 1000)
		usleep(STEP_US);
	assert_int_equal(access(r->path, F_OK), -1);
}

int store_open(const struct rmemd *r, uint64_t bytes, struct store **out)
{
	struct store_open_args args = {.bytes = bytes, .sock_fd = -1, .timeout_ms = PATIENCE_MS};

	err_clear();
	return store_shm_type.open(&r->spec, &args, out);
}
