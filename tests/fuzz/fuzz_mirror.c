/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror() as a state machine: each byte of the input writes or reads a slot, lets a copy answer,
 * refuse, be full or be lost, lets time pass, or lets a lost copy be found again. What is
 * read is always what was last written, as long as a copy is left; and each request is
 * answered once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/store/mirror.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "tests/kid_store.h"

#define SLOTS 64U

static uint64_t clock_ns;

/* The mirror is compiled with this in place of the system's (CMakeLists.txt). */
int fuzz_clock_gettime(clockid_t clock, struct timespec *t);
int fuzz_clock_gettime(clockid_t clock, struct timespec *t)
{
	(void)clock;
	t->tv_sec = (time_t)(clock_ns / 1000000000);
	t->tv_nsec = (long)(clock_ns % 1000000000);
	return 0;
}

#define insist(holds)                                                           \
	do {                                                                    \
		if (!(holds)) {                                                 \
			fprintf(stderr, "line %d: not " #holds "\n", __LINE__); \
			abort();                                                \
		}                                                               \
	} while (0)

/* ---- who uses the mirror ---- */

static struct store *m;
static uint64_t page[SLOTS][PAGE_BYTES / 8], truth[SLOTS];
static bool used[SLOTS], busy[SLOTS], reading[SLOTS];
static uint64_t words;

static void answered(const struct store_done *d)
{
	insist(d->tag < SLOTS && busy[d->tag]);
	busy[d->tag] = false;
	if (d->res) {
		if (!reading[d->tag])
			used[d->tag] = false; /* nobody may rely on it */
		return;
	}
	if (reading[d->tag])
		insist(page[d->tag][0] == truth[d->tag]);
}

static int reap(void)
{
	struct store_done done[16];
	int n;

	while ((n = m->ops->reap(m, done, 16)) > 0)
		for (int i = 0; i < n; i++)
			answered(&done[i]);
	return n;
}

static void submit(unsigned int slot, bool read)
{
	struct store_req req = {.slot = slot, .buf = page[slot], .tag = slot};

	if (busy[slot] || (read && !used[slot]))
		return;
	req.op = read ? STORE_READ : STORE_WRITE;
	page[slot][0] = read ? 0 : ++words;
	if (m->ops->submit(m, &req, 1) != 1)
		return;
	busy[slot] = true;
	reading[slot] = read;
	if (!read) {
		used[slot] = true;
		truth[slot] = words;
	}
}

static void act(unsigned char what, unsigned char on)
{
	struct kid *k = &kid[on % KIDS];
	struct mirror *mirror = (struct mirror *)m;

	switch (what % 12) {
	case 0:
	case 1:
		submit(on % SLOTS, false);
		break;
	case 2:
	case 3:
		submit(on % SLOTS, true);
		break;
	case 4:
	case 5:
		k->may_answer += on / KIDS;
		break;
	case 6:
		k->full = on & 128;
		break;
	case 7:
		k->refuses_reads = k->refuses_writes = on & 128;
		break;
	case 8:
		k->lost = true;
		break;
	case 9:
		clock_ns += (1ULL << on % 12) * 1000000;
		break;
	case 10:
		if (on % KIDS < mirror->nr && mirror->copy[on % KIDS].state == COPY_LOST)
			mirror->copy[on % KIDS].answers = true;
		break;
	default:
		if (!busy[on % SLOTS] && used[on % SLOTS]) {
			used[on % SLOTS] = false;
			m->ops->drop(m, on % SLOTS);
		}
	}
}

static bool is_quiet(void)
{
	const struct mirror *mirror = (const struct mirror *)m;

	for (unsigned int c = 0; c < mirror->nr; c++)
		if (mirror->copy[c].state == COPY_JOINING)
			return false;
	return !mirror->nr_active;
}

/* Everything that is left answers: nothing may stay in flight, and all is right. */
static void settle(void)
{
	int rc = 0;

	for (unsigned int i = 0; i < 2000 && rc >= 0 && (i < 2 || !is_quiet()); i++) {
		clock_ns += 1000000;
		for (unsigned int c = 0; c < KIDS; c++) {
			kid[c].may_answer = KID_QUEUE;
			kid[c].full = kid[c].refuses_reads = kid[c].refuses_writes = false;
		}
		rc = reap();
	}
	insist(rc < 0 || is_quiet());
	for (unsigned int i = 0; i < SLOTS && rc >= 0; i++) {
		insist(!busy[i]);
		submit(i, true);
		for (unsigned int c = 0; c < KIDS; c++)
			kid[c].may_answer = KID_QUEUE;
		reap();
		insist(!busy[i]);
	}
}

static void quiet(void *ctx, enum log_level level, const char *line)
{
	(void)ctx;
	(void)level;
	(void)line;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
	struct store_open_args args = {.bytes = SLOTS * PAGE_BYTES, .open_kid = kid_open};
	struct spec *spec;

	log_set_sink(quiet, NULL);
	memset(kid, 0, sizeof(kid));
	memset(used, 0, sizeof(used));
	memset(busy, 0, sizeof(busy));
	clock_ns = 1000000000;
	if (bytes < 3 ||
	    spec_parse(data[0] & 1 ? "mirror(kid:0,kid:1)" : "mirror(kid:0,kid:1,kid:2)", &spec))
		return 0;
	insist(!store_mirror_type.open(spec, &args, &m));
	spec_free(spec);
	for (size_t i = 1; i + 1 < bytes; i += 2) {
		act(data[i], data[i + 1]);
		if (data[i] & 128)
			reap();
	}
	settle();
	m->ops->close(m);
	for (unsigned int c = 0; c < KIDS; c++)
		insist(!kid[c].open);
	return 0;
}
