/* Time as numbers and as text. The calendar is computed here (proleptic Gregorian, UTC only): no
 * locale, no time zone file, no year-2038 type in between. Parsing is exact: every field in range,
 * the whole input used. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define US_PER_S INT64_C(1000000)
#define S_PER_DAY 86400

static const char *const day_names[7] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char *const day_names_long[7] = { "Sunday", "Monday", "Tuesday", "Wednesday",
	"Thursday", "Friday", "Saturday" };
static const char *const month_names[12] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
	"Sep", "Oct", "Nov", "Dec" };

struct civil {
	int64_t year;
	unsigned month, day; /* from 1 */
	unsigned hour, minute, second;
	unsigned weekday; /* Sunday 0 */
	unsigned us;
};

int64_t
clock_now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

uint64_t
clock_monotonic_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * US_PER_S + (uint64_t)t.tv_nsec / 1000;
}

uint64_t
clock_monotonic_ms(void)
{
	return clock_monotonic_us() / 1000;
}

/* Days since 1970-01-01; counted in 400-year eras that begin on the first of March. */
static int64_t
days_from_civil(int64_t year, unsigned month, unsigned day)
{
	int64_t era, year_of_era, day_of_year;

	if (month <= 2)
		year--;
	era = (year >= 0 ? year : year - 399) / 400;
	year_of_era = year - era * 400;
	day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static struct civil
civil_from_us(int64_t us)
{
	int64_t s = us / US_PER_S - (us % US_PER_S < 0);
	int64_t days = s / S_PER_DAY - (s % S_PER_DAY < 0);
	int64_t shifted = days + 719468;
	int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
	int64_t doe = shifted - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	int64_t second_of_day = s - days * S_PER_DAY;
	struct civil c = {
		.day = (unsigned)(doy - (153 * mp + 2) / 5 + 1),
		.month = (unsigned)(mp < 10 ? mp + 3 : mp - 9),
		.hour = (unsigned)(second_of_day / 3600),
		.minute = (unsigned)(second_of_day / 60 % 60),
		.second = (unsigned)(second_of_day % 60),
		.weekday = (unsigned)(((days + 4) % 7 + 7) % 7),
		.us = (unsigned)(us - s * US_PER_S),
	};

	c.year = yoe + era * 400 + (c.month <= 2);
	return c;
}

/* Digits and what stands between them. Lists have a time per row, and replies one or two: printf is
 * too slow. */
static char *
put_number(char *out, unsigned value, unsigned digits, char after)
{
	for (unsigned i = digits; i > 0; i--) {
		out[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	out[digits] = after;
	return out + digits + 1;
}

void
time_format_iso(int64_t us, char out[TIME_TEXT_SIZE])
{
	struct civil c = civil_from_us(us);

	if (c.year < 0 || c.year > 9999) {
		(void)snprintf(out, TIME_TEXT_SIZE, "%04d-%02u-%02uT%02u:%02u:%02u.%03uZ",
		    (int)c.year, c.month, c.day, c.hour, c.minute, c.second, c.us / 1000);
		return;
	}
	out = put_number(out, (unsigned)c.year, 4, '-');
	out = put_number(out, c.month, 2, '-');
	out = put_number(out, c.day, 2, 'T');
	out = put_number(out, c.hour, 2, ':');
	out = put_number(out, c.minute, 2, ':');
	out = put_number(out, c.second, 2, '.');
	out = put_number(out, c.us / 1000, 3, 'Z');
	*out = 0;
}

void
time_format_basic(int64_t us, char out[TIME_TEXT_SIZE])
{
	struct civil c = civil_from_us(us);

	(void)snprintf(out, TIME_TEXT_SIZE, "%04d%02u%02uT%02u%02u%02uZ", (int)c.year, c.month,
	    c.day, c.hour, c.minute, c.second);
}

void
time_format_http(int64_t us, char out[TIME_TEXT_SIZE])
{
	struct civil c = civil_from_us(us);

	if (c.year < 0 || c.year > 9999) {
		(void)snprintf(out, TIME_TEXT_SIZE, "%s, %02u %s %04d %02u:%02u:%02u GMT",
		    day_names[c.weekday], c.day, month_names[c.month - 1], (int)c.year, c.hour,
		    c.minute, c.second);
		return;
	}
	memcpy(out, day_names[c.weekday], 3);
	memcpy(out + 3, ", ", 2);
	out = put_number(out + 5, c.day, 2, ' ');
	memcpy(out, month_names[c.month - 1], 3);
	out[3] = ' ';
	out = put_number(out + 4, (unsigned)c.year, 4, ' ');
	out = put_number(out, c.hour, 2, ':');
	out = put_number(out, c.minute, 2, ':');
	out = put_number(out, c.second, 2, ' ');
	memcpy(out, "GMT", 4);
}

/* Exactly `digits` digits off the front of *s. */
static bool
take_number(struct str *s, size_t digits, unsigned *ret)
{
	unsigned value = 0;

	if (s->n < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		value = value * 10 + (unsigned)(s->p[i] - '0');
	}
	s->p += digits;
	s->n -= digits;
	*ret = value;
	return true;
}

static bool
take_literal(struct str *s, const char *literal)
{
	size_t n = strlen(literal);

	if (!str_starts(*s, literal))
		return false;
	s->p += n;
	s->n -= n;
	return true;
}

static bool
take_year(struct str *s, struct civil *c)
{
	unsigned year;

	if (!take_number(s, 4, &year))
		return false;
	c->year = year;
	return true;
}

static bool
take_name(struct str *s, const char *const *names, size_t count, unsigned *ret)
{
	for (size_t i = 0; i < count; i++) {
		if (take_literal(s, names[i])) {
			*ret = (unsigned)i;
			return true;
		}
	}
	return false;
}

static bool
take_clock(struct str *s, struct civil *c)
{
	return take_number(s, 2, &c->hour) && take_literal(s, ":") &&
	       take_number(s, 2, &c->minute) && take_literal(s, ":") &&
	       take_number(s, 2, &c->second);
}

static bool
civil_to_us(const struct civil *c, int64_t *ret_us)
{
	static const unsigned char lengths[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = c->year % 4 == 0 && (c->year % 100 != 0 || c->year % 400 == 0);
	int64_t s;

	if (c->month < 1 || c->month > 12 || c->day < 1 ||
	    c->day > lengths[c->month - 1] + (c->month == 2 && is_leap ? 1u : 0u))
		return false;
	if (c->hour > 23 || c->minute > 59 || c->second > 60) /* 60: a leap second */
		return false;
	s = days_from_civil(c->year, c->month, c->day) * S_PER_DAY + c->hour * 3600 +
	    c->minute * 60 + c->second;
	*ret_us = s * US_PER_S + c->us;
	return true;
}

/* ".5", ".123456789": digits past microseconds are dropped. */
static bool
take_fraction(struct str *s, unsigned *ret_us)
{
	unsigned us = 0, scale = 100000;
	size_t digits = 0;

	if (!take_literal(s, ".") && !take_literal(s, ","))
		return true;
	for (; digits < s->n && s->p[digits] >= '0' && s->p[digits] <= '9'; digits++) {
		us += (unsigned)(s->p[digits] - '0') * scale;
		scale /= 10;
	}
	s->p += digits;
	s->n -= digits;
	*ret_us = us;
	return digits > 0 && digits <= 9;
}

/* "", "Z", "+02:00", "-0530" */
static bool
take_zone(struct str *s, int *ret_offset_s)
{
	unsigned hours, minutes;
	int sign;

	*ret_offset_s = 0;
	if (s->n == 0 || take_literal(s, "Z"))
		return true;
	sign = s->p[0] == '-' ? -1 : 1;
	if (!take_literal(s, "+") && !take_literal(s, "-"))
		return false;
	if (!take_number(s, 2, &hours))
		return false;
	(void)take_literal(s, ":");
	if (!take_number(s, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret_offset_s = sign * (int)(hours * 3600 + minutes * 60);
	return true;
}

bool
time_parse_iso(struct str s, int64_t *ret_us)
{
	struct civil c = { 0 };
	int offset_s;
	int64_t us;

	if (!take_year(&s, &c) || !take_literal(&s, "-") || !take_number(&s, 2, &c.month) ||
	    !take_literal(&s, "-") || !take_number(&s, 2, &c.day) || !take_literal(&s, "T") ||
	    !take_clock(&s, &c) || !take_fraction(&s, &c.us) || !take_zone(&s, &offset_s) ||
	    s.n > 0 || !civil_to_us(&c, &us))
		return false;
	*ret_us = us - offset_s * US_PER_S;
	return true;
}

bool
time_parse_basic(struct str s, int64_t *ret_us)
{
	struct civil c = { 0 };

	return take_year(&s, &c) && take_number(&s, 2, &c.month) && take_number(&s, 2, &c.day) &&
	       take_literal(&s, "T") && take_number(&s, 2, &c.hour) &&
	       take_number(&s, 2, &c.minute) && take_number(&s, 2, &c.second) &&
	       take_literal(&s, "Z") && s.n == 0 && civil_to_us(&c, ret_us);
}

static bool
take_month_name(struct str *s, struct civil *c)
{
	if (!take_name(s, month_names, 12, &c->month))
		return false;
	c->month++;
	return true;
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool
parse_imf_fixdate(struct str s, struct civil *c)
{
	return take_name(&s, day_names, 7, &c->weekday) && take_literal(&s, ", ") &&
	       take_number(&s, 2, &c->day) && take_literal(&s, " ") && take_month_name(&s, c) &&
	       take_literal(&s, " ") && take_year(&s, c) && take_literal(&s, " ") &&
	       take_clock(&s, c) && take_literal(&s, " GMT") && s.n == 0;
}

/* Sunday, 06-Nov-94 08:49:37 GMT; a year more than 50 ahead is one of the past century. */
static bool
parse_rfc850(struct str s, struct civil *c)
{
	int64_t this_year = civil_from_us(clock_now_us()).year;
	unsigned year;

	if (!take_name(&s, day_names_long, 7, &c->weekday) || !take_literal(&s, ", ") ||
	    !take_number(&s, 2, &c->day) || !take_literal(&s, "-") || !take_month_name(&s, c) ||
	    !take_literal(&s, "-") || !take_number(&s, 2, &year) || !take_literal(&s, " ") ||
	    !take_clock(&s, c) || !take_literal(&s, " GMT") || s.n > 0)
		return false;
	c->year = this_year - this_year % 100 + year;
	if (c->year > this_year + 50)
		c->year -= 100;
	return true;
}

/* Sun Nov  6 08:49:37 1994 */
static bool
parse_asctime(struct str s, struct civil *c)
{
	if (!take_name(&s, day_names, 7, &c->weekday) || !take_literal(&s, " ") ||
	    !take_month_name(&s, c) || !take_literal(&s, " "))
		return false;
	if (!take_number(&s, take_literal(&s, " ") ? 1 : 2, &c->day))
		return false;
	return take_literal(&s, " ") && take_clock(&s, c) && take_literal(&s, " ") &&
	       take_year(&s, c) && s.n == 0;
}

bool
time_parse_http(struct str s, int64_t *ret_us)
{
	struct civil c = { 0 };

	return (parse_imf_fixdate(s, &c) || parse_rfc850(s, &c) || parse_asctime(s, &c)) &&
	       civil_to_us(&c, ret_us);
}
