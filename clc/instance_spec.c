/* The wanted record that a zone is given: all that it needs to know of an instance, joined from the
 * rows that say it. */
#include "instance.h"

#include "auth/sigv4.h"
#include "base/clock.h"
#include "base/strbuf.h"

#include "account.h"
#include "block_device.h"
#include "bundle_task.h"
#include "image.h"
#include "peers.h"
#include "placement.h"
#include "tags.h"
#include "vpc.h"
#include "zone_name.h"

static int
presign(struct store_tx *tx, struct clc *clc, const struct clc_image *image, struct arena *arena,
    struct image_source *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT, out = STRBUF_INIT;
	struct sigv4_signer signer = { .region = clc->conf->region, .service = "s3" };
	struct auth_key key;
	char *base;
	int r;

	r = clc_account_service_key(tx, image->account_id, &key, e);
	if (r < 0)
		return r;
	r = clc_peers_walrus_url(tx, clc->conf, arena, &base, e);
	if (r < 0)
		return r;
	clc_image_url(image, base, &url);
	signer.access_key_id = key.access_key_id;
	signer.secret = key.secret;
	signer.now_us = clock_now_us();
	r = sigv4_presign(&signer, "GET", strbuf_c(&url), clc->conf->url_life_s, &out, e);
	if (r == 0)
		ret->url = arena_strdup(arena, strbuf_c(&out));
	return r;
}

static int
image_file(struct store_tx *tx, struct clc *clc, const char *image_id, struct arena *arena,
    struct image_file *ret, struct err *e)
{
	struct clc_image image;
	int r;

	r = clc_image_load(tx, image_id, arena, &image, e);
	if (r < 0)
		return r;
	ret->image_id = arena_strdup(arena, image_id);
	ret->digest = image.digest;
	ret->size_bytes = (uint64_t)image.size_bytes;
	ret->format = image.format;
	ret->sources.items = arena_alloc(arena, sizeof(*ret->sources.items));
	ret->sources.count = 1;
	return presign(tx, clc, &image, arena, &ret->sources.items[0], e);
}

static int
optional_file(struct store_tx *tx, struct clc *clc, const char *image_id, struct arena *arena,
    struct image_file **ret, struct err *e)
{
	if (!image_id)
		return 0;
	*ret = arena_alloc(arena, sizeof(**ret));
	return image_file(tx, clc, image_id, arena, *ret, e);
}

static int
group_names(struct store_tx *tx, const char *interface_id, struct arena *arena,
    struct instance_spec *spec, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_INTERFACE_GROUPS, &rows, e, interface_id);

	spec->security_groups.items = arena_alloc(arena, 16 * sizeof(*spec->security_groups.items));
	while (r >= 0 && spec->security_groups.count < 16 && (r = store_next(rows, e)) > 0)
		spec->security_groups.items[spec->security_groups.count++] =
		    arena_strdup(arena, store_text(rows, 1));
	return r < 0 ? r : 0;
}

/* What its guest may see of its tags, when it may. */
static int
spec_tags(struct store_tx *tx, const struct clc_instance *i, struct arena *arena,
    struct instance_spec *spec, struct err *e)
{
	struct tag_list tags = { 0 };
	int r;

	if (!strings_equal(i->metadata_tags, "enabled"))
		return 0;
	r = clc_tags_read(tx, i->instance_id, arena, &tags, e);
	spec->tags.items = arena_alloc(arena, (tags.count + 1) * sizeof(*spec->tags.items));
	for (; r == 0 && spec->tags.count < tags.count; spec->tags.count++)
		spec->tags.items[spec->tags.count] =
		    (struct instance_tag){ tags.items[spec->tags.count].key,
			    tags.items[spec->tags.count].value };
	return r;
}

/* Read apart from its row: up to 16 KiB that only the zone needs. */
static int
user_data(struct store_tx *tx, const char *instance_id, struct arena *arena, struct str *ret,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_INSTANCE_USER_DATA, &rows, "user data", e, instance_id);
	struct str blob;

	if (r < 0)
		return r;
	blob = store_blob(rows, 0);
	*ret = (struct str){ blob.n ? arena_memdup(arena, blob.p, blob.n) : NULL, blob.n };
	return 0;
}

int
clc_instance_spec(struct store_tx *tx, struct clc *clc, struct clc_instance *i, struct arena *arena,
    struct instance_spec *s, struct err *e)
{
	struct clc_zone_names names = { 0 };
	char *c;
	int r = clc_zone_names_read(tx, clc->conf, i->account_id, arena, &names, e);

	if (r < 0)
		return r;
	memset(s, 0, sizeof(*s));
	s->zone =
	    clc_zone_shown(&names, i->zone); /* metadata's; whom to tell is the caller's to know */
	s->instance_id = i->instance_id;
	s->account_id = i->account_id;
	s->reservation_id = i->reservation_id;
	s->generation = (uint64_t)i->generation;
	s->wanted = i->wanted;
	s->has_reboot_serial = true;
	s->reboot_serial = (uint32_t)i->reboot_serial;
	s->has_force = true;
	s->force = i->is_forced;
	s->instance_type = i->instance_type;
	s->vcpus = (uint32_t)i->vcpus;
	s->memory_mib = (uint32_t)i->memory_mib;
	s->has_root_disk_gib = s->has_ephemeral_gib = true;
	s->root_disk_gib = (uint32_t)i->root_disk_gib;
	s->ephemeral_gib = (uint32_t)i->ephemeral_gib; /* for zones that know of one disk only */
	clc_devices_spec(i->ephemeral_disks, arena, s);
	s->shutdown_behavior = i->shutdown_behavior;
	s->key_name = i->key_name;
	s->public_key = i->public_key;
	s->has_launch_index = s->has_launch_time = true;
	s->launch_index = (uint32_t)i->launch_index;
	s->launch_time = i->launch_us;
	s->region = i->region;
	s->domain = arena_printf(arena, "%s.compute.internal", i->region);
	s->http_tokens = i->http_tokens;
	s->http_endpoint = i->http_endpoint;
	s->has_http_put_response_hop_limit = true;
	s->http_put_response_hop_limit = (uint32_t)i->http_hop_limit;
	s->instance_metadata_tags = i->metadata_tags;
	s->has_cpu_shares = s->has_is_pinned = true;
	s->cpu_shares = (uint32_t)i->cpu_shares;
	s->is_pinned = i->is_pinned;
	s->interfaces.items = arena_alloc(arena, sizeof(*s->interfaces.items));
	if (strcmp(i->wanted, "terminated") == 0) {
		/* Its addresses may be gone; only what names it matters now. */
		s->hostname = i->instance_id;
		s->image = arena_alloc(arena, sizeof(*s->image));
		s->image->image_id = i->image_id;
		s->image->digest =
		    "0000000000000000000000000000000000000000000000000000000000000000";
		s->image->format = "raw";
		return 0;
	}
	s->interfaces.count = 1;
	r = clc_interface_spec(tx, i->instance_id, arena, s->interfaces.items, e);
	if (r < 0)
		return r;
	s->hostname = c = arena_printf(arena, "ip-%s", s->interfaces.items[0].private_ip);
	for (; *c; c++)
		if (*c == '.')
			*c = '-';
	r = group_names(tx, s->interfaces.items[0].interface_id, arena, s, e);
	if (r == 0)
		r = spec_tags(tx, i, arena, s, e);
	if (r == 0)
		r = user_data(tx, i->instance_id, arena, &s->user_data, e);
	if (r < 0)
		return r;
	r = clc_placement_spec(tx, i, arena, &s->placement, e);
	if (r < 0)
		return r;
	s->image = arena_alloc(arena, sizeof(*s->image));
	r = image_file(tx, clc, i->image_id, arena, s->image, e);
	if (r == 0)
		r = optional_file(tx, clc, i->kernel_id, arena, &s->kernel, e);
	if (r == 0)
		r = optional_file(tx, clc, i->ramdisk_id, arena, &s->ramdisk, e);
	if (r == 0 && i->export_id && strcmp(i->wanted, "stopped") == 0)
		r = clc_bundle_export_spec(tx, clc, i, arena, &s->export, e);
	return r;
}
