/* What wakes the reconciler of instances, and what it, its steps and the cache look at: the guests
 * that there are, and the images that instances use. */
#include <string.h>
#include "nc.h"

#define LIST_TIMEOUT_MS 40000

void
nc_instances_poke(struct nc *nc)
{
	reconciler_poke(nc->instances);
}

void
nc_instances_news(struct nc *nc)
{
	{
		LOCK_SCOPE(&nc->lock);
		size_t cursor = 0;
		const char *id;
		void *value;

		nc->news++;
		while (map_next(nc->live, &cursor, &id, &value))
			((struct nc_live *)value)->retry_ms = 0;
	}
	nc_instances_poke(nc);
}

int
nc_guests_list(struct nc *nc, struct helper_reply *ret, struct err *e)
{
	return helper_call(nc->helper, HELPER_GUEST_LIST, NULL, 0, LIST_TIMEOUT_MS, ret, e);
}

struct helper_guest
nc_guest_find(const struct helper_reply *guests, const char *instance_id)
{
	const struct helper_guest_list *list = guests->payload;

	for (uint32_t i = 0; list && i < list->count; i++)
		if (strcmp(list->guests[i].instance_id, instance_id) == 0)
			return list->guests[i];
	return (struct helper_guest){ .state = GUEST_ABSENT };
}

bool
nc_image_is_used(void *arg, const char *digest)
{
	_cleanup_arena_ struct arena *arena = arena_new(1ull << 30);
	struct nc *nc = arg;
	struct instance_record *instances;
	size_t count;

	/* Who cannot look must not delete. */
	if (instance_list(nc->store, arena, &instances, &count, NULL) < 0)
		return true;
	for (size_t i = 0; i < count; i++) {
		const struct instance_spec *s = instances[i].spec;

		if (instances[i].state != INSTANCE_TERMINATED &&
		    (strcmp(s->image->digest, digest) == 0 ||
			(s->kernel && strcmp(s->kernel->digest, digest) == 0) ||
			(s->ramdisk && strcmp(s->ramdisk->digest, digest) == 0)))
			return true;
	}
	return false;
}
