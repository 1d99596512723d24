#pragma once
/* Time. Stored and passed as microseconds since 1970 UTC (`_us`); durations by the monotonic clock. */
#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"

int64_t clock_now_us(void);
uint64_t clock_monotonic_ms(void);
uint64_t clock_monotonic_us(void);
#define TIME_TEXT_SIZE 32
void time_format_iso(int64_t us, char out[TIME_TEXT_SIZE]);        /* 2010-01-01T00:00:00.000Z */
void time_format_basic(int64_t us, char out[TIME_TEXT_SIZE]);      /* 20100101T000000Z */
void time_format_http(int64_t us, char out[TIME_TEXT_SIZE]);       /* Sun, 06 Nov 1994 08:49:37 GMT */
bool time_parse_iso(struct str s, int64_t *ret_us);   /* fraction and zone optional */
bool time_parse_basic(struct str s, int64_t *ret_us);
bool time_parse_http(struct str s, int64_t *ret_us);  /* RFC 9110: three forms */
