#pragma once
/* The resolver that guests talk to: names of addresses from dns.h, the rest from one upstream
 * resolver over UDP or TCP as the guest asked. Loop thread only. */
#include <netinet/in.h>
#include "base/err.h"
#include "run/loop.h"

#define DNS_FORWARDS_MAX 512      /* UDP queries waiting for upstream */
#define DNS_FORWARDS_GUEST_MAX 32 /* of one guest, so that it can't silence the others */
#define DNS_CONNECTIONS_MAX 256
#define DNS_CONNECTIONS_GUEST_MAX 8

struct dns_service;
struct dns_port;
/* `resolver`: "ADDRESS[:PORT]"; NULL: the first of /etc/resolv.conf; "none": SERVFAIL for what is
 * not computed. ERR_INVALID when it is no address. */
int dns_service_new(
    struct loop *loop, const char *resolver, struct dns_service **ret, struct err *e);
void dns_service_free(struct dns_service *s); /* after its ports */
DEFINE_CLEANUP(struct dns_service *, dns_service_free)
/* Takes the descriptors. `domain` tells the domain of the guest at an address, NULL for nobody's:
 * then there is no answer. */
struct dns_port *dns_port_new(struct dns_service *s, int udp, int tcp,
    const char *(*domain)(void *arg, struct in_addr source), void *arg);
void dns_port_free(struct dns_port *p);
DEFINE_CLEANUP(struct dns_port *, dns_port_free)
