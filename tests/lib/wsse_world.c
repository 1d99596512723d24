/* A small cloud of certificates for tests of signed messages. */
#include "tests/lib/wsse_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "auth/digest.h"

#define DAY_US (86400 * SECOND_US)

static void
must(int r, const struct err *e)
{
	if (r == 0)
		return;
	(void)fprintf(stderr, "setting up: %s\n", e->text);
	abort();
}

void
wsse_world_identity(struct wsse_world *w, const struct pki *issuer,
    const struct pki_subject *subject, struct wsse_identity *ret)
{
	_cleanup_free_ char *certificate = xasprintf("%s/peer.pem", w->directory);
	_cleanup_free_ char *key = xasprintf("%s/peer.key", w->directory);
	struct pki peer;
	struct err e = { 0 };

	pki_issue(issuer, subject, &peer);
	pki_write(&peer, certificate, key);
	must(wsse_identity_load(certificate, key, ret, &e), &e);
	pki_done(&peer);
	(void)unlink(certificate);
	(void)unlink(key);
}

static void
fingerprint(const struct wsse_identity *id, char out[WSSE_FINGERPRINT_SIZE])
{
	_cleanup_free_ void *der = NULL;
	size_t n;

	if (!base64_decode(str_of(id->certificate_base64), &der, &n))
		abort();
	digest_hex(DIGEST_SHA256, (struct str){ der, n }, out);
}

void
wsse_world_init(struct wsse_world *w)
{
	const char *tmp = getenv("TMPDIR");
	struct pki_subject ca = { "Mallee", NULL, "cloud CA", .is_ca = true };
	struct pki_subject peer = { "Mallee", "clc", "clc-1" };

	*w = (struct wsse_world){ .now_us = INT64_C(1790000000) * SECOND_US };
	(void)snprintf(w->directory, sizeof(w->directory), "%s/wsse-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(w->directory))
		abort();
	(void)snprintf(w->ca_path, sizeof(w->ca_path), "%s/ca.pem", w->directory);
	ca.not_before_us = peer.not_before_us = w->now_us - DAY_US;
	ca.not_after_us = w->now_us + 1000 * DAY_US;
	peer.not_after_us = w->now_us + 90 * DAY_US;
	pki_issue(NULL, &ca, &w->ca);
	pki_write(&w->ca, w->ca_path, NULL);
	wsse_world_identity(w, &w->ca, &peer, &w->clc);
	peer.unit = "nc";
	peer.name = "nc-1";
	wsse_world_identity(w, &w->ca, &peer, &w->nc);
	fingerprint(&w->clc, w->clc_fingerprint);
	w->addressing = (struct soap_addressing){
		.to = "https://10.0.0.7:8775/services/nc",
		.action = NS_MALLEE ":nc:PutInstance",
		.message_id = "urn:uuid:0c5c1e7a-35d1-4b6f-9ad5-7a0a9b8c1d2e",
		.request_id = "7f3a0000-1111-4222-8333-444455556666",
		.account_id = "123456789012",
		.from = "clc-1",
		.deadline_ms = 5000,
		.receiver_epoch = WORLD_EPOCH,
		.sender_epoch = 12,
		.version = 1,
	};
	w->body =
	    "<PutInstance xmlns=\"" NS_MALLEE "\"><InstanceId>i-0123456789abcdef0</InstanceId>"
	    "<Generation>3</Generation></PutInstance>";
}

void
wsse_world_done(struct wsse_world *w)
{
	pki_done(&w->ca);
	wsse_identity_done(&w->clc);
	wsse_identity_done(&w->nc);
	(void)unlink(w->ca_path);
	(void)rmdir(w->directory);
}

struct wsse_verifier *
wsse_world_verifier(struct wsse_world *w)
{
	struct wsse_options options = {
		.ca_path = w->ca_path, .self = "clc-1", .epoch = WORLD_EPOCH
	};
	struct wsse_verifier *v = NULL;
	struct err e = { 0 };

	must(wsse_verifier_new(&options, &v, &e), &e);
	return v;
}
