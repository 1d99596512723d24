/* Rows of instances: reading them, the record as it goes up and down, and keeping what nodes
 * report. */
#include "instance.h"

void
cc_text_of(const struct shape *shape, const void *in, struct strbuf *out)
{
	struct xml_writer w;

	xml_writer_init(&w, out, true);
	xml_open(&w, "record");
	codec_to_xml(shape, in, &w);
	xml_close(&w, "record");
}

static void
free_doc(xmlDoc **doc)
{
	xml_doc_freep(doc);
}

int
cc_from_text(
    const struct shape *shape, const char *text, struct arena *arena, void *out, struct err *e)
{
	_cleanup_(free_doc) xmlDoc *doc = NULL;
	int r = xml_parse(str_of(text), &xml_limits_soap, &doc, e);

	if (r == 0)
		r = codec_from_xml(shape, xmlDocGetRootElement(doc), arena, out, e);
	return r < 0 ? err_wrap(e, "stored %s", shape->name) : 0;
}

void
cc_instance_read(struct store_rows *rows, struct arena *arena, struct cc_instance *i)
{
	unsigned c = 0;

#define TEXT() arena_strdup(arena, store_text(rows, c++))
#define INT() store_int(rows, c++)
	i->instance_id = TEXT();
	i->account_id = TEXT();
	i->placement_group_id = TEXT();
	i->partition_number = INT();
	i->step_us = INT();
	i->waits_for = TEXT();
	i->who = TEXT();
	i->reachability = TEXT();
	i->generation = INT();
	i->wanted = TEXT();
	i->reboot_serial = INT();
	i->spec = TEXT();
	i->vpc_id = TEXT();
	i->node_id = TEXT();
	i->vcpus = INT();
	i->memory_mib = INT();
	i->disk_gib = INT();
	i->holds = INT();
	i->to_put = INT();
	i->serial = INT();
	i->state = TEXT();
	i->reason_code = TEXT();
	i->reason_message = TEXT();
	i->step = TEXT();
	i->since_us = INT();
	i->boot_count = INT();
	i->needs_sources = INT();
	i->is_unreachable = INT();
	i->export = TEXT();
#undef TEXT
#undef INT
}

int
cc_instance_load(struct store_tx *tx, const char *id, struct arena *arena, struct cc_instance *ret,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, Q_INSTANCE_BY_ID, &rows, "instance", e, id);

	if (r == 0)
		cc_instance_read(rows, arena, ret);
	return r;
}

/* Where it is the zone that waits, it says for what, and who can do something about it. */
static void
report_waiting(const struct cc_instance *i, struct arena *arena, struct instance_report *ret)
{
	if (i->is_unreachable && i->node_id) {
		ret->waits_for = arena_printf(arena, "node %s to answer", i->node_id);
		ret->who = "administrator";
	} else if (i->to_put == PUT_SPEC && i->node_id && !i->step &&
		   strcmp(i->state, "pending") == 0) {
		ret->waits_for = arena_printf(arena, "node %s to be told", i->node_id);
		ret->step = arena_printf(arena, "waiting for %s", ret->waits_for);
		ret->has_step_since = true;
		ret->step_since = i->since_us;
		ret->who = "cloud";
	}
}

static struct export_report *
export_of(const struct cc_instance *i, struct arena *arena)
{
	struct export_report *x = i->export ? arena_alloc(arena, sizeof(*x)) : NULL;

	/* What can't be read is asked for again by whoever misses it. */
	return x && cc_from_text(&export_report_shape, i->export, arena, x, NULL) == 0 ? x : NULL;
}

void
cc_instance_to_report(const struct cc_instance *i, struct arena *arena, struct instance_report *ret)
{
	*ret = (struct instance_report){ .instance_id = i->instance_id,
		.generation = (uint64_t)i->generation,
		.state = i->state,
		.reason_code = i->reason_code,
		.reason_message = i->reason_message,
		.has_since = true,
		.since = i->since_us,
		.node_id = i->node_id,
		.has_unreachable = true,
		.unreachable = i->is_unreachable,
		.step = i->step,
		.has_step_since = i->step_us != 0,
		.step_since = i->step_us,
		.waits_for = i->waits_for,
		.who = i->who,
		.reachability = i->reachability,
		.has_boot_count = true,
		.boot_count = (uint32_t)i->boot_count,
		.has_needs_sources = true,
		.needs_sources = i->needs_sources,
		.export = export_of(i, arena) };
	report_waiting(i, arena, ret);
}

int
cc_instance_spec(
    const struct cc_instance *i, struct arena *arena, struct instance_spec *ret, struct err *e)
{
	int r = cc_from_text(&instance_spec_shape, i->spec, arena, ret, e);

	if (r == 0)
		ret->node_id = i->node_id;
	return r;
}

/* -- reports -- */

static enum cc_holds
holds_of(const char *state)
{
	if (strcmp(state, "stopped") == 0)
		return HOLDS_DISK;
	if (strcmp(state, "terminated") == 0 || strcmp(state, "gone") == 0)
		return HOLDS_NOTHING;
	return HOLDS_ALL;
}

int
cc_instance_report(struct store_tx *tx, const char *node_id, const struct instance_report *report,
    struct arena *arena, struct err *e)
{
	_cleanup_strbuf_ struct strbuf export = STRBUF_INIT;
	struct cc_instance i;
	int64_t holds;
	int r = cc_instance_load(tx, report->instance_id, arena, &i, e);

	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	if ((int64_t)report->generation != i.generation || !strings_equal(i.node_id, node_id))
		return 0;
	holds = holds_of(report->state);
	/* A failed guest holds no processor; its disk may be there to be started again. */
	if (strcmp(report->state, "failed") == 0)
		holds = HOLDS_DISK;
	if (report->export)
		cc_text_of(&export_report_shape, report->export, &export);
	r = store_exec(tx, Q_INSTANCE_REPORT, NULL, e, i.instance_id, report->state,
	    report->reason_code, report->reason_message, report->step,
	    report->has_since ? report->since : store_now_us(tx), (int64_t)report->boot_count,
	    (int64_t)report->needs_sources, holds, report->export ? strbuf_c(&export) : NULL);
	if (r == 0)
		r = store_exec(tx, Q_INSTANCE_STEP, NULL, e, i.instance_id, report->step,
		    report->has_step_since ? report->step_since : INT64_C(0), report->waits_for,
		    report->who, report->reachability);
	return r < 0 ? r
		     : outbox_add(tx, "instance", i.instance_id, i.account_id, report->state, e);
}

int
cc_instance_lost(struct store_tx *tx, const struct cc_instance *i, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_report report;

	cc_instance_to_report(i, arena, &report);
	report.state = "gone";
	report.reason_code = "Server.InternalError";
	report.reason_message = "Server.InternalError: its node knows nothing of it any more";
	report.step = report.waits_for = report.who = NULL;
	report.has_since = report.has_step_since = false;
	return cc_instance_report(tx, i->node_id, &report, arena, e);
}
