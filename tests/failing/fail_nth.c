/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail_nth: for LD_PRELOAD, makes one call of rmem's own processes fail, as if memory,
 * descriptors or processes had run out. It acts where the name of the task is that of
 * RMEM_FAIL_COMM, for the kinds of calls in RMEM_FAIL_KIND (letters of enum kind), and is told
 * what to do by the file RMEM_FAIL_FILE, which the driver (failing.py) and all processes map:
 * struct control. A call site is the stack of addresses that led to a call, as a hash; the
 * job, which inherits all of this, is never touched.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#define DEPTH	16
#define SITES	4096U
#define API	__attribute__((visibility("default")))
#define PAGEMAP 'f' /* the type of PAGEMAP_SCAN's number */

enum kind { MEMORY = 'm', FILES = 'f', TASKS = 't', KERNEL = 'k' };

struct frame {
	uint64_t off; /* in its module */
	char module[24];
};

struct site {
	uint64_t hash, calls;
	char what[24];
	struct frame frame[DEPTH];
};

/* The driver has the same, by offsets. */
struct control {
	uint64_t nth;	/* fail this call, counted from 1; 0: none, count only */
	uint64_t site;	/* of this site; 0: of any */
	uint64_t all;	/* and all that follow */
	uint64_t count; /* calls so far, of that site if there is one */
	uint64_t hits;	/* calls that failed */
	uint64_t pid;	/* where the first of them did */
	uint64_t nr_sites;
	uint64_t lock;
	struct site first; /* the first that failed */
	struct site crash; /* what a signal ended, with the signal's number as calls */
	struct site seen[SITES];
};

static struct control *control;
static const char *comm, *kinds;
static _Thread_local bool inside;

static void *real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

#define REAL(name) ((__typeof__(&(name)))real(#name))

static void describe(struct site *s, const char *what, void *const *at, int nr)
{
	Dl_info info;

	snprintf(s->what, sizeof(s->what), "%s", what);
	for (int i = 0; i < DEPTH; i++) {
		const char *base;

		s->frame[i] = (struct frame){0};
		if (i >= nr || !dladdr(at[i], &info) || !info.dli_fname)
			continue;
		base = strrchr(info.dli_fname, '/');
		s->frame[i].off = (uint64_t)at[i] - (uint64_t)info.dli_fbase;
		snprintf(s->frame[i].module, sizeof(s->frame[i].module), "%s",
			 base ? base + 1 : info.dli_fname);
	}
}

static void crashed(int sig)
{
	void *at[DEPTH + 2];
	char name[16];
	int nr;

	inside = true;
	prctl(PR_GET_NAME, name);
	nr = backtrace(at, DEPTH + 2);
	describe(&control->crash, name, at, nr < DEPTH ? nr : DEPTH);
	control->crash.calls = (uint64_t)sig;
	signal(sig, SIG_DFL);
	raise(sig);
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("RMEM_FAIL_FILE");
	static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS};
	void *warm[2], *p;
	int fd;

	comm = getenv("RMEM_FAIL_COMM");
	kinds = getenv("RMEM_FAIL_KIND");
	if (!path || !comm || !kinds || strncmp(program_invocation_short_name, "rmem", 4) != 0)
		return;
	fd = (int)syscall(SYS_open, path, O_RDWR | O_CLOEXEC);
	p = fd < 0 ? MAP_FAILED
		   : (void *)syscall(SYS_mmap, NULL, sizeof(*control), PROT_READ | PROT_WRITE,
				     MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		abort();
	backtrace(warm, 2); /* loads what it needs */
	control = p;
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		sigaction(deadly[i], &(struct sigaction){.sa_handler = crashed}, NULL);
}

/* Modules lie elsewhere in each process: offsets count. */
static uint64_t hash_of(const char *what, void *const *at, int nr)
{
	uint64_t h = 1469598103934665603ULL;

	for (const char *c = what; *c; c++)
		h = (h ^ (unsigned char)*c) * 1099511628211ULL;
	for (int i = 0; i < nr; i++) {
		struct dl_find_object o;

		if (!_dl_find_object(at[i], &o))
			h = (h ^ ((uint64_t)at[i] - (uint64_t)o.dlfo_map_start)) * 1099511628211ULL;
	}
	return h | 1;
}

static void lock(void)
{
	while (__atomic_exchange_n(&control->lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&control->lock, 0, __ATOMIC_RELEASE);
}

/* While nothing is to fail, sites are listed. */
static void note(uint64_t hash, const char *what, void *const *at, int nr)
{
	uint64_t i = 0, n = control->nr_sites;

	while (i < n && control->seen[i].hash != hash)
		i++;
	if (i == n) {
		if (n == SITES)
			return;
		control->seen[i].hash = hash;
		describe(&control->seen[i], what, at, nr);
		control->nr_sites = n + 1;
	}
	control->seen[i].calls++;
}

static bool decide(const char *what, void *const *at, int nr)
{
	uint64_t hash = control->site || !control->nth ? hash_of(what, at, nr) : 0;
	uint64_t n;

	if (!control->nth)
		note(hash, what, at, nr);
	if (control->site && control->site != hash)
		return false;
	n = ++control->count;
	if (!control->nth || n < control->nth || (n > control->nth && !control->all))
		return false;
	if (!control->hits++) {
		control->pid = (uint64_t)getpid();
		control->first.hash = hash;
		describe(&control->first, what, at, nr);
	}
	return true;
}

static bool is_wanted(enum kind kind)
{
	char name[16] = "";

	if (!control || inside || !strchr(kinds, kind))
		return false;
	prctl(PR_GET_NAME, name);
	return !strcmp(name, comm);
}

/* Is this the call that fails? Then with @code. */
static bool fails(enum kind kind, const char *what, int code)
{
	void *at[DEPTH + 2];
	int nr = 0, was = errno;
	bool is;

	if (!is_wanted(kind))
		return false;
	inside = true;
	if (control->site || !control->nth || control->count + 1 >= control->nth)
		nr = backtrace(at, DEPTH + 2);
	lock();
	is = decide(what, at + 2, nr > 2 ? nr - 2 : 0);
	unlock();
	inside = false;
	errno = is ? code : was;
	return is;
}

/* ---- memory ---- */

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t nr, size_t bytes);
extern void *__libc_realloc(void *p, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

API void *malloc(size_t bytes)
{
	return fails(MEMORY, "malloc", ENOMEM) ? NULL : __libc_malloc(bytes);
}

API void *calloc(size_t nr, size_t bytes)
{
	return fails(MEMORY, "calloc", ENOMEM) ? NULL : __libc_calloc(nr, bytes);
}

API void *realloc(void *p, size_t bytes)
{
	return bytes && fails(MEMORY, "realloc", ENOMEM) ? NULL : __libc_realloc(p, bytes);
}

API int posix_memalign(void **out, size_t align, size_t bytes)
{
	if (fails(MEMORY, "posix_memalign", ENOMEM))
		return ENOMEM;
	*out = __libc_memalign(align, bytes);
	return *out ? 0 : ENOMEM;
}

API void *mmap(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
{
	if (fails(MEMORY, "mmap", ENOMEM))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, bytes, prot, flags, fd, off);
}

API void *mmap64(void *at, size_t bytes, int prot, int flags, int fd, off_t off)
	__attribute__((alias("mmap")));

/* ---- descriptors ---- */

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

API int open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	if (fails(FILES, "open", EMFILE))
		return -1;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

API int open64(const char *path, int flags, ...) __attribute__((alias("open")));

API int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return fails(FILES, "openat", EMFILE) ? -1
					      : (int)syscall(SYS_openat, dir, path, flags, mode);
}

#define FAILING(kind, code, bad, type, name, params, args)                       \
	API type name params                                                     \
	{                                                                        \
		return fails(kind, #name, code) ? (type)(bad) : REAL(name) args; \
	}

FAILING(FILES, EMFILE, NULL, FILE *, fopen, (const char *p, const char *m), (p, m))
FAILING(FILES, EMFILE, NULL, DIR *, opendir, (const char *p), (p))
FAILING(FILES, EMFILE, -1, int, socket, (int d, int t, int p), (d, t, p))
FAILING(FILES, EMFILE, -1, int, socketpair, (int d, int t, int p, int fd[2]), (d, t, p, fd))
FAILING(FILES, EMFILE, -1, int, accept4,
	(int fd, struct sockaddr *restrict a, socklen_t *restrict n, int f), (fd, a, n, f))
FAILING(FILES, EMFILE, -1, int, epoll_create1, (int f), (f))
FAILING(FILES, EMFILE, -1, int, eventfd, (unsigned int n, int f), (n, f))
FAILING(FILES, EMFILE, -1, int, timerfd_create, (clockid_t c, int f), (c, f))
FAILING(FILES, EMFILE, -1, int, signalfd, (int fd, const sigset_t *m, int f), (fd, m, f))
FAILING(FILES, EMFILE, -1, int, pipe2, (int fd[2], int f), (fd, f))
FAILING(FILES, EMFILE, -1, int, memfd_create, (const char *n, unsigned int f), (n, f))
FAILING(FILES, EMFILE, -1, int, dup2, (int a, int b), (a, b))

/* Without room for them descriptors are cut off, and the message comes all the same. */
API ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t n = REAL(recvmsg)(fd, m, flags);
	struct cmsghdr *c = n >= 0 && m->msg_controllen ? CMSG_FIRSTHDR(m) : NULL;

	if (!c || c->cmsg_type != SCM_RIGHTS || !fails(FILES, "recvmsg", 0))
		return n;
	for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
		int got;

		memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
		close(got);
	}
	m->msg_controllen = 0;
	m->msg_flags |= MSG_CTRUNC;
	return n;
}

/* ---- tasks ---- */

FAILING(TASKS, EAGAIN, -1, pid_t, fork, (void), ())

API int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	return fails(TASKS, "clone", EAGAIN) ? -1 : REAL(clone)(fn, stack, flags, arg);
}

API int pthread_create(pthread_t *restrict t, const pthread_attr_t *restrict a, void *(*fn)(void *),
		       void *restrict arg)
{
	return fails(TASKS, "pthread_create", 0) ? EAGAIN : REAL(pthread_create)(t, a, fn, arg);
}

/* ---- the kernel's own memory, and a full disk ---- */

FAILING(KERNEL, ENOMEM, -1, int, epoll_ctl, (int e, int o, int fd, struct epoll_event *v),
	(e, o, fd, v))
FAILING(KERNEL, ENOSPC, -1, int, ftruncate, (int fd, off_t n), (fd, n))
FAILING(KERNEL, ENOSPC, -1, int, fallocate, (int fd, int m, off_t at, off_t n), (fd, m, at, n))
FAILING(KERNEL, ENOMEM, -1, ssize_t, pread, (int fd, void *b, size_t n, off_t at), (fd, b, n, at))
FAILING(KERNEL, ENOMEM, -1, ssize_t, process_vm_readv,
	(pid_t p, const struct iovec *l, unsigned long nl, const struct iovec *r, unsigned long nr,
	 unsigned long f),
	(p, l, nl, r, nr, f))
FAILING(KERNEL, ENOMEM, -1, int, mlockall, (int f), (f))
FAILING(KERNEL, ENOBUFS, -1, ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f))
FAILING(KERNEL, ENOBUFS, -1, int, listen, (int fd, int n), (fd, n))
FAILING(KERNEL, ENOBUFS, -1, ssize_t, send, (int fd, const void *b, size_t n, int f), (fd, b, n, f))

/* Of liburing, which enters the kernel by itself. */
struct io_uring;
struct io_uring_params;
int io_uring_queue_init_params(unsigned int nr, struct io_uring *r, struct io_uring_params *p);
int io_uring_queue_init(unsigned int nr, struct io_uring *r, unsigned int flags);
int io_uring_submit(struct io_uring *r);

API int io_uring_queue_init_params(unsigned int nr, struct io_uring *r, struct io_uring_params *p)
{
	return fails(KERNEL, "io_uring_queue_init", 0) ? -ENOMEM
						       : REAL(io_uring_queue_init_params)(nr, r, p);
}

API int io_uring_queue_init(unsigned int nr, struct io_uring *r, unsigned int flags)
{
	return fails(KERNEL, "io_uring_queue_init", 0) ? -ENOMEM
						       : REAL(io_uring_queue_init)(nr, r, flags);
}

API int io_uring_submit(struct io_uring *r)
{
	return fails(KERNEL, "io_uring_submit", 0) ? -EAGAIN : REAL(io_uring_submit)(r);
}

/* What asks whether events are unread (a length of 0, nobody's page) allocates nothing. */
static bool allocates(const struct uffdio_copy *c)
{
	return c->len && c->dst >= 0x10000;
}

static bool ioctl_fails(unsigned long what, const void *arg)
{
	switch (what) {
	case USERFAULTFD_IOC_NEW:
		return fails(FILES, "USERFAULTFD_IOC_NEW", EMFILE);
	case UFFDIO_COPY:
		return allocates(arg) && fails(KERNEL, "UFFDIO_COPY", ENOMEM);
	case UFFDIO_ZEROPAGE:
		return fails(KERNEL, "UFFDIO_ZEROPAGE", ENOMEM);
	case UFFDIO_REGISTER:
		return fails(KERNEL, "UFFDIO_REGISTER", ENOMEM);
	case UFFDIO_WRITEPROTECT:
		return fails(KERNEL, "UFFDIO_WRITEPROTECT", ENOMEM);
	default:
		break;
	}
	return _IOC_TYPE(what) == PAGEMAP && _IOC_NR(what) == 16 &&
	       fails(KERNEL, "PAGEMAP_SCAN", ENOMEM);
}

API int ioctl(int fd, unsigned long what, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, what);
	arg = va_arg(ap, void *);
	va_end(ap);
	return ioctl_fails(what, arg) ? -1 : (int)syscall(SYS_ioctl, fd, what, arg);
}

API long syscall(long nr, ...)
{
	static long (*next)(long, ...);
	va_list ap;
	long a[6];

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!next)
		next = real("syscall");
	if (nr == SYS_pidfd_open && fails(FILES, "pidfd_open", EMFILE))
		return -1;
	if (nr == SYS_pidfd_getfd && fails(FILES, "pidfd_getfd", EMFILE))
		return -1;
	if (nr == SYS_bpf && fails(KERNEL, "bpf", ENOMEM))
		return -1;
	return next(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
