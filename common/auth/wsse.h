#pragma once
/* WS-Security signatures between daemons (docs/protocol.md): ECDSA P-256 with SHA-256 over Body,
 * Timestamp, To, Action, MessageID, Context, and RelatesTo in replies. Emitting writes canonical form
 * directly; verifying is by position, never by searching ids: what is dispatched is the very node
 * whose digest was checked. OASIS WSS 1.0 X.509 token profile; XML Signature 1.0. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include "xml/soap.h"

struct wsse_identity { /* ours */
	EVP_PKEY *key;
	X509 *certificate;
	char *certificate_base64; /* DER, one line */
};
int wsse_identity_load(const char *certificate_path, const char *key_path, struct wsse_identity *ret,
    struct err *e);
void wsse_identity_done(struct wsse_identity *id);

/* Appends the whole signed envelope. `body_xml` is the Body's content in canonical form with
 * NS_MALLEE as default namespace declared on its top element. */
int wsse_write(const struct wsse_identity *id, const struct soap_addressing *addressing,
    struct str body_xml, int64_t now_us, struct strbuf *out, struct err *e);

struct wsse_verifier; /* trusted CA, cache of parsed certificates, replay table */
struct wsse_options {
	const char *ca_path;
	uint32_t replay_max; /* signatures remembered, 0: 65536; full: refuse (ERR_LIMIT) */
	uint64_t epoch;      /* of this boot: other receiver_epochs are ERR_STALE (0 is let through to
			      * the caller, who accepts it for Hello alone) */
};
int wsse_verifier_new(const struct wsse_options *options, struct wsse_verifier **ret, struct err *e);
void wsse_verifier_free(struct wsse_verifier *v);
int wsse_verifier_reload(struct wsse_verifier *v, struct err *e); /* CA file again */

struct wsse_message { /* what was verified, and nothing else */
	xmlDoc *doc;      /* owned */
	xmlNode *body;    /* the signed Body's only child element */
	struct soap_addressing addressing; /* strings owned by doc's arena below */
	struct arena *arena;
	char fingerprint[65]; /* SHA-256 of the signer's certificate */
	char subject[64];     /* its CN: the peer id */
	char role[16];        /* its role: clc, cc, sc, nc, walrus */
	bool is_stale;        /* signature right, but meant for an earlier boot of ours */
};
void wsse_message_done(struct wsse_message *m);
enum wsse_kind { WSSE_REQUEST, WSSE_REPLY };
/* Checks everything: skeleton, ids, references, algorithms, digests, signature, chain to the CA,
 * Created/Expires (20 s skew, 5 min validity), replay. ERR_AUTH_FAILURE with a reason for the log;
 * ERR_STALE when only the epoch is wrong (the message is filled). `tls_fingerprint`: the TLS peer
 * must be the signer; NULL or "" skips (tests). */
int wsse_verify(struct wsse_verifier *v, enum wsse_kind kind, struct str envelope,
    const char *tls_fingerprint, int64_t now_us, struct wsse_message *ret, struct err *e);
