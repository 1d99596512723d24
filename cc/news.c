/* What the cc tells the clc: Changes out of the outbox, and networks passed on. */
#include "news.h"

#include "base/vec.h"

#include "instance.h"
#include "node.h"

#include "rpc/cc.handlers.h"

#define EVENTS_MAX 500

const struct service *
cc_service_served(void)
{
	return &cc_served;
}

struct news {
	struct cc *cc;
	struct arena *arena;
	const struct changes_since *since;
	struct report_set *out;
	VEC(struct instance_report) instances;
	VEC(struct node_report) nodes;
};

static void
add_instance(struct news *n, struct store_rows *rows)
{
	struct instance_report report;
	struct cc_instance i;

	cc_instance_read(rows, n->arena, &i);
	cc_instance_to_report(&i, &report);
	vec_add(&n->instances, report);
}

static void
add_node(struct news *n, struct store_rows *rows)
{
	struct node_report report;
	struct cc_node node;

	cc_node_read(rows, n->arena, &node);
	cc_node_to_report(&node, &report);
	vec_add(&n->nodes, report);
}

static int
read_all(struct store_tx *tx, struct news *n, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *instances = NULL, *nodes = NULL;
	int r = store_query(tx, Q_INSTANCES, &instances, e);

	while (r >= 0 && (r = store_next(instances, e)) > 0)
		add_instance(n, instances);
	if (r == 0)
		r = store_query(tx, Q_NODES, &nodes, e);
	while (r >= 0 && (r = store_next(nodes, e)) > 0)
		add_node(n, nodes);
	n->out->has_complete = n->out->complete = true;
	return r;
}

static bool
came_before(const struct outbox_event *events, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(events[k].kind, events[i].kind) == 0 && strcmp(events[k].id, events[i].id) == 0)
			return true;
	return false;
}

static int
read_one(struct store_tx *tx, struct news *n, const struct outbox_event *event, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	bool is_instance = strcmp(event->kind, "instance") == 0;
	int r = store_query(tx, is_instance ? Q_INSTANCE_BY_ID : Q_NODE_BY_ID, &rows, e, event->id);

	if (r == 0)
		r = store_next(rows, e);
	if (r > 0 && is_instance)
		add_instance(n, rows);
	else if (r > 0)
		add_node(n, rows);
	return r < 0 ? r : 0;
}

static int
read_news(struct store_tx *tx, void *arg, struct err *e)
{
	struct news *n = arg;
	struct outbox_event *events = NULL;
	size_t count = 0;
	uint64_t last = 0;
	bool gap = false;
	int r = outbox_last(tx, &last, e);

	n->instances.count = n->nodes.count = 0;
	n->out->epoch = store_epoch(n->cc->store);
	n->out->revision = last;
	if (r == 0 && n->since->epoch != n->out->epoch)
		return read_all(tx, n, e);
	if (r == 0)
		r = outbox_read(tx, n->since->revision, EVENTS_MAX, n->arena, &events, &count, &gap, e);
	if (r == 0 && gap)
		return read_all(tx, n, e);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (!came_before(events, i))
			r = read_one(tx, n, &events[i], e);
	if (count)
		n->out->revision = events[count - 1].revision;
	return r;
}

int
cc_handle_changes(struct rpc_request *rq, const struct changes_since *in, struct report_set *out,
    struct err *e)
{
	struct cc *cc = rq->state;
	struct news n = { .cc = cc, .arena = rq->arena, .since = in, .out = out };
	int r;

	if (in->epoch == store_epoch(cc->store) && changes_park(cc->changes, rq, in->epoch, in->revision))
		return 0;
	r = store_read(cc->store, read_news, &n, e);
	out->instances.count = n.instances.count;
	out->instances.items =
	    arena_memdup(rq->arena, n.instances.items, n.instances.count * sizeof(*n.instances.items));
	out->nodes.count = n.nodes.count;
	out->nodes.items = arena_memdup(rq->arena, n.nodes.items, n.nodes.count * sizeof(*n.nodes.items));
	vec_done(&n.instances);
	vec_done(&n.nodes);
	return r;
}

static int
write_vpc(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const struct vpc_spec *vpc = arg;

	cc_text_of(&vpc_spec_shape, vpc, &text);
	return store_exec(tx, Q_VPC_PUT, NULL, e, vpc->vpc_id, (int64_t)vpc->revision, strbuf_c(&text));
}

int
cc_handle_put_vpc(struct rpc_request *rq, const struct cc_put_vpc_in *in, struct empty *out,
    struct err *e)
{
	struct cc *cc = rq->state;
	int r = store_write(cc->store, write_vpc, in->vpc, e);

	if (r == 0)
		cc_nodes_poke(cc, NULL);
	return r;
}
