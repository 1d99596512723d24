#pragma once
/* What guests write on their serial consoles. */
#include "base/arena.h"
#include "base/str.h"

/* The last password on a console: the base64 between <Password> and </Password>, or "" while there is
 * none that is whole. */
const char *clc_console_password(struct str console, struct arena *arena);
