"""What a guest sees: metadata (versions 1 and 2), DHCP, DNS, and what it must not reach."""
import json

import pytest

GET = "timeout 5 wget -q -O - http://169.254.169.254"


def test_versions_and_roots(cloud, resident):
    guest = cloud.guest(resident)
    listed = guest.sh(f"{GET}/").split()
    assert "latest" in listed and "2009-04-04" in listed
    for version in ("latest", "2009-04-04"):
        top = guest.sh(f"{GET}/{version}/meta-data/").split()
        for name in ("ami-id", "instance-id", "instance-type", "local-ipv4", "public-ipv4", "placement/",
                     "public-keys/", "security-groups", "hostname", "local-hostname", "reservation-id", "mac"):
            assert name in top, f"{name} of {version}"


def test_values_agree_with_the_api(cloud, resident):
    guest = cloud.guest(resident)
    one = cloud.describe(resident)
    for path, value in (("instance-id", resident), ("local-ipv4", one["PrivateIpAddress"]),
                        ("public-ipv4", one["PublicIpAddress"]), ("ami-id", one["ImageId"]),
                        ("instance-type", one["InstanceType"]), ("ami-launch-index", "0"),
                        ("placement/availability-zone", "zone-a"), ("security-groups", "default")):
        assert guest.sh(f"{GET}/latest/meta-data/{path}") == value, path
    assert guest.sh(f"{GET}/latest/meta-data/public-keys/0/openssh-key").startswith("ssh-ed25519 ")


def test_identity_document(cloud, resident):
    document = json.loads(cloud.guest(resident).sh(f"{GET}/latest/dynamic/instance-identity/document"))
    assert document["instanceId"] == resident
    assert document["region"] == cloud.variables["AWS_DEFAULT_REGION"]
    assert document["accountId"] == cloud.sts.get_caller_identity()["Account"]


def test_trailing_slashes_and_what_is_absent(cloud, resident):
    guest = cloud.guest(resident)
    assert guest.sh(f"{GET}/latest/meta-data/instance-id/") == resident
    assert "wget: server returned error: HTTP/1.1 404" in guest.sh(
        "timeout 5 wget -O - http://169.254.169.254/latest/meta-data/nothing-here 2>&1", check=False)


@pytest.mark.parametrize("token, status", [("", "401"), ("AAAA", "401")])
def test_wrong_tokens(cloud, resident, token, status):
    got = cloud.guest(resident).sh(f"timeout 5 wget --header 'X-aws-ec2-metadata-token: {token}x' -O - "
                                   "http://169.254.169.254/latest/meta-data/ 2>&1", check=False)
    assert f"HTTP/1.1 {status}" in got


def test_version_2_only(cloud, tidy):
    one = cloud.booted(MetadataOptions={"HttpTokens": "required"})  # the guest itself used version 2
    got = cloud.guest(one).sh(f"{GET}/latest/meta-data/instance-id 2>&1 || true")
    assert "instance-id" not in got and one not in got


def test_names(cloud, resident):
    guest = cloud.guest(resident)
    private = cloud.describe(resident)["PrivateIpAddress"]
    name = "ip-" + private.replace(".", "-")
    assert guest.sh("hostname").startswith(name)
    assert private in guest.sh(f"nslookup {name}.$(sed -n 's/^search //p' /etc/resolv.conf)")


def test_guests_reach_each_other_only_by_rule(cloud, resident, tidy):
    """Members of the default group reach each other; another account's guest is in another network."""
    other = cloud.booted()
    peer = cloud.describe(other)["PrivateIpAddress"]
    assert "0% packet loss" in cloud.guest(resident).sh(f"ping -c 2 -W 2 {peer}")


def test_a_guest_cannot_use_another_address(cloud, resident):
    guest = cloud.guest(resident)
    private = cloud.describe(resident)["PrivateIpAddress"]
    forged = private.rsplit(".", 1)[0] + ".250"
    guest.sh(f"ip addr add {forged}/32 dev eth0")
    try:
        got = guest.sh("timeout 8 ping -c 2 -W 2 -I " + forged + " 169.254.169.254", check=False)
        assert "100% packet loss" in got
    finally:
        guest.sh(f"ip addr del {forged}/32 dev eth0")


def test_a_guest_cannot_reach_its_node(cloud, resident):
    """All at once: a door that lets nobody in is silent until the time is up. The one of the metadata opens."""
    guest = cloud.guest(resident)
    node = cloud.model.host("zone-a-node-1")
    gateway = guest.sh("ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p'")
    doors = [f"{address} {port}" for address in (node.underlay, gateway, "169.254.169.254")
             for port in (8775, 9775, 16509, 22)]
    tries = " ".join(f"(timeout 6 nc -w 5 {door} </dev/null && echo open {door}) &"
                     for door in [*doors, "169.254.169.254 80"])
    assert guest.sh(f"{tries} wait").splitlines() == ["open 169.254.169.254 80"]
