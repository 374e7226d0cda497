/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "client/store/file_io.h"
#include "client/store/open.h"
#include "client/store/pool.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/units.h"

enum { NR_SLOTS = 1024, NR_BUFS = NR_SLOTS };

static char folder[64], small[96]; /* on a disk; a small tmpfs, if root */
static bool has_small;
static char *bufs; /* NR_BUFS pages */
static unsigned int nr_logged;
static char logged[1024];

static void log_here(void *ctx, enum log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	nr_logged++;
	snprintf(logged, sizeof(logged), "%s", line);
}

static int open_at(const char *path, const char *size, uint64_t bytes, struct store **out)
{
	struct spec spec = {.scheme = (char *)"file", .rest = (char *)path};
	struct store_open_args args = {.bytes = bytes, .sock_fd = -1};

	if (size)
		spec.param[spec.nr_params++] =
			(struct spec_param){.key = (char *)"size", .value = (char *)size};
	err_clear();
	return store_file_type.open(&spec, &args, out);
}

static struct store *open_file(uint64_t bytes)
{
	struct store *s = NULL;
	int err = open_at(folder, NULL, bytes, &s);

	if (err) {
		print_message("%s%s\n", err == -EPERM || err == -ENOSYS ? "skipped: " : "",
			      err_text(err));
		if (err == -EPERM || err == -ENOSYS)
			skip();
	}
	assert_int_equal(err, 0);
	assert_int_equal(s->nr_slots, bytes / PAGE_BYTES);
	return s;
}

static char *buf_of(unsigned int i)
{
	return bufs + (size_t)i * PAGE_BYTES;
}

static void wait_readable(struct store *s)
{
	struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};

	assert_int_equal(poll(&p, 1, 10000), 1);
}

/* All of them, each exactly once; how they ended by tag. */
static void do_all(struct store *s, const struct store_req *req, unsigned int nr, int *res)
{
	unsigned int taken = 0, ended = 0;
	struct store_done done[7];

	for (unsigned int i = 0; i < nr; i++)
		res[i] = 1;
	while (ended < nr) {
		int n = s->ops->submit(s, req + taken, nr - taken);

		assert_true(n >= 0);
		taken += (unsigned int)n;
		n = s->ops->reap(s, done, 7);
		assert_in_range(n, 0, 7);
		for (int i = 0; i < n; i++) {
			assert_in_range(done[i].tag, 0, nr - 1);
			assert_int_equal(res[done[i].tag], 1);
			res[done[i].tag] = done[i].res;
		}
		ended += (unsigned int)n;
		if (!n)
			wait_readable(s);
	}
	assert_int_equal(s->ops->reap(s, done, 7), 0);
}

static void fill_page(char *page, uint64_t slot, unsigned int generation)
{
	uint64_t *w = (uint64_t *)page;

	for (unsigned int i = 0; i < PAGE_BYTES / 8; i++)
		w[i] = (slot << 32 | generation << 16) + i;
}

static void shuffle(unsigned int *order, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		order[i] = i;
	for (unsigned int i = nr - 1; i; i--) {
		unsigned int k = (unsigned int)rand() % (i + 1), t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
}

/* One request for each slot, slots and buffers in orders of their own. */
static void make_all(struct store_req *req, enum store_op op, unsigned int generation)
{
	unsigned int slot[NR_SLOTS], buf[NR_SLOTS];

	shuffle(slot, NR_SLOTS);
	shuffle(buf, NR_SLOTS);
	for (unsigned int i = 0; i < NR_SLOTS; i++) {
		req[i] = (struct store_req){.slot = slot[i],
					    .buf = buf_of(buf[i]),
					    .tag = i,
					    .op = (uint8_t)op,
					    .urgent = rand() % 4 == 0};
		if (op == STORE_WRITE)
			fill_page(req[i].buf, slot[i], generation);
	}
}

static void what_is_written_is_read_in_any_order_and_each_once(void **state)
{
	static struct store_req req[NR_SLOTS];
	static int res[NR_SLOTS];
	static char want[PAGE_BYTES];
	struct store *s = open_file(NR_SLOTS * PAGE_BYTES);

	(void)state;
	for (unsigned int generation = 1; generation < 4; generation++) {
		make_all(req, STORE_WRITE, generation);
		do_all(s, req, NR_SLOTS, res);
		for (unsigned int i = 0; i < NR_SLOTS; i++)
			assert_int_equal(res[i], 0);
		memset(bufs, 0, NR_BUFS * PAGE_BYTES);
		make_all(req, STORE_READ, generation);
		do_all(s, req, NR_SLOTS, res);
		for (unsigned int i = 0; i < NR_SLOTS; i++) {
			assert_int_equal(res[i], 0);
			fill_page(want, req[i].slot, generation);
			assert_memory_equal(req[i].buf, want, PAGE_BYTES);
		}
	}
	s->ops->close(s);
}

static unsigned int submit_runs(struct store *s, const struct store_req *req, unsigned int nr)
{
	struct file_store *f = (struct file_store *)s;
	struct store_done done[64];
	unsigned int runs, ended = 0;

	assert_int_equal(s->ops->submit(s, req, nr), nr);
	runs = f->nr_flying;
	while (ended < nr) {
		int n = s->ops->reap(s, done, 64);

		assert_in_range(n, 0, 64);
		for (int i = 0; i < n; i++)
			assert_int_equal(done[i].res, 0);
		ended += (unsigned int)n;
		if (!n)
			wait_readable(s);
	}
	assert_int_equal(f->nr_flying, 0);
	return runs;
}

static void neighbours_are_one_request(void **state)
{
	struct store_req req[48];
	struct store *s = open_file(MIB(1));

	(void)state;
	for (unsigned int i = 0; i < 48; i++)
		req[i] = (struct store_req){
			.slot = 47 - i, .buf = buf_of(i * 3 % 48), .tag = i, .op = STORE_WRITE};
	assert_int_equal(submit_runs(s, req, 48), 1);
	for (unsigned int i = 0; i < 48; i++)
		req[i] = (struct store_req){.slot = i * 2, .buf = buf_of(i), .tag = i};
	assert_int_equal(submit_runs(s, req, 48), 48);
	/* One that somebody waits for does not wait for its neighbours. */
	for (unsigned int i = 0; i < 9; i++)
		req[i] =
			(struct store_req){.slot = i, .buf = buf_of(i), .tag = i, .urgent = i == 8};
	assert_int_equal(submit_runs(s, req, 9), 2);
	s->ops->close(s);
}

static void bulk_leaves_room_for_what_is_waited_for(void **state)
{
	static struct store_req req[NR_SLOTS];
	struct store_req urgent = {.slot = 1000, .buf = buf_of(1000), .tag = 5000, .urgent = true};
	struct store *s = open_file(NR_SLOTS * PAGE_BYTES);
	struct store_done done[64];
	unsigned int taken = 0, ended = 0;
	int n;

	(void)state;
	for (unsigned int i = 0; i < 512; i++)
		req[i] = (struct store_req){
			.slot = i, .buf = buf_of(i), .tag = i, .op = STORE_WRITE};
	while ((n = s->ops->submit(s, req + taken, 512 - taken)) > 0)
		taken += (unsigned int)n;
	assert_int_equal(n, 0);
	assert_int_equal(taken, FILE_BULK_PAGES);
	assert_int_equal(s->ops->submit(s, &urgent, 1), 1);
	while (ended < taken + 1) {
		n = s->ops->reap(s, done, 64);
		assert_in_range(n, 0, 64);
		ended += (unsigned int)n;
		if (!n)
			wait_readable(s);
	}
	s->ops->close(s);
}

static void a_slot_beyond_the_end_is_refused(void **state)
{
	struct store_req req[3] = {
		{.slot = 256, .buf = buf_of(0), .tag = 0, .op = STORE_WRITE},
		{.slot = UINT64_MAX, .buf = buf_of(1), .tag = 1},
		{.slot = 255, .buf = buf_of(2), .tag = 2},
	};
	struct store *s = open_file(MIB(1));
	int res[3];

	(void)state;
	do_all(s, req, 3, res);
	assert_int_equal(res[0], -ERANGE);
	assert_int_equal(res[1], -ERANGE);
	assert_int_equal(res[2], 0);
	s->ops->close(s);
}

/* A file that lost its end stands for a disk that fails there. */
static void a_failure_ends_only_the_pages_it_is_about_and_is_said_once(void **state)
{
	struct store_req req[32];
	struct store *s = open_file(MIB(1));
	struct file_store *f = (struct file_store *)s;
	int res[32];

	(void)state;
	assert_int_equal(ftruncate(f->disk.fd, 16 * PAGE_BYTES), 0);
	for (unsigned int i = 0; i < 32; i++)
		req[i] = (struct store_req){.slot = i, .buf = buf_of(i), .tag = i};
	nr_logged = 0;
	for (int again = 0; again < 2; again++) {
		do_all(s, req, 32, res);
		for (unsigned int i = 0; i < 32; i++)
			assert_int_equal(res[i], i < 16 ? 0 : -EIO);
	}
	assert_int_equal(nr_logged, 1);
	assert_non_null(strstr(logged, folder));
	assert_non_null(strstr(logged, "a read of"));
	s->ops->close(s);
}

static void a_write_that_fails_says_so(void **state)
{
	struct store_req req = {.slot = 3, .buf = buf_of(0), .tag = 0, .op = STORE_WRITE};
	struct store *s = open_file(MIB(1));
	struct file_store *f = (struct file_store *)s;
	int fd = open("/dev/full", O_RDWR | O_CLOEXEC), res;

	(void)state;
	assert_true(fd >= 0 && dup3(fd, f->disk.fd, O_CLOEXEC) >= 0);
	close(fd);
	nr_logged = 0;
	do_all(s, &req, 1, &res);
	assert_int_equal(res, -ENOSPC);
	assert_int_equal(nr_logged, 1);
	assert_non_null(strstr(logged, "less than it had reserved"));
	s->ops->close(s);
}

static void it_can_be_closed_with_requests_in_flight(void **state)
{
	struct store_req req[64];
	struct store *s = open_file(MIB(1));

	(void)state;
	for (unsigned int i = 0; i < 64; i++)
		req[i] = (struct store_req){
			.slot = i, .buf = buf_of(i), .tag = i, .op = STORE_WRITE};
	assert_int_equal(s->ops->submit(s, req, 64), 64);
	s->ops->close(NULL);
	s->ops->close(s);
}

/* A signal that was meant for completions taken already does not come for ever. */
static void it_polls_silent_when_there_is_nothing(void **state)
{
	struct store_req req = {.slot = 3, .buf = buf_of(0), .tag = 0, .op = STORE_WRITE};
	struct store *s = open_file(MIB(1));
	struct pollfd p = {.fd = s->ops->pollfd(s), .events = POLLIN};
	struct store_done done;
	int res;

	(void)state;
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(s->ops->submit(s, &req, 1), 1);
	wait_readable(s);
	assert_int_equal(s->ops->reap(s, NULL, 0), 0);
	assert_int_equal(s->ops->reap(s, &done, 1), 1);
	do_all(s, &req, 1, &res);
	assert_int_equal(s->ops->reap(s, NULL, 0), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	s->ops->close(s);
}

/* The pager asks for nothing when the pool rings: that is handed on to each file, takes
 * no completion away, and tells of one that is lost. */
static void two_files_are_one_pool(void **state)
{
	struct store_req req[NR_SLOTS];
	struct pool_part part[2] = {{.store = open_file(MIB(2))}, {.store = open_file(MIB(2))}};
	struct store *pool;
	struct file_store *second = (struct file_store *)part[1].store;
	struct pollfd p = {.events = POLLIN};
	struct store_done done;
	int res[NR_SLOTS];

	(void)state;
	assert_int_equal(store_pool_open(part, 2, NULL, &pool), 0);
	assert_int_equal(pool->nr_slots, NR_SLOTS);
	make_all(req, STORE_WRITE, 1);
	do_all(pool, req, NR_SLOTS, res);
	for (unsigned int i = 0; i < NR_SLOTS; i++)
		assert_int_equal(res[i], 0);
	p.fd = pool->ops->pollfd(pool);
	assert_int_equal(pool->ops->reap(pool, NULL, 0), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	req[0].slot = NR_SLOTS - 1;
	assert_int_equal(pool->ops->submit(pool, req, 1), 1);
	wait_readable(pool);
	assert_int_equal(pool->ops->reap(pool, NULL, 0), 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(pool->ops->reap(pool, &done, 1), 1);
	assert_int_equal(done.tag, req[0].tag);
	second->err = -EBADF;
	assert_int_equal(pool->ops->reap(pool, NULL, 0), -EBADF);
	pool->ops->close(pool);
}

static void refused(const char *path, const char *size, uint64_t bytes, int err, const char *text)
{
	struct store *s = NULL;

	assert_int_equal(open_at(path, size, bytes, &s), err);
	if (!strstr(err_text(err), text))
		fail_msg("'%s' lacks '%s'", err_text(err), text);
	assert_null(strchr(err_text(err), '\n'));
}

static void an_existing_file_is_left_alone(void **state)
{
	char path[128], link[128], read_back[8] = "";
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/precious", folder);
	snprintf(link, sizeof(link), "%s/link", folder);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "bytes", 5), 5);
	assert_int_equal(symlink(path, link), 0);
	refused(path, NULL, MIB(1), -EEXIST, "is not overwritten");
	refused(link, NULL, MIB(1), -EEXIST, "is not overwritten");
	assert_int_equal(pread(fd, read_back, 8, 0), 5);
	assert_string_equal(read_back, "bytes");
	close(fd);
	unlink(link);
	unlink(path);
}

static void a_new_file_has_no_name_and_all_of_its_blocks(void **state)
{
	struct store *s = NULL;
	struct stat st;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/new", folder);
	assert_int_equal(open_at(path, NULL, MIB(8), &s), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(fstat(((struct file_store *)s)->disk.fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true((uint64_t)st.st_blocks * 512 >= MIB(8));
	s->ops->close(s);
	assert_int_equal(rmdir(folder), 0); /* that in the directory left nothing either */
	assert_int_equal(mkdir(folder, 0700), 0);
}

static void what_it_is_given_is_checked(void **state)
{
	struct store *s = NULL;

	(void)state;
	refused("relative", NULL, MIB(1), -EINVAL, "write for example file:/");
	refused("", NULL, MIB(1), -EINVAL, "needs a path");
	refused("/no/such/folder/x", NULL, MIB(1), -ENOENT, "name a new file");
	refused(folder, "x", MIB(1), -EINVAL, "is not a size");
	refused(folder, "1M", MIB(2), -ENOSPC, "less than the 2.0 MiB that it is to keep");
	refused(folder, NULL, 100, -EINVAL, "not a multiple");
	assert_int_equal(open_at(folder, "2M", MIB(2), &s), 0);
	s->ops->close(s);
}

static void a_disk_that_is_too_small_says_what_is_missing(void **state)
{
	struct statfs fs;

	(void)state;
	assert_int_equal(statfs(folder, &fs), 0);
	if (!fs.f_blocks) {
		print_message("skipped: the file system does not say how full it is\n");
		skip();
	}
	refused(folder, NULL, GIB(1ULL << 20), -ENOSPC, "are missing: free them, lower --remote");
}

static void a_small_filesystem_in_memory_is_named_as_one(void **state)
{
	struct store *s = NULL;
	char path[128];

	(void)state;
	if (!has_small) {
		print_message("skipped: no small file system can be mounted\n");
		skip();
	}
	refused(small, NULL, MIB(16), -ENOSPC, "12.0 MiB are missing");
	nr_logged = 0;
	snprintf(path, sizeof(path), "%s/x", small);
	assert_int_equal(open_at(path, NULL, MIB(3), &s), 0);
	assert_int_equal(nr_logged, 1);
	assert_non_null(strstr(logged, "in memory"));
	assert_false(((struct file_store *)s)->disk.is_direct);
	refused(small, NULL, MIB(2), -ENOSPC, "1.0 MiB are missing");
	s->ops->close(s);
}

/* Detached at once and reached by a descriptor: a test that crashes leaves no mount. */
static void mount_small(void)
{
	char at[96];
	int fd = -1;

	snprintf(at, sizeof(at), "%s.small", folder);
	if (mkdir(at, 0700))
		return;
	if (!mount("tmpfs", at, "tmpfs", 0, "size=4m")) {
		fd = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
		umount2(at, MNT_DETACH);
	}
	rmdir(at);
	has_small = fd >= 0;
	snprintf(small, sizeof(small), "/proc/self/fd/%d", fd);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/var/tmp/rmem-unit-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	mount_small();
	bufs = mmap(NULL, NR_BUFS * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	log_set_sink(log_here, NULL);
	srand(4711);
	return bufs == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	rmdir(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_in_any_order_and_each_once),
		cmocka_unit_test(neighbours_are_one_request),
		cmocka_unit_test(bulk_leaves_room_for_what_is_waited_for),
		cmocka_unit_test(a_slot_beyond_the_end_is_refused),
		cmocka_unit_test(a_failure_ends_only_the_pages_it_is_about_and_is_said_once),
		cmocka_unit_test(a_write_that_fails_says_so),
		cmocka_unit_test(it_can_be_closed_with_requests_in_flight),
		cmocka_unit_test(it_polls_silent_when_there_is_nothing),
		cmocka_unit_test(two_files_are_one_pool),
		cmocka_unit_test(an_existing_file_is_left_alone),
		cmocka_unit_test(a_new_file_has_no_name_and_all_of_its_blocks),
		cmocka_unit_test(what_it_is_given_is_checked),
		cmocka_unit_test(a_disk_that_is_too_small_says_what_is_missing),
		cmocka_unit_test(a_small_filesystem_in_memory_is_named_as_one),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
