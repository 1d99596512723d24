/* Links to the nodes. What a node has not been told is in rows; a run tells it, networks first, and
 * marks a row only if it is still what was sent. What a node reports is made durable before it is
 * asked for more.
 *
 * All that depends on whether a node answers is done by its one reconciler: so what was seen
 * earlier never overtakes what was seen later, and a step that fails is tried again. What instances
 * a node has lost is asked there, too, between orders: nothing can then be on its way to the node
 * unseen. */
#include "link.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/vec.h"
#include "run/lock.h"

#include "instance.h"
#include "node.h"
#include "power.h"

#include "rpc/cc.handlers.h"

#define PUT_INTERVAL_MS 5000
#define PUT_BATCH 32
#define CALL_MS 10000

struct node {
	struct list link;
	struct cc *cc;
	char *node_id, *url;
	struct rpc_peer *rpc;
	struct reconciler *put;
	struct changes_reader *reader;
	struct lock lock;
	/* under lock */
	bool must_welcome, must_compare;
	/* of the reconciler alone */
	uint64_t heard_ms;
	bool is_marked;
	uint64_t idle_ms;     /* since when nothing was there; 0: something is */
	uint64_t slept_ms;    /* when it was put to sleep; 0: before this daemon began */
	uint64_t woken_ms;    /* when it was last called to wake */
	uint64_t no_sleep_ms; /* it could not be put to sleep: not before */
	bool has_fallen;      /* it was silent once since it was put to sleep */
};

struct cc_nodes {
	struct cc *cc;
	struct lock lock;
	struct list nodes; /* under lock */
	/* Under lock: their peers are freed at the end, because calls may be under way. */
	struct list retired;
	struct reconciler *refresh;
};

/* -- telling a node -- */

struct put_batch {
	struct node *node;
	struct arena *arena;
	struct vpc_spec vpcs[PUT_BATCH];
	size_t vpc_count;
	struct cc_instance instances[PUT_BATCH];
	size_t instance_count;
};

static int
read_batch(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *vpcs = NULL, *instances = NULL;
	struct put_batch *b = arg;
	int r = store_query(tx, Q_VPCS_TO_PUT, &vpcs, e, b->node->node_id, (int64_t)PUT_BATCH);

	b->vpc_count = b->instance_count = 0;
	while (r >= 0 && b->vpc_count < PUT_BATCH && (r = store_next(vpcs, e)) > 0)
		r = cc_from_text(
		    &vpc_spec_shape, store_text(vpcs, 2), b->arena, &b->vpcs[b->vpc_count++], e);
	if (r >= 0)
		r = store_query(
		    tx, Q_INSTANCES_TO_PUT, &instances, e, b->node->node_id, (int64_t)PUT_BATCH);
	while (r >= 0 && b->instance_count < PUT_BATCH && (r = store_next(instances, e)) > 0)
		cc_instance_read(instances, b->arena, &b->instances[b->instance_count++]);
	return r < 0 ? r : 0;
}

struct mark {
	struct node *node;
	const struct vpc_spec *vpc;
	const struct cc_instance *instance;
	bool is_lost;
};

static int
mark_vpc(struct store_tx *tx, void *arg, struct err *e)
{
	const struct mark *m = arg;

	return store_exec(tx, Q_VPC_PUT_SET, NULL, e, m->vpc->vpc_id, m->node->node_id,
	    (int64_t)m->vpc->revision);
}

static int
mark_instance(struct store_tx *tx, void *arg, struct err *e)
{
	const struct mark *m = arg;
	const struct cc_instance *i = m->instance;
	int64_t changed = 0;
	int r =
	    store_exec(tx, Q_INSTANCE_PUT_DONE, &changed, e, i->instance_id, i->serial, i->to_put);

	if (r == 0 && changed && m->is_lost)
		return cc_instance_lost(tx, i, e);
	if (r < 0 || changed == 0 || i->to_put != PUT_FORGET)
		return r;
	return store_exec(tx, Q_INSTANCE_DELETE, NULL, e, i->instance_id);
}

/* The state in the answer is not used: it comes through Changes as well, and there in order. */
static int
send_spec(
    struct node *n, const struct cc_instance *i, bool must_end, struct arena *arena, struct err *e)
{
	struct rpc_context context = { .account_id = i->account_id };
	struct instance_report report = { 0 };
	struct instance_spec spec = { 0 };
	struct nc_put_instance_in in = { .spec = &spec };
	int r = cc_instance_spec(i, arena, &spec, e);

	if (r < 0)
		return r;
	if (must_end)
		spec.wanted = "terminated";
	return rpc_call(n->rpc, &nc_put_instance, &context, &in, &report, arena, CALL_MS, e);
}

/* What failed to start is wanted to run still, as far as its node knows: it is ended first. The
 * node refuses to forget it until that is done, and is asked again. */
static int
send_forget(struct node *n, const struct cc_instance *i, struct arena *arena, struct err *e)
{
	struct rpc_context context = { .account_id = i->account_id };
	struct nc_forget_instance_in in = { .instance_id = i->instance_id };
	struct empty nothing = { 0 };
	int r = 0;

	if (strcmp(i->wanted, "terminated") != 0 && i->holds != HOLDS_NOTHING)
		r = send_spec(n, i, true, arena, e);
	return r < 0 ? r
		     : rpc_call(
			   n->rpc, &nc_forget_instance, &context, &in, &nothing, arena, CALL_MS, e);
}

static int
put_instance(struct node *n, const struct cc_instance *i, struct arena *arena, struct err *e)
{
	struct mark m = { .node = n, .instance = i };
	int r = i->to_put == PUT_FORGET ? send_forget(n, i, arena, e)
					: send_spec(n, i, false, arena, e);

	/* The node is ahead, and its news say where; or it has lost what it had. Saying it again is
	 * no use. */
	m.is_lost = r == ERR_NOT_FOUND && i->to_put == PUT_SPEC;
	if (r == ERR_STALE || m.is_lost) {
		log_warn(n->cc->log, "instance.refused", "instance=%s node=%s reason=\"%s\"",
		    i->instance_id, n->node_id, e->text);
		err_clear(e);
		r = 0;
	}
	if (r < 0)
		return err_wrap(e, "instance '%s'", i->instance_id);
	return store_write(n->cc->store, mark_instance, &m, e);
}

static int
put_all(struct node *n, struct put_batch *b, struct err *e)
{
	struct err first = { 0 };
	int r;

	for (size_t k = 0; k < b->vpc_count; k++) {
		struct nc_put_vpc_in in = { .vpc = &b->vpcs[k] };
		struct nc_put_vpc_out out = { 0 };
		struct mark m = { .node = n, .vpc = &b->vpcs[k] };

		r = rpc_call(n->rpc, &nc_put_vpc, NULL, &in, &out, b->arena, CALL_MS, e);
		if (r == 0)
			r = store_write(n->cc->store, mark_vpc, &m, e);
		if (r < 0)
			return err_wrap(e, "VPC '%s'", b->vpcs[k].vpc_id);
	}
	for (size_t k = 0; k < b->instance_count; k++) {
		struct err one = { 0 };

		r = put_instance(n, &b->instances[k], b->arena, &one);
		if (r < 0 && !first.code)
			first = one;
		if (r == ERR_UNAVAILABLE || r == ERR_TIMEOUT)
			break;
	}
	if (first.code)
		*e = first;
	return first.code;
}

/* -- whether it answers, and what it has lost -- */

struct node_write {
	const char *node_id;
	const char *why;
	struct node_report report;
	struct report_set set;
	size_t lost;
};

static int
write_silence(struct store_tx *tx, void *arg, struct err *e)
{
	const struct node_write *w = arg;

	return cc_node_set_silent(tx, w->node_id, w->why, e);
}

static int
write_answer(struct store_tx *tx, void *arg, struct err *e)
{
	const struct node_write *w = arg;

	return cc_node_answers(tx, w->node_id, &w->report, e);
}

static int
write_comparison(struct store_tx *tx, void *arg, struct err *e)
{
	struct node_write *w = arg;

	return cc_node_compare(tx, w->node_id, &w->set, &w->lost, e);
}

/* A cut link shows only by silence: a node is asked well before it counts as silent. */
static uint32_t
probe_ms(const struct node *n)
{
	uint32_t ms = n->cc->conf->silent_after_ms / 3;

	return ms < 500 ? 500 : ms > PUT_INTERVAL_MS ? PUT_INTERVAL_MS : ms;
}

static bool
take_flag(struct node *n, bool *flag)
{
	bool was_set;

	LOCK_SCOPE(&n->lock);
	was_set = *flag;
	*flag = false;
	return was_set;
}

static void
set_flag(struct node *n, bool *flag)
{
	LOCK_SCOPE(&n->lock);
	*flag = true;
}

static int
compare(struct node *n, struct arena *arena, struct err *e)
{
	struct node_write w = { .node_id = n->node_id };
	struct changes_since everything = { .epoch = 0 };
	int r = rpc_call(n->rpc, &nc_changes, NULL, &everything, &w.set, arena, CALL_MS, e);

	if (r == 0)
		r = store_write(n->cc->store, write_comparison, &w, e);
	if (r == 0 && w.lost)
		log_warn(
		    n->cc->log, "node.lost_instances", "node=%s count=%zu", n->node_id, w.lost);
	return r;
}

static int
mark_silent(struct node *n, const char *why, struct err *e)
{
	struct node_write w = { .node_id = n->node_id, .why = why };
	int r;

	if (n->is_marked || clock_monotonic_ms() - n->heard_ms < n->cc->conf->silent_after_ms)
		return 0;
	r = store_write(n->cc->store, write_silence, &w, e);
	if (r < 0)
		return r;
	n->is_marked = true;
	set_flag(n, &n->must_welcome);
	log_warn(n->cc->log, "node.silent", "node=%s reason=\"%s\"", n->node_id, why);
	return 0;
}

static int
check_node(struct node *n, struct arena *arena, struct err *e)
{
	struct node_write w = { .node_id = n->node_id };
	struct empty nothing = { 0 };
	struct err unwritten = { 0 };
	int r =
	    rpc_call(n->rpc, &nc_describe_node, NULL, &nothing, &w.report, arena, probe_ms(n), e);

	if (r < 0) {
		if (mark_silent(n, e->text, &unwritten) < 0)
			*e = unwritten;
		return e->code;
	}
	n->heard_ms = clock_monotonic_ms();
	n->is_marked = false;
	if (take_flag(n, &n->must_welcome)) {
		r = store_write(n->cc->store, write_answer, &w, e);
		if (r < 0)
			set_flag(n, &n->must_welcome);
	}
	if (r == 0 && take_flag(n, &n->must_compare)) {
		r = compare(n, arena, e);
		if (r < 0)
			set_flag(n, &n->must_compare);
	}
	return r;
}

/* -- sleeping and waking -- */

#define SETTLE_MS 20000 /* how long a node may answer yet after it was put to sleep */
#define WAKE_AGAIN_MS 10000
#define POWER_AGAIN_MS 1000
#define SLEEP_MS 45000
#define NO_SLEEP_MS (600 * 1000)

struct power_step {
	const char *node_id;
	struct arena *arena;
	struct cc_power now;
	const char *why;
	bool is_done;
};

static int
read_power(struct store_tx *tx, void *arg, struct err *e)
{
	struct power_step *s = arg;

	return cc_power_read(tx, s->node_id, s->arena, &s->now, e);
}

static int
write_fall(struct store_tx *tx, void *arg, struct err *e)
{
	struct power_step *s = arg;

	return cc_power_fall(tx, s->node_id, &s->is_done, e);
}

static int
write_rise(struct store_tx *tx, void *arg, struct err *e)
{
	const struct power_step *s = arg;

	return cc_power_rise(tx, s->node_id, s->why, e);
}

static int
write_waking(struct store_tx *tx, void *arg, struct err *e)
{
	const struct power_step *s = arg;
	int r = cc_power_begin_waking(tx, s->node_id, e);

	return r < 0 ? r : cc_power_note_waiting(tx, s->node_id, e);
}

static int
write_waiting(struct store_tx *tx, void *arg, struct err *e)
{
	const struct power_step *s = arg;

	return cc_power_note_waiting(tx, s->node_id, e);
}

static int
write_give_up(struct store_tx *tx, void *arg, struct err *e)
{
	struct power_step *s = arg;

	return cc_power_give_up(tx, s->node_id, s->why, &s->is_done, e);
}

/* Whether it is down for sure, so that an answer means that it woke and a call to wake is heard. */
static bool
is_down(const struct node *n)
{
	return n->has_fallen || clock_monotonic_ms() - n->slept_ms > SETTLE_MS;
}

static int
give_up(struct node *n, struct power_step *s, struct err *e)
{
	int r;

	s->why =
	    arena_printf(s->arena, "did not wake within %u s", n->cc->conf->wake_timeout_ms / 1000);
	log_warn(n->cc->log, "node.not_woken", "node=%s after_ms=%u", n->node_id,
	    n->cc->conf->wake_timeout_ms);
	r = store_write(n->cc->store, write_give_up, s, e);
	if (r == 0) {
		n->is_marked = true;
		set_flag(n, &n->must_welcome);
		cc_nodes_poke(n->cc, NULL); /* where they went */
	}
	return r;
}

static void
call_to_wake(struct node *n, struct power_step *s)
{
	struct err why = { 0 };

	if (n->woken_ms && clock_monotonic_ms() - n->woken_ms < WAKE_AGAIN_MS)
		return;
	n->woken_ms = clock_monotonic_ms();
	if (cc_power_wake(n->cc->conf, &s->now.node, &why) < 0)
		log_warn(n->cc->log, "node.wake", "node=%s error=\"%s\"", n->node_id, why.text);
	else
		log_info(n->cc->log, "node.wake", "node=%s mac=%s", n->node_id,
		    s->now.node.mac ? s->now.node.mac : "-");
}

/* It answers though it counts as asleep: it woke, by our call or by somebody's hand. */
static int
rise(struct node *n, struct power_step *s, const char *why, struct err *e)
{
	int r;

	s->why = why;
	r = store_write(n->cc->store, write_rise, s, e);
	if (r < 0)
		return r;
	s->now.node.power_order = NULL; /* carried out */
	n->has_fallen = false;
	n->woken_ms = n->idle_ms = 0;
	n->heard_ms = clock_monotonic_ms();
	set_flag(n, &n->must_welcome);
	log_info(n->cc->log, "node.awake", "node=%s", n->node_id);
	return 0;
}

/* What is asleep, or being woken, is not asked like others: that it does not answer is no news. */
static int
power_before(
    struct node *n, struct power_step *s, bool *ret_asleep, uint32_t *ret_again_ms, struct err *e)
{
	const struct cc_node *row = &s->now.node;
	bool is_waking = strcmp(row->power, "waking") == 0;
	struct node_report report;
	struct empty nothing = { 0 };
	struct err silence = { 0 };
	int r = 0;

	if (strcmp(row->power, "awake") == 0)
		return 0;
	*ret_asleep = true;
	*ret_again_ms = POWER_AGAIN_MS;
	if (!is_waking && (s->now.is_needed || strings_equal(row->power_order, "awake"))) {
		is_waking = true;
		n->woken_ms = 0;
		r = store_write(n->cc->store, write_waking, s, e);
	} else if (is_waking) {
		r = store_write(n->cc->store, write_waiting, s, e);
	}
	if (r < 0)
		return r;
	if (is_waking && is_down(n))
		call_to_wake(n, s);
	if (rpc_call(n->rpc, &nc_describe_node, NULL, &nothing, &report, s->arena, probe_ms(n),
		&silence) == 0) {
		if (!is_down(n)) /* it is still on its way to sleep */
			return 0;
		*ret_asleep = false;
		return rise(n, s, NULL, e);
	}
	n->has_fallen = true;
	if (!is_waking)
		*ret_again_ms = probe_ms(n);
	else if (strcmp(row->power, "waking") == 0 &&
		 clock_now_us() - row->power_us > n->cc->conf->wake_timeout_ms * INT64_C(1000))
		return give_up(n, s, e);
	return 0;
}

static bool
may_sleep(struct node *n, const struct cc_power *p)
{
	uint64_t now = clock_monotonic_ms();
	bool is_ordered = strings_equal(p->node.power_order, "asleep");
	struct err why = { 0 };

	if (p->is_needed || strings_equal(p->node.power_order, "awake"))
		n->idle_ms = 0;
	else if (!n->idle_ms)
		n->idle_ms = now;
	if (p->is_needed || (!is_ordered && (!p->saves || p->node.is_maintained)))
		return false;
	if (!is_ordered && (now < n->no_sleep_ms || !n->idle_ms ||
			       now - n->idle_ms < n->cc->conf->power_idle_after_ms))
		return false;
	return cc_power_can_wake(n->cc->conf, &p->node, &why) == 0;
}

/* Asks it to sleep. When it refuses it is awake, and says why. */
static int
put_to_sleep(struct node *n, struct power_step *s, bool *ret_asleep, struct err *e)
{
	struct empty nothing = { 0 }, done;
	struct err why = { 0 };
	int r = store_write(n->cc->store, write_fall, s, e);

	if (r < 0 || !s->is_done)
		return r;
	log_info(n->cc->log, "node.sleep", "node=%s", n->node_id);
	n->has_fallen = false;
	n->slept_ms = clock_monotonic_ms();
	r = rpc_call(n->rpc, &nc_sleep, NULL, &nothing, &done, s->arena, SLEEP_MS, &why);
	/* An answer that is lost is no refusal: whether it sleeps will be seen. */
	*ret_asleep = r == 0 || r == ERR_UNAVAILABLE || r == ERR_TIMEOUT;
	if (*ret_asleep)
		return 0;
	log_warn(n->cc->log, "node.no_sleep", "node=%s error=\"%s\"", n->node_id, why.text);
	n->no_sleep_ms = clock_monotonic_ms() + NO_SLEEP_MS;
	return rise(n, s, arena_printf(s->arena, "it could not be put to sleep: %s", why.text), e);
}

/* It is awake and has answered. */
static int
power_after(
    struct node *n, struct power_step *s, bool *ret_asleep, uint32_t *ret_again_ms, struct err *e)
{
	int r = 0;

	if (may_sleep(n, &s->now))
		r = put_to_sleep(n, s, ret_asleep, e);
	else if (s->now.node.power_order)
		r = rise(n, s, s->now.node.power_reason, e);
	if (*ret_asleep)
		*ret_again_ms = POWER_AGAIN_MS;
	return r;
}

static int
put_node(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct put_batch *b = arena_alloc(arena, sizeof(*b));
	struct power_step power = { .arena = arena };
	struct node *n = arg;
	bool is_asleep = false;
	int r;

	power.node_id = n->node_id;
	r = store_read(n->cc->store, read_power, &power, e);
	if (r == 0)
		r = power_before(n, &power, &is_asleep, ret_again_ms, e);
	if (r < 0 || is_asleep)
		return r;
	r = check_node(n, arena, e);
	b->node = n;
	b->arena = arena;
	if (r == 0)
		r = power_after(n, &power, &is_asleep, ret_again_ms, e);
	if (r < 0 || is_asleep)
		return r;
	r = store_read(n->cc->store, read_batch, b, e);
	if (r < 0)
		return r;
	*ret_again_ms = probe_ms(n);
	if (b->vpc_count == PUT_BATCH || b->instance_count == PUT_BATCH)
		*ret_again_ms = 0;
	return put_all(n, b, e);
}

/* -- hearing from a node -- */

struct news {
	struct node *node;
	const struct report_set *set;
};

static int
write_news(struct store_tx *tx, void *arg, struct err *e)
{
	const struct news *news = arg;

	return cc_node_news(tx, news->node->node_id, news->set, e);
}

static int
apply_news(void *arg, const void *out, uint64_t *ret_epoch, uint64_t *ret_revision, struct err *e)
{
	struct node *n = arg;
	struct news news = { .node = n, .set = out };
	int r = store_write(n->cc->store, write_news, &news, e);

	if (r < 0)
		return r;
	*ret_epoch = news.set->epoch;
	*ret_revision = news.set->revision;
	if (news.set->complete) {
		set_flag(n, &n->must_compare);
		reconciler_poke(n->put);
	}
	return 0;
}

static void
link_changed(void *arg, bool up, const struct err *why)
{
	struct node *n = arg;

	set_flag(n, &n->must_welcome);
	if (up)
		log_info(n->cc->log, "node.up", "node=%s", n->node_id);
	else
		log_warn(n->cc->log, "node.down", "node=%s reason=\"%s\"", n->node_id,
		    why ? why->text : "");
	reconciler_poke(n->put);
}

/* -- the set of nodes -- */

static void
node_retire(struct node *n)
{
	changes_reader_free(TAKE(n->reader));
	reconciler_free(TAKE(n->put));
}

static void
node_free(struct node *n)
{
	node_retire(n);
	rpc_peer_free(n->rpc);
	lock_done(&n->lock);
	free(n->node_id);
	free(n->url);
	free(n);
}

static struct node *
node_new(struct cc *cc, const struct cc_node *row)
{
	_cleanup_free_ char *name = xasprintf("node %s", row->node_id);
	struct node *n = xcalloc(1, sizeof(*n));
	struct changes_reader_options options = { .operation = &nc_changes,
		.apply = apply_news,
		.link = link_changed,
		.arg = n,
		.epoch = (uint64_t)row->report_epoch,
		.revision = (uint64_t)row->report_revision };

	list_init(&n->link);
	n->cc = cc;
	n->node_id = xstrdup(row->node_id);
	n->url = xstrdup(row->url);
	n->heard_ms = clock_monotonic_ms();
	n->must_welcome = n->must_compare = true;
	lock_init(&n->lock, LOCK_STATE);
	n->rpc = rpc_peer_new(cc->rpc, row->node_id, "nc", row->url, NULL);
	n->put = reconciler_new(daemon_loop(cc->daemon), daemon_workers(cc->daemon), "cc", name,
	    PUT_INTERVAL_MS, put_node, n);
	n->reader = changes_reader_new(n->rpc, daemon_workers(cc->daemon), &options);
	return n;
}

struct found {
	struct arena *arena;
	struct cc_node_vec nodes;
};

static int
read_nodes(struct store_tx *tx, void *arg, struct err *e)
{
	struct found *found = arg;

	return cc_nodes_read(tx, found->arena, &found->nodes, e);
}

static bool
is_same(const struct node *n, const struct cc_node *row)
{
	return strcmp(n->node_id, row->node_id) == 0 && strcmp(n->url, row->url) == 0;
}

static bool
is_found(const struct found *found, const struct node *n)
{
	VEC_FOREACH (&found->nodes, row)
		if (is_same(n, row))
			return true;
	return false;
}

static bool
is_linked(struct cc_nodes *all, const struct cc_node *row)
{
	struct node *n, *following;

	LIST_FOREACH (&all->nodes, n, following, link)
		if (is_same(n, row))
			return true;
	return false;
}

/* On the loop, to which timers belong. */
static void
free_retired(void *arg)
{
	VEC(struct node) ended = { 0 }; /* only what is to be freed */
	struct cc_nodes *all = arg;
	struct node *n, *following;

	lock_take(&all->lock);
	LIST_FOREACH (&all->retired, n, following, link) {
		struct node parts = { .reader = TAKE(n->reader), .put = TAKE(n->put) };

		vec_add(&ended, parts);
	}
	lock_release(&all->lock);
	VEC_FOREACH (&ended, parts)
		node_retire(parts);
	vec_done(&ended);
}

/* Only this one changes the list. Links end and begin without the lock: that may take a while. */
static int
refresh(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct found found = { .arena = arena };
	struct cc_nodes *all = arg;
	struct node *n, *following;
	int r = store_read(all->cc->store, read_nodes, &found, e);
	bool has_retired = false;

	LIST_FOREACH (&all->nodes, n, following, link) {
		if (r < 0 || is_found(&found, n))
			continue;
		lock_take(&all->lock);
		list_remove(&n->link);
		lock_release(&all->lock);
		changes_reader_stop(n->reader);
		reconciler_stop(n->put);
		lock_take(&all->lock);
		list_add_tail(&all->retired, &n->link);
		lock_release(&all->lock);
		has_retired = true;
	}
	VEC_FOREACH (&found.nodes, row) {
		if (r < 0 || is_linked(all, row))
			continue;
		n = node_new(all->cc, row);
		lock_take(&all->lock);
		list_add_tail(&all->nodes, &n->link);
		lock_release(&all->lock);
	}
	if (has_retired)
		loop_post(daemon_loop(all->cc->daemon), free_retired, all);
	vec_done(&found.nodes);
	return r;
}

int
cc_nodes_new(struct cc *cc, struct cc_nodes **ret, struct err *e)
{
	struct cc_nodes *all = xcalloc(1, sizeof(*all));

	all->cc = cc;
	lock_init(&all->lock, LOCK_PEERS);
	list_init(&all->nodes);
	list_init(&all->retired);
	*ret = cc->nodes = all;
	all->refresh = reconciler_new(daemon_loop(cc->daemon), daemon_workers(cc->daemon), "cc",
	    "nodes", 60000, refresh, all);
	return 0;
}

void
cc_nodes_free(struct cc_nodes *all)
{
	struct node *n, *following;

	if (!all)
		return;
	reconciler_free(all->refresh);
	LIST_FOREACH (&all->nodes, n, following, link)
		node_free(n);
	LIST_FOREACH (&all->retired, n, following, link)
		node_free(n);
	lock_done(&all->lock);
	free(all);
}

void
cc_nodes_poke(struct cc *cc, const char *node_id)
{
	struct cc_nodes *all = cc->nodes;
	struct node *n, *following;

	LOCK_SCOPE(&all->lock);
	LIST_FOREACH (&all->nodes, n, following, link)
		if (n->put && (!node_id || strcmp(n->node_id, node_id) == 0))
			reconciler_poke(n->put);
}

int
cc_nodes_console(struct cc *cc, struct rpc_request *rq, const char *node_id,
    const char *instance_id, struct cc_get_console_output_out *out, struct err *e)
{
	struct rpc_context context = { .request_id = rq->addressing->request_id,
		.account_id = rq->addressing->account_id };
	struct nc_get_console_output_in in = { .instance_id = instance_id };
	struct nc_get_console_output_out reply = { 0 };
	struct rpc_peer *peer = NULL;
	struct node *n, *following;
	int r;

	lock_take(&cc->nodes->lock);
	LIST_FOREACH (&cc->nodes->nodes, n, following, link)
		if (strcmp(n->node_id, node_id) == 0)
			peer = n->rpc;
	lock_release(&cc->nodes->lock);
	if (!peer)
		return err_set(
		    e, ERR_UNAVAILABLE, "node '%s' is no longer part of this zone", node_id);
	r = rpc_call(peer, &nc_get_console_output, &context, &in, &reply, rq->arena, CALL_MS, e);
	if (r < 0)
		return r;
	out->output = reply.output;
	out->has_at = reply.has_at;
	out->at = reply.at;
	return 0;
}

/* -- PutNodes, DescribeNodes, SetNodePower -- */

int
cc_handle_set_node_power(
    struct rpc_request *rq, const struct cc_set_node_power_in *in, struct empty *out, struct err *e)
{
	struct cc *cc = rq->state;
	int r = cc_power_order(cc, in->node_id, in->power, e);

	if (r == 0)
		cc_nodes_poke(cc, in->node_id);
	return r;
}

static int
write_set(struct store_tx *tx, void *arg, struct err *e)
{
	return cc_nodes_set(tx, arg, e);
}

int
cc_handle_put_nodes(
    struct rpc_request *rq, const struct cc_put_nodes_in *in, struct empty *out, struct err *e)
{
	struct cc *cc = rq->state;
	int r = store_write(cc->store, write_set, (void *)in, e);

	if (r == 0)
		reconciler_poke(cc->nodes->refresh);
	return r;
}

int
cc_handle_describe_nodes(struct rpc_request *rq, const struct empty *in,
    struct cc_describe_nodes_out *out, struct err *e)
{
	struct found found = { .arena = rq->arena };
	struct cc *cc = rq->state;
	int r = store_read(cc->store, read_nodes, &found, e);

	out->nodes.count = found.nodes.count;
	out->nodes.items =
	    arena_alloc(rq->arena, (found.nodes.count + 1) * sizeof(*out->nodes.items));
	for (size_t i = 0; i < found.nodes.count; i++)
		cc_node_to_report(&found.nodes.items[i], &out->nodes.items[i]);
	vec_done(&found.nodes);
	return r;
}
