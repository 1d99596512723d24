#pragma once
/* Whether KVM really runs guests here. /dev/kvm proves nothing: there are machines where it opens
 * and even runs firmware, and QEMU aborts on the first guest all the same. */
#include "base/err.h"

/* Runs a program of a few instructions (up to long mode with paging) in QEMU on the processor model
 * that guests get. 0: it ran; else an error that says why not. Blocks at most about 10 s. The
 * program is written to a file in `directory`, removed afterwards. */
int probe_kvm(const char *emulator, const char *directory, struct err *e);
/* The same for any accelerator: "kvm" or "tcg". */
int probe_accelerator(const char *emulator, const char *accelerator, const char *cpu,
    const char *directory, struct err *e);
