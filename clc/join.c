/* A token is used in the same transaction that records the daemon and its certificate, so that it
 * can be used once only. What a peer may call later follows from the role in its certificate. */
#include "join.h"

#include <openssl/pem.h>

#include "auth/digest.h"
#include "base/clock.h"
#include "rpc/clc.api.h"
#include "run/fs.h"

#include "peers.h"
#include "vpc.h"
#include "zone.h"

DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)

static const struct role {
	const char *name;
	bool has_zone;
	bool makes_zone; /* the first one of a new zone */
	bool is_single;  /* per zone, or in the cloud */
	bool has_users;  /* whose clients look for its host in its certificate */
} roles[] = {
	{ "walrus", false, false, true, true },
	{ "cc", true, true, true, false },
	{ "sc", true, false, true, false },
	{ "nc", true, false, false, false },
};

static const struct role *
find_role(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
		if (strings_equal(roles[i].name, name))
			return &roles[i];
	return NULL;
}

static bool
zone_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	return n >= 1 && n <= 32 && name[0] != '-' && name[n - 1] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

/* -- tokens -- */

struct token_new {
	const struct role *role;
	const char *zone;
	struct trust_token token;
};

static int
insert_token(struct store_tx *tx, void *arg, struct err *e)
{
	struct token_new *t = arg;
	int64_t expires = store_now_us(tx) + TOKEN_MINUTES * 60 * 1000000LL;
	int r = 0;

	if (t->role->has_zone && !t->role->makes_zone) {
		_cleanup_(store_rows_freep) struct store_rows *rows = NULL;

		r = store_query_one(tx, Q_ZONE_BY_NAME, &rows, "zone", e, t->zone);
		if (r == ERR_NOT_FOUND)
			return err_set(e, r,
			    "there is no zone '%s': its cluster controller (cc) joins first",
			    t->zone);
	}
	if (r == 0)
		r = store_exec(
		    tx, Q_TOKENS_EXPIRE, NULL, e, store_now_us(tx) - 24 * 3600 * 1000000LL);
	return r < 0 ? r
		     : store_exec(tx, Q_TOKEN_INSERT, NULL, e, t->token.id, t->token.secret,
			   t->role->name, t->zone, expires);
}

int
clc_token_create(
    struct clc *clc, const char *role, const char *zone, struct trust_token *ret, struct err *e)
{
	_cleanup_free_ char *ca = xasprintf("%s/trust/ca.pem", clc->conf->daemon.state_dir);
	struct token_new t = { .role = find_role(role), .zone = zone && zone[0] ? zone : NULL };
	int r;

	if (!t.role)
		return err_set(
		    e, ERR_INVALID, "role '%.32s' is none of walrus, cc, sc, nc", role ? role : "");
	if (t.role->has_zone && !t.zone)
		return err_set(e, ERR_INVALID, "a token for '%s' names its zone", role);
	if (!t.role->has_zone && t.zone)
		return err_set(e, ERR_INVALID, "'%s' belongs to no zone", role);
	if (t.zone && !zone_name_is_valid(t.zone))
		return err_set(e, ERR_INVALID,
		    "zone name '%.64s' must be 1 to 32 lower-case letters, digits or '-'", t.zone);
	r = trust_token_new(ca, &t.token, e);
	if (r == 0)
		r = store_write(clc->store, insert_token, &t, e);
	if (r == 0)
		*ret = t.token;
	return r;
}

/* -- joining -- */

struct joining {
	struct clc *clc;
	const struct trust_join *join;
	struct arena *arena;
	struct trust_ca ca;
	struct trust_joined out;
};

static int
read_certificate(const char *pem, char fingerprint[65], int64_t *ret_expires_us, struct err *e)
{
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(pem, -1);
	_cleanup_(X509_freep) X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	uint8_t *der = NULL;
	struct tm tm;
	int n;

	if (!certificate)
		return err_set(e, ERR_INTERNAL, "cannot read the certificate just made");
	n = i2d_X509(certificate, &der);
	digest_hex(DIGEST_SHA256, (struct str){ (char *)der, n }, fingerprint);
	OPENSSL_free(der);
	ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm);
	*ret_expires_us = timegm(&tm) * 1000000LL;
	return 0;
}

static int
check_token(struct store_rows *rows, int64_t now_us, const struct trust_join *join, struct err *e)
{
	if (!trust_join_check(join, store_text(rows, 1)))
		return err_set(e, ERR_DENIED, "the token is not one of this cloud's");
	if (!store_is_null(rows, 5))
		return err_set(e, ERR_DENIED, "the token was used already; make another one");
	if (store_int(rows, 4) < now_us)
		return err_set(e, ERR_DENIED, "the token has expired; make another one");
	if (!strings_equal(store_text(rows, 2), join->role))
		return err_set(e, ERR_DENIED, "the token is for a %s, not for a %.16s",
		    store_text(rows, 2), join->role);
	return 0;
}

/* One cc and one sc per zone, one walrus: a second one takes the place of one that is no longer
 * there. */
static int
replace_single(struct store_tx *tx, struct joining *j, const struct role *role, const char *zone,
    struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
	int r;

	if (!role->is_single)
		return 0;
	r = role->has_zone ? store_query(tx, Q_PEER_OF_ZONE, &rows, e, role->name, zone)
			   : store_query(tx, Q_PEER_BY_ROLE, &rows, e, role->name);
	if (r == 0)
		r = store_next(rows, e);
	if (r <= 0)
		return r;
	if (clc_peers_is_up(j->clc->peers, store_text(rows, 0), &why))
		return err_set(e, ERR_CONFLICT, "there is a %s in service already: '%s'",
		    role->name, store_text(rows, 0));
	return store_exec(tx, Q_PEER_DELETE, NULL, e, store_text(rows, 0));
}

static int
make_zone(struct store_tx *tx, struct clc *clc, const char *zone, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *rows = NULL;
	_cleanup_free_ char *zone_id = xasprintf("%.8s-az", clc->conf->region);
	int r = store_query(tx, Q_ZONE_BY_NAME, &rows, e, zone);

	if (r == 0)
		r = store_next(rows, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = store_exec(tx, Q_ZONE_INSERT, NULL, e, zone, zone_id, zone, store_now_us(tx));
	return r < 0 ? r : clc_vpc_add_zone(tx, zone, e);
}

static int
admit(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *token = NULL;
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	struct joining *j = arg;
	const struct trust_join *join = j->join;
	const struct role *role = find_role(join->role);
	struct trust_subject subject;
	char peer_id[ID_MAX], fingerprint[65];
	const char *zone;
	int64_t expires, used = 0;
	int r;

	r = store_query_one(tx, Q_TOKEN_BY_ID, &token, "token", e, join->token_id);
	if (r == ERR_NOT_FOUND)
		return err_set(e, ERR_DENIED, "the token is not one of this cloud's");
	if (r == 0)
		r = check_token(token, store_now_us(tx), join, e);
	if (r == 0 && !role)
		r = err_set(e, ERR_INVALID, "there is no role '%.16s'", join->role);
	if (r < 0)
		return r;
	zone = arena_strdup(j->arena, store_text(token, 3));
	r = replace_single(tx, j, role, zone, e);
	if (r < 0)
		return r;
	id_new(peer_id, join->role);
	subject =
	    (struct trust_subject){ peer_id, join->role, role->has_users ? join->advertise : NULL };
	r = trust_sign(&j->ca, join->csr, &subject, TRUST_DAYS, &pem, e);
	if (r == 0)
		r = read_certificate(strbuf_c(&pem), fingerprint, &expires, e);
	if (r == 0)
		r = store_exec(
		    tx, Q_TOKEN_USE, &used, e, join->token_id, store_now_us(tx), peer_id);
	if (r == 0 && used == 0)
		r = err_set(e, ERR_DENIED, "the token was used already; make another one");
	if (r == 0 && role->makes_zone)
		r = make_zone(tx, j->clc, zone, e);
	if (r == 0)
		r = store_exec(tx, Q_PEER_PUT, NULL, e, peer_id, join->role, zone, join->advertise,
		    fingerprint, expires, store_now_us(tx));
	if (r == 0 && zone)
		r = store_exec(tx, Q_ZONE_TOUCH_NODES, NULL, e, zone);
	if (r == 0)
		r = outbox_add(tx, "peer", peer_id, NULL, join->role, e);
	j->out = (struct trust_joined){ .peer_id = arena_strdup(j->arena, peer_id),
		.zone = zone ? zone : "",
		.certificate = arena_strdup(j->arena, strbuf_c(&pem)) };
	return r;
}

static void
answer_error(struct http_call *call, const struct err *e)
{
	call->status = fault_status(e->code);
	call->content_type = "text/plain";
	strbuf_reset(&call->reply);
	strbuf_addf(&call->reply, "%s\n", e->text);
}

static int
read_ca(struct joining *j, struct err *e)
{
	_cleanup_free_ char *directory = xasprintf("%s/trust", j->clc->conf->daemon.state_dir);
	_cleanup_free_ char *path = xasprintf("%s/ca.pem", directory);
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	int r = trust_ca_load(directory, &j->ca, e);

	if (r == 0)
		r = fs_read(path, 16384, &pem, e);
	if (r == 0)
		j->out.ca = arena_strdup(j->arena, strbuf_c(&pem));
	return r;
}

static int
join(struct clc *clc, struct http_call *call, struct err *e)
{
	struct joining j = { .clc = clc, .arena = call->arena };
	struct trust_join asked;
	const char *ca;
	int r;

	r = trust_join_parse(call->body, call->arena, &asked, e);
	if (r < 0)
		return r;
	j.join = &asked;
	r = read_ca(&j, e);
	ca = j.out.ca;
	if (r == 0)
		r = store_write(clc->store, admit, &j, e);
	trust_ca_done(&j.ca);
	if (r < 0)
		return r;
	j.out.ca = ca;
	trust_joined_format(&j.out, &call->reply);
	call->content_type = "application/x-www-form-urlencoded";
	log_info(clc->log, "peer.joined", "peer=%s role=%s zone=%s url=%s", j.out.peer_id,
	    asked.role, j.out.zone, asked.advertise);
	clc_zones_refresh(clc);
	clc_zones_poke(clc, NULL);
	return 0;
}

/* -- is it in service? -- */

struct status {
	struct clc *clc;
	const struct trust_join_status *asked;
	struct strbuf why;
	bool is_known, is_up;
};

static int
read_status(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *token = NULL, *peer = NULL, *node = NULL;
	struct status *s = arg;
	int r = store_query_one(tx, Q_TOKEN_BY_ID, &token, "token", e, s->asked->token_id);

	if (r < 0 || !trust_join_status_check(s->asked, store_text(token, 1)) ||
	    !strings_equal(store_text(token, 6), s->asked->peer_id))
		return err_set(e, ERR_DENIED, "the token is not one of this cloud's");
	r = store_query_one(tx, Q_PEER_BY_ID, &peer, "daemon", e, s->asked->peer_id);
	if (r < 0)
		return r;
	if (strcmp(store_text(peer, 1), "nc") != 0)
		return 0;
	s->is_known = true;
	r = store_query(tx, Q_NODE_BY_ID, &node, e, s->asked->peer_id);
	if (r == 0)
		r = store_next(node, e);
	if (r < 0)
		return r;
	if (r == 0)
		strbuf_addf(&s->why,
		    "the cluster controller of zone '%s' has not heard from this node yet",
		    store_text(peer, 2));
	else if (!strings_equal(store_text(node, 0), "up"))
		strbuf_addf(&s->why, "the node is %s: %s", store_text(node, 0),
		    store_text(node, 1) ? store_text(node, 1) : "no reason known");
	else
		s->is_up = true;
	return 0;
}

static int
join_status(struct clc *clc, struct http_call *call, struct err *e)
{
	struct trust_join_status asked;
	struct status s = { .clc = clc, .asked = &asked };
	int r = trust_join_status_parse(call->body, call->arena, &asked, e);

	if (r == 0)
		r = store_read(clc->store, read_status, &s, e);
	if (r == 0 && !s.is_known)
		s.is_up = clc_peers_is_up(clc->peers, asked.peer_id, &s.why);
	if (r == 0) {
		call->content_type = "text/plain";
		call->status = s.is_up ? 200 : 202;
		strbuf_addf(&call->reply, "%s\n", s.is_up ? "in service" : strbuf_c(&s.why));
	}
	strbuf_done(&s.why);
	return r;
}

void
clc_join(struct clc *clc, struct str path, struct http_call *call)
{
	struct err e = { 0 };
	int r;

	if (!call->peer.is_tls)
		r = err_set(&e, ERR_DENIED, "joining needs https");
	else if (!str_is(call->head->method, "POST"))
		r = err_set(&e, ERR_METHOD_NOT_ALLOWED, "POST is what this path answers");
	else if (str_is(path, "/join"))
		r = join(clc, call, &e);
	else if (str_is(path, "/join/status"))
		r = join_status(clc, call, &e);
	else
		r = err_set(&e, ERR_NOT_FOUND, "there is nothing at this path");
	if (r < 0) {
		log_warn(
		    clc->log, "join.refused", "from=%s reason=\"%s\"", call->peer.address, e.text);
		answer_error(call, &e);
	}
}

/* -- renewal -- */

struct renewal {
	const char *peer_id, *fingerprint, *url;
	struct arena *arena;
	int64_t expires_us;
};

static int
read_url(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *peer = NULL;
	struct renewal *renewal = arg;
	int r = store_query_one(tx, Q_PEER_BY_ID, &peer, "daemon", e, renewal->peer_id);

	if (r == 0)
		renewal->url = arena_strdup(renewal->arena, store_text(peer, 3));
	return r;
}

static int
write_renewal(struct store_tx *tx, void *arg, struct err *e)
{
	_cleanup_(store_rows_freep) struct store_rows *peer = NULL;
	const struct renewal *renewal = arg;
	int r = store_query_one(tx, Q_PEER_BY_ID, &peer, "daemon", e, renewal->peer_id);

	if (r == 0)
		r = store_exec(tx, Q_PEER_RENEW, NULL, e, renewal->peer_id, renewal->fingerprint,
		    renewal->expires_us);
	if (r == 0 && store_text(peer, 2))
		r = store_exec(tx, Q_ZONE_TOUCH_NODES, NULL, e, store_text(peer, 2));
	return r == 0 ? outbox_add(tx, "peer", renewal->peer_id, NULL, "renewed", e) : r;
}

int
clc_handle_renew_certificate(struct rpc_request *rq, const struct clc_renew_certificate_in *in,
    struct clc_renew_certificate_out *out, struct err *e)
{
	struct clc *clc = rq->state;
	struct joining j = { .clc = clc, .arena = rq->arena };
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	char fingerprint[65];
	struct renewal renewal = {
		.peer_id = rq->peer_id, .fingerprint = fingerprint, .arena = rq->arena
	};
	const struct role *role = find_role(rq->peer_role);
	struct trust_subject subject = { rq->peer_id, rq->peer_role, NULL };
	int r = read_ca(&j, e);

	if (r == 0 && role && role->has_users) {
		r = store_read(clc->store, read_url, &renewal, e);
		subject.url = renewal.url;
	}
	if (r == 0)
		r = trust_sign(&j.ca, in->csr, &subject, TRUST_DAYS, &pem, e);
	trust_ca_done(&j.ca);
	if (r == 0)
		r = read_certificate(strbuf_c(&pem), fingerprint, &renewal.expires_us, e);
	if (r == 0)
		r = store_write(clc->store, write_renewal, &renewal, e);
	if (r < 0)
		return r;
	out->certificate = arena_strdup(rq->arena, strbuf_c(&pem));
	out->ca = j.out.ca;
	log_info(&rq->log, "peer.renewed", "peer=%s", rq->peer_id);
	clc_zones_poke(clc, NULL);
	return 0;
}
