/* Accepting wanted records, placing them, and keeping what nodes report. Placement is decided inside the
 * transaction that accepts, against rows that say what every node holds: so a node is never given more
 * than it has, however many launches come at once. */
#include "instance.h"

#include <stdio.h>

#include "base/clock.h"

#include "node.h"

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
cc_from_text(const struct shape *shape, const char *text, struct arena *arena, void *out,
    struct err *e)
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

void
cc_instance_to_report(const struct cc_instance *i, struct instance_report *ret)
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
		.has_boot_count = true,
		.boot_count = (uint32_t)i->boot_count,
		.has_needs_sources = true,
		.needs_sources = i->needs_sources };
}

int
cc_instance_spec(const struct cc_instance *i, struct arena *arena, struct instance_spec *ret,
    struct err *e)
{
	int r = cc_from_text(&instance_spec_shape, i->spec, arena, ret, e);

	if (r == 0)
		ret->node_id = i->node_id;
	return r;
}

/* -- placement -- */

static bool
fits(const struct cc_node *n, const struct instance_spec *spec, int64_t disk_gib)
{
	return strcmp(n->state, "up") == 0 && n->vcpus - n->vcpus_held >= spec->vcpus &&
	    n->memory_mib - n->memory_mib_held >= spec->memory_mib &&
	    n->disk_gib - n->disk_gib_held >= disk_gib;
}

/* The node with the most memory left, so that load spreads; by id among equals. */
static int
choose_node(struct store_tx *tx, const struct instance_spec *spec, int64_t disk_gib,
    struct arena *arena, const char **ret_id, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int64_t best = -1;
	int r = store_query(tx, Q_NODES, &rows, e);

	*ret_id = NULL;
	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_node n;

		cc_node_read(rows, arena, &n);
		if (fits(&n, spec, disk_gib) && n.memory_mib - n.memory_mib_held > best) {
			best = n.memory_mib - n.memory_mib_held;
			*ret_id = n.node_id;
		}
	}
	return r;
}

/* A stopped instance starts where its disk is, if there is room again. */
static int
fits_again(struct store_tx *tx, const struct cc_instance *i, const struct instance_spec *spec,
    struct arena *arena, bool *ret_fits, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct cc_node n;
	int r = store_query_one(tx, Q_NODE_BY_ID, &rows, "node", e, i->node_id);

	if (r < 0)
		return r;
	cc_node_read(rows, arena, &n);
	*ret_fits = fits(&n, spec, 0);
	return 0;
}

/* -- PutInstance -- */

static const char *const wanted_order[] = { "running", "stopped", "terminated" };

static unsigned
rank_of(const char *wanted)
{
	for (unsigned i = 0; i < ARRAY_SIZE(wanted_order); i++)
		if (strcmp(wanted_order[i], wanted) == 0)
			return i;
	return 0;
}

struct acceptance {
	struct cc *cc;
	const struct instance_spec *spec;
	struct arena *arena;
	struct cc_instance result;
};

/* Within a generation things only go forward: running, stopped, terminated. */
static bool
is_stale(const struct cc_instance *known, const struct instance_spec *spec)
{
	if ((int64_t)spec->generation != known->generation)
		return (int64_t)spec->generation < known->generation;
	return rank_of(spec->wanted) < rank_of(known->wanted) ||
	    (spec->has_reboot_serial && spec->reboot_serial < known->reboot_serial);
}

static int64_t
disk_of(const struct instance_spec *spec)
{
	int64_t gib = (int64_t)((spec->image->size_bytes + (1 << 30) - 1) >> 30);

	if (spec->has_root_disk_gib && spec->root_disk_gib > gib)
		gib = spec->root_disk_gib;
	return gib + (spec->has_ephemeral_gib ? spec->ephemeral_gib : 0);
}

static void
refuse(struct cc_instance *i, struct arena *arena, const char *where)
{
	i->state = "failed";
	i->reason_code = "Server.InsufficientInstanceCapacity";
	i->reason_message = arena_printf(arena, "Server.InsufficientInstanceCapacity: %s", where);
}

static int
place(struct store_tx *tx, struct acceptance *a, struct cc_instance *i, bool is_new, struct err *e)
{
	const struct instance_spec *spec = a->spec;
	bool room = false;
	int r = 0;

	i->state = "pending";
	i->reason_code = i->reason_message = NULL;
	i->holds = HOLDS_ALL;
	i->to_put = PUT_SPEC;
	if (is_new || !i->node_id) {
		r = choose_node(tx, spec, i->disk_gib, a->arena, &i->node_id, e);
		room = i->node_id != NULL;
	} else {
		r = fits_again(tx, i, spec, a->arena, &room, e);
	}
	if (r == 0 && !room) {
		refuse(i, a->arena,
		    is_new ? "no node of this zone has room for it" : "its node has no room for it now");
		i->holds = i->node_id ? HOLDS_DISK : HOLDS_NOTHING;
		i->to_put = PUT_NOTHING;
	}
	return r;
}

static int
write_instance(struct store_tx *tx, const struct cc_instance *i, const char *spec_text, struct err *e)
{
	int r = store_exec(tx, Q_INSTANCE_PUT, NULL, e, i->instance_id, i->account_id, i->generation,
	    i->wanted, i->reboot_serial, spec_text, i->vpc_id, i->node_id, i->vcpus, i->memory_mib,
	    i->disk_gib, i->holds, i->to_put, i->state, i->reason_code, i->reason_message, i->since_us);

	return r < 0 ? r : outbox_add(tx, "instance", i->instance_id, i->account_id, i->state, e);
}

static int
accept(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct acceptance *a = arg;
	const struct instance_spec *spec = a->spec;
	struct cc_instance *i = &a->result, known = { 0 };
	bool is_new;
	int r = cc_instance_load(tx, spec->instance_id, a->arena, &known, e);

	if (r < 0 && r != ERR_NOT_FOUND)
		return r;
	is_new = r == ERR_NOT_FOUND;
	if (!is_new && is_stale(&known, spec))
		return err_set(e, ERR_STALE, "instance '%s' is at generation %lld, wanted %s",
		    spec->instance_id, (long long)known.generation, known.wanted);
	*i = known;
	i->instance_id = spec->instance_id;
	i->account_id = spec->account_id;
	i->vcpus = spec->vcpus;
	i->memory_mib = spec->memory_mib;
	if (spec->interfaces.count)
		i->vpc_id = spec->interfaces.items[0].vpc_id;
	i->wanted = spec->wanted;
	i->reboot_serial = spec->has_reboot_serial ? spec->reboot_serial : 0;
	i->to_put = PUT_SPEC;
	if (strcmp(spec->wanted, "terminated") != 0)
		i->disk_gib = disk_of(spec);
	r = 0;
	if (strcmp(spec->wanted, "running") == 0 &&
	    (is_new || (int64_t)spec->generation > known.generation)) {
		i->since_us = store_now_us(tx);
		r = place(tx, a, i, is_new, e);
	} else if (!i->node_id) { /* it never got a node: there is nothing to end */
		i->state = "terminated";
		i->holds = HOLDS_NOTHING;
		i->to_put = PUT_NOTHING;
		i->since_us = store_now_us(tx);
	}
	i->generation = (int64_t)spec->generation;
	if (r < 0)
		return r;
	cc_text_of(&instance_spec_shape, spec, &text);
	return write_instance(tx, i, strbuf_c(&text), e);
}

int
cc_handle_put_instance(struct rpc_request *rq, const struct cc_put_instance_in *in,
    struct instance_report *out, struct err *e)
{
	struct acceptance a = { .cc = rq->state, .spec = in->spec, .arena = rq->arena };
	int r = store_write(a.cc->store, accept, &a, e);

	if (r < 0)
		return r;
	cc_instance_to_report(&a.result, out);
	log_info(&rq->log, "instance.accepted", "instance=%s wanted=%s generation=%llu node=%s state=%s",
	    in->spec->instance_id, in->spec->wanted, (unsigned long long)in->spec->generation,
	    a.result.node_id ? a.result.node_id : "-", a.result.state);
	cc_nodes_poke(a.cc, a.result.node_id);
	return 0;
}

/* -- ForgetInstance -- */

struct forgetting {
	const char *id;
	struct arena *arena;
	const char *node_id;
};

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	struct forgetting *f = arg;
	struct cc_instance i;
	int r = cc_instance_load(tx, f->id, f->arena, &i, e);

	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	f->node_id = i.node_id;
	if (!i.node_id)
		return store_exec(tx, Q_INSTANCE_DELETE, NULL, e, f->id);
	if (i.holds != HOLDS_NOTHING && strcmp(i.wanted, "terminated") != 0)
		return err_set(e, ERR_CONFLICT, "instance '%s' is %s, wanted %s", f->id, i.state, i.wanted);
	return store_exec(tx, Q_INSTANCE_FORGET, NULL, e, f->id);
}

int
cc_handle_forget_instance(struct rpc_request *rq, const struct cc_forget_instance_in *in,
    struct empty *out, struct err *e)
{
	struct forgetting f = { .id = in->instance_id, .arena = rq->arena };
	struct cc *cc = rq->state;
	int r = store_write(cc->store, forget, &f, e);

	if (r == 0)
		cc_nodes_poke(cc, f.node_id);
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
cc_instance_report(struct store_tx *tx, const struct instance_report *report, struct arena *arena,
    struct err *e)
{
	struct cc_instance i;
	int64_t holds;
	int r = cc_instance_load(tx, report->instance_id, arena, &i, e);

	if (r == ERR_NOT_FOUND || (r == 0 && (int64_t)report->generation != i.generation))
		return 0;
	if (r < 0)
		return r;
	holds = holds_of(report->state);
	/* A failed guest holds no processor; its disk may be there to be started again. */
	if (strcmp(report->state, "failed") == 0)
		holds = HOLDS_DISK;
	r = store_exec(tx, Q_INSTANCE_REPORT, NULL, e, i.instance_id, report->state, report->reason_code,
	    report->reason_message, report->step, report->has_since ? report->since : store_now_us(tx),
	    (int64_t)report->boot_count, (int64_t)report->needs_sources, holds);
	return r < 0 ? r : outbox_add(tx, "instance", i.instance_id, i.account_id, report->state, e);
}

/* -- GetConsoleOutput -- */

struct lookup {
	const char *id;
	struct arena *arena;
	struct cc_instance instance;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct lookup *l = arg;

	return cc_instance_load(tx, l->id, l->arena, &l->instance, e);
}

int
cc_handle_get_console_output(struct rpc_request *rq, const struct cc_get_console_output_in *in,
    struct cc_get_console_output_out *out, struct err *e)
{
	struct lookup l = { .id = in->instance_id, .arena = rq->arena };
	struct cc *cc = rq->state;
	int r = store_read(cc->store, load, &l, e);

	if (r < 0)
		return r;
	if (!l.instance.node_id)
		return err_set(e, ERR_NOT_FOUND, "instance '%s' has no node", in->instance_id);
	return cc_nodes_console(cc, rq, l.instance.node_id, in->instance_id, out, e);
}
