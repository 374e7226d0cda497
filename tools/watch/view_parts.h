/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the view; nobody else includes it. */
#ifndef RMEM_WATCH_VIEW_PARTS_H
#define RMEM_WATCH_VIEW_PARTS_H

#include "tools/watch/view.h"

/* blocks.c: as many runs as fit into @rows lines (0: all of them). */
void draw_blocks(const struct watch *w, struct screen *out, unsigned int rows);

/* table.c */
void draw_head(const struct view *v, struct screen *out);
void draw_row(const struct row *row, struct screen *out, bool selected);

/* All there is to say about one row, on one line. */
void draw_detail(const struct row *row, struct screen *out);

#endif
