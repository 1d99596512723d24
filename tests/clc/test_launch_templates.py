"""Launch templates: their versions, what is told of them, and what is launched with them."""
import base64
import json
import os
import subprocess

import front
import pytest
from strict import EC2, check_ec2, check_error

AWS = "/usr/bin/aws"


def create(clc, account, name="web", **words):
    return clc.ec2(account, "CreateLaunchTemplate", **{
        "LaunchTemplateName": name, "LaunchTemplateData__InstanceType": "t2.nano", **words})


def new_version(clc, account, name="web", **words):
    return clc.ec2(account, "CreateLaunchTemplateVersion", LaunchTemplateName=name, **words)


def versions(clc, account, **words):
    return check_ec2(clc.ec2(account, "DescribeLaunchTemplateVersions", **words), "DescribeLaunchTemplateVersions")


def run(clc, account, **words):
    return clc.ec2(account, "RunInstances", **{"MinCount": "1", "MaxCount": "1", **words})


def tags_of(reply):
    return {e.find("{*}key").text: e.find("{*}value").text
            for t in reply.xml.iter() if t.tag.endswith("}tagSet") for e in t}


def test_create(clc, account):
    reply = check_ec2(create(clc, account, VersionDescription="first", TagSpecification__1__ResourceType="launch-template",
                             TagSpecification__1__Tag__1__Key="team", TagSpecification__1__Tag__1__Value="a"),
                      "CreateLaunchTemplate")
    template = reply.text("launchTemplateId")
    assert template.startswith("lt-") and len(template) == 20
    assert (reply.text("launchTemplateName"), reply.text("defaultVersionNumber"), reply.text("latestVersionNumber")) == (
        "web", "1", "1")
    assert reply.text("createdBy") == f"arn:aws:iam::{account.id}:user/admin"
    assert tags_of(reply) == {"team": "a"} and reply.find("warning") is None
    shown = versions(clc, account, LaunchTemplateId=template)
    assert (shown.text("versionDescription"), shown.text("defaultVersion"), shown.text("instanceType")) == (
        "first", "true", "t2.nano")
    check_error(create(clc, account), 400, "InvalidLaunchTemplateName.AlreadyExistsException",
                "Launch template name already in use.")
    # A name is the account's own.
    check_ec2(create(clc, clc.other), "CreateLaunchTemplate")
    check_error(clc.ec2(clc.other, "DescribeLaunchTemplates", LaunchTemplateId__1=template), 400,
                "InvalidLaunchTemplateId.NotFound")
    check_ec2(clc.ec2(clc.other, "DeleteLaunchTemplate", LaunchTemplateName="web"), "DeleteLaunchTemplate")
    assert clc.rows("SELECT COUNT(*) FROM audit WHERE resource = ?", template) == [(1,)]


def test_names(clc, account):
    for name in ("ab", "a" * 129, "with space", "with*star", "com,ma", "ü-ber"):
        check_error(create(clc, account, name), 400, "InvalidLaunchTemplateName.MalformedException")
    for name in ("abc", "a" * 128, "A-z(0.9)/_"):
        check_ec2(create(clc, account, name), "CreateLaunchTemplate")


def test_what_is_wrong_in_itself(clc, account):
    check_error(clc.ec2(account, "CreateLaunchTemplate", LaunchTemplateName="web"), 400, "MissingParameter",
                "The request must contain the parameter LaunchTemplateData")
    for words, code in (({"LaunchTemplateData__UserData": "***"}, "InvalidUserData.Malformed"),
                        ({"VersionDescription": "x" * 256}, "InvalidParameterValue"),
                        ({"ClientToken": "x" * 129}, "InvalidParameterValue"),
                        ({"LaunchTemplateData__Placement__Tenancy": "alone"}, "InvalidParameterValue"),
                        ({"LaunchTemplateData__TagSpecification__1__ResourceType": "i-"}, "InvalidParameterValue"),
                        ({"LaunchTemplateData__TagSpecification__1__ResourceType": "launch-template"}, "InvalidParameterValue"),
                        ({"LaunchTemplateData__InstanceRequirements__VCpuCount__Min": "1",
                          "LaunchTemplateData__InstanceRequirements__MemoryMiB__Min": "1",
                          "LaunchTemplateData__InstanceRequirements__CpuManufacturer__1": "acme"}, "InvalidParameterValue"),
                        ({"LaunchTemplateData__Bogus": "1"}, "UnknownParameter"),
                        ({"TagSpecification__1__ResourceType": "instance", "TagSpecification__1__Tag__1__Key": "k"},
                         "InvalidParameterValue")):
        check_error(create(clc, account, **words), 400, code)
    assert clc.rows("SELECT COUNT(*) FROM launch_template WHERE account_id = ?", account.id) == [(0,)]


def test_references(clc, account):
    check_ec2(create(clc, account), "CreateLaunchTemplate")
    for action, more in (("CreateLaunchTemplateVersion", {"LaunchTemplateData__InstanceType": "t2.nano"}),
                         ("ModifyLaunchTemplate", {"SetDefaultVersion": "1"}), ("DeleteLaunchTemplate", {}),
                         ("DeleteLaunchTemplateVersions", {"LaunchTemplateVersion__1": "7"}),
                         ("DescribeLaunchTemplateVersions", {})):
        check_error(clc.ec2(account, action, **more), 400, "MissingParameter")
        check_error(clc.ec2(account, action, LaunchTemplateId="lt-12345678", LaunchTemplateName="web", **more), 400,
                    "InvalidParameterCombination")
        for bad in ("web", "lt-", "lt-1234", "i-12345678"):
            check_error(clc.ec2(account, action, LaunchTemplateId=bad, **more), 400, "InvalidLaunchTemplateId.Malformed")
        check_error(clc.ec2(account, action, LaunchTemplateId="lt-12345678", **more), 400,
                    "InvalidLaunchTemplateId.NotFound",
                    "The specified launch template, with template ID lt-12345678, does not exist.")
        check_error(clc.ec2(account, action, LaunchTemplateName="none", **more), 400,
                    "InvalidLaunchTemplateName.NotFoundException",
                    "The specified launch template, with template name none, does not exist.")


def test_versions_and_sources(clc, account):
    check_ec2(create(clc, account, LaunchTemplateData__KeyName="k", LaunchTemplateData__Placement__AvailabilityZone="zone-a",
                     LaunchTemplateData__BlockDeviceMapping__1__DeviceName="/dev/sdb",
                     LaunchTemplateData__BlockDeviceMapping__1__Ebs__SnapshotId="snap-12345678",
                     LaunchTemplateData__BlockDeviceMapping__1__Ebs__VolumeSize="8"), "CreateLaunchTemplate")
    plain = check_ec2(new_version(clc, account, LaunchTemplateData__ImageId="ami-12345678"), "CreateLaunchTemplateVersion")
    assert (plain.text("versionNumber"), plain.text("defaultVersion"), plain.text("instanceType")) == ("2", "false", None)
    based = check_ec2(new_version(clc, account, SourceVersion="1", VersionDescription="third",
                                  LaunchTemplateData__InstanceType="t2.micro",
                                  LaunchTemplateData__Placement__GroupName="g"), "CreateLaunchTemplateVersion")
    assert [based.text(n) for n in ("versionNumber", "instanceType", "keyName", "availabilityZone", "groupName")] == [
        "3", "t2.micro", "k", "zone-a", "g"]
    assert based.text("snapshotId") is None and based.text("volumeSize") == "8"
    latest = check_ec2(new_version(clc, account, SourceVersion="$Latest", LaunchTemplateData__KeyName="l"),
                       "CreateLaunchTemplateVersion")
    assert (latest.text("versionNumber"), latest.text("instanceType"), latest.text("keyName")) == ("4", "t2.micro", "l")
    default = check_ec2(new_version(clc, account, SourceVersion="$Default", LaunchTemplateData__KeyName="m"),
                        "CreateLaunchTemplateVersion")
    assert default.text("instanceType") == "t2.nano" and default.text("snapshotId") is None
    check_error(new_version(clc, account, SourceVersion="9", LaunchTemplateData__KeyName="m"), 400,
                "InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version 9")
    for bad in ("x", "0", "-1", "$latest", "1.5"):
        check_error(new_version(clc, account, SourceVersion=bad, LaunchTemplateData__KeyName="m"), 400,
                    "InvalidParameterValue")
    check_error(new_version(clc, account, ResolveAlias="true", LaunchTemplateData__ImageId="resolve:ssm:/x"), 400,
                "UnsupportedOperation")
    assert versions(clc, account, LaunchTemplateName="web").all("versionNumber") == ["5", "4", "3", "2", "1"]
    # The first is as it was: versions never change.
    assert versions(clc, account, LaunchTemplateName="web", LaunchTemplateVersion__1="1").text("snapshotId") == "snap-12345678"


def test_client_tokens(clc, account):
    for name in ("token-one", "token-two"):
        check_ec2(create(clc, account, name, ClientToken=""), "CreateLaunchTemplate")  # an empty one is none
    one = check_ec2(create(clc, account, ClientToken="t"), "CreateLaunchTemplate")
    again = check_ec2(create(clc, account, ClientToken="t"), "CreateLaunchTemplate")
    assert again.text("launchTemplateId") == one.text("launchTemplateId")
    check_error(create(clc, account, "other", ClientToken="t"), 400, "IdempotentParameterMismatch")
    words = {"LaunchTemplateData__KeyName": "k", "ClientToken": "v", "SourceVersion": "1"}
    made = check_ec2(new_version(clc, account, **words), "CreateLaunchTemplateVersion")
    again = check_ec2(new_version(clc, account, **words), "CreateLaunchTemplateVersion")
    assert (made.text("versionNumber"), again.text("versionNumber"), again.text("instanceType")) == ("2", "2", "t2.nano")
    check_error(new_version(clc, account, **{**words, "LaunchTemplateData__KeyName": "l"}), 400,
                "IdempotentParameterMismatch")
    check_error(new_version(clc, account, ClientToken="é", LaunchTemplateData__KeyName="k"), 400, "InvalidParameterValue")
    assert clc.ec2(account, "DescribeLaunchTemplates", LaunchTemplateName__1="web").text("latestVersionNumber") == "2"
    check_ec2(create(clc, clc.other, "token-web", ClientToken="t"), "CreateLaunchTemplate")


def test_default_and_deletion(clc, account):
    template = create(clc, account).text("launchTemplateId")
    for n in range(2, 5):
        new_version(clc, account, LaunchTemplateData__KeyName=f"k{n}")
    reply = check_ec2(clc.ec2(account, "ModifyLaunchTemplate", LaunchTemplateId=template, SetDefaultVersion="3",
                              ClientToken="t"), "ModifyLaunchTemplate")
    assert (reply.text("defaultVersionNumber"), reply.text("latestVersionNumber")) == ("3", "4")
    check_error(clc.ec2(account, "ModifyLaunchTemplate", LaunchTemplateId=template, SetDefaultVersion="666"), 400,
                "InvalidLaunchTemplateId.VersionNotFound")
    check_error(clc.ec2(account, "ModifyLaunchTemplate", LaunchTemplateId=template), 400, "MissingParameter",
                "SetDefaultVersion")
    shown = versions(clc, account, LaunchTemplateId=template, LaunchTemplateVersion__1="$Default")
    assert shown.all("versionNumber") == ["3"] and shown.all("defaultVersion") == ["true"]
    reply = check_ec2(clc.ec2(account, "DeleteLaunchTemplateVersions", LaunchTemplateId=template,
                              LaunchTemplateVersion__1="4", LaunchTemplateVersion__2="3", LaunchTemplateVersion__3="9",
                              LaunchTemplateVersion__4="1"), "DeleteLaunchTemplateVersions")
    done = [i.find("{*}versionNumber").text for i in reply.find("successfullyDeletedLaunchTemplateVersionSet")]
    failed = [(i.find("{*}versionNumber").text, i.find("{*}responseError/{*}code").text)
              for i in reply.find("unsuccessfullyDeletedLaunchTemplateVersionSet")]
    assert done == ["4", "1"]
    assert failed == [("3", "unexpectedError"), ("9", "launchTemplateVersionDoesNotExist")]
    for bad in ("$Latest", "x", "0"):
        check_error(clc.ec2(account, "DeleteLaunchTemplateVersions", LaunchTemplateId=template,
                            LaunchTemplateVersion__1=bad), 400, "InvalidParameterValue")
    # The latest is now 3; the number 4 is not given again.
    assert clc.ec2(account, "DescribeLaunchTemplates").text("latestVersionNumber") == "3"
    assert new_version(clc, account, LaunchTemplateData__KeyName="k").text("versionNumber") == "5"
    reply = check_ec2(clc.ec2(account, "DeleteLaunchTemplate", LaunchTemplateName="web"), "DeleteLaunchTemplate")
    assert (reply.text("launchTemplateId"), reply.text("latestVersionNumber")) == (template, "5")
    check_error(clc.ec2(account, "DeleteLaunchTemplate", LaunchTemplateId=template), 400, "InvalidLaunchTemplateId.NotFound")
    assert clc.rows("SELECT COUNT(*) FROM launch_template_version WHERE template_id = ?", template) == [(0,)]
    assert create(clc, account).text("launchTemplateId") != template


def test_limits(clc, account):
    clc.rows("INSERT INTO quota VALUES (?, 'launch-templates', 2), (?, 'launch-template-versions', 3)", account.id, account.id)
    for name in ("one", "two"):
        check_ec2(create(clc, account, name), "CreateLaunchTemplate")
    check_error(create(clc, account, "three"), 400, "MaxTemplateLimitExceeded")
    for _ in range(2):
        check_ec2(new_version(clc, account, "one", LaunchTemplateData__KeyName="k"), "CreateLaunchTemplateVersion")
    check_error(new_version(clc, account, "one", LaunchTemplateData__KeyName="k"), 400, "MaxTemplateVersionLimitExceeded")
    clc.ec2(account, "DeleteLaunchTemplateVersions", LaunchTemplateName="one", LaunchTemplateVersion__1="2")
    assert new_version(clc, account, "one", LaunchTemplateData__KeyName="k").text("versionNumber") == "4"


def test_describe_templates(clc, account):
    ids = [create(clc, account, f"t-{i}", TagSpecification__1__ResourceType="launch-template",
                  TagSpecification__1__Tag__1__Key="n", TagSpecification__1__Tag__1__Value=str(i)).text("launchTemplateId")
           for i in range(5)]

    def shown(**words):
        return check_ec2(clc.ec2(account, "DescribeLaunchTemplates", **words), "DescribeLaunchTemplates")
    assert shown().all("launchTemplateId") == ids
    assert shown(LaunchTemplateId__1=ids[3], LaunchTemplateId__2=ids[1], LaunchTemplateId__3=ids[3]).all(
        "launchTemplateId") == [ids[3], ids[1]]
    assert shown(LaunchTemplateName__1="t-2").all("launchTemplateId") == [ids[2]]
    assert shown(Filter__1__Name="launch-template-name", Filter__1__Value__1="t-[0", Filter__1__Value__2="*-4").all(
        "launchTemplateId") == [ids[4]]
    assert shown(Filter__1__Name="tag:n", Filter__1__Value__1="3").all("launchTemplateId") == [ids[3]]
    time = shown(LaunchTemplateId__1=ids[0]).text("createTime")
    assert ids[0] in shown(Filter__1__Name="create-time", Filter__1__Value__1=time).all("launchTemplateId")
    paged, token = [], None
    while True:
        reply = shown(MaxResults="2", NextToken=token)
        paged += reply.all("launchTemplateId")
        token = reply.text("nextToken")
        if token is None:
            break
    assert paged == ids
    for size in ("0", "201"):
        check_error(clc.ec2(account, "DescribeLaunchTemplates", MaxResults=size), 400, "InvalidParameterValue")
    check_error(clc.ec2(account, "DescribeLaunchTemplates", LaunchTemplateId__1=ids[0], LaunchTemplateId__2="lt-12345678"),
                400, "InvalidLaunchTemplateId.NotFound")
    check_error(clc.ec2(account, "DescribeLaunchTemplates", LaunchTemplateName__1="none"), 400,
                "InvalidLaunchTemplateName.NotFoundException")
    check_error(clc.ec2(account, "DescribeLaunchTemplates", LaunchTemplateId__1="x"), 400, "InvalidLaunchTemplateId.Malformed")


def test_describe_versions(clc, account):
    create(clc, account)
    for n in range(2, 8):
        new_version(clc, account, LaunchTemplateData__ImageId=f"ami-{n:08x}",
                    LaunchTemplateData__MetadataOptions__HttpTokens="required" if n % 2 else "optional")
    create(clc, account, "app")
    clc.ec2(account, "ModifyLaunchTemplate", LaunchTemplateName="web", SetDefaultVersion="2")

    def numbers(**words):
        return versions(clc, account, **words).all("versionNumber")
    web = {"LaunchTemplateName": "web"}
    assert numbers(**web) == ["7", "6", "5", "4", "3", "2", "1"]
    assert numbers(**web, LaunchTemplateVersion__1="3", LaunchTemplateVersion__2="$Latest",
                   LaunchTemplateVersion__3="$Default", LaunchTemplateVersion__4="7") == ["3", "7", "2"]
    assert numbers(**web, MinVersion="3", MaxVersion="5") == ["5", "4", "3"]
    assert numbers(**web, MinVersion="6") == ["7", "6"]
    assert numbers(**web, Filter__1__Name="is-default-version", Filter__1__Value__1="true") == ["2"]
    assert numbers(**web, Filter__1__Name="http-tokens", Filter__1__Value__1="required") == ["7", "5", "3"]
    assert numbers(**web, Filter__1__Name="image-id", Filter__1__Value__1="ami-00000004") == ["4"]
    assert numbers(**web, Filter__1__Name="instance-type", Filter__1__Value__1="t2.*") == ["1"]
    paged, token, pages = [], None, 0
    while True:
        reply = versions(clc, account, **web, MaxResults="3", NextToken=token)
        paged += reply.all("versionNumber")
        token, pages = reply.text("nextToken"), pages + 1
        if token is None:
            break
    assert (paged, pages) == (["7", "6", "5", "4", "3", "2", "1"], 3)
    # Over all templates.
    reply = versions(clc, account, LaunchTemplateVersion__1="$Latest", LaunchTemplateVersion__2="$Default")
    assert list(zip(reply.all("launchTemplateName"), reply.all("versionNumber"))) == [("web", "7"), ("web", "2"), ("app", "1")]
    assert numbers(LaunchTemplateVersion__1="$Default") == ["2", "1"]
    check_error(clc.ec2(account, "DescribeLaunchTemplateVersions", LaunchTemplateVersion__1="1"), 400, "InvalidParameterValue")
    check_error(clc.ec2(account, "DescribeLaunchTemplateVersions", LaunchTemplateVersion__1="$Latest", MinVersion="1"), 400,
                "InvalidParameterCombination")
    check_error(clc.ec2(account, "DescribeLaunchTemplateVersions", **web, LaunchTemplateVersion__1="8"), 400,
                "InvalidLaunchTemplateId.VersionNotFound")
    for bad in ("x", "0"):
        check_error(clc.ec2(account, "DescribeLaunchTemplateVersions", **web, MinVersion=bad), 400, "InvalidParameterValue")
        check_error(clc.ec2(account, "DescribeLaunchTemplateVersions", **web, MaxVersion=bad), 400, "InvalidParameterValue")
    for size in ("0", "201"):
        check_error(clc.ec2(account, "DescribeLaunchTemplateVersions", **web, MaxResults=size), 400, "InvalidParameterValue")


def example(shape_name, depth=0):
    """Something for every parameter that Amazon's model has, and the same as the answer is to show it."""
    shape = EC2["shapes"][shape_name]
    kind = shape["type"]
    if kind == "structure":
        return {n: example(m["shape"], depth + 1) for n, m in shape["members"].items()}
    if kind == "list":
        return [example(shape["member"]["shape"], depth + 1)]
    if "enum" in shape:
        return "instance" if shape_name == "ResourceType" else shape["enum"][0]
    return {"boolean": True, "integer": 1, "double": 1.5, "timestamp": "2030-01-01T00:00:00+00:00"}.get(kind, "dGV4dA==")


def aws(clc, account, *words):
    done = subprocess.run([AWS, "--endpoint-url", f"http://127.0.0.1:{clc.port}", "--region", front.REGION, "--output", "json",
                           "ec2", *words], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "AWS_ACCESS_KEY_ID": account.key, "AWS_SECRET_ACCESS_KEY": account.secret})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def test_every_parameter_comes_back(clc, account):
    """All that Amazon's model knows is kept and shown, with Amazon's own client; what can't be launched is warned of."""
    data = example("RequestLaunchTemplateData")
    reply = aws(clc, account, "create-launch-template", "--launch-template-name", "whole", "--launch-template-data",
                json.dumps(data))
    assert reply["Warning"]["Errors"][0]["Code"] == "UnsupportedOperation"
    shown = aws(clc, account, "describe-launch-template-versions", "--launch-template-name", "whole")
    assert shown["LaunchTemplateVersions"][0]["LaunchTemplateData"] == data
    check_ec2(clc.ec2(account, "DescribeLaunchTemplateVersions", LaunchTemplateName="whole"), "DescribeLaunchTemplateVersions")
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateName="whole", ImageId=account.image), 400,
                "UnsupportedOperation", reply["LaunchTemplate"]["LaunchTemplateId"])


# -- launching --

def test_launch(clc, account):
    clc.ec2(account, "CreateKeyPair", KeyName="mine")
    made = create(clc, account, LaunchTemplateData__ImageId=account.image, LaunchTemplateData__KeyName="mine",
                  LaunchTemplateData__Placement__AvailabilityZone="zone-a", LaunchTemplateData__Monitoring__Enabled="true",
                  LaunchTemplateData__DisableApiTermination="true",
                  LaunchTemplateData__InstanceInitiatedShutdownBehavior="terminate",
                  LaunchTemplateData__UserData=base64.b64encode(b"from the template").decode(),
                  LaunchTemplateData__TagSpecification__1__ResourceType="instance",
                  LaunchTemplateData__TagSpecification__1__Tag__1__Key="a",
                  LaunchTemplateData__TagSpecification__1__Tag__1__Value="template",
                  LaunchTemplateData__TagSpecification__1__Tag__2__Key="b",
                  LaunchTemplateData__TagSpecification__1__Tag__2__Value="template")
    template = made.text("launchTemplateId")
    reply = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateId=template), "RunInstances")
    assert [reply.text(n) for n in ("imageId", "instanceType", "keyName", "availabilityZone")] == [
        account.image, "t2.nano", "mine", "zone-a"]
    assert reply.find("monitoring").find("{*}state").text == "enabled"
    system = {"aws:ec2launchtemplate:id": template, "aws:ec2launchtemplate:version": "1"}
    assert tags_of(reply) == {"a": "template", "b": "template", **system}
    row = clc.rows("SELECT user_data, is_protected, shutdown_behavior FROM instance WHERE instance_id = ?",
                   reply.text("instanceId"))
    assert row == [(b"from the template", 1, "terminate")]
    # What the request says wins, tag by tag; the rest is the template's.
    reply = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateName="web", InstanceType="t2.micro",
                          Placement__AvailabilityZone="zone-b", DisableApiTermination="false", Monitoring__Enabled="false",
                          UserData=base64.b64encode(b"mine").decode(), TagSpecification__1__ResourceType="instance",
                          TagSpecification__1__Tag__1__Key="b", TagSpecification__1__Tag__1__Value="request",
                          TagSpecification__1__Tag__2__Key="c", TagSpecification__1__Tag__2__Value="request"),
                      "RunInstances")
    assert [reply.text(n) for n in ("instanceType", "keyName", "availabilityZone")] == ["t2.micro", "mine", "zone-b"]
    assert tags_of(reply) == {"a": "template", "b": "request", "c": "request", **system}
    assert reply.find("monitoring").find("{*}state").text == "disabled"
    row = clc.rows("SELECT user_data, is_protected FROM instance WHERE instance_id = ?", reply.text("instanceId"))
    assert row == [(b"mine", 0)]


def test_launch_versions(clc, account):
    create(clc, account, LaunchTemplateData__ImageId=account.image)
    new_version(clc, account, SourceVersion="1", LaunchTemplateData__InstanceType="t2.micro")
    new_version(clc, account, SourceVersion="1", LaunchTemplateData__InstanceType="t2.small")
    clc.ec2(account, "ModifyLaunchTemplate", LaunchTemplateName="web", SetDefaultVersion="2")
    for version, kind, number in ((None, "t2.micro", "2"), ("$Default", "t2.micro", "2"), ("$Latest", "t2.small", "3"),
                                  ("1", "t2.nano", "1")):
        reply = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateName="web", LaunchTemplate__Version=version),
                          "RunInstances")
        assert reply.text("instanceType") == kind
        assert tags_of(reply)["aws:ec2launchtemplate:version"] == number
    for words, code in (({"Version": "4"}, "InvalidLaunchTemplateId.VersionNotFound"), ({"Version": "x"}, "InvalidParameterValue")):
        check_error(run(clc, account, LaunchTemplate__LaunchTemplateName="web",
                        **{f"LaunchTemplate__{k}": v for k, v in words.items()}), 400, code)
    check_error(run(clc, account, LaunchTemplate__Version="1"), 400, "MissingParameter")
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateName="none"), 400, "InvalidLaunchTemplateName.NotFoundException")
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateId="lt-12345678"), 400, "InvalidLaunchTemplateId.NotFound")
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateId="x"), 400, "InvalidLaunchTemplateId.Malformed")
    check_error(run(clc, clc.other, LaunchTemplate__LaunchTemplateName="web"), 400, "InvalidLaunchTemplateName.NotFoundException")
    # Counts are the request's own.
    check_error(clc.ec2(account, "RunInstances", LaunchTemplate__LaunchTemplateName="web", MaxCount="1"), 400, "MissingParameter",
                "MinCount")


def test_launch_without_an_image(clc, account):
    create(clc, account)
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateName="web"), 400, "MissingParameter",
                "The request must contain the parameter ImageId")
    reply = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateName="web", ImageId=account.image), "RunInstances")
    assert reply.text("instanceType") == "t2.nano"


def test_launch_into_a_network(clc, account):
    group = clc.ec2(account, "DescribeSecurityGroups").text("groupId")
    subnet = clc.ec2(account, "DescribeSubnets", Filter__1__Name="availability-zone",
                     Filter__1__Value__1="zone-b").text("subnetId")
    create(clc, account, LaunchTemplateData__ImageId=account.image,
           LaunchTemplateData__NetworkInterface__1__DeviceIndex="0",
           LaunchTemplateData__NetworkInterface__1__SubnetId=subnet,
           LaunchTemplateData__NetworkInterface__1__SecurityGroupId__1=group,
           LaunchTemplateData__NetworkInterface__1__AssociatePublicIpAddress="false")
    reply = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateName="web"), "RunInstances")
    assert reply.text("subnetId") == subnet and reply.text("ipAddress") is None
    # The interface of the same index replaces the template's.
    reply = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateName="web", NetworkInterface__1__DeviceIndex="0",
                          NetworkInterface__1__AssociatePublicIpAddress="true"), "RunInstances")
    assert reply.text("ipAddress")
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateName="web", SubnetId=subnet), 400,
                "InvalidParameterCombination", "Network interfaces and an instance-level subnet ID")
    # Groups by name in the request stand for the template's by id.
    create(clc, account, "grouped", LaunchTemplateData__ImageId=account.image,
           LaunchTemplateData__SecurityGroupId__1="sg-12345678")
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateName="grouped"), 400, "InvalidGroup.NotFound")
    reply = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateName="grouped", SecurityGroup__1="default"), "RunInstances")
    assert reply.text("groupId") == group


def test_launch_again_with_a_token(clc, account):
    template = create(clc, account, LaunchTemplateData__ImageId=account.image).text("launchTemplateId")
    words = {"LaunchTemplate__LaunchTemplateId": template, "ClientToken": "t"}
    first = check_ec2(run(clc, account, **words), "RunInstances")
    new_version(clc, account, SourceVersion="1", LaunchTemplateData__InstanceType="t2.micro")
    clc.ec2(account, "ModifyLaunchTemplate", LaunchTemplateId=template, SetDefaultVersion="2")
    again = check_ec2(run(clc, account, **words), "RunInstances")
    assert again.all("instanceId") == first.all("instanceId")
    check_error(run(clc, account, **words, LaunchTemplate__Version="2"), 400, "IdempotentParameterMismatch")
    clc.ec2(account, "DeleteLaunchTemplate", LaunchTemplateId=template)
    assert check_ec2(run(clc, account, **words), "RunInstances").all("instanceId") == first.all("instanceId")
    check_error(run(clc, account, **{**words, "ClientToken": "u"}), 400, "InvalidLaunchTemplateId.NotFound")


@pytest.mark.parametrize("words,code", [
    ({"IamInstanceProfile__Name": "p"}, "InvalidParameterValue"),
    ({"InstanceRequirements__VCpuCount__Min": "1", "InstanceRequirements__MemoryMiB__Min": "1"}, "UnsupportedOperation"),
    ({"ElasticGpuSpecification__1__Type": "big"}, "UnsupportedOperation")])
def test_what_no_request_may_ask(clc, account, words, code):
    """It is warned of with the code with which a launch is refused."""
    reply = check_ec2(create(clc, account, LaunchTemplateData__ImageId=account.image,
                             **{f"LaunchTemplateData__{k}": v for k, v in words.items()}), "CreateLaunchTemplate")
    assert reply.find("warning").find("{*}errorSet/{*}item/{*}code").text == code
    check_error(run(clc, account, LaunchTemplate__LaunchTemplateName="web"), 400, code)
    assert clc.rows("SELECT COUNT(*) FROM instance WHERE account_id = ?", account.id) == [(0,)]


def test_data_of_an_instance(clc, account):
    clc.ec2(account, "CreateKeyPair", KeyName="mine")
    i = check_ec2(run(clc, account, ImageId=account.image, InstanceType="t2.nano", KeyName="mine",
                      UserData=base64.b64encode(b"data").decode(), DisableApiTermination="true",
                      TagSpecification__1__ResourceType="instance", TagSpecification__1__Tag__1__Key="Name",
                      TagSpecification__1__Tag__1__Value="one"), "RunInstances").text("instanceId")
    reply = check_ec2(clc.ec2(account, "GetLaunchTemplateData", InstanceId=i), "GetLaunchTemplateData")
    assert [reply.text(n) for n in ("imageId", "instanceType", "keyName", "disableApiTermination", "userData", "deviceIndex",
                                    "httpEndpoint", "resourceType")] == [
        account.image, "t2.nano", "mine", "true", base64.b64encode(b"data").decode(), "0", "enabled", "instance"]
    assert reply.text("subnetId").startswith("subnet-") and reply.text("groupId").startswith("sg-")
    check_error(clc.ec2(clc.other, "GetLaunchTemplateData", InstanceId=i), 400, "InvalidInstanceID.NotFound")
    # A template of it launches another like it, without the tags that the system gave.
    data = aws(clc, account, "get-launch-template-data", "--instance-id", i)["LaunchTemplateData"]
    aws(clc, account, "create-launch-template", "--launch-template-name", "like", "--launch-template-data", json.dumps(data))
    twin = check_ec2(run(clc, account, LaunchTemplate__LaunchTemplateName="like"), "RunInstances")
    assert twin.text("subnetId") == reply.text("subnetId") and twin.text("keyName") == "mine"
    again = check_ec2(clc.ec2(account, "GetLaunchTemplateData", InstanceId=twin.text("instanceId")), "GetLaunchTemplateData")
    assert tags_of(again) == {"Name": "one"}


def test_templates_survive(clc, account):
    template = create(clc, account).text("launchTemplateId")
    clc.stop(9)
    clc.start()
    assert clc.ec2(account, "DescribeLaunchTemplates").text("launchTemplateId") == template
