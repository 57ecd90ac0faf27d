/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

size_t ring_put(struct ring *ring, const uint8_t *data, size_t len)
{
	size_t tail, first;

	if (!ring->data) {
		/* A guest causes this, so running out of memory costs output, not the VM. */
		ring->data = malloc(RING_SIZE);
		if (!ring->data)
			return len;
	}
	len = MIN(len, (size_t)RING_SIZE - ring->len);
	tail = (ring->head + ring->len) % RING_SIZE;
	first = MIN(len, (size_t)RING_SIZE - tail);
	memcpy(ring->data + tail, data, first);
	memcpy(ring->data, data + first, len - first);
	ring->len += len;
	return len;
}

size_t ring_put_overwrite(struct ring *ring, const uint8_t *data, size_t len)
{
	size_t room = RING_SIZE - ring->len;

	if (len > RING_SIZE) {
		ring_put_overwrite(ring, data + len - RING_SIZE, RING_SIZE);
		return len;
	}
	if (len > room)
		ring_drop(ring, len - room);
	return ring_put(ring, data, len);
}

size_t ring_peek(const struct ring *ring, const uint8_t **data)
{
	*data = ring->data + ring->head;
	return MIN(ring->len, (size_t)RING_SIZE - ring->head);
}

void ring_drop(struct ring *ring, size_t len)
{
	ring->head = (ring->head + len) % RING_SIZE;
	ring->len -= len;
}
