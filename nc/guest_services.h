#pragma once
/* DHCP, DNS and the metadata service for the guests of this node: unprivileged, from local state,
 * working while every other daemon is down. Sockets were opened in the VPC's namespace by the root
 * helper. A NIC is known by (VPC, interface index) for DHCP and (VPC, source address) for the rest. */
#include <netinet/in.h>
#include "net/http_server.h"
#include "rpc/common.api.h"
#include "run/daemon.h"

struct guest_services;
struct guest_nic { /* copied */
	uint32_t vni;
	unsigned ifindex;
	uint8_t mac[6];
	struct in_addr address, gateway;
	uint8_t subnet_prefix;
	uint16_t mtu;
	const struct instance_spec *spec; /* deep-copied: what metadata answers from */
	const char *vpc_cidr; /* for metadata; NULL: unknown */
};
struct guest_services_options {
	const char *state_dir;   /* the metadata token key lives there (0600) */
	/* On the loop, each time a guest has asked something; may be NULL. */
	void (*heard)(void *arg, const char *instance_id);
	void *arg;
	const char *resolver;    /* upstream DNS "ADDRESS[:PORT]"; NULL: /etc/resolv.conf; "none" */
};
int guest_services_new(struct daemon *d, const struct guest_services_options *options,
    struct guest_services **ret, struct err *e);
/* The same without a daemon around it. */
int guest_services_new_on(struct loop *loop, const struct log *log,
    const struct guest_services_options *options, struct guest_services **ret, struct err *e);
void guest_services_free(struct guest_services *g);
DEFINE_CLEANUP(struct guest_services *, guest_services_free)
/* Loop thread. Takes the descriptors; a VPC already known gets the new ones. */
int guest_services_vpc_add(struct guest_services *g, uint32_t vni, int dhcp, int metadata, int dns_udp,
    int dns_tcp, struct err *e);
void guest_services_vpc_remove(struct guest_services *g, uint32_t vni);
int guest_services_nic_put(struct guest_services *g, const struct guest_nic *nic, struct err *e);
void guest_services_nic_remove(struct guest_services *g, uint32_t vni, struct in_addr address);
