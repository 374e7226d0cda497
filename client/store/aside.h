/* SPDX-License-Identifier: Apache-2.0 */
/* What may take its time is done aside: a thread of the job may wait meanwhile. */
#ifndef RMEM_STORE_ASIDE_H
#define RMEM_STORE_ASIDE_H

#include "client/core/store.h"

/* Takes @s, and says good-bye to its server on a thread of its own. */
void store_close_aside(struct store *s);

#endif
