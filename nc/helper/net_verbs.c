/* The network verbs: typed messages turned into dataplane calls. They run on the loop thread, at
 * once, whatever libvirt is doing. */
#include <assert.h>
#include "helper/helper.h"
#include "run/fd.h"

void
helper_nic_to_dataplane(const struct helper_nic *in, struct dataplane_nic *out)
{
	*out = (struct dataplane_nic){ .index = in->index,
		.vni = in->vni,
		.address = in->address,
		.gateway = in->gateway,
		.subnet_prefix = in->subnet_prefix,
		.public_address = in->public_address,
		.group_count = in->group_count };
	memcpy(out->mac, in->mac, sizeof(out->mac));
	memcpy(out->groups, in->groups, sizeof(out->groups));
}

/* `payload` passed helper_payload_check: lengths are right. */
static int
vpc_put(struct helper *h, struct str payload, struct err *e)
{
	const char *p = payload.p;
	const struct helper_vpc *vpc = (const void *)p;
	_cleanup_free_ struct dataplane_group *groups =
	    xcalloc(vpc->group_count + 1, sizeof(*groups));
	_cleanup_free_ struct dataplane_rule *rules = NULL;
	size_t rule_count = 0, rule = 0;
	struct dataplane_vpc out = { .vni = vpc->vni,
		.network = vpc->network,
		.prefix = (uint8_t)vpc->prefix,
		.groups = groups,
		.group_count = vpc->group_count };

	p += sizeof(*vpc);
	for (const char *q = p, *end = payload.p + payload.n; q < end;) {
		const struct helper_group *g = (const void *)q;

		rule_count += g->rule_count;
		q += sizeof(*g) + g->rule_count * sizeof(struct helper_rule) +
		     g->member_count * sizeof(struct in_addr);
	}
	rules = xcalloc(rule_count + 1, sizeof(*rules));
	for (uint32_t i = 0; i < vpc->group_count; i++) {
		const struct helper_group *g = (const void *)p;
		const struct helper_rule *r = (const void *)(p + sizeof(*g));

		groups[i] = (struct dataplane_group){ .index = g->index,
			.rules = &rules[rule],
			.rule_count = g->rule_count,
			.members = (const void *)(r + g->rule_count),
			.member_count = g->member_count };
		for (uint32_t k = 0; k < g->rule_count; k++)
			rules[rule++] = (struct dataplane_rule){ .is_ingress = r[k].is_ingress,
				.protocol = r[k].protocol,
				.from = r[k].from,
				.to = r[k].to,
				.network = r[k].network,
				.prefix = r[k].prefix,
				.group = r[k].group };
		p = (const char *)(r + g->rule_count) + g->member_count * sizeof(struct in_addr);
	}
	return dataplane_vpc_put(h->dataplane, &out, e);
}

static int
net_sweep(struct helper *h, struct str payload, struct err *e)
{
	const struct helper_sweep *s = (const void *)payload.p;
	const struct helper_nic *nics = (const void *)(payload.p + sizeof(*s));
	const uint32_t *vnis = (const void *)(nics + s->nic_count);
	_cleanup_free_ struct dataplane_nic *keep = xcalloc(s->nic_count + 1, sizeof(*keep));

	for (uint32_t i = 0; i < s->nic_count; i++)
		helper_nic_to_dataplane(&nics[i], &keep[i]);
	return dataplane_sweep(h->dataplane, keep, s->nic_count, vnis, s->vni_count, e);
}

static void
vpc_sockets(struct helper *h, const struct ticket *t, uint32_t vni)
{
	struct dataplane_sockets s = { -1, -1, -1, -1 };
	struct err e = { 0 };

	if (dataplane_sockets_open(h->dataplane, vni, &s, &e) < 0) {
		helper_reply_error(h, t, &e);
		return;
	}
	helper_reply(h, t, NULL, 0, (int[]){ s.dhcp, s.metadata, s.dns_udp, s.dns_tcp }, 4);
	fd_close(s.dhcp);
	fd_close(s.metadata);
	fd_close(s.dns_udp);
	fd_close(s.dns_tcp);
}

static int
nic_plug(
    struct helper *h, const struct helper_nic *nic, struct helper_nic_plugged *ret, struct err *e)
{
	struct dataplane_nic out;
	int r;

	helper_nic_to_dataplane(nic, &out);
	r = dataplane_nic_plug(h->dataplane, &out, e);
	if (r < 0)
		return r;
	return dataplane_nic_ifindex(h->dataplane, nic->vni, nic->index, &ret->ifindex, e);
}

void
net_verb(struct helper *h, const struct ticket *t, struct str payload)
{
	const struct helper_nic *nic = (const void *)payload.p;
	uint32_t vni = payload.n >= sizeof(vni) ? *(const uint32_t *)(const void *)payload.p : 0;
	union {
		struct helper_nic_plugged plugged;
		struct helper_nic_counters counters;
	} reply = { 0 };
	struct dataplane_counters counters;
	struct dataplane_nic out;
	struct err e = { 0 };
	size_t n = 0;
	int r;

	switch (t->verb) {
	case HELPER_VPC_PUT:
		r = vpc_put(h, payload, &e);
		break;
	case HELPER_VPC_REMOVE:
		r = dataplane_vpc_remove(h->dataplane, vni, &e);
		break;
	case HELPER_VPC_SOCKETS:
		vpc_sockets(h, t, vni);
		return;
	case HELPER_NIC_PLUG:
		r = nic_plug(h, nic, &reply.plugged, &e);
		n = sizeof(reply.plugged);
		break;
	case HELPER_NIC_UNPLUG:
		helper_nic_to_dataplane(nic, &out);
		r = dataplane_nic_unplug(h->dataplane, &out, &e);
		break;
	case HELPER_NIC_COUNTERS:
		r = dataplane_nic_counters(h->dataplane, nic->vni, nic->index, &counters, &e);
		if (r == 0)
			reply.counters = (struct helper_nic_counters){ counters.received_bytes,
				counters.received_packets, counters.sent_bytes,
				counters.sent_packets };
		n = sizeof(reply.counters);
		break;
	default:
		assert(t->verb == HELPER_NET_SWEEP);
		r = net_sweep(h, payload, &e);
		break;
	}
	if (r < 0)
		helper_reply_error(h, t, &e);
	else
		helper_reply(h, t, &reply, n, NULL, 0);
}
