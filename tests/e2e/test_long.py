"""What takes long: a minimal Debian from nothing, and a guest with cloud-init."""
import glob
import os
import re
import shutil
import subprocess

import pytest
from cloud import TOP, eventually, guests, image_files, proc

pytestmark = pytest.mark.long


def in_chroot(tree, script, log, timeout):
    """Runs a script in the tree with its own mounts; what it said goes to a file."""
    outside = ("set -e; mount --make-rprivate /; mount --bind \"$0\" \"$0\"; cd \"$0\"; mount -t proc proc proc; "
               "mount -t sysfs sysfs sys; mount --rbind /dev dev; mount -t tmpfs tmpfs run; "
               "exec chroot . /bin/bash -ec \"$1\"")
    with open(log, "w", encoding="utf-8") as file:
        done = subprocess.run(["unshare", "--mount", "sh", "-c", outside, tree, script], stdout=file,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=timeout, check=False,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"})
    with open(log, encoding="utf-8", errors="replace") as file:
        said = file.read()
    assert done.returncode == 0, said[-4000:]
    return said


def root_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/root")
    except OSError:
        return ""


@pytest.fixture(scope="module")
def minimal_debian(tmp_path_factory):
    """A Debian 12 with nothing but what is required, and a clone of this tree in /root/mallee."""
    base = tmp_path_factory.mktemp("debian")
    tree = str(base / "root")
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", tree, image_files.debian_mirror()], check=True,
                   stdout=subprocess.DEVNULL, timeout=1800)
    os.unlink(tree + "/etc/apt/sources.list")
    for path in glob.glob("/etc/apt/sources.list*") + ["/etc/resolv.conf"]:
        if os.path.isdir(path):
            shutil.copytree(path, tree + path, dirs_exist_ok=True)
        else:
            shutil.copy(path, tree + path)
    for path in glob.glob("/etc/apt/apt.conf.d/*prox*") + glob.glob("/etc/apt/trusted.gpg.d/*") \
            + glob.glob("/usr/share/keyrings/*") + glob.glob("/etc/apt/keyrings/*"):
        if os.path.isfile(path) and not os.path.exists(tree + path):
            os.makedirs(os.path.dirname(tree + path), exist_ok=True)
            shutil.copy(path, tree + path)
    os.makedirs(tree + "/root/mallee")
    files = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP,
                           capture_output=True, check=True).stdout
    subprocess.run(["cpio", "-0", "-pdm", "--quiet", tree + "/root/mallee"], cwd=TOP, input=files, check=True)
    yield tree, base
    proc.kill([int(pid) for pid in os.listdir("/proc") if pid.isdigit() and root_of(pid).startswith(tree)])
    shutil.rmtree(tree, ignore_errors=True)


def documented(heading):
    """The commands that docs/install.md gives below a heading: its indented lines, as they stand there."""
    with open(os.path.join(TOP, "docs/install.md"), encoding="utf-8") as file:
        section = re.split(r"(?m)^## ", file.read())
    body = next(s for s in section if s.startswith(heading))
    return "\n".join(line[4:] for line in body.splitlines() if line.startswith("    "))


def without_systemd(commands):
    """No systemd runs in a chroot: what would only tell it something is left out."""
    return "\n".join(line for line in commands.splitlines() if not line.startswith("systemctl "))


# Sections 2 to 4 of docs/install.md, where no systemd runs: daemons are started by hand, as their user, in a network
# namespace of their own.
FIRST_DAEMONS = r"""
ip link set lo up
cd /
as_mallee() { setpriv --reuid mallee --regid mallee --init-groups -- "$@"; }
sed -i 's,^#advertise = .*,advertise = https://127.0.0.1:8774,' /etc/mallee/cc.conf
mkdir -p /run/mallee/clc /run/mallee/cc
chown mallee: /run/mallee/clc /run/mallee/cc
as_mallee mallee-admin init | sed 's/SECRET.*/SECRET/'
setpriv --reuid mallee --regid mallee --init-groups -- mallee-clc --config /etc/mallee/clc.conf & clc=$!
until as_mallee mallee-admin status; do kill -0 $clc; sleep 0.2; done
token=$(mallee-admin token cc zone-a)
( until [ -e /var/lib/mallee/cc/trust/peer.conf ]; do sleep 0.1; done
  exec setpriv --reuid mallee --regid mallee --init-groups -- mallee-cc --config /etc/mallee/cc.conf ) & cc=$!
as_mallee mallee-cc join https://127.0.0.1:8773 $token 60
mallee-admin peers
kill $cc $clc
wait
"""


def test_documented_installation_in_a_minimal_debian(minimal_debian):
    """Build, `make install`, user and directories, init, a token and a daemon that joins: word for word."""
    tree, base = minimal_debian
    page = documented("2. ") + documented("3. ")
    for said in ("mallee-admin init", "mallee-admin token cc zone-a", "join https://"):
        assert said in page, f"docs/install.md has '{said}' no more: change this test with it"
    with open(f"{tree}/root/first-daemons", "w", encoding="utf-8") as file:
        file.write(FIRST_DAEMONS)
    said = in_chroot(tree, "export SYSTEMD_OFFLINE=1; apt-get -q update; "
                     "apt-get -q install -y --no-install-recommends systemd; cd /root/mallee\n"
                     + without_systemd(documented("1. ")) + "\nunshare --net /bin/bash -ex /root/first-daemons",
                     str(base / "install.log"), 3600)
    assert "in service" in said
    assert re.search(r"(?m)^cc-\w+ .*zone-a", said), said[-2000:]


def test_quickstart_in_a_minimal_debian(minimal_debian):
    """README's first command, where nothing is installed: no dependency hides."""
    tree, base = minimal_debian
    said = in_chroot(tree, "apt-get -q update; apt-get -q install -y --no-install-recommends python3-minimal python3; "
                     "cd /root/mallee; tools/quickstart --name chroot; "
                     "tools/cloud status --name chroot; tools/cloud down --wipe --name chroot",
                     str(base / "quickstart.log"), 3600)
    assert "answers" in said and "nothing of it is left" in said


def test_unit_tests_in_a_minimal_debian(minimal_debian):
    tree, base = minimal_debian
    said = in_chroot(tree, "cd /root/mallee; apt-get -q install -y --no-install-recommends "
                     "$(awk '$1 == \"build\" || $1 == \"test\" {print $2}' tools/packages); make check",
                     str(base / "unit.log"), 3600)
    assert " 0 failed" in said


def test_debian_with_cloud_init(cloud, tidy):
    directory = image_files.build("debian")
    bucket, digest = guests.BUCKET, os.path.basename(directory)
    for file in ("vmlinuz", "initrd.img", "root.ext4"):
        guests.upload(cloud.model, directory, digest, file)
    ids = {}
    for part, file, options in (("kernel", "vmlinuz", {"KernelId": "true"}),
                                ("ramdisk", "initrd.img", {"RamdiskId": "true"})):
        ids[part] = cloud.ec2.register_image(Name=f"{digest}-{part}", ImageLocation=f"{bucket}/{digest}/{file}",
                                             Architecture="x86_64", **options)["ImageId"]
    image = cloud.ec2.register_image(Name=digest, ImageLocation=f"{bucket}/{digest}/root.ext4", Architecture="x86_64",
                                     RootDeviceName="/dev/vda", KernelId=ids["kernel"],
                                     RamdiskId=ids["ramdisk"])["ImageId"]
    one = cloud.run(ImageId=image, InstanceType="t2.small",
                    UserData="#cloud-config\nruncmd:\n - [sh, -c, 'echo cloud-init-ran > /run/ran']\n")
    cloud.wait(one, "running")
    guest = cloud.guest(one)
    guest.user = "debian"
    guest.wait(900)
    eventually("cloud-init is done", 600, lambda: guest.sh("cat /run/ran", check=False) == "cloud-init-ran", every=5)
    assert "Ec2" in guest.sh("cloud-id; cat /run/cloud-init/result.json") or \
        "aws" in guest.sh("cloud-id")
    private = cloud.describe(one)["PrivateIpAddress"]
    assert guest.sh("hostname").startswith("ip-" + private.replace(".", "-"))
    cloud.terminate(one)
    for each in (image, ids["kernel"], ids["ramdisk"]):
        cloud.ec2.deregister_image(ImageId=each)
