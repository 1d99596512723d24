/* The mirror of one VPC's packet filter. A change is computed against the mirror and sent as one
 * transaction; the mirror is believed as long as the kernel's transaction counter stands where our
 * own last transaction left it, and is read back otherwise. A NIC's elements are a function of its
 * record, so plugging, changing and unplugging are one comparison of two lists. */
#include "helper/policy.h"
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "helper/policy_internal.h"

/* -- NICs -- */

#define NIC_KEY_SIZE 28
#define NIC_ELEMENTS_MAX (2 + 2 * POLICY_GROUPS_PER_NIC + 3)

struct nic_element {
	uint8_t family;
	char set[8];
	uint8_t key[NIC_KEY_SIZE], key_size;
	char chain[NFT_NAME_SIZE]; /* a verdict map's value */
	struct in_addr value;      /* an address map's value; 0: a plain set */
};

static unsigned
nic_elements(const struct policy_nic *nic, struct nic_element out[NIC_ELEMENTS_MAX])
{
	unsigned n = 0;
	uint8_t key[NIC_KEY_SIZE] = { 0 };

	if (!nic)
		return 0;
	memset(out, 0, NIC_ELEMENTS_MAX * sizeof(*out));
	(void)snprintf((char *)key, IFNAMSIZ, TAPS "%u", nic->index);
	memcpy(key + 16, nic->mac, 6);
	memcpy(key + 24, &nic->address, 4);
	for (unsigned i = 0; i < 2; i++, n++) {
		out[n] = (struct nic_element){ .family = i ? NFPROTO_ARP : NFPROTO_INET,
			.key_size = NIC_KEY_SIZE };
		(void)snprintf(out[n].set, sizeof(out[n].set), "%s", i ? "nic" : "nic4");
		memcpy(out[n].key, key, NIC_KEY_SIZE);
	}
	for (unsigned k = 0; k < nic->group_count; k++) {
		for (unsigned i = 0; i < 2; i++, n++) {
			out[n] =
			    (struct nic_element){ .family = NFPROTO_INET, .key_size = IFNAMSIZ };
			(void)snprintf(out[n].set, sizeof(out[n].set), "sg%c%u", "io"[i], k);
			policy_name(out[n].chain, i ? "o" : "i", nic->groups[k]);
			memcpy(out[n].key, key, IFNAMSIZ);
		}
	}
	if (!nic->public_address.s_addr)
		return n;
	for (unsigned i = 0; i < 3; i++, n++) {
		static const char *const sets[] = { "dn", "sn", "eip" };

		out[n] = (struct nic_element){ .family = NFPROTO_INET, .key_size = 4 };
		(void)snprintf(out[n].set, sizeof(out[n].set), "%s", sets[i]);
		memcpy(out[n].key, i == 0 ? &nic->public_address : &nic->address, 4);
		if (i < 2)
			out[n].value = i == 0 ? nic->address : nic->public_address;
	}
	return n;
}

static bool
element_is_in(const struct nic_element *x, const struct nic_element *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct nic_element *y = &list[i];

		if (x->family == y->family && strcmp(x->set, y->set) == 0 &&
		    memcmp(x->key, y->key, sizeof(x->key)) == 0 &&
		    strcmp(x->chain, y->chain) == 0 && x->value.s_addr == y->value.s_addr)
			return true;
	}
	return false;
}

/* Turns one NIC into another; either may be NULL. is_forced adds also what should be there already:
 * adding the same again is accepted. */
static void
update_nic(
    struct nft *t, const struct policy_nic *old, const struct policy_nic *new, bool is_forced)
{
	struct nic_element before[NIC_ELEMENTS_MAX], after[NIC_ELEMENTS_MAX];
	unsigned before_count = nic_elements(old, before), after_count = nic_elements(new, after);

	for (unsigned i = 0; i < before_count; i++) {
		if (element_is_in(&before[i], after, after_count))
			continue;
		nft_table_use(t, before[i].family, TABLE);
		nft_element_remove(t, before[i].set, before[i].key, before[i].key_size);
	}
	for (unsigned i = 0; i < after_count; i++) {
		const struct nic_element *x = &after[i];

		if (!is_forced && element_is_in(x, before, before_count))
			continue;
		nft_table_use(t, x->family, TABLE);
		if (x->chain[0])
			nft_element_add_jump(t, x->set, x->key, x->key_size, x->chain);
		else if (x->value.s_addr)
			nft_element_add_data(t, x->set, x->key, x->key_size, &x->value, 4);
		else
			nft_element_add(t, x->set, x->key, x->key_size);
	}
	nft_table_use(t, NFPROTO_INET, TABLE);
}

/* -- mirror -- */

void
policy_done(struct policy *p)
{
	netlink_free(p->netlink);
	vec_done(&p->nics);
	policy_groups_done(&p->groups);
	*p = (struct policy){ 0 };
}

static struct policy_nic *
nic_find(const struct policy *p, uint32_t index)
{
	VEC_FOREACH (&p->nics, nic) {
		if (nic->index == index)
			return nic;
	}
	return NULL;
}

const struct policy_nic *
policy_nic_find(const struct policy *p, uint32_t index)
{
	return nic_find(p, index);
}

static bool
read_index(const void *text, size_t n, const char *prefix, uint32_t *ret)
{
	struct str s = { text, strnlen(text, n) };
	size_t skip = strlen(prefix);

	return str_starts(s, prefix) && str_to_u32((struct str){ s.p + skip, s.n - skip }, ret);
}

static void
load_nic(const struct nft_element *x, void *arg)
{
	struct policy *p = arg;
	struct policy_nic nic = { 0 };

	if (x->key_size != NIC_KEY_SIZE || !read_index(x->key, IFNAMSIZ, TAPS, &nic.index) ||
	    nic_find(p, nic.index))
		return;
	memcpy(nic.mac, (const uint8_t *)x->key + 16, 6);
	memcpy(&nic.address, (const uint8_t *)x->key + 24, 4);
	vec_add(&p->nics, nic);
}

static void
load_nic_group(const struct nft_element *x, void *arg)
{
	struct policy *p = arg;
	uint32_t index, group;
	struct policy_nic *nic;

	if (x->key_size != IFNAMSIZ || !x->chain || !read_index(x->key, IFNAMSIZ, TAPS, &index) ||
	    !read_index(x->chain, strlen(x->chain), "i_", &group))
		return;
	nic = nic_find(p, index);
	if (nic && nic->group_count < POLICY_GROUPS_PER_NIC)
		nic->groups[nic->group_count++] = group;
}

static void
load_public(const struct nft_element *x, void *arg)
{
	struct policy *p = arg;

	if (x->key_size != 4 || x->data_size != 4)
		return;
	VEC_FOREACH (&p->nics, nic) {
		if (memcmp(&nic->address, x->data, 4) == 0)
			memcpy(&nic->public_address, x->key, 4);
	}
}

static void
load_chain(const char *chain, void *arg)
{
	struct policy *p = arg;
	uint32_t index;

	p->has_table = true;
	if (read_index(chain, strlen(chain), "i_", &index))
		(void)policy_group_get(&p->groups, index);
}

static int
load(struct policy *p)
{
	char name[NFT_NAME_SIZE];
	int r;

	p->nics.count = 0;
	policy_groups_done(&p->groups);
	p->has_table = p->has_contents = false;
	r = nft_chains(p->netlink, NFPROTO_INET, TABLE, load_chain, p);
	if (r == 0)
		r = nft_elements(p->netlink, NFPROTO_INET, TABLE, "nic4", load_nic, p);
	for (unsigned k = 0; r == 0 && k < POLICY_GROUPS_PER_NIC; k++) {
		(void)snprintf(name, sizeof(name), "sgi%u", k);
		r = nft_elements(p->netlink, NFPROTO_INET, TABLE, name, load_nic_group, p);
	}
	if (r == 0)
		r = nft_elements(p->netlink, NFPROTO_INET, TABLE, "dn", load_public, p);
	return r;
}

int
policy_refresh(struct policy *p, struct err *e)
{
	uint32_t generation = 0;
	int r;

	r = nft_generation(p->netlink, &generation);
	if (r == 0 && p->is_loaded && generation == p->generation)
		return 0;
	if (r == 0)
		r = load(p);
	p->is_loaded = r == 0;
	p->generation = generation;
	return r < 0 ? err_set_errno(e, -r, "cannot read packet filter") : 0;
}

/* Commits; afterwards the mirror is true again if the caller brings it up to date. */
static int
commit(struct policy *p, struct nft *t, struct err *e)
{
	uint32_t failed = 0;
	int r;

	r = nft_commit(t, p->netlink, &failed);
	if (r < 0) {
		p->is_loaded = false;
		return err_set_errno(
		    e, -r, "packet filter refused change %u of %u", failed, t->batch.count);
	}
	r = nft_generation(p->netlink, &p->generation);
	if (r < 0)
		p->is_loaded = false;
	return 0;
}

/* Groups that NICs or other groups' rules name exist, if only as empty ones. */
static void
add_named_groups(
    struct policy_groups *groups, const struct policy *p, const struct policy_nic *more)
{
	for (size_t i = 0; i < groups->count; i++) {
		for (size_t j = 0; j < groups->items[i].rules.count; j++) {
			uint32_t named = groups->items[i].rules.items[j].group;

			if (named)
				(void)policy_group_get(groups, named);
		}
	}
	VEC_FOREACH (&p->nics, nic) {
		for (unsigned k = 0; k < nic->group_count; k++)
			(void)policy_group_get(groups, nic->groups[k]);
	}
	for (unsigned k = 0; more && k < more->group_count; k++)
		(void)policy_group_get(groups, more->groups[k]);
}

int
policy_put_groups(
    struct policy *p, const struct dataplane_group *groups, size_t count, struct err *e)
{
	_cleanup_(policy_groups_done) struct policy_groups wanted = { 0 };
	const struct policy_groups none = { 0 };
	_cleanup_(nft_done) struct nft t = { 0 };
	struct policy_groups old;
	int r;

	r = policy_groups_check(groups, count, e);
	if (r < 0)
		return r;
	r = policy_refresh(p, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		policy_group_fill(policy_group_get(&wanted, groups[i].index), &groups[i]);
	add_named_groups(&wanted, p, NULL);

	nft_begin(&t);
	if (p->has_contents) {
		nft_table_use(&t, NFPROTO_INET, TABLE);
		policy_groups_update(&t, &p->groups, &wanted);
	} else { /* everything anew, at once: what passes goes on passing */
		policy_skeleton_add(&t);
		policy_groups_update(&t, &none, &wanted);
		VEC_FOREACH (&p->nics, nic)
			update_nic(&t, NULL, nic, true);
	}
	r = commit(p, &t, e);
	if (r < 0)
		return r;
	old = p->groups;
	p->groups = wanted;
	wanted = old;
	p->has_table = p->has_contents = true;
	return 0;
}

int
policy_put_nic(struct policy *p, const struct policy_nic *nic, struct err *e)
{
	_cleanup_(policy_groups_done) struct policy_groups new_groups = { 0 };
	const struct policy_groups none = { 0 };
	_cleanup_(nft_done) struct nft t = { 0 };
	struct policy_nic *old, *robbed = NULL;
	int r;

	r = policy_refresh(p, e);
	if (r < 0)
		return r;
	if (!p->has_table)
		return err_set(e, ERR_NOT_FOUND, "VPC has no packet filter yet");
	old = nic_find(p, nic->index);
	if (!old && p->nics.count >= DATAPLANE_NICS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d NICs in one VPC", DATAPLANE_NICS_MAX);
	VEC_FOREACH (&p->nics, other) {
		if (other != old && nic->public_address.s_addr &&
		    other->public_address.s_addr == nic->public_address.s_addr)
			robbed = other;
	}

	nft_begin(&t);
	nft_table_use(&t, NFPROTO_INET, TABLE);
	for (unsigned k = 0; k < nic->group_count; k++) {
		if (!policy_group_find(&p->groups, nic->groups[k]))
			(void)policy_group_get(&new_groups, nic->groups[k]);
	}
	policy_groups_update(&t, &none, &new_groups);
	if (robbed) {
		struct policy_nic without = *robbed;

		without.public_address.s_addr = 0;
		update_nic(&t, robbed, &without, false);
	}
	update_nic(&t, old, nic, !p->has_contents);
	r = commit(p, &t, e);
	if (r < 0)
		return r;
	VEC_FOREACH (&new_groups, g)
		(void)policy_group_get(&p->groups, g->index);
	if (robbed)
		robbed->public_address.s_addr = 0;
	if (old)
		*old = *nic;
	else
		vec_add(&p->nics, *nic);
	return 0;
}

int
policy_remove_nic(struct policy *p, uint32_t index, struct err *e)
{
	_cleanup_(nft_done) struct nft t = { 0 };
	struct policy_nic *old;
	int r;

	r = policy_refresh(p, e);
	if (r < 0)
		return r;
	old = nic_find(p, index);
	if (!old)
		return 0;
	nft_begin(&t);
	nft_table_use(&t, NFPROTO_INET, TABLE);
	update_nic(&t, old, NULL, false);
	r = commit(p, &t, e);
	if (r < 0)
		return r;
	*old = p->nics.items[--p->nics.count];
	return 0;
}
