/* Why something is as it is. What is shown is decided from rows and links at the moment of asking,
 * so it is never older than they are. The first cause comes first: a zone that does not answer is
 * the reason of all that waits for it, whatever was heard of it before. */
#include "why.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/vec.h"

#include "zone.h"

#define OFF_MAX 1000 /* instances shown at once */

enum who { NOBODY, CLOUD, ADMINISTRATOR, USER };
static const char *const whos[] = { "nobody", "cloud", "administrator", "user" };

enum reason {
#define REASON(name, code, who, meaning, remedy) REASON_##name,
#include "reasons.def"
#undef REASON
};
static const struct {
	const char *code;
	enum who who;
	const char *meaning, *remedy;
} reasons[] = {
#define REASON(name, code, who, meaning, remedy) { code, who, meaning, remedy },
#include "reasons.def"
#undef REASON
};

static enum reason
reason_of(const char *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (strings_equal(reasons[i].code, code))
			return (enum reason)i;
	return REASON_OTHER;
}

/* `reason` and `waits_for` NULL: what the table says. */
static void
set(struct clc_why *w, enum reason n, const char *reason, const char *waits_for)
{
	w->code = reasons[n].code;
	w->reason = reason ? reason : reasons[n].meaning;
	w->waits_for = waits_for                  ? waits_for
		       : reasons[n].who == NOBODY ? "nothing"
						  : reasons[n].remedy;
	w->who = whos[reasons[n].who];
}

static const char *
when(int64_t us, struct arena *arena)
{
	char text[TIME_TEXT_SIZE];

	time_format_iso(us, text);
	return arena_printf(arena, "%.19sZ", text);
}

/* -- zones -- */

static const char *
controller(const struct clc_zone_view *z, struct arena *arena)
{
	return arena_printf(arena, "cluster controller %s of zone %s", z->cc_id, z->zone);
}

/* True, and *ret set, when the zone itself is why nothing moves. */
static bool
blames_zone(const struct clc_zone_view *z, struct arena *arena, struct clc_why *ret)
{
	if (!z->cc_id[0]) {
		ret->since_us = z->made_us;
		set(ret, REASON_ZONE_WITHOUT_CONTROLLER,
		    arena_printf(arena, "zone %s has no cluster controller", z->zone),
		    arena_printf(arena, "a cluster controller to join zone %s", z->zone));
		return true;
	}
	if (!z->cc.is_listed || !z->cc.is_known || z->cc.is_up)
		return false;
	ret->since_us = z->cc.since_us;
	set(ret, REASON_ZONE_UNREACHABLE,
	    arena_printf(arena, "waiting for %s, which does not answer since %s: %s",
		controller(z, arena), when(z->cc.since_us, arena), z->cc.why),
	    controller(z, arena));
	return true;
}

/* What keeps the zone from being told. */
static void
why_untold(const struct clc_zone_view *z, struct arena *arena, struct clc_why *ret)
{
	if (z->put.is_paused) {
		set(ret, REASON_PAUSED, NULL,
		    arena_printf(arena, "mallee-admin reconcilers resume 'zone %s'", z->zone));
	} else if (z->put.last_error.code) {
		ret->since_us = z->put.since_us;
		set(ret, REASON_ZONE_REFUSES,
		    arena_printf(arena, "zone %s could not be told what is wanted since %s: %s",
			z->zone, when(z->put.since_us, arena), z->put.last_error.text),
		    NULL);
	} else {
		set(ret, REASON_TELLING, NULL, controller(z, arena));
	}
}

void
clc_why_zone(
    const struct clc_zone_view *z, int64_t nodes_up, struct arena *arena, struct clc_why *ret)
{
	*ret = (struct clc_why){ .id = z->zone,
		.wanted = "available",
		.state = "impaired",
		.since_us = z->made_us,
		.is_off = true };
	if (blames_zone(z, arena, ret)) {
		ret->state = "unavailable";
	} else if (z->put.is_paused || z->put.last_error.code) {
		why_untold(z, arena, ret);
	} else if (!z->cc.is_up) {
		set(ret, REASON_PEER_NOT_CALLED, NULL, controller(z, arena));
	} else if (nodes_up == 0) {
		set(ret, REASON_ZONE_WITHOUT_NODES,
		    arena_printf(arena, "no node of zone %s is up", z->zone), NULL);
	} else {
		ret->state = "available";
		ret->since_us = z->cc.since_us;
		ret->is_off = false;
		set(ret, REASON_AS_WANTED, NULL, NULL);
	}
}

/* -- instances -- */

static const char *
node_words(const struct clc_instance *i, struct arena *arena)
{
	return arena_printf(arena, "node %s", i->node_id);
}

static bool
blames_node(const struct clc_instance *i, const struct clc_node_view *n, struct arena *arena,
    struct clc_why *ret)
{
	if (i->is_unreachable) {
		if (n && n->seen_us)
			ret->since_us = n->seen_us;
		set(ret, REASON_UNREACHABLE,
		    arena_printf(arena,
			"the node '%s' is silent since %s%s%s; the state shown is the last one "
			"known",
			i->node_id ? i->node_id : "", when(ret->since_us, arena),
			n && n->reason ? ": " : "", n && n->reason ? n->reason : ""),
		    i->node_id ? node_words(i, arena) : NULL);
		return true;
	}
	if (!n || !strings_equal(n->state, "degraded"))
		return false;
	ret->since_us = n->since_us;
	set(ret, REASON_NODE_DEGRADED,
	    arena_printf(arena, "the node '%s' cannot do its work since %s: %s", i->node_id,
		when(n->since_us, arena), n->reason ? n->reason : "it does not say why"),
	    node_words(i, arena));
	return true;
}

/* The zone and the node do what they were told. */
static void
why_under_way(const struct clc_instance *i, const struct clc_zone_view *z, struct arena *arena,
    struct clc_why *ret)
{
	enum reason n = i->state == INSTANCE_STOPPING        ? REASON_STOPPING
			: i->state == INSTANCE_SHUTTING_DOWN ? REASON_TERMINATING
							     : REASON_STARTING;

	if (!i->step && !i->node_id) {
		set(ret, REASON_ZONE_SILENT,
		    arena_printf(arena, "zone %s has been told and has not answered yet", z->zone),
		    controller(z, arena));
	} else if (!i->step) {
		set(ret, REASON_NODE_QUIET,
		    arena_printf(arena, "%s has been told and has not said yet what it does",
			node_words(i, arena)),
		    node_words(i, arena));
	} else {
		if (i->step_us)
			ret->since_us = i->step_us;
		set(ret, n, i->step, i->node_id ? node_words(i, arena) : controller(z, arena));
	}
	if (i->waits_for)
		ret->waits_for = i->waits_for;
	if (i->who)
		ret->who = i->who;
}

/* It is what is wanted now, though perhaps not what was wanted first. */
static void
why_settled(const struct clc_instance *i, struct clc_why *ret)
{
	enum reason n = i->reason_code ? reason_of(i->reason_code) : REASON_AS_WANTED;

	set(ret, n, i->reason_message, NULL);
	if (i->reason_code)
		ret->code = i->reason_code;
}

void
clc_why_instance(const struct clc_instance *i, const struct clc_zone_view *z,
    const struct clc_node_view *node, struct arena *arena, struct clc_why *ret)
{
	bool is_told = i->to_put != PUT_SPEC;

	*ret = (struct clc_why){ .id = i->instance_id,
		.state = instance_state_to_string(i->state),
		.wanted = i->wanted,
		.since_us = i->state_us };
	ret->is_off = strcmp(ret->state, i->wanted) != 0 || !is_told ||
		      (i->is_unreachable && i->state != INSTANCE_TERMINATED);
	if (!ret->is_off)
		why_settled(i, ret);
	else if (blames_zone(z, arena, ret))
		return;
	else if (!is_told)
		why_untold(z, arena, ret);
	else if (!blames_node(i, node, arena, ret))
		why_under_way(i, z, arena, ret);
}

/* -- what is known -- */

static int
look_at_zone(struct store_tx *tx, struct clc *clc, const char *name, struct arena *arena,
    struct clc_zone_view *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL, *cc = NULL;
	_cleanup_free_ char *reconciler = xasprintf("zone %s", name);
	int r = store_query(tx, Q_WHY_ZONE, &rows, e, name);

	*ret = (struct clc_zone_view){ .zone = arena_strdup(arena, name) };
	if (r == 0)
		r = store_next(rows, e);
	if (r > 0)
		ret->made_us = store_int(rows, 1);
	if (r >= 0)
		r = store_query(tx, Q_PEER_OF_ZONE, &cc, e, "cc", name);
	if (r == 0)
		r = store_next(cc, e);
	if (r <= 0)
		return r;
	snprintf(ret->cc_id, sizeof(ret->cc_id), "%s", store_text(cc, 0));
	if (clc->peers)
		clc_peers_look(clc->peers, ret->cc_id, &ret->cc);
	(void)reconciler_look(reconciler, &ret->put);
	return 0;
}

/* 1: there is one of that id. */
static int
look_at_node(struct store_tx *tx, const char *node_id, struct arena *arena, const char **ret_zone,
    struct clc_node_view *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_WHY_NODE, &rows, e, node_id);

	*ret = (struct clc_node_view){ 0 };
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	*ret_zone = arena_strdup(arena, store_text(rows, 0));
	ret->state = arena_strdup(arena, store_text(rows, 1));
	ret->reason = arena_strdup(arena, store_text(rows, 2));
	ret->seen_us = store_int(rows, 3);
	ret->since_us = store_int(rows, 4);
	ret->maintenance_us = store_int(rows, 5);
	ret->maintenance_reason = arena_strdup(arena, store_text(rows, 6));
	return 1;
}

static int
explain_instance(struct store_tx *tx, struct clc *clc, struct clc_why_zone *zone,
    const struct clc_instance *i, struct arena *arena, struct clc_why *ret, struct err *e)
{
	struct clc_node_view node;
	const char *ignored;
	int r = 0, has_node = 0;

	if (strcmp(zone->name, i->zone) != 0) {
		r = look_at_zone(tx, clc, i->zone, arena, &zone->view, e);
		snprintf(zone->name, sizeof(zone->name), "%s", r == 0 ? i->zone : "");
		zone->view.zone = zone->name; /* the arena may be of this instance only */
	}
	if (r == 0 && i->node_id)
		r = has_node = look_at_node(tx, i->node_id, arena, &ignored, &node, e);
	if (r < 0)
		return r;
	clc_why_instance(i, &zone->view, has_node ? &node : NULL, arena, ret);
	return 0;
}

/* -- by kind: 1 when there is one of that id, 0 when not -- */

struct kind;
typedef int (*look_fn)(struct store_tx *tx, struct clc *clc, const struct kind *kind,
    const char *id, struct arena *arena, struct clc_why *ret, struct err *e);

struct kind {
	const char *prefix; /* of ids */
	look_fn look;
	unsigned query; /* of look_at_row */
};

static int
look_at_instance(struct store_tx *tx, struct clc *clc, const struct kind *kind, const char *id,
    struct arena *arena, struct clc_why *ret, struct err *e)
{
	struct clc_why_zone zone = { 0 };
	struct clc_instance i;
	int r = clc_instance_load(tx, NULL, id, arena, &i, e);

	if (r == ERR_INSTANCE_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r == 0)
		r = explain_instance(tx, clc, &zone, &i, arena, ret, e);
	return r < 0 ? r : 1;
}

static int
look_at_row(struct store_tx *tx, struct clc *clc, const struct kind *kind, const char *id,
    struct arena *arena, struct clc_why *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	const char *code;
	int r = store_query(tx, kind->query, &rows, e, id);

	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	code = arena_strdup(arena, store_text(rows, 3));
	*ret = (struct clc_why){ .id = arena_strdup(arena, id),
		.state = arena_strdup(arena, store_text(rows, 0)),
		.wanted = arena_strdup(arena, store_text(rows, 1)),
		.since_us = store_int(rows, 2) };
	ret->is_off = strcmp(ret->state, ret->wanted) != 0;
	set(ret, code ? reason_of(code) : REASON_AS_WANTED,
	    arena_strdup(arena, store_text(rows, 4)), NULL);
	if (code)
		ret->code = code;
	return 1;
}

/* What its zones have not been told is explained by the first of them that keeps it waiting. */
static int
look_at_vpc(struct store_tx *tx, struct clc *clc, const struct kind *kind, const char *id,
    struct arena *arena, struct clc_why *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = look_at_row(tx, clc, kind, id, arena, ret, e), zones;

	if (r <= 0 || !ret->is_off)
		return r;
	zones = store_query(tx, Q_WHY_VPC_ZONES, &rows, e, id);
	while (zones >= 0 && (zones = store_next(rows, e)) > 0) {
		struct clc_zone_view zone;

		zones = look_at_zone(tx, clc, store_text(rows, 0), arena, &zone, e);
		if (zones < 0)
			return zones;
		if (!blames_zone(&zone, arena, ret))
			why_untold(&zone, arena, ret);
		if (strcmp(ret->who, whos[CLOUD]) != 0)
			break;
	}
	return zones < 0 ? zones : r;
}

static void
why_node(const char *id, const struct clc_node_view *node, const struct clc_zone_view *zone,
    struct arena *arena, struct clc_why *ret)
{
	*ret = (struct clc_why){ .id = id,
		.state = node->state,
		.wanted = "up",
		.since_us = node->since_us,
		.is_off = true };
	if (blames_zone(zone, arena, ret))
		return;
	if (strcmp(node->state, "up") == 0 && node->maintenance_us) {
		ret->is_off = false; /* it is as the administrator wants it */
		ret->since_us = node->maintenance_us;
		set(ret, REASON_NODE_MAINTENANCE,
		    arena_printf(arena, "it is in maintenance and takes no new instances%s%s",
			node->maintenance_reason ? ": " : "",
			node->maintenance_reason ? node->maintenance_reason : ""),
		    NULL);
	} else if (strcmp(node->state, "up") == 0) {
		ret->is_off = false;
		set(ret, REASON_AS_WANTED, NULL, NULL);
	} else if (strcmp(node->state, "silent") == 0) {
		ret->since_us = node->seen_us ? node->seen_us : node->since_us;
		set(ret, REASON_NODE_SILENT,
		    arena_printf(arena, "it does not answer %s since %s%s%s",
			controller(zone, arena), when(ret->since_us, arena),
			node->reason ? ": " : "", node->reason ? node->reason : ""),
		    arena_printf(arena, "node %s", id));
	} else {
		set(ret, REASON_NODE_DEGRADED,
		    node->reason ? arena_printf(arena, "it cannot do its work since %s: %s",
				       when(node->since_us, arena), node->reason)
				 : NULL,
		    arena_printf(arena, "node %s", id));
	}
}

/* A daemon that the clc itself calls. */
static void
why_peer(const char *id, const char *role, const struct clc_peer_view *peer, int64_t joined_us,
    struct arena *arena, struct clc_why *ret)
{
	*ret = (struct clc_why){ .id = id,
		.state = peer->is_up ? "up" : "down",
		.wanted = "up",
		.since_us = peer->since_us ? peer->since_us : joined_us,
		.is_off = !peer->is_up };
	if (peer->is_up)
		set(ret, REASON_AS_WANTED, NULL, NULL);
	else if (!peer->is_listed || !peer->is_known)
		set(ret, REASON_PEER_NOT_CALLED, NULL, arena_printf(arena, "%s %s", role, id));
	else
		set(ret, REASON_PEER_DOWN,
		    arena_printf(arena, "it does not answer at %s since %s: %s", peer->url,
			when(peer->since_us, arena), peer->why),
		    arena_printf(arena, "%s %s", role, id));
}

static int
look_at_peer(struct store_tx *tx, struct clc *clc, const struct kind *kind, const char *id,
    struct arena *arena, struct clc_why *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct clc_node_view node;
	struct clc_zone_view zone_view;
	struct clc_peer_view peer = { 0 };
	const char *role, *zone, *name = arena_strdup(arena, id);
	int r = store_query(tx, Q_WHY_PEER, &rows, e, id);
	int64_t expires_us;

	if (r == 0)
		r = store_next(rows, e);
	if (r < 0)
		return r;
	if (r > 0) {
		role = arena_strdup(arena, store_text(rows, 0));
		expires_us = store_int(rows, 4);
		if (expires_us < store_now_us(tx)) {
			*ret = (struct clc_why){ .id = name,
				.state = "expired",
				.wanted = "up",
				.since_us = expires_us,
				.is_off = true };
			set(ret, REASON_CERTIFICATE_EXPIRED, NULL, NULL);
			return 1;
		}
	}
	if (r > 0 && strcmp(role, "nc") != 0) {
		if (clc->peers)
			clc_peers_look(clc->peers, id, &peer);
		why_peer(name, role, &peer, store_int(rows, 3), arena, ret);
		return 1;
	}
	if (r > 0) { /* until its zone names it */
		*ret = (struct clc_why){ .id = name,
			.state = "joined",
			.wanted = "up",
			.since_us = store_int(rows, 3),
			.is_off = true };
		zone = arena_strdup(arena, store_text(rows, 1));
		r = look_at_zone(tx, clc, zone, arena, &zone_view, e);
		if (r < 0)
			return r;
		if (!blames_zone(&zone_view, arena, ret))
			set(ret, REASON_NODE_UNKNOWN, NULL, controller(&zone_view, arena));
		r = 1;
	}
	int found = look_at_node(tx, id, arena, &zone, &node, e);

	if (found <= 0)
		return found < 0 ? found : r;
	r = look_at_zone(tx, clc, zone, arena, &zone_view, e);
	if (r < 0)
		return r;
	why_node(name, &node, &zone_view, arena, ret);
	return 1;
}

static int
look_at_named_zone(struct store_tx *tx, struct clc *clc, const struct kind *kind, const char *id,
    struct arena *arena, struct clc_why *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL, *nodes = NULL;
	struct clc_zone_view zone;
	int r = store_query(tx, Q_WHY_ZONE, &rows, e, id);

	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	r = look_at_zone(tx, clc, id, arena, &zone, e);
	if (r == 0)
		r = store_query_one(tx, Q_ZONE_NODES_UP, &nodes, "count of nodes", e, id);
	if (r < 0)
		return r;
	clc_why_zone(&zone, store_int(nodes, 0), arena, ret);
	return 1;
}

/* A kind whose state stands in its row is one line here and one statement. The last two have ids of
 * any form. */
static const struct kind kinds[] = {
	{ "i-", look_at_instance, 0 },
	{ "ami-", look_at_row, Q_WHY_IMAGE },
	{ "aki-", look_at_row, Q_WHY_IMAGE },
	{ "ari-", look_at_row, Q_WHY_IMAGE },
	{ "vpc-", look_at_vpc, Q_WHY_VPC },
	{ "subnet-", look_at_row, Q_WHY_SUBNET },
	{ "sg-", look_at_row, Q_WHY_GROUP },
	{ "eni-", look_at_row, Q_WHY_INTERFACE },
	{ "key-", look_at_row, Q_WHY_KEY_PAIR },
	{ "r-", look_at_row, Q_WHY_RESERVATION },
	{ "lt-", look_at_row, Q_WHY_TEMPLATE },
	{ "pg-", look_at_row, Q_WHY_PLACEMENT_GROUP },
	{ "bun-", look_at_row, Q_WHY_BUNDLE },
	{ "", look_at_peer, 0 },
	{ "", look_at_named_zone, 0 },
};

int
clc_why_of(struct store_tx *tx, struct clc *clc, const char *id, struct arena *arena,
    struct clc_why *ret, struct err *e)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		int r;

		if (!str_starts(str_of(id), kinds[k].prefix))
			continue;
		r = kinds[k].look(tx, clc, &kinds[k], id, arena, ret, e);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return err_set(e, ERR_NOT_FOUND, "there is nothing named '%.100s' here", id);
}

/* -- lines -- */

static void
add_age(int64_t us, struct strbuf *out)
{
	long long s = us / 1000000;

	if (s < 0)
		s = 0;
	if (s < 120)
		strbuf_addf(out, "%lld s", s);
	else if (s < 7200)
		strbuf_addf(out, "%lld min", s / 60);
	else if (s < 2 * 86400)
		strbuf_addf(out, "%lld h", s / 3600);
	else
		strbuf_addf(out, "%lld days", s / 86400);
}

void
clc_why_format(const struct clc_why *w, struct strbuf *out)
{
	char since[TIME_TEXT_SIZE];

	time_format_iso(w->since_us, since);
	strbuf_addf(out,
	    "id         %s\n"
	    "state      %s\n"
	    "wanted     %s\n"
	    "code       %s\n"
	    "reason     %s\n"
	    "since      %s (",
	    w->id, w->state, w->wanted, w->code, w->reason, since);
	add_age(clock_now_us() - w->since_us, out);
	strbuf_addf(out,
	    ")\n"
	    "waits_for  %s\n"
	    "who        %s\n",
	    w->waits_for, w->who);
}

static void
add_if_off(const struct clc_why *w, struct strbuf *out)
{
	if (!w->is_off)
		return;
	if (out->n)
		strbuf_addc(out, '\n');
	clc_why_format(w, out);
}

/* The first column of the statement's rows names what is looked at. */
static int
add_named(struct store_tx *tx, struct clc *clc, unsigned query, look_fn look,
    const struct kind *kind, struct arena *arena, struct strbuf *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, query, &rows, e);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_why why;
		int found = look(tx, clc, kind, store_text(rows, 0), arena, &why, e);

		if (found < 0)
			return found;
		if (found > 0)
			add_if_off(&why, out);
	}
	return r;
}

static int
add_instances(
    struct store_tx *tx, struct clc *clc, struct arena *arena, struct strbuf *out, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	struct clc_why_zone zone = { 0 };
	int r = store_query(tx, Q_WHY_INSTANCES_OFF, &rows, e, (int64_t)OFF_MAX + 1), count = 0;

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct clc_instance i;
		struct clc_why why;

		if (count++ == OFF_MAX) {
			strbuf_addf(out, "\nthere are more instances than the %d shown\n", OFF_MAX);
			return 0;
		}
		clc_instance_read(rows, arena, &i);
		r = explain_instance(tx, clc, &zone, &i, arena, &why, e);
		if (r == 0)
			add_if_off(&why, out);
	}
	return r;
}

int
clc_why_all(
    struct store_tx *tx, struct clc *clc, struct arena *arena, struct strbuf *out, struct err *e)
{
	static const struct kind vpc = { "vpc-", look_at_vpc, Q_WHY_VPC },
				 image = { "ami-", look_at_row, Q_WHY_IMAGE },
				 bundle = { "bun-", look_at_row, Q_WHY_BUNDLE };
	int r;

	strbuf_reset(out);
	r = add_named(tx, clc, Q_ZONES, look_at_named_zone, NULL, arena, out, e);
	if (r == 0)
		r = add_named(tx, clc, Q_PEERS, look_at_peer, NULL, arena, out, e);
	if (r == 0) /* their certificates may be gone: nodes that did not leave */
		r = add_named(tx, clc, Q_WHY_NODES_LEFT, look_at_peer, NULL, arena, out, e);
	if (r == 0)
		r = add_named(tx, clc, Q_WHY_VPCS_OFF, look_at_vpc, &vpc, arena, out, e);
	if (r == 0)
		r = add_named(tx, clc, Q_WHY_IMAGES_OFF, look_at_row, &image, arena, out, e);
	if (r == 0)
		r = add_named(tx, clc, Q_WHY_BUNDLES_OFF, look_at_row, &bundle, arena, out, e);
	if (r == 0)
		r = add_instances(tx, clc, arena, out, e);
	if (r == 0 && !out->n)
		strbuf_adds(out, "everything is as it should be\n");
	return r;
}

int
clc_why_state_reason(struct store_tx *tx, struct clc *clc, struct clc_why_zone *zone,
    const struct clc_instance *i, struct arena *arena, struct instance *out, struct err *e)
{
	bool is_pending = i->state == INSTANCE_PENDING && !i->reason_code;
	struct clc_why why;
	int r;

	if (i->state == INSTANCE_TERMINATED || (!is_pending && !i->is_unreachable))
		return 0;
	r = explain_instance(tx, clc, zone, i, arena, &why, e);
	if (r < 0)
		return r;
	out->state_reason = arena_alloc(arena, sizeof(*out->state_reason));
	out->state_reason->code = i->is_unreachable ? why.code : "pending";
	out->state_reason->message =
	    i->is_unreachable ? arena_printf(arena, "%s: %s", why.code, why.reason) : why.reason;
	return 0;
}
