/* Runs nc/guest_services.h over the sockets of a VPC that dataplane_tool made, until stdin ends:
 *   services_tool NETNS_DIR STATE_DIR RESOLVER VNI TOKENS NIC...
 * TOKENS is optional or required, then of "+disabled", "+hops=N" and "+tags" any; a NIC is
 * INDEX,MAC,ADDRESS,GATEWAY,PREFIX,PUBLIC,INSTANCE. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "guest_services.h"
#include "helper/dataplane.h"

static struct loop *loop;

static void
on_stdin(void *arg, uint32_t events)
{
	char c;

	if (read(STDIN_FILENO, &c, 1) <= 0)
		loop_stop(loop);
}

static char *
word(char **rest)
{
	char *w = strsep(rest, ",");

	return w ? w : (char *)"";
}

static int
add_nic(struct dataplane *d, struct guest_services *g, uint32_t vni, const char *tokens, char *text,
    struct err *e)
{
	static const char *groups[] = { "default" };
	static struct instance_tag tags[] = { { "Name", "first" }, { "a b", "not shown" } };
	const char *hops = strstr(tokens, "+hops=");
	uint32_t index = (uint32_t)atoi(word(&text));
	const char *mac = word(&text), *address = word(&text), *gateway = word(&text);
	uint8_t prefix = (uint8_t)atoi(word(&text));
	const char *public_ip = word(&text), *instance = word(&text);
	char hostname[64], key[] = "ssh-ed25519 AAAAC3 photos";
	struct network_interface interface = {
		.interface_id = "eni-1",
		.vpc_id = "vpc-1",
		.subnet_id = "subnet-1",
		.mac = mac,
		.private_ip = address,
		.subnet_cidr = "10.0.1.0/24",
		.public_ip = public_ip[0] ? public_ip : NULL,
	};
	struct image_file image = { .image_id = "ami-1", .digest = "0", .format = "raw" };
	struct instance_spec spec = {
		.instance_id = instance,
		.account_id = "000011112222",
		.reservation_id = "r-1",
		.wanted = "running",
		.instance_type = "t3.small",
		.image = &image,
		.shutdown_behavior = "stop",
		.interfaces = { &interface, 1 },
		.user_data = STR("#!/bin/sh\ntrue\n"),
		.key_name = "photos",
		.public_key = key,
		.launch_time = 1700000000000000,
		.region = "here",
		.zone = "here-a",
		.hostname = hostname,
		.domain = "here.compute.internal",
		.security_groups = { groups, 1 },
		.http_tokens = str_starts(str_of(tokens), "required") ? "required" : "optional",
		.http_endpoint = strstr(tokens, "+disabled") ? "disabled" : "enabled",
		.instance_metadata_tags = strstr(tokens, "+tags") ? "enabled" : "disabled",
		.tags = { tags, 2 },
	};
	struct guest_nic nic = { .vni = vni,
		.subnet_prefix = prefix,
		.mtu = 1450,
		.spec = &spec,
		.vpc_cidr = "10.0.0.0/16" };
	int r;

	spec.has_http_put_response_hop_limit = hops != NULL;
	spec.http_put_response_hop_limit = hops ? (uint32_t)atoi(hops + 6) : 0;
	(void)snprintf(hostname, sizeof(hostname), "ip-%s", address);
	for (char *p = hostname; *p; p++) {
		if (*p == '.')
			*p = '-';
	}
	(void)sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &nic.mac[0], &nic.mac[1], &nic.mac[2],
	    &nic.mac[3], &nic.mac[4], &nic.mac[5]);
	(void)inet_pton(AF_INET, address, &nic.address);
	(void)inet_pton(AF_INET, gateway, &nic.gateway);
	r = dataplane_nic_ifindex(d, vni, index, &nic.ifindex, e);
	return r < 0 ? r : guest_services_nic_put(g, &nic, e);
}

int
main(int argc, char **argv)
{
	struct dataplane_options options = { .mtu = 1450 };
	struct guest_services_options services = { 0 };
	_cleanup_(loop_freep) struct loop *l = NULL;
	_cleanup_(dataplane_freep) struct dataplane *d = NULL;
	_cleanup_(guest_services_freep) struct guest_services *g = NULL;
	_cleanup_(loop_watch_freep) struct loop_watch *w = NULL;
	struct log log = { .daemon = "services" };
	struct dataplane_sockets s;
	struct err e = { 0 };
	uint32_t vni;
	int r;

	if (argc < 6)
		return 2;
	options.netns_dir = argv[1];
	services.state_dir = argv[2];
	services.resolver = argv[3];
	vni = (uint32_t)atoi(argv[4]);
	r = loop_new(&l, &e);
	loop = l;
	if (r == 0)
		r = dataplane_new(&options, &d, &e);
	if (r == 0)
		r = guest_services_new_on(l, &log, &services, &g, &e);
	/* Twice: the second sockets replace the first. */
	for (int i = 0; r == 0 && i < 2; i++) {
		r = dataplane_sockets_open(d, vni, &s, &e);
		if (r == 0)
			r = guest_services_vpc_add(
			    g, vni, s.dhcp, s.metadata, s.dns_udp, s.dns_tcp, &e);
	}
	for (int i = 6; r == 0 && i < argc; i++)
		r = add_nic(d, g, vni, argv[5], argv[i], &e);
	if (r < 0) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	w = loop_watch_new(l, STDIN_FILENO, EPOLLIN, on_stdin, NULL);
	puts("ready");
	fflush(stdout);
	loop_run(l);
	return 0;
}
