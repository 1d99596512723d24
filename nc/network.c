/* Networks of this node: what the zone wants (VPC specs in the store) against what the helper was
 * told.
 *
 * Only the reconciler "networks" applies VPCs, so that revisions cannot overtake each other;
 * instances wait until their VPC is there. The kernel keeps everything over our death and the
 * helper's, and applying is idempotent, so after a start (ours or the helper's) everything is
 * simply applied again. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "base/strbuf.h"
#include "nc.h"
#include "run/fd.h"

#define HELPER_TIMEOUT_MS 15000

/* -- parsing -- */

static bool
parse_address(const char *text, struct in_addr *ret)
{
	return inet_pton(AF_INET, text, ret) == 1;
}

static bool
parse_cidr(const char *text, struct in_addr *ret_network, uint8_t *ret_prefix)
{
	struct str rest = str_of(text), part;
	char address[INET_ADDRSTRLEN];
	uint32_t prefix, mask;

	if (!str_split(&rest, '/', &part) || part.n >= sizeof(address) || !rest.p ||
	    !str_to_u32(rest, &prefix) || prefix > 32)
		return false;
	memcpy(address, part.p, part.n);
	address[part.n] = 0;
	if (!parse_address(address, ret_network))
		return false;
	mask = prefix ? htonl(~0u << (32 - prefix)) : 0;
	ret_network->s_addr &= mask;
	*ret_prefix = (uint8_t)prefix;
	return true;
}

static bool
parse_mac(const char *text, uint8_t mac[6])
{
	struct str rest = str_of(text), part;
	unsigned i = 0;

	while (str_split(&rest, ':', &part)) {
		size_t n;

		if (i == 6 || part.n != 2 || !hex_decode(part, &mac[i], 1, &n))
			return false;
		i++;
	}
	return i == 6;
}

static int
parse_interface(const struct network_interface *in, struct helper_nic *ret, struct err *e)
{
	struct in_addr subnet;

	*ret = (struct helper_nic){ 0 };
	if (!parse_mac(in->mac, ret->mac))
		return err_set(e, ERR_INVALID, "interface '%s': '%s' is no MAC address",
		    in->interface_id, in->mac);
	if (!parse_address(in->private_ip, &ret->address))
		return err_set(e, ERR_INVALID, "interface '%s': '%s' is no address",
		    in->interface_id, in->private_ip);
	if (!parse_cidr(in->subnet_cidr, &subnet, &ret->subnet_prefix))
		return err_set(e, ERR_INVALID, "interface '%s': '%s' is no subnet",
		    in->interface_id, in->subnet_cidr);
	if (in->public_ip && in->public_ip[0] &&
	    !parse_address(in->public_ip, &ret->public_address))
		return err_set(e, ERR_INVALID, "interface '%s': '%s' is no address",
		    in->interface_id, in->public_ip);
	if (in->group_ids.count > ARRAY_SIZE(ret->groups))
		return err_set(e, ERR_LIMIT, "interface '%s' is in more than %zu groups",
		    in->interface_id, ARRAY_SIZE(ret->groups));
	ret->gateway.s_addr = htonl(ntohl(subnet.s_addr) + 1);
	return 0;
}

int
nc_network_check(const struct instance_spec *spec, struct err *e)
{
	struct helper_nic ignored;
	int r = 0;

	if (spec->interfaces.count > HELPER_NICS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d interfaces", HELPER_NICS_MAX);
	for (size_t i = 0; r == 0 && i < spec->interfaces.count; i++)
		r = parse_interface(&spec->interfaces.items[i], &ignored, e);
	return r;
}

/* -- what is applied -- */

static struct nc_vpc_live
live_vpc(struct nc *nc, const char *vpc_id)
{
	LOCK_SCOPE(&nc->lock);
	struct nc_vpc_live *live = map_find(nc->vpcs, vpc_id);

	return live ? *live : (struct nc_vpc_live){ 0 };
}

static void
set_live_vpc(struct nc *nc, const char *vpc_id, struct nc_vpc_live value)
{
	LOCK_SCOPE(&nc->lock);

	map_set(nc->vpcs, vpc_id, xmemdup(&value, sizeof(value)));
}

uint64_t
nc_network_applied(struct nc *nc, const char *vpc_id)
{
	return live_vpc(nc, vpc_id).revision;
}

void
nc_networks_forget_applied(struct nc *nc)
{
	{
		LOCK_SCOPE(&nc->lock);
		size_t cursor = 0;
		void *value;

		while (map_next(nc->vpcs, &cursor, NULL, &value))
			((struct nc_vpc_live *)value)->revision = 0;
	}
	reconciler_poke(nc->networks);
}

/* -- applying -- */

static int16_t
protocol_number(const char *text)
{
	uint16_t number;

	if (strcmp(text, "tcp") == 0)
		return IPPROTO_TCP;
	if (strcmp(text, "udp") == 0)
		return IPPROTO_UDP;
	if (strcmp(text, "icmp") == 0)
		return IPPROTO_ICMP;
	return str_to_u16(str_of(text), &number) && number < 256 ? (int16_t)number : -1;
}

static int
add_rule(struct nc *nc, const struct group_rule *in, struct strbuf *out, struct err *e)
{
	struct helper_rule rule = { .is_ingress = strcmp(in->direction, "ingress") == 0,
		.protocol = protocol_number(in->protocol),
		.from = in->from_port,
		.to = in->to_port };
	int r;

	if (!in->has_from_port)
		rule.from = -1;
	if (!in->has_to_port)
		rule.to = -1;
	if (in->group_id && in->group_id[0]) {
		r = group_index(nc->store, in->group_id, &rule.group, e);
		if (r < 0)
			return r;
	} else if (!in->cidr || !parse_cidr(in->cidr, &rule.network, &rule.prefix))
		return err_set(e, ERR_INVALID, "rule with neither a network nor a group: '%s'",
		    in->cidr ? in->cidr : "");
	strbuf_add(out, &rule, sizeof(rule));
	return 0;
}

static int
add_group(struct nc *nc, const struct security_group *in, struct strbuf *out, struct err *e)
{
	struct helper_group group = { .rule_count = (uint32_t)in->rules.count,
		.member_count = (uint32_t)in->members.count };
	int r = group_index(nc->store, in->group_id, &group.index, e);

	if (r < 0)
		return r;
	strbuf_add(out, &group, sizeof(group));
	for (size_t i = 0; i < in->rules.count; i++) {
		r = add_rule(nc, &in->rules.items[i], out, e);
		if (r < 0)
			return err_wrap(e, "group '%s'", in->group_id);
	}
	for (size_t i = 0; i < in->members.count; i++) {
		struct in_addr member;

		if (!parse_address(in->members.items[i], &member))
			return err_set(e, ERR_INVALID, "group '%s': member '%s' is no address",
			    in->group_id, in->members.items[i]);
		strbuf_add(out, &member, sizeof(member));
	}
	return 0;
}

static int
put_vpc(struct nc *nc, const struct vpc_spec *in, struct err *e)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct helper_vpc vpc = { .vni = in->vni, .group_count = (uint32_t)in->groups.count };
	uint8_t prefix;
	int r;

	if (!parse_cidr(in->cidr, &vpc.network, &prefix))
		return err_set(e, ERR_INVALID, "'%s' is no network", in->cidr);
	vpc.prefix = prefix;
	strbuf_add(&out, &vpc, sizeof(vpc));
	for (size_t i = 0; i < in->groups.count; i++) {
		r = add_group(nc, &in->groups.items[i], &out, e);
		if (r < 0)
			return r;
	}
	return helper_call(nc->helper, HELPER_VPC_PUT, out.p, out.n, HELPER_TIMEOUT_MS, NULL, e);
}

/* -- on the loop: the guests' services are its own -- */

struct loop_call {
	struct nc *nc;
	int (*fn)(struct loop_call *c, struct err *e);
	uint32_t vni;
	struct helper_reply *sockets;
	const struct guest_nic *nic;
	struct in_addr address;
	struct err err;
	int result;
};

/* What the loop is posted: it may outlive the caller, who gives up when the daemon stops and the
 * loop turns no more. */
struct loop_post {
	struct lock lock;
	pthread_cond_t ready;
	struct loop_call *call;  /* under lock; NULL: the caller has gone */
	bool has_begun, is_done; /* under lock */
};

static void
post_free(struct loop_post *p)
{
	lock_done(&p->lock);
	pthread_cond_destroy(&p->ready);
	free(p);
}

static void
run_on_loop(void *arg)
{
	struct loop_post *p = arg;
	struct loop_call *call;

	lock_take(&p->lock);
	call = p->call;
	p->has_begun = true;
	lock_release(&p->lock);
	if (!call) {
		post_free(p);
		return;
	}
	call->result = call->fn(call, &call->err);
	lock_take(&p->lock);
	p->is_done = true;
	pthread_cond_signal(&p->ready);
	lock_release(&p->lock);
}

static bool
is_ending(struct nc *nc)
{
	LOCK_SCOPE(&nc->lock);

	return nc->is_ending;
}

static int
call_on_loop(struct loop_call *c, struct err *e)
{
	struct loop_post *p = xcalloc(1, sizeof(*p));

	pthread_cond_init(&p->ready, NULL);
	lock_init(&p->lock, LOCK_LEAF);
	p->call = c;
	loop_post(c->nc->loop, run_on_loop, p);
	for (;;) {
		bool gives_up = is_ending(c->nc);

		lock_take(&p->lock);
		if (!p->is_done)
			(void)lock_wait(&p->lock, &p->ready, 200);
		if (p->is_done)
			break;
		if (gives_up && !p->has_begun) {
			p->call = NULL;
			lock_release(&p->lock);
			return err_set(e, ERR_CANCELLED, "the node controller stops");
		}
		lock_release(&p->lock);
	}
	lock_release(&p->lock);
	post_free(p);
	if (c->result < 0 && e)
		*e = c->err;
	return c->result;
}

static int
add_sockets(struct loop_call *c, struct err *e)
{
	int *fds = c->sockets->fds;

	c->sockets->fd_count = 0; /* taken, whatever happens */
	return guest_services_vpc_add(c->nc->services, c->vni, fds[0], fds[1], fds[2], fds[3], e);
}

static int
remove_vpc(struct loop_call *c, struct err *e)
{
	guest_services_vpc_remove(c->nc->services, c->vni);
	return 0;
}

static int
put_nic(struct loop_call *c, struct err *e)
{
	return guest_services_nic_put(c->nc->services, c->nic, e);
}

static int
remove_nic(struct loop_call *c, struct err *e)
{
	guest_services_nic_remove(c->nc->services, c->vni, c->address);
	return 0;
}

static int
open_sockets(struct nc *nc, uint32_t vni, struct err *e)
{
	_cleanup_helper_reply_ struct helper_reply reply = { 0 };
	struct helper_vpc_ref ref = { vni };
	struct loop_call call = { .nc = nc, .fn = add_sockets, .vni = vni, .sockets = &reply };
	int r;

	r = helper_call(
	    nc->helper, HELPER_VPC_SOCKETS, &ref, sizeof(ref), HELPER_TIMEOUT_MS, &reply, e);
	if (r < 0)
		return r;
	if (reply.fd_count != 4)
		return err_set(e, ERR_INTERNAL, "the helper sent %zu sockets", reply.fd_count);
	return call_on_loop(&call, e);
}

static int
apply(struct nc *nc, const struct vpc_spec *vpc, struct err *e)
{
	struct nc_vpc_live live = live_vpc(nc, vpc->vpc_id);
	int r;

	if (live.revision != vpc->revision) {
		r = put_vpc(nc, vpc, e);
		if (r < 0)
			return r;
	}
	if (!live.has_sockets) {
		r = open_sockets(nc, vpc->vni, e);
		if (r < 0)
			return r;
	}
	set_live_vpc(nc, vpc->vpc_id, (struct nc_vpc_live){ vpc->revision, true });
	log_info(nc->log, "vpc.applied", "vpc=%s vni=%u revision=%llu", vpc->vpc_id, vpc->vni,
	    (unsigned long long)vpc->revision);
	return 0;
}

static int
withdraw(struct nc *nc, const struct vpc_spec *vpc, struct err *e)
{
	struct helper_vpc_ref ref = { vpc->vni };
	struct loop_call call = { .nc = nc, .fn = remove_vpc, .vni = vpc->vni };
	int r;

	r = helper_call(
	    nc->helper, HELPER_VPC_REMOVE, &ref, sizeof(ref), HELPER_TIMEOUT_MS, NULL, e);
	if (r < 0)
		return r;
	r = call_on_loop(&call, e);
	set_live_vpc(nc, vpc->vpc_id, (struct nc_vpc_live){ vpc->revision, false });
	return r;
}

int
nc_networks_reconcile(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct nc *nc = arg;
	struct vpc_spec *vpcs;
	bool has_changed = false;
	size_t count;
	int r, result = 0;

	r = vpc_list(nc->store, arena, &vpcs, &count, e);
	if (r < 0 || !helper_client_is_up(nc->helper))
		return r; /* its coming back pokes us */
	for (size_t i = 0; i < count; i++) {
		struct nc_vpc_live live = live_vpc(nc, vpcs[i].vpc_id);

		if (live.revision == vpcs[i].revision && live.has_sockets != vpcs[i].deleted)
			continue;
		r = vpcs[i].deleted ? withdraw(nc, &vpcs[i], e) : apply(nc, &vpcs[i], e);
		if (r < 0)
			result = err_wrap(e, "VPC '%s'", vpcs[i].vpc_id);
		has_changed = true;
	}
	if (has_changed)
		nc_instances_news(nc);
	if (result < 0)
		*ret_again_ms = 1000;
	return result;
}

/* -- an instance's interfaces -- */

int
nc_network_is_ready(
    struct nc *nc, const struct instance_spec *spec, struct arena *arena, struct err *e)
{
	for (size_t i = 0; i < spec->interfaces.count; i++) {
		const char *vpc_id = spec->interfaces.items[i].vpc_id;
		struct vpc_spec vpc;
		int r = vpc_load(nc->store, vpc_id, arena, &vpc, e);

		if (r < 0)
			return r;
		if (!live_vpc(nc, vpc_id).has_sockets) {
			reconciler_poke(nc->networks);
			return err_set(e, ERR_UNAVAILABLE, "network '%s' is not ready", vpc_id);
		}
	}
	return 0;
}

int
nc_network_nics(struct nc *nc, const struct instance_spec *spec, struct arena *arena,
    struct helper_nic nics[HELPER_NICS_MAX], uint32_t *ret_count, struct err *e)
{
	uint32_t count = 0;
	int r = nc_network_check(spec, e);

	for (size_t i = 0; r == 0 && i < spec->interfaces.count; i++) {
		const struct network_interface *in = &spec->interfaces.items[i];
		struct helper_nic *nic = &nics[count];
		struct vpc_spec vpc;

		r = vpc_load(nc->store, in->vpc_id, arena, &vpc, e);
		if (r < 0)
			break;
		r = parse_interface(in, nic, e);
		nic->vni = vpc.vni;
		if (r == 0)
			r = nic_index(
			    nc->store, in->interface_id, spec->instance_id, &nic->index, e);
		for (size_t k = 0; r == 0 && k < in->group_ids.count; k++)
			r = group_index(
			    nc->store, in->group_ids.items[k], &nic->groups[nic->group_count++], e);
		count++;
	}
	if (r == 0)
		*ret_count = count;
	return r;
}

int
nc_network_serve(struct nc *nc, const struct instance_spec *spec, const struct helper_nic *nics,
    const uint32_t *ifindex, uint32_t count, struct err *e)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < count; i++) {
		struct guest_nic nic = { .vni = nics[i].vni,
			.ifindex = ifindex[i],
			.address = nics[i].address,
			.gateway = nics[i].gateway,
			.subnet_prefix = nics[i].subnet_prefix,
			.mtu = (uint16_t)nc->conf->mtu,
			.spec = spec };
		struct loop_call call = { .nc = nc, .fn = put_nic, .nic = &nic };

		memcpy(nic.mac, nics[i].mac, sizeof(nic.mac));
		r = call_on_loop(&call, e);
	}
	return r;
}

void
nc_network_unserve(struct nc *nc, const struct helper_nic *nics, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct loop_call call = {
			.nc = nc, .fn = remove_nic, .vni = nics[i].vni, .address = nics[i].address
		};

		(void)call_on_loop(&call, NULL); /* cannot fail */
	}
}

int
nc_network_sweep(struct nc *nc, const struct instance_record *instances, size_t count,
    struct arena *arena, struct err *e)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct helper_sweep sweep = { 0 };
	struct vpc_spec *vpcs;
	size_t vpc_count;
	int r;

	strbuf_add(&out, &sweep, sizeof(sweep));
	for (size_t i = 0; i < count; i++) {
		struct helper_nic nics[HELPER_NICS_MAX];
		uint32_t n = 0;

		if (instances[i].state == INSTANCE_STOPPED ||
		    instances[i].state == INSTANCE_TERMINATED)
			continue;
		r = nc_network_nics(nc, instances[i].spec, arena, nics, &n, e);
		if (r == ERR_NOT_FOUND) { /* it waits for its VPC: nothing of it is plugged in */
			err_clear(e);
			continue;
		}
		if (r < 0)
			return r;
		strbuf_add(&out, nics, n * sizeof(*nics));
		sweep.nic_count += n;
	}
	r = vpc_list(nc->store, arena, &vpcs, &vpc_count, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < vpc_count; i++) {
		if (vpcs[i].deleted)
			continue;
		strbuf_add(&out, &vpcs[i].vni, sizeof(vpcs[i].vni));
		sweep.vni_count++;
	}
	memcpy(out.p, &sweep, sizeof(sweep));
	return helper_call(nc->helper, HELPER_NET_SWEEP, out.p, out.n, HELPER_TIMEOUT_MS, NULL, e);
}
