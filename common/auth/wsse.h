#pragma once
/* WS-Security signatures between daemons (docs/protocol.md): ECDSA P-256 with SHA-256 over To,
 * Action, MessageID, RelatesTo (replies), Context, Timestamp, the sender's certificate and Body.
 * Emitting writes canonical form directly; verifying is by position, never by searching ids: what
 * is dispatched is the very node whose digest was checked. There is one way to write a message: an
 * envelope that says the same in other bytes is refused. OASIS WSS 1.0 X.509 token profile; XML
 * Signature 1.0.
 *
 * A certificate says who its holder is by its subject, exactly "O=Mallee, OU=<role>, CN=<peer id>",
 * is no CA, and is signed directly by a CA of the file given. Anything else cannot sign. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include "xml/soap.h"

struct wsse_identity { /* ours */
	EVP_PKEY *key;
	X509 *certificate;
	char *certificate_base64; /* DER, one line */
};
/* ERR_INVALID when the files hold no certificate or key, or do not belong together. */
int wsse_identity_load(
    const char *certificate_path, const char *key_path, struct wsse_identity *ret, struct err *e);
void wsse_identity_done(struct wsse_identity *id);

#define WSSE_VALIDITY_S 120 /* Expires - Created of what we write */
/* Appends the whole signed envelope; `addressing` needs to, action and message_id. `body_xml` is
 * the Body's content in canonical form: one element, with NS_MALLEE as default namespace declared
 * on it (or soap:Fault). Thread-safe. */
int wsse_write(const struct wsse_identity *id, const struct soap_addressing *addressing,
    struct str body_xml, int64_t now_us, struct strbuf *out, struct err *e);

#define WSSE_PEER_MAX 64
#define WSSE_ROLE_MAX 16
#define WSSE_FINGERPRINT_SIZE 65

struct wsse_verifier; /* trusted CA, cache of parsed certificates, replay table. Thread-safe. */
struct wsse_options {
	const char *ca_path; /* PEM, one or more (old and new while a CA is replaced) */
	const char *self;    /* our peer id: replies must be To it; NULL: unchecked (tests) */
	uint32_t replay_max; /* signatures remembered per signer, and four times that of all;
			      * 0: 65536; full: refuse (ERR_LIMIT) */
	uint64_t epoch;      /* of this boot, not 0: other receiver_epochs are ERR_STALE (0 is let
			      * through to the caller, who accepts it for Hello alone) */
};
int wsse_verifier_new(
    const struct wsse_options *options, struct wsse_verifier **ret, struct err *e);
void wsse_verifier_free(struct wsse_verifier *v);
int wsse_verifier_reload(struct wsse_verifier *v, struct err *e); /* CA file again */

struct wsse_message {                      /* what was verified, and nothing else */
	xmlDoc *doc;                       /* owned */
	xmlNode *body;                     /* the signed Body's only child element */
	struct soap_addressing addressing; /* strings owned by doc's arena below */
	struct arena *arena;
	char fingerprint[WSSE_FINGERPRINT_SIZE]; /* SHA-256 of the signer's certificate */
	char subject[WSSE_PEER_MAX];             /* its CN: the peer id; equals addressing.from */
	char role[WSSE_ROLE_MAX];                /* its OU: clc, cc, sc, nc, walrus */
	bool is_stale; /* signature right, but meant for an earlier boot of ours */
};
void wsse_message_done(struct wsse_message *m);
enum wsse_kind { WSSE_REQUEST, WSSE_REPLY };
/* Checks everything: skeleton, ids, references, algorithms, digests, signature, chain to the CA,
 * Created/Expires (20 s skew, 5 min validity), replay. ERR_AUTH_FAILURE with a reason for the log;
 * ERR_MALFORMED_XML and ERR_LIMIT as xml_parse; ERR_LIMIT when the signer's replay table is full;
 * ERR_STALE when only the epoch is wrong (the message is filled). On other errors *ret is left
 * alone. `tls_fingerprint`: the TLS peer must be the signer (by this certificate, or an earlier one
 * of the same peer that signed before); NULL or "" skips (tests). Left to the caller: that a
 * request's To is one of our URLs, that a reply's RelatesTo is the request it waits for, that the
 * role may call the action, that receiver_epoch 0 is Hello. */
int wsse_verify(struct wsse_verifier *v, enum wsse_kind kind, struct str envelope,
    const char *tls_fingerprint, int64_t now_us, struct wsse_message *ret, struct err *e);
