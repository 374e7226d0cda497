/* SPDX-License-Identifier: Apache-2.0 */
/* The timeout= of stores in a network. */
#ifndef RMEM_STORE_SECONDS_H
#define RMEM_STORE_SECONDS_H

/* 0, or -EINVAL with err text that names the store @scheme. */
int seconds_parse(const char *scheme, const char *text, unsigned int *out)
	__attribute__((warn_unused_result));

#endif
