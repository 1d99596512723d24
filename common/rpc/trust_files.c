/* The daemon's side on disk: <state_dir>/trust with key.pem, ca.pem, certificate.pem and peer.conf.
 * peer.conf is written last, so whoever has one has the rest. */
#include <stdio.h>
#include <stdlib.h>
#include "rpc/trust.h"
#include "rpc/trust_internal.h"
#include "run/fs.h"

#define PEER_VALUE_MAX 1024

static const struct conf_key peer_keys[] = {
	{ "peer_id", CONF_STRING, offsetof(struct trust_peer, peer_id), NULL,
	    "this daemon's name" },
	{ "role", CONF_ENUM, offsetof(struct trust_peer, role), NULL, "what it is",
	    "clc|walrus|cc|sc|nc" },
	{ "zone", CONF_STRING, offsetof(struct trust_peer, zone), "", "its availability zone" },
	{ "clc_url", CONF_STRING, offsetof(struct trust_peer, clc_url), NULL, "where the clc is" },
	CONF_END,
};

int
trust_peer_load(const char *state_dir, struct trust_peer *ret, struct err *e)
{
	_cleanup_free_ char *path = trust_path(state_dir, "peer.conf");

	if (!fs_exists(path))
		return err_set(e, ERR_NOT_FOUND,
		    "not joined to a cloud yet ('%s' is absent): see the command 'join'", path);
	*ret = (struct trust_peer){ 0 };
	return conf_load(peer_keys, path, ret, e);
}

void
trust_peer_done(struct trust_peer *p)
{
	conf_done(peer_keys, p);
	*p = (struct trust_peer){ 0 };
}

static bool
fits(const char *value)
{
	return !value || (strlen(value) <= PEER_VALUE_MAX && !strpbrk(value, "\r\n#\"'\\"));
}

int
trust_peer_write(const char *state_dir, const struct trust_peer *p, struct err *e)
{
	_cleanup_free_ char *path = trust_path(state_dir, "peer.conf");
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

	if (!fits(p->peer_id) || !fits(p->role) || !fits(p->zone) || !fits(p->clc_url))
		return err_set(
		    e, ERR_INVALID, "a value for '%s' holds a character it may not", path);
	strbuf_addf(&text,
	    "# Written when this daemon joined the cloud.\npeer_id = %s\nrole = %s\n", p->peer_id,
	    p->role);
	if (p->zone && *p->zone)
		strbuf_addf(&text, "zone = %s\n", p->zone);
	strbuf_addf(&text, "clc_url = %s\n", p->clc_url);
	return fs_write_atomic(path, strbuf_str(&text), 0644, e);
}

int
trust_install(const char *state_dir, const struct trust_peer *peer, const char *certificate_pem,
    const char *ca_pem, struct err *e)
{
	_cleanup_free_ char *ca_path = trust_path(state_dir, "ca.pem");
	_cleanup_free_ char *certificate_path = trust_path(state_dir, "certificate.pem");
	_cleanup_strbuf_ struct strbuf chain = STRBUF_INIT;
	int r;

	strbuf_adds(&chain, certificate_pem);
	strbuf_adds(&chain, ca_pem);
	r = fs_write_atomic(ca_path, str_of(ca_pem), 0644, e);
	if (r == 0)
		r = fs_write_atomic(certificate_path, strbuf_str(&chain), 0644, e);
	return r < 0 ? r : trust_peer_write(state_dir, peer, e);
}
