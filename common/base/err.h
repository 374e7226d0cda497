/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the last error of this thread: what happened, where, what to
 * do. Functions return 0 or -errno; whoever knows the object attaches the
 * text, once; whoever stands at the top prints it, once.
 */
#ifndef RMEM_BASE_ERR_H
#define RMEM_BASE_ERR_H

/* Sets this thread's text (printf format) and returns @code (a -errno). */
int err_set(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* This thread's text, or the plain text of @code when none was set. Never NULL. */
const char *err_text(int code);

void err_clear(void);

#endif
