/* SPDX-License-Identifier: Apache-2.0 */
/* conn rdma: the device, what the connections through it share, and registered memory. */
#include "common/conn/rdma.h"

#include <errno.h>
#include <fcntl.h>
#include <numa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/conn/rdma_parts.h"

uint64_t verbs_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

/* ---- domain ---- */

static int node_of(const struct ibv_context *device)
{
	char path[IBV_SYSFS_PATH_MAX + 32], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/device/numa_node", device->device->ibdev_path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1; /* a device that is only software */
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = 0;
	close(fd);
	return text[0] ? atoi(text) : -1;
}

int verbs_no_domain(const struct verbs_domain *d, int code)
{
	return err_set(-code, "RDMA device %s: %s", d->name,
		       code == ENOMEM ? "out of its resources or of memory to lock: raise ulimit -l"
				      : strerror(code));
}

static int domain_make(struct verbs_domain *d, struct ibv_context *device)
{
	struct ibv_device_attr attr;
	int cqes = VERBS_DOMAIN_CONNS * (int)(MAX_DEPTH + NR_OWN + NR_RECV);
	int rc = ibv_query_device(device, &attr);

	if (rc)
		return verbs_no_domain(d, rc);
	d->has_windows = attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B;
	d->is_iwarp = device->device->transport_type == IBV_TRANSPORT_IWARP;
	d->nr_reads = attr.max_qp_rd_atom < (int)MAX_READS ? (unsigned int)attr.max_qp_rd_atom
							   : MAX_READS;
	if (cqes > attr.max_cqe)
		cqes = attr.max_cqe;
	d->pd = ibv_alloc_pd(device);
	d->channel = d->pd ? ibv_create_comp_channel(device) : NULL;
	d->cq = d->channel ? ibv_create_cq(device, cqes, NULL, d->channel, 0) : NULL;
	if (!d->cq)
		return verbs_no_domain(d, errno);
	/* From the start: what comes before somebody could arm it would never be told of. */
	rc = verbs_arm(d);
	if (rc)
		return verbs_no_domain(d, -rc);
	rc = fcntl(d->channel->fd, F_GETFL);
	if (rc < 0 || fcntl(d->channel->fd, F_SETFL, rc | O_NONBLOCK) ||
	    fcntl(d->channel->fd, F_SETFD, FD_CLOEXEC))
		return verbs_no_domain(d, errno);
	return 0;
}

int verbs_domain_open(struct rdma_cm_id *id, struct verbs_domain **out)
{
	struct verbs_domain *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(-ENOMEM, "out of memory");
	d->nr_users = 1;
	d->node = node_of(id->verbs);
	snprintf(d->name, sizeof(d->name), "%s port %u", ibv_get_device_name(id->verbs->device),
		 id->port_num);
	rc = domain_make(d, id->verbs);
	if (rc)
		verbs_domain_put(d);
	else
		*out = d;
	return rc;
}

struct verbs_domain *verbs_domain_get(struct verbs_domain *d)
{
	d->nr_users++;
	return d;
}

void verbs_domain_put(struct verbs_domain *d)
{
	if (!d || --d->nr_users)
		return;
	if (d->cq)
		ibv_destroy_cq(d->cq);
	if (d->channel)
		ibv_destroy_comp_channel(d->channel);
	if (d->pd)
		ibv_dealloc_pd(d->pd);
	free(d);
}

struct verbs_domain *verbs_domain(const struct verbs_conn *c)
{
	return c->domain;
}

const char *verbs_device(const struct verbs_domain *d)
{
	return d->name;
}

int verbs_node(const struct verbs_domain *d)
{
	return d->node;
}

int verbs_domain_fd(const struct verbs_domain *d)
{
	return d->channel->fd;
}

/* ---- memory ---- */

/* Root may have as much as it likes; others up to their own limit. siw minds it even where
 * the kernel does not. */
static void raise_limit(void)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0 || getrlimit(RLIMIT_MEMLOCK, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		return; /* then it is said which one is too low */
}

static int no_region(const struct verbs_domain *d, size_t bytes, int code)
{
	if (code == ENOMEM)
		return err_set(-code,
			       "can't lock %zu KiB for the RDMA device %s: raise ulimit -l "
			       "(LimitMEMLOCK=)",
			       bytes / 1024, d->name);
	return err_set(-code, "can't register memory with the RDMA device %s: %s", d->name,
		       strerror(code));
}

int verbs_pin(const struct verbs_domain *d, void *at, size_t bytes, int access, struct ibv_mr **out)
{
	/* What a read over iWARP brings comes as a write of the other side's. */
	access |= d->is_iwarp ? IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE
			      : IBV_ACCESS_LOCAL_WRITE;
	*out = ibv_reg_mr(d->pd, at, bytes, access);
	if (!*out && (errno == ENOMEM || errno == EPERM)) {
		raise_limit();
		*out = ibv_reg_mr(d->pd, at, bytes, access);
	}
	return *out ? 0 : no_region(d, bytes, errno);
}

int verbs_register(struct verbs_domain *d, void *at, size_t bytes, bool is_shared,
		   struct verbs_region **out)
{
	struct verbs_region *r = calloc(1, sizeof(*r));
	int access = 0, rc;

	if (!r)
		return err_set(-ENOMEM, "out of memory");
	/* With windows the region itself has no key that does anything from outside. */
	if (is_shared)
		access = d->has_windows ? IBV_ACCESS_MW_BIND
					: IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	rc = verbs_pin(d, at, bytes, access, &r->mr);
	if (rc) {
		free(r);
		return rc;
	}
	r->domain = d;
	d->nr_users++;
	*out = r;
	return 0;
}

int verbs_allocate(struct verbs_domain *d, size_t bytes, struct verbs_region **out)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc;

	if (p == MAP_FAILED)
		return err_set(-ENOMEM, "out of memory");
	if (d->node >= 0 && numa_available() >= 0 && d->node <= numa_max_node())
		numa_tonode_memory(p, bytes, d->node);
	rc = verbs_register(d, p, bytes, false, out);
	if (rc)
		munmap(p, bytes);
	else
		(*out)->own = p;
	return rc;
}

char *verbs_memory(const struct verbs_region *r)
{
	return r->mr->addr;
}

void verbs_release(struct verbs_region *r)
{
	if (!r)
		return;
	if (r->own)
		munmap(r->own, r->mr->length);
	ibv_dereg_mr(r->mr);
	verbs_domain_put(r->domain);
	free(r);
}
