/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ram: pages in this process's own memory. The yardstick for every other
 * store and the one for tests; synchronous, gives no memory back before it
 * is closed. Address space is reserved at once, memory comes as it is written.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "client/store/mapped.h"
#include "client/store/open.h"
#include "common/base/err.h"
#include "common/base/units.h"

struct ram_store {
	struct store store;
	struct mapped mapped;
	size_t bytes;
};

static struct ram_store *to_ram(struct store *s)
{
	return (struct ram_store *)s;
}

static int ram_submit(struct store *s, const struct store_req *req, unsigned int nr)
{
	return (int)mapped_submit(&to_ram(s)->mapped, req, nr);
}

static int ram_reap(struct store *s, struct store_done *out, unsigned int max)
{
	return (int)mapped_reap(&to_ram(s)->mapped, out, max);
}

static int ram_pollfd(struct store *s)
{
	(void)s;
	return -1;
}

static void ram_close(struct store *s)
{
	struct ram_store *ram = to_ram(s);

	if (!ram)
		return;
	munmap(ram->mapped.base, ram->bytes);
	free(ram);
}

static const struct store_ops ram_ops = {
	.scheme = "ram",
	.submit = ram_submit,
	.reap = ram_reap,
	.pollfd = ram_pollfd,
	.close = ram_close,
};

static int ram_open(const struct spec *spec, const struct store_open_args *args, struct store **out)
{
	struct ram_store *ram;
	char text[32];
	void *base;

	if (spec->rest[0] || spec->nr_params || spec->nr_kids)
		return err_set(-EINVAL, "store ram takes nothing after its name: write ram");
	if (args->bytes == 0 || args->bytes % PAGE_BYTES)
		return err_set(-EINVAL, "store ram: size is not a multiple of %lu", PAGE_BYTES);
	ram = calloc(1, sizeof(*ram));
	if (!ram)
		return err_set(-ENOMEM, "store ram: out of memory");
	base = mmap(NULL, args->bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) {
		free(ram);
		return err_set(-ENOMEM, "store ram: no room for %s: lower --remote",
			       units_format_size(text, sizeof(text), args->bytes));
	}
	munlock(base, args->bytes); /* a caller that locks its own memory does not mean the pages */
	ram->mapped.base = base;
	ram->mapped.nr_slots = args->bytes / PAGE_BYTES;
	ram->bytes = args->bytes;
	ram->store.ops = &ram_ops;
	ram->store.nr_slots = args->bytes / PAGE_BYTES;
	*out = &ram->store;
	return 0;
}

const struct store_type store_ram_type = {
	.scheme = "ram",
	.usage = "ram                 pages in rmem's own memory (for tests and measurements)",
	.open = ram_open,
};
