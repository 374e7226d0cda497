/* SPDX-License-Identifier: Apache-2.0 */
#include "server/slab.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <numa.h>
#include <numaif.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/err.h"

#define HUGE_BYTES (2ULL << 20)
#define SEALS	   (F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

bool slab_has_node(int node)
{
	if (numa_available() < 0)
		return node == 0;
	return node >= 0 && node <= numa_max_node() &&
	       numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned int)node);
}

static int emptiest_node(void)
{
	long long most = -1;
	int best = 0;

	for (int node = 0; node <= numa_max_node(); node++) {
		long long free_bytes = -1;

		if (slab_has_node(node))
			numa_node_size64(node, &free_bytes);
		if (free_bytes > most) {
			most = free_bytes;
			best = node;
		}
	}
	return best;
}

/* The policy stays with the file, whoever maps it later. */
static int bind_node(int fd, uint64_t bytes, int node)
{
	struct bitmask *mask;
	int mode = node == SLAB_NODE_ANY ? MPOL_PREFERRED : MPOL_BIND, rc = 0;
	void *p;

	if (numa_available() < 0 || (node == SLAB_NODE_ANY && numa_max_node() == 0))
		return 0;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	mask = numa_allocate_nodemask();
	numa_bitmask_setbit(mask, (unsigned int)(node == SLAB_NODE_ANY ? emptiest_node() : node));
	if (mbind(p, bytes, mode, mask->maskp, mask->size + 1, 0) && mode == MPOL_BIND)
		rc = -errno; /* else it was but a wish */
	numa_free_nodemask(mask);
	munmap(p, bytes);
	return rc;
}

/* Huge pages are taken at once: a client must never meet their lack as SIGBUS. */
static int fill_memfd(const struct slab *s, int node)
{
	int rc;

	if (ftruncate(s->fd, (off_t)s->bytes))
		return -errno;
	rc = bind_node(s->fd, s->bytes, node);
	if (rc)
		return rc;
	if (s->huge && fallocate(s->fd, 0, 0, (off_t)s->bytes))
		return -errno;
	return fcntl(s->fd, F_ADD_SEALS, SEALS) ? -errno : 0;
}

static int open_memfd(struct slab *s, int node)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int rc;

	s->fd = memfd_create("rmem-slab", s->huge ? flags | MFD_HUGETLB | MFD_HUGE_2MB : flags);
	if (s->fd < 0)
		return -errno;
	rc = fill_memfd(s, node);
	if (rc) {
		close(s->fd);
		s->fd = -1;
	}
	return rc;
}

int slab_open(uint64_t bytes, int node, struct slab *out)
{
	int rc = -ENOMEM;

	*out = (struct slab){.fd = -1, .bytes = bytes};
	if (bytes % HUGE_BYTES == 0) {
		out->huge = true;
		rc = open_memfd(out, node);
	}
	if (rc) {
		out->huge = false;
		rc = open_memfd(out, node);
	}
	if (rc == -EMFILE || rc == -ENFILE)
		return err_set(rc, "out of descriptors, one for each slab: raise ulimit -n "
				   "(LimitNOFILE=)");
	if (rc)
		return err_set(rc, "can't make a slab: %s", strerror(-rc));
	return 0;
}

int slab_map(struct slab *s)
{
	void *p = mmap(NULL, s->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);

	if (p == MAP_FAILED)
		return err_set(-errno, "can't map a slab: %s", strerror(errno));
	s->map = p;
	return 0;
}

void slab_close(struct slab *s)
{
	int rc;

	if (s->fd < 0)
		return;
	if (s->map)
		munmap(s->map, s->bytes);
	s->map = NULL;
	rc = fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)s->bytes);
	(void)rc; /* closing is enough unless somebody holds on to it */
	close(s->fd);
	s->fd = -1;
}
