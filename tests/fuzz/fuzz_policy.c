/* Any bytes as a policy: it is refused with a reason, or read into something that can be asked. The
 * first line is what a request says: its resource, and the value of every key. */
#include <assert.h>
#include "auth/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
lookup(void *arg, struct str key, struct policy_values *ret)
{
	*ret = (struct policy_values){ arg, key.n % 2 + 1 };
	return key.n % 5 != 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct policy_caller caller = { "111122223333", "ann",
		"arn:aws:iam::111122223333:user/ann", "c0ffee", NULL };
	struct str rest = { (const char *)data, size }, line = { "", 0 }, values[2];
	_cleanup_arena_ struct arena *arena = arena_new(0);
	const struct policy *p = NULL;
	struct policy_request rq = { &caller, "s3:GetObject", { "", 0 }, lookup, values };
	struct err e = { 0 };

	if (size == 0)
		return 0;
	(void)str_split(&rest, '\n', &line);
	values[0] = rq.resource = line;
	values[1] = STR("10");
	if (policy_parse(rest.p ? rest : STR(""), POLICY_OF_RESOURCE, NULL, arena, &p, &e) < 0) {
		assert(e.code == ERR_MALFORMED_POLICY && e.text[0]);
		return 0;
	}
	(void)policy_evaluate(p, &rq);
	(void)policy_is_public(p);
	return 0;
}
