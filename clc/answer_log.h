#pragma once
/* Every answer to a user, as a line of JSON in a file: for looking into what a client did not
 * understand, and for tests that hold all of them against Amazon's model. Off unless `answer_log`
 * names a file. One for the process, as the log is: refusals of the HTTP layer come without us. */
#include <stdbool.h>
#include "base/err.h"
#include "base/strbuf.h"

struct answer {
	const char *request_id, *source_address, *user_agent, *account_id; /* NULL: not known */
	const char *service, *action, *version; /* NULL: the request got not that far */
	const char *parameters;                 /* without secrets */
	int status;
	struct str body;
	const struct shape *shape; /* of a good answer: its secrets are masked; NULL: has none */
};

/* Appends to `path`, made with mode 0600; "" closes. Again after the file was moved away. */
int answer_log_open(const char *path, struct err *e);
bool answer_log_is_open(void);
/* What is written is one write(2), before the client is answered. */
void answer_log_add(const struct answer *answer);
/* The record as text, with its newline. */
void answer_log_format(const struct answer *answer, int64_t now_us, struct strbuf *out);
