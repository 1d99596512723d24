#pragma once
/* What systemd is told: "READY=1", "STOPPING=1", "WATCHDOG=1". Nothing happens without
 * NOTIFY_SOCKET. */
#include <stdint.h>
#include "base/err.h"

void notify_send(const char *state);
/* Milliseconds between two WATCHDOG=1 (half of WATCHDOG_USEC); 0 when none are expected. */
uint32_t notify_watchdog_ms(void);
