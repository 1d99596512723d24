/* Any path and any token: a value only below a version, and no token but one's own. */
#include <assert.h>
#include <string.h>
#include "nc/metadata.h"
#include "nc/metadata_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct network_interface interface = {
		.mac = "02:aa:00:00:00:01", .private_ip = "10.0.1.11", .public_ip = "198.51.100.7"
	};
	struct instance_spec spec = { .instance_id = "i-1",
		.hostname = "ip-10-0-1-11",
		.domain = "here.compute.internal",
		.interfaces = { &interface, 1 },
		.public_key = "ssh-ed25519 A",
		.user_data = { "x", 1 } };
	struct metadata_source source = { &spec, NULL };
	const struct metadata_key key = { { 9 } };
	const struct metadata_token_owner owner = { 1, { 1 }, "i-1" };
	struct str input = { (const char *)data, n };
	struct metadata_answer a;

	a = metadata_get(&source, arena_str(arena, input), arena);
	assert(a.status == 200 ? a.body.n > 0 : a.status == 404);
	assert(metadata_token_check(&key, &owner, 1700000000000000, input) == 0);
	return 0;
}
