/* Runs every statement of a catalogue on SQLite and on PostgreSQL with the same rows and
 * parameters, and compares what comes back: outcome, rows and their order, affected counts, and
 * after each round all tables. A statement that never returned or changed a row compared nothing
 * and is a failure, unless NAME.hints beside this file gives the reason.
 *
 *   compare CONNINFO DIRECTORY [NAME...]
 *
 * DIRECTORY is for the SQLite files. The catalogues are store's own and those of all daemons that
 * have one (catalogues.def is made by the build). "bad" is a catalogue in which every statement is
 * wrong in its own way: it passes when each of them was found out. ROUNDS= and SEED= vary the run.
 */
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "run/fs.h"
#include "store/schema.h"
#include "tests/lib/store_fixture.h"
#include "tests/store/values.h"

#define ROUNDS 40
#define PATIENCE 5    /* times as many, while a statement has compared nothing yet */
#define REPORTS_MAX 2 /* of one statement */
#define HINTS_MAX 65536

#define CATALOGUE(name) extern const struct store_schema name##_schema;
#include "tests/store/catalogues.def"
#undef CATALOGUE

#define QUERY STORE_QUERY_ROW
static const struct store_query bad_queries[] = {
#include "tests/store/bad.def"
};
#undef QUERY
static const struct store_migration bad_migrations[] = {
	{ 1, "t",
	    "CREATE TABLE t (id BIGINT PRIMARY KEY, a TEXT, n BIGINT NOT NULL,"
	    " UNIQUE (a, n)) TABLE_OPTIONS" },
};
static const struct store_schema bad_schema = STORE_SCHEMA("bad", bad_queries, bad_migrations);

static const struct store_schema *const catalogues[] = {
	&store_base_schema, &bad_schema,
	&fixture_schema, /* of the store's own tests: blobs, foreign keys */
#define CATALOGUE(name) &name##_schema,
#include "tests/store/catalogues.def"
#undef CATALOGUE
};

struct statement {
	const struct store_query *query;
	unsigned runs, productive, differences;
	char *idle_reason;
};

struct comparison {
	const struct store_schema *schema;
	struct engine *sqlite, *postgres;
	struct values *values;
	struct statement *statements;
	unsigned table_differences;
	bool is_quiet;
};

void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

const char *
outcome_to_string(enum outcome outcome)
{
	static const char *const names[] = { "done", "unique violation", "foreign key violation",
		"NOT NULL violation", "CHECK violation", "error" };

	return names[outcome];
}

void
result_done(struct result *result)
{
	VEC_FOREACH (&result->rows, row)
		free(*row);
	vec_done(&result->rows);
	free(result->message);
}

void
row_add(struct strbuf *row, char type, const void *bytes, size_t n)
{
	if (row->n)
		strbuf_addc(row, ' ');
	strbuf_addc(row, type);
	strbuf_addc(row, ':');
	if (type == 'b') {
		_cleanup_free_ char *hex = xmalloc(2 * n + 1);

		hex_encode(n ? bytes : "", n, hex);
		strbuf_adds(row, hex);
	} else if (type != 'n') {
		strbuf_add(row, bytes, n);
	}
}

/* ---- comparing ---- */

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
sort_rows(struct result *result)
{
	if (result->rows.count)
		qsort(result->rows.items, result->rows.count, sizeof(char *), by_text);
}

/* NULL, or what differs. */
static const char *
difference(const struct result *a, const struct result *b)
{
	if (a->outcome == OUTCOME_ERROR || b->outcome == OUTCOME_ERROR)
		return "error";
	if (a->outcome != b->outcome)
		return "different outcomes";
	if (a->changed != b->changed)
		return "different counts of affected rows";
	if (a->rows.count != b->rows.count)
		return "different numbers of rows";
	for (size_t i = 0; i < a->rows.count; i++) {
		if (strcmp(a->rows.items[i], b->rows.items[i]) != 0)
			return "different rows or another order";
	}
	return NULL;
}

static void
print_result(const char *engine, const struct result *result)
{
	printf("    %s: %s, %lld affected, %zu rows%s%s\n", engine,
	    outcome_to_string(result->outcome), (long long)result->changed, result->rows.count,
	    result->message ? ": " : "", result->message ? result->message : "");
	for (size_t i = 0; i < result->rows.count && i < 12; i++)
		printf("      %s\n", result->rows.items[i]);
}

static void
print_difference(const char *catalogue, const struct store_query *query, const struct value *values,
    const char *what, const struct result *a, const struct result *b)
{
	printf("  %s %s: %s\n    %s\n", catalogue, query->name, what, query->text);
	for (unsigned i = 0; query->types[i]; i++)
		printf("    $%u = %s%s%s\n", i + 1, values[i].text ? "'" : "",
		    values[i].text ? values[i].text : "NULL", values[i].text ? "'" : "");
	print_result("SQLite", a);
	print_result("PostgreSQL", b);
}

static bool
is_kind(const struct store_query *query, const char *word)
{
	return strncasecmp(query->text, word, strlen(word)) == 0;
}

/* Out of ten, how many runs are committed: what sweeps rows away would leave nothing for others. */
static unsigned
share_kept(const struct store_query *query)
{
	if (is_kind(query, "DELETE") || (is_kind(query, "UPDATE") && !*query->types))
		return 2;
	return 8;
}

static void
finish(struct comparison *c, const char *how)
{
	c->sqlite->script(c->sqlite, how);
	c->postgres->script(c->postgres, how);
}

static void
run_once(struct comparison *c, struct statement *s)
{
	struct value values[STORE_PARAMETERS_MAX];
	struct result a = { 0 }, b = { 0 };
	const char *what;
	bool keep;

	values_pick(c->values, s->query, values);
	finish(c, "BEGIN");
	c->sqlite->run(c->sqlite, s->query, values, &a);
	c->postgres->run(c->postgres, s->query, values, &b);
	if (!is_kind(s->query, "SELECT") && !is_kind(s->query, "WITH")) {
		sort_rows(&a); /* RETURNING promises no order */
		sort_rows(&b);
	}
	what = difference(&a, &b);
	keep = !what && a.outcome == OUTCOME_DONE &&
	       values_random(c->values, 10) < share_kept(s->query);
	finish(c, keep ? "COMMIT" : "ROLLBACK");
	s->runs++;
	if (a.outcome == OUTCOME_DONE && (a.changed > 0 || a.rows.count > 0))
		s->productive++;
	if (what && s->differences++ < REPORTS_MAX && !c->is_quiet)
		print_difference(c->schema->daemon, s->query, values, what, &a, &b);
	values_done(s->query, values);
	result_done(&a);
	result_done(&b);
}

static void
compare_tables(struct comparison *c)
{
	const char *const *names;
	size_t count = values_tables(c->values, &names);

	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *text = xasprintf("SELECT * FROM %s", names[i]);
		struct store_query query = { names[i], "", text, NULL };
		struct result a = { 0 }, b = { 0 };
		const char *what;

		c->sqlite->run(c->sqlite, &query, NULL, &a);
		c->postgres->run(c->postgres, &query, NULL, &b);
		sort_rows(&a);
		sort_rows(&b);
		what = difference(&a, &b);
		if (what && c->table_differences++ < REPORTS_MAX)
			print_difference(c->schema->daemon, &query, NULL, what, &a, &b);
		result_done(&a);
		result_done(&b);
	}
}

static void
scramble(struct comparison *c)
{
	const struct store_query *queries;
	size_t count = values_scrambles(c->values, &queries);

	for (size_t i = 0; i < count; i++) {
		struct statement s = { .query = &queries[i] };

		if (values_random(c->values, 3) == 0)
			run_once(c, &s);
		c->table_differences += s.differences;
	}
}

/* Rows first, then what reads, changes, reads and deletes them. */
static void
run_round(struct comparison *c)
{
	static const struct {
		const char *word;
		unsigned times;
	} kinds[] = { { "INSERT", 4 }, { "SELECT", 2 }, { "UPDATE", 3 }, { "WITH", 4 },
		{ "SELECT", 3 }, { "DELETE", 2 } };

	for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (unsigned i = 0; i < c->schema->query_count; i++) {
			if (!is_kind(c->statements[i].query, kinds[kind].word))
				continue;
			for (unsigned time = 0; time < kinds[kind].times; time++)
				run_once(c, &c->statements[i]);
		}
	}
	scramble(c);
	compare_tables(c);
}

/* ---- one catalogue ---- */

static void
migrate_both(struct engine *engine, const struct store_schema *schema)
{
	for (unsigned i = 0; i < schema->migration_count; i++)
		engine->script(engine, schema->migrations[i].sql);
}

static void
read_hints(struct comparison *c)
{
	_cleanup_free_ char *path = xasprintf("tests/store/%s.hints", c->schema->daemon);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct err e = { 0 };
	struct str rest, line;

	if (fs_read(path, HINTS_MAX, &text, &e) < 0) {
		if (e.code == ERR_NOT_FOUND)
			return;
		die("%s", e.text);
	}
	rest = strbuf_str(&text);
	while (str_split(&rest, '\n', &line)) {
		struct str word, name;

		if (line.n == 0 || line.p[0] == '#')
			continue;
		if (!str_split(&line, ' ', &word) || !str_split(&line, ' ', &name))
			die("%s: not a hint: %.*s", path, (int)word.n, word.p);
		_cleanup_free_ char *key = str_dup(name), *value = str_dup(line);

		if (str_is(word, "value")) {
			values_hint(c->values, key, value);
			continue;
		}
		unsigned i = 0;

		while (i < c->schema->query_count && strcmp(c->schema->queries[i].name, key) != 0)
			i++;
		if (!str_is(word, "idle") || i == c->schema->query_count || !*value)
			die("%s: not a hint: %.*s %s", path, (int)word.n, word.p, key);
		c->statements[i].idle_reason = TAKE(value);
	}
}

static bool
has_idle(const struct comparison *c)
{
	for (unsigned i = 0; i < c->schema->query_count; i++)
		if (!c->statements[i].productive && !c->statements[i].idle_reason)
			return !c->is_quiet;
	return false;
}

static unsigned
judge(struct comparison *c)
{
	unsigned failures = c->table_differences;

	for (unsigned i = 0; i < c->schema->query_count; i++) {
		struct statement *s = &c->statements[i];

		if (s->runs == 0) {
			printf("  %s %s: is neither INSERT, UPDATE, DELETE, SELECT nor WITH\n",
			    c->schema->daemon, s->query->name);
			failures++;
		} else if (s->differences) {
			failures++;
		} else if (!s->productive && !s->idle_reason) {
			printf("  %s %s: no row in %u runs; give values or a reason in "
			       "tests/store/%s.hints\n",
			    c->schema->daemon, s->query->name, s->runs, c->schema->daemon);
			failures++;
		} else if (s->productive && s->idle_reason) {
			printf("  %s %s: has a reason to be idle but is not\n", c->schema->daemon,
			    s->query->name);
			failures++;
		}
		free(s->idle_reason);
	}
	return failures;
}

/* Of the bad catalogue every statement has to be found out. */
static unsigned
judge_bad(struct comparison *c)
{
	unsigned failures = c->table_differences;

	for (unsigned i = 0; i < c->schema->query_count; i++) {
		if (c->statements[i].differences)
			continue;
		printf("  %s: the difference was not found\n", c->statements[i].query->name);
		failures++;
	}
	return failures;
}

static unsigned
number_from_environment(const char *name, unsigned fallback)
{
	uint32_t n;

	return str_to_u32(str_of(getenv(name)), &n) ? n : fallback;
}

static unsigned
compare(const struct store_schema *schema, const char *conninfo, const char *directory)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.db", directory, schema->daemon);
	_cleanup_free_ char *database = xasprintf("compare_%s", schema->daemon);
	struct comparison c = { .schema = schema, .is_quiet = schema == &bad_schema };
	unsigned rounds = number_from_environment("ROUNDS", ROUNDS), runs = 0, failures;

	if (unlink(path) < 0 && fs_exists(path))
		die("cannot remove %s", path);
	c.sqlite = sqlite_engine_open(path);
	c.postgres = postgres_engine_open(conninfo, database);
	struct engine *engines[] = { c.sqlite, c.postgres };

	for (size_t i = 0; i < 2; i++) {
		engines[i]->script(engines[i], store_bootstrap_sql);
		migrate_both(engines[i], &store_base_schema);
		if (schema != &store_base_schema)
			migrate_both(engines[i], schema);
	}
	c.values =
	    values_new(sqlite_engine_handle(c.sqlite), schema, number_from_environment("SEED", 1));
	c.statements = xcalloc(schema->query_count + 1, sizeof(*c.statements));
	for (unsigned i = 0; i < schema->query_count; i++)
		c.statements[i].query = &schema->queries[i];
	read_hints(&c);
	for (unsigned i = 0; i < rounds || (i < rounds * PATIENCE && has_idle(&c)); i++)
		run_round(&c);
	for (unsigned i = 0; i < schema->query_count; i++)
		runs += c.statements[i].runs;
	failures = schema == &bad_schema ? judge_bad(&c) : judge(&c);
	printf("%s %s: %u statements, %u runs, %u failures\n", failures ? "not ok" : "ok",
	    schema->daemon, schema->query_count, runs, failures);
	values_free(c.values);
	free(c.statements);
	c.sqlite->close(c.sqlite);
	c.postgres->close(c.postgres);
	return failures;
}

int
main(int argc, char **argv)
{
	unsigned failed = 0, ran = 0;

	if (argc < 3)
		die("usage: compare CONNINFO DIRECTORY [NAME...]");
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < ARRAY_SIZE(catalogues); i++) {
		bool wanted = argc == 3;

		for (int k = 3; k < argc; k++)
			wanted |= strcmp(argv[k], catalogues[i]->daemon) == 0;
		if (!wanted)
			continue;
		ran++;
		failed += compare(catalogues[i], argv[1], argv[2]) != 0;
	}
	if (ran == 0)
		die("no catalogue of that name");
	printf("%u passed, %u failed, 0 skipped\n", ran - failed, failed);
	return failed ? 1 : 0;
}
