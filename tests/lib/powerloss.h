#pragma once
/* A disk that forgets: a layer under SQLite that keeps, in a second directory, what a disk would
 * hold if the power went now. Only what was fsynced is sure to be there; of the rest some writes
 * are, in any order and some of them half, as a kernel that writes back when it likes would leave
 * them. */
#include <stdbool.h>

enum powerloss_fault {
	POWERLOSS_NONE,
	POWERLOSS_LIES,        /* fsync does nothing: whoever tests with this must find losses */
	POWERLOSS_SYNC_FAILS,  /* fsync fails with EIO, after `after` good ones */
	POWERLOSS_WRITE_FAILS, /* write does */
};
/* From now on SQLite's default. `disk` is an existing directory; files of the same names appear
 * there. Once in a process; never undone. */
void powerloss_install(const char *disk, enum powerloss_fault fault, unsigned after, unsigned seed);
