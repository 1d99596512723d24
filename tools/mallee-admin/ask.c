/* HTTP over a unix socket by libcurl: what mallee-admin says to daemons. The socket's owner is the
 * authority (mode 0600, and the daemon asks the kernel who connects), so there is nothing to sign.
 */
#include "ask.h"

#include <curl/curl.h>

#define ANSWER_MAX (16 << 20)
#define TIMEOUT_MS 70000L /* above the daemon's own */

static size_t
on_data(char *p, size_t size, size_t n, void *arg)
{
	struct strbuf *out = arg;

	strbuf_add(out, p, size * n);
	return out->overflowed ? 0 : size * n;
}

static int
refused(const struct ask *ask, long status, struct strbuf *answer, struct err *e)
{
	struct str text = strbuf_str(answer), line = text;

	(void)str_split(&text, '\n', &line);
	if (line.n == 0)
		return err_set(
		    e, ERR_IO, "mallee-%s answered with HTTP status %ld", ask->daemon, status);
	return err_set(e, ERR_INVALID, "%.*s", (int)line.n, line.p);
}

static int
failed(const struct ask *ask, CURLcode code, struct err *e)
{
	if (code == CURLE_COULDNT_CONNECT)
		return err_set(e, ERR_UNAVAILABLE,
		    "cannot reach mallee-%s at '%s': is it running, and are you root?", ask->daemon,
		    ask->socket_path);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return err_set(e, ERR_TIMEOUT, "mallee-%s did not answer in time", ask->daemon);
	return err_set(
	    e, ERR_IO, "cannot ask mallee-%s: %s", ask->daemon, curl_easy_strerror(code));
}

int
ask_daemon(
    const struct ask *ask, const char *path, const char *form, struct strbuf *out, struct err *e)
{
	_cleanup_strbuf_ struct strbuf answer = { .limit = ANSWER_MAX };
	_cleanup_free_ char *url = xasprintf("http://%s%s", ask->daemon, path);
	CURL *curl = curl_easy_init();
	CURLcode code;
	long status = 0;

	if (!curl)
		return err_set(e, ERR_INTERNAL, "cannot start libcurl");
	(void)curl_easy_setopt(curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, ask->socket_path);
	(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	if (form)
		(void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, form);
	code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK)
		return failed(ask, code, e);
	if (status / 100 != 2)
		return refused(ask, status, &answer, e);
	strbuf_addstr(out, strbuf_str(&answer));
	return 0;
}
