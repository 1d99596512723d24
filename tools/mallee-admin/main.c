/* mallee-admin, the operator's tool: a table of commands, each a request to a daemon's admin
 * socket. What the daemon answers is printed as it is; when it refuses, its sentence goes to stderr
 * and the exit status is 1 (2: usage). `init` makes the cloud and therefore runs before there is a
 * daemon to ask: it is mallee-clc's own command. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include "base/str.h"
#include "net/url.h"
#include "run/fs.h"

#include "ask.h"
#include "command.h"

#define CONFIG_MAX (256 * 1024)

static const struct {
	const char *name, *value;
	size_t offset;
	const char *help;
} option_table[] = {
	{ "--daemon", "NAME", offsetof(struct options, daemon),
	    "whom to ask: clc, walrus, cc, sc or nc; default: whose business it is" },
	{ "--runtime-dir", "DIR", offsetof(struct options, runtime_dir),
	    "where its admin.sock is; default /run/mallee/NAME" },
	{ "--config", "FILE", offsetof(struct options, config),
	    "the daemon's configuration: names its runtime_dir; for init: the clc's" },
	{ "--account", "ACCOUNT", offsetof(struct options, account),
	    "for bucket list and usage: of that one only" },
	{ "--prefix", "PREFIX", offsetof(struct options, prefix),
	    "for object list: keys that begin so" },
	{ "--bytes", "SIZE", offsetof(struct options, bytes), "for quotas: such as 10G, or none" },
	{ "--objects", "COUNT", offsetof(struct options, objects),
	    "for quotas: objects with all their versions, or none" },
	{ "--zone", "ZONE", offsetof(struct options, zone), "for token: the availability zone" },
};

/* -- asking -- */

/* `runtime_dir` of a daemon's configuration, which is checked by the daemon, not here. */
static int
runtime_dir_of(const char *path, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct str rest, line, key;
	int r = fs_read(path, CONFIG_MAX, &text, e);

	if (r < 0)
		return r;
	rest = strbuf_str(&text);
	while (rest.n && str_split(&rest, '\n', &line)) {
		if (!memchr(line.p, '=', line.n) || !str_split(&line, '=', &key) ||
		    !str_is(str_trim(key), "runtime_dir"))
			continue;
		*ret = str_dup(str_trim(line));
		return 0;
	}
	return 0;
}

static int
find_runtime_dir(const struct options *o, char **ret, struct err *e)
{
	int r = 0;

	if (o->runtime_dir)
		*ret = xstrdup(o->runtime_dir);
	else if (o->config)
		r = runtime_dir_of(o->config, ret, e);
	if (r == 0 && !*ret)
		*ret = xasprintf("/run/mallee/%s", o->daemon);
	return r;
}

int
ask(const struct options *o, const char *path, const char *form)
{
	_cleanup_free_ char *directory = NULL, *socket_path = NULL;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct ask whom = { .daemon = o->daemon };
	struct err e = { 0 };
	int r = find_runtime_dir(o, &directory, &e);

	if (r == 0) {
		whom.socket_path = socket_path = xasprintf("%s/admin.sock", directory);
		r = ask_daemon(&whom, path, form, &out, &e);
	}
	if (r < 0) {
		fprintf(stderr, "mallee-admin: %s\n", e.text);
		return EXIT_FAILURE;
	}
	if (fwrite(strbuf_c(&out), 1, out.n, stdout) != out.n || fflush(stdout) != 0) {
		fprintf(stderr, "mallee-admin: cannot write the answer\n");
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

void
add_pair(struct strbuf *form, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_addf(form, "%s%s=", form->n ? "&" : "", name);
	url_encode(form, str_of(value), false);
}

/* -- commands -- */

/* Beside this program, as in a build directory or an installation that has both in bin. */
static char *
find_clc(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	for (size_t i = 0; i < 2; i++) {
		char *path = xasprintf(i ? "%s/../sbin/mallee-clc" : "%s/mallee-clc", self);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static int
run_init(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_free_ char *path = find_clc();
	const char *argv[6] = { "mallee-clc" };
	unsigned n = 1;

	if (o->config) {
		argv[n++] = "--config";
		argv[n++] = o->config;
	}
	argv[n++] = "init";
	if (path)
		(void)execv(path, (char **)argv);
	else
		(void)execvp("mallee-clc", (char **)argv);
	fprintf(stderr, "mallee-admin: cannot run mallee-clc: %s\n", strerror(errno));
	return EXIT_FAILURE;
}

static int
run_token(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "role", arguments[0]);
	add_pair(&form, "zone", count > 1 ? arguments[1] : o->zone);
	return ask(o, "/token", strbuf_c(&form));
}

static int
run_account_create(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "name", arguments[0]);
	return ask(o, "/accounts", strbuf_c(&form));
}

static int
run_account_list(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/accounts", NULL);
}

static int
run_quota_list(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "account", arguments[0]);
	return ask(o, "/quotas", strbuf_c(&form));
}

static int
run_quota_set(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "account", arguments[0]);
	add_pair(&form, "name", arguments[1]);
	add_pair(&form, "value", arguments[2]);
	return ask(o, "/quotas/set", strbuf_c(&form));
}

static int
run_status(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/status", NULL);
}

static int
run_certificate(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/certificate", NULL);
}

static int
run_nodes(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/nodes", NULL);
}

static int
run_peers(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/peers", NULL);
}

static int
run_why(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "id", count ? arguments[0] : NULL);
	return ask(o, "/why", strbuf_c(&form));
}

static int
run_type_list(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/types", NULL);
}

static int
run_type_set(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "name", arguments[0]);
	for (unsigned i = 1; i < count; i++) {
		struct str rest = str_of(arguments[i]), key;
		_cleanup_free_ char *name = NULL;

		if (!strchr(arguments[i], '=') || !str_split(&rest, '=', &key) || !key.n) {
			fprintf(stderr, "mallee-admin: '%s' is not KEY=VALUE\n", arguments[i]);
			return EXIT_USAGE;
		}
		name = str_dup(key);
		add_pair(&form, name, strchr(arguments[i], '=') + 1);
	}
	return ask(o, "/types", strbuf_c(&form));
}

static int
run_type_delete(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "name", arguments[0]);
	return ask(o, "/types/delete", strbuf_c(&form));
}

static int
run_reconcilers(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/reconcilers", NULL);
}

static int
steer_reconciler(const struct options *o, const char *name, const char *verb)
{
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;

	strbuf_adds(&path, "/reconcilers/");
	url_encode(&path, str_of(name), false);
	strbuf_addf(&path, "/%s", verb);
	return ask(o, strbuf_c(&path), "");
}

static int
run_reconcilers_run(const struct options *o, const char *const *arguments, unsigned count)
{
	return steer_reconciler(o, arguments[0], "run");
}

static int
run_reconcilers_pause(const struct options *o, const char *const *arguments, unsigned count)
{
	return steer_reconciler(o, arguments[0], "pause");
}

static int
run_reconcilers_resume(const struct options *o, const char *const *arguments, unsigned count)
{
	return steer_reconciler(o, arguments[0], "resume");
}

static int
run_zone_list(const struct options *o, const char *const *arguments, unsigned count)
{
	return ask(o, "/zones", NULL);
}

static int
run_zone_set(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;
	const char *policy = arguments[1];

	if (strncmp(policy, "policy=", 7) != 0) {
		fprintf(stderr, "mallee-admin: '%s' is not policy=VALUE\n", policy);
		return EXIT_USAGE;
	}
	add_pair(&form, "zone", arguments[0]);
	add_pair(&form, "policy", policy + 7);
	return ask(o, "/zones", strbuf_c(&form));
}

static int
run_capacity(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "type", arguments[0]);
	add_pair(&form, "zone", arguments[1]);
	return ask(o, "/capacity", strbuf_c(&form));
}

static int
run_node_maintenance(const struct options *o, const char *const *arguments, unsigned count)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "node", arguments[0]);
	add_pair(&form, "value", arguments[1]);
	add_pair(&form, "reason", count > 2 ? arguments[2] : NULL);
	return ask(o, "/nodes/maintenance", strbuf_c(&form));
}

static int
order_power(const struct options *o, const char *node, const char *power)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, "node", node);
	add_pair(&form, "power", power);
	return ask(o, "/nodes/power", strbuf_c(&form));
}

static int
run_node_sleep(const struct options *o, const char *const *arguments, unsigned count)
{
	return order_power(o, arguments[0], "asleep");
}

static int
run_node_wake(const struct options *o, const char *const *arguments, unsigned count)
{
	return order_power(o, arguments[0], "awake");
}

static int
order_removal(const struct options *o, const char *path, const char *kind, const char *name)
{
	_cleanup_strbuf_ struct strbuf form = STRBUF_INIT;

	add_pair(&form, kind, name);
	add_pair(&form, "force", o->force ? "true" : NULL);
	return ask(o, path, strbuf_c(&form));
}

static int
run_node_remove(const struct options *o, const char *const *arguments, unsigned count)
{
	return order_removal(o, "/nodes/remove", "node", arguments[0]);
}

static int
run_peer_remove(const struct options *o, const char *const *arguments, unsigned count)
{
	return order_removal(o, "/peers/remove", "peer", arguments[0]);
}

static const struct command commands[] = {
	{ "init", "", 0, 0, "makes a cloud: its CAs, the account 'mallee' and its user 'admin'",
	    run_init },
	{ "token", "ROLE [ZONE]", 1, 2,
	    "prints a token with which one walrus, cc, sc or nc may join, once", run_token },
	{ "account create", "NAME", 1, 1,
	    "makes an account with a user 'admin' and prints its keys", run_account_create },
	{ "account list", "", 0, 0, "prints the accounts", run_account_list },
	{ "certificate", "", 0, 0,
	    "prints the certificate that bundles of images are encrypted for", run_certificate },
	{ "quota list", "ACCOUNT", 1, 1, "prints what an account may have", run_quota_list },
	{ "quota set", "ACCOUNT NAME VALUE", 3, 3,
	    "changes one of them; VALUE is a number or 'default'", run_quota_set },
	{ "status", "", 0, 0, "what the daemon is, and whether it is ready", run_status },
	{ "nodes", "", 0, 0, "the nodes of the cloud, with capacity and state", run_nodes },
	{ "node maintenance", "NODE on|off [REASON]", 2, 3,
	    "keeps new instances off a node, or lets them come again", run_node_maintenance },
	{ "node sleep", "NODE", 1, 1, "puts a node to sleep on which nothing runs",
	    run_node_sleep },
	{ "node wake", "NODE", 1, 1, "wakes it", run_node_wake },
	{ "node remove", "NODE", 1, 1, "it is no longer part of the cloud", run_node_remove },
	{ "zone list", "", 0, 0, "the zones, with their placement policy", run_zone_list },
	{ "zone set", "ZONE policy=POLICY", 2, 2,
	    "how it chooses nodes: round-robin, greedy, power-save", run_zone_set },
	{ "capacity", "TYPE ZONE", 2, 2,
	    "how many instances of a type fit now, and why the next one does not", run_capacity },
	{ "peers", "", 0, 0, "the daemons that joined", run_peers },
	{ "type list", "", 0, 0, "prints the instance types", run_type_list },
	{ "type set", "NAME KEY=VALUE...", 2, 8, "makes an instance type, or changes it",
	    run_type_set },
	{ "type delete", "NAME", 1, 1, "deletes an instance type; its instances stay",
	    run_type_delete },
	{ "peer remove", "PEER", 1, 1, "a walrus, cc or sc is no longer part of the cloud",
	    run_peer_remove },
	{ "why", "[ID]", 0, 1,
	    "why something is in its state, and who can act; without ID, of all that is off",
	    run_why },
	{ "reconcilers", "", 0, 0, "the daemon's background work: last run, result, next run",
	    run_reconcilers },
	{ "reconcilers run", "NAME", 1, 1, "runs one now", run_reconcilers_run },
	{ "reconcilers pause", "NAME", 1, 1, "keeps one from running by itself",
	    run_reconcilers_pause },
	{ "reconcilers resume", "NAME", 1, 1, "lets it run again", run_reconcilers_resume },
};

static const struct command *
command_at(size_t i)
{
	if (i < ARRAY_SIZE(commands))
		return &commands[i];
	i -= ARRAY_SIZE(commands);
	return i < walrus_command_count ? &walrus_commands[i] : NULL;
}

/* -- arguments -- */

static void
print_options(void)
{
	printf("\nOptions:\n");
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		_cleanup_free_ char *shown =
		    xasprintf("%s %s", option_table[i].name, option_table[i].value);

		printf("  %-20s %s\n", shown, option_table[i].help);
	}
	printf("  %-20s %s\n", "--force", "for node remove and peer remove: also with instances");
	printf("  %-20s print this and exit\n  %-20s print the version and exit\n", "--help",
	    "--version");
}

static void
print_command(const struct command *c)
{
	_cleanup_free_ char *shown = xasprintf("%s %s", c->name, c->arguments);

	printf("  %-40s %s\n", shown, c->help);
}

static int
print_help(void)
{
	printf("mallee-admin: administers a Mallee cloud\n\n"
	       "Usage: mallee-admin [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:\n");
	for (size_t i = 0; command_at(i); i++)
		print_command(command_at(i));
	print_options();
	return EXIT_SUCCESS;
}

/* The commands whose name begins with the words given. */
static int
print_help_of(const struct options *o)
{
	printf("Usage:\n");
	for (size_t i = 0; command_at(i); i++) {
		size_t n = strlen(o->words[0]);

		if (strncmp(command_at(i)->name, o->words[0], n) == 0 &&
		    strchr(" ", command_at(i)->name[n]))
			print_command(command_at(i));
	}
	print_options();
	return EXIT_SUCCESS;
}

static int
bad_usage(const char *problem, const char *word)
{
	fprintf(stderr, "mallee-admin: %s '%s'; try 'mallee-admin --help'\n", problem, word);
	return EXIT_USAGE;
}

/* Takes argv[*at] and its value, written "--x V" or "--x=V". */
static int
take_option(struct options *o, int argc, char **argv, int *at)
{
	const char *argument = argv[*at], *equals = strchr(argument, '=');
	size_t n = equals ? (size_t)(equals - argument) : strlen(argument);

	if (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0) {
		o->help = true;
		return 0;
	}
	if (strcmp(argument, "--force") == 0) {
		o->force = true;
		return 0;
	}
	if (strcmp(argument, "--version") == 0) {
		o->version = true;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
		const char **slot = (const char **)((char *)o + option_table[i].offset);

		if (strlen(option_table[i].name) != n ||
		    memcmp(option_table[i].name, argument, n) != 0)
			continue;
		if (!equals && *at + 1 >= argc)
			return bad_usage("a value is missing after", argument);
		*slot = equals ? equals + 1 : argv[++*at];
		return 0;
	}
	return bad_usage("unknown option", argument);
}

static int
parse(struct options *o, int argc, char **argv)
{
	bool only_words = false;

	*o = (struct options){ 0 };
	for (int i = 1; i < argc; i++) {
		int status;

		if (!only_words && strcmp(argv[i], "--") == 0) {
			only_words = true;
		} else if (!only_words && argv[i][0] == '-' && argv[i][1]) {
			status = take_option(o, argc, argv, &i);
			if (status)
				return status;
		} else if (o->word_count == WORDS_MAX) {
			return bad_usage("one word too many:", argv[i]);
		} else {
			o->words[o->word_count++] = argv[i];
		}
	}
	if (o->daemon &&
	    (!*o->daemon || strspn(o->daemon, "abcdefghijklmnopqrstuvwxyz") != strlen(o->daemon)))
		return bad_usage("no such daemon:", o->daemon);
	return 0;
}

/* The longest name that the words begin with. */
static const struct command *
find(const struct options *o, unsigned *ret_words)
{
	const struct command *found = NULL;

	for (size_t i = 0; command_at(i); i++) {
		_cleanup_free_ char *two =
		    o->word_count > 1 ? xasprintf("%s %s", o->words[0], o->words[1]) : xstrdup("");

		if (strcmp(command_at(i)->name, two) == 0) {
			*ret_words = 2;
			return command_at(i);
		}
		if (strcmp(command_at(i)->name, o->words[0]) == 0) {
			*ret_words = 1;
			found = command_at(i);
		}
	}
	return found;
}

/* "node": the first word of several commands. */
static bool
is_family(const char *first)
{
	size_t n = strlen(first);

	for (size_t i = 0; command_at(i); i++)
		if (strncmp(command_at(i)->name, first, n) == 0 && command_at(i)->name[n] == ' ')
			return true;
	return false;
}

int
main(int argc, char **argv)
{
	const struct command *c;
	struct options o;
	unsigned words = 0, count;
	int status = parse(&o, argc, argv);

	if (status)
		return status;
	if (o.version) {
		printf("mallee-admin %s\n", MALLEE_VERSION);
		return EXIT_SUCCESS;
	}
	if (!o.word_count) {
		if (o.help)
			return print_help();
		fprintf(stderr, "mallee-admin: no command; try 'mallee-admin --help'\n");
		return EXIT_USAGE;
	}
	c = find(&o, &words);
	if (!c && !(o.help && is_family(o.words[0])))
		return bad_usage(
		    is_family(o.words[0]) ? "a word is missing after" : "unknown command",
		    o.words[0]);
	if (o.help)
		return print_help_of(&o);
	count = o.word_count - words;
	if (count < c->least)
		return bad_usage("an argument is missing after", c->name);
	if (count > c->most)
		return bad_usage("one word too many:", o.words[words + c->most]);
	if (!o.daemon)
		o.daemon = c->daemon ? c->daemon : "clc";
	return c->run(&o, o.words + words, count);
}
