#pragma once
/* Trust: the cloud's CA, one ECDSA P-256 key per daemon, joining by one-time token, renewal.
 * Files in <state_dir>/trust: ca.pem, certificate.pem, key.pem (0600), peer.conf (our id, role, zone,
 * the CLC's URL). The CLC also holds ca.key, and the storage CA beside it. */
#include "auth/wsse.h"
#include "base/arena.h"
#include "run/conf.h"

#define TRUST_DAYS 90 /* of a daemon's certificate; renewed after two thirds */
struct trust_ca {
	EVP_PKEY *key;
	X509 *certificate;
};
/* ca.key, ca.pem; 20 years. ERR_EXISTS when there is one. */
int trust_ca_create(const char *directory, const char *name, struct err *e);
int trust_ca_load(const char *directory, struct trust_ca *ret, struct err *e);
void trust_ca_done(struct trust_ca *ca);
bool trust_ca_fingerprint(const char *ca_path, char out[65]);
/* Whom a certificate is for: O=Mallee, OU=<role>, CN=<peer id>; serverAuth and clientAuth. */
struct trust_subject {
	const char *peer_id, *role;
	const char *url; /* where users reach it, who look for its host in the certificate; NULL: they don't */
};
/* PEM in, PEM out. */
int trust_sign(const struct trust_ca *ca, const char *csr_pem, const struct trust_subject *subject,
    unsigned days, struct strbuf *ret_pem, struct err *e);
/* The same with explicit dates. */
int trust_sign_dates(const struct trust_ca *ca, const char *csr_pem,
    const struct trust_subject *subject, int64_t not_before_us, int64_t not_after_us,
    struct strbuf *ret_pem, struct err *e);
int trust_key_create(const char *key_path, struct err *e);
int trust_csr(const char *key_path, struct strbuf *ret_pem, struct err *e);

/* "id.secret.sha256(CA)": made by the CLC, used once within 15 minutes. */
#define TRUST_TOKEN_MAX 160
struct trust_token {
	char id[20];
	char secret[44];
	char ca_fingerprint[65];
};
int trust_token_new(const char *ca_path, struct trust_token *ret, struct err *e);
bool trust_token_parse(const char *text, struct trust_token *ret);
void trust_token_format(const struct trust_token *t, char out[TRUST_TOKEN_MAX]);

struct trust_peer { /* peer.conf */
	char *peer_id, *role, *zone, *clc_url;
};
int trust_peer_load(const char *state_dir, struct trust_peer *ret, struct err *e);
void trust_peer_done(struct trust_peer *p);
int trust_peer_write(const char *state_dir, const struct trust_peer *p, struct err *e);

/* Writes ca.pem, certificate.pem (with the CA behind it: servers send the chain) and, last, peer.conf,
 * without which a daemon has not joined. key.pem is there already. */
int trust_install(const char *state_dir, const struct trust_peer *peer, const char *certificate_pem,
    const char *ca_pem, struct err *e);

/* -- joining: docs/protocol.md "Joining". All bodies are forms. -- */
#define TRUST_JOIN_MAX (16 * 1024)
struct trust_join { /* POST /join */
	const char *token_id, *role, *advertise, *csr;
	uint8_t mac[32];
};
/* Appends the body; ERR_INVALID when a value can't travel. */
int trust_join_format(const struct trust_token *token, const char *role, const char *advertise,
    const char *csr_pem, struct strbuf *out, struct err *e);
/* Strings come from the arena. Checks shapes and lengths, not the MAC. */
int trust_join_parse(struct str body, struct arena *arena, struct trust_join *ret, struct err *e);
/* Whether who sent it knows the token's secret; constant time. */
bool trust_join_check(const struct trust_join *join, const char *secret);

struct trust_joined { /* the answer, status 200 */
	const char *peer_id, *zone /* may be empty */, *certificate, *ca;
};
void trust_joined_format(const struct trust_joined *joined, struct strbuf *out);
int trust_joined_parse(struct str body, struct arena *arena, struct trust_joined *ret,
    struct err *e);

struct trust_join_status { /* POST /join/status: 200 in service; 202 and one sentence: not yet */
	const char *token_id, *peer_id;
	uint8_t mac[32];
};
void trust_join_status_format(const struct trust_token *token, const char *peer_id,
    struct strbuf *out);
int trust_join_status_parse(struct str body, struct arena *arena, struct trust_join_status *ret,
    struct err *e);
bool trust_join_status_check(const struct trust_join_status *status, const char *secret);

/* The command `join URL TOKEN` of every daemon but the CLC (a row for daemon_spec.commands calls it):
 * makes key and CSR, POSTs them to URL/join over TLS whose chain must end in the CA of the token,
 * stores the certificate. `advertise` is the URL at which others will reach this daemon. Then waits
 * until the CLC says that it is in service (at most wait_s), prints "in service", or one sentence of
 * what is missing, exit status 1. */
int trust_join(const char *role, const char *state_dir, const char *advertise, const char *clc_url,
    const char *token, unsigned wait_s);
/* Renewal: a reconciler body; POSTs a new CSR to the CLC's internal service over mutual TLS when two
 * thirds of the life are over (the CLC signs its own). *ret_renewed tells that files changed and
 * rpc_reload is due. The key stays, so that there is never a certificate beside the wrong key. */
struct rpc;
bool trust_renewal_is_due(int64_t not_before_us, int64_t not_after_us, int64_t now_us);
int trust_renew(struct rpc *r, const char *state_dir, bool *ret_renewed, struct err *e);
