/* SPDX-License-Identifier: Apache-2.0 */
#include "client/store/aside.h"

#include <pthread.h>

static void *close_it(void *arg)
{
	struct store *s = arg;

	s->ops->close(s);
	return NULL;
}

void store_close_aside(struct store *s)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, close_it, s))
		close_it(s);
	else
		pthread_detach(thread);
}
