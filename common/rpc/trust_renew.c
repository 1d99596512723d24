/* A certificate lives 90 days and is replaced after 60, which leaves a month in which the CLC may
 * be away. The key stays the same, so the only change on disk is one file replaced atomically. */
#include "base/clock.h"
#include "rpc/clc.api.h"
#include "rpc/rpc_internal.h"
#include "rpc/trust_internal.h"

#define CALL_TIMEOUT_MS 10000

bool
trust_renewal_is_due(int64_t not_before_us, int64_t not_after_us, int64_t now_us)
{
	return now_us >= not_before_us + (not_after_us - not_before_us) / 3 * 2;
}

static int
is_due(const struct rpc *r, bool *ret, struct err *e)
{
	_cleanup_(trust_certificate_free) X509 *certificate = NULL;
	int n = trust_read_certificate(r->certificate_path, &certificate, e);

	if (n < 0)
		return n;
	*ret = trust_renewal_is_due(trust_time_us(X509_get0_notBefore(certificate)),
	    trust_time_us(X509_get0_notAfter(certificate)), clock_now_us());
	return 0;
}

static int
ask_clc(
    struct rpc *r, const char *csr, struct trust_joined *ret, struct arena *arena, struct err *e)
{
	struct clc_renew_certificate_in in = { .csr = csr };
	struct clc_renew_certificate_out out;
	int n = rpc_call(
	    rpc_clc_peer(r), &clc_renew_certificate, NULL, &in, &out, arena, CALL_TIMEOUT_MS, e);

	if (n < 0)
		return n;
	ret->certificate = out.certificate;
	ret->ca = out.ca;
	return 0;
}

/* The CLC holds the CA's key beside its own. */
static int
sign_own(
    struct rpc *r, const char *csr, struct trust_joined *ret, struct arena *arena, struct err *e)
{
	_cleanup_(trust_ca_done) struct trust_ca ca = { 0 };
	_cleanup_free_ char *directory = xasprintf("%s/trust", r->state_dir);
	_cleanup_strbuf_ struct strbuf certificate = STRBUF_INIT, pem = STRBUF_INIT;
	const struct trust_subject self = { r->self.peer_id, r->self.role, NULL };
	int n = trust_ca_load(directory, &ca, e);

	if (n == 0)
		n = trust_sign(&ca, csr, &self, TRUST_DAYS, &certificate, e);
	if (n == 0)
		n = trust_certificate_to_pem(ca.certificate, &pem, e);
	if (n < 0)
		return n;
	ret->certificate = arena_strdup(arena, strbuf_c(&certificate));
	ret->ca = arena_strdup(arena, strbuf_c(&pem));
	return 0;
}

int
trust_renew(struct rpc *r, const char *state_dir, bool *ret_renewed, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_strbuf_ struct strbuf csr = STRBUF_INIT;
	struct trust_joined fresh = { .peer_id = r->self.peer_id };
	char ca_fingerprint[65];
	bool due = false;
	int n;

	*ret_renewed = false;
	n = is_due(r, &due, e);
	if (n < 0 || !due)
		return n;
	if (!trust_ca_fingerprint(r->ca_path, ca_fingerprint))
		return err_set(e, ERR_INVALID, "cannot read the CA certificate '%s'", r->ca_path);
	n = trust_csr(r->key_path, &csr, e);
	if (n == 0)
		n = strings_equal(r->self.role, "clc")
			? sign_own(r, strbuf_c(&csr), &fresh, arena, e)
			: ask_clc(r, strbuf_c(&csr), &fresh, arena, e);
	if (n == 0)
		n = trust_check_joined(&fresh, r->self.role, ca_fingerprint, r->key_path, e);
	if (n == 0)
		n = trust_install(state_dir, &r->self, fresh.certificate, fresh.ca, e);
	if (n < 0)
		return err_wrap(e, "renewing the certificate of '%s'", r->self.peer_id);
	*ret_renewed = true;
	return 0;
}
