/* tools/apigen: what it refuses, with file and line, and what it prints. That what it generates is
 * right shows in the tests of the codec and of every handler. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/strbuf.h"
#include "run/fs.h"

static char directory[] = "/tmp/apigen-XXXXXX";

static void
write_file(const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
	struct err e = { 0 };

	if (fs_write_atomic(path, str_of(text), 0644, &e) < 0)
		fail_msg("%s", e.text);
}

/* Exit status; stdout and stderr in `out`, the directory's name taken out. */
static int
apigen(const char *arguments, struct strbuf *out)
{
	_cleanup_free_ char *command = xasprintf("tools/apigen %s 2>&1", arguments);
	FILE *p = popen(command, "r");
	char line[1024];
	int status;

	assert_non_null(p);
	strbuf_reset(out);
	while (fgets(line, sizeof(line), p)) {
		char *at = strstr(line, directory);

		if (at)
			memmove(
			    at, at + strlen(directory) + 1, strlen(at + strlen(directory) + 1) + 1);
		strbuf_adds(out, line);
	}
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define SERVICE "service s 1 2\n"
#define OPERATION SERVICE "operation Go go\n\tpeers cc\n"

static void
refuses_with_file_and_line(void **state)
{
	static const struct {
		const char *text, *says; /* after "apigen: a.api:" */
	} cases[] = {
		{ "nonsense\n", "1: unknown declaration 'nonsense'" },
		{ "struct A\n", "1: struct NAME (lower case, digits, '_')" },
		{ "struct a\n\tx\n", "2: field 'x' has no type" },
		{ "struct a\n\tx text\n",
		    "2: unknown type 'text' (for a struct write 'struct text')" },
		{ "struct a\n\tx struct\n", "2: field 'x': struct of what?" },
		{ "struct a\n\n\tx struct b\n", "3: unknown struct 'b'" },
		{ "struct a\n\tx list b\n", "2: unknown struct 'b'" },
		{ "struct a\n\tX string\n",
		    "2: 'X' is no field name (lower case, digits, '_', no keyword of C)" },
		{ "struct a\n\tdefault bool\n",
		    "2: 'default' is no field name (lower case, digits, '_', no keyword of C)" },
		{ "struct a\n    x string\n", "2: indent with tabs" },
		{ "struct a\n\t\tx string\n", "2: indented too deep" },
		{ "\tx string\n", "1: indented too deep" },
		{ "struct a\n\tx string\n\tx u32\n",
		    "3: 'x' is already the name of field 'x', line 2" },
		{ "struct a\n\tx string\n\ty u32 query=X\n",
		    "3: 'X' is already the query of field 'x', line 2" },
		{ "struct a\n\tx string\n\ty u32 xml=X\n",
		    "3: 'X' is already the xml of field 'x', line 2" },
		{ "struct a\n\tx u32\n\thas_x bool\n",
		    "3: 'has_x' clashes with the has_ of another field" },
		{ "struct a\nstruct a\n", "2: struct 'a' is already declared at a.api:1" },
		{ "struct a\n\tx string maybe\n", "2: unknown option 'maybe'" },
		{ "struct a\n\tx string required required\n",
		    "2: option 'required' is given twice" },
		{ "struct a\n\tx string required=1\n", "2: option 'required' takes no value" },
		{ "struct a\n\tx string max\n", "2: option 'max' takes a value" },
		{ "struct a\n\tx string max=ten\n",
		    "2: option 'max' takes a whole number, not 'ten'" },
		{ "struct a\n\tx string max=0\n",
		    "2: max=0 stands for the default limit; leave it out" },
		{ "struct a\n\tx u32 min=5 max=4\n", "2: min=5 is above max=4" },
		{ "struct a\n\tx u32 max=4294967296\n", "2: max=4294967296 is outside of u32" },
		{ "struct a\n\tx u32 min=-1\n", "2: min=-1 is outside of u32" },
		{ "struct a\n\tx bool max=1\n", "2: type bool has no min or max" },
		{ "struct a\n\tx list string min=-1\n", "2: a list's min and max are counts" },
		{ "struct a\n\tx u32 choices=1|2\n", "2: only strings have choices" },
		{ "struct a\n\tx string choices=a||b\n", "2: an empty choice" },
		{ "struct a\n\tx string flat\n", "2: only lists have 'flat'" },
		{ "struct a\n\tx string item=m\n", "2: only lists have 'item'" },
		{ "struct a\n\tx u32 empty\n", "2: only lists and strings have 'empty'" },
		{ "struct a\n\tx u32 query=A.B\n", "2: 'A.B' is no parameter name" },
		{ "struct a\n\tx u32 xml=<a>\n", "2: '<a>' is no element name" },
		{ "struct a\n\tx u32 since=0\n", "2: versions begin with 1" },
		{ "include b.api\n", "1: cannot find 'b.api'" },
		{ "struct a\nprefix p_\n", "2: prefix comes before the structs" },
		{ SERVICE SERVICE, "2: a file has one service" },
		{ "service s 1\n", "1: service NAME FIRST LAST [request=STRUCT]" },
		{ "service s 2 1\n", "1: versions 2 to 1 are no range" },
		{ "service s 1 2016-11-15\n", "1: versions 1 to 2016-11-15 are no range" },
		{ "service s 0 1\n", "1: '0' is no version: a whole number or a date" },
		{ "operation Go go\n", "1: operations need a 'service' line above them" },
		{ SERVICE "operation go\n", "2: operation WireName c_name" },
		{ SERVICE "operation Go go\n",
		    "2: operation 'Go' names no peers: nobody could call it" },
		{ SERVICE "operation Go go\n\tpeers king\n",
		    "3: 'king' is no role: clc walrus cc sc nc" },
		{ OPERATION "\tpeers nc\n", "4: 'peers' is given twice" },
		{ OPERATION "\tmutates much\n", "4: 'mutates' stands alone" },
		{ OPERATION "\tiam s\n", "4: iam SERVICE:Action" },
		{ OPERATION "\tshout\n", "4: unknown line 'shout' in an operation" },
		{ OPERATION "\tin thing\n", "4: in struct NAME, or a block of fields below" },
		{ OPERATION "\tin struct thing\n", "2: unknown struct 'thing'" },
		{ OPERATION "\tin\n\t\tx y\n",
		    "5: unknown type 'y' (for a struct write 'struct y')" },
		{ OPERATION "operation Go stop\n\tpeers cc\n",
		    "4: operation 'Go stop' clashes with line 2: 'Go go'" },
		{ SERVICE "struct s_go_in\noperation Go go\n\tpeers cc\n",
		    "3: 'struct s_go_in' is already declared at a.api:2" },
		{ "struct a\n\tx string neutral=1\n",
		    "2: only what is refused has neutral values" },
		{ "struct a\n\tx refused required\n", "2: unknown option 'required'" },
		{ "struct a\n\tx ignored neutral=1\n", "2: unknown option 'neutral=1'" },
		{ OPERATION "\tdiffers\n", "4: differs how?" },
		{ OPERATION "\tfilters\n", "4: filters NAME, and a block of FILTER PATH below" },
		{ OPERATION "\tfilters a\n", "2: unknown struct 'a'" },
		{ "struct a\n\tx string\n" OPERATION "\tfilters a\n\t\tx\n",
		    "7: FILTER PATH, or FILTER none" },
		{ "struct a\n\tx string\n" OPERATION "\tfilters a\n\t\tx y\n",
		    "7: 'y' leads nowhere: no field 'y' in struct 'a'" },
		{ "struct a\n\tx string\n" OPERATION "\tfilters a\n\t\tx x.y\n",
		    "7: 'x.y' leads nowhere: no field 'y'" },
		{ "struct a\n\tx bytes\n" OPERATION "\tfilters a\n\t\tx x\n",
		    "7: 'x' ends at what is no text" },
		{ "struct a\n\tx string\n" OPERATION "\tfilters a\n\t\tx x\n\t\tx none\n",
		    "8: filter 'x' is given twice" },
		{ OPERATION "\tanswers\n", "4: answers empty, or answers FAULT" },
		{ OPERATION "\tanswers Nothing\n", "4: answers empty, or answers FAULT" },
		{ OPERATION "\tanswers empty\n\tanswers empty\n", "5: 'answers' is given twice" },
		{ "struct a\n\tx u32 absent=GONE\n", "2: absent=FAULT, of strings" },
		{ "struct a\n\tx string absent=gone\n", "2: absent=FAULT, of strings" },
		{ "struct a\n\tx string absent=GONE\n",
		    "2: 'absent' is for requests of operations that answer empty" },
		{ OPERATION "\tin\n\t\tx string absent=GONE\n",
		    "5: 'absent' is for requests of operations that answer empty" },
		{ "part\n", "1: part FILE.api" },
		{ "service s 2009-11-30 2016-11-15\noperation Go go\n\tin\n\t\tx u32 since=2\n",
		    "4: 'since' is for messages between daemons" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		_cleanup_free_ char *arguments =
		    xasprintf("--out %s %s/a.api", directory, directory);
		_cleanup_free_ char *expected = xasprintf("apigen: a.api:%s\n", cases[i].says);
		_cleanup_free_ char *header = xasprintf("%s/a.api.h", directory);
		char *place;

		write_file("a.api", cases[i].text);
		assert_int_equal(apigen(arguments, &out), 1);
		/* a second mention of the file */
		place = strstr(out.p, directory);
		if (place)
			memmove(place, place + strlen(directory) + 1,
			    strlen(place + strlen(directory) + 1) + 1);
		assert_string_equal(strbuf_c(&out), expected);
		assert_false(fs_exists(header));
	}
}

static void
refuses_odd_files(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_free_ char *absent = xasprintf("--list %s/absent.api", directory);
	_cleanup_free_ char *cycle = xasprintf("--list %s/b.api", directory);
	_cleanup_free_ char *binary = xasprintf("--list %s/c.api", directory);
	_cleanup_free_ char *other = xasprintf("--list %s/d.txt", directory);
	_cleanup_free_ char *idle = xasprintf("--out %s %s/e.api", directory, directory);

	assert_int_equal(apigen(absent, &out), 1);
	assert_string_equal(
	    strbuf_c(&out), "apigen: absent.api: cannot read: No such file or directory\n");
	write_file("b.api", "include b.api\n");
	assert_int_equal(apigen(cycle, &out), 1);
	assert_string_equal(strbuf_c(&out), "apigen: b.api: includes itself\n");
	write_file("c.api", "\xff\xfe");
	assert_int_equal(apigen(binary, &out), 1);
	write_file("d.txt", "");
	assert_int_equal(apigen(other, &out), 1);
	assert_string_equal(strbuf_c(&out), "apigen: d.txt: the name must end in .api\n");
	write_file("e.api", SERVICE);
	assert_int_equal(apigen(idle, &out), 1);
	assert_string_equal(strbuf_c(&out), "apigen: e.api: service 's' has no operations\n");
	assert_int_equal(apigen("--list", &out), 2);
	assert_int_equal(apigen("--help", &out), 0);
	assert_non_null(strstr(strbuf_c(&out), "operation WireName c_name"));
}

static void
lists_and_documents(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;

	assert_int_equal(apigen("--list tests/data/api/sample.api", &out), 0);
	assert_string_equal(strbuf_c(&out),
	    "sample\tEverything\teverything\nsample\tNeed\tneed\nsample\tNone\tnone\n"
	    "sample\tNever\tnever\n");
	assert_int_equal(apigen("--reference tests/data/api/sample.api", &out), 0);
	assert_non_null(strstr(strbuf_c(&out), "# sample: versions 2009-11-30 to 2016-11-15\n"));
	assert_non_null(strstr(strbuf_c(&out), "## Everything\n"));
	assert_non_null(
	    strstr(strbuf_c(&out), "| `InstanceId.N` | `ids` | list of string | ..5 |\n"));
	assert_non_null(strstr(strbuf_c(&out), "| `Mode` | `mode` | string | `fast`, `slow` |\n"));
	assert_non_null(strstr(strbuf_c(&out), "## filter\n"));
	assert_non_null(strstr(strbuf_c(&out),
	    "| `Known` | | | refused: `UnsupportedOperation` but for `false`, `0` |\n"));
	assert_non_null(strstr(strbuf_c(&out), "| `Idle` | | | accepted, without effect |\n"));
	assert_null(strstr(strbuf_c(&out), "`Inner`"));
	assert_non_null(
	    strstr(strbuf_c(&out), "| [Everything](#everything) | 23 | 1 | 1 | 2 | 1 | 2 |\n"));
	assert_non_null(strstr(strbuf_c(&out),
	    "| **4 actions** | **28** | **1** | **1** | **2** | **1** | **2** |\n"));
	assert_non_null(strstr(strbuf_c(&out), "Filters: `device-name`, `ebs.size`.\n"));
	assert_non_null(strstr(strbuf_c(&out), "Filters that match nothing here: `snapshot`.\n"));
	assert_non_null(strstr(strbuf_c(&out), "nothing of the kind is here.\n"));
	assert_non_null(strstr(strbuf_c(&out), "nothing of the kind is here: `NOT_FOUND`.\n"));
	assert_non_null(strstr(strbuf_c(&out), "| no value is known: `NOT_FOUND` |\n"));
	assert_non_null(strstr(strbuf_c(&out), "- It does nothing.\n- It says so.\n"));
	assert_int_equal(apigen("--json tests/data/api/sample.api", &out), 0);
	assert_non_null(strstr(strbuf_c(&out), "\"operation\": \"Everything\""));
	assert_non_null(strstr(strbuf_c(&out), "\"answers\": \"empty\""));
	/* each of ours, too */
	assert_int_equal(apigen("--reference common/rpc/*.api", &out), 0);
	assert_non_null(strstr(strbuf_c(&out), "## PutInstance\n"));
}

static void
puts_parts_together(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_free_ char *whole = xasprintf("--list %s/whole.api", directory);
	_cleanup_free_ char *again = xasprintf("--list %s/again.api", directory);

	write_file("whole.api", SERVICE "part one.api\npart two.api\n");
	write_file("one.api", "operation One one\n\tpeers cc\n");
	write_file("two.api", "operation Two two\n\tpeers cc\n");
	assert_int_equal(apigen(whole, &out), 0);
	assert_string_equal(strbuf_c(&out), "s\tOne\tone\ns\tTwo\ttwo\n");
	write_file("two.api", "operation Two one\n\tpeers cc\n");
	assert_int_equal(apigen(whole, &out), 1);
	assert_string_equal(strbuf_c(&out),
	    "apigen: two.api:1: operation 'Two one' clashes with line 1: 'One one'\n");
	write_file("again.api", "part again.api\n");
	assert_int_equal(apigen(again, &out), 1);
	assert_string_equal(strbuf_c(&out), "apigen: again.api: is a part of itself\n");
}

/* The same input gives the same bytes: builds are reproducible. */
static void
is_deterministic(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT, first = STRBUF_INIT, second = STRBUF_INIT;
	_cleanup_free_ char *arguments = xasprintf("--out %s common/rpc/nc.api", directory);
	_cleanup_free_ char *path = xasprintf("%s/nc.api.c", directory);
	struct err e = { 0 };

	assert_int_equal(apigen(arguments, &out), 0);
	assert_int_equal(fs_read(path, 1 << 20, &first, &e), 0);
	assert_int_equal(apigen(arguments, &out), 0);
	assert_int_equal(fs_read(path, 1 << 20, &second, &e), 0);
	assert_string_equal(strbuf_c(&first), strbuf_c(&second));
	assert_null(strstr(strbuf_c(&first), directory));
}

/* An action is its definition, its handler (the linker sees to that) and its test. */
static void
every_public_action_has_a_test(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct str rest, line;
	unsigned count = 0;

	assert_int_equal(
	    apigen("--list $(ls clc/api/*.api walrus/api/*.api 2>/dev/null)", &out), 0);
	rest = strbuf_str(&out);
	while (rest.n && str_split(&rest, '\n', &line)) {
		struct str service, wire, c_name = line;

		assert_true(str_split(&c_name, '\t', &service) && str_split(&c_name, '\t', &wire));
		_cleanup_free_ char *command = xasprintf(
		    "grep -rqwE --include=*.py --include=*.c '%.*s|%.*s' tests/e2e tests/unit",
		    (int)wire.n, wire.p, (int)c_name.n, c_name.p);
		if (system(command) != 0)
			fail_msg("no test names %.*s", (int)wire.n, wire.p);
		count++;
	}
	assert_true(count > 20);
}

static int
setup(void **state)
{
	return mkdtemp(directory) ? 0 : -1;
}

static int
teardown(void **state)
{
	_cleanup_free_ char *command = xasprintf("rm -r %s", directory);

	return system(command);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_with_file_and_line),
		cmocka_unit_test(refuses_odd_files),
		cmocka_unit_test(lists_and_documents),
		cmocka_unit_test(puts_parts_together),
		cmocka_unit_test(is_deterministic),
		cmocka_unit_test(every_public_action_has_a_test),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
