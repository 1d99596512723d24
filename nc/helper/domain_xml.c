/* The libvirt definition of a guest. Everything in it comes from the checked spec (ids, numbers,
 * digests, addresses) or from the helper's own configuration; file names are made here, of
 * an instance id or a digest below a configured directory.
 *
 * Two things are there for safety, not for function. The whole backing chain is spelled out, so
 * that neither libvirt nor QEMU follows what the overlay's header names: the unprivileged nc wrote
 * that header. And relabelling is off with a fixed label, so that libvirt never changes the owner
 * of a file behind a name that nc could have replaced. */
#include "domain_xml.h"

#include <stdio.h>
#include "xml/xml_write.h"

void
domain_uuid(const char *instance_id, char out[37])
{
	static const char dashes[] = { 8, 13, 18, 23 };
	const char *digits = instance_id + 2, *p = digits;

	memcpy(out, "ec2", 3);
	for (unsigned i = 3; i < 36; i++) {
		if (memchr(dashes, (int)i, sizeof(dashes))) {
			out[i] = '-';
			continue;
		}
		out[i] = *p++;
		if (!*p)
			p = digits;
	}
	out[36] = 0;
}

static const char *
format_name(unsigned format)
{
	return format == HELPER_FORMAT_QCOW2 ? "qcow2" : "raw";
}

static char *
cache_path(const struct domain_surroundings *around, const struct helper_file *file)
{
	char hex[65];

	hex_encode(file->digest, sizeof(file->digest), hex);
	return xasprintf("%s/%s", around->cache_dir, hex);
}

#define SHARES_AVERAGE 1024

static uint32_t
shares_of(uint32_t ours, uint32_t default_shares)
{
	/* What libvirt takes: of cgroup v1 2 to 262144, of v2 (where the default is 100) 1 to
	 * 10000. */
	uint64_t max = default_shares < SHARES_AVERAGE ? 10000 : 262144;
	uint64_t min = default_shares < SHARES_AVERAGE ? 1 : 2;
	uint64_t n = (uint64_t)ours * default_shares / SHARES_AVERAGE;

	return (uint32_t)(n < min ? min : n > max ? max : n);
}

static void
add_cpu_set(struct strbuf *out, const struct helper_cpus *cpus)
{
	for (uint32_t i = 0; i < HELPER_CPUS_MAX; i++) {
		uint32_t first = i;

		if (!helper_cpus_has(cpus, i))
			continue;
		while (helper_cpus_has(cpus, i + 1))
			i++;
		strbuf_addf(out, i > first ? "%s%u-%u" : "%s%u", out->n ? "," : "", first, i);
	}
}

static void
write_vcpus(struct xml_writer *w, const struct helper_guest_spec *spec)
{
	_cleanup_strbuf_ struct strbuf set = STRBUF_INIT;
	char count[16];

	xml_open(w, "vcpu");
	add_cpu_set(&set, &spec->cpus);
	if (set.n)
		xml_attribute(w, "cpuset", strbuf_c(&set));
	snprintf(count, sizeof(count), "%u", spec->vcpus);
	xml_text(w, str_of(count));
	xml_close(w, "vcpu");
}

/* A pinned guest's vcpus have a processor each; its other threads share these. */
static void
write_cputune(struct xml_writer *w, const struct helper_guest_spec *spec,
    const struct domain_surroundings *around)
{
	_cleanup_strbuf_ struct strbuf set = STRBUF_INIT;
	uint32_t cpu = 0;

	if (!around->default_shares && !spec->is_pinned)
		return;
	xml_open(w, "cputune");
	if (around->default_shares)
		xml_elementf(
		    w, "shares", "%u", shares_of(spec->cpu_shares, around->default_shares));
	for (uint32_t v = 0; spec->is_pinned && v < spec->vcpus; v++, cpu++) {
		char vcpu_text[16], cpu_text[16];

		while (!helper_cpus_has(&spec->cpus, cpu))
			cpu++;
		snprintf(vcpu_text, sizeof(vcpu_text), "%u", v);
		snprintf(cpu_text, sizeof(cpu_text), "%u", cpu);
		xml_open(w, "vcpupin");
		xml_attribute(w, "vcpu", vcpu_text);
		xml_attribute(w, "cpuset", cpu_text);
		xml_close(w, "vcpupin");
	}
	if (spec->is_pinned) {
		add_cpu_set(&set, &spec->cpus);
		xml_open(w, "emulatorpin");
		xml_attribute(w, "cpuset", strbuf_c(&set));
		xml_close(w, "emulatorpin");
	}
	xml_close(w, "cputune");
}

static void
write_os(struct xml_writer *w, const struct helper_guest_spec *spec,
    const struct domain_surroundings *around)
{
	xml_open(w, "os");
	xml_open(w, "type");
	xml_attribute(w, "arch", "x86_64");
	xml_attribute(w, "machine", "pc");
	xml_text(w, STR("hvm"));
	xml_close(w, "type");
	if (spec->kernel.format) {
		_cleanup_free_ char *kernel = cache_path(around, &spec->kernel);

		xml_element(w, "kernel", kernel);
		if (spec->ramdisk.format) {
			_cleanup_free_ char *ramdisk = cache_path(around, &spec->ramdisk);

			xml_element(w, "initrd", ramdisk);
		}
		xml_element(w, "cmdline", spec->kernel_arguments);
	} else {
		xml_open(w, "boot");
		xml_attribute(w, "dev", "hd");
		xml_close(w, "boot");
	}
	xml_open(w, "smbios");
	xml_attribute(w, "mode", "sysinfo");
	xml_close(w, "smbios");
	xml_close(w, "os");
}

static void
sysinfo_entry(struct xml_writer *w, const char *name, const char *value)
{
	xml_open(w, "entry");
	xml_attribute(w, "name", name);
	xml_text(w, str_of(value));
	xml_close(w, "entry");
}

static void
write_sysinfo(struct xml_writer *w, const char *uuid)
{
	xml_open(w, "sysinfo");
	xml_attribute(w, "type", "smbios");
	xml_open(w, "system");
	sysinfo_entry(w, "manufacturer", "Mallee");
	sysinfo_entry(w, "product", "Mallee EC2 instance");
	sysinfo_entry(w, "serial", uuid);
	sysinfo_entry(w, "uuid", uuid);
	xml_close(w, "system");
	xml_close(w, "sysinfo");
}

static void
write_cpu(struct xml_writer *w, const struct domain_surroundings *around)
{
	if (strcmp(around->type, "kvm") == 0) {
		xml_open(w, "cpu");
		xml_attribute(w, "mode", "host-passthrough");
		xml_attribute(w, "check", "none");
		xml_close(w, "cpu");
	} else if (strcmp(around->type, "qemu") == 0) {
		/* "max" costs nothing under TCG, and guests may want what qemu64 lacks (x86-64-v2).
		 */
		xml_open(w, "cpu");
		xml_attribute(w, "mode", "maximum");
		xml_attribute(w, "check", "none");
		xml_close(w, "cpu");
	}
}

static void
write_file_source(struct xml_writer *w, const char *path)
{
	xml_open(w, "source");
	xml_attribute(w, "file", path);
	xml_close(w, "source");
}

static void
write_disk(struct xml_writer *w, const struct helper_guest_spec *spec,
    const struct domain_surroundings *around, const char *file, const char *target,
    const struct helper_file *base)
{
	_cleanup_free_ char *path =
	    xasprintf("%s/%s/%s", around->instances_dir, spec->instance_id, file);

	xml_open(w, "disk");
	xml_attribute(w, "type", "file");
	xml_attribute(w, "device", "disk");
	xml_open(w, "driver");
	xml_attribute(w, "name", "qemu");
	xml_attribute(w, "type", "qcow2");
	xml_attribute(w, "cache", around->disk_cache);
	xml_attribute(w, "discard", "unmap");
	xml_close(w, "driver");
	write_file_source(w, path);
	if (base) {
		_cleanup_free_ char *base_path = cache_path(around, base);

		xml_open(w, "backingStore");
		xml_attribute(w, "type", "file");
		xml_open(w, "format");
		xml_attribute(w, "type", format_name(base->format));
		xml_close(w, "format");
		write_file_source(w, base_path);
	}
	xml_open(w, "backingStore");
	xml_close(w, "backingStore");
	if (base)
		xml_close(w, "backingStore");
	xml_open(w, "target");
	xml_attribute(w, "dev", target);
	xml_attribute(w, "bus", "virtio");
	xml_close(w, "target");
	xml_close(w, "disk");
}

static void
write_interface(struct xml_writer *w, const struct helper_nic *nic)
{
	char mac[18], tap[16];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", nic->mac[0], nic->mac[1],
	    nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5]);
	snprintf(tap, sizeof(tap), "tap%u", nic->index);
	xml_open(w, "interface");
	xml_attribute(w, "type", "ethernet");
	xml_open(w, "mac");
	xml_attribute(w, "address", mac);
	xml_close(w, "mac");
	xml_open(w, "target"); /* made by the dataplane beforehand, and never touched by libvirt */
	xml_attribute(w, "dev", tap);
	xml_attribute(w, "managed", "no");
	xml_close(w, "target");
	xml_open(w, "model");
	xml_attribute(w, "type", "virtio");
	xml_close(w, "model");
	xml_open(w, "rom");
	xml_attribute(w, "enabled", "no");
	xml_close(w, "rom");
	xml_close(w, "interface");
}

static void
write_serial(struct xml_writer *w, const struct helper_guest_spec *spec,
    const struct domain_surroundings *around)
{
	_cleanup_free_ char *log = xasprintf("%s/%s.log", around->console_dir, spec->instance_id);

	xml_open(w, "serial");
	xml_attribute(w, "type", "pty");
	xml_open(w, "log");
	xml_attribute(w, "file", log);
	xml_attribute(w, "append", "on");
	xml_close(w, "log");
	xml_open(w, "target");
	xml_attribute(w, "port", "0");
	xml_close(w, "target");
	xml_close(w, "serial");
}

/* A screen and a keyboard, at a socket in a directory that only root and the guests' user enter:
 * no port, no password. The video memory is what 1024 by 768 needs, twice. */
static void
write_screen(struct xml_writer *w, const struct helper_guest_spec *spec,
    const struct domain_surroundings *around)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.sock", around->screen_dir, spec->instance_id);

	xml_open(w, "graphics");
	xml_attribute(w, "type", "vnc");
	xml_open(w, "listen");
	xml_attribute(w, "type", "socket");
	xml_attribute(w, "socket", path);
	xml_close(w, "listen");
	xml_close(w, "graphics");
	xml_open(w, "video");
	xml_open(w, "model");
	xml_attribute(w, "type", "vga");
	xml_attribute(w, "vram", "8192");
	xml_attribute(w, "heads", "1");
	xml_close(w, "model");
	xml_close(w, "video");
}

static void
write_devices(struct xml_writer *w, const struct helper_guest_spec *spec,
    const struct domain_surroundings *around)
{
	xml_open(w, "devices");
	if (around->emulator)
		xml_element(w, "emulator", around->emulator);
	write_disk(w, spec, around, "root.qcow2", "vda", &spec->base);
	for (unsigned i = 0; i < spec->ephemeral_count; i++) {
		char file[32], target[] = { 'v', 'd', (char)('b' + i), 0 };

		snprintf(file, sizeof(file), "ephemeral%u.qcow2", i);
		write_disk(w, spec, around, file, target, NULL);
	}
	xml_open(w, "controller");
	xml_attribute(w, "type", "usb");
	xml_attribute(w, "model", "none");
	xml_close(w, "controller");
	for (uint32_t i = 0; i < spec->nic_count; i++)
		write_interface(w, &spec->nics[i]);
	write_serial(w, spec, around);
	write_screen(w, spec, around);
	xml_open(w, "memballoon");
	xml_attribute(w, "model", "none");
	xml_close(w, "memballoon");
	xml_open(w, "rng");
	xml_attribute(w, "model", "virtio");
	xml_open(w, "backend");
	xml_attribute(w, "model", "random");
	xml_text(w, STR("/dev/urandom"));
	xml_close(w, "backend");
	xml_close(w, "rng");
	xml_close(w, "devices");
}

void
domain_xml_write(const struct helper_guest_spec *spec, const struct domain_surroundings *around,
    struct strbuf *out)
{
	struct xml_writer writer, *w = &writer;
	char uuid[37], memory[16];

	domain_uuid(spec->instance_id, uuid);
	xml_writer_init(w, out, false);
	xml_open(w, "domain");
	xml_attribute(w, "type", around->type);
	xml_element(w, "name", spec->instance_id);
	xml_element(w, "uuid", uuid);
	xml_open(w, "metadata");
	xml_open(w, DOMAIN_METADATA_KEY ":instance");
	xml_attribute(w, "xmlns:" DOMAIN_METADATA_KEY, DOMAIN_METADATA_URI);
	xml_elementf(
	    w, DOMAIN_METADATA_KEY ":generation", "%llu", (unsigned long long)spec->generation);
	xml_close(w, DOMAIN_METADATA_KEY ":instance");
	xml_close(w, "metadata");
	xml_open(w, "memory");
	xml_attribute(w, "unit", "MiB");
	snprintf(memory, sizeof(memory), "%u", spec->memory_mib);
	xml_text(w, str_of(memory));
	xml_close(w, "memory");
	write_vcpus(w, spec);
	write_cputune(w, spec, around);
	write_sysinfo(w, uuid);
	write_os(w, spec, around);
	xml_open(w, "features");
	xml_empty(w, "acpi");
	xml_close(w, "features");
	write_cpu(w, around);
	xml_element(w, "on_poweroff", "destroy");
	xml_element(w, "on_reboot", "restart");
	xml_element(w, "on_crash", "destroy");
	write_devices(w, spec, around);
	if (around->seclabel) {
		xml_open(w, "seclabel");
		xml_attribute(w, "type", "static");
		xml_attribute(w, "model", "dac");
		xml_attribute(w, "relabel", "no");
		xml_element(w, "label", around->seclabel);
		xml_close(w, "seclabel");
	}
	xml_close(w, "domain");
}
