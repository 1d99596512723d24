#pragma once
/* A policy, taken apart. Private to policy. */
#include "auth/policy.h"
#include "base/strbuf.h"

/* A string of a policy with its wildcards and variables told apart from what is meant literally: they become
 * bytes that UTF-8 never has. */
#define PATTERN_ANY '\xff' /* '*' */
#define PATTERN_ONE '\xfe' /* '?' */
#define PATTERN_VARIABLE '\xfd' /* KEY [PATTERN_DEFAULT TEXT] PATTERN_END */
#define PATTERN_DEFAULT '\xfc'
#define PATTERN_END '\xfb'
struct pattern {
	struct str text;
	bool has_variables;
};
struct patterns {
	struct pattern *items;
	unsigned count;
};

enum condition_type {
	CONDITION_STRING,
	CONDITION_NUMBER,
	CONDITION_DATE,
	CONDITION_BOOL,
	CONDITION_BINARY,
	CONDITION_ADDRESS,
	CONDITION_ARN,
	CONDITION_NULL,
};
enum condition_relation { IS_EQUAL, IS_EQUAL_NOCASE, IS_LIKE, IS_LESS, IS_AT_MOST, IS_MORE, IS_AT_LEAST };
struct condition_operator {
	const char *name;
	enum condition_type type;
	enum condition_relation relation;
	bool is_negated;
};
enum condition_set { OF_ONE, FOR_ANY_VALUE, FOR_ALL_VALUES };
struct condition {
	const struct condition_operator *operator;
	enum condition_set set;
	bool if_exists;
	struct str key;
	struct patterns values;
};

struct statement {
	enum policy_effect effect;
	bool is_not_principal, is_not_action, is_not_resource;
	struct policy_principal *principals;
	unsigned principal_count;
	struct patterns actions, resources;
	struct condition *conditions;
	unsigned condition_count;
};
struct policy {
	struct statement *statements;
	unsigned count;
};

/* `has_variables`: ${...} means something (Version 2012-10-17). `has_wildcards`: '*' and '?' do. False when a
 * variable has no end. */
bool pattern_compile(
    struct str text, bool has_variables, bool has_wildcards, struct arena *arena, struct pattern *ret);
/* Variables replaced, into scratch when there are any. False when one has no value. */
bool pattern_expand(const struct pattern *p, const struct policy_request *rq, struct strbuf *scratch,
    struct str *ret);
bool pattern_match(struct str compiled, struct str text, bool ignores_case);

/* "ForAnyValue:StringLikeIfExists" into its parts. */
bool condition_operator_parse(struct str text, struct condition *ret);
bool condition_has_wildcards(const struct condition_operator *o);
/* That a value can be read as the operator's type; of one with variables nothing is known yet. */
bool condition_value_is_valid(const struct condition_operator *o, const struct pattern *value);
bool condition_holds(const struct condition *c, const struct policy_request *rq);
/* Whether an address range is narrow enough to be called fixed. */
bool condition_address_is_narrow(struct str range);
