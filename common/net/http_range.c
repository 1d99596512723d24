/* Range requests (RFC 9110 section 14) and the reason phrases of status lines. */
#include "net/http.h"

/* Numbers may have any length (RFC 9110 section 14.1.1): what does not fit lies behind every end.
 */
static bool
position(struct str text, uint64_t *ret)
{
	if (text.n == 0)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
	if (!str_to_u64(text, ret))
		*ret = UINT64_MAX;
	return true;
}

static bool
range_bounds(struct str spec, uint64_t size, struct http_range *ret, bool *ret_satisfiable)
{
	struct str first;

	if (!str_split(&spec, '-', &first) || !first.p)
		return false;
	if (first.n == 0) { /* the last n bytes */
		uint64_t n;

		if (!position(spec, &n))
			return false;
		*ret_satisfiable = n > 0 && size > 0;
		*ret = (struct http_range){ n < size ? size - n : 0, size - 1 };
		return true;
	}
	if (!position(first, &ret->first))
		return false;
	ret->last = UINT64_MAX;
	if (spec.n && !position(spec, &ret->last))
		return false;
	if (ret->last < ret->first)
		return false;
	*ret_satisfiable = ret->first < size;
	if (ret->last >= size)
		ret->last = size - 1;
	return true;
}

int
http_range_parse(struct str header, uint64_t size, struct http_range *ret, struct err *e)
{
	struct str unit, spec = str_trim(header);
	struct http_range range = { 0 };
	bool satisfiable = false;

	if (!memchr(spec.p ? spec.p : "", '=', spec.n) || !str_split(&spec, '=', &unit) ||
	    !str_is_nocase(unit, "bytes"))
		return 0;
	spec = str_trim(spec);
	if (spec.n == 0 || !memchr(spec.p, '-', spec.n) || memchr(spec.p, ',', spec.n))
		return 0;
	if (!range_bounds(spec, size, &range, &satisfiable))
		return 0;
	if (!satisfiable)
		return err_set(e, ERR_INVALID_RANGE, "range outside the %llu bytes there are",
		    (unsigned long long)size);
	*ret = range;
	return 1;
}

const char *
http_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 100, "Continue" },
		{ 101, "Switching Protocols" },
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 301, "Moved Permanently" },
		{ 302, "Found" },
		{ 303, "See Other" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 308, "Permanent Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 411, "Length Required" },
		{ 412, "Precondition Failed" },
		{ 413, "Content Too Large" },
		{ 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" },
		{ 416, "Range Not Satisfiable" },
		{ 417, "Expectation Failed" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
		{ 507, "Insufficient Storage" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}
