/* Rows of instances: finding and reading them. */
#include "instance.h"

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
