#pragma once
/* What tests of signed messages share: a cloud's CA, two daemons with keys, files in a directory of
 * its own under $TMPDIR, and a message that verifies. */
#include "auth/wsse.h"
#include "base/clock.h"
#include "tests/lib/pki.h"

#define WORLD_EPOCH 77
#define SECOND_US INT64_C(1000000)

struct wsse_world {
	char directory[128];
	char ca_path[192];
	struct pki ca;
	struct wsse_identity clc, nc; /* peers "clc-1" and "nc-1" */
	char clc_fingerprint[WSSE_FINGERPRINT_SIZE];
	int64_t now_us;
	struct soap_addressing addressing; /* of a request from clc to nc */
	const char *body;
};
void wsse_world_init(struct wsse_world *w);
void wsse_world_done(struct wsse_world *w);
/* A certificate by the CA (or `issuer`) for a new key, loaded as an identity. */
void wsse_world_identity(struct wsse_world *w, const struct pki *issuer,
    const struct pki_subject *subject, struct wsse_identity *ret);
struct wsse_verifier *wsse_world_verifier(struct wsse_world *w);
