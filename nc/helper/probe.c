/* The KVM probe: a boot sector that switches to long mode with paging, executes CPUID and RDTSC,
 * writes a line to the debug console and resets the machine, which ends QEMU. It is assembled here,
 * so that there is no file to install or to trust. What it proves is what guests need at least:
 * that QEMU sets up a virtual CPU with the host's features, and that this CPU leaves real mode. */
#include "probe.h"

#include <stdint.h>
#include <unistd.h>
#include "run/cmd.h"
#include "run/fs.h"

#define PROBE_TIMEOUT_MS 10000
#define PROBE_TEXT "LONG MODE\n"

/* Linked at no particular address: every reference is a difference to probe_start plus 0x7c00. */
__asm__(".pushsection .rodata\n"
	".intel_syntax noprefix\n"
	".code16\n"
	"probe_start:\n"
	"	cli\n"
	"	xor ax, ax\n"
	"	mov ds, ax\n"
	"	mov es, ax\n"
	"	mov ss, ax\n"
	"	mov sp, 0x7c00\n"
	"	cld\n"
	"	mov edi, 0x1000\n" /* page tables at 0x1000: the first 2 MiB, identity */
	"	mov cr3, edi\n"
	"	xor eax, eax\n"
	"	mov ecx, 3072\n"
	"	rep stosd\n"
	"	mov dword ptr [0x1000], 0x2003\n"
	"	mov dword ptr [0x2000], 0x3003\n"
	"	mov dword ptr [0x3000], 0x83\n"
	"	mov eax, cr4\n"
	"	or eax, 0x20\n" /* PAE */
	"	mov cr4, eax\n"
	"	mov ecx, 0xc0000080\n"
	"	rdmsr\n"
	"	or eax, 0x100\n" /* EFER.LME */
	"	wrmsr\n"
	"	mov eax, cr0\n"
	"	or eax, 0x80000001\n" /* paging, protection */
	"	mov cr0, eax\n"
	"	.byte 0x0f, 0x01, 0x16\n" /* lgdt, by hand: Clang takes no difference as address */
	"	.word 0x7c00 + probe_gdtr - probe_start\n"
	"	.byte 0x66, 0xea\n" /* far jump */
	"	.long 0x7c00 + probe_long - probe_start\n"
	"	.word 8\n"
	".code64\n"
	"probe_long:\n"
	"	mov eax, 1\n"
	"	cpuid\n"
	"	rdtsc\n"
	"	lea rsi, [rip + probe_text]\n"
	"	mov ecx, 10\n"
	"	mov edx, 0xe9\n" /* QEMU's debug console */
	"	rep outsb\n"
	"	mov al, 0xfe\n" /* reset by the keyboard controller */
	"	out 0x64, al\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	"probe_text:\n"
	"	.ascii \"LONG MODE\\n\"\n"
	"	.balign 8\n"
	"probe_gdt:\n"
	"	.quad 0, 0x00209a0000000000\n"
	"probe_gdtr:\n"
	"	.word 15\n"
	"	.long 0x7c00 + probe_gdt - probe_start\n"
	"probe_end:\n"
	"	.fill 510 - (probe_end - probe_start), 1, 0\n"
	"	.word 0xaa55\n"
	".att_syntax prefix\n"
	".popsection\n");
extern const uint8_t probe_start[512] __attribute__((visibility("hidden")));

static void
unlink_freep(char **path)
{
	if (*path)
		(void)unlink(*path); /* best effort: the next probe replaces it */
	free(*path);
}

int
probe_accelerator(const char *emulator, const char *accelerator, const char *cpu,
    const char *directory, struct err *e)
{
	_cleanup_(unlink_freep) char *path = xasprintf("%s/probe.img", directory);
	_cleanup_(cmd_freep) struct cmd *c = NULL;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	int r;

	r = fs_write_atomic(
	    path, (struct str){ (const char *)probe_start, sizeof(probe_start) }, 0600, e);
	if (r < 0)
		return r;
	c = cmd_new(emulator);
	cmd_add(c, "-accel");
	cmd_add(c, accelerator);
	cmd_add(c, "-cpu");
	cmd_add(c, cpu);
	cmd_add(c, "-m");
	cmd_add(c, "16");
	cmd_add(c, "-nodefaults");
	cmd_add(c, "-no-user-config");
	cmd_add(c, "-display");
	cmd_add(c, "none");
	cmd_add(c, "-no-reboot");
	cmd_add(c, "-debugcon");
	cmd_add(c, "stdio");
	cmd_add(c, "-drive");
	cmd_addf(c, "if=ide,format=raw,file=%s", path);
	r = cmd_run(c, PROBE_TIMEOUT_MS, &out, e);
	if (r < 0)
		return err_wrap(e, "running a guest with %s", accelerator);
	if (!strstr(strbuf_c(&out), PROBE_TEXT))
		return err_set(e, ERR_UNSUPPORTED, "%s runs no 64-bit code", accelerator);
	return 0;
}

int
probe_kvm(const char *emulator, const char *directory, struct err *e)
{
	if (access("/dev/kvm", R_OK | W_OK) < 0)
		return err_set(e, ERR_UNSUPPORTED, "there is no usable /dev/kvm");
	return probe_accelerator(emulator, "kvm", "host", directory, e);
}
