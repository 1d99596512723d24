/* Putting the host to sleep: the one command that the administrator wrote into the helper's own
 * configuration, as it stands there, without a shell. Nothing of it comes from the client. */
#include "helper/helper.h"

#include "run/cmd.h"

#define SLEEP_MS 20000

struct sleep_task {
	struct helper *helper;
	struct ticket ticket;
};

static int
run_sleep(void *arg, struct err *e)
{
	const struct sleep_task *s = arg;
	struct str rest = str_of(s->helper->conf->sleep_command), word;
	_cleanup_(cmd_freep) struct cmd *c = NULL;
	unsigned deadline_ms;

	while (str_split(&rest, ' ', &word)) {
		_cleanup_free_ char *text = str_dup(word);

		if (!word.n)
			continue;
		if (c)
			cmd_add(c, text);
		else
			c = cmd_new(text);
	}
	/* A command that hangs ends before the task does, which would say that libvirt hangs. */
	deadline_ms = s->helper->conf->libvirt_deadline_ms / 2;
	return cmd_run(c, deadline_ms < SLEEP_MS ? deadline_ms : SLEEP_MS, NULL, e);
}

static void
sleep_done(void *arg, int r, const struct err *e)
{
	const struct sleep_task *s = arg;

	if (r < 0)
		helper_reply_error(s->helper, &s->ticket, e);
	else
		helper_reply(s->helper, &s->ticket, NULL, 0, NULL, 0);
}

void
power_verb(struct helper *h, const struct ticket *t)
{
	struct task task = { .work = run_sleep, .done = sleep_done, .release = free };
	const char *command = h->conf->sleep_command;
	struct sleep_task *s;
	struct err e = { 0 };

	if (!command || !command[0])
		err_set(&e, ERR_UNSUPPORTED,
		    "this node never sleeps: no sleep_command is configured for its helper");
	else if (command[0] != '/')
		err_set(&e, ERR_INVALID, "sleep_command is not an absolute path");
	if (e.code) {
		helper_reply_error(h, t, &e);
		return;
	}
	log_info(h->log, "helper.sleep", "command=\"%s\"", command);
	s = xcalloc(1, sizeof(*s));
	s->helper = h;
	s->ticket = *t;
	task.arg = s;
	helper_task(h, &task);
}
