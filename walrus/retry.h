#pragma once
/* When what failed is tried again: after a pause that each failure doubles, from half a second to a minute. The
 * time is kept in a row, so that it outlives a restart; it is the clock's. */
#include <stdint.h>

int64_t retry_due_us(int64_t failures); /* from now on; failures: so far, this one too */
/* 0: it is time. A clock that was set back makes no pause longer. */
int64_t retry_left_us(int64_t due_us);
