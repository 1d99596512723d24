/* Removes what nobody named: NICs, their leftovers on the node, and empty VPCs. Looks at the kernel
 * and not at memory, so it also finds what a process left that died halfway; touches only what
 * carries our mark. */
#include <arpa/inet.h>
#include <errno.h>
#include "helper/dataplane_internal.h"

struct sweep {
	const struct dataplane_nic *keep;
	size_t keep_count;
	uint32_t vni;        /* 0: the node itself */
	VEC(uint32_t) stray; /* indices of taps */
	VEC(uint32_t) exits; /* VNIs of x<vni> */
	VEC(struct {
		struct in_addr address;
		unsigned index;
	})
	routes, proxies;
};

static bool
is_kept(const struct sweep *s, uint32_t index)
{
	for (size_t i = 0; i < s->keep_count; i++) {
		if (s->keep[i].index == index && (!s->vni || s->keep[i].vni == s->vni))
			return true;
	}
	return false;
}

static void
on_swept_link(const struct rtnl_link *link, void *arg)
{
	struct sweep *s = arg;
	uint32_t index;

	if (link->is_ours && index_of(link->name, "tap", &index) && !is_kept(s, index))
		vec_add(&s->stray, index);
	else if (link->is_ours && !s->vni && index_of(link->name, "x", &index))
		vec_add(&s->exits, index);
}

static void
on_swept_route(struct in_addr network, uint8_t prefix, unsigned index, void *arg)
{
	struct sweep *s = arg;

	if (prefix != 32)
		return;
	for (size_t i = 0; i < s->keep_count; i++) {
		if (s->keep[i].public_address.s_addr == network.s_addr)
			return;
	}
	vec_add(&s->routes, ((__typeof__(*s->routes.items)){ network, index }));
}

static void
on_swept_proxy(struct in_addr address, unsigned index, void *arg)
{
	struct sweep *s = arg;

	for (size_t i = 0; i < s->keep_count; i++) {
		if (s->keep[i].public_address.s_addr == address.s_addr)
			return;
	}
	vec_add(&s->proxies, ((__typeof__(*s->proxies.items)){ address, index }));
}

static void
sweep_done(struct sweep *s)
{
	vec_done(&s->stray);
	vec_done(&s->exits);
	vec_done(&s->routes);
	vec_done(&s->proxies);
}

static int
sweep_vpc(struct dataplane *d, struct vpc *v, const struct dataplane_nic *keep, size_t keep_count,
    struct err *e)
{
	_cleanup_(sweep_done) struct sweep s = {
		.keep = keep,
		.keep_count = keep_count,
		.vni = v->vni,
	};
	int r;

	r = policy_refresh(&v->policy, e);
	if (r < 0)
		return r;
	r = rtnl_links(v->route, on_swept_link, &s);
	if (r < 0)
		return err_set_errno(e, -r, "cannot list devices of VPC network %u", v->vni);
	VEC_FOREACH (&v->policy.nics, nic) {
		if (!is_kept(&s, nic->index))
			vec_add(&s.stray, nic->index);
	}
	VEC_FOREACH (&s.stray, index) {
		r = dataplane_nic_clear(d, v, *index, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
sweep_node(struct dataplane *d, const struct dataplane_nic *keep, size_t keep_count, struct err *e)
{
	_cleanup_(sweep_done) struct sweep s = { .keep = keep, .keep_count = keep_count };
	char name[IFNAMSIZ];
	int r;

	r = rtnl_links(d->route, on_swept_link, &s);
	if (r == 0)
		r = rtnl_routes(d->route, on_swept_route, &s);
	if (r == 0)
		r = rtnl_proxies(d->route, on_swept_proxy, &s);
	for (size_t i = 0; r == 0 && i < s.stray.count; i++) {
		tap_name(s.stray.items[i], name);
		r = rtnl_link_remove(d->route, name);
	}
	for (size_t i = 0; r == 0 && i < s.exits.count; i++) {
		exit_name(s.exits.items[i], name);
		if (!dataplane_vpc_find(d, s.exits.items[i]))
			r = rtnl_link_remove(d->route, name);
	}
	for (size_t i = 0; r == 0 && i < s.routes.count; i++)
		r = rtnl_route_remove(
		    d->route, s.routes.items[i].address, 32, s.routes.items[i].index);
	for (size_t i = 0; r == 0 && i < s.proxies.count; i++)
		r = rtnl_proxy_remove(
		    d->route, s.proxies.items[i].index, s.proxies.items[i].address);
	return r < 0 ? err_set_errno(e, -r, "cannot sweep the node's network") : 0;
}

int
dataplane_sweep(struct dataplane *d, const struct dataplane_nic *keep, size_t keep_count,
    const uint32_t *vnis, size_t vni_count, struct err *e)
{
	int r;

	for (size_t i = d->vpcs.count; i-- > 0;) {
		struct vpc *v = d->vpcs.items[i];
		bool is_named = false;

		r = sweep_vpc(d, v, keep, keep_count, e);
		if (r < 0)
			return r;
		for (size_t j = 0; j < vni_count; j++)
			is_named = is_named || vnis[j] == v->vni;
		if (!is_named && !v->policy.nics.count) {
			r = dataplane_vpc_remove(d, v->vni, e);
			if (r < 0)
				return r;
		}
	}
	return sweep_node(d, keep, keep_count, e);
}
