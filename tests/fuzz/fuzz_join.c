/* The forms and the token of joining: what strangers send to the CLC before they are known. */
#include <stdint.h>
#include <stdlib.h>
#include "rpc/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_arena_ struct arena *arena = arena_new(1 << 20);
	struct str text = { (const char *)data, n };
	_cleanup_free_ char *line = str_dup(text);
	char again[TRUST_TOKEN_MAX];
	struct trust_token token;
	struct trust_join join;
	struct trust_joined joined;
	struct trust_join_status status;
	struct err e = { 0 };

	if (trust_token_parse(line, &token)) {
		trust_token_format(&token, again);
		if (strcmp(again, line) != 0)
			abort();
	}
	if (trust_join_parse(text, arena, &join, &e) == 0)
		(void)trust_join_check(&join, "secret");
	if (trust_join_status_parse(text, arena, &status, &e) == 0)
		(void)trust_join_status_check(&status, "secret");
	(void)trust_joined_parse(text, arena, &joined, &e);
	return 0;
}
