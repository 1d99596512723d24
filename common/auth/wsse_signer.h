#pragma once
/* Certificates of peers: parsed, checked against the CA and cached. Private to wsse. */
#include <openssl/evp.h>
#include "auth/wsse.h"

struct wsse_signer {
	EVP_PKEY *key; /* a reference of its own */
	char fingerprint[WSSE_FINGERPRINT_SIZE];
	char subject[WSSE_PEER_MAX];
	char role[WSSE_ROLE_MAX];
	int64_t not_before_us, not_after_us; /* of the whole chain */
};
void wsse_signer_done(struct wsse_signer *s);

struct wsse_signers;
#define WSSE_SIGNERS_MAX 4096 /* certificates cached; more: the cache starts anew */
int wsse_signers_new(const char *ca_path, struct wsse_signers **ret, struct err *e);
void wsse_signers_free(struct wsse_signers *s);
int wsse_signers_reload(struct wsse_signers *s, struct err *e);
/* Whose certificate this is (base64 of DER, one line), if our CA stands behind it now. */
int wsse_signers_get(struct wsse_signers *s, const char *token, int64_t now_us,
    struct wsse_signer *ret, struct err *e);
/* Whether the certificate with this fingerprint is known to be the same peer's: after a renewal a
 * connection still shows the old one. Only certificates that have signed before are known. */
bool wsse_signers_is_same_peer(struct wsse_signers *s, const char *fingerprint,
    const struct wsse_signer *signer, int64_t now_us);
bool wsse_key_is_p256(const EVP_PKEY *key);
