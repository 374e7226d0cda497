/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of `rmem doctor`: each looks at one thing and knows its remedy. */
#ifndef RMEM_TOOLS_DOCTOR_H
#define RMEM_TOOLS_DOCTOR_H

#include <stddef.h>

enum doctor_status { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_result {
	enum doctor_status status;
	char text[256];
	char fix[384]; /* empty: nothing to fix */
};

struct doctor_check {
	const char *name;
	void (*look)(struct doctor_result *out);
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_nr_checks;

void doctor_say(struct doctor_result *out, enum doctor_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void doctor_fix(struct doctor_result *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Connects to the server, leases a little, gives it back. */
void doctor_look_server(const char *spec, struct doctor_result *out);

/* Devices, their ports and addresses, and memory to lock for them. */
void doctor_look_rdma(struct doctor_result *out);

#endif
