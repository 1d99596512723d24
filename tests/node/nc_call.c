/* Calls a node controller as its zone would, for tests/node:
 *
 *   nc_call init DIRECTORY NODE_STATE URL   a CA, a cc in DIRECTORY/cc, the node's own trust
 *   nc_call STATE URL OPERATION             fields as XML on stdin, the answer as XML on stdout
 *
 * Exit status 1 with "FAULT: text" on stderr when the call was refused. */
#include <libxml/tree.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "base/clock.h"
#include "rpc/nc.api.h"
#include "rpc/rpc_internal.h"
#include "rpc/trust.h"
#include "run/fs.h"
#include "xml/xml_read.h"

#define NODE_ID "nc-0123456789abcdef0"
#define CC_ID "cc-0123456789abcdef0"
#define CALL_TIMEOUT_MS 60000

static void
must(int r, const struct err *e)
{
	if (r >= 0)
		return;
	fprintf(stderr, "%s: %s\n", fault_name(r), e->text);
	_exit(1);
}

static void
make_identity(const struct trust_ca *ca, const char *ca_pem, const char *state, const char *id,
    const char *role, const char *url)
{
	_cleanup_free_ char *trust = xasprintf("%s/trust", state);
	_cleanup_free_ char *key = xasprintf("%s/key.pem", trust);
	_cleanup_strbuf_ struct strbuf csr = STRBUF_INIT, certificate = STRBUF_INIT;
	struct trust_peer peer = { (char *)id, (char *)role, (char *)"zone-a", (char *)url };
	struct trust_subject subject = { id, role, NULL };
	struct err e = { 0 };

	must(fs_mkdir_p(trust, 0700, &e), &e);
	must(trust_key_create(key, &e), &e);
	must(trust_csr(key, &csr, &e), &e);
	must(trust_sign(ca, strbuf_c(&csr), &subject, 30, &certificate, &e), &e);
	must(trust_install(state, &peer, strbuf_c(&certificate), ca_pem, &e), &e);
}

static int
init(const char *directory, const char *node_state, const char *url)
{
	_cleanup_free_ char *ca_dir = xasprintf("%s/ca", directory);
	_cleanup_free_ char *ca_path = xasprintf("%s/ca.pem", ca_dir);
	_cleanup_free_ char *cc = xasprintf("%s/cc", directory);
	_cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
	struct trust_ca ca;
	struct err e = { 0 };

	must(trust_ca_create(ca_dir, "test cloud", &e), &e);
	must(trust_ca_load(ca_dir, &ca, &e), &e);
	must(fs_read(ca_path, 65536, &pem, &e), &e);
	make_identity(&ca, strbuf_c(&pem), cc, CC_ID, "cc", url);
	make_identity(&ca, strbuf_c(&pem), node_state, NODE_ID, "nc", url);
	trust_ca_done(&ca);
	return 0;
}

static void *
turn(void *loop)
{
	loop_run(loop);
	return NULL;
}

static void
post(void *semaphore)
{
	(void)sem_post(semaphore);
}

static void
read_input(struct strbuf *out)
{
	char piece[4096];
	ssize_t n;

	while ((n = read(STDIN_FILENO, piece, sizeof(piece))) > 0)
		strbuf_add(out, piece, (size_t)n);
}

static int
call(const char *state, const char *url, const char *name)
{
	const struct operation *operation = service_find(&nc_service, name);
	_cleanup_arena_ struct arena *arena = arena_new(0);
	_cleanup_strbuf_ struct strbuf input = STRBUF_INIT, output = STRBUF_INIT;
	struct log log = { .daemon = "nc-call" };
	struct workers *workers;
	struct loop *loop;
	struct rpc *rpc;
	struct xml_writer w;
	pthread_t thread;
	sem_t turning;
	struct err e = { 0 };
	xmlDoc *doc;
	void *in, *out;

	if (!operation) {
		fprintf(stderr, "no operation '%s'\n", name);
		return 2;
	}
	in = arena_alloc(arena, operation->in->size);
	out = arena_alloc(arena, operation->out->size);
	read_input(&input);
	must(xml_parse(strbuf_str(&input), &xml_limits_soap, &doc, &e), &e);
	must(codec_from_xml(operation->in, xmlDocGetRootElement(doc), arena, in, &e), &e);
	must(loop_new(&loop, &e), &e);
	must(workers_new(2, 16, &workers, &e), &e);
	must(rpc_open(loop, workers, &log, NULL, state, &rpc, &e), &e);
	if (pthread_create(&thread, NULL, turn, loop) != 0)
		return 2;
	(void)sem_init(&turning, 0, 0);
	loop_post(loop, post, &turning);
	while (sem_wait(&turning) < 0)
		;
	must(rpc_call(rpc_peer_new(rpc, NODE_ID, "nc", url, NULL), operation, NULL, in, out, arena,
		 CALL_TIMEOUT_MS, &e),
	    &e);
	xml_writer_init(&w, &output, false);
	xml_open(&w, "out");
	codec_to_xml(operation->out, out, &w);
	xml_close(&w, "out");
	puts(strbuf_c(&output));
	fflush(stdout);
	_exit(0); /* the loop turns on: nothing of it needs an orderly end */
}

int
main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_ERROR);
	if (argc == 5 && strcmp(argv[1], "init") == 0)
		return init(argv[2], argv[3], argv[4]);
	if (argc == 4)
		return call(argv[1], argv[2], argv[3]);
	fputs(
	    "usage: nc_call init DIRECTORY NODE_STATE URL | nc_call STATE URL OPERATION\n", stderr);
	return 2;
}
