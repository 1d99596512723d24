/* Drives nc/helper/dataplane.h from a test, one command per line on stdin, one answer per line on
 * stdout ("ok ..." or "error CODE text"). Words are separated by spaces:
 *   vpc VNI NETWORK/PREFIX          begins a VPC; then any number of
 *   group INDEX                     begins a group of it
 *   rule in|out PROTOCOL FROM TO NETWORK/PREFIX|gINDEX
 *   member ADDRESS
 *   put                             dataplane_vpc_put with what was gathered
 *   remove VNI      tap INDEX
 *   plug|unplug INDEX VNI MAC ADDRESS GATEWAY PREFIX PUBLIC|- GROUP...
 *   keep INDEX VNI PUBLIC|-         gathers for: sweep VNI...
 *   ifindex VNI INDEX    counters VNI INDEX
 *   serve VNI        opens the sockets and echoes on them until the tool ends
 * Arguments: NETNS_DIR PUBLIC_INTERFACE|- MTU. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/strbuf.h"
#include "base/vec.h"
#include "helper/dataplane.h"

#define WORDS_MAX 32
#define GROUPS_MAX 64
#define RULES_MAX 2048

static struct dataplane *dataplane;
static struct dataplane_vpc vpc;
static struct dataplane_group groups[GROUPS_MAX];
static struct dataplane_rule rules[GROUPS_MAX][RULES_MAX];
static struct in_addr members[GROUPS_MAX][DATAPLANE_MEMBERS_MAX + 1];
static VEC(struct dataplane_nic) keep;

static struct in_addr
address(const char *text)
{
	struct in_addr a = { 0 };

	if (strcmp(text, "-") != 0)
		(void)inet_pton(AF_INET, text, &a);
	return a;
}

static struct in_addr
network(const char *text, uint8_t *prefix)
{
	char copy[64];
	char *slash;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	*prefix = slash ? (uint8_t)atoi(slash + 1) : 32;
	if (slash)
		*slash = '\0';
	return address(copy);
}

static struct dataplane_nic
nic_of(char **word, int count)
{
	struct dataplane_nic nic = {
		.index = (uint32_t)atoi(word[0]),
		.vni = (uint32_t)atoi(word[1]),
		.address = address(word[3]),
		.gateway = address(word[4]),
		.subnet_prefix = (uint8_t)atoi(word[5]),
		.public_address = address(word[6]),
	};

	(void)sscanf(word[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &nic.mac[0], &nic.mac[1],
	    &nic.mac[2], &nic.mac[3], &nic.mac[4], &nic.mac[5]);
	for (int i = 7; i < count && nic.group_count < 5; i++)
		nic.groups[nic.group_count++] = (uint32_t)atoi(word[i]);
	return nic;
}

static int
vpc_begin(char **word, int count, struct strbuf *out, struct err *e)
{
	vpc = (struct dataplane_vpc){ .vni = (uint32_t)atoi(word[0]), .groups = groups };
	vpc.network = network(word[1], &vpc.prefix);
	return 0;
}

static int
group_begin(char **word, int count, struct strbuf *out, struct err *e)
{
	size_t i = vpc.group_count++;

	groups[i] = (struct dataplane_group){
		.index = (uint32_t)atoi(word[0]), .rules = rules[i], .members = members[i]
	};
	return 0;
}

static int
rule_add(char **word, int count, struct strbuf *out, struct err *e)
{
	size_t i = vpc.group_count - 1;
	struct dataplane_rule *r = &rules[i][groups[i].rule_count++];

	*r = (struct dataplane_rule){ .is_ingress = word[0][0] == 'i',
		.protocol = (int16_t)atoi(word[1]),
		.from = atoi(word[2]),
		.to = atoi(word[3]) };
	if (word[4][0] == 'g')
		r->group = (uint32_t)atoi(word[4] + 1);
	else
		r->network = network(word[4], &r->prefix);
	return 0;
}

static int
member_add(char **word, int count, struct strbuf *out, struct err *e)
{
	size_t i = vpc.group_count - 1;

	members[i][groups[i].member_count++] = address(word[0]);
	return 0;
}

static int
vpc_put(char **word, int count, struct strbuf *out, struct err *e)
{
	return dataplane_vpc_put(dataplane, &vpc, e);
}

static int
vpc_remove(char **word, int count, struct strbuf *out, struct err *e)
{
	return dataplane_vpc_remove(dataplane, (uint32_t)atoi(word[0]), e);
}

static int
tap_create(char **word, int count, struct strbuf *out, struct err *e)
{
	return dataplane_tap_create(dataplane, (uint32_t)atoi(word[0]), e);
}

static int
plug(char **word, int count, struct strbuf *out, struct err *e)
{
	struct dataplane_nic nic = nic_of(word, count);

	return dataplane_nic_plug(dataplane, &nic, e);
}

static int
unplug(char **word, int count, struct strbuf *out, struct err *e)
{
	struct dataplane_nic nic = nic_of(word, count);

	return dataplane_nic_unplug(dataplane, &nic, e);
}

static int
keep_add(char **word, int count, struct strbuf *out, struct err *e)
{
	struct dataplane_nic nic = { .index = (uint32_t)atoi(word[0]),
		.vni = (uint32_t)atoi(word[1]),
		.public_address = address(word[2]) };

	vec_add(&keep, nic);
	return 0;
}

static int
sweep(char **word, int count, struct strbuf *out, struct err *e)
{
	uint32_t vnis[WORDS_MAX];
	int r;

	for (int i = 0; i < count; i++)
		vnis[i] = (uint32_t)atoi(word[i]);
	r = dataplane_sweep(dataplane, keep.items, keep.count, vnis, (size_t)count, e);
	vec_done(&keep);
	return r;
}

static int
ifindex(char **word, int count, struct strbuf *out, struct err *e)
{
	unsigned index = 0;
	int r = dataplane_nic_ifindex(
	    dataplane, (uint32_t)atoi(word[0]), (uint32_t)atoi(word[1]), &index, e);

	strbuf_addf(out, " %u", index);
	return r;
}

static int
counters(char **word, int count, struct strbuf *out, struct err *e)
{
	struct dataplane_counters c = { 0 };
	int r = dataplane_nic_counters(
	    dataplane, (uint32_t)atoi(word[0]), (uint32_t)atoi(word[1]), &c, e);

	strbuf_addf(out, " %llu %llu %llu %llu", (unsigned long long)c.received_bytes,
	    (unsigned long long)c.received_packets, (unsigned long long)c.sent_bytes,
	    (unsigned long long)c.sent_packets);
	return r;
}

/* The sockets stay open: a connection to the listening ones succeeds, which is what tests ask. */
static int
serve(char **word, int count, struct strbuf *out, struct err *e)
{
	struct dataplane_sockets s;
	int r = dataplane_sockets_open(dataplane, (uint32_t)atoi(word[0]), &s, e);

	if (r == 0)
		strbuf_addf(out, " %d %d %d %d", s.dhcp, s.metadata, s.dns_udp, s.dns_tcp);
	return r;
}

static const struct {
	const char *name;
	int words; /* at least */
	int (*run)(char **word, int count, struct strbuf *out, struct err *e);
} commands[] = {
	{ "vpc", 2, vpc_begin },
	{ "group", 1, group_begin },
	{ "rule", 5, rule_add },
	{ "member", 1, member_add },
	{ "put", 0, vpc_put },
	{ "remove", 1, vpc_remove },
	{ "tap", 1, tap_create },
	{ "plug", 7, plug },
	{ "unplug", 7, unplug },
	{ "keep", 3, keep_add },
	{ "sweep", 0, sweep },
	{ "ifindex", 2, ifindex },
	{ "counters", 2, counters },
	{ "serve", 1, serve },
};

static int
run(char *line, struct strbuf *out, struct err *e)
{
	char *word[WORDS_MAX];
	int count = 0;

	for (char *w = strtok(line, " \n"); w && count < WORDS_MAX; w = strtok(NULL, " \n"))
		word[count++] = w;
	for (size_t i = 0; count && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, word[0]) == 0 && count > commands[i].words)
			return commands[i].run(word + 1, count - 1, out, e);
	}
	return err_set(e, ERR_INVALID, "no such command");
}

int
main(int argc, char **argv)
{
	struct dataplane_options options = { 0 };
	struct err e = { 0 };
	char line[1024];

	if (argc != 4)
		return 2;
	options.netns_dir = argv[1];
	options.public_interface = strcmp(argv[2], "-") == 0 ? NULL : argv[2];
	options.mtu = (uint16_t)atoi(argv[3]);
	if (dataplane_new(&options, &dataplane, &e) < 0) {
		printf("error %s %s\n", fault_name(e.code), e.text);
		return 1;
	}
	puts("ok");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

		err_clear(&e);
		if (run(line, &out, &e) < 0)
			printf("error %s %s\n", fault_name(e.code), e.text);
		else
			printf("ok%s\n", strbuf_c(&out));
		fflush(stdout);
	}
	dataplane_free(dataplane);
	vec_done(&keep);
	return 0;
}
