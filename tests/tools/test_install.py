"""`make install DESTDIR=`: everything a host needs is there, and fits together."""
import glob
import os
import re
import shutil
import subprocess

import pytest

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DAEMONS = ["clc", "walrus", "cc", "sc", "nc", "nc-helper"]
UNITS = os.path.join("lib", "systemd", "system")


def make_install(root):
    subprocess.run(["make", "--no-print-directory", "install", f"DESTDIR={root}"], cwd=TOP, check=True,
                   stdout=subprocess.DEVNULL, timeout=1200)


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    root = str(tmp_path_factory.mktemp("staged"))
    make_install(root)
    return root


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def test_programs_manuals_and_configuration(staged):
    for name in DAEMONS:
        assert os.access(f"{staged}/usr/sbin/mallee-{name}", os.X_OK)
        assert os.path.isfile(f"{staged}/{UNITS}/mallee-{name}.service")
        assert os.path.isfile(f"{staged}/usr/share/man/man8/mallee-{name}.8")
        assert os.path.isfile(f"{staged}/etc/mallee/{name}.conf")
    assert os.access(f"{staged}/usr/bin/mallee-admin", os.X_OK)
    assert os.path.isfile(f"{staged}/usr/share/man/man5/mallee.conf.5")
    assert os.path.isfile(f"{staged}/usr/lib/sysusers.d/mallee.conf")
    assert os.path.isfile(f"{staged}/usr/lib/tmpfiles.d/mallee.conf")


@pytest.mark.parametrize("name", DAEMONS)
def test_the_sample_configuration_is_taken(staged, name):
    done = subprocess.run([f"{staged}/usr/sbin/mallee-{name}", "--config", f"{staged}/etc/mallee/{name}.conf",
                           "--check-config"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", DAEMONS)
def test_what_a_sample_shows_commented_out_is_taken_too(staged, tmp_path, name):
    text = re.sub(r"(?m)^#(\w+ =)", r"\1", read(staged, "etc/mallee", f"{name}.conf"))
    path = tmp_path / f"{name}.conf"
    path.write_text(text)
    done = subprocess.run([f"{staged}/usr/sbin/mallee-{name}", "--config", str(path), "--check-config"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_changed_configuration_is_kept(staged):
    path = f"{staged}/etc/mallee/clc.conf"
    with open(path, "a", encoding="utf-8") as file:
        file.write("region = elsewhere\n")
    make_install(staged)
    assert read(path).endswith("region = elsewhere\n")


def test_units_name_what_is_installed(staged):
    for path in glob.glob(f"{staged}/{UNITS}/*"):
        for program in re.findall(r"(?m)^Exec\w+=[-+!@:]*(/usr\S+)", read(path)):
            assert os.access(staged + program, os.X_OK), f"{path}: there is no {program}"
        for unit in re.findall(r"\bmallee-[a-z-]+\.(?:service|socket|path)\b", read(path)):
            assert os.path.exists(f"{staged}/{UNITS}/{unit}"), f"{path}: there is no {unit}"


def test_the_helper_has_no_mount_namespace_of_its_own(staged):
    """VPC namespaces are mounts that must outlive it; each of these settings would make it one."""
    unit = read(staged, UNITS, "mallee-nc-helper.service")
    keys = {line.split("=")[0] for line in unit.splitlines() if "=" in line and not line.startswith("#")}
    forbidden = re.compile(r"Protect(System|Home|Kernel\w+|ControlGroups|Proc)|Private(Tmp|Devices|Mounts|IPC)|ProcSubset|"
                           r"(ReadWrite|ReadOnly|Inaccessible|Exec|NoExec)Paths|Bind\w*Paths|Root\w+|TemporaryFileSystem|"
                           r"MountAPIVFS|DynamicUser|LogNamespace|Extension\w+|MountFlags|LoadCredential\w*")
    assert not [key for key in keys if forbidden.fullmatch(key)]
    assert "CapabilityBoundingSet" in keys and "NoNewPrivileges" in keys


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(staged):
    """Offline. Complaints of what only a host has (programs in /usr/sbin, libvirtd) do not count."""
    units = sorted(glob.glob(f"{staged}/{UNITS}/mallee-*"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines()
             if "mallee" in line and "is not executable" not in line and "Unit libvirtd" not in line]
    assert not wrong


@pytest.mark.skipif(not shutil.which("systemd-tmpfiles"), reason="systemd-tmpfiles is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give directories away")
def test_user_and_directories_are_made(staged, tmp_path):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for name in ("passwd", "group"):
        (root / "etc" / name).write_text("root:x:0:0:root:/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n")
    for program, directory in (("systemd-sysusers", "sysusers.d"), ("systemd-tmpfiles", "tmpfiles.d")):
        option = ["--create"] if directory == "tmpfiles.d" else []
        subprocess.run([program, *option, f"--root={root}", f"{staged}/usr/lib/{directory}/mallee.conf"], check=True,
                       capture_output=True)
    users = dict(line.split(":")[0:3:2] for line in (root / "etc/passwd").read_text().splitlines())
    groups = {line.split(":")[0]: line.split(":") for line in (root / "etc/group").read_text().splitlines()}
    assert "mallee" in groups["kvm"][3].split(",")
    for name in ("clc", "walrus", "cc", "sc", "nc"):
        status = os.stat(root / "var/lib/mallee" / name)
        assert status.st_uid == int(users["mallee"])
        assert status.st_mode & 0o777 == (0o750 if name == "nc" else 0o700)
    assert os.stat(root / "var/lib/mallee/nc").st_gid == int(groups["kvm"][2])
    assert os.stat(root / "var/lib/mallee/nc-helper").st_uid == 0
