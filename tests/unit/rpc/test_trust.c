/* Trust: CA and certificates, tokens, the wire of joining, the join command against a CLC in
 * miniature, renewal, and what a daemon says that cannot start. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/id.h"
#include "net/http_worker.h"
#include "rpc/clc.api.h"
#include "rpc/clc.handlers.h"
#include "rpc/rpc_internal.h"
#include "rpc/trust_internal.h"
#include "run/fs.h"
#include "tests/lib/peers.h"

static void
must(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static int
setup(void **state)
{
	struct test_cloud *cloud = xcalloc(1, sizeof(*cloud));

	log_set_level(LOG_ERROR);
	test_cloud_setup(cloud);
	*state = cloud;
	return 0;
}

static int
teardown(void **state)
{
	test_cloud_teardown(*state);
	free(*state);
	return 0;
}

/* -- files -- */

static mode_t
mode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_mode & 0777 : 0;
}

static void
a_ca_is_made_once_and_guards_its_key(void **state)
{
	struct test_cloud *cloud = *state;
	_cleanup_free_ char *directory = xasprintf("%s/ca", cloud->directory);
	_cleanup_free_ char *key = xasprintf("%s/ca.key", directory);
	_cleanup_free_ char *pem = xasprintf("%s/ca.pem", directory);
	char fingerprint[65], again[65];
	struct err e = { 0 };

	assert_int_equal(mode_of(directory), 0700);
	assert_int_equal(mode_of(key), 0600);
	assert_true(trust_ca_fingerprint(pem, fingerprint));
	assert_int_equal(trust_ca_create(directory, "another", &e), ERR_EXISTS);
	assert_true(trust_ca_fingerprint(pem, again));
	assert_string_equal(fingerprint, again);
	assert_true(X509_check_ca(cloud->ca.certificate) == 1);
	assert_false(trust_ca_fingerprint("/nonexistent", again));
}

static void
make_csr(struct test_cloud *cloud, const char *name, struct strbuf *csr)
{
	_cleanup_free_ char *key = xasprintf("%s/%s.key", cloud->directory, name);
	struct err e = { 0 };

	must(trust_key_create(key, &e), &e);
	must(trust_csr(key, csr, &e), &e);
}

static void
certificates_say_who_and_what(void **state)
{
	struct test_cloud *cloud = *state;
	_cleanup_strbuf_ struct strbuf csr = STRBUF_INIT, pem = STRBUF_INIT;
	_cleanup_(trust_certificate_free) X509 *c = NULL;
	char text[128];
	int64_t from, to;
	struct err e = { 0 };

	make_csr(cloud, "a", &csr);
	must(trust_sign(&cloud->ca, strbuf_c(&csr),
		 &(struct trust_subject){ "nc-0123456789abcdef0", "nc", NULL }, TRUST_DAYS, &pem,
		 &e),
	    &e);
	c = trust_certificate_from_pem(strbuf_c(&pem));
	assert_non_null(c);
	X509_NAME_oneline(X509_get_subject_name(c), text, sizeof(text));
	assert_string_equal(text, "/O=Mallee/OU=nc/CN=nc-0123456789abcdef0");
	assert_int_equal(X509_check_ca(c), 0);
	assert_int_equal(X509_check_purpose(c, X509_PURPOSE_SSL_SERVER, 0), 1);
	assert_int_equal(X509_check_purpose(c, X509_PURPOSE_SSL_CLIENT, 0), 1);
	assert_int_equal(X509_verify(c, cloud->ca.key), 1);
	from = trust_time_us(X509_get0_notBefore(c)) / 1000000;
	to = trust_time_us(X509_get0_notAfter(c)) / 1000000;
	assert_in_range(to - from, 90 * 86400, 90 * 86400 + 600);
}

static void
certificates_name_the_host_that_users_reach(void **state)
{
	struct test_cloud *cloud = *state;
	static const struct {
		const char *url, *host, *address; /* that it is good for */
	} cases[] = {
		{ "https://objects.example.com:8777/x", "objects.example.com", NULL },
		{ "https://192.0.2.7:8777", NULL, "192.0.2.7" },
		{ "https://[2001:db8::7]:8777", NULL, "2001:db8::7" },
		{ "https://a_b:8777", NULL, NULL },
		{ "nonsense", NULL, NULL },
		{ NULL, NULL, NULL },
	};
	_cleanup_strbuf_ struct strbuf csr = STRBUF_INIT;
	struct err e = { 0 };

	make_csr(cloud, "users", &csr);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct trust_subject subject = { "walrus-1", "walrus", cases[i].url };
		_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
		_cleanup_(trust_certificate_free) X509 *c = NULL;
		GENERAL_NAMES *names;

		must(trust_sign(&cloud->ca, strbuf_c(&csr), &subject, TRUST_DAYS, &pem, &e), &e);
		c = trust_certificate_from_pem(strbuf_c(&pem));
		assert_non_null(c);
		assert_int_equal(X509_check_host(c, "walrus-1", 0, 0, NULL), 1);
		assert_int_equal(X509_check_host(c, "example.com", 0, 0, NULL), 0);
		if (cases[i].host)
			assert_int_equal(X509_check_host(c, cases[i].host, 0, 0, NULL), 1);
		if (cases[i].address)
			assert_int_equal(X509_check_ip_asc(c, cases[i].address, 0), 1);
		names = X509_get_ext_d2i(c, NID_subject_alt_name, NULL, NULL);
		assert_int_equal(
		    sk_GENERAL_NAME_num(names), 2 + (cases[i].host || cases[i].address));
		GENERAL_NAMES_free(names);
	}
}

static void
bad_requests_are_not_signed(void **state)
{
	struct test_cloud *cloud = *state;
	_cleanup_strbuf_ struct strbuf good = STRBUF_INIT, forged = STRBUF_INIT, rsa = STRBUF_INIT;
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509_REQ *request = X509_REQ_new();
	BIO *b = BIO_new(BIO_s_mem());
	char *p;
	long n;

	make_csr(cloud, "b", &good);
	strbuf_adds(&forged, strbuf_c(&good));
	p = strstr(forged.p, "-----END") - 12; /* within the signature */
	*p = *p == 'A' ? 'B' : 'A';
	X509_REQ_set_pubkey(request, key);
	X509_REQ_sign(request, key, EVP_sha256());
	PEM_write_bio_X509_REQ(b, request);
	n = BIO_get_mem_data(b, &p);
	strbuf_add(&rsa, p, (size_t)n);

	struct {
		const char *csr, *peer_id, *role, *says;
	} cases[] = {
		{ "", "nc-1", "nc", "cannot be read" },
		{ "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
		    "nc-1", "nc", "cannot be read" },
		{ strbuf_c(&forged), "nc-1", "nc", "the certificate request" },
		{ strbuf_c(&rsa), "nc-1", "nc", "not ECDSA P-256" },
		{ strbuf_c(&good), "", "nc", "no peer id" },
		{ strbuf_c(&good), "nc-1,OU=clc", "nc", "no peer id" },
		{ strbuf_c(&good), "nc-1", "root!", "no peer id" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
		struct err e = { 0 };

		assert_int_equal(
		    trust_sign(&cloud->ca, cases[i].csr,
			&(struct trust_subject){ cases[i].peer_id, cases[i].role, NULL }, 90, &pem,
			&e),
		    ERR_INVALID);
		if (!strstr(e.text, cases[i].says))
			fail_msg("%zu: %s", i, e.text);
		assert_int_equal(pem.n, 0);
	}
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	BIO_free(b);
}

static void
peer_files_survive(void **state)
{
	struct test_cloud *cloud = *state;
	struct trust_peer in = { (char *)"cc-1", (char *)"cc", (char *)"zone-a",
		(char *)"https://[::1]:8773" };
	struct trust_peer bad = { (char *)"cc-1\nrole = clc", (char *)"cc", NULL, (char *)"x" },
			  out;
	_cleanup_free_ char *trust = xasprintf("%s/trust", cloud->directory);
	struct err e = { 0 };

	assert_int_equal(trust_peer_load(cloud->directory, &out, &e), ERR_NOT_FOUND);
	must(fs_mkdir_p(trust, 0700, &e), &e);
	must(trust_peer_write(cloud->directory, &in, &e), &e);
	must(trust_peer_load(cloud->directory, &out, &e), &e);
	assert_string_equal(out.peer_id, "cc-1");
	assert_string_equal(out.role, "cc");
	assert_string_equal(out.zone, "zone-a");
	assert_string_equal(out.clc_url, "https://[::1]:8773");
	trust_peer_done(&out);
	assert_int_equal(trust_peer_write(cloud->directory, &bad, &e), ERR_INVALID);
}

/* -- tokens and forms -- */

static void
tokens(void **state)
{
	struct test_cloud *cloud = *state;
	_cleanup_free_ char *pem = xasprintf("%s/ca/ca.pem", cloud->directory);
	struct trust_token made, parsed, other;
	char text[TRUST_TOKEN_MAX], again[TRUST_TOKEN_MAX];
	struct err e = { 0 };

	must(trust_token_new(pem, &made, &e), &e);
	must(trust_token_new(pem, &other, &e), &e);
	assert_string_not_equal(made.id, other.id);
	assert_string_not_equal(made.secret, other.secret);
	trust_token_format(&made, text);
	assert_true(trust_token_parse(text, &parsed));
	assert_string_equal(parsed.id, made.id);
	assert_string_equal(parsed.secret, made.secret);
	assert_string_equal(parsed.ca_fingerprint, made.ca_fingerprint);
	trust_token_format(&parsed, again);
	assert_string_equal(text, again);

	/* no other length, no other character anywhere, no more parts */
	for (size_t n = 0; n < strlen(text); n++) {
		char cut[TRUST_TOKEN_MAX];

		memcpy(cut, text, n);
		cut[n] = '\0';
		assert_false(trust_token_parse(cut, &parsed));
		memcpy(cut, text, sizeof(cut));
		cut[n] = '!';
		assert_false(trust_token_parse(cut, &parsed));
	}
	(void)snprintf(again, sizeof(again), "%.150s.", text);
	assert_false(trust_token_parse(again, &parsed));
	(void)snprintf(again, sizeof(again), "%.150s0", text);
	assert_false(trust_token_parse(again, &parsed));
	assert_false(trust_token_parse("", &parsed));
	assert_false(trust_token_parse("..", &parsed));
}

static void
join_forms(void **state)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct trust_token token = { "t-1", "secretsecretsecretsecretsecretsecretsecretse", "" };
	_cleanup_strbuf_ struct strbuf body = STRBUF_INIT;
	struct trust_join join;
	struct err e = { 0 };
	static const struct {
		const char *body, *says;
	} bad[] = {
		{ "", "'token' is missing" },
		{ "token=t-1&role=nc&advertise=https://h:1&csr=x", "'mac' is missing" },
		{ "token=t-1&role=nc&advertise=https://h:1&csr=x&mac=00", "'mac' is ill-formed" },
		{ "token=t-1&token=t-2&role=nc", "'token' is given twice" },
		{ "token=t-1&role=aaaaaaaaaaaaaaaaaaaaaaaa&advertise=h&csr=x&mac=0",
		    "'role' is ill-formed" },
		{ "token=T_1&role=nc&advertise=https://h:1&csr=x&mac="
		  "0000000000000000000000000000000000000000000000000000000000000000",
		    "'token' is ill-formed" },
		{ "token=t-1&role=nc&advertise=http://h:1&csr=x&mac="
		  "0000000000000000000000000000000000000000000000000000000000000000",
		    "'advertise' is ill-formed" },
	};

	must(trust_join_format(&token, "nc", "https://10.0.0.2:8775", "CSR\n+&=", &body, &e), &e);
	must(trust_join_parse(strbuf_str(&body), arena, &join, &e), &e);
	assert_string_equal(join.token_id, "t-1");
	assert_string_equal(join.role, "nc");
	assert_string_equal(join.advertise, "https://10.0.0.2:8775");
	assert_string_equal(join.csr, "CSR\n+&=");
	assert_true(trust_join_check(&join, token.secret));
	assert_false(trust_join_check(&join, "another"));
	/* what the MAC covers */
	for (int i = 0; i < 4; i++) {
		struct trust_join changed = join;

		if (i == 0)
			changed.token_id = "t-2";
		else if (i == 1)
			changed.role = "cc";
		else if (i == 2)
			changed.advertise = "https://10.0.0.3:8775";
		else
			changed.csr = "CSR";
		assert_false(trust_join_check(&changed, token.secret));
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(trust_join_parse(str_of(bad[i].body), arena, &join, &e) < 0);
		assert_string_equal(e.text, bad[i].says);
	}
	assert_int_equal(
	    trust_join_format(&token, "nc", "http://10.0.0.2", "x", &body, &e), ERR_INVALID);
	assert_int_equal(trust_join_format(&token, "nc", "https://", "x", &body, &e), ERR_INVALID);
}

static void
renewal_is_due_after_two_thirds(void **state)
{
	static const struct {
		int64_t from, to, now;
		bool due;
	} cases[] = {
		{ 0, 90, 0, false },
		{ 0, 90, 59, false },
		{ 0, 90, 60, true },
		{ 0, 90, 91, true },
		{ -5, 85, 54, false },
		{ -5, 85, 55, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
		    trust_renewal_is_due(cases[i].from, cases[i].to, cases[i].now), cases[i].due);
}

/* -- daemons that cannot start -- */

static void
starts_are_refused_in_one_line(void **state)
{
	struct test_cloud *cloud = *state;
	struct test_node expired, torn;
	_cleanup_free_ char *key = NULL;
	struct err e = { 0 };

	test_node_setup(&expired, cloud, "nc-00000000000000001", "nc", -90, -1);
	assert_int_equal(test_node_start(&expired, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "of 'nc-00000000000000001' expired at 20"));
	assert_null(strchr(e.text, '\n'));

	test_node_setup(&torn, cloud, "nc-00000000000000002", "nc", -1, 30);
	key = trust_path(torn.state_dir, "key.pem");
	must(trust_key_create(key, &e), &e); /* another one */
	assert_int_equal(test_node_start(&torn, &e), ERR_INVALID);
	assert_null(strchr(e.text, '\n'));
	assert_int_equal(unlink(key), 0);
	assert_true(test_node_start(&torn, &e) < 0);
	free(torn.state_dir);
	torn.state_dir = xasprintf("%s/elsewhere", cloud->directory);
	must(fs_mkdir_p(torn.state_dir, 0700, &e), &e);
	assert_int_equal(test_node_start(&torn, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "not joined to a cloud yet"));
	test_node_teardown(&expired);
	test_node_teardown(&torn);
}

/* -- a CLC in miniature: /join, /join/status, and renewal -- */

struct clc {
	struct test_cloud *cloud;
	struct test_node node; /* serves the internal messages, and holds certificate and key */
	struct trust_token token;
	const char *role; /* of the token */
	_Atomic bool is_used, is_in_service, is_evil /* signs for another role */;
	struct http_server *http;
	const struct http_server_options *options; /* while it opens */
	struct http_worker_options worker;
	struct tls_context *tls;
	char *url;
	int fd;
	_Atomic unsigned renewals;
};

int
clc_handle_identity_changes(struct rpc_request *rq, const struct changes_since *in,
    struct clc_identity_changes_out *out, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "not here");
}

static struct clc *renewing;

int
clc_handle_renew_certificate(struct rpc_request *rq, const struct clc_renew_certificate_in *in,
    struct clc_renew_certificate_out *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT, ca = STRBUF_INIT;
	int r = trust_sign(&renewing->cloud->ca, in->csr,
	    &(struct trust_subject){ rq->peer_id, rq->peer_role, NULL }, TRUST_DAYS, &pem, e);

	if (r == 0)
		r = trust_certificate_to_pem(renewing->cloud->ca.certificate, &ca, e);
	out->certificate = arena_strdup(rq->arena, strbuf_c(&pem));
	out->ca = arena_strdup(rq->arena, strbuf_c(&ca));
	renewing->renewals++;
	return r;
}

static void
refuse(struct http_call *call, int status, const char *why)
{
	call->status = status;
	strbuf_adds(&call->reply, why);
}

static void
serve_join(struct clc *clc, struct http_call *call)
{
	struct trust_join join;
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT, ca = STRBUF_INIT;
	struct trust_joined joined = { .peer_id = "nc-0123456789abcdef0", .zone = "zone-a" };
	struct err e = { 0 };

	if (trust_join_parse(call->body, call->arena, &join, &e) < 0)
		refuse(call, 400, e.text);
	else if (!strings_equal(join.token_id, clc->token.id) ||
		 !trust_join_check(&join, clc->token.secret))
		refuse(call, 403, "unknown token");
	else if (clc->is_used)
		refuse(call, 403, "the token was used already");
	else if (!strings_equal(join.role, clc->role))
		refuse(call, 403, "the token is for another role");
	if (call->status != 200)
		return;
	must(trust_sign(&clc->cloud->ca, join.csr,
		 &(struct trust_subject){ joined.peer_id, clc->is_evil ? "clc" : join.role, NULL },
		 90, &pem, &e),
	    &e);
	must(trust_certificate_to_pem(clc->cloud->ca.certificate, &ca, &e), &e);
	joined.certificate = strbuf_c(&pem);
	joined.ca = strbuf_c(&ca);
	trust_joined_format(&joined, &call->reply);
	clc->is_used = true;
}

static void
serve_status(struct clc *clc, struct http_call *call)
{
	struct trust_join_status status;
	struct err e = { 0 };

	if (trust_join_status_parse(call->body, call->arena, &status, &e) < 0 ||
	    !trust_join_status_check(&status, clc->token.secret))
		refuse(call, 403, "unknown token");
	else if (!clc->is_in_service)
		refuse(call, 202, "'nc-0123456789abcdef0' has not answered: start mallee-nc");
}

static void
on_call(struct http_call *call, void *arg)
{
	struct clc *clc = arg;

	call->content_type = "text/plain";
	if (str_is(call->head->path, "/join"))
		serve_join(clc, call);
	else if (str_is(call->head->path, "/join/status"))
		serve_status(clc, call);
	else
		refuse(call, 404, "nothing here");
}

static void
open_http(void *arg)
{
	struct clc *clc = arg;
	struct err e = { 0 };

	must(http_server_new(clc->node.loop, clc->options, &clc->fd, 1, &clc->http, &e), &e);
}

static void
clc_setup(struct clc *clc, struct test_cloud *cloud)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	_cleanup_free_ char *ca = xasprintf("%s/ca/ca.pem", cloud->directory);
	struct http_server_options options = { .name = "clc",
		.handler = http_worker_handler,
		.arg = &clc->worker,
		.tls_mode = HTTP_TLS_REQUIRED };
	struct tls_files files;
	struct err e = { 0 };

	*clc = (struct clc){ .cloud = cloud, .role = "nc" };
	must(trust_token_new(ca, &clc->token, &e), &e);
	test_node_setup(&clc->node, cloud, "clc-0000000000000001", "clc", -1, 30);
	clc->node.service = &clc_served;
	must(test_node_start(&clc->node, &e), &e);
	files =
	    (struct tls_files){ clc->node.rpc->certificate_path, clc->node.rpc->key_path, NULL };
	must(tls_server_new(&files, TLS_PEER_NONE, TLS1_2_VERSION, &clc->tls, &e), &e);
	options.tls = clc->tls;
	clc->worker = (struct http_worker_options){
		.workers = clc->node.workers, .fn = on_call, .arg = clc, .body_max = TRUST_JOIN_MAX
	};
	clc->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(clc->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(clc->fd, 16), 0);
	getsockname(clc->fd, (struct sockaddr *)&address, &size);
	clc->url = xasprintf("https://127.0.0.1:%u", ntohs(address.sin_port));
	clc->options = &options;
	test_node_on_loop(&clc->node, open_http, clc);
}

static void
free_http(void *arg)
{
	http_server_free(arg);
}

static void
clc_teardown(struct clc *clc)
{
	test_node_on_loop(&clc->node, free_http, clc->http);
	test_node_teardown(&clc->node);
	tls_unref(clc->tls);
	free(clc->url);
}

/* As a process of its own, like the command; its stdout and stderr in `out`. */
static int
join(struct clc *clc, const char *role, const char *name, const char *token, unsigned wait_s,
    struct strbuf *out)
{
	_cleanup_free_ char *state_dir = xasprintf("%s/%s", clc->cloud->directory, name);
	_cleanup_free_ char *text = xasprintf("%s/%s.out", clc->cloud->directory, name);
	struct err e = { 0 };
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		/* a new program: ours has threads, of which a fork has none */
		_cleanup_free_ char *wait = xasprintf("%u", wait_s);
		const char *const argv[] = { "join", role, state_dir, clc->url, token, wait, NULL };

		if (freopen(text, "w", stdout) && dup2(1, 2) >= 0)
			(void)execv("/proc/self/exe", (char **)argv);
		_exit(99);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	strbuf_reset(out);
	must(fs_read(text, 65536, out, &e), &e);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

static void
joining(void **state)
{
	struct test_cloud *cloud = *state;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_free_ char *state_dir = xasprintf("%s/joined", cloud->directory);
	_cleanup_free_ char *key = trust_path(state_dir, "key.pem");
	char token[TRUST_TOKEN_MAX], wrong[TRUST_TOKEN_MAX];
	struct trust_peer peer;
	struct clc clc;
	struct err e = { 0 };

	clc_setup(&clc, cloud);
	trust_token_format(&clc.token, token);

	assert_int_equal(join(&clc, "nc", "joined", "nonsense", 0, &out), 1);
	assert_non_null(strstr(strbuf_c(&out), "this is no token"));
	/* a CLC of another cloud: nothing is sent to it */
	memcpy(wrong, token, sizeof(wrong));
	wrong[strlen(wrong) - 1] = wrong[strlen(wrong) - 1] == '0' ? '1' : '0';
	assert_int_equal(join(&clc, "nc", "joined", wrong, 0, &out), 1);
	assert_non_null(strstr(strbuf_c(&out), "not of the expected CA"));
	assert_false(clc.is_used);
	/* a wrong secret, and a wrong role */
	memcpy(wrong, token, sizeof(wrong));
	strchr(wrong, '.')[1] = strchr(wrong, '.')[1] == 'A' ? 'B' : 'A';
	assert_int_equal(join(&clc, "nc", "joined", wrong, 0, &out), 1);
	assert_string_equal(strbuf_c(&out), "mallee-nc: the clc refused: unknown token\n");
	assert_int_equal(join(&clc, "cc", "other", token, 0, &out), 1);
	assert_string_equal(
	    strbuf_c(&out), "mallee-cc: the clc refused: the token is for another role\n");
	/* not in service yet: joined all the same */
	assert_int_equal(join(&clc, "nc", "joined", token, 1, &out), 1);
	assert_string_equal(strbuf_c(&out),
	    "mallee-nc: joined as 'nc-0123456789abcdef0', but not in service: "
	    "'nc-0123456789abcdef0' has not answered: start mallee-nc\n");
	must(trust_peer_load(state_dir, &peer, &e), &e);
	assert_string_equal(peer.peer_id, "nc-0123456789abcdef0");
	assert_string_equal(peer.role, "nc");
	assert_string_equal(peer.zone, "zone-a");
	assert_string_equal(peer.clc_url, clc.url);
	trust_peer_done(&peer);
	assert_int_equal(mode_of(key), 0600);
	/* twice */
	assert_int_equal(join(&clc, "nc", "joined", token, 0, &out), 1);
	assert_non_null(strstr(strbuf_c(&out), "already joined to https://127.0.0.1:"));
	assert_int_equal(join(&clc, "nc", "second", token, 0, &out), 1);
	assert_string_equal(
	    strbuf_c(&out), "mallee-nc: the clc refused: the token was used already\n");
	/* all is well */
	clc.is_used = false;
	clc.is_in_service = true;
	assert_int_equal(join(&clc, "nc", "second", token, 5, &out), 0);
	assert_string_equal(strbuf_c(&out), "in service\n");
	/* a certificate for another role is not taken */
	clc.is_used = false;
	clc.is_evil = true;
	assert_int_equal(join(&clc, "nc", "third", token, 5, &out), 1);
	assert_string_equal(strbuf_c(&out), "mallee-nc: the certificate is for somebody else\n");
	clc_teardown(&clc);
}

static void
nothing(void *arg)
{
}

static int
echo(struct rpc_peer *p)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct test_echo_in in = { .text = "x" };
	struct test_echo_out out;
	struct err e = { 0 };
	int r = rpc_call(p, &test_echo, NULL, &in, &out, arena, 5000, &e);

	if (r < 0)
		fprintf(stderr, "%s\n", e.text);
	return r;
}

static void
certificates_renew_under_traffic(void **state)
{
	struct test_cloud *cloud = *state;
	struct test_node young, old;
	struct rpc_peer *to_old, *to_young;
	struct clc clc;
	struct err e = { 0 };
	_cleanup_free_ char *path = NULL;
	char before[65], after[65];
	bool renewed = true;

	clc_setup(&clc, cloud);
	renewing = &clc;
	test_node_setup(&young, cloud, "nc-00000000000000001", "nc", -10, 80);
	test_node_setup(&old, cloud, "cc-00000000000000002", "cc", -61, 29);
	must(test_node_start(&young, &e), &e);
	must(test_node_start(&old, &e), &e);
	free(young.rpc->self.clc_url);
	young.rpc->self.clc_url = xstrdup(clc.node.url);
	free(old.rpc->self.clc_url);
	old.rpc->self.clc_url = xstrdup(clc.node.url);
	path = xstrdup(old.rpc->certificate_path);

	must(trust_renew(young.rpc, young.state_dir, &renewed, &e), &e);
	assert_false(renewed);
	assert_int_equal(clc.renewals, 0);

	to_young = rpc_peer_new(old.rpc, young.id, "nc", young.url, NULL);
	to_old = rpc_peer_new(young.rpc, old.id, "cc", old.url, NULL);
	assert_int_equal(echo(to_young), 0);
	/* "nc" may not call Echo, but the answer shows that messages pass */
	assert_int_equal(echo(to_old), ERR_DENIED);

	assert_true(trust_ca_fingerprint(path, before));
	must(trust_renew(old.rpc, old.state_dir, &renewed, &e), &e);
	assert_true(renewed);
	assert_int_equal(clc.renewals, 1);
	assert_true(trust_ca_fingerprint(path, after));
	assert_string_not_equal(before, after);
	must(rpc_reload(old.rpc, &e), &e); /* as a reconciler does, from a worker */
	test_node_on_loop(&old, nothing, NULL);
	/* both ways, on the connections that are open and on new ones */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(echo(to_young), 0);
		assert_int_equal(echo(to_old), ERR_DENIED);
	}
	must(trust_renew(old.rpc, old.state_dir, &renewed, &e), &e);
	assert_false(renewed);
	rpc_peer_free(to_old);
	rpc_peer_free(to_young);
	test_node_teardown(&young);
	test_node_teardown(&old);
	clc_teardown(&clc);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[0], "join") == 0)
		return trust_join(argv[1], argv[2], "https://127.0.0.1:8775", argv[3], argv[4],
		    (unsigned)atoi(argv[5]));

	const struct CMUnitTest tests[] = {
		test(a_ca_is_made_once_and_guards_its_key),
		test(certificates_say_who_and_what),
		test(certificates_name_the_host_that_users_reach),
		test(bad_requests_are_not_signed),
		test(peer_files_survive),
		test(tokens),
		cmocka_unit_test(join_forms),
		cmocka_unit_test(renewal_is_due_after_two_thirds),
		test(starts_are_refused_in_one_line),
		test(joining),
		test(certificates_renew_under_traffic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
