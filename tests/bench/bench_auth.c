/* CPU microseconds per signature. Envelopes: ours against xmlsec1 (--repeat, on the same
 * message, less what a run of one costs). Request signatures: sigv4_verify against the same five
 * HMACs and two digests by OpenSSL's one-shot calls, the key derived each time, as a plain
 * implementation has. */
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "auth/sigv4.h"
#include "auth/wsse_envelope.h"
#include "run/cmd.h"
#include "tests/lib/signed_request.h"
#include "tests/lib/wsse_world.h"

#define ROUNDS 5
#define MESSAGES 400
#define REQUESTS 20000

static struct wsse_world world;

static double
cpu_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double
median(double values[ROUNDS])
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

static void
die(const char *what)
{
	(void)fprintf(stderr, "bench_auth: %s\n", what);
	exit(1);
}

/* A Body of 2 KiB, as the larger orders have. */
static void
fill_body(struct strbuf *out)
{
	strbuf_adds(out, "<Order xmlns=\"" NS_MALLEE "\">");
	for (unsigned i = 0; i < 40; i++)
		strbuf_addf(out, "<Item>value number %02u of this long order</Item>", i);
	strbuf_adds(out, "</Order>");
}

static void
sign(struct str body, unsigned number, struct strbuf *out)
{
	_cleanup_free_ char *id = xasprintf("urn:uuid:00000000-0000-4000-8000-%012u", number);
	struct soap_addressing a = world.addressing;

	a.message_id = id;
	if (wsse_write(&world.clc, &a, body, world.now_us, out, NULL) < 0)
		die("cannot sign");
}

static double
sign_ours(struct str body)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	double before = cpu_us();

	for (unsigned i = 0; i < MESSAGES; i++) {
		strbuf_reset(&out);
		sign(body, i, &out);
	}
	return (cpu_us() - before) / MESSAGES;
}

static double
verify_ours(struct str body)
{
	struct wsse_verifier *v = wsse_world_verifier(&world);
	struct strbuf *messages = xcalloc(MESSAGES, sizeof(*messages));
	struct wsse_message m;
	double before, used;

	for (unsigned i = 0; i < MESSAGES; i++)
		sign(body, i, &messages[i]);
	before = cpu_us();
	for (unsigned i = 0; i < MESSAGES; i++) {
		if (wsse_verify(v, WSSE_REQUEST, strbuf_str(&messages[i]), world.clc_fingerprint,
			world.now_us, &m, NULL) < 0)
			die("cannot verify");
		wsse_message_done(&m);
	}
	used = cpu_us() - before;
	for (unsigned i = 0; i < MESSAGES; i++)
		strbuf_done(&messages[i]);
	free(messages);
	wsse_verifier_free(v);
	return used / MESSAGES;
}

static double
children_us(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* CPU of a run of xmlsec1 that does the same `repeat` times. */
static double
run_xmlsec(
    const char *mode, const char *key_option, const char *key, const char *message, unsigned repeat)
{
	static const char *const elements[] = { NS_ADDRESSING ":To", NS_ADDRESSING ":Action",
		NS_ADDRESSING ":MessageID", NS_MALLEE ":Context", NS_WSU ":Timestamp",
		NS_WSSE ":BinarySecurityToken", NS_SOAP ":Body" };
	_cleanup_(cmd_freep) struct cmd *c = cmd_new("xmlsec1");
	struct err e = { 0 };
	double before = children_us();

	cmd_add(c, mode);
	cmd_add(c, "--repeat");
	cmd_addf(c, "%u", repeat);
	for (size_t i = 0; i < ARRAY_SIZE(elements); i++) {
		cmd_add(c, "--id-attr:Id");
		cmd_add(c, elements[i]);
	}
	cmd_add(c, "--output");
	cmd_add(c, "/dev/null");
	cmd_add(c, key_option);
	cmd_add(c, key);
	cmd_add(c, message);
	if (cmd_run(c, 60000, NULL, &e) < 0)
		die(e.text);
	return children_us() - before;
}

/* Start and end of the process taken off. */
static double
measure_xmlsec(const char *mode, const char *key_option, const char *key, const char *message)
{
	double one = run_xmlsec(mode, key_option, key, message, 1);

	return (run_xmlsec(mode, key_option, key, message, MESSAGES + 1) - one) / MESSAGES;
}

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		die("cannot write");
}

static void
bench_envelopes(void)
{
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT, message = STRBUF_INIT;
	_cleanup_free_ char *path = xasprintf("%s/message.xml", world.directory);
	_cleanup_free_ char *certificate = xasprintf("%s/clc.pem", world.directory);
	_cleanup_free_ char *key = xasprintf("%s/clc.key", world.directory);
	struct pki clc = { world.clc.key, world.clc.certificate };
	double ours_sign[ROUNDS], ours_verify[ROUNDS], their_sign[ROUNDS], their_verify[ROUNDS];

	fill_body(&body);
	sign(strbuf_str(&body), 0, &message);
	write_text(path, strbuf_c(&message));
	pki_write(&clc, certificate, key);
	for (unsigned i = 0; i < ROUNDS; i++) {
		ours_sign[i] = sign_ours(strbuf_str(&body));
		their_sign[i] = measure_xmlsec("--sign", "--privkey-pem", key, path);
		ours_verify[i] = verify_ours(strbuf_str(&body));
		their_verify[i] =
		    measure_xmlsec("--verify", "--pubkey-cert-pem", certificate, path);
	}
	printf("envelope_sign\t%.1f\t%.1f\tus\t<=0.5\n", median(ours_sign), median(their_sign));
	printf("envelope_verify\t%.1f\t%.1f\tus\t<=1\n", median(ours_verify), median(their_verify));
	(void)unlink(path);
	(void)unlink(certificate);
	(void)unlink(key);
}

static double
verify_requests(struct sigv4 *v, const struct signed_request *s)
{
	struct sigv4_result result;
	double before = cpu_us();

	for (unsigned i = 0; i < REQUESTS; i++)
		if (sigv4_verify(v, s->service, &s->rq, s->now_us, &result, NULL) < 0)
			die("cannot verify a request");
	return (cpu_us() - before) / REQUESTS;
}

static double
plain_hmacs(const char *secret, struct str canonical)
{
	unsigned char key[32], hash[32];
	unsigned n;
	double before = cpu_us();

	for (unsigned i = 0; i < REQUESTS; i++) {
		HMAC(EVP_sha256(), secret, 44, (const unsigned char *)"20130524", 8, key, &n);
		HMAC(EVP_sha256(), key, 32, (const unsigned char *)"us-east-1", 9, key, &n);
		HMAC(EVP_sha256(), key, 32, (const unsigned char *)"s3", 2, key, &n);
		HMAC(EVP_sha256(), key, 32, (const unsigned char *)"aws4_request", 12, key, &n);
		SHA256((const unsigned char *)canonical.p, canonical.n, hash);
		HMAC(EVP_sha256(), key, 32, (const unsigned char *)canonical.p, 150, hash, &n);
	}
	return (cpu_us() - before) / REQUESTS;
}

static void
bench_requests(void)
{
	struct sigv4 *v = sigv4_new(documented_keys, NULL);
	struct signed_request s;
	double ours[ROUNDS], theirs[ROUNDS];
	char canonical[400];

	memset(canonical, 'x', sizeof(canonical));
	signed_request_load(&s, "tests/data/sigv4/s3-docs/get-object.sreq");
	for (unsigned i = 0; i < ROUNDS; i++) {
		ours[i] = verify_requests(v, &s);
		theirs[i] = plain_hmacs("AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		    (struct str){ canonical, sizeof(canonical) });
	}
	printf("sigv4_verify\t%.2f\t%.2f\tus\t<=1\n", median(ours), median(theirs));
	signed_request_done(&s);
	sigv4_free(v);
}

int
main(void)
{
	wsse_world_init(&world);
	bench_envelopes();
	bench_requests();
	wsse_world_done(&world);
	return 0;
}
