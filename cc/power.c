/* Sleeping and waking nodes. That a node falls asleep is decided in a transaction which sees that
 * nothing runs on it or is on its way to it; from then on it counts as asleep, before it is asked
 * to. So a launch either comes first, and the node stays awake, or comes after, and wakes it. */
#include "power.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/vec.h"
#include "net/url.h"
#include "run/cmd.h"
#include "run/fd.h"

#include "instance.h"

#define WAKE_COMMAND_MS 20000
#define WAKE_PORT 9

int
cc_power_read(struct store_tx *tx, const char *node_id, struct arena *arena, struct cc_power *ret,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *node = NULL, *busy = NULL, *policy = NULL;
	int r = store_query_one(tx, Q_NODE_BY_ID, &node, "node", e, node_id);

	*ret = (struct cc_power){ 0 };
	if (r == 0)
		cc_node_read(node, arena, &ret->node);
	if (r == 0)
		r = store_query_one(tx, Q_NODE_NEEDED, &busy, "count of instances", e, node_id);
	if (r == 0)
		r = store_query(tx, Q_PLACEMENT_POLICY, &policy, e);
	if (r == 0)
		r = store_next(policy, e);
	if (r < 0)
		return r;
	ret->is_needed = store_int(busy, 0) > 0;
	ret->saves = r > 0 && strcmp(store_text(policy, 0), "power-save") == 0;
	return 0;
}

static int
set_power(struct store_tx *tx, const char *node_id, const char *power, const char *why,
    int64_t *ret_changed, struct err *e)
{
	int r = store_exec(tx, Q_NODE_POWER, ret_changed, e, node_id, power, store_now_us(tx), why);

	return r < 0 || !*ret_changed ? r : outbox_add(tx, "node", node_id, NULL, power, e);
}

int
cc_power_fall(struct store_tx *tx, const char *node_id, bool *ret_done, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct cc_power p;
	int64_t changed = 0;
	int r = cc_power_read(tx, node_id, arena, &p, e);

	*ret_done = false;
	if (r == 0)
		r = store_exec(tx, Q_NODE_POWER_ORDER, NULL, e, node_id, NULL);
	if (r < 0 || p.is_needed || strcmp(p.node.power, "awake") != 0)
		return r;
	r = set_power(tx, node_id, "asleep", NULL, &changed, e);
	*ret_done = changed > 0;
	return r;
}

int
cc_power_rise(struct store_tx *tx, const char *node_id, const char *why, struct err *e)
{
	int64_t changed;
	int r = set_power(tx, node_id, "awake", why, &changed, e);

	return r < 0 ? r : store_exec(tx, Q_NODE_POWER_ORDER, NULL, e, node_id, NULL);
}

int
cc_power_begin_waking(struct store_tx *tx, const char *node_id, struct err *e)
{
	int64_t changed;

	return set_power(tx, node_id, "waking", NULL, &changed, e);
}

/* -- what waits -- */

typedef VEC(struct cc_instance) instance_vec;

static int
read_waiting(
    struct store_tx *tx, const char *node_id, struct arena *arena, instance_vec *ret, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	int r = store_query(tx, Q_INSTANCES_WAITING, &rows, e, node_id);

	while (r >= 0 && (r = store_next(rows, e)) > 0) {
		struct cc_instance i;

		cc_instance_read(rows, arena, &i);
		vec_add(ret, i);
	}
	return r;
}

int
cc_power_note_waiting(struct store_tx *tx, const char *node_id, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const char *what = arena_printf(arena, "node %s to wake", node_id);
	instance_vec all = { 0 };
	int r = read_waiting(tx, node_id, arena, &all, e);

	VEC_FOREACH (&all, i) {
		if (r < 0)
			break;
		if (strings_equal(i->waits_for, what))
			continue;
		r = store_exec(tx, Q_INSTANCE_STEP, NULL, e, i->instance_id,
		    arena_printf(arena, "waiting for %s", what), store_now_us(tx), what, "cloud",
		    NULL);
		if (r == 0)
			r = outbox_add(tx, "instance", i->instance_id, i->account_id, i->state, e);
	}
	vec_done(&all);
	return r;
}

int
cc_power_give_up(
    struct store_tx *tx, const char *node_id, const char *why, bool *ret_moved, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	instance_vec all = { 0 };
	int64_t changed;
	int r = read_waiting(tx, node_id, arena, &all, e);

	*ret_moved = all.count > 0;
	/* Silent first: what is placed again is not placed here. */
	if (r == 0)
		r = set_power(tx, node_id, "awake", NULL, &changed, e);
	if (r == 0)
		r = cc_node_set_silent(tx, node_id, why, e);
	VEC_FOREACH (&all, i) {
		if (r < 0)
			break;
		r = cc_instance_move(
		    tx, i, arena_printf(arena, "node '%s' %s", node_id, why), arena, e);
	}
	vec_done(&all);
	return r;
}

/* -- orders -- */

struct order {
	const struct cc_conf *conf;
	const char *node_id, *power;
};

static int
write_order(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct order *o = arg;
	struct cc_power p;
	int r = cc_power_read(tx, o->node_id, arena, &p, e);

	if (r == 0 && p.node.is_removed)
		r = err_set(e, ERR_NOT_FOUND, "node '%s' is not of this zone", o->node_id);
	if (r == 0 && strcmp(o->power, "asleep") == 0) {
		if (p.is_needed)
			return err_set(e, ERR_CONFLICT,
			    "node '%s' is needed: instances run there or are on their way",
			    o->node_id);
		r = cc_power_can_wake(o->conf, &p.node, e);
	}
	return r < 0 ? r : store_exec(tx, Q_NODE_POWER_ORDER, NULL, e, o->node_id, o->power);
}

int
cc_power_order(struct cc *cc, const char *node_id, const char *power, struct err *e)
{
	struct order o = { cc->conf, node_id, power };

	return store_write(cc->store, write_order, &o, e);
}

/* -- waking -- */

int
cc_power_can_wake(const struct cc_conf *conf, const struct cc_node *n, struct err *e)
{
	if (conf->wake_command[0] || n->mac)
		return 0;
	return err_set(e, ERR_UNSUPPORTED,
	    "nothing could wake node '%s': no wake_command is configured, and it has told no "
	    "hardware address",
	    n->node_id);
}

/* Words may hold {node}, {mac} and {address}, each more than once. */
static void
expand(struct str word, const struct cc_node *n, const char *address, struct strbuf *out)
{
	const struct {
		const char *name, *value;
	} names[] = { { "{node}", n->node_id }, { "{mac}", n->mac ? n->mac : "" },
		{ "{address}", address } };

	while (word.n) {
		size_t used = 0;

		for (size_t i = 0; !used && i < ARRAY_SIZE(names); i++)
			if (str_starts(word, names[i].name)) {
				strbuf_adds(out, names[i].value);
				used = strlen(names[i].name);
			}
		if (!used) {
			strbuf_addc(out, *word.p);
			used = 1;
		}
		word = (struct str){ word.p + used, word.n - used };
	}
}

static int
run_command(const struct cc_conf *conf, const struct cc_node *n, struct err *e)
{
	struct str rest = str_of(conf->wake_command), word;
	_cleanup_(cmd_freep) struct cmd *c = NULL;
	struct url url;
	int r = url_parse(n->url, &url, e);

	if (r < 0)
		return r;
	while (str_split(&rest, ' ', &word)) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

		if (!word.n)
			continue;
		expand(word, n, url.host, &text);
		if (c)
			cmd_add(c, strbuf_c(&text));
		else
			c = cmd_new(strbuf_c(&text));
	}
	return c ? cmd_run(c, WAKE_COMMAND_MS, NULL, e)
		 : err_set(e, ERR_INVALID, "wake_command is empty");
}

static int
magic_packet(const char *mac, uint8_t out[102], struct err *e)
{
	unsigned m[6];

	if (sscanf(mac, "%2x:%2x:%2x:%2x:%2x:%2x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6)
		return err_set(e, ERR_INVALID, "'%.40s' is no hardware address", mac);
	memset(out, 0xff, 6);
	for (size_t i = 6; i < 102; i++)
		out[i] = (uint8_t)m[i % 6];
	return 0;
}

/* "10.0.0.255", "10.0.0.255:7" */
static int
parse_broadcast(const char *text, struct sockaddr_in *ret, struct err *e)
{
	struct str rest = str_of(text), address = { 0 };
	_cleanup_free_ char *copy = NULL;
	uint32_t port = WAKE_PORT;

	(void)str_split(&rest, ':', &address);
	copy = str_dup(address);
	*ret = (struct sockaddr_in){ .sin_family = AF_INET };
	if (inet_pton(AF_INET, copy, &ret->sin_addr) != 1 ||
	    (rest.n && (!str_to_u32(rest, &port) || port == 0 || port > 65535)))
		return err_set(e, ERR_INVALID,
		    "wake_broadcast '%.40s' is no IPv4 address, alone or with a port", text);
	ret->sin_port = htons((uint16_t)port);
	return 0;
}

static int
send_packet(const struct cc_conf *conf, const struct cc_node *n, struct err *e)
{
	struct sockaddr_in to;
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint8_t packet[102];
	int on = 1, r = magic_packet(n->mac, packet, e);

	if (r == 0)
		r = parse_broadcast(conf->wake_broadcast, &to, e);
	if (r < 0)
		return r;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)) < 0)
		return err_set_errno(e, errno, "cannot make a socket to wake '%s'", n->node_id);
	if (sendto(fd, packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		return err_set_errno(
		    e, errno, "cannot send to '%s' to wake '%s'", conf->wake_broadcast, n->node_id);
	return 0;
}

int
cc_power_wake(const struct cc_conf *conf, const struct cc_node *n, struct err *e)
{
	int r = cc_power_can_wake(conf, n, e);

	if (r < 0)
		return r;
	return conf->wake_command[0] ? run_command(conf, n, e) : send_packet(conf, n, e);
}
