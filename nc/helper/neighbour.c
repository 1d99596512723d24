/* Whether a guest answers: one ARP request, as its gateway would ask, on the guest's own tap, and a
 * short wait for the reply. Every system with a network that works answers it, whatever its
 * firewall says, and it costs one frame. The loop waits for nobody: a probe is a socket, a watch
 * and a timer. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <sys/socket.h>
#include "helper/helper.h"
#include "run/fd.h"

#define PROBE_MS 1000
#define PROBE_AGAIN_MS 300 /* a frame may be lost */
#define PROBES_MAX 256

struct arp_frame {
	struct ether_header ether;
	struct arphdr arp;
	uint8_t sender[ETH_ALEN];
	struct in_addr sender_address;
	uint8_t target[ETH_ALEN];
	struct in_addr target_address;
} __attribute__((packed));

struct neighbour_probe {
	struct list link;
	struct helper *helper;
	struct ticket ticket;
	struct helper_nic nic;
	struct dataplane_neighbour from;
	unsigned waited_ms;
	struct loop_watch *watch;
	struct loop_timer *timer;
};

static void
probe_free(struct neighbour_probe *p)
{
	list_remove(&p->link);
	p->helper->probe_count--;
	loop_watch_free(p->watch);
	loop_timer_free(p->timer);
	fd_close(p->from.socket);
	free(p);
}

static void
probe_end(struct neighbour_probe *p, bool has_answered)
{
	const struct helper_nic_probed reply = { .has_answered = has_answered };

	helper_reply(p->helper, &p->ticket, &reply, sizeof(reply), NULL, 0);
	probe_free(p);
}

static void
ask(const struct neighbour_probe *p)
{
	struct arp_frame frame = { .ether.ether_type = htons(ETHERTYPE_ARP),
		.arp = { .ar_hrd = htons(ARPHRD_ETHER),
		    .ar_pro = htons(ETHERTYPE_IP),
		    .ar_hln = ETH_ALEN,
		    .ar_pln = sizeof(struct in_addr),
		    .ar_op = htons(ARPOP_REQUEST) },
		.sender_address = p->nic.gateway,
		.target_address = p->nic.address };

	memcpy(frame.ether.ether_dhost, p->nic.mac, ETH_ALEN);
	memcpy(frame.ether.ether_shost, p->from.mac, ETH_ALEN);
	memcpy(frame.sender, p->from.mac, ETH_ALEN);
	/* A link that is down takes nothing: then nobody answers, which is the answer. */
	(void)!send(p->from.socket, &frame, sizeof(frame), MSG_DONTWAIT);
}

static void
answered(void *arg, uint32_t events)
{
	struct neighbour_probe *p = arg;
	struct arp_frame frame;
	ssize_t n;

	while ((n = recv(p->from.socket, &frame, sizeof(frame), MSG_DONTWAIT)) >= 0) {
		/* The filter that holds for all its frames lets no other sender through either. */
		if ((size_t)n < sizeof(frame) || frame.arp.ar_op != htons(ARPOP_REPLY) ||
		    frame.sender_address.s_addr != p->nic.address.s_addr ||
		    memcmp(frame.sender, p->nic.mac, ETH_ALEN) != 0)
			continue;
		probe_end(p, true);
		return;
	}
}

static void
waited(void *arg)
{
	struct neighbour_probe *p = arg;

	p->waited_ms += PROBE_AGAIN_MS;
	if (p->waited_ms >= PROBE_MS) {
		probe_end(p, false);
		return;
	}
	ask(p);
	loop_timer_set(p->timer, PROBE_AGAIN_MS);
}

void
neighbour_verb(struct helper *h, const struct ticket *t, struct str payload)
{
	const struct helper_nic *nic = (const void *)payload.p;
	struct dataplane_neighbour from;
	struct neighbour_probe *p;
	struct err e = { 0 };
	int r;

	if (h->probe_count >= PROBES_MAX)
		r = err_set(&e, ERR_LIMIT, "%u probes are under way", h->probe_count);
	else
		r = dataplane_neighbour_open(h->dataplane, nic->vni, nic->index, &from, &e);
	if (r < 0) {
		helper_reply_error(h, t, &e);
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->helper = h;
	p->ticket = *t;
	p->nic = *nic;
	p->from = from;
	list_add_tail(&h->probes, &p->link);
	h->probe_count++;
	p->watch = loop_watch_new(h->loop, p->from.socket, EPOLLIN, answered, p);
	p->timer = loop_timer_new(h->loop, waited, p);
	ask(p);
	loop_timer_set(p->timer, PROBE_AGAIN_MS);
}

void
neighbour_probes_free(struct helper *h)
{
	struct neighbour_probe *p, *following;

	LIST_FOREACH (&h->probes, p, following, link)
		probe_free(p);
}
