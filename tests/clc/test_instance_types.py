"""Instance types as the administrator makes them, what DescribeInstanceTypes says of them, and the disks that block
device mappings come to."""
import re
import signal
import subprocess

import front
import pytest
from strict import check_ec2, check_error


def admin_fails(clc, *words):
    with pytest.raises(subprocess.CalledProcessError) as e:
        clc.mallee_admin(*words)
    return e.value.stderr


def run(clc, account, **words):
    return clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="1", MaxCount="1", **words)


def launch(clc, account, **words):
    instance = check_ec2(run(clc, account, **words), "RunInstances").text("instanceId")
    names = "vcpus, memory_mib, root_disk_gib, ephemeral_gib, disk_gib, cpu_shares, is_pinned, ephemeral_disks"
    row, = clc.rows(f"SELECT {names} FROM instance WHERE instance_id = ?", instance)
    return instance, dict(zip(names.split(", "), row))


def describe(clc, *names, **filters):
    words = {f"InstanceType__{i + 1}": n for i, n in enumerate(names)}
    for i, (name, value) in enumerate(filters.items()):
        words[f"Filter__{i + 1}__Name"] = name.replace("_", "-").replace("--", ".")
        words[f"Filter__{i + 1}__Value__1"] = value
    return check_ec2(clc.ec2(clc.admin, "DescribeInstanceTypes", **words), "DescribeInstanceTypes")


def test_a_new_type_is_listed_and_launched(clc, account):
    said = clc.mallee_admin("type", "set", "x1.pinned", "vcpus=2", "memory_mib=384", "root_disk_gib=3", "ephemeral=4,4,10",
                            "cpu_shares=512", "pinned=yes", "description=two of its own")
    assert said == "x1.pinned made\n"
    line, = [s for s in clc.mallee_admin("type", "list").splitlines() if s.startswith("x1.pinned ")]
    assert line == ('x1.pinned vcpus=2 memory_mib=384 root_disk_gib=3 ephemeral=4,4,10 cpu_shares=512 pinned=yes '
                    'description="two of its own"')
    reply = describe(clc, "x1.pinned")
    assert reply.text("totalSizeInGB") == "18"
    assert list(zip(reply.all("sizeInGB"), reply.all("count"), reply.all("type"))) == [("4", "2", "hdd"), ("10", "1", "hdd")]
    assert reply.text("defaultVCpus") == "2" and reply.text("sizeInMiB") == "384"
    _, row = launch(clc, account, InstanceType="x1.pinned")
    assert row == {"vcpus": 2, "memory_mib": 384, "root_disk_gib": 3, "ephemeral_gib": 18, "disk_gib": 21,
                   "cpu_shares": 512, "is_pinned": 1,
                   "ephemeral_disks": "/dev/vdb=ephemeral0:4 /dev/vdc=ephemeral1:4 /dev/vdd=ephemeral2:10"}
    clc.mallee_admin("type", "delete", "x1.pinned")


def test_instances_keep_what_they_were_launched_with(clc, account):
    clc.mallee_admin("type", "set", "x2.small", "vcpus=1", "memory_mib=128")
    first, before = launch(clc, account, InstanceType="x2.small")
    clc.rows("UPDATE instance SET state = 'stopped', wanted = 'stopped', holds = 1 WHERE instance_id = ?", first)
    said = clc.mallee_admin("type", "set", "x2.small", "memory_mib=256")
    assert said.startswith("x2.small changed\n1 instances of it, 1 of them stopped, keep what they were launched with")
    _, after = launch(clc, account, InstanceType="x2.small")
    assert (before["memory_mib"], after["memory_mib"]) == (128, 256)
    assert clc.rows("SELECT memory_mib FROM instance WHERE instance_id = ?", first) == [(128,)]
    assert "2 instances of it, 1 of them stopped" in clc.mallee_admin("type", "delete", "x2.small")
    check_error(run(clc, account, InstanceType="x2.small"), 400, "InvalidParameterValue")
    check_error(clc.ec2(clc.admin, "DescribeInstanceTypes", InstanceType__1="x2.small"), 400, "InvalidInstanceType")
    # Those that are there are not in the way of anything.
    reply = check_ec2(clc.ec2(account, "StartInstances", InstanceId__1=first), "StartInstances")
    assert reply.text("instanceId") == first


@pytest.mark.parametrize("words,sentence", [
    (["X3.Small", "vcpus=1", "memory_mib=128"], "a type's name is"),
    (["x3", "vcpus=1", "memory_mib=128"], "a type's name is"),
    (["x3..small", "vcpus=1", "memory_mib=128"], "a type's name is"),
    (["x3.small", "vcpus=1"], "needs vcpus and memory_mib"),
    (["x3.small", "vcpus=0", "memory_mib=128"], "vcpus is a number from 1 to 512, not '0'"),
    (["x3.small", "vcpus=513", "memory_mib=128"], "vcpus is a number"),
    (["x3.small", "vcpus=-1", "memory_mib=128"], "vcpus is a number"),
    (["x3.small", "vcpus=1", "memory_mib=15"], "memory_mib is a number from 16"),
    (["x3.small", "vcpus=1", "memory_mib=128", "ephemeral=0"], "ephemeral is 'none' or sizes"),
    (["x3.small", "vcpus=1", "memory_mib=128", "ephemeral=" + ",".join(["1"] * 25)], "at most 24 ephemeral disks"),
    (["x3.small", "vcpus=1", "memory_mib=128", "cpu_shares=1"], "cpu_shares is a number from 2 to 262144"),
    (["x3.small", "vcpus=1", "memory_mib=128", "pinned=maybe"], "pinned is yes or no"),
    (["x3.small", "vcpus=1", "memory_mib=128", "description=a\nb"], "a description is one line"),
    (["x3.small", "vcpus=1", "memory_mib=128", "colour=red"], "no 'colour'"),
    (["x3.small", "vcpus"], "'vcpus' is not KEY=VALUE"),
])
def test_what_no_type_can_be_is_refused(clc, words, sentence):
    assert sentence in admin_fails(clc, "type", "set", *words)
    assert "x3.small" not in clc.mallee_admin("type", "list")


def test_deleting_what_is_not_there_or_needed(clc):
    assert "there is no instance type 'x4.small'" in admin_fails(clc, "type", "delete", "x4.small")
    assert "what RunInstances takes when no type is named" in admin_fails(clc, "type", "delete", "m1.small")


def test_changes_are_durable_and_audited():
    daemon = front.Clc()
    daemon.seed_zone("zone-a")
    try:
        daemon.start()
        daemon.mallee_admin("type", "set", "x5.small", "vcpus=3", "memory_mib=128")
        daemon.stop(signal.SIGKILL)
        daemon.start()
        assert re.search(r"^x5.small vcpus=3 ", daemon.mallee_admin("type", "list"), re.M)
        daemon.mallee_admin("type", "set", "x5.small", "vcpus=4")
        daemon.mallee_admin("type", "delete", "x5.small")
        records = daemon.rows("SELECT user_name, action, parameters FROM audit WHERE resource = 'x5.small'")
        assert sorted(r[:2] for r in records) == [("administrator", n + "InstanceType") for n in ("Create", "Delete", "Modify")]
        assert "name=x5.small vcpus=3 memory_mib=128" in [r[2] for r in records]
    finally:
        daemon.close()


@pytest.mark.parametrize("name,value,found", [
    ("instance_storage_supported", "false", {"t2.nano", "t2.micro", "t2.small"}),
    ("instance_storage_info__disk__size_in_gb", "4", {"m1.medium"}),
    ("vcpu_info__valid_cores", "8", {"c1.xlarge", "m3.2xlarge"}),
    ("supported_boot_mode", "uefi", set()),
    ("ebs_info__ebs_optimized_info__maximum_iops", "1", set()),
])
def test_filters(clc, name, value, found):
    assert set(describe(clc, **{name: value}).all("instanceType")) == found


# -- block device mappings --

def mapping(*devices):
    return {f"BlockDeviceMapping__{i + 1}__{key}": value for i, device in enumerate(devices) for key, value in device.items()}


def test_mappings_move_and_suppress(clc, account):
    clc.mallee_admin("type", "set", "x6.disks", "vcpus=1", "memory_mib=128", "ephemeral=4,7")
    _, row = launch(clc, account, InstanceType="x6.disks", **mapping(
        {"DeviceName": "/dev/sdf", "VirtualName": "ephemeral0"}, {"DeviceName": "/dev/sdc", "NoDevice": ""}))
    assert row["ephemeral_disks"] == "/dev/sdf=ephemeral0:4" and row["ephemeral_gib"] == 4
    assert row["disk_gib"] == row["root_disk_gib"] + 4
    _, row = launch(clc, account, InstanceType="x6.disks", **mapping(
        {"DeviceName": "/dev/sda1", "Ebs__VolumeSize": "12", "Ebs__DeleteOnTermination": "true", "Ebs__VolumeType": "gp2"}))
    assert row["root_disk_gib"] == 12 and row["disk_gib"] == 23
    clc.mallee_admin("type", "delete", "x6.disks")


@pytest.mark.parametrize("devices,code", [
    ([{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}, {"DeviceName": "xvdb", "NoDevice": ""}],
     "InvalidBlockDeviceMapping"),
    ([{"DeviceName": "/dev/disk", "VirtualName": "ephemeral0"}], "InvalidBlockDeviceMapping"),
    ([{"VirtualName": "ephemeral0"}], "InvalidBlockDeviceMapping"),
    ([{"DeviceName": "/dev/sdb"}], "InvalidBlockDeviceMapping"),
    ([{"DeviceName": "/dev/sda1", "NoDevice": ""}], "InvalidBlockDeviceMapping"),
    ([{"DeviceName": "/dev/sda1", "VirtualName": "ephemeral0"}], "InvalidBlockDeviceMapping"),
    ([{"DeviceName": "/dev/sdb", "VirtualName": "swap"}], "InvalidParameterValue"),
    ([{"DeviceName": "/dev/sdb", "Ebs__VolumeSize": "8"}], "UnsupportedOperation"),
    ([{"DeviceName": "/dev/sda1", "Ebs__SnapshotId": "snap-00000000"}], "UnsupportedOperation"),
    ([{"DeviceName": "/dev/sda1", "Ebs__DeleteOnTermination": "false"}], "UnsupportedOperation"),
    ([{"DeviceName": "/dev/sda1", "Ebs__VolumeSize": "99999"}], "InvalidParameterValue"),
])
def test_mappings_that_are_refused(clc, account, devices, code):
    check_error(run(clc, account, **mapping(*devices)), 400, code)
    assert clc.rows("SELECT COUNT(*) FROM instance WHERE account_id = ?", account.id) == [(0,)]


def test_a_root_smaller_than_its_image(clc, account):
    clc.rows("UPDATE image SET disk_bytes = ? WHERE image_id = ?", 3 << 30, account.image)
    reply = check_error(run(clc, account, **mapping({"DeviceName": "/dev/vda", "Ebs__VolumeSize": "2"})), 400,
                        "InvalidBlockDeviceMapping")
    assert reply is None or "expect size >= 3GB" in run(
        clc, account, **mapping({"DeviceName": "/dev/vda", "Ebs__VolumeSize": "2"})).message
