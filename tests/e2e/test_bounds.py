"""Types of the administrator's making, from the API to the guest: disks, shares, screen, reachability, metadata."""
import base64
import glob

import pytest
from botocore.exceptions import ClientError

from cloud import code_of
from testbed import cgroups

GET = "timeout 5 wget -q -O - http://169.254.169.254/latest/meta-data"


@pytest.fixture
def kind(cloud):
    cloud.admin("type", "set", "e2e.disks", "vcpus=1", "memory_mib=256", "ephemeral=1,2", "cpu_shares=640")
    yield "e2e.disks"
    cloud.admin("type", "delete", "e2e.disks")


def test_a_type_with_disks_and_shares(cloud, tidy, kind):
    one = cloud.booted(InstanceType=kind, BlockDeviceMappings=[
        {"DeviceName": "/dev/sdf", "VirtualName": "ephemeral0"}])
    guest = cloud.guest(one)
    sizes = [int(guest.sh(f"cat /sys/block/{d}/size")) * 512 >> 30 for d in ("vdb", "vdc")]
    assert sizes == [2, 1]  # by device: ephemeral1 stays at /dev/vdc, ephemeral0 is at /dev/sdf
    assert guest.sh(f"{GET}/block-device-mapping/ephemeral0") == "vdc"
    assert guest.sh(f"{GET}/block-device-mapping/ephemeral1") == "vdb"
    netns = cloud.model.netns(cloud.node_of(one))
    found = glob.glob(f"{cgroups.path('cpu', netns)}/machine/qemu-*-{one}.libvirt-qemu/cpu.shares")
    if glob.glob(cgroups.path("cpu", netns)):
        with open(found[0], encoding="ascii") as file:
            assert file.read().strip() == "640"
    else:
        assert "no cpu controller" in cloud.admin("nodes")


def test_a_screenshot(cloud, resident):
    ec2 = cloud.ec2
    said = ec2.get_console_screenshot(InstanceId=resident)
    assert said["InstanceId"] == resident
    picture = base64.b64decode(said["ImageData"], validate=True)
    assert picture[:3] == b"\xff\xd8\xff" and picture[-2:] == b"\xff\xd9"
    assert base64.b64decode(ec2.get_console_screenshot(InstanceId=resident, WakeUp=True)["ImageData"])[:3] == picture[:3]


def test_no_screenshot_of_what_does_not_run(cloud, tidy):
    ec2 = cloud.ec2
    with pytest.raises(ClientError) as e:
        ec2.get_console_screenshot(InstanceId="i-0000000000000dead")
    assert code_of(e.value) == "InvalidInstanceID.NotFound"
    one = cloud.run()
    cloud.wait(one, "running")
    ec2.stop_instances(InstanceIds=[one], Force=True)
    cloud.wait(one, "stopped")
    with pytest.raises(ClientError) as e:
        ec2.get_console_screenshot(InstanceId=one)
    assert code_of(e.value) == "IncorrectInstanceState"
