/* What a joining daemon and the CLC say to each other, both ends: the token's text and the forms of
 * /join and /join/status (docs/protocol.md). The secret never travels: each request carries an HMAC
 * over what it asks for, made with it. */
#include <stdio.h>
#include "auth/digest.h"
#include "base/id.h"
#include "net/url.h"
#include "rpc/trust.h"
#include "rpc/trust_internal.h"

#define CSR_MAX 8192
#define PEM_MAX 16384
#define ADVERTISE_MAX 512

/* -- the token -- */

static bool
all_of(const char *s, size_t least, size_t most, const char *alphabet)
{
	size_t n = strlen(s);

	return n >= least && n <= most && strspn(s, alphabet) == n;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool
is_token_id(const char *s)
{
	return all_of(s, 1, sizeof(((struct trust_token *)0)->id) - 1, LOWER DIGITS "-");
}

int
trust_token_new(const char *ca_path, struct trust_token *ret, struct err *e)
{
	uint8_t bytes[32];
	char id[ID_MAX];
	_cleanup_free_ char *secret = NULL;

	*ret = (struct trust_token){ 0 };
	if (!trust_ca_fingerprint(ca_path, ret->ca_fingerprint))
		return err_set(e, ERR_INVALID, "cannot read the CA certificate '%s'", ca_path);
	id_new(id, "t"); /* t- and 17 digits */
	memcpy(ret->id, id, strlen(id) + 1);
	random_bytes(bytes, sizeof(bytes));
	secret = base64_encode(bytes, sizeof(bytes));
	for (size_t i = 0; i < 43; i++) /* without the padding */
		ret->secret[i] = secret[i] == '+' ? '-' : secret[i] == '/' ? '_' : secret[i];
	return 0;
}

bool
trust_token_parse(const char *text, struct trust_token *ret)
{
	struct trust_token t = { 0 };
	struct str rest = str_of(text), part;
	struct {
		char *out;
		size_t size;
	} parts[] = {
		{ t.id, sizeof(t.id) },
		{ t.secret, sizeof(t.secret) },
		{ t.ca_fingerprint, sizeof(t.ca_fingerprint) },
	};

	if (strlen(text) >= TRUST_TOKEN_MAX)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		bool is_last = i == ARRAY_SIZE(parts) - 1;

		part = rest;
		if (!is_last && (!memchr(rest.p, '.', rest.n) || !str_split(&rest, '.', &part)))
			return false;
		if (part.n >= parts[i].size)
			return false;
		memcpy(parts[i].out, part.p, part.n);
	}
	if (!is_token_id(t.id) || !all_of(t.secret, 43, 43, LOWER UPPER DIGITS "-_") ||
	    !all_of(t.ca_fingerprint, 64, 64, DIGITS "abcdef"))
		return false;
	*ret = t;
	return true;
}

void
trust_token_format(const struct trust_token *t, char out[TRUST_TOKEN_MAX])
{
	(void)snprintf(out, TRUST_TOKEN_MAX, "%s.%s.%s", t->id, t->secret, t->ca_fingerprint);
}

/* -- forms -- */

static void
add_pair(struct strbuf *out, const char *name, const char *value)
{
	strbuf_addf(out, "%s%s=", out->n ? "&" : "", name);
	url_encode(out, str_of(value), false);
}

static void
add_mac(struct strbuf *out, const uint8_t mac[32])
{
	char hex[65];

	hex_encode(mac, 32, hex);
	add_pair(out, "mac", hex);
}

/* One value of a form: there exactly once, no longer than max. */
static int
get(const struct form *form, const char *name, size_t max, const char **ret, struct arena *arena,
    struct err *e)
{
	const struct form_field *found = NULL;

	for (size_t i = 0; i < form->count; i++) {
		if (!strings_equal(form->fields[i].name, name))
			continue;
		if (found)
			return err_set(e, ERR_INVALID, "'%s' is given twice", name);
		found = &form->fields[i];
	}
	if (!found)
		return err_set(e, ERR_INVALID, "'%s' is missing", name);
	if (found->value.n > max || memchr(found->value.p, '\0', found->value.n))
		return err_set(e, ERR_INVALID, "'%s' is ill-formed", name);
	*ret = arena_str(arena, found->value);
	return 0;
}

static int
get_mac(const struct form *form, uint8_t mac[32], struct arena *arena, struct err *e)
{
	const char *hex;
	size_t n;
	int r = get(form, "mac", 64, &hex, arena, e);

	if (r < 0)
		return r;
	if (!hex_decode(str_of(hex), mac, 32, &n) || n != 32)
		return err_set(e, ERR_INVALID, "'mac' is ill-formed");
	return 0;
}

/* The parts are separated by a byte that none of them may hold. */
static void
compute_mac(const char *secret, const char *purpose, const char *const *parts, size_t count,
    uint8_t out[32])
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	strbuf_adds(&text, purpose);
	for (size_t i = 0; i < count; i++) {
		strbuf_addc(&text, '\0');
		strbuf_adds(&text, parts[i]);
	}
	hmac(DIGEST_SHA256, str_of(secret), strbuf_str(&text), out);
}

static void
join_mac(const char *secret, const char *token_id, const char *role, const char *advertise,
    const char *csr, uint8_t out[32])
{
	const char *parts[] = { token_id, role, advertise, csr };

	compute_mac(secret, "mallee-join-1", parts, ARRAY_SIZE(parts), out);
}

static bool
is_advertise(const char *s)
{
	return strlen(s) <= ADVERTISE_MAX && strncmp(s, "https://", 8) == 0 &&
	       all_of(s + 8, 1, ADVERTISE_MAX, LOWER UPPER DIGITS "-._:[]/");
}

int
trust_join_format(const struct trust_token *token, const char *role, const char *advertise,
    const char *csr_pem, struct strbuf *out, struct err *e)
{
	uint8_t mac[32];

	if (!is_advertise(advertise))
		return err_set(e, ERR_INVALID,
		    "'%.200s' is no URL at which others could reach this daemon "
		    "(https://ADDRESS:PORT)",
		    advertise);
	join_mac(token->secret, token->id, role, advertise, csr_pem, mac);
	add_pair(out, "token", token->id);
	add_pair(out, "role", role);
	add_pair(out, "advertise", advertise);
	add_pair(out, "csr", csr_pem);
	add_mac(out, mac);
	return 0;
}

int
trust_join_parse(struct str body, struct arena *arena, struct trust_join *ret, struct err *e)
{
	struct form form = { 0 };
	struct trust_join join = { 0 };
	int r;

	if (body.n > TRUST_JOIN_MAX)
		return err_set(e, ERR_LIMIT, "the request is too large");
	if ((r = form_parse(body, 16, arena, &form, e)) < 0 ||
	    (r = get(&form, "token", 64, &join.token_id, arena, e)) < 0 ||
	    (r = get(&form, "role", 16, &join.role, arena, e)) < 0 ||
	    (r = get(&form, "advertise", ADVERTISE_MAX, &join.advertise, arena, e)) < 0 ||
	    (r = get(&form, "csr", CSR_MAX, &join.csr, arena, e)) < 0 ||
	    (r = get_mac(&form, join.mac, arena, e)) < 0)
		return r;
	if (!is_token_id(join.token_id))
		return err_set(e, ERR_INVALID, "'token' is ill-formed");
	if (!is_advertise(join.advertise))
		return err_set(e, ERR_INVALID, "'advertise' is ill-formed");
	*ret = join;
	return 0;
}

bool
trust_join_check(const struct trust_join *join, const char *secret)
{
	uint8_t mac[32];

	join_mac(secret, join->token_id, join->role, join->advertise, join->csr, mac);
	return digest_equal(mac, join->mac, sizeof(mac));
}

void
trust_joined_format(const struct trust_joined *joined, struct strbuf *out)
{
	add_pair(out, "peer_id", joined->peer_id);
	add_pair(out, "zone", joined->zone ? joined->zone : "");
	add_pair(out, "certificate", joined->certificate);
	add_pair(out, "ca", joined->ca);
}

int
trust_joined_parse(struct str body, struct arena *arena, struct trust_joined *ret, struct err *e)
{
	struct form form = { 0 };
	struct trust_joined joined = { 0 };
	int r;

	if ((r = form_parse(body, 16, arena, &form, e)) < 0 ||
	    (r = get(&form, "peer_id", 40, &joined.peer_id, arena, e)) < 0 ||
	    (r = get(&form, "zone", 64, &joined.zone, arena, e)) < 0 ||
	    (r = get(&form, "certificate", PEM_MAX, &joined.certificate, arena, e)) < 0 ||
	    (r = get(&form, "ca", PEM_MAX, &joined.ca, arena, e)) < 0)
		return err_wrap(e, "the answer of the clc");
	*ret = joined;
	return 0;
}

static void
status_mac(const char *secret, const char *token_id, const char *peer_id, uint8_t out[32])
{
	const char *parts[] = { token_id, peer_id };

	compute_mac(secret, "mallee-join-status-1", parts, ARRAY_SIZE(parts), out);
}

void
trust_join_status_format(const struct trust_token *token, const char *peer_id, struct strbuf *out)
{
	uint8_t mac[32];

	status_mac(token->secret, token->id, peer_id, mac);
	add_pair(out, "token", token->id);
	add_pair(out, "peer_id", peer_id);
	add_mac(out, mac);
}

int
trust_join_status_parse(
    struct str body, struct arena *arena, struct trust_join_status *ret, struct err *e)
{
	struct form form = { 0 };
	struct trust_join_status status = { 0 };
	int r;

	if (body.n > TRUST_JOIN_MAX)
		return err_set(e, ERR_LIMIT, "the request is too large");
	if ((r = form_parse(body, 16, arena, &form, e)) < 0 ||
	    (r = get(&form, "token", 64, &status.token_id, arena, e)) < 0 ||
	    (r = get(&form, "peer_id", 40, &status.peer_id, arena, e)) < 0 ||
	    (r = get_mac(&form, status.mac, arena, e)) < 0)
		return r;
	if (!is_token_id(status.token_id))
		return err_set(e, ERR_INVALID, "'token' is ill-formed");
	*ret = status;
	return 0;
}

bool
trust_join_status_check(const struct trust_join_status *status, const char *secret)
{
	uint8_t mac[32];

	status_mac(secret, status->token_id, status->peer_id, mac);
	return digest_equal(mac, status->mac, sizeof(mac));
}
