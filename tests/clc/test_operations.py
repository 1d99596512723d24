"""Every operation: its good answers against Amazon's model, its bad requests against Amazon's codes.

What is tried on each is generated from Amazon's model of its input, so that a new action is covered by being there.
"""
import base64
import os
import re
import subprocess
import time

import front
import pytest
from strict import EC2, check_ec2, check_error
from world import OPERATIONS

ACTIONS = list(OPERATIONS)
# Operations that are all declaration: what they always say, and what they say of every id.
with open(os.path.join(front.TOP, "common/base/faults.def"), encoding="utf-8") as _file:
    FAULTS = dict(re.findall(r'FAULT\((\w+), \d+, "([^"]+)"', _file.read()))
ANSWERS = {name: o["answers"] for name, o in OPERATIONS.items() if o["answers"]}
ABSENT = {name: {f["query"]: FAULTS[f["options"]["absent"]] for f in OPERATIONS[name]["in"] if "absent" in f["options"]}
          for name in ANSWERS}

GOOD = {  # the least that each needs; {image} and {instance} are the account's
    "RunInstances": {"ImageId": "{image}", "MinCount": "1", "MaxCount": "1"},
    "StartInstances": {"InstanceId.1": "{instance}"}, "StopInstances": {"InstanceId.1": "{instance}"},
    "RebootInstances": {"InstanceId.1": "{instance}"}, "TerminateInstances": {"InstanceId.1": "{instance}"},
    "GetConsoleOutput": {"InstanceId": "{instance}"}, "GetConsoleScreenshot": {"InstanceId": "{instance}"},
    **{a: {"InstanceId.1": "{instance}"} for a in ("MonitorInstances", "UnmonitorInstances")},
    **{a: {"InstanceId": "{instance}"} for a in ("GetPasswordData", "ModifyInstanceMaintenanceOptions")},
    "ModifyInstanceMetadataOptions": {"InstanceId": "{instance}", "HttpTokens": "required"},
    "ModifyInstanceCreditSpecification": {"InstanceCreditSpecification.1.InstanceId": "{instance}",
                                          "InstanceCreditSpecification.1.CpuCredits": "standard"},
    "ConfirmProductInstance": {"InstanceId": "{instance}", "ProductCode": "774F4FF8"},
    "AssociateIamInstanceProfile": {"InstanceId": "{instance}", "IamInstanceProfile.Name": "none"},
    "DisassociateIamInstanceProfile": {"AssociationId": "iip-assoc-12345678"},
    "ReplaceIamInstanceProfileAssociation": {"AssociationId": "iip-assoc-12345678", "IamInstanceProfile.Name": "none"},
    "ReportInstanceStatus": {"InstanceId.1": "{instance}", "Status": "impaired", "ReasonCode.1": "other"},
    "DescribeInstanceAttribute": {"InstanceId": "{instance}", "Attribute": "groupSet"},
    "ModifyInstanceAttribute": {"InstanceId": "{instance}", "SourceDestCheck.Value": "false"},
    "ResetInstanceAttribute": {"InstanceId": "{instance}", "Attribute": "sourceDestCheck"},
    "RegisterImage": {"Name": "an image", "ImageLocation": "bucket/key"}, "DeregisterImage": {"ImageId": "{image}"},
    "CopyImage": {"Name": "a copy", "SourceImageId": "{image}", "SourceRegion": front.REGION},
    "DescribeImageAttribute": {"ImageId": "{image}", "Attribute": "launchPermission"},
    "ModifyImageAttribute": {"ImageId": "{image}", "Description.Value": "changed"},
    "ResetImageAttribute": {"ImageId": "{image}", "Attribute": "launchPermission"},
    "EnableImageDeprecation": {"ImageId": "{image}", "DeprecateAt": "2030-01-01T00:00:00Z"},
    "DisableImageDeprecation": {"ImageId": "{image}"},
    "ModifyIdFormat": {"Resource": "instance", "UseLongIds": "true"},
    "DescribeIdentityIdFormat": {"PrincipalArn": "arn:aws:iam::{account}:root"},
    "ModifyIdentityIdFormat": {"PrincipalArn": "arn:aws:iam::{account}:root", "Resource": "vpc", "UseLongIds": "true"},
    "CreateTags": {"ResourceId.1": "{instance}", "Tag.1.Key": "k", "Tag.1.Value": "v"},
    "DeleteTags": {"ResourceId.1": "{instance}"},
    "CreatePlacementGroup": {"GroupName": "made"}, "DeletePlacementGroup": {"GroupName": "there"},
    "ModifyInstancePlacement": {"InstanceId": "{instance}", "GroupName": "there"},
    "CreateImage": {"InstanceId": "{instance}", "Name": "of an instance"},
    "BundleInstance": {"InstanceId": "{instance}", "Storage.S3.Bucket": "bundles", "Storage.S3.Prefix": "disk"},
    "CancelBundleTask": {"BundleId": "bun-0123456789abcdef0"},
    "CreateKeyPair": {"KeyName": "made"}, "DeleteKeyPair": {"KeyName": "made"},
    "ImportKeyPair": {"KeyName": "brought", "PublicKeyMaterial": base64.b64encode(
        b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF1kT8tZWy6ZbNGQ0OL1ys1ZdsZBuJZfH2vRpfGUWS3W me").decode()},
    "CreateLaunchTemplate": {"LaunchTemplateName": "made", "LaunchTemplateData.InstanceType": "t2.nano"},
    "CreateLaunchTemplateVersion": {"LaunchTemplateName": "there", "LaunchTemplateData.InstanceType": "t2.nano"},
    "ModifyLaunchTemplate": {"LaunchTemplateName": "there", "SetDefaultVersion": "1"},
    "DeleteLaunchTemplate": {"LaunchTemplateName": "there"},
    "DeleteLaunchTemplateVersions": {"LaunchTemplateName": "there", "LaunchTemplateVersion.1": "1"},
    "DescribeLaunchTemplateVersions": {"LaunchTemplateVersion.1": "$Latest"},
    "GetLaunchTemplateData": {"InstanceId": "{instance}"},
}
REQUIRED = {"RunInstances": ["ImageId", "MinCount", "MaxCount"], "StartInstances": ["InstanceId"],
            "StopInstances": ["InstanceId"], "RebootInstances": ["InstanceId"], "TerminateInstances": ["InstanceId"],
            "GetConsoleOutput": ["InstanceId"], "GetConsoleScreenshot": ["InstanceId"], "RegisterImage": ["Name", "ImageLocation"], "DeregisterImage": ["ImageId"],
            "CopyImage": ["Name", "SourceImageId", "SourceRegion"], "DescribeImageAttribute": ["ImageId", "Attribute"],
            "ModifyImageAttribute": ["ImageId"], "ResetImageAttribute": ["ImageId", "Attribute"],
            "EnableImageDeprecation": ["ImageId", "DeprecateAt"], "DisableImageDeprecation": ["ImageId"],
            "ModifyIdFormat": ["Resource", "UseLongIds"], "DescribeIdentityIdFormat": ["PrincipalArn"],
            "ModifyIdentityIdFormat": ["PrincipalArn", "Resource", "UseLongIds"],
            "CreateTags": ["ResourceId", "Tag"], "DeleteTags": ["ResourceId"],
            "CreatePlacementGroup": ["GroupName"], "DeletePlacementGroup": ["GroupName"],
            "ModifyInstancePlacement": ["InstanceId"],
            "CreateKeyPair": ["KeyName"], "ImportKeyPair": ["KeyName", "PublicKeyMaterial"], "DeleteKeyPair": ["KeyName"],
            "CreateLaunchTemplate": ["LaunchTemplateName"], "DeleteLaunchTemplateVersions": ["LaunchTemplateVersion"],
            "GetLaunchTemplateData": ["InstanceId"],
            "CreateImage": ["InstanceId", "Name"], "BundleInstance": ["InstanceId"], "CancelBundleTask": ["BundleId"],
            "ReportInstanceStatus": ["InstanceId", "Status", "ReasonCode"],
            "MonitorInstances": ["InstanceId"], "UnmonitorInstances": ["InstanceId"], "GetPasswordData": ["InstanceId"],
            "ModifyInstanceMetadataOptions": ["InstanceId"], "ModifyInstanceMaintenanceOptions": ["InstanceId"],
            "ModifyInstanceCreditSpecification": ["InstanceCreditSpecification"],
            "ConfirmProductInstance": ["InstanceId", "ProductCode"],
            "AssociateIamInstanceProfile": ["InstanceId"],
            "DisassociateIamInstanceProfile": ["AssociationId"],
            "ReplaceIamInstanceProfileAssociation": ["AssociationId"],
            "DescribeInstanceAttribute": ["InstanceId", "Attribute"], "ModifyInstanceAttribute": ["InstanceId"],
            "ResetInstanceAttribute": ["InstanceId", "Attribute"]}
# Those that no request can please here.
NEVER_GOOD = {"RegisterImage", "GetConsoleScreenshot", "CancelBundleTask", "AssociateIamInstanceProfile", "DisassociateIamInstanceProfile",
              "ReplaceIamInstanceProfileAssociation"}
# What a request that is wrong in itself may be answered with.
CODES = {"UnknownParameter", "InvalidParameterValue", "MissingParameter", "InvalidParameterCombination",
         "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.NotFound",
         "InvalidKeyPair.NotFound", "InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidSubnetID.NotFound",
         "InvalidVpcID.NotFound", "InvalidNextToken", "UnsupportedOperation", "InvalidUserData.Malformed",
         "InvalidAMIName.Malformed", "InvalidKey.Format", "InvalidInstanceType", "FilterLimitExceeded", "DryRunOperation",
         "InsufficientInstanceCapacity", "InstanceLimitExceeded", "ServiceUnavailable", "InvalidIPAddress.InUse",
         "InvalidInstanceAttributeValue", "InvalidAssociationID.NotFound", "InvalidNetworkInterfaceId.Malformed",
         "InvalidNetworkInterfaceID.NotFound",
         "MalformedQueryString", "IncorrectInstanceState", "InvalidKeyPair.Duplicate", "TagLimitExceeded",
         "InvalidBlockDeviceMapping", "InvalidID", "InvalidResourceType.Unknown", "InvalidTargetArn.Unknown"}
CODES |= {code for codes in ABSENT.values() for code in codes.values()}
CODES |= {FAULTS[fault] for fault in ANSWERS.values() if fault != "empty"}
CODES |= {"InvalidPlacementGroup.Unknown", "InvalidPlacementGroupId.Malformed"}
CODES |= {"InvalidLaunchTemplateName.MalformedException"}
CODES |= {"InvalidBundleID.NotFound", "BundlingInProgress", "InvalidBucketName"}
BAD = {"integer": ["x", "-1", "1.5", "99999999999999999999", "0x10", " 1", "1 "], "boolean": ["maybe", "2", "-"],
       "string": ["\x01", "é" * 5000, "*", "<&>\"'", " ", "a" * 70000], "timestamp": ["yesterday", "x" * 100],
       "blob": ["*", "=", "A" * 100000]}


def good(account, action, instance=None):
    return [("Action", action), ("Version", front.VERSION)] + [
        (k, v.format(image=account.image, instance=instance, account=account.id) if "{" in v else v) for k, v in GOOD.get(action, {}).items()]


def leaves(shape_name, prefix, depth=0):
    """(query name, type) of everything in an input shape, two levels deep."""
    shape = EC2["shapes"][shape_name]
    if shape["type"] == "structure":
        for name, member in shape["members"].items():
            wire = member.get("queryName") or (member.get("locationName", name)[:1].upper() + member.get("locationName", name)[1:])
            if depth < 3:
                yield from leaves(member["shape"], f"{prefix}.{wire}" if prefix else wire, depth + 1)
    elif shape["type"] == "list":
        if depth < 4:
            yield from leaves(shape["member"]["shape"], f"{prefix}.1", depth + 1)
    else:
        kind = {"long": "integer", "double": "string", "float": "string"}.get(shape["type"], shape["type"])
        yield prefix, kind


@pytest.fixture(scope="module")
def tried(clc):
    account = clc.new_account("tried")
    account.image = clc.seed_image(account, "ami-00000000000000abc")
    reply = clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="1", MaxCount="1", InstanceType="t2.nano")
    account.instance = check_ec2(reply, "RunInstances").text("instanceId")
    return account


def test_all_actions_are_amazons():
    assert ACTIONS and set(ACTIONS) <= set(EC2["operations"])


@pytest.mark.parametrize("action", [a for a in ACTIONS if a not in NEVER_GOOD])
def test_good_answers(clc, action):
    """Each once, in a world where it works; the reply holds nothing that Amazon's would not."""
    account = clc.new_account("good-" + action.lower())
    account.image = clc.seed_image(account, f"ami-{len(action):09x}{ACTIONS.index(action):08x}")
    instance = clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="1", MaxCount="1",
                       InstanceType="t2.nano", TagSpecification__1__ResourceType="instance",
                       TagSpecification__1__Tag__1__Key="k", TagSpecification__1__Tag__1__Value="v").text("instanceId")
    clc.ec2(account, "CreateKeyPair", KeyName="there")
    clc.ec2(account, "CreateLaunchTemplate", LaunchTemplateName="there", LaunchTemplateData__InstanceType="t2.nano")
    clc.ec2(account, "CreatePlacementGroup", GroupName="there")
    if action in ("StartInstances", "ModifyInstancePlacement"):
        clc.rows("UPDATE instance SET state = 'stopped', wanted = 'stopped', holds = 1 WHERE instance_id = ?", instance)
    if action in ("BundleInstance", "CreateImage"):
        clc.rows("UPDATE instance SET state = 'running' WHERE instance_id = ?", instance)
    reply = clc.call(account, good(account, action, instance))
    if ANSWERS.get(action, "empty") == "empty":
        check_ec2(reply, action)
    else:
        check_error(reply, 400, FAULTS[ANSWERS[action]])
    clc.ec2(account, "TerminateInstances", InstanceId__1=instance)
    clc.rows("UPDATE instance SET state = 'terminated', holds = 0 WHERE account_id = ?", account.id)


@pytest.mark.parametrize("action", ANSWERS)
def test_answers_empty(clc, tried, action):
    """Nothing is there, by any id, filter or page; ids of what the account has are no error."""
    for parameter, code in ABSENT[action].items():
        many = EC2["shapes"][EC2["operations"][action]["input"]["shape"]]["members"]
        is_list = any(EC2["shapes"][m["shape"]]["type"] == "list" for n, m in many.items()
                      if parameter in (m.get("queryName"), n, m.get("locationName")))
        for bad in ("x", "i-12345678", "ami-12345678", "vol-0123456789abcdef0", tried.id):
            form = [("Action", action), ("Version", front.VERSION), (f"{parameter}.1" if is_list else parameter, bad)]
            check_error(clc.call(tried, form), 400, code, f"The {parameter} '{bad}' does not exist")
    for parameter, own in (("ImageId", tried.image), ("InstanceId", tried.instance)):
        if parameter in ABSENT[action]:
            check_ec2(clc.ec2(tried, action, **{f"{parameter}__1": own}), action)
    if ANSWERS[action] == "empty":
        assert not check_ec2(clc.ec2(tried, action), action).all("item")


@pytest.mark.parametrize("action", ACTIONS)
def test_missing(clc, tried, action):
    whole = good(tried, action, tried.instance)
    for name in REQUIRED.get(action, []):
        # Left out, or empty; the empty id of a list is an id, and malformed.
        for form in ([(k, v) for k, v in whole if k.split(".")[0] != name],
                     [(k.split(".")[0] if k.split(".")[0] == name else k, "" if k.split(".")[0] == name else v) for k, v in whole]):
            reply = clc.call(tried, form)
            check_error(reply, 400, "MissingParameter", f"The request must contain the parameter {name}")


@pytest.mark.parametrize("action", ACTIONS)
def test_unknown(clc, tried, action):
    for name in ("Bogus", "bogus.1", "Bogus.1.Name", "imageid", ".", "Filter.1.Bogus", "DryRun.x", "1"):
        reply = clc.call(tried, good(tried, action, tried.instance) + [(name, "x")])
        check_error(reply, 400, "UnknownParameter", f"The parameter {name} is not recognized")


@pytest.mark.parametrize("action", ACTIONS)
def test_invalid(clc, tried, action):
    """Bad values of every parameter that Amazon knows: refused by name or, where Amazon takes them, answered."""
    for name, kind in leaves(EC2["operations"][action]["input"]["shape"], ""):
        for bad in BAD[kind]:
            form = [(k, v) for k, v in good(tried, action, tried.instance) if k.split(".")[0] != name.split(".")[0]]
            # DryRun comes last and keeps what is accepted from being done.
            last = [("DryRun", "true")] if name != "DryRun" and has_dry_run(action) else []
            reply = clc.call(tried, form + [(name, bad)] + last)
            assert reply.status < 500, (name, bad[:50], reply)
            assert reply.status != 200 or not last, (name, bad[:50], reply)
            if reply.status == 200:
                continue
            check_error(reply, 412 if reply.code == "DryRunOperation" else reply.status, reply.code)
            assert reply.code in CODES, (name, bad[:50], reply)
            if (action, name, bad) == ("ModifyInstanceMetadataDefaults", "HttpPutResponseHopLimit", "-1"):
                assert reply.code == "DryRunOperation"  # no preference
            # What is refused is refused whatever it says.
            elif kind in ("integer", "boolean") and reply.code not in ("UnknownParameter", "UnsupportedOperation"):
                assert reply.code == "InvalidParameterValue", (name, bad, reply)


def has_dry_run(action):
    return "DryRun" in EC2["shapes"][EC2["operations"][action]["input"]["shape"]]["members"]


@pytest.mark.parametrize("action", ACTIONS)
def test_dry_run(clc, tried, action):
    before = clc.rows("SELECT COUNT(*) FROM instance"), clc.rows("SELECT COUNT(*) FROM key_pair")
    reply = clc.call(tried, good(tried, action, tried.instance) + [("DryRun", "true")])
    if not has_dry_run(action):
        check_error(reply, 400, "UnknownParameter", "The parameter DryRun is not recognized")
        return
    check_error(reply, 412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
    assert before == (clc.rows("SELECT COUNT(*) FROM instance"), clc.rows("SELECT COUNT(*) FROM key_pair"))


@pytest.mark.parametrize("action", [a for a in ACTIONS if a.startswith("Describe")])
def test_filters_and_pages(clc, tried, action):
    check_filters(clc, tried, action)
    check_pages(clc, tried, action)


def check_filters(clc, tried, action):
    def ask(**words):
        return clc.call(tried, good(tried, action) + [(k.replace("__", "."), v) for k, v in words.items()])

    operation = OPERATIONS[action]
    field = next((f["query"] for f in operation["in"] if f["name"] == "filters"), None)
    members = EC2["shapes"][EC2["operations"][action]["input"]["shape"]]["members"]
    assert bool(field) == bool({"Filter", "Filters"} & set(members))
    if not field:
        check_error(ask(Filter__1__Name="x"), 400, "UnknownParameter")
        return
    check_error(ask(**{f"{field}__1__Name": "no-such", f"{field}__1__Value__1": "x"}), 400,
                "InvalidParameterValue", "The filter 'no-such' is invalid")
    check_error(ask(**{f"{field}__1__Value__1": "x"}), 400, "MissingParameter")
    for known in list(operation["filters"]) + ["tag-key", "tag:x"] * operation["has_tags"]:
        few = {f"{field}__1__Name": known, f"{field}__1__Value__1": "no such value"}
        assert not check_ec2(ask(**few), action).all("item"), known
    if operation["filters"]:
        known = next(iter(operation["filters"]))
        many = {f"{field}__1__Name": known, **{f"{field}__1__Value__{i}": "x" for i in range(200)}}
        assert not check_ec2(ask(**many), action).all("item")
        check_error(ask(**many, **{f"{field}__1__Value__200": "x"}), 400, "FilterLimitExceeded")


def check_pages(clc, tried, action):
    members = EC2["shapes"][EC2["operations"][action]["input"]["shape"]]["members"]
    if "NextToken" in members:
        for token in ("x", "cGFnZTo=", "cGFnZTotMQ==", "cGFnZTo5OTk5OTk5OTk5OTk5OTk5OTk5OTk=", "*" * 5000):
            check_error(clc.ec2(tried, action, NextToken=token), 400, "InvalidNextToken")
    if "MaxResults" in members:
        low = EC2["shapes"][members["MaxResults"]["shape"]].get("min", 1)
        for size in ([] if low == 0 else ["0"]) + ["-5", "1001", "x"]:
            check_error(clc.ec2(tried, action, MaxResults=size), 400, "InvalidParameterValue")


# -- exact answers --

def test_instance_ids(clc, tried):
    for action in ("DescribeInstances", "StartInstances", "StopInstances", "RebootInstances", "TerminateInstances"):
        for bad in ("i-", "i-123", "x", "i-0123456789abcdef01", "I-12345678", "i-1234567g", "ami-12345678"):
            check_error(clc.ec2(tried, action, InstanceId__1=bad), 400, "InvalidInstanceID.Malformed", f'Invalid id: "{bad}"')
        for absent in ("i-12345678", "i-00000000000000000"):
            check_error(clc.ec2(tried, action, InstanceId__1=absent), 400, "InvalidInstanceID.NotFound",
                        f"The instance ID '{absent}' does not exist")
    check_error(clc.ec2(tried, "GetConsoleOutput", InstanceId="i-12345678"), 400, "InvalidInstanceID.NotFound")
    # One unknown fails all, and nothing is done.
    check_error(clc.ec2(tried, "TerminateInstances", InstanceId__1=tried.instance, InstanceId__2="i-12345678"), 400,
                "InvalidInstanceID.NotFound")
    assert clc.ec2(tried, "DescribeInstances", InstanceId__1=tried.instance).find("instanceState").find(
        "{*}name").text == "pending"
    check_error(clc.ec2(tried, "DescribeInstances", InstanceId__1=tried.instance, MaxResults="5"), 400,
                "InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")


def test_pages_count_instances(clc, account):
    for _ in range(4):
        check_ec2(clc.ec2(account, "RunInstances", ImageId=account.image, MinCount="3", MaxCount="3",
                          InstanceType="t2.nano"), "RunInstances")
    whole = check_ec2(clc.ec2(account, "DescribeInstances"), "DescribeInstances").all("instanceId")
    assert len(set(whole)) == 12
    paged, token, pages = [], None, 0
    while True:
        reply = check_ec2(clc.ec2(account, "DescribeInstances", MaxResults="5", NextToken=token), "DescribeInstances")
        assert len(reply.all("instanceId")) <= 5
        paged += reply.all("instanceId")
        token, pages = reply.text("nextToken"), pages + 1
        if token is None:
            break
    assert (paged, pages) == (whole, 3)
    reply = clc.ec2(account, "DescribeInstances")
    assert [i for i in reply.all("amiLaunchIndex")] == ["0", "1", "2"] * 4
    assert len(reply.all("reservationId")) == 4


def run(clc, account, **words):
    return clc.ec2(account, "RunInstances", **{"ImageId": account.image, "MinCount": "1", "MaxCount": "1",
                                               "InstanceType": "t2.nano", **words})


def test_run_rules(clc, account):
    for words, code, message in (
            ({"MinCount": "0"}, "InvalidParameterValue", "MinCount"),
            ({"MinCount": "2"}, "InvalidParameterValue", "maxCount"),
            ({"MaxCount": "1001"}, "InvalidParameterValue", "MaxCount"),
            ({"ImageId": "ami-1"}, "InvalidAMIID.Malformed", 'Invalid id: "ami-1" (expecting "ami-...")'),
            ({"ImageId": "ami-12345678"}, "InvalidAMIID.NotFound", "The image id '[ami-12345678]' does not exist"),
            ({"ImageId": clc.kernel}, "InvalidAMIID.Malformed", None),
            ({"ImageId": clc.image}, "InvalidAMIID.NotFound", None),
            ({"InstanceType": "t9.huge"}, "InvalidParameterValue", "Invalid value 't9.huge' for InstanceType."),
            ({"KeyName": "none"}, "InvalidKeyPair.NotFound", "The key pair 'none' does not exist"),
            ({"SecurityGroup.1": "none"}, "InvalidGroup.NotFound", "none"),
            ({"SecurityGroupId.1": "sg-12345678"}, "InvalidGroup.NotFound", "sg-12345678"),
            ({"SecurityGroupId.1": "x"}, "InvalidGroupId.Malformed", None),
            ({"SubnetId": "subnet-12345678"}, "InvalidSubnetID.NotFound", "subnet-12345678"),
            ({"Placement.AvailabilityZone": "zone-x"}, "InvalidParameterValue", "Invalid availability zone: [zone-x]"),
            ({"Placement.Tenancy": "dedicated"}, "UnsupportedOperation", None),
            ({"UserData": "***"}, "InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."),
            ({"UserData": base64.b64encode(b"x" * 16385).decode()}, "InvalidParameterValue", "User data is limited to 16384 bytes"),
            ({"ClientToken": "x" * 65}, "InvalidParameterValue", None),
            ({"ClientToken": "\u00e9"}, "InvalidParameterValue", None),
            ({"InstanceInitiatedShutdownBehavior": "sleep"}, "InvalidParameterValue", None),
            ({"PrivateIpAddress": "10.0.0.1"}, "InvalidParameterValue", None),
            ({"PrivateIpAddress": "x"}, "InvalidParameterValue", None),
            ({"RamdiskId": "ari-12345678"}, "InvalidParameterCombination", None),
            ({"KernelId": "aki-12345678"}, "InvalidAMIID.NotFound", None),
            ({"TagSpecification.1.ResourceType": "instance", "TagSpecification.1.Tag.1.Key": "aws:x"},
             "InvalidParameterValue", "reserved"),
            ({"TagSpecification.1.ResourceType": "vpc", "TagSpecification.1.Tag.1.Key": "x"}, "InvalidParameterValue",
             "'vpc' is not a valid taggable resource type for this operation."),
            ({"SubnetId": "subnet-1", "NetworkInterface.1.SubnetId": "subnet-2", "NetworkInterface.1.DeviceIndex": "0"},
             "InvalidParameterCombination", None)):
        reply = clc.call(account, [("Action", "RunInstances"), ("Version", front.VERSION)] + list(
            {"ImageId": account.image, "MinCount": "1", "MaxCount": "1", "InstanceType": "t2.nano", **words}.items()))
        check_error(reply, 400, code, message)
    assert clc.rows("SELECT COUNT(*) FROM instance WHERE account_id = ?", account.id) == [(0,)]
    assert clc.rows("SELECT COUNT(*) FROM network_interface WHERE account_id = ?", account.id) == [(0,)]


def test_run_answer(clc, account):
    clc.ec2(account, "CreateKeyPair", KeyName="mine")
    group = clc.ec2(account, "DescribeSecurityGroups").text("groupId")
    subnet = clc.ec2(account, "DescribeSubnets", Filter__1__Name="availability-zone",
                     Filter__1__Value__1="zone-a").text("subnetId")
    reply = check_ec2(run(clc, account, KeyName="mine", SecurityGroupId__1=group, SubnetId=subnet, MinCount="2",
                          MaxCount="2", UserData=base64.b64encode(b"x" * 16384).decode(), ClientToken="token",
                          TagSpecification__1__ResourceType="instance", TagSpecification__1__Tag__1__Key="Name",
                          TagSpecification__1__Tag__1__Value="one"), "RunInstances")
    assert reply.all("amiLaunchIndex") == ["0", "1"] and reply.text("keyName") == "mine"
    assert reply.text("ownerId") == account.id and reply.text("subnetId") == subnet
    assert reply.find("stateReason").find("{*}code").text == "pending"
    assert [e.find("{*}code").text for e in reply.xml.iter() if e.tag.endswith("}instanceState")] == ["0", "0"]
    shown = check_ec2(clc.ec2(account, "DescribeInstances"), "DescribeInstances")
    assert sorted(shown.all("instanceId")) == sorted(reply.all("instanceId"))
    assert shown.text("clientToken") == "token" and "one" in shown.all("value")
    # The group by its name.
    assert check_ec2(run(clc, account, SecurityGroup__1="default"), "RunInstances").text("groupId") == group


def test_client_token(clc, account):
    first = check_ec2(run(clc, account, ClientToken="t"), "RunInstances")
    again = check_ec2(run(clc, account, ClientToken="t"), "RunInstances")
    assert again.all("instanceId") == first.all("instanceId")
    assert again.text("reservationId") == first.text("reservationId")
    check_error(run(clc, account, ClientToken="t", MaxCount="2"), 400, "IdempotentParameterMismatch")
    other = clc.new_account("token-other")
    other.image = clc.seed_image(other, "ami-0000000000000ffff")
    assert check_ec2(run(clc, other, ClientToken="t"), "RunInstances").all("instanceId") != first.all("instanceId")


def test_quota_comes_before_capacity(clc, account):
    clc.rows("INSERT INTO quota VALUES (?, 'instances', 2)", account.id)
    check_error(run(clc, account, MinCount="1000", MaxCount="1000"), 400, "InstanceLimitExceeded")
    reply = check_ec2(run(clc, account, MaxCount="10"), "RunInstances")
    assert len(reply.all("instanceId")) == 2
    check_error(run(clc, account), 400, "InstanceLimitExceeded", "Your quota allows for 0 more running instance(s)")


def test_too_large_for_the_zone(clc, account):
    reply = run(clc, account, MinCount="100", MaxCount="100", Placement__AvailabilityZone="zone-b")
    check_error(reply, 500, "InsufficientInstanceCapacity", "We currently do not have sufficient t2.nano capacity in the "
                                                            "Availability Zone you requested (zone-b)")


def test_protection(clc, account):
    kept = run(clc, account, DisableApiTermination="true").text("instanceId")
    plain = run(clc, account).text("instanceId")
    check_error(clc.ec2(account, "TerminateInstances", InstanceId__1=plain, InstanceId__2=kept), 400,
                "OperationNotPermitted", f"The instance '{kept}' may not be terminated. Modify its "
                                         "'disableApiTermination' instance attribute and try again.")
    assert [e.text for e in clc.ec2(account, "DescribeInstances").xml.iter() if e.tag.endswith("}name")] == ["pending"] * 2


def test_life_of_the_answers(clc, account):
    i = run(clc, account).text("instanceId")

    def states(reply):
        return [(e.find("{*}previousState/{*}name").text, e.find("{*}currentState/{*}name").text)
                for e in reply.xml.iter() if e.tag.endswith("}item")]
    stopped = check_ec2(clc.ec2(account, "StopInstances", InstanceId__1=i, InstanceId__2=i), "StopInstances")
    assert states(stopped) == [("pending", "stopping")]
    check_error(clc.ec2(account, "StartInstances", InstanceId__1=i), 400, "IncorrectInstanceState",
                f"The instance '{i}' is not in a state from which it can be started.")
    check_error(clc.ec2(account, "RebootInstances", InstanceId__1=i), 400, "IncorrectInstanceState")
    shown = clc.ec2(account, "DescribeInstances")
    assert re.match(r"User initiated \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GMT\)$", shown.text("reason"))
    assert shown.find("stateReason").find("{*}code").text == "Client.UserInitiatedShutdown"
    assert states(check_ec2(clc.ec2(account, "TerminateInstances", InstanceId__1=i), "TerminateInstances")) == [
        ("stopping", "shutting-down")]
    assert states(clc.ec2(account, "TerminateInstances", InstanceId__1=i)) == [("shutting-down", "shutting-down")]


def test_key_pairs(clc, account, tmp_path):
    for kind in ("rsa", "ed25519"):
        made = check_ec2(clc.ec2(account, "CreateKeyPair", KeyName=kind, KeyType=kind), "CreateKeyPair")
        path = tmp_path / kind
        path.write_text(made.text("keyMaterial"))
        path.chmod(0o600)
        public = subprocess.run(["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True).stdout
        shown = check_ec2(clc.ec2(account, "DescribeKeyPairs", KeyName__1=kind, IncludePublicKey="true"), "DescribeKeyPairs")
        assert shown.text("keyFingerprint") == made.text("keyFingerprint")
        stored = clc.rows("SELECT public_key FROM key_pair WHERE account_id = ? AND name = ?", account.id, kind)[0][0]
        assert stored.split()[:2] == public.split()[:2]
        assert "PRIVATE" not in str(clc.rows("SELECT * FROM key_pair WHERE account_id = ?", account.id))
        assert "PRIVATE" not in str(clc.rows("SELECT * FROM audit WHERE account_id = ?", account.id))
    check_error(clc.ec2(account, "CreateKeyPair", KeyName="rsa"), 400, "InvalidKeyPair.Duplicate", "The keypair 'rsa' already exists.")
    check_error(clc.ec2(account, "DescribeKeyPairs", KeyName__1="none"), 400, "InvalidKeyPair.NotFound", "The key pair 'none' does not exist")
    check_ec2(clc.ec2(account, "DeleteKeyPair", KeyName="none"), "DeleteKeyPair")
    check_ec2(clc.ec2(account, "DeleteKeyPair", KeyName="rsa"), "DeleteKeyPair")
    assert check_ec2(clc.ec2(account, "DescribeKeyPairs"), "DescribeKeyPairs").all("keyName") == ["ed25519"]
    check_error(clc.ec2(account, "ImportKeyPair", KeyName="bad", PublicKeyMaterial=base64.b64encode(b"ssh-rsa AAAA").decode()),
                400, "InvalidKey.Format", "Key is not in valid OpenSSH public key format")


def test_register_needs_walrus(clc, account):
    reply = clc.ec2(account, "RegisterImage", Name="image", ImageLocation="bucket/key")
    check_error(reply, 503, "ServiceUnavailable", "no walrus has joined this cloud")
    for words, code in (({"Name": "x"}, "InvalidAMIName.Malformed"), ({"Name": "x" * 129}, "InvalidAMIName.Malformed"),
                        ({"Name": "bad*name"}, "InvalidAMIName.Malformed"), ({"ImageLocation": "nothing"}, "InvalidParameterValue"),
                        ({"ImageLocation": "b/"}, "InvalidParameterValue"), ({"Architecture": "arm64"}, "InvalidParameterValue")):
        check_error(clc.ec2(account, "RegisterImage", **{"Name": "image", "ImageLocation": "bucket/key", **words}), 400, code)


def test_image_of_another(clc, account):
    public = clc.seed_image(clc.admin, "ami-0000000000000pub1".replace("pub", "abc"), name="public one", public=1)
    assert public in check_ec2(clc.ec2(account, "DescribeImages"), "DescribeImages").all("imageId")
    before = clc.rows("SELECT COUNT(*) FROM audit WHERE account_id = ?", account.id)[0][0]
    check_error(clc.ec2(account, "DeregisterImage", ImageId=public), 400, "AuthFailure",
                f"Not authorized for image:{public}")
    # Who was refused what is on record.
    assert clc.rows("SELECT COUNT(*) FROM audit WHERE account_id = ?", account.id)[0][0] == before + 1
    check_ec2(clc.ec2(clc.admin, "DeregisterImage", ImageId=public), "DeregisterImage")
    check_error(clc.ec2(clc.admin, "DeregisterImage", ImageId=public), 400, "InvalidAMIID.Unavailable",
                f"The image ID '{public}' is no longer available")


def test_answers_while_the_clock_of_the_test_runs(clc, tried):
    begin = time.monotonic()
    for _ in range(50):
        clc.ec2(tried, "DescribeRegions")
    assert time.monotonic() - begin < 10
