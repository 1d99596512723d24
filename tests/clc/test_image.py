"""Images as rows: who sees, launches and changes which; their attributes. No walrus: nothing is registered here."""
import datetime

import pytest
from front import REGION
from strict import check_ec2, check_error

NOT_FOUND = "InvalidAMIID.NotFound"


def ids(reply):
    return set(reply.all("imageId"))


def images(clc, account, **words):
    return ids(check_ec2(clc.ec2(account, "DescribeImages", **words), "DescribeImages"))


def modify(clc, account, image, **words):
    return check_ec2(clc.ec2(account, "ModifyImageAttribute", ImageId=image, **words), "ModifyImageAttribute")


def permissions(clc, account):
    reply = check_ec2(clc.ec2(account, "DescribeImageAttribute", ImageId=account.image, Attribute="launchPermission"),
                      "DescribeImageAttribute")
    assert reply.text("imageId") == account.image
    return {e.text for e in reply.find("launchPermission").iter() if e.text and e.text.strip()}


def attribute(clc, account, name, image=None):
    reply = check_ec2(clc.ec2(account, "DescribeImageAttribute", ImageId=image or account.image, Attribute=name),
                      "DescribeImageAttribute")
    return reply.find(name)


def launch(clc, account, image, **words):
    return clc.ec2(account, "RunInstances", ImageId=image, MinCount="1", MaxCount="1", InstanceType="t2.nano", **words)


@pytest.fixture
def friend(clc):
    if not hasattr(clc, "friend"):
        clc.friend = clc.new_account("friend-of-images")
    return clc.friend


# -- launch permissions --

FORMS = {
    "nested": (lambda who: {"LaunchPermission__Add__1__UserId": who}, lambda who: {"LaunchPermission__Remove__1__UserId": who}),
    "flat": (lambda who: {"Attribute": "launchPermission", "OperationType": "add", "UserId__1": who},
             lambda who: {"Attribute": "launchPermission", "OperationType": "remove", "UserId__1": who}),
    "flat without attribute": (lambda who: {"OperationType": "add", "UserId__1": who},
                               lambda who: {"OperationType": "remove", "UserId__1": who}),
}


@pytest.mark.parametrize("form", FORMS)
def test_permission_of_an_account(clc, account, friend, form):
    add, remove = FORMS[form]
    assert account.image not in images(clc, friend)
    check_error(launch(clc, friend, account.image), 400, NOT_FOUND)
    assert modify(clc, account, account.image, **add(friend.id)).text("return") == "true"
    modify(clc, account, account.image, **add(friend.id))  # again is fine
    assert permissions(clc, account) == {friend.id}
    assert account.image in images(clc, friend)
    assert account.image in images(clc, friend, ExecutableBy__1="self")
    assert account.image in images(clc, friend, ImageId__1="emi" + account.image[3:])
    assert account.image in images(clc, account, ExecutableBy__1=friend.id)
    assert account.image not in images(clc, account, ExecutableBy__1="all")
    assert account.image not in images(clc, clc.other)
    started = check_ec2(launch(clc, friend, account.image), "RunInstances").text("instanceId")
    check_ec2(clc.ec2(friend, "TerminateInstances", InstanceId__1=started), "TerminateInstances")
    modify(clc, account, account.image, **remove(friend.id))
    assert permissions(clc, account) == set()
    assert account.image not in images(clc, friend)
    check_error(launch(clc, friend, account.image), 400, NOT_FOUND)


@pytest.mark.parametrize("add,remove", [
    ({"LaunchPermission__Add__1__Group": "all"}, {"LaunchPermission__Remove__1__Group": "all"}),
    ({"OperationType": "add", "UserGroup__1": "all"}, {"OperationType": "remove", "UserGroup__1": "all"})])
def test_permission_of_everybody(clc, account, friend, add, remove):
    modify(clc, account, account.image, **add)
    assert permissions(clc, account) == {"all"}
    shown = check_ec2(clc.ec2(friend, "DescribeImages", ImageId__1=account.image), "DescribeImages")
    assert shown.text("isPublic") == "true" and shown.text("imageOwnerId") == account.id
    assert account.image in images(clc, friend, ExecutableBy__1="all")
    assert account.image not in images(clc, friend, ExecutableBy__1="self")
    assert account.image in images(clc, friend, Owner__1=account.id)
    assert account.image not in images(clc, friend, Owner__1="self")
    modify(clc, account, account.image, **remove)
    assert permissions(clc, account) == set() and account.image not in images(clc, friend)


def test_both_and_reset(clc, account, friend):
    modify(clc, account, account.image, LaunchPermission__Add__1__Group="all", LaunchPermission__Add__2__UserId=friend.id,
           LaunchPermission__Add__3__UserId=clc.other.id)
    assert permissions(clc, account) == {"all", friend.id, clc.other.id}
    check_ec2(clc.ec2(account, "ResetImageAttribute", ImageId=account.image, Attribute="launchPermission"),
              "ResetImageAttribute")
    assert permissions(clc, account) == set()
    check_error(clc.ec2(account, "ResetImageAttribute", ImageId=account.image, Attribute="description"), 400,
                "InvalidParameterValue")


@pytest.mark.parametrize("words,code", [
    ({}, "InvalidParameterCombination"),
    ({"LaunchPermission__Add__1__UserId": "bob"}, "InvalidAMIAttributeItemValue"),
    ({"LaunchPermission__Add__1__UserId": "999999999999"}, "InvalidAMIAttributeItemValue"),  # nobody
    ({"LaunchPermission__Add__1__Group": "some"}, "InvalidAMIAttributeItemValue"),
    ({"LaunchPermission__Add__1__Group": "all", "LaunchPermission__Add__1__UserId": "999999999999"},
     "InvalidParameterCombination"),
    ({"UserId__1": "123456789012"}, "MissingParameter"),
    ({"OperationType": "add", "UserGroup__1": "some"}, "InvalidAMIAttributeItemValue"),
    ({"OperationType": "put", "UserGroup__1": "all"}, "InvalidParameterValue"),
    ({"Attribute": "launchPermission"}, "InvalidParameterCombination"),
    ({"Attribute": "kernel", "Value": "aki-00000000000000001"}, "InvalidParameterValue"),
    ({"Attribute": "description"}, "MissingParameter"),
    ({"Description__Value": "x", "LaunchPermission__Add__1__Group": "all"}, "InvalidParameterCombination"),
    ({"Description__Value": "x" * 256}, "InvalidParameterValue"),
    ({"ProductCode__1": "abc"}, "UnsupportedOperation"),
    ({"ImdsSupport__Value": "v1.0"}, "InvalidParameterValue"),
    ({"OrganizationArn__1": "arn"}, "UnsupportedOperation")])
def test_wrong_modifications(clc, account, words, code):
    check_error(clc.ec2(account, "ModifyImageAttribute", ImageId=account.image, **words), 400, code)
    assert permissions(clc, account) == set()


def test_a_refused_one_changes_nothing(clc, account, friend):
    check_error(clc.ec2(account, "ModifyImageAttribute", ImageId=account.image, LaunchPermission__Add__1__UserId=friend.id,
                        LaunchPermission__Add__2__UserId="999999999999"), 400, "InvalidAMIAttributeItemValue")
    assert permissions(clc, account) == set()


def test_only_its_owner_changes_an_image(clc, account, friend):
    calls = [("ModifyImageAttribute", {"Description.Value": "mine"}), ("ResetImageAttribute", {"Attribute": "launchPermission"}),
             ("DescribeImageAttribute", {"Attribute": "description"}), ("DisableImageDeprecation", {}),
             ("EnableImageDeprecation", {"DeprecateAt": "2030-01-01T00:00:00Z"}), ("DeregisterImage", {})]
    for action, words in calls:
        check_error(clc.ec2(friend, action, ImageId=account.image, **words), 400, NOT_FOUND)
        check_error(clc.ec2(friend, action, ImageId="ami-00000000000fffff0", **words), 400, NOT_FOUND)
        check_error(clc.ec2(friend, action, ImageId="i-00000000000fffff0", **words), 400, "InvalidAMIID.Malformed")
    modify(clc, account, account.image, LaunchPermission__Add__1__UserId=friend.id)
    for action, words in calls:
        check_error(clc.ec2(friend, action, ImageId=account.image, **words), 400, "AuthFailure",
                    f"Not authorized for image:{account.image}")
    refused = clc.rows("SELECT action FROM audit WHERE account_id = ? AND error_code = 'AuthFailure'", friend.id)
    assert {a for a, in refused} >= {a for a, _ in calls}


# -- other attributes --

def test_description(clc, account):
    assert attribute(clc, account, "description").find("{*}value") is None
    modify(clc, account, account.image, Description__Value="by struct")
    assert attribute(clc, account, "description").findtext("{*}value") == "by struct"
    modify(clc, account, account.image, Attribute="description", Value="by name")
    shown = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=account.image), "DescribeImages")
    assert shown.text("description") == "by name"
    assert images(clc, account, Filter__1__Name="description", Filter__1__Value__1="by*") == {account.image}


def test_attributes(clc, account):
    for call, words in (("DescribeImages", {"ImageId__1": account.image}),
                        ("DescribeImageAttribute", {"ImageId": account.image, "Attribute": "blockDeviceMapping"})):
        assert not list(check_ec2(clc.ec2(account, call, **words), call).find("blockDeviceMapping")), "there is no device"
    clc.rows("UPDATE image SET boot_mode = 'uefi', tpm_support = 'v2.0', sriov_net_support = 'simple', has_ena_support = 1,"
             " kernel_id = 'aki-00000000000000001', block_devices = '/dev/vdb=ephemeral0 /dev/vdc=' WHERE image_id = ?",
             account.image)
    modify(clc, account, "emi" + account.image[3:], ImdsSupport__Value="v2.0")
    for name, value in (("bootMode", "uefi"), ("tpmSupport", "v2.0"), ("sriovNetSupport", "simple"), ("imdsSupport", "v2.0"),
                        ("kernel", "aki-00000000000000001"), ("ramdisk", None), ("uefiData", None), ("lastLaunchedTime", None)):
        assert attribute(clc, account, name).findtext("{*}value") == value, name
    assert attribute(clc, account, "productCodes") is not None
    devices = [{e.tag.split("}")[-1]: e.text for e in item} for item in attribute(clc, account, "blockDeviceMapping")]
    assert devices == [{"deviceName": "/dev/vdb", "virtualName": "ephemeral0"}, {"deviceName": "/dev/vdc", "noDevice": None}]
    shown = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=account.image), "DescribeImages")
    for name, value in (("bootMode", "uefi"), ("tpmSupport", "v2.0"), ("sriovNetSupport", "simple"), ("enaSupport", "true"),
                        ("imdsSupport", "v2.0"), ("virtualName", "ephemeral0"), ("imageState", "available")):
        assert shown.text(name) == value
    for name, value in (("ena-support", "true"), ("sriov-net-support", "simple"), ("block-device-mapping.device-name", "/dev/vdc"),
                        ("is-public", "false"), ("state", "available"), ("owner-id", account.id), ("kernel-id", "aki-*"),
                        ("image-type", "machine"), ("root-device-type", "instance-store")):
        assert images(clc, account, Owner__1="self", Filter__1__Name=name, Filter__1__Value__1=value) == {account.image}, name
        assert not images(clc, account, Owner__1="self", Filter__1__Name=name, Filter__1__Value__1="x"), name
    for name in ("platform", "product-code", "owner-alias", "block-device-mapping.snapshot-id"):
        assert not images(clc, account, Owner__1="self", Filter__1__Name=name, Filter__1__Value__1="*"), name
    check_error(clc.ec2(account, "DescribeImageAttribute", ImageId=account.image, Attribute="bogus"), 400,
                "InvalidParameterValue")


def test_last_launched(clc, account):
    clc.rows("UPDATE image SET kernel_id = NULL WHERE image_id = ?", account.image)
    started = check_ec2(launch(clc, account, account.image), "RunInstances")
    text = attribute(clc, account, "lastLaunchedTime").findtext("{*}value")
    assert text == started.text("launchTime")
    clc.ec2(account, "TerminateInstances", InstanceId__1=started.text("instanceId"))


def test_deprecation(clc, account, friend):
    modify(clc, account, account.image, LaunchPermission__Add__1__UserId=friend.id)
    now = datetime.datetime.now(datetime.timezone.utc)
    soon = (now + datetime.timedelta(days=2)).replace(microsecond=0)

    def enable(at):
        return clc.ec2(account, "EnableImageDeprecation", ImageId=account.image, DeprecateAt=at.strftime("%Y-%m-%dT%H:%M:%SZ"))

    check_error(enable(now - datetime.timedelta(days=1)), 400, "InvalidParameterValue")
    check_error(enable(now + datetime.timedelta(days=4000)), 400, "InvalidParameterValue")
    assert check_ec2(enable(soon), "EnableImageDeprecation").text("return") == "true"
    rounded = (soon + datetime.timedelta(seconds=30)).replace(second=0)
    shown = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=account.image), "DescribeImages")
    assert shown.text("deprecationTime") == rounded.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert account.image in images(clc, friend)
    clc.rows("UPDATE image SET deprecation_us = 1000000 WHERE image_id = ?", account.image)
    assert account.image not in images(clc, friend)
    assert account.image in images(clc, friend, IncludeDeprecated="true")
    assert account.image in images(clc, friend, ImageId__1=account.image)
    assert account.image in images(clc, account)
    check_ec2(launch(clc, friend, account.image), "RunInstances")
    check_ec2(clc.ec2(account, "DisableImageDeprecation", ImageId=account.image), "DisableImageDeprecation")
    assert account.image in images(clc, friend)


# -- states --

@pytest.mark.parametrize("state", ["pending", "failed"])
def test_not_available(clc, account, state):
    clc.rows("UPDATE image SET state = ?, reason_code = 'Client.InvalidImage', reason_message = 'Why' WHERE image_id = ?",
             state, account.image)
    shown = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=account.image), "DescribeImages")
    assert shown.text("imageState") == state
    assert (shown.text("code"), shown.text("message")) == ("Client.InvalidImage", "Why")
    assert images(clc, account, Filter__1__Name="state-reason-code", Filter__1__Value__1="Client.*") == {account.image}
    check_error(launch(clc, account, account.image), 400, "InvalidAMIID.Unavailable")
    check_error(clc.ec2(account, "CopyImage", Name="a copy", SourceImageId=account.image, SourceRegion=REGION), 400,
                "InvalidAMIID.Unavailable")
    modify(clc, account, account.image, Description__Value="still mine")
    check_ec2(clc.ec2(account, "DeregisterImage", ImageId=account.image), "DeregisterImage")
    check_error(launch(clc, account, account.image), 400, "InvalidAMIID.Unavailable")
    assert account.image not in images(clc, account)


def test_copy_is_pending_until_walrus_has_it(clc, account):
    """There is no walrus: the copy waits, survives, and can be given up."""
    words = {"Name": "a copy", "SourceImageId": account.image, "SourceRegion": REGION, "ClientToken": "t"}
    copy = check_ec2(clc.ec2(account, "CopyImage", **words), "CopyImage").text("imageId")
    assert check_ec2(clc.ec2(account, "CopyImage", **words), "CopyImage").text("imageId") == copy != account.image
    check_error(clc.ec2(account, "CopyImage", **{**words, "Description": "x"}), 400, "IdempotentParameterMismatch")
    check_error(clc.ec2(account, "CopyImage", **{**words, "ClientToken": "é"}), 400, "InvalidParameterValue")
    shown = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=copy), "DescribeImages")
    assert shown.text("imageState") == "pending"
    check_error(clc.ec2(account, "CopyImage", Name="x" * 129, SourceImageId=account.image, SourceRegion=REGION), 400,
                "InvalidAMIName.Malformed")
    check_error(clc.ec2(account, "CopyImage", Name="other", SourceImageId="ami-00000000000fffff0", SourceRegion=REGION),
                400, NOT_FOUND)
    check_error(clc.ec2(account, "CopyImage", Name="other", SourceImageId=account.image, SourceRegion="elsewhere"), 400,
                "InvalidParameterValue")
    check_error(clc.ec2(account, "CopyImage", Name="other", SourceImageId=account.image, SourceRegion=REGION,
                        Encrypted="true"), 400, "UnsupportedOperation")
    check_ec2(clc.ec2(account, "DeregisterImage", ImageId=copy), "DeregisterImage")
    assert not clc.rows("SELECT 1 FROM image_source WHERE image_id = ?", copy)
    clc.rows("UPDATE image SET is_stored = 0 WHERE image_id = ?", copy)


def test_copy_with_tags(clc, account):
    check_ec2(clc.ec2(account, "CreateTags", ResourceId__1=account.image, Tag__1__Key="k", Tag__1__Value="v"), "CreateTags")
    for asked, tags in (("true", ["v"]), ("false", [])):
        copy = check_ec2(clc.ec2(account, "CopyImage", Name=f"tags {asked}", SourceImageId=account.image, SourceRegion=REGION,
                                 CopyImageTags=asked), "CopyImage").text("imageId")
        shown = check_ec2(clc.ec2(account, "DescribeImages", ImageId__1=copy), "DescribeImages")
        assert shown.all("value") == tags
        check_ec2(clc.ec2(account, "DeregisterImage", ImageId=copy), "DeregisterImage")
    clc.rows("UPDATE image SET is_stored = 0 WHERE account_id = ?", account.id)


def test_quota(clc, account):
    clc.mallee_admin("quota", "set", account.id, "images", "2")
    words = {"SourceImageId": account.image, "SourceRegion": REGION}
    copy = check_ec2(clc.ec2(account, "CopyImage", Name="the second", **words), "CopyImage").text("imageId")
    check_error(clc.ec2(account, "CopyImage", Name="the third", **words), 400, "ResourceLimitExceeded")
    check_ec2(clc.ec2(account, "DeregisterImage", ImageId=copy), "DeregisterImage")
    copy = check_ec2(clc.ec2(account, "CopyImage", Name="the third", **words), "CopyImage").text("imageId")
    check_ec2(clc.ec2(account, "DeregisterImage", ImageId=copy), "DeregisterImage")
    clc.rows("UPDATE image SET is_stored = 0 WHERE account_id = ?", account.id)


def test_shared_with_its_kernel(clc, account, friend):
    """Who may launch an image may launch it as it was registered; the kernel by itself is not given away."""
    kernel = clc.seed_image(account, "aki" + account.image[3:], "kernel")
    clc.rows("UPDATE image SET kernel_id = ? WHERE image_id = ?", kernel, account.image)
    check_error(launch(clc, friend, account.image), 400, "InvalidAMIID.NotFound")
    check_ec2(clc.ec2(account, "ModifyImageAttribute", ImageId=account.image, LaunchPermission__Add__1__UserId=friend.id),
              "ModifyImageAttribute")
    started = check_ec2(launch(clc, friend, account.image), "RunInstances")
    assert started.text("kernelId") == kernel
    clc.ec2(friend, "TerminateInstances", InstanceId__1=started.text("instanceId"))
    check_error(launch(clc, friend, account.image, KernelId=kernel), 400, "InvalidAMIID.NotFound")
    check_ec2(clc.ec2(account, "DeregisterImage", ImageId=kernel), "DeregisterImage")
    check_error(launch(clc, friend, account.image), 400, "InvalidAMIID.Unavailable")


def test_names_of_eucalyptus(clc, account):
    """emi-, eki- and eri- wherever an id is taken; shown are Amazon's."""
    kernel, ramdisk = (clc.seed_image(account, prefix + account.image[3:], kind) for prefix, kind in
                       (("aki", "kernel"), ("ari", "ramdisk")))
    started = check_ec2(launch(clc, account, "emi" + account.image[3:], KernelId="eki" + kernel[3:],
                               RamdiskId="eri" + ramdisk[3:]), "RunInstances")
    assert (started.text("imageId"), started.text("kernelId"), started.text("ramdiskId")) == (account.image, kernel, ramdisk)
    clc.ec2(account, "TerminateInstances", InstanceId__1=started.text("instanceId"))
    assert images(clc, account, ImageId__1="eki" + kernel[3:], ImageId__2="eri" + ramdisk[3:]) == {kernel, ramdisk}
    for one in (kernel, ramdisk):
        check_ec2(clc.ec2(account, "DeregisterImage", ImageId="e" + one[1:]), "DeregisterImage")


def test_asked_for_wrongly(clc, account):
    for words, code in (({"Owner__1": "bob"}, "InvalidUserID.Malformed"), ({"ExecutableBy__1": "bob"}, "InvalidUserID.Malformed"),
                        ({"ImageId__1": "i-1"}, "InvalidAMIID.Malformed")):
        check_error(clc.ec2(account, "DescribeImages", **words), 400, code)
    assert not images(clc, account, Owner__1="amazon") and not images(clc, account, Owner__1="aws-marketplace")


def test_registration_refused_at_once(clc, account):
    """What needs no walrus to be known."""
    for words, code in (
            ({"BlockDeviceMapping.1.DeviceName": "/dev/sdb", "BlockDeviceMapping.1.Ebs.SnapshotId": "snap-1"}, "UnsupportedOperation"),
            ({"BlockDeviceMapping.1.DeviceName": "/dev/sdb"}, "InvalidBlockDeviceMapping"),
            ({"BlockDeviceMapping.1.DeviceName": "/dev/sdb", "BlockDeviceMapping.1.VirtualName": "swap"}, "InvalidBlockDeviceMapping"),
            ({"BlockDeviceMapping.1.DeviceName": "/dev/s b", "BlockDeviceMapping.1.VirtualName": "ephemeral0"}, "InvalidBlockDeviceMapping"),
            ({"BlockDeviceMapping.1.DeviceName": "a", "BlockDeviceMapping.1.VirtualName": "ephemeral0",
              "BlockDeviceMapping.2.DeviceName": "a", "BlockDeviceMapping.2.NoDevice": "true"}, "InvalidBlockDeviceMapping"),
            ({"BlockDeviceMapping.1.VirtualName": "ephemeral0"}, "MissingParameter"),
            ({"BillingProduct.1": "bp-1"}, "UnsupportedOperation"), ({"UefiData": "AAAA"}, "UnsupportedOperation"),
            ({"BootMode": "bios"}, "InvalidParameterValue"), ({"TpmSupport": "v1.2"}, "InvalidParameterValue"),
            ({"TpmSupport": "v2.0"}, "InvalidParameterCombination"), ({"ImdsSupport": "v1.0"}, "InvalidParameterValue"),
            ({"SriovNetSupport": "complex"}, "InvalidParameterValue"),
            ({"VirtualizationType": "paravirtual", "EnaSupport": "true"}, "InvalidParameterCombination"),
            ({"ImageLocation": None}, "MissingParameter")):
        form = {"Name": "an image", "ImageLocation": "bucket/key", **words}
        check_error(clc.ec2(account, "RegisterImage", **form), 400, code)
