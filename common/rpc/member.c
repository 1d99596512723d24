/* Joining by command, and renewal by a reconciler that looks once an hour. */
#include "rpc/member.h"

#include <stdio.h>
#include <unistd.h>

#include "rpc/trust.h"

#define WAIT_S 15
#define LOOK_MS (3600 * 1000)

/* "10.0.0.5:8774" or "[::]:8774" to the URL that others use. */
static char *
url_of(const char *listen)
{
	struct str rest = str_of(listen), word;
	char name[256] = "localhost";
	const char *colon;

	while (str_split(&rest, ' ', &word))
		if (word.n && !str_starts(word, "unix:"))
			break;
	colon = word.n ? memrchr(word.p, ':', word.n) : NULL;
	if (!colon)
		return NULL;
	if (!str_starts(word, "[::]:") && !str_starts(word, "0.0.0.0:"))
		return xasprintf("https://%.*s", (int)word.n, word.p);
	(void)gethostname(
	    name, sizeof(name) - 1); /* on failure: localhost, which a test bed may mean */
	return xasprintf("https://%s%.*s", name, (int)(word.n - (size_t)(colon - word.p)), colon);
}

int
member_join(
    const char *role, const struct daemon_conf *conf, const char *advertise, int argc, char **argv)
{
	_cleanup_free_ char *derived = advertise && advertise[0] ? NULL : url_of(conf->listen);
	uint32_t wait_s = WAIT_S;

	if (argc < 2 || argc > 3 || (argc == 3 && !str_to_u32(str_of(argv[2]), &wait_s))) {
		fprintf(stderr, "usage: mallee-%s join URL TOKEN [SECONDS]\n", role);
		return 2;
	}
	if (derived)
		advertise = derived;
	if (!advertise || !advertise[0]) {
		fprintf(
		    stderr, "mallee-%s: 'listen' names no TCP address: set 'advertise'\n", role);
		return 1;
	}
	return trust_join(role, conf->state_dir, advertise, argv[0], argv[1], wait_s);
}

struct renewal {
	struct rpc *rpc;
	char *state_dir;
	void (*renewed)(void *arg);
	void *arg;
};

static int
renew(void *arg, uint32_t *ret_again_ms, struct err *e)
{
	struct renewal *n = arg;
	bool is_new = false;
	int r = trust_renew(n->rpc, n->state_dir, &is_new, e);

	if (r == 0 && is_new)
		r = rpc_reload(n->rpc, e);
	if (r == 0 && is_new && n->renewed)
		n->renewed(n->arg);
	return r;
}

struct reconciler *
member_renewal_new(struct daemon *d, struct rpc *rpc, const char *daemon_name,
    const char *state_dir, void (*renewed)(void *arg), void *arg)
{
	static struct renewal one; /* a process is one daemon; it lives as long as that */

	free(one.state_dir);
	one = (struct renewal){ rpc, xstrdup(state_dir), renewed, arg };
	return reconciler_new(
	    daemon_loop(d), daemon_workers(d), daemon_name, "certificate", LOOK_MS, renew, &one);
}
