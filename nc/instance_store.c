/* The node controller's durable truth: wanted specs as the zone sent them (XML by the codec, so
 * that fields of later versions need no column) and, beside them, what this node knows.
 *
 * Each function is one transaction; every change of what others may see puts an event into the
 * outbox in that same transaction. State changes go through the table in instance_fsm.c. */
#include "instance_store.h"

#include <string.h>
#include "base/clock.h"
#include "base/vec.h"
#include "schema.h"
#include "spec.h"
#include "store/outbox.h"

#define NODE_EVENT "node"
#define INSTANCE_EVENT "instance"
#define EVENTS_MAX 1000

/* -- rows -- */

/* FNV-1a: tells that a spec has changed, protects nothing. */
static uint64_t
hash_of(struct str bytes)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < bytes.n; i++)
		h = (h ^ (uint8_t)bytes.p[i]) * UINT64_C(1099511628211);
	return h;
}

static int
record_from_row(
    struct store_rows *rows, struct arena *arena, struct instance_record *ret, struct err *e)
{
	struct instance_spec *spec = arena_alloc(arena, sizeof(*spec));
	int r;

	*ret = (struct instance_record){ .instance_id = arena_strdup(arena, store_text(rows, 0)),
		.generation = (uint64_t)store_int(rows, 1),
		.spec = spec,
		.reason_code = arena_strdup(arena, store_text(rows, 4)),
		.reason_message = arena_strdup(arena, store_text(rows, 5)),
		.step = arena_strdup(arena, store_text(rows, 6)),
		.since_us = store_int(rows, 7),
		.boot_count = (uint32_t)store_int(rows, 8),
		.reboot_done = (uint32_t)store_int(rows, 9),
		.host_boot = arena_strdup(arena, store_text(rows, 10)),
		.needs_sources = store_int(rows, 11) != 0,
		.step_us = store_int(rows, 12),
		.waits_for = arena_strdup(arena, store_text(rows, 13)),
		.who = arena_strdup(arena, store_text(rows, 14)),
		.reachability = arena_strdup(arena, store_text(rows, 15)) };
	ret->spec_hash = hash_of(store_blob(rows, 2));
	if (!instance_state_from_string(store_text(rows, 3), &ret->state))
		return err_set(
		    e, ERR_CORRUPT, "instance '%s' has an unknown state", ret->instance_id);
	r = spec_decode(&instance_spec_shape, store_blob(rows, 2), arena, spec, e);
	return r < 0 ? err_wrap(e, "instance '%s'", ret->instance_id) : 0;
}

/* The export that the spec asks for, as far as it is; of another there is nothing to tell. */
static int
read_export(struct store_tx *tx, struct arena *arena, struct instance_record *i, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const struct export_spec *wanted = i->spec->export;
	struct export_report *x;
	int r;

	i->export = NULL;
	if (!wanted)
		return 0;
	i->export = x = arena_alloc(arena, sizeof(*x));
	x->export_id = wanted->export_id;
	x->state = "waiting";
	r = store_query(tx, NC_EXPORT_BY_INSTANCE, &rows, e, i->instance_id);
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0 || strcmp(store_text(rows, 0), wanted->export_id) != 0)
		return r < 0 ? r : 0;
	x->state = arena_strdup(arena, store_text(rows, 1));
	x->has_progress = x->has_size_bytes = x->has_archive_bytes = true;
	x->progress = (uint32_t)store_int(rows, 2);
	x->reason = arena_strdup(arena, store_text(rows, 3));
	x->size_bytes = (uint64_t)store_int(rows, 4);
	x->archive_bytes = (uint64_t)store_int(rows, 5);
	return 0;
}

static int
find(struct store_tx *tx, const char *id, struct arena *arena, struct instance_record *ret,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, NC_INSTANCE_BY_ID, &rows, "instance", e, id);

	if (r == 0)
		r = record_from_row(rows, arena, ret, e);
	return r < 0 ? r : read_export(tx, arena, ret, e);
}

/* Only of a guest that runs. */
static const char *
reachability_of(const struct instance_record *i)
{
	if (i->state != INSTANCE_RUNNING)
		return NULL;
	return i->reachability ? i->reachability : "initializing";
}

/* Writes everything but the claims, which never change, and tells the readers. */
static int
save(struct store_tx *tx, const struct instance_record *i, struct err *e)
{
	_cleanup_strbuf_ struct strbuf spec = STRBUF_INIT;
	int r;

	spec_encode(&instance_spec_shape, i->spec, &spec);
	r = store_exec(tx, NC_INSTANCE_UPDATE, NULL, e, i->instance_id, (int64_t)i->generation,
	    strbuf_str(&spec), instance_state_to_string(i->state), i->reason_code,
	    i->reason_message, i->step, i->since_us, (int64_t)i->boot_count,
	    (int64_t)i->reboot_done, i->host_boot, (int64_t)i->needs_sources,
	    i->step ? i->step_us : INT64_C(0), i->step ? i->waits_for : NULL,
	    i->step ? i->who : NULL, reachability_of(i));
	if (r < 0)
		return r;
	return outbox_add(tx, INSTANCE_EVENT, i->instance_id, i->spec->account_id,
	    instance_state_to_string(i->state), e);
}

static uint32_t
claimed_disk_gib(const struct instance_spec *spec)
{
	uint64_t image_gib = (spec->image->size_bytes + (1 << 30) - 1) >> 30;

	uint64_t all = spec->root_disk_gib > image_gib ? spec->root_disk_gib : image_gib;

	for (size_t i = 0; i < spec->ephemeral_disks.count; i++)
		all += spec->ephemeral_disks.items[i].size_gib;
	if (!spec->ephemeral_disks.count)
		all += spec->ephemeral_gib;
	return all > UINT32_MAX ? UINT32_MAX : (uint32_t)all;
}

static int
insert(struct store_tx *tx, const struct instance_record *i, struct err *e)
{
	_cleanup_strbuf_ struct strbuf spec = STRBUF_INIT;
	int r;

	spec_encode(&instance_spec_shape, i->spec, &spec);
	r = store_exec(tx, NC_INSTANCE_INSERT, NULL, e, i->instance_id, (int64_t)i->generation,
	    strbuf_str(&spec), instance_state_to_string(i->state), i->reason_code,
	    i->reason_message, i->step, i->since_us, (int64_t)i->boot_count,
	    (int64_t)i->reboot_done, i->host_boot, (int64_t)i->needs_sources, INT64_C(0), NULL,
	    NULL, reachability_of(i), (int64_t)i->spec->vcpus, (int64_t)i->spec->memory_mib,
	    (int64_t)claimed_disk_gib(i->spec));
	if (r < 0)
		return r;
	return outbox_add(tx, INSTANCE_EVENT, i->instance_id, i->spec->account_id,
	    instance_state_to_string(i->state), e);
}

/* -- orders -- */

static int
used(struct store_tx *tx, const char *but, struct node_capacity *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query_one(tx, NC_INSTANCES_USED, &rows, "sums", e, but);

	if (r == 0)
		*ret = (struct node_capacity){ (uint32_t)store_int(rows, 0),
			(uint32_t)store_int(rows, 1), (uint32_t)store_int(rows, 2) };
	return r;
}

static int
check_room(struct store_tx *tx, const struct node_capacity *all, struct instance_record *i,
    struct arena *arena, struct err *e)
{
	const struct instance_spec *spec = i->spec;
	struct node_capacity now;
	const char *what = NULL;
	int r = used(tx, spec->instance_id, &now, e);

	if (r < 0)
		return r;
	if ((uint64_t)now.vcpus + spec->vcpus > all->vcpus)
		what = "virtual processors";
	else if ((uint64_t)now.memory_mib + spec->memory_mib > all->memory_mib)
		what = "memory";
	else if ((uint64_t)now.disk_gib + claimed_disk_gib(spec) > all->disk_gib)
		what = "disk";
	if (what) {
		i->state = INSTANCE_FAILED;
		i->reason_code = "Server.InsufficientInstanceCapacity";
		i->reason_message = arena_printf(arena,
		    "Server.InsufficientInstanceCapacity: the node has not enough %s left", what);
	}
	return 0;
}

static bool
is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* The order says where the instance has to go; false: nowhere, it is there or on its way. */
static bool
order_event(
    const struct instance_record *old, const struct instance_spec *spec, enum instance_event *ret)
{
	if (is(spec->wanted, "running")) {
		*ret = EVENT_START;
		return spec->generation > old->generation;
	}
	if (is(spec->wanted, "terminated")) {
		*ret = EVENT_TERMINATE;
		return old->state != INSTANCE_SHUTTING_DOWN && old->state != INSTANCE_TERMINATED;
	}
	*ret = EVENT_STOP;
	return old->state == INSTANCE_PENDING || old->state == INSTANCE_RUNNING ||
	       old->state == INSTANCE_FAILED;
}

struct put {
	const struct instance_spec *spec;
	const struct node_capacity *capacity;
	struct arena *arena;
	struct instance_record *ret;
};

static int
put_new(struct store_tx *tx, struct put *p, struct err *e)
{
	struct instance_record *i = p->ret;
	int r;

	if (p->spec->has_run && !is(p->spec->wanted, "terminated"))
		return err_set(e, ERR_NOT_FOUND, "'%s' has run before, but is not on this node",
		    p->spec->instance_id);
	*i = (struct instance_record){ .instance_id = p->spec->instance_id,
		.generation = p->spec->generation,
		.spec = p->spec,
		.since_us = store_now_us(tx),
		.reboot_done = p->spec->reboot_serial };
	i->state = is(p->spec->wanted, "running")   ? INSTANCE_PENDING
		   : is(p->spec->wanted, "stopped") ? INSTANCE_STOPPED
						    : INSTANCE_TERMINATED;
	if (i->state == INSTANCE_PENDING) {
		r = check_room(tx, p->capacity, i, p->arena, e);
		if (r < 0)
			return r;
	}
	r = read_export(tx, p->arena, i, e);
	return r < 0 ? r : insert(tx, i, e);
}

static int
put_known(struct store_tx *tx, struct put *p, struct err *e)
{
	const struct instance_spec *spec = p->spec;
	struct instance_record *i = p->ret;
	enum instance_event event;
	int r;

	if (spec->generation < i->generation ||
	    (spec->generation == i->generation && is(spec->wanted, "running") &&
		!is(i->spec->wanted, "running")) ||
	    (is(i->spec->wanted, "terminated") && !is(spec->wanted, "terminated")))
		return err_set(e, ERR_STALE,
		    "'%s' is at generation %llu (%s) already: generation %llu (%s) is refused",
		    i->instance_id, (unsigned long long)i->generation, i->spec->wanted,
		    (unsigned long long)spec->generation, spec->wanted);
	if (order_event(i, spec, &event)) {
		r = instance_fsm_next(i->state, event, &i->state, e);
		if (r < 0) {
			(void)err_wrap(e, "instance '%s'", i->instance_id); /* e may be NULL */
			return r;
		}
		i->since_us = store_now_us(tx);
		i->step = NULL;
		if (event == EVENT_START) {
			i->reason_code = i->reason_message = NULL;
			i->boot_count = 0;
			i->host_boot = NULL;
			i->reboot_done = spec->reboot_serial;
		}
	}
	if (is(spec->wanted, "terminated")) {
		/* The clc names no NICs or images any more: what is to be undone is what was done.
		 */
		struct instance_spec *last = arena_alloc(p->arena, sizeof(*last));

		*last = *i->spec;
		last->wanted = spec->wanted;
		last->generation = spec->generation;
		last->force = spec->force;
		last->has_force = spec->has_force;
		last->export = NULL;
		spec = last;
	}
	i->spec = spec;
	i->generation = spec->generation;
	i->needs_sources = false;
	if (i->state == INSTANCE_PENDING) {
		r = check_room(tx, p->capacity, i, p->arena, e);
		if (r < 0)
			return r;
	}
	r = read_export(tx, p->arena, i, e);
	if (r == 0 && !i->export)
		r = store_exec(tx, NC_EXPORT_DELETE, NULL, e, i->instance_id);
	return r < 0 ? r : save(tx, i, e);
}

static int
put(struct store_tx *tx, void *arg, struct err *e)
{
	struct put *p = arg;
	int r = find(tx, p->spec->instance_id, p->arena, p->ret, e);

	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return put_new(tx, p, e);
	}
	return r < 0 ? r : put_known(tx, p, e);
}

int
instance_put(struct store *s, const struct instance_spec *spec,
    const struct node_capacity *capacity, struct arena *arena, struct instance_record *ret,
    struct err *e)
{
	struct put p = { spec, capacity, arena, ret };

	return store_write(s, put, &p, e);
}

/* -- reading -- */

struct load {
	const char *id;
	struct arena *arena;
	struct instance_record *ret;
	size_t count;
};

static int
load(struct store_tx *tx, void *arg, struct err *e)
{
	struct load *l = arg;

	return find(tx, l->id, l->arena, l->ret, e);
}

int
instance_load(struct store *s, const char *instance_id, struct arena *arena,
    struct instance_record *ret, struct err *e)
{
	struct load l = { instance_id, arena, ret, 0 };

	return store_read(s, load, &l, e);
}

static int
load_all(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	VEC(struct instance_record) all = { 0 };
	struct load *l = arg;
	int r = store_query(tx, NC_INSTANCES, &rows, e);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct instance_record one;

		r = record_from_row(rows, l->arena, &one, e);
		if (r == 0)
			r = read_export(tx, l->arena, &one, e);
		if (r == 0)
			vec_add(&all, one);
	}
	l->count = all.count;
	l->ret = arena_memdup(l->arena, all.items, all.count * sizeof(*all.items));
	vec_done(&all);
	return r;
}

int
instance_list(struct store *s, struct arena *arena, struct instance_record **ret, size_t *ret_count,
    struct err *e)
{
	struct load l = { .arena = arena };
	int r = store_read(s, load_all, &l, e);

	if (r < 0)
		return r;
	*ret = l.ret;
	*ret_count = l.count;
	return 0;
}

/* -- news -- */

/* The record, if it is still of that generation. */
static int
find_generation(struct store_tx *tx, const char *id, uint64_t generation, struct arena *arena,
    struct instance_record *ret, struct err *e)
{
	int r = find(tx, id, arena, ret, e);

	if (r < 0)
		return r;
	if (ret->generation != generation)
		return err_set(e, ERR_STALE, "'%s' has moved on to generation %llu", id,
		    (unsigned long long)ret->generation);
	return 0;
}

static int
take_news(struct store_tx *tx, void *arg, struct err *e)
{
	const struct instance_news *n = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_record i;
	enum instance_state before;
	int r;

	r = find_generation(tx, n->instance_id, n->generation, arena, &i, e);
	if (r < 0)
		return r;
	before = i.state;
	r = instance_fsm_next(i.state, n->event, &i.state, e);
	if (r < 0) {
		(void)err_wrap(e, "instance '%s'", n->instance_id); /* e may be NULL */
		return r;
	}
	if (i.state != before)
		i.since_us = store_now_us(tx);
	i.step = NULL;
	if (n->reason_code) {
		i.reason_code = n->reason_code;
		i.reason_message = n->reason_message;
	}
	if (n->event == EVENT_STARTED) {
		i.reachability = NULL;
		if (n->has_started || i.boot_count == 0)
			i.boot_count++;
		i.host_boot = n->host_boot;
		i.reason_code = i.reason_message = NULL;
		i.needs_sources = false;
	}
	return save(tx, &i, e);
}

int
instance_event(struct store *s, const struct instance_news *news, struct err *e)
{
	return store_write(s, take_news, (void *)news, e);
}

struct change {
	const char *id;
	uint64_t generation;
	const struct instance_step *step;
	const char *reachability;
	uint32_t reboot_done;
	bool has_changed;
};

/* "downloading image 'x' (40%)" and "... (60%)" are one step. */
static bool
is_same_step(const char *a, const char *b)
{
	size_t n = a ? strcspn(a, "(") : 0;

	return a && b && n == strcspn(b, "(") && strncmp(a, b, n) == 0;
}

static int
set_step(struct store_tx *tx, void *arg, struct err *e)
{
	const struct change *c = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_record i;
	int r = find_generation(tx, c->id, c->generation, arena, &i, e);

	if (r < 0)
		return r;
	if (strings_equal(i.step, c->step->step) && i.needs_sources == c->step->needs_sources &&
	    (!i.step || (strings_equal(i.waits_for, c->step->waits_for) &&
			    strings_equal(i.who, c->step->who))))
		return 0;
	if (!is_same_step(i.step, c->step->step))
		i.step_us = store_now_us(tx);
	i.step = c->step->step;
	i.waits_for = c->step->waits_for;
	i.who = c->step->who;
	i.needs_sources = c->step->needs_sources;
	return save(tx, &i, e);
}

int
instance_set_step(struct store *s, const char *instance_id, uint64_t generation,
    const struct instance_step *step, struct err *e)
{
	struct change c = { .id = instance_id, .generation = generation, .step = step };

	return store_write(s, set_step, &c, e);
}

struct export_change {
	const char *id;
	const struct export_report *report;
	bool needs_sources;
};

static int
set_export(struct store_tx *tx, void *arg, struct err *e)
{
	const struct export_change *c = arg;
	const struct export_report *x = c->report;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_record i;
	int r = find(tx, c->id, arena, &i, e);

	if (r < 0)
		return r;
	if (!i.export || strcmp(i.export->export_id, x->export_id) != 0)
		return err_set(e, ERR_STALE, "export '%s' is wanted no more", x->export_id);
	r = store_exec(tx, NC_EXPORT_PUT, NULL, e, i.instance_id, x->export_id, x->state,
	    (int64_t)x->progress, x->reason, (int64_t)x->size_bytes, (int64_t)x->archive_bytes);
	i.needs_sources = c->needs_sources;
	return r < 0 ? r : save(tx, &i, e);
}

int
instance_set_export(struct store *s, const char *instance_id, const struct export_report *report,
    bool needs_sources, struct err *e)
{
	struct export_change c = { instance_id, report, needs_sources };

	return store_write(s, set_export, &c, e);
}

static int
set_reachability(struct store_tx *tx, void *arg, struct err *e)
{
	struct change *c = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_record i;
	int r = find_generation(tx, c->id, c->generation, arena, &i, e);

	c->has_changed = false;
	if (r < 0 || i.state != INSTANCE_RUNNING || strings_equal(i.reachability, c->reachability))
		return r;
	c->has_changed = true;
	i.reachability = c->reachability;
	return save(tx, &i, e);
}

int
instance_set_reachability(struct store *s, const char *instance_id, uint64_t generation,
    const char *reachability, struct err *e)
{
	struct change c = {
		.id = instance_id, .generation = generation, .reachability = reachability
	};
	int r = store_write(s, set_reachability, &c, e);

	return r < 0 ? r : c.has_changed;
}

static int
set_rebooted(struct store_tx *tx, void *arg, struct err *e)
{
	const struct change *c = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_record i;
	int r = find_generation(tx, c->id, c->generation, arena, &i, e);

	if (r < 0)
		return r;
	i.reboot_done = c->reboot_done;
	i.step = NULL;
	return save(tx, &i, e);
}

int
instance_set_rebooted(struct store *s, const char *instance_id, uint64_t generation,
    uint32_t reboot_done, struct err *e)
{
	struct change c = {
		.id = instance_id, .generation = generation, .reboot_done = reboot_done
	};

	return store_write(s, set_rebooted, &c, e);
}

static int
forget(struct store_tx *tx, void *arg, struct err *e)
{
	const char *id = arg;
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct instance_record i;
	int r = find(tx, id, arena, &i, e);

	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	if (i.state != INSTANCE_TERMINATED)
		return err_set(e, ERR_CONFLICT, "instance '%s' is %s: it cannot be forgotten", id,
		    instance_state_to_string(i.state));
	r = store_exec(tx, NC_NICS_DELETE, NULL, e, id);
	if (r == 0)
		r = store_exec(tx, NC_EXPORT_DELETE, NULL, e, id);
	if (r == 0)
		r = store_exec(tx, NC_INSTANCE_DELETE, NULL, e, id);
	return r < 0 ? r : outbox_add(tx, INSTANCE_EVENT, id, i.spec->account_id, "gone", e);
}

int
instance_forget(struct store *s, const char *instance_id, struct err *e)
{
	return store_write(s, forget, (void *)instance_id, e);
}

static int
read_used(struct store_tx *tx, void *arg, struct err *e)
{
	return used(tx, "", arg, e);
}

int
instance_used(struct store *s, struct node_capacity *ret, struct err *e)
{
	return store_read(s, read_used, ret, e);
}

/* -- reports -- */

void
instance_to_report(
    const struct instance_record *i, const char *node_id, struct instance_report *ret)
{
	*ret = (struct instance_report){ .instance_id = i->instance_id,
		.generation = i->generation,
		.state = instance_state_to_string(i->state),
		.reason_code = i->reason_code,
		.reason_message = i->reason_message,
		.since = i->since_us,
		.has_since = true,
		.node_id = node_id,
		.step = i->step,
		.boot_count = i->boot_count,
		.has_boot_count = true,
		.needs_sources = i->needs_sources,
		.has_needs_sources = true,
		.step_since = i->step_us,
		.has_step_since = i->step && i->step_us,
		.waits_for = i->step ? i->waits_for : NULL,
		.who = i->step ? i->who : NULL,
		.reachability = reachability_of(i),
		.export = (struct export_report *)i->export };
}

struct reports {
	struct store *store;
	uint64_t epoch, revision;
	const char *node_id;
	struct arena *arena;
	struct report_set *ret;
	bool *ret_node_changed;
};

static int
report_all(struct store_tx *tx, struct reports *q, struct err *e)
{
	struct load l = { .arena = q->arena };
	int r = load_all(tx, &l, e);

	if (r < 0)
		return r;
	q->ret->instances.items =
	    arena_alloc(q->arena, (l.count + 1) * sizeof(*q->ret->instances.items));
	for (size_t i = 0; i < l.count; i++)
		instance_to_report(&l.ret[i], q->node_id, &q->ret->instances.items[i]);
	q->ret->instances.count = l.count;
	q->ret->complete = q->ret->has_complete = true;
	*q->ret_node_changed = true;
	return outbox_last(tx, &q->ret->revision, e);
}

static bool
is_last_of_its_kind(const struct outbox_event *events, size_t count, size_t at)
{
	for (size_t i = at + 1; i < count; i++)
		if (is(events[i].id, events[at].id) && is(events[i].kind, events[at].kind))
			return false;
	return true;
}

static int
report_one(struct store_tx *tx, struct reports *q, const char *id, struct err *e)
{
	struct instance_report *out = &q->ret->instances.items[q->ret->instances.count];
	struct instance_record i;
	int r = find(tx, id, q->arena, &i, e);

	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		*out = (struct instance_report){
			.instance_id = id, .state = "gone", .node_id = q->node_id
		};
	} else if (r < 0)
		return r;
	else
		instance_to_report(&i, q->node_id, out);
	q->ret->instances.count++;
	return 0;
}

static int
report_since(struct store_tx *tx, void *arg, struct err *e)
{
	struct reports *q = arg;
	struct outbox_event *events;
	size_t count = 0;
	bool has_gap = false;
	int r;

	*q->ret = (struct report_set){ .epoch = store_epoch(q->store), .revision = q->revision };
	*q->ret_node_changed = false;
	if (q->epoch != q->ret->epoch)
		return report_all(tx, q, e);
	r = outbox_read(tx, q->revision, EVENTS_MAX, q->arena, &events, &count, &has_gap, e);
	if (r < 0)
		return r;
	if (has_gap)
		return report_all(tx, q, e);
	q->ret->instances.items =
	    arena_alloc(q->arena, (count + 1) * sizeof(*q->ret->instances.items));
	for (size_t i = 0; i < count; i++) {
		q->ret->revision = events[i].revision;
		if (is(events[i].kind, NODE_EVENT))
			*q->ret_node_changed = true;
		else if (is_last_of_its_kind(events, count, i)) {
			r = report_one(tx, q, events[i].id, e);
			if (r < 0)
				return r;
			*q->ret_node_changed = true; /* what is used of it */
		}
	}
	return 0;
}

int
instance_reports_since(struct store *s, uint64_t epoch, uint64_t revision, const char *node_id,
    struct arena *arena, struct report_set *ret, bool *ret_node_changed, struct err *e)
{
	struct reports q = { s, epoch, revision, node_id, arena, ret, ret_node_changed };

	return store_read(s, report_since, &q, e);
}

struct node_news {
	const char *node_id, *what;
};

static int
tell_node(struct store_tx *tx, void *arg, struct err *e)
{
	const struct node_news *n = arg;

	return outbox_add(tx, NODE_EVENT, n->node_id, "", n->what, e);
}

int
node_changed(struct store *s, const char *node_id, const char *what, struct err *e)
{
	struct node_news n = { node_id, what };

	return store_write(s, tell_node, &n, e);
}
