/* Instance rows: reading, applying what zones report, and the record a zone is given. */
#include "instance.h"

#include "auth/sigv4.h"
#include "base/clock.h"
#include "base/strbuf.h"

#include "account.h"
#include "bundle_task.h"
#include "image.h"
#include "tags.h"
#include "placement.h"
#include "vpc.h"
#include "peers.h"
#include "zone_name.h"

int
clc_instance_check_id(const char *id, struct err *e)
{
	if (id_is_valid(id, "i"))
		return 0;
	return err_set(e, ERR_INSTANCE_MALFORMED, "Invalid id: \"%.100s\"", id);
}

void
clc_instance_read(struct store_rows *rows, struct arena *arena, struct clc_instance *i)
{
	unsigned c = 0;

#define TEXT() arena_strdup(arena, store_text(rows, c++))
#define INT() store_int(rows, c++)
	memset(i, 0, sizeof(*i));
	i->instance_id = TEXT();
	i->account_id = TEXT();
	i->region = TEXT();
	i->reservation_id = TEXT();
	i->launch_index = INT();
	i->zone = TEXT();
	i->node_id = TEXT();
	i->wanted = TEXT();
	i->generation = INT();
	i->reboot_serial = INT();
	i->is_forced = INT();
	i->revision = INT();
	i->to_put = INT();
	if (!instance_state_from_string(store_text(rows, c++), &i->state))
		i->state = INSTANCE_PENDING;
	i->reason_code = TEXT();
	i->reason_message = TEXT();
	i->transition_reason = TEXT();
	i->step = TEXT();
	i->is_unreachable = INT();
	i->boot_count = INT();
	i->image_id = TEXT();
	i->kernel_id = TEXT();
	i->ramdisk_id = TEXT();
	i->instance_type = TEXT();
	i->vcpus = INT();
	i->memory_mib = INT();
	i->root_disk_gib = INT();
	i->ephemeral_gib = INT();
	i->key_name = TEXT();
	i->public_key = TEXT();
	i->shutdown_behavior = TEXT();
	i->is_protected = INT();
	i->is_monitored = INT();
	i->client_token = TEXT();
	i->http_tokens = TEXT();
	i->http_hop_limit = INT();
	i->launch_us = INT();
	i->ended_us = INT();
	i->holds = INT();
	i->http_endpoint = TEXT();
	i->metadata_tags = TEXT();
	i->placement_group_id = TEXT();
	i->partition_number = INT();
	i->preferred_node_id = TEXT();
	i->cpu_shares = INT();
	i->is_pinned = INT();
	i->ephemeral_disks = TEXT();
	i->is_ebs_optimized = INT();
	i->is_stop_protected = INT();
	i->auto_recovery = TEXT();
	i->export_id = TEXT();
	i->step_us = INT();
	i->waits_for = TEXT();
	i->who = TEXT();
	i->reachability = TEXT();
	i->reachability_us = INT();
	i->state_us = INT();
	i->created_us = INT();
	i->cpu_credits = TEXT();
	i->capacity_preference = TEXT();
#undef TEXT
#undef INT
}

int
clc_instance_load(struct store_tx *tx, const char *account_id, const char *id, struct arena *arena,
    struct clc_instance *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r;

	r = store_query_one(tx, Q_INSTANCE_BY_ID, &rows, "instance", e, id);
	if (r == 0) {
		clc_instance_read(rows, arena, ret);
		if (account_id && strcmp(ret->account_id, account_id) != 0)
			r = ERR_NOT_FOUND;
	}
	if (r == ERR_NOT_FOUND)
		return err_set(
		    e, ERR_INSTANCE_NOT_FOUND, "The instance ID '%s' does not exist", id);
	return r;
}

/* -- reports -- */

static const struct {
	const char *state;
	enum instance_event event;
} reported[] = {
	{ "pending", EV_PENDING },
	{ "running", EV_RUNNING },
	{ "stopping", EV_RUNNING },
	{ "shutting-down", EV_RUNNING },
	{ "stopped", EV_STOPPED },
	{ "failed", EV_FAILED },
	{ "terminated", EV_ENDED },
	{ "gone", EV_ENDED },
};

static bool
event_of(const struct instance_report *report, enum instance_event *ret)
{
	for (size_t k = 0; k < ARRAY_SIZE(reported); k++)
		if (strings_equal(reported[k].state, report->state)) {
			*ret = reported[k].event;
			return true;
		}
	return false;
}

int
clc_instance_report(struct store_tx *tx, const struct instance_report *report, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct clc_reason reason = { report->reason_code, report->reason_message };
	struct clc_instance i;
	enum instance_event event;
	int r;

	r = clc_instance_load(tx, NULL, report->instance_id, arena, &i, e);
	if (r == ERR_INSTANCE_NOT_FOUND)
		return 0; /* its row has gone: the zone is told to forget it by the next put */
	if (r < 0)
		return r;
	if ((int64_t)report->generation != i.generation || !event_of(report, &event))
		return 0;
	r = store_exec(tx, Q_INSTANCE_UPDATE_REPORT, NULL, e, i.instance_id, report->node_id,
	    report->step, (int64_t)report->unreachable, (int64_t)report->boot_count,
	    report->step_since, report->waits_for, report->who, store_now_us(tx),
	    report->reachability);
	if (r < 0)
		return r;
	if (report->needs_sources) {
		r = store_exec(tx, Q_INSTANCE_PUT_AGAIN, NULL, e, i.instance_id);
		if (r < 0)
			return r;
	}
	/* A user's stop leaves its own reason; a zone's has more to say only when it says
	 * something. */
	r = clc_instance_apply(tx, &i, event, reason.code ? &reason : NULL, e);
	return r == 0 && report->export ? clc_bundle_report(tx, &i, report->export, e) : r;
}

/* -- the wanted record -- */

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
	s->ephemeral_gib = (uint32_t)i->ephemeral_gib;
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

/* -- the end -- */

static int
expire(struct store_tx *tx, void *arg, struct err *e)
{
	int64_t before = store_now_us(tx) - *(const int64_t *)arg;
	int r = store_exec(tx, Q_TAGS_EXPIRE, NULL, e, before);

	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_STATUS_REPORTS_EXPIRE, NULL, e, before);
	if (r == 0)
		r = clc_bundles_expire(tx, e);
	if (r == 0)
		r = store_exec(tx, Q_INSTANCES_EXPIRE, NULL, e, before);
	return r == 0 ? store_exec(tx, Q_RESERVATIONS_EXPIRE, NULL, e, before) : r;
}

int
clc_instance_expire(struct clc *clc, struct err *e)
{
	int64_t keep_us = clc->conf->keep_terminated_ms * 1000LL;

	return store_write(clc->store, expire, &keep_us, e);
}
