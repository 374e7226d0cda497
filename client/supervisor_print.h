/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rmem says to people while a job runs. A job thread that writes from a
 * remote page holds its pipe or terminal until the page is there; whoever
 * prints may then wait for it. So lines go through a thread of their own with
 * a bounded queue, and nothing else ever waits for that thread for long.
 */
#ifndef RMEM_CLIENT_SUPERVISOR_PRINT_H
#define RMEM_CLIENT_SUPERVISOR_PRINT_H

#include <stddef.h>

/* From here on lines go through the thread; before it they are written at once. */
void print_open(void);

/* Gives what is queued up to @timeout_ms to get out. */
void print_close(unsigned int timeout_ms);

/* "rmem: ..." and a newline, on stderr. */
void print_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A whole line with its newline, on @fd. */
void print_text(int fd, const char *line);

/* Control characters and malformed UTF-8 of @text as \xNN; returns @buf. */
const char *print_escape(char *buf, size_t buf_bytes, const char *text);

#endif
