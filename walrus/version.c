/* Thirty-two digits: sixteen of the position, sixteen of chance. */
#include "version.h"

#include <assert.h>
#include <stdio.h>

#include "base/id.h"
#include "error.h"
#include "request.h"

#define POSITION_DIGITS 16

void
version_id_new(int64_t position, char out[VERSION_ID_SIZE])
{
	uint64_t chance;

	assert(position >= 0);
	random_bytes(&chance, sizeof(chance));
	(void)snprintf(out, VERSION_ID_SIZE, "%016llx%016llx", (unsigned long long)position,
	    (unsigned long long)chance);
}

bool
version_id_position(const char *id, int64_t *ret)
{
	uint64_t position = 0;

	if (strlen(id) != VERSION_ID_SIZE - 1 ||
	    strspn(id, "0123456789abcdef") != VERSION_ID_SIZE - 1)
		return false;
	for (unsigned i = 0; i < POSITION_DIGITS; i++)
		position =
		    position << 4 | (uint64_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'a' + 10);
	if (position > INT64_MAX)
		return false;
	*ret = (int64_t)position;
	return true;
}

bool
version_id_is_valid(struct str id)
{
	if (str_is(id, VERSION_NULL))
		return true;
	if (id.n != VERSION_ID_SIZE - 1)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    c != '.' && c != '_' && c != '-')
			return false;
	}
	return true;
}

int
version_refuse_mfa(struct err *e)
{
	return err_set(
	    e, ERR_ACCESS_DENIED, "The serial number and/or token code you provided is not valid.");
}

/* A PUT of an object makes a version, it does not name one. */
int
version_id_check(struct request *rq, struct err *e)
{
	const char *id = request_parameter(rq, "versionId");

	if (!id || rq->operation->level != TARGET_OBJECT)
		return 0;
	if (!rq->operation->parameter && str_is(rq->head->method, "PUT"))
		return error_argument(
		    rq, "versionId", str_of(id), e, "This operation does not accept a version-id.");
	if (!*id)
		return error_argument(
		    rq, "versionId", str_of(id), e, "Version id cannot be the empty string");
	return version_id_is_valid(str_of(id))
		   ? 0
		   : error_argument(rq, "versionId", str_of(id), e, VERSION_ID_INVALID);
}
