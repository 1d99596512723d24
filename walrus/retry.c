#include "retry.h"

#include "base/clock.h"

#define PAUSE_MIN_US (INT64_C(500) * 1000)
#define PAUSE_MAX_US (INT64_C(60000) * 1000)

int64_t
retry_due_us(int64_t failures)
{
	int64_t pause_us = PAUSE_MIN_US;

	while (failures-- > 1 && pause_us < PAUSE_MAX_US)
		pause_us *= 2;
	return clock_now_us() + (pause_us < PAUSE_MAX_US ? pause_us : PAUSE_MAX_US);
}

int64_t
retry_left_us(int64_t due_us)
{
	int64_t left_us = due_us - clock_now_us();

	return left_us > 0 && left_us <= PAUSE_MAX_US ? left_us : 0;
}
