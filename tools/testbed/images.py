"""Guest images from Debian packages: `tiny` (seconds to make, seconds to boot) and `debian`.

An image is a directory: vmlinuz (bzImage), vmlinux (the same kernel as ELF, which QEMU boots through PVH
without the decompressor), initrd.img, root.ext4 (a file system, to be booted with kernel and ramdisk) and
disk.img (bootable by itself). Equal inputs give equal bytes. Finished images are kept in a cache under the
digest of everything they are made of, so that clouds share them.
"""
import argparse
import fcntl
import functools
import glob
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from . import term
from .term import Failure, run, say

GUEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guest")
EPOCH = 1700000000  # of every file in an image
FILES = ("vmlinuz", "vmlinux", "initrd.img", "root.ext4", "disk.img")
NAMES = ("tiny", "debian")
MIB = 1 << 20

# name: label and size of its root, and what it boots with
TINY = {"label": "tinyroot", "uuid": "6d616c6c-6565-4000-8000-000000000001", "mib": 64}
DEBIAN = {"label": "debianroot", "uuid": "6d616c6c-6565-4000-8000-000000000002", "mib": 1400}

TINY_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_mmio", "virtio_scsi", "virtio_rng",
                "virtio_balloon", "sd_mod", "button", "evdev")
TINY_PROGRAMS = {"/usr/sbin/dropbear": "sbin/dropbear", "/usr/bin/dropbearkey": "bin/dropbearkey"}
TINY_NEEDS = ("busybox", "cpio", "debugfs", "depmod", "dropbear", "dpkg-deb", "ldd", "lz4", "mcopy", "mke2fs",
              "mkfs.vfat", "modprobe", "sfdisk", "syslinux")
DEBIAN_NEEDS = TINY_NEEDS + ("debootstrap",)
DEBIAN_PACKAGES = ("linux-image-cloud-amd64", "cloud-init", "openssh-server", "systemd-sysv", "ifupdown",
                   "isc-dhcp-client", "initramfs-tools", "iproute2", "iputils-ping", "ca-certificates",
                   "e2fsprogs", "cloud-guest-utils", "dbus", "udev", "sudo", "procps", "less")
# In a mount namespace of its own. The ramdisk carries only what a guest of ours has.
DEBIAN_INSTALL = """
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount -t sysfs sysfs "$0/sys"
mount --rbind /dev "$0/dev"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
chroot "$0" apt-get -q install -y --no-install-recommends "$@"
printf '%s\\n' virtio_pci virtio_blk virtio_net virtio_scsi virtio_rng sd_mod ext4 >>"$0/etc/initramfs-tools/modules"
echo MODULES=list >"$0/etc/initramfs-tools/conf.d/mallee"
chroot "$0" update-initramfs -u
chroot "$0" systemctl enable serial-getty@ttyS0.service
"""


def cache_directory():
    if os.environ.get("MALLEE_IMAGE_CACHE"):
        return os.environ["MALLEE_IMAGE_CACHE"]
    if os.geteuid() == 0:
        return "/var/cache/mallee-images"
    return os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "mallee-images")


def check_tools(programs):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    os.environ["PATH"] = path
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        raise Failure(f"not installed: {', '.join(missing)}; {term.install_line(*missing)}")


# -- the kernel --------------------------------------------------------------------------------------

@functools.cache  # apt takes seconds
def kernel_package(cache):
    """The newest cloud kernel that apt knows, as a .deb in the cache: downloaded, never installed."""
    packages = os.path.join(cache, "packages")
    os.makedirs(packages, exist_ok=True)
    depends = run("apt-cache", "depends", "--no-recommends", "linux-image-cloud-amd64", check=False)
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if names:
        version = ""
        for line in run("apt-cache", "show", "--no-all-versions", names[0]).splitlines():
            if line.startswith("Version: "):
                version = line.split(None, 1)[1]
        path = os.path.join(packages, f"{names[0]}_{version.replace(':', '%3a')}_amd64.deb")
        if os.path.exists(path):
            return path
        say(f"downloading {names[0]} {version}")
        if term.status("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", names[0],
                       cwd=packages) == 0 and os.path.exists(path):
            return path
    kept = sorted(glob.glob(os.path.join(packages, "linux-image-*-cloud-amd64_*.deb")), key=os.path.getmtime)
    if kept:
        say(f"apt has no newer kernel at hand: using {os.path.basename(kept[-1])}")
        return kept[-1]
    raise Failure("cannot download the package linux-image-cloud-amd64; run: apt-get update")


def elf_of_bzimage(data):
    """The ELF kernel inside a bzImage, as Documentation/x86/boot.rst describes its header."""
    if len(data) < 0x260 or data[0x202:0x206] != b"HdrS":
        raise Failure("the kernel of the package is not a bzImage")
    start = (((data[0x1F1] or 4) + 1) * 512) + struct.unpack_from("<I", data, 0x248)[0]
    payload = data[start:start + struct.unpack_from("<I", data, 0x24C)[0]]
    if len(payload) < 8:
        raise Failure("the kernel of the package holds no ELF file")
    size = struct.unpack("<I", payload[-4:])[0]
    tool = {b"\x02\x21\x4c\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz"}.get(payload[:4])
    if payload[:2] == b"\x1f\x8b":
        tool = "gzip"
    if not tool:
        raise Failure(f"the kernel is compressed in an unknown way (starts with {payload[:4].hex()})")
    try:
        elf = subprocess.run([tool, "-dc"], input=payload[:-4], capture_output=True, check=False).stdout
    except FileNotFoundError:
        raise Failure(f"'{tool}' is not installed; {term.install_line(tool)}") from None
    if len(elf) != size or elf[:4] != b"\x7fELF":
        raise Failure("unpacking the kernel gave no ELF file")
    return elf


def put_kernel(vmlinuz, output):
    with open(vmlinuz, "rb") as file:
        data = file.read()
    with open(os.path.join(output, "vmlinuz"), "wb") as file:
        file.write(data)
    with open(os.path.join(output, "vmlinux"), "wb") as file:
        file.write(elf_of_bzimage(data))


# -- file systems ------------------------------------------------------------------------------------

def set_times(tree):
    for path, directories, files in os.walk(tree):
        for name in directories + files + ["."]:
            os.utime(os.path.join(path, name), (EPOCH, EPOCH), follow_symlinks=False)


def make_cpio(tree, output):
    set_times(tree)
    names = sorted(os.path.relpath(os.path.join(path, name), tree)
                   for path, directories, files in os.walk(tree) for name in directories + files)
    with open(output, "wb") as out:
        done = subprocess.run(["cpio", "--null", "-o", "-H", "newc", "--reproducible", "-R", "0:0", "--quiet"],
                              cwd=tree, input="".join(f"{n}\0" for n in names).encode(), stdout=out, check=False)
    if done.returncode:
        raise Failure("cpio could not make the ramdisk")


def make_ext4(tree, output, shape, keep_owners):
    """A file system of the tree. mke2fs copies times and owners of this machine: debugfs sets them."""
    env = dict(os.environ, E2FSPROGS_FAKE_TIME=str(EPOCH))
    set_times(tree)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", shape["label"], "-U", shape["uuid"],
        "-E", f"hash_seed={shape['uuid']},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0", "-m", "0",
        "-J", "size=4", "-O", "^metadata_csum", "-d", tree, output, f"{shape['mib']}M", env=env)
    commands = []
    for path, directories, files in os.walk(tree):
        for name in directories + files + ["."]:
            inside = os.path.normpath("/" + os.path.relpath(os.path.join(path, name), tree))
            for field, value in (("ctime", f"@{EPOCH}"), ("atime", f"@{EPOCH}"), ("crtime", f"@{EPOCH}"),
                                 ("ctime_extra", 0), ("atime_extra", 0), ("mtime_extra", 0), ("crtime_extra", 0)):
                commands.append(f'sif "{inside}" {field} {value}')
            if not keep_owners:
                commands += [f'sif "{inside}" uid 0', f'sif "{inside}" gid 0']
    commands.append(f"sif <8> mtime @{EPOCH}")
    with tempfile.NamedTemporaryFile("w", suffix=".debugfs") as script:
        script.write("\n".join(commands) + "\n")
        script.flush()
        run("debugfs", "-w", "-f", script.name, output, env=env)


def make_disk(output, shape, more):
    """A disk that boots by itself: MBR, a FAT partition with syslinux and kernel, the root partition."""
    part = {name: os.path.join(output, name) for name in FILES}
    with tempfile.TemporaryDirectory() as work:
        config = os.path.join(work, "syslinux.cfg")
        with open(os.path.join(GUEST, "syslinux.cfg"), encoding="ascii") as file:
            text = file.read().replace("@ROOT@", f"LABEL={shape['label']}").replace("@MORE@", more)
        with open(config, "w", encoding="ascii") as file:
            file.write(text)
        boot = os.path.join(work, "boot.fat")
        boot_mib = (os.path.getsize(part["vmlinuz"]) + os.path.getsize(part["initrd.img"])) // MIB + 4
        with open(boot, "wb") as file:
            file.truncate(boot_mib * MIB)
        for path in (part["vmlinuz"], part["initrd.img"], config):
            os.utime(path, (EPOCH, EPOCH))
        # The zone of this machine must not show in the time stamps.
        env = dict(os.environ, TZ="UTC", MTOOLS_SKIP_CHECK="1")
        run("mkfs.vfat", "--invariant", "-i", "6d616c6c", "-n", "BOOT", boot, env=env)
        run("mcopy", "-m", "-i", boot, part["vmlinuz"], part["initrd.img"], config, "::", env=env)
        run("syslinux", "--install", boot, env=dict(env, SOURCE_DATE_EPOCH=str(EPOCH)))
        root_bytes = os.path.getsize(part["root.ext4"])
        with open(part["disk.img"], "wb") as file:
            file.truncate((1 + boot_mib) * MIB + root_bytes)
        run("sfdisk", "-q", part["disk.img"], input=(
            "label: dos\nlabel-id: 0x6d616c6c\n"
            f"start=2048, size={boot_mib * 2048}, type=c, bootable\n"
            f"start={(1 + boot_mib) * 2048}, size={root_bytes // 512}, type=83\n"))
        mbr = "/usr/lib/syslinux/mbr/mbr.bin"
        if not os.path.exists(mbr):
            raise Failure(f"'{mbr}' is missing; install it with: apt-get install -y syslinux-common")
        for source, at in ((mbr, 0), (boot, MIB), (part["root.ext4"], (1 + boot_mib) * MIB)):
            copy_into(source, part["disk.img"], at)


def copy_into(source, target, at):
    """Copies a file into another at an offset, leaving zeros as holes."""
    with open(source, "rb") as src, open(target, "r+b") as dst:
        while True:
            chunk = src.read(MIB)
            if not chunk:
                return
            if chunk.strip(b"\0"):
                dst.seek(at)
                dst.write(chunk)
            at += len(chunk)


# -- tiny --------------------------------------------------------------------------------------------

def unpack_kernel(deb, work):
    run("dpkg-deb", "-x", deb, work)
    modules = glob.glob(os.path.join(work, "lib/modules/*"))
    vmlinuz = glob.glob(os.path.join(work, "boot/vmlinuz-*"))
    if len(modules) != 1 or len(vmlinuz) != 1:
        raise Failure(f"'{os.path.basename(deb)}' does not look like a kernel package")
    return vmlinuz[0], os.path.basename(modules[0])


def tiny_ramdisk(kernel_tree, version, work):
    tree = os.path.join(work, "initrd")
    for name in ("bin", "dev", "proc", "sys", "new", "lib/modules"):
        os.makedirs(os.path.join(tree, name))
    shutil.copyfile("/bin/busybox", os.path.join(tree, "bin/busybox"))
    os.symlink("busybox", os.path.join(tree, "bin/sh"))
    shutil.copyfile(os.path.join(GUEST, "initrd-init"), os.path.join(tree, "init"))
    for name in ("bin/busybox", "init"):
        os.chmod(os.path.join(tree, name), 0o755)
    if not os.path.exists(os.path.join(kernel_tree, "lib/modules", version, "modules.dep")):
        run("depmod", "-b", kernel_tree, version)
    order = []
    for module in TINY_MODULES:
        depends = run("modprobe", "-d", kernel_tree, "-S", version, "--show-depends", module, check=False)
        for line in depends.splitlines():
            words = line.split()
            if words and words[0] == "insmod" and words[1] not in order:
                order.append(words[1])
    for path in order:
        shutil.copyfile(path, os.path.join(tree, "lib/modules", os.path.basename(path)))
    with open(os.path.join(tree, "lib/modules/order"), "w", encoding="ascii") as file:
        file.write("".join(os.path.basename(p) + "\n" for p in order))
    return tree


def tiny_root(work):
    tree = os.path.join(work, "root")
    for name in ("bin", "sbin", "dev", "proc", "sys", "tmp", "run", "root/.ssh", "etc/dropbear", "etc/acpi/PWRF",
                 "mnt", "var/log", "var/lib", "usr/bin", "usr/sbin", "lib64"):
        os.makedirs(os.path.join(tree, name))
    os.symlink("/run", os.path.join(tree, "var/run"))
    shutil.copyfile("/bin/busybox", os.path.join(tree, "bin/busybox"))
    os.chmod(os.path.join(tree, "bin/busybox"), 0o755)
    for applet in run("busybox", "--list").split():
        if applet != "busybox":
            os.symlink("busybox", os.path.join(tree, "bin", applet))
    for name in ("init", "poweroff", "reboot", "halt"):
        os.symlink("../bin/busybox", os.path.join(tree, "sbin", name))
    libraries = set()
    for program, place in TINY_PROGRAMS.items():
        shutil.copyfile(program, os.path.join(tree, place))
        os.chmod(os.path.join(tree, place), 0o755)
        for word in run("ldd", program).split():
            if word.startswith("/lib"):
                libraries.add(word)
    for library in sorted(libraries):
        place = tree + library
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copyfile(library, place)
        os.chmod(place, 0o755)
    for name, mode, text in (
            ("etc/passwd", 0o644, "root:*:0:0:root:/root:/bin/sh\n"), ("etc/group", 0o644, "root:x:0:\n"),
            ("etc/shadow", 0o600, "root:*:19000:0:99999:7:::\n"), ("etc/shells", 0o644, "/bin/sh\n"),
            ("etc/profile", 0o644, "export PATH=/bin:/sbin\n"), ("etc/acpid.conf", 0o644, "PWRF\tPWRF/00000080\n")):
        with open(os.path.join(tree, name), "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(os.path.join(tree, name), mode)
    for name, place, mode in (("inittab", "etc/inittab", 0o644), ("rc", "etc/rc", 0o755),
                              ("udhcpc.sh", "etc/udhcpc.sh", 0o755),
                              ("power-button", "etc/acpi/PWRF/00000080", 0o755)):
        shutil.copyfile(os.path.join(GUEST, name), os.path.join(tree, place))
        os.chmod(os.path.join(tree, place), mode)
    os.chmod(os.path.join(tree, "root"), 0o700)
    os.chmod(os.path.join(tree, "root/.ssh"), 0o700)
    os.chmod(os.path.join(tree, "tmp"), 0o1777)
    return tree


def make_tiny(output, cache):
    deb = kernel_package(cache)
    with tempfile.TemporaryDirectory(prefix="mallee-image-") as work:
        os.chmod(work, 0o755)
        kernel_tree = os.path.join(work, "kernel")
        vmlinuz, version = unpack_kernel(deb, kernel_tree)
        say(f"kernel {version}")
        put_kernel(vmlinuz, output)
        make_cpio(tiny_ramdisk(kernel_tree, version, work), os.path.join(output, "initrd.img"))
        make_ext4(tiny_root(work), os.path.join(output, "root.ext4"), TINY, keep_owners=False)
        make_disk(output, TINY, "quiet panic=5")


# -- debian ------------------------------------------------------------------------------------------

def make_debian(output, cache):
    """Debian 12 with cloud-init, as its own installer would lay it out; needs root for debootstrap."""
    if os.geteuid() != 0:
        raise Failure("the debian image needs root (debootstrap); run it with sudo")
    with tempfile.TemporaryDirectory(prefix="mallee-image-") as work:
        tree = os.path.join(work, "root")
        say("debootstrap: some minutes")
        run("debootstrap", "--variant=minbase", "bookworm", tree, debian_mirror(), timeout=3600)
        shutil.copyfile("/etc/resolv.conf", os.path.join(tree, "etc/resolv.conf"))
        policy = os.path.join(tree, "usr/sbin/policy-rc.d")
        with open(policy, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
        say("installing kernel, cloud-init, openssh")
        run("unshare", "--mount", "sh", "-ec", DEBIAN_INSTALL, tree, *DEBIAN_PACKAGES, timeout=3600)
        for path in (policy, os.path.join(tree, "etc/resolv.conf")):
            os.unlink(path)
        for name, text in (
                ("etc/fstab", f"LABEL={DEBIAN['label']} / ext4 defaults,noatime 0 1\n"),
                ("etc/cloud/cloud.cfg.d/90_mallee.cfg", "locale: C.UTF-8\nmanage_etc_hosts: localhost\n"
                 "datasource_list: [ Ec2, None ]\n"
                 "datasource:\n  Ec2:\n    timeout: 10\n    max_wait: 60\n"),
                ("etc/hostname", "localhost\n"), ("etc/network/interfaces", "source /etc/network/interfaces.d/*\n")):
            path = os.path.join(tree, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        for pattern in ("etc/ssh/ssh_host_*", "var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*",
                        "var/log/*.log", "etc/machine-id"):
            for path in glob.glob(os.path.join(tree, pattern)):
                os.unlink(path)
        open(os.path.join(tree, "etc/machine-id"), "w", encoding="ascii").close()
        vmlinuz = glob.glob(os.path.join(tree, "boot/vmlinuz-*"))
        initrd = glob.glob(os.path.join(tree, "boot/initrd.img-*"))
        if len(vmlinuz) != 1 or len(initrd) != 1:
            raise Failure("debootstrap left no kernel in the image")
        put_kernel(vmlinuz[0], output)
        shutil.copyfile(initrd[0], os.path.join(output, "initrd.img"))
        make_ext4(tree, os.path.join(output, "root.ext4"), DEBIAN, keep_owners=True)
        make_disk(output, DEBIAN, "")


def debian_mirror():
    """The mirror this machine itself uses."""
    for path in ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*")):
        try:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    for word in line.split("#")[0].split():
                        if word.startswith("http") and "security" not in word:
                            return word
        except OSError:
            continue
    return "http://deb.debian.org/debian"


# -- the cache ---------------------------------------------------------------------------------------

MAKERS = {"tiny": (make_tiny, TINY_NEEDS), "debian": (make_debian, DEBIAN_NEEDS)}


def digest_of_inputs(name, cache):
    """Of everything an image is made of, as far as it is known before it is made."""
    inputs = hashlib.sha256(name.encode())
    sources = [os.path.abspath(__file__)] + sorted(glob.glob(os.path.join(GUEST, "*")))
    if name == "tiny":
        sources += ["/bin/busybox", *TINY_PROGRAMS, kernel_package(cache)]
    for path in sources:
        with open(path, "rb") as file:
            inputs.update(hashlib.sha256(file.read()).digest())
    return inputs.hexdigest()[:16]


def build(name):
    """The directory of a finished image in the cache; makes it when it is not there."""
    maker, needs = MAKERS[name]
    check_tools(needs)
    cache = cache_directory()
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, f".{name}.lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        final = os.path.join(cache, f"{name}-{digest_of_inputs(name, cache)}")
        if os.path.isdir(final):
            return final
        for left in glob.glob(os.path.join(cache, f".{name}-making-*")):
            shutil.rmtree(left, ignore_errors=True)
        say(f"making the image '{name}'")
        making = tempfile.mkdtemp(prefix=f".{name}-making-", dir=cache)
        try:
            os.chmod(making, 0o755)
            maker(making, cache)
            for file in FILES:
                os.chmod(os.path.join(making, file), 0o644)
            os.rename(making, final)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        return final


def body(argv):
    parser = argparse.ArgumentParser(
        prog="tools/image", description="Makes a guest image from Debian packages and prints its directory, which "
        "holds " + ", ".join(FILES) + ".")
    parser.add_argument("name", choices=NAMES, help="tiny: busybox and dropbear, boots in seconds; "
                        "debian: Debian 12 with cloud-init and openssh (needs root)")
    parser.add_argument("--output", metavar="DIR", help="also put the files here")
    options = parser.parse_args(argv)
    os.umask(0o022)
    made = build(options.name)
    if options.output:
        os.makedirs(options.output, exist_ok=True)
        for file in FILES:
            run("cp", "--sparse=always", "--preserve=timestamps", os.path.join(made, file), options.output)
        made = os.path.abspath(options.output)
    say(f"{options.name}: ready")
    print(made)
    return 0


def main(argv):
    return term.main(body, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
