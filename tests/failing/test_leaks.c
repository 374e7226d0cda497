/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is opened in this process while its Nth call for memory or a descriptor fails, N = 1, 2,
 * 3 ... until there is none: an error is returned or it works, no descriptor is left open, and
 * beside the address sanitizer no memory. Calls of rmem are failed (ld --wrap), and of this
 * thread alone: not of libraries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "client/capture/proc.h"
#include "client/jobtree.h"
#include "client/record.h"
#include "client/servers.h"
#include "client/session.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"
#include "common/config.h"
#include "common/spec.h"
#include "server/server.h"

#define MOST	  2000U
#define SETTLE_MS 2000U

/* Of the leak sanitizer, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static _Thread_local unsigned int nth, calls; /* nth 0: nothing fails */

static bool fails(int code)
{
	if (!nth || ++calls != nth)
		return false;
	errno = code;
	return true;
}

#define WRAP(code, bad, type, name, params, args)                \
	type __real_##name params;                               \
	type __wrap_##name params;                               \
	type __wrap_##name params                                \
	{                                                        \
		return fails(code) ? (bad) : __real_##name args; \
	}

WRAP(ENOMEM, NULL, void *, malloc, (size_t n), (n))
WRAP(ENOMEM, NULL, void *, calloc, (size_t nr, size_t n), (nr, n))
WRAP(ENOMEM, NULL, void *, realloc, (void *p, size_t n), (p, n))
WRAP(ENOMEM, NULL, char *, strdup, (const char *s), (s))
WRAP(ENOMEM, MAP_FAILED, void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t off),
     (at, n, prot, flags, fd, off))
WRAP(EMFILE, NULL, FILE *, fopen, (const char *path, const char *mode), (path, mode))
WRAP(EMFILE, NULL, DIR *, opendir, (const char *path), (path))
WRAP(EMFILE, -1, int, socket, (int domain, int type, int proto), (domain, type, proto))
WRAP(EMFILE, -1, int, eventfd, (unsigned int n, int flags), (n, flags))
WRAP(EMFILE, -1, int, epoll_create1, (int flags), (flags))
WRAP(EMFILE, -1, int, timerfd_create, (int clock, int flags), (clock, flags))
WRAP(EMFILE, -1, int, memfd_create, (const char *name, unsigned int flags), (name, flags))
WRAP(EMFILE, -1, int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(ENOMEM, -1, int, epoll_ctl, (int e, int op, int fd, struct epoll_event *ev), (e, op, fd, ev))
WRAP(ENOSPC, -1, int, ftruncate, (int fd, off_t bytes), (fd, bytes))
WRAP(ENOSPC, -1, int, fallocate, (int fd, int mode, off_t off, off_t n), (fd, mode, off, n))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails(EMFILE) ? -1 : __real_open(path, flags, mode);
}

/* ---- the loop ---- */

static unsigned int nr_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int nr = 0;

	assert_non_null(d);
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

/* A server in another thread sees a moment later that its client has gone. */
static bool has_files(unsigned int nr)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (unsigned int i = 0; i < SETTLE_MS && nr_files() != nr; i++)
		nanosleep(&pause, NULL);
	return nr_files() == nr;
}

/* @fn opens and closes, and is to return 0 once nothing fails. */
static void each_call_fails(const char *what, int (*fn)(const char *arg), const char *arg)
{
	unsigned int files = nr_files(), errors = 0;
	int err;

	assert_int_equal(fn(arg), 0);
	if (!has_files(files)) /* what stays open from the first time on */
		files = nr_files();
	for (unsigned int n = 1; n < MOST; n++) {
		err_clear();
		calls = 0;
		nth = n;
		err = fn(arg);
		nth = 0;
		errors += err != 0;
		if (err > 0)
			fail_msg("%s %s, call %u: %d is no error", what, arg, n, err);
		if (!has_files(files))
			fail_msg("%s %s, call %u: %u descriptors instead of %u: %s", what, arg, n,
				 nr_files(), files, err_text(err));
		if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check())
			fail_msg("%s %s, call %u: memory is lost: %s", what, arg, n, err_text(err));
		if (calls >= n)
			continue;
		assert_int_equal(err, 0);
		print_message("%s %s: %u calls, %u errors\n", what, arg, n - 1, errors);
		return;
	}
	fail_msg("%s %s: more than %u calls", what, arg, MOST);
}

/* ---- what is opened ---- */

static int parse(const char *text)
{
	struct spec *s = NULL, *copy = NULL;
	int err = spec_parse(text, &s);

	if (!err) {
		copy = spec_copy(s);
		err = copy ? 0 : -ENOMEM;
	}
	spec_free(copy);
	spec_free(s);
	return err;
}

static void specs(void **state)
{
	(void)state;
	each_call_fails("spec", parse, "ram");
	each_call_fails("spec", parse, "mirror(tcp:a:1,timeout=3,fault(file:/x,size=1G))");
}

static int open_store(const char *text)
{
	struct store *s = NULL;
	int err = session_open_spec(text, MIB(4), 2000, &s);

	if (!err)
		s->ops->close(s);
	return err;
}

static void stores(void **state)
{
	(void)state;
	each_call_fails("store", open_store, "ram");
	each_call_fails("store", open_store, "fault(ram)");
	each_call_fails("store", open_store, "file:/var/tmp");
	each_call_fails("store", open_store, "mirror(ram,ram)");
}

static int open_pool(const char *text)
{
	static struct servers_joined none;
	struct handover node[HANDOVER_NODES] = {0};
	struct run_config cfg = {.nr_servers = 2, .remote_bytes = MIB(8)};
	struct store *s = NULL;
	int err;

	cfg.server[0] = cfg.server[1] = text;
	err = servers_open(&cfg, -1, &none, node, &s);
	if (!err)
		s->ops->close(s);
	return err;
}

static void pools(void **state)
{
	(void)state;
	each_call_fails("pool", open_pool, "file:/var/tmp");
}

/* ---- a server, and its clients ---- */

static char path[64];

static struct options listens(void)
{
	struct options o = {.client_fd = -1, .capacity_bytes = MIB(64), .node = SLAB_NODE_ANY};

	o.nr_listen = o.nr_tcp = 1;
	o.listen_path[0] = path;
	if (net_addr_parse(NET_TCP, "127.0.0.1:0", true, &o.tcp[0]))
		fail();
	return o;
}

static int open_server(const char *arg)
{
	struct options o = listens();
	struct server s;
	int err = server_open(&s, &o);

	(void)arg;
	server_close(&s);
	if (!access(path, F_OK))
		fail_msg("the socket is left");
	return err;
}

static void servers(void **state)
{
	(void)state;
	each_call_fails("server", open_server, "");
}

struct service {
	struct server s;
	sem_t is_up;
	int err;
};

/* All of it in one thread: its io_uring is that thread's. */
static void *serve(void *arg)
{
	struct service *v = arg;
	struct options o = listens();

	v->err = server_open(&v->s, &o);
	sem_post(&v->is_up);
	if (!v->err)
		v->err = server_run(&v->s);
	if (!v->err && v->s.bank.reserved_bytes)
		v->err = -EBUSY;
	server_close(&v->s);
	return NULL;
}

static void clients(void **state)
{
	struct service v = {.err = 0};
	sigset_t term;
	char tcp[96], shm[96];
	pthread_t thread;

	(void)state;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
	sem_init(&v.is_up, 0, 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, &v), 0);
	sem_wait(&v.is_up);
	assert_int_equal(v.err, 0);
	net_addr_format(tcp, sizeof(tcp), &v.s.tcp_listener[0].addr);
	snprintf(shm, sizeof(shm), "shm:%s", path);
	each_call_fails("store", open_store, shm);
	each_call_fails("store", open_store, tcp);
	kill(getpid(), SIGTERM); /* the server reads it */
	pthread_join(thread, NULL);
	assert_int_equal(v.err, 0);
	sem_destroy(&v.is_up);
}

/* ---- files ---- */

static int list(const char *arg)
{
	struct jobtree t = {.root = getpid(), .with_root = true};
	pid_t *pid = NULL;
	size_t nr = 0;
	int err = jobtree_list(&t, &pid, &nr);

	(void)arg;
	if (!err && (!nr || pid[0] != getpid()))
		err = 1;
	free(pid);
	return err;
}

static int count_map(void *ctx, const struct proc_map *m)
{
	(void)m;
	++*(unsigned int *)ctx;
	return 0;
}

static int look(const char *arg)
{
	unsigned int maps = 0, smaps = 0;
	uint64_t *page = NULL, pss, anon;
	size_t nr;
	int err = proc_maps_each(getpid(), count_map, &maps);

	(void)arg;
	if (!err)
		err = proc_smaps_each(getpid(), count_map, &smaps);
	if (!err)
		err = proc_thread_pages(getpid(), &page, &nr);
	if (!err)
		err = proc_pss_anon(getpid(), &pss, &anon);
	free(page);
	return err;
}

static void processes(void **state)
{
	(void)state;
	each_call_fails("tree", list, "");
	each_call_fails("proc", look, "");
}

static int read_config(const char *name)
{
	struct config_file f;
	int err = config_read(name, &f);

	config_free(&f);
	return err;
}

static int record(const char *name)
{
	uint64_t *key = NULL;
	struct record *r = NULL;
	uint32_t nr = 0;
	int err = record_create(name, &r);

	if (!err) {
		record_add(r, 4096);
		record_add(r, 8192);
		err = record_write(r);
	}
	record_close(r);
	if (!err)
		err = record_load(name, &key, &nr);
	free(key);
	unlink(name);
	return err;
}

static void files(void **state)
{
	char name[64];
	FILE *f;

	(void)state;
	snprintf(name, sizeof(name), "/var/tmp/rmem-leaks-%d", getpid());
	f = fopen(name, "w");
	assert_non_null(f);
	fputs("[run]\nlocal = 1G\nserver = ram\n", f);
	fclose(f);
	each_call_fails("config", read_config, name);
	unlink(name);
	each_call_fails("record", record, name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(specs),   cmocka_unit_test(stores),  cmocka_unit_test(pools),
		cmocka_unit_test(servers), cmocka_unit_test(clients), cmocka_unit_test(processes),
		cmocka_unit_test(files),
	};
	int rc;

	log_set_level(LOG_LEVEL_ERROR);
	snprintf(path, sizeof(path), "/var/tmp/rmem-leaks-%d.sock", getpid());
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path); /* a server whose end failed has left it */
	return rc;
}
