/* SPDX-License-Identifier: Apache-2.0 */
/* The RDMA devices of this machine, for people to see. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/conn/rdma_parts.h"

static const char *kind_of(const struct ibv_device *device, uint8_t link_layer)
{
	if (device->transport_type == IBV_TRANSPORT_IWARP)
		return "iWARP";
	return link_layer == IBV_LINK_LAYER_ETHERNET ? "RoCE" : "InfiniBand";
}

/* The interface below, where the device says it. */
static void find_net(const struct ibv_device *device, unsigned int port, char *out, size_t bytes)
{
	char path[IBV_SYSFS_PATH_MAX + 64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/ports/%u/gid_attrs/ndevs/0", device->ibdev_path, port);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(out, (int)bytes, f))
		out[strcspn(out, "\n")] = 0;
	fclose(f);
}

static bool has_gid(struct ibv_context *c, uint8_t port, int nr)
{
	static const union ibv_gid none;
	union ibv_gid gid;

	for (int i = 0; i < nr; i++)
		if (ibv_query_gid(c, port, i, &gid) == 0 && memcmp(&gid, &none, sizeof(gid)) != 0)
			return true;
	return false;
}

static void describe(struct ibv_context *c, uint8_t port, bool has_windows, struct verbs_port *out)
{
	struct ibv_port_attr attr;

	*out = (struct verbs_port){.port = port, .has_windows = has_windows, .kind = "?"};
	snprintf(out->device, sizeof(out->device), "%s", ibv_get_device_name(c->device));
	find_net(c->device, port, out->net, sizeof(out->net));
	if (ibv_query_port(c, port, &attr))
		return;
	out->is_active = attr.state == IBV_PORT_ACTIVE;
	out->kind = kind_of(c->device, attr.link_layer);
	out->has_address = has_gid(c, port, attr.gid_tbl_len);
}

/* How many ports @device has; @max at most are told. */
static unsigned int ports_of(struct ibv_device *device, struct verbs_port *out, unsigned int max)
{
	struct ibv_context *c = ibv_open_device(device);
	struct ibv_device_attr attr = {.phys_port_cnt = 0};
	unsigned int nr = 0;

	if (!c)
		return 0;
	if (ibv_query_device(c, &attr) == 0)
		nr = attr.phys_port_cnt;
	for (unsigned int i = 0; i < nr && i < max; i++)
		describe(c, (uint8_t)(i + 1), attr.device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B,
			 &out[i]);
	ibv_close_device(c);
	return nr;
}

int verbs_ports(struct verbs_port *out, unsigned int max)
{
	unsigned int nr = 0;
	int nr_devices;
	struct ibv_device **list = ibv_get_device_list(&nr_devices);

	if (!list)
		return errno == ENOSYS ? 0 : -errno;
	for (int i = 0; i < nr_devices; i++)
		nr += ports_of(list[i], out + (nr < max ? nr : max), nr < max ? max - nr : 0);
	ibv_free_device_list(list);
	return (int)nr;
}
