/* What the node itself says to its guests. A guest's identity is never what it claims: DHCP knows
 * it by the interface a request came in on, the others by VPC and source address, which the
 * dataplane's anti-spoofing vouches for. Requests are answered from copies held here, on the loop,
 * without waiting for anything; only DNS may ask upstream (dns_service.h). */
#include "guest_services.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/vec.h"
#include "dhcp.h"
#include "dns_service.h"
#include "metadata.h"
#include "metadata_token.h"
#include "net/url.h"
#include "rpc/codec.h"
#include "run/fd.h"

#define RESOLVER 0xa9fea9fdU /* 169.254.169.253: answered in every VPC */
#define DATAGRAMS_PER_TURN 32
#define DATAGRAM_MAX 1500
#define CONNECTIONS_PER_VPC 256
#define HEAD_TIMEOUT_MS 5000
#define IDLE_TIMEOUT_MS 15000
#define HOPS_DEFAULT 1
#define HOPS_MAX 64
#define HOPS_UNLIMITED 64
#define TOKEN_PATH "/latest/api/token"
#define TOKEN_HEADER "X-aws-ec2-metadata-token"
#define TTL_HEADER "X-aws-ec2-metadata-token-ttl-seconds"
#define REQUEST_MEMORY_MAX (1024 * 1024)

struct nic {
	struct guest_nic n; /* spec and vpc_cidr live in the arena */
	struct arena *arena;
	int64_t changed_us;
};
struct vpc {
	struct guest_services *services;
	uint32_t vni;
	int dhcp;
	struct loop_watch *dhcp_watch;
	struct http_server *metadata;
	struct dns_port *dns;
};
struct guest_services {
	struct loop *loop;
	struct log log;
	struct dns_service *dns;
	struct metadata_key key;
	void (*heard)(void *arg, const char *instance_id);
	void *heard_arg;
	VEC(struct nic *) nics;
	VEC(struct vpc *) vpcs;
};

/* -- who is who -- */

static struct nic *
nic_by_address(const struct guest_services *g, uint32_t vni, struct in_addr address)
{
	VEC_FOREACH (&g->nics, nic) {
		if ((*nic)->n.vni == vni && (*nic)->n.address.s_addr == address.s_addr)
			return *nic;
	}
	return NULL;
}

static struct nic *
nic_by_interface(const struct guest_services *g, uint32_t vni, unsigned ifindex)
{
	VEC_FOREACH (&g->nics, nic) {
		if ((*nic)->n.vni == vni && (*nic)->n.ifindex == ifindex)
			return *nic;
	}
	return NULL;
}

static struct vpc *
vpc_find(const struct guest_services *g, uint32_t vni)
{
	VEC_FOREACH (&g->vpcs, v) {
		if ((*v)->vni == vni)
			return *v;
	}
	return NULL;
}

/* The guest lives, and its network works. */
static void
heard(const struct guest_services *g, const struct nic *nic)
{
	if (g->heard)
		g->heard(g->heard_arg, nic->n.spec->instance_id);
}

/* -- DHCP -- */

static void
dhcp_send(
    const struct vpc *v, const struct nic *nic, const void *reply, size_t n, struct in_addr to)
{
	struct sockaddr_in client = {
		.sin_family = AF_INET, .sin_port = htons(68), .sin_addr = to
	};
	union {
		char space[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)reply, n };
	struct msghdr m = {
		.msg_name = &client,
		.msg_namelen = sizeof(client),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct in_pktinfo info = {
		.ipi_ifindex = (int)nic->n.ifindex,
		.ipi_spec_dst = nic->n.gateway,
	};

	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	if (sendmsg(v->dhcp, &m, 0) < 0) /* the guest asks again */
		log_debug(&v->services->log, "dhcp.unsent", "instance=%s errno=%d",
		    nic->n.spec->instance_id, errno);
}

static unsigned
interface_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		return (unsigned)info.ipi_ifindex;
	}
	return 0;
}

static void
on_dhcp(void *arg, uint32_t events)
{
	struct vpc *v = arg;

	for (unsigned i = 0; i < DATAGRAMS_PER_TURN; i++) {
		uint8_t request[DATAGRAM_MAX], reply[DHCP_REPLY_MAX];
		union {
			char space[CMSG_SPACE(sizeof(struct in_pktinfo))];
			struct cmsghdr align;
		} control;
		struct iovec iov = { request, sizeof(request) };
		struct msghdr m = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = &control,
			.msg_controllen = sizeof(control),
		};
		ssize_t n = recvmsg(v->dhcp, &m, 0);
		struct dhcp_lease lease;
		struct in_addr to;
		struct nic *nic;
		size_t size;

		if (n < 0)
			return;
		nic = nic_by_interface(v->services, v->vni, interface_of(&m));
		if (!nic || m.msg_flags & MSG_TRUNC)
			continue;
		lease = (struct dhcp_lease){
			.address = nic->n.address,
			.gateway = nic->n.gateway,
			.resolver = { htonl(RESOLVER) },
			.prefix = nic->n.subnet_prefix,
			.mtu = nic->n.mtu,
			.hostname = nic->n.spec->hostname,
			.domain = nic->n.spec->domain,
		};
		memcpy(lease.mac, nic->n.mac, sizeof(lease.mac));
		size = dhcp_answer(&lease, request, (size_t)n, reply, &to);
		if (size) {
			heard(v->services, nic);
			dhcp_send(v, nic, reply, size, to);
		}
	}
}

/* -- DNS -- */

static const char *
domain_of(void *arg, struct in_addr source)
{
	struct vpc *v = arg;
	struct nic *nic = nic_by_address(v->services, v->vni, source);

	if (nic)
		heard(v->services, nic);
	return nic ? nic->n.spec->domain : NULL;
}

/* -- metadata -- */

static void
reply_error(struct http_exchange *x, int status, struct arena *arena)
{
	const char *body = metadata_error_body(status, arena);

	http_reply_begin(x, status);
	http_reply_header(x, "Content-Type", "text/html");
	http_reply_length(x, strlen(body));
	if (status == 405)
		http_reply_header(x, "Allow", "GET, HEAD, OPTIONS, PUT");
	http_reply_add(x, body, strlen(body));
	http_reply_end(x);
}

/* Amazon's hop limit: what carries a token, either way, gets no further than so many hops. The
 * handshake, and answers without a token, go as far as any packet. */
static void
limit_hops(struct http_exchange *x, const struct nic *nic, bool has_token)
{
	const struct instance_spec *spec = nic->n.spec;
	int hops = has_token ? HOPS_DEFAULT : HOPS_UNLIMITED;

	if (has_token && spec->has_http_put_response_hop_limit &&
	    spec->http_put_response_hop_limit >= 1 && spec->http_put_response_hop_limit <= HOPS_MAX)
		hops = (int)spec->http_put_response_hop_limit;
	/* It cannot fail on a socket of this kind, and only tests bring another. */
	(void)setsockopt(http_socket(x), IPPROTO_IP, IP_TTL, &hops, sizeof(hops));
}

static bool
is_token_required(const struct nic *nic)
{
	return strings_equal(nic->n.spec->http_tokens, "required");
}

static struct metadata_token_owner
owner_of(const struct nic *nic)
{
	return (
	    struct metadata_token_owner){ nic->n.vni, nic->n.address, nic->n.spec->instance_id };
}

static void
reply_token(struct http_exchange *x, const struct nic *nic, const struct metadata_key *key,
    struct arena *arena)
{
	const struct http_head *head = http_request(x);
	struct metadata_token_owner owner = owner_of(nic);
	char token[METADATA_TOKEN_SIZE];
	uint32_t ttl;

	/* A proxy that forwards on behalf of others must not get a token for them. */
	if (http_head_count(head, "X-Forwarded-For")) {
		reply_error(x, 403, arena);
		return;
	}
	if (!str_to_u32(http_head_find(head, TTL_HEADER), &ttl) || ttl < 1 ||
	    ttl > METADATA_TOKEN_TTL_MAX) {
		reply_error(x, 400, arena);
		return;
	}
	metadata_token_make(key, &owner, clock_now_us(), ttl, token);
	http_reply_begin(x, 200);
	http_reply_header(x, "Content-Type", "text/plain");
	http_reply_headerf(x, TTL_HEADER, "%u", ttl);
	http_reply_length(x, strlen(token));
	http_reply_add(x, token, strlen(token));
	http_reply_end(x);
}

/* FNV-1a: an ETag names the bytes, it protects nothing. */
static uint32_t
etag_of(struct str body)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < body.n; i++)
		h = (h ^ (uint8_t)body.p[i]) * 16777619U;
	return h;
}

static void
reply_value(struct http_exchange *x, const struct nic *nic, const char *path, uint32_t ttl,
    struct arena *arena)
{
	struct metadata_source source = { nic->n.spec, nic->n.vpc_cidr };
	struct metadata_answer a = metadata_get(&source, path, arena);
	char modified[TIME_TEXT_SIZE];

	if (a.status != 200) {
		reply_error(x, a.status, arena);
		return;
	}
	time_format_http(nic->changed_us, modified);
	http_reply_begin(x, 200);
	http_reply_header(x, "Content-Type", a.content_type);
	http_reply_header(x, "Accept-Ranges", "none");
	http_reply_header(x, "Last-Modified", modified);
	http_reply_headerf(x, "ETag", "\"%u\"", etag_of(a.body));
	if (ttl)
		http_reply_headerf(x, TTL_HEADER, "%u", ttl);
	http_reply_length(x, a.body.n);
	http_reply_add(x, a.body.p, a.body.n);
	http_reply_end(x);
}

static bool
decoded_path(const struct http_head *head, struct arena *arena, const char **ret)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;

	if (head->path.n > METADATA_PATH_MAX || url_decode(&path, head->path, false, NULL) < 0 ||
	    memchr(strbuf_c(&path), '\0', path.n))
		return false;
	*ret = arena_str(arena, strbuf_str(&path));
	return true;
}

static void
on_head(struct http_exchange *x, void *arg)
{
	struct vpc *v = arg;
	const struct guest_services *g = v->services;
	const struct http_head *head = http_request(x);
	_cleanup_arena_ struct arena *arena = arena_new(REQUEST_MEMORY_MAX);
	struct str token = http_head_find(head, TOKEN_HEADER);
	struct in_addr source = { 0 };
	const struct nic *nic = NULL;
	const char *path;
	bool is_get = str_is(head->method, "GET") || str_is(head->method, "HEAD");
	uint32_t ttl = 0;

	if (inet_pton(AF_INET, http_peer(x)->address, &source) == 1)
		nic = nic_by_address(g, v->vni, source);
	if (!nic) {
		reply_error(x, 404, arena);
		return;
	}
	limit_hops(x, nic, token.p || str_is(head->method, "PUT"));
	if (strings_equal(nic->n.spec->http_endpoint, "disabled")) {
		reply_error(x, 403, arena);
		return;
	}
	heard(g, nic);
	if (!decoded_path(head, arena, &path)) {
		reply_error(x, 400, arena);
		return;
	}
	if (strcmp(path, TOKEN_PATH) == 0 && str_is(head->method, "PUT")) {
		reply_token(x, nic, &g->key, arena);
		return;
	}
	if (str_is(head->method, "OPTIONS")) {
		http_reply_begin(x, 200);
		http_reply_header(x, "Allow",
		    strcmp(path, TOKEN_PATH) == 0 ? "OPTIONS, PUT" : "OPTIONS, GET, HEAD");
		http_reply_length(x, 0);
		http_reply_end(x);
		return;
	}
	if (!is_get || strcmp(path, TOKEN_PATH) == 0) {
		reply_error(x, 405, arena);
		return;
	}
	if (token.p) {
		struct metadata_token_owner owner = owner_of(nic);

		ttl = metadata_token_check(&g->key, &owner, clock_now_us(), token);
	}
	if (!ttl && (token.p || is_token_required(nic))) {
		reply_error(x, 401, arena);
		return;
	}
	reply_value(x, nic, path, ttl, arena);
}

/* -- what is served -- */

static void
vpc_free(struct vpc *v)
{
	loop_watch_free(v->dhcp_watch);
	fd_close(v->dhcp);
	http_server_free(v->metadata);
	dns_port_free(v->dns);
	free(v);
}

static void
nic_free(struct nic *nic)
{
	arena_free(nic->arena);
	free(nic);
}

int
guest_services_new(struct daemon *d, const struct guest_services_options *options,
    struct guest_services **ret, struct err *e)
{
	return guest_services_new_on(daemon_loop(d), daemon_log(d), options, ret, e);
}

int
guest_services_new_on(struct loop *loop, const struct log *log,
    const struct guest_services_options *options, struct guest_services **ret, struct err *e)
{
	_cleanup_(guest_services_freep) struct guest_services *g = xcalloc(1, sizeof(*g));
	int r;

	g->loop = loop;
	g->log = *log;
	g->heard = options->heard;
	g->heard_arg = options->arg;
	r = metadata_key_load(options->state_dir, &g->key, e);
	if (r == 0)
		r = dns_service_new(loop, options->resolver, &g->dns, e);
	if (r < 0)
		return r;
	*ret = TAKE(g);
	return 0;
}

void
guest_services_free(struct guest_services *g)
{
	if (!g)
		return;
	VEC_FOREACH (&g->vpcs, v)
		vpc_free(*v);
	VEC_FOREACH (&g->nics, nic)
		nic_free(*nic);
	vec_done(&g->vpcs);
	vec_done(&g->nics);
	dns_service_free(g->dns);
	free(g);
}

int
guest_services_vpc_add(struct guest_services *g, uint32_t vni, int dhcp, int metadata, int dns_udp,
    int dns_tcp, struct err *e)
{
	struct vpc *v = xcalloc(1, sizeof(*v));
	struct http_server_options options = {
		.name = "metadata",
		.handler = { .head = on_head },
		.arg = v,
		.tls_mode = HTTP_PLAIN,
		.connections_max = CONNECTIONS_PER_VPC,
		.head_timeout_ms = HEAD_TIMEOUT_MS,
		.idle_timeout_ms = IDLE_TIMEOUT_MS,
		.server_header = "EC2ws",
	};
	int r;

	assert(loop_is_current(g->loop));
	v->services = g;
	v->vni = vni;
	v->dhcp = dhcp;
	v->dns = dns_port_new(g->dns, dns_udp, dns_tcp, domain_of, v);
	r = http_server_new(g->loop, &options, &metadata, 1, &v->metadata, e);
	if (r < 0) {
		vpc_free(v);
		return err_wrap(e, "metadata service of VPC network %u", vni);
	}
	v->dhcp_watch = loop_watch_new(g->loop, dhcp, EPOLLIN, on_dhcp, v);
	guest_services_vpc_remove(g, vni); /* what the new one replaces */
	vec_add(&g->vpcs, v);
	return 0;
}

void
guest_services_vpc_remove(struct guest_services *g, uint32_t vni)
{
	struct vpc *v = vpc_find(g, vni);

	for (size_t i = 0; i < g->vpcs.count; i++) {
		if (g->vpcs.items[i] == v)
			g->vpcs.items[i] = g->vpcs.items[--g->vpcs.count];
	}
	if (v)
		vpc_free(v);
}

int
guest_services_nic_put(struct guest_services *g, const struct guest_nic *nic, struct err *e)
{
	struct instance_spec *spec;
	struct nic *copy;

	if (!nic->spec || !nic->spec->instance_id || !nic->spec->hostname || !nic->spec->domain)
		return err_set(e, ERR_INVALID, "NIC has no instance, host name or domain");
	copy = xcalloc(1, sizeof(*copy));
	copy->arena = arena_new(0);
	copy->n = *nic;
	copy->changed_us = clock_now_us();
	spec = arena_alloc(copy->arena, sizeof(*spec));
	codec_copy(&instance_spec_shape, nic->spec, copy->arena, spec);
	copy->n.spec = spec;
	copy->n.vpc_cidr = arena_strdup(copy->arena, nic->vpc_cidr);
	guest_services_nic_remove(g, nic->vni, nic->address);
	vec_add(&g->nics, copy);
	return 0;
}

void
guest_services_nic_remove(struct guest_services *g, uint32_t vni, struct in_addr address)
{
	struct nic *nic = nic_by_address(g, vni, address);

	for (size_t i = 0; i < g->nics.count; i++) {
		if (g->nics.items[i] == nic)
			g->nics.items[i] = g->nics.items[--g->nics.count];
	}
	if (nic)
		nic_free(nic);
}
