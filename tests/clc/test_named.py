"""Key pairs, VPCs, subnets and groups: what is named must be there, each filter looks at what it says, keys in each format."""
import base64
import hashlib
import hmac
import struct
import subprocess

import pytest
from strict import check_ec2, check_error


def filters(*pairs):
    words = {}
    for n, (name, value) in enumerate(pairs, 1):
        words[f"Filter__{n}__Name"], words[f"Filter__{n}__Value__1"] = name, value
    return words


NAMED = {"DescribeVpcs": ("VpcId", "vpcId", "vpc-12345678", "InvalidVpcID.NotFound", "The vpc ID 'vpc-12345678' does not exist"),
         "DescribeSubnets": ("SubnetId", "subnetId", "subnet-12345678", "InvalidSubnetID.NotFound",
                             "The subnet ID 'subnet-12345678' does not exist"),
         "DescribeSecurityGroups": ("GroupId", "groupId", "sg-12345678", "InvalidGroup.NotFound",
                                    "The security group 'sg-12345678' does not exist"),
         "DescribeKeyPairs": ("KeyPairId", "keyPairId", "key-12345678", "InvalidKeyPair.NotFound",
                              "The key pair ID 'key-12345678' does not exist")}


@pytest.mark.parametrize("action", NAMED)
def test_named(clc, account, action):
    parameter, element, absent, code, message = NAMED[action]
    clc.ec2(account, "CreateKeyPair", KeyName="one", KeyType="ed25519")
    clc.ec2(account, "CreateKeyPair", KeyName="two", KeyType="ed25519")
    whole = clc.ec2(account, action).all(element)
    first = whole[0]
    one = {f"{parameter}__1": first, f"{parameter}__2": first}
    assert check_ec2(clc.ec2(account, action, **one), action).all(element) == [i for i in whole if i == first]
    # A filter may leave nothing of what is named, but does not bring into being what is not there.
    none = filters(("tag:x", "y"))
    assert not check_ec2(clc.ec2(account, action, **one, **none), action).all(element)
    for more in ({}, none):
        check_error(clc.ec2(account, action, **{**one, f"{parameter}__2": absent}, **more), 400, code, message)
    other = clc.new_account(f"named-{action.lower()}")
    check_error(clc.ec2(other, action, **{f"{parameter}__1": first}), 400, code)


def test_groups_by_name(clc, account):
    group = clc.ec2(account, "DescribeSecurityGroups", GroupName__1="default").text("groupId")
    assert clc.ec2(account, "DescribeSecurityGroups", GroupName__1="default", GroupId__1=group).all("groupName") == ["default"]
    check_error(clc.ec2(account, "DescribeSecurityGroups", GroupName__1="x"), 400, "InvalidGroup.NotFound",
                "The security group 'x' does not exist")
    check_error(clc.ec2(account, "DescribeSecurityGroups", GroupId__1="x"), 400, "InvalidGroupId.Malformed",
                'Invalid id: "x" (expecting "sg-...")')
    check_error(clc.ec2(account, "DescribeSecurityGroups", GroupId__1=group, MaxResults="5"), 400, "InvalidParameterCombination")


def test_group_filters(clc, account):
    group = check_ec2(clc.ec2(account, "DescribeSecurityGroups"), "DescribeSecurityGroups").text("groupId")
    for name, hit, miss in (("description", "default*", "x"), ("group-id", group, "sg-12345678"), ("group-name", "default", "x"),
                            ("ip-permission.group-id", group, "sg-12345678"), ("ip-permission.group-name", "default", "x"),
                            ("ip-permission.user-id", account.id, "000000000000"), ("ip-permission.protocol", "-1", "tcp"),
                            ("egress.ip-permission.cidr", "0.0.0.0/0", "10.0.0.0/8"), ("egress.ip-permission.protocol", "-1", "tcp"),
                            ("owner-id", account.id, "x"), ("vpc-id", "vpc-*", "x")):
        assert clc.ec2(account, "DescribeSecurityGroups", **filters((name, hit))).text("groupId") == group, name
        assert not clc.ec2(account, "DescribeSecurityGroups", **filters((name, miss))).all("groupDescription"), name
    for name in ("ip-permission.ipv6-cidr", "ip-permission.prefix-list-id", "ip-permission.cidr", "egress.ip-permission.group-id",
                 "egress.ip-permission.group-name", "egress.ip-permission.user-id", "egress.ip-permission.ipv6-cidr",
                 "egress.ip-permission.prefix-list-id", "egress.ip-permission.to-port", "ip-permission.from-port"):
        assert not check_ec2(clc.ec2(account, "DescribeSecurityGroups", **filters((name, "*"))), "DescribeSecurityGroups").all("vpcId"), name


def test_subnet_filters(clc, account):
    whole = check_ec2(clc.ec2(account, "DescribeSubnets"), "DescribeSubnets").all("subnetId")
    assert len(whole) == 2
    for name, value, count in (("map-customer-owned-ip-on-launch", "false", 2), ("enable-dns64", "false", 2), ("ipv6-native", "true", 0),
                               ("private-dns-name-options-on-launch.hostname-type", "ip-name", 2), ("outpost-arn", "*", 0),
                               ("private-dns-name-options-on-launch.enable-resource-name-dns-a-record", "false", 2),
                               ("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", "true", 0),
                               ("available-ip-address-count", "4091", 2), ("availability-zone", "zone-a", 1), ("cidr", "172.31.*", 2),
                               ("default-for-az", "true", 2), ("map-public-ip-on-launch", "false", 0), ("state", "available", 2),
                               ("enable-lni-at-device-index", "*", 0), ("customer-owned-ipv4-pool", "*", 0),
                               ("ipv6-cidr-block-association.state", "*", 0)):
        assert len(clc.ec2(account, "DescribeSubnets", **filters((name, value))).all("subnetId")) == count, name
    for name in ("association-id", "ipv6-cidr-block", "ipv6-pool", "state"):
        assert not clc.ec2(account, "DescribeVpcs", **filters((f"ipv6-cidr-block-association.{name}", "*"))).all("vpcId")


# -- PuTTY's key files --

def strings(blob):
    found = []
    while blob:
        n = struct.unpack(">I", blob[:4])[0]
        found.append(blob[4:4 + n])
        blob = blob[4 + n:]
    return found


def read_ppk(text):
    """By PuTTY's manual, appendix C: header, blobs, and the code that binds them."""
    lines = text.split("\r\n")
    assert lines[-1] == ""
    values, at = {}, 0
    while at < len(lines) - 1:
        name, value = lines[at].split(": ", 1)
        at += 1
        if name.endswith("-Lines"):
            value = base64.b64decode("".join(lines[at:at + int(value)]), validate=True)
            assert all(len(line) == 64 for line in lines[at:at + int(lines[at - 1].split()[1]) - 1])
            at += int(lines[at - 1].split()[1])
        values[name] = value
    bound = b"".join(struct.pack(">I", len(s)) + s for s in (
        values["PuTTY-User-Key-File-2"].encode(), values["Encryption"].encode(), values["Comment"].encode(),
        values["Public-Lines"], values["Private-Lines"]))
    key = hashlib.sha1(b"putty-private-key-file-mac-key").digest()
    assert values["Private-MAC"] == hmac.new(key, bound, hashlib.sha1).hexdigest()
    return values


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_ppk(clc, account, kind, tmp_path):
    reply = check_ec2(clc.ec2(account, "CreateKeyPair", KeyName="for putty", KeyType=kind, KeyFormat="ppk"), "CreateKeyPair")
    values = read_ppk(reply.text("keyMaterial"))
    assert (values["PuTTY-User-Key-File-2"], values["Encryption"], values["Comment"]) == (f"ssh-{kind}", "none", "for putty")
    shown = clc.ec2(account, "DescribeKeyPairs", IncludePublicKey="true")
    assert base64.b64decode(shown.text("publicKey").split()[1]) == values["Public-Lines"]
    assert shown.text("keyFingerprint") == reply.text("keyFingerprint")
    public, private = strings(values["Public-Lines"]), strings(values["Private-Lines"])
    if kind == "rsa":
        e, n = (int.from_bytes(b, "big") for b in public[1:])
        d, p, q, inverse = (int.from_bytes(b, "big") for b in private)
        assert p * q == n and (e * d - 1) % (p - 1) == 0 == (e * d - 1) % (q - 1) and q * inverse % p == 1
    else:
        # The same key as a PKCS #8 file: openssl makes the public half from the private one.
        seed = private[0].ljust(32, b"\0")
        path = tmp_path / "key.der"
        path.write_bytes(bytes.fromhex("302e020100300506032b657004220420") + seed)
        der = subprocess.run(["openssl", "pkey", "-inform", "DER", "-in", path, "-pubout", "-outform", "DER"], capture_output=True,
                             check=True).stdout
        assert der[-32:] == public[1]
    check_error(clc.ec2(account, "CreateKeyPair", KeyName="x", KeyFormat="der"), 400, "InvalidParameterValue")


def test_public_key_only_when_asked(clc, account):
    clc.ec2(account, "CreateKeyPair", KeyName="k", KeyType="ed25519")
    assert clc.ec2(account, "DescribeKeyPairs").text("publicKey") is None
    assert clc.ec2(account, "DescribeKeyPairs", IncludePublicKey="true").text("publicKey").startswith("ssh-ed25519 ")
    assert check_ec2(clc.ec2(account, "DeleteKeyPair", KeyPairId="key-12345678"), "DeleteKeyPair").text("return") == "true"
    check_error(clc.ec2(account, "DeleteKeyPair"), 400, "MissingParameter")
