/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_rdma: can this machine reach memory servers by RDMA? */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/core/types.h"
#include "common/base/units.h"
#include "common/conn/rdma.h"
#include "tools/doctor.h"

#define CM_DEVICE  "/dev/infiniband/rdma_cm"
#define MAX_PORTS  16
#define LOCK_BYTES MIB(4) /* staging and messages of one server */

/* "rxe0 port 1 on eth0 (RoCE)" */
static void format_port(const struct verbs_port *p, char *buf, size_t bytes)
{
	snprintf(buf, bytes, "%s port %u%s%s (%s%s)", p->device, p->port, p->net[0] ? " on " : "",
		 p->net, p->kind, p->has_windows ? ", memory windows" : "");
}

static const struct verbs_port *best_of(const struct verbs_port *port, int nr)
{
	const struct verbs_port *best = port;

	for (int i = 0; i < nr; i++)
		if (port[i].is_active + port[i].has_address > best->is_active + best->has_address)
			best = &port[i];
	return best;
}

static void look_port(const struct verbs_port *p, int nr, struct doctor_result *out)
{
	char name[160];

	format_port(p, name, sizeof(name));
	if (!p->is_active) {
		doctor_say(out, DOCTOR_WARN, "%s is down", name);
		doctor_fix(out, "ip link set %s up", p->net[0] ? p->net : "its interface");
	} else if (!p->has_address) {
		doctor_say(out, DOCTOR_WARN, "%s has no address (GID)", name);
		doctor_fix(out, "ip address add 10.0.0.1/24 dev %s, of your network",
			   p->net[0] ? p->net : "its interface");
	} else {
		doctor_say(out, DOCTOR_OK, "%s is up%s", name,
			   nr > 1 ? ", and others are there" : "");
	}
}

static void look_rights(struct doctor_result *out)
{
	struct rlimit limit = {0, 0};
	char size[32];

	if (access(CM_DEVICE, F_OK)) {
		doctor_say(out, DOCTOR_WARN, "there is no " CM_DEVICE);
		doctor_fix(out, "modprobe rdma_ucm");
		return;
	}
	if (access(CM_DEVICE, R_OK | W_OK)) {
		doctor_say(out, DOCTOR_WARN, CM_DEVICE " may not be used");
		doctor_fix(out, "be root, or let its group use it (rdma-core has rules for udev)");
		return;
	}
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (limit.rlim_cur < LOCK_BYTES && geteuid() != 0) {
		doctor_say(out, DOCTOR_WARN, "%s can be locked, a device needs 4 MiB",
			   units_format_size(size, sizeof(size), limit.rlim_cur));
		doctor_fix(out, "ulimit -l unlimited (as root), or memlock in "
				"/etc/security/limits.conf");
	}
}

void doctor_look_rdma(struct doctor_result *out)
{
	struct verbs_port port[MAX_PORTS];
	int nr = verbs_ports(port, MAX_PORTS);

	if (nr <= 0) {
		doctor_say(out, DOCTOR_OK,
			   "no device, which rdma: servers need: rdma link add rxe0 type rxe "
			   "netdev eth0 makes one");
		return;
	}
	look_port(best_of(port, nr < MAX_PORTS ? nr : MAX_PORTS), nr, out);
	if (out->status == DOCTOR_OK)
		look_rights(out);
}
