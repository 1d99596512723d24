/* ctnetlink: one dump collects the original tuples of what matches, then each is deleted by its
 * tuple. A NAT entry shows its public address only in the reply tuple, so both directions are
 * looked at. An entry that ended by itself meanwhile is no error. */
#include "helper/conntrack.h"
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>
#include <sys/socket.h>
#include "base/vec.h"

#define TUPLE_MAX 256

struct tuple {
	uint16_t size;
	char p[TUPLE_MAX]; /* the content of CTA_TUPLE_ORIG as the kernel wrote it */
};
struct walk {
	struct in_addr address;
	VEC(struct tuple) found;
};

static bool
tuple_names(const struct nlattr *tuple, struct in_addr address)
{
	const struct nlattr *a, *b;

	mnl_attr_for_each_nested(a, tuple)
	{
		if (mnl_attr_get_type(a) != CTA_TUPLE_IP)
			continue;
		mnl_attr_for_each_nested(b, a)
		{
			if ((mnl_attr_get_type(b) == CTA_IP_V4_SRC ||
				mnl_attr_get_type(b) == CTA_IP_V4_DST) &&
			    mnl_attr_get_payload_len(b) == 4 &&
			    mnl_attr_get_u32(b) == address.s_addr)
				return true;
		}
	}
	return false;
}

static int
on_entry(const struct nlmsghdr *h, void *arg)
{
	struct walk *walk = arg;
	const struct nlattr *a, *original = NULL;
	struct tuple t;
	bool is_match = false;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
	{
		uint16_t type = mnl_attr_get_type(a);

		if (type == CTA_TUPLE_ORIG)
			original = a;
		if (type == CTA_TUPLE_ORIG || type == CTA_TUPLE_REPLY)
			is_match = is_match || tuple_names(a, walk->address);
	}
	if (!is_match || !original || mnl_attr_get_payload_len(original) > sizeof(t.p))
		return 0;
	t.size = mnl_attr_get_payload_len(original);
	memcpy(t.p, mnl_attr_get_payload(original), t.size);
	vec_add(&walk->found, t);
	return 0;
}

static struct nlmsghdr *
message(struct netlink *n, int type, uint16_t flags)
{
	struct nfgenmsg g = { .nfgen_family = AF_INET, .version = NFNETLINK_V0 };

	return netlink_message(
	    n, (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type), flags, &g, sizeof(g));
}

int
conntrack_flush(struct netlink *n, struct in_addr address)
{
	struct walk walk = { .address = address };
	int r;

	r = netlink_query(n, message(n, IPCTNL_MSG_CT_GET, NLM_F_DUMP), on_entry, &walk);
	VEC_FOREACH (&walk.found, t) {
		struct nlmsghdr *h = message(n, IPCTNL_MSG_CT_DELETE, 0);
		int deleted;

		mnl_attr_put(h, CTA_TUPLE_ORIG | NLA_F_NESTED, t->size, t->p);
		deleted = netlink_request(n, h);
		if (deleted < 0 && deleted != -ENOENT && r == 0)
			r = deleted;
	}
	vec_done(&walk.found);
	return r;
}
