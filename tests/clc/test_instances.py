"""Instances as their users see and change them: status, attributes, options. No zone answers here, so a test moves
the rows that a zone's reports would have moved."""
import base64
import time

from strict import check_ec2, check_error


def run(clc, account, **words):
    reply = clc.ec2(account, "RunInstances", **{"ImageId": account.image, "MinCount": "1", "MaxCount": "1",
                                                "InstanceType": "t2.nano", **words})
    return check_ec2(reply, "RunInstances")


def launch(clc, account, **words):
    return run(clc, account, **words).text("instanceId")


def move(clc, instance, state):
    wanted, holds = {"running": ("running", 2), "stopped": ("stopped", 1), "terminated": ("terminated", 0)}[state]
    clc.rows("UPDATE instance SET state = ?, wanted = ?, holds = ?, to_put = 0, node_id = 'nc-' || zone, ended_us = ?"
             " WHERE instance_id = ?", state, wanted, holds, int(time.time() * 1e6) if state == "terminated" else None,
             instance)


def tag(element):
    return element.tag.split("}")[-1]


def value(element):
    """What an element says: text, a dict of its members, or a list of its items."""
    if element is None:
        return None
    children = list(element)
    if not children:
        return element.text or ""
    if all(tag(c) == "item" for c in children):
        return [value(c) for c in children]
    return {tag(c): value(c) for c in children}


# -- status --

def statuses(clc, account, **words):
    reply = check_ec2(clc.ec2(account, "DescribeInstanceStatus", **words), "DescribeInstanceStatus")
    found = value(reply.find("instanceStatusSet"))
    return {s["instanceId"]: s for s in found} if found else {}


def test_status_comes_from_what_nodes_report(clc, account):
    i = launch(clc, account, Placement__AvailabilityZone="zone-a")
    assert statuses(clc, account) == {}
    assert statuses(clc, account, InstanceId__1=i) == {}
    of_all = statuses(clc, account, IncludeAllInstances="true")[i]
    assert of_all["instanceState"] == {"code": "0", "name": "pending"}
    assert of_all["systemStatus"] == of_all["instanceStatus"] == {"status": "not-applicable"}

    move(clc, i, "running")
    clc.rows("UPDATE instance SET node_id = 'nc-unknown' WHERE instance_id = ?", i)
    seen = statuses(clc, account)[i]
    lacking = {"status": "insufficient-data", "details": [{"name": "reachability", "status": "insufficient-data"}]}
    assert (seen["systemStatus"], seen["instanceStatus"]) == (lacking, lacking)
    assert (seen["availabilityZone"], seen["instanceState"]) == ("zone-a", {"code": "16", "name": "running"})

    good = {"status": "ok", "details": [{"name": "reachability", "status": "passed"}]}
    clc.rows("INSERT INTO node SELECT 'nc-status', zone, 'up', NULL, hypervisor, 0, 0, 0, 0, 0, 0, last_seen_us"
             " FROM node WHERE node_id = 'nc-zone-a'")
    clc.rows("UPDATE instance SET node_id = 'nc-status' WHERE instance_id = ?", i)
    assert statuses(clc, account)[i]["systemStatus"] == good
    for reported, status in (("initializing", {"status": "initializing", "details": [
            {"name": "reachability", "status": "initializing"}]}), ("passed", good)):
        clc.rows("UPDATE instance SET reachability = ? WHERE instance_id = ?", reported, i)
        assert statuses(clc, account)[i]["instanceStatus"] == status
    clc.rows("UPDATE instance SET reachability = 'failed', reachability_us = 1600000000000000 WHERE instance_id = ?", i)
    assert statuses(clc, account)[i]["instanceStatus"] == {"status": "impaired", "details": [
        {"impairedSince": "2020-09-13T12:26:40.000Z", "name": "reachability", "status": "failed"}]}

    for state, since in (("degraded", 1600000001000000), ("silent", 1600000001000000)):
        clc.rows("UPDATE node SET state = ? WHERE node_id = 'nc-status'", state)
        clc.rows("INSERT OR IGNORE INTO node_impairment VALUES ('nc-status', ?)", since)
        assert statuses(clc, account)[i]["systemStatus"] == {"status": "impaired", "details": [
            {"impairedSince": "2020-09-13T12:26:41.000Z", "name": "reachability", "status": "failed"}]}
    clc.rows("UPDATE instance SET is_unreachable = 1 WHERE instance_id = ?", i)
    assert statuses(clc, account)[i]["instanceStatus"] == lacking
    clc.rows("DELETE FROM node WHERE node_id = 'nc-status'")
    clc.rows("DELETE FROM node_impairment")


def test_status_filters_and_pages(clc, account):
    made = run(clc, account, MinCount="12", MaxCount="12").all("instanceId")
    for n, i in enumerate(made):
        move(clc, i, "stopped" if n == 0 else "running")
        clc.rows("UPDATE instance SET reachability = ? WHERE instance_id = ?", "passed" if n % 2 else "failed", i)
    for name, wanted, found in (
            ("instance-state-name", "running", made[1:]), ("instance-state-code", "80", made[:1]),
            ("instance-status.reachability", "passed", made[1::2]), ("instance-status.status", "impaired", made[2::2]),
            ("instance-status.status", "not-applicable", made[:1]), ("system-status.status", "ok", made[1:]),
            ("system-status.reachability", "failed", []), ("event.code", "*", []), ("availability-zone", "zone-*", made)):
        assert sorted(statuses(clc, account, IncludeAllInstances="true", Filter__1__Name=name,
                               Filter__1__Value__1=wanted)) == sorted(found), (name, wanted)
    paged, token, pages = [], None, 0
    while pages == 0 or token:
        reply = check_ec2(clc.ec2(account, "DescribeInstanceStatus", MaxResults="5", NextToken=token),
                          "DescribeInstanceStatus")
        paged += reply.all("instanceId")
        token, pages = reply.text("nextToken"), pages + 1
    assert (sorted(paged), pages) == (sorted(made[1:]), 3)
    check_error(clc.ec2(account, "DescribeInstanceStatus", InstanceId__1=made[0], MaxResults="5"), 400,
                "InvalidParameterCombination")
    check_error(clc.ec2(account, "DescribeInstanceStatus", InstanceId__1=made[1], InstanceId__2="i-12345678"), 400,
                "InvalidInstanceID.NotFound")
    check_error(clc.ec2(account, "DescribeInstanceStatus", InstanceId__1="i-1"), 400, "InvalidInstanceID.Malformed")
    assert list(statuses(clc, account, InstanceId__1=made[3], InstanceId__2=made[3])) == [made[3]]
    assert statuses(clc, clc.other, IncludeAllInstances="true") == {}


def test_status_reported_by_users_is_kept(clc, account):
    i = launch(clc, account)

    def report(**words):
        return clc.ec2(account, "ReportInstanceStatus", **{"InstanceId.1": i, "Status": "impaired",
                                                           "ReasonCode.1": "unresponsive", **words})
    for words, code in (({"InstanceId.1": "i-1"}, "InvalidInstanceID.Malformed"),
                        ({"InstanceId.2": "i-12345678"}, "InvalidInstanceID.NotFound"),
                        ({"Status": "fine"}, "InvalidParameterValue"), ({"ReasonCode.2": "bored"}, "InvalidParameterValue"),
                        ({"StartTime": "yesterday"}, "InvalidParameterValue"),
                        ({"StartTime": "2020-01-02T00:00:00Z", "EndTime": "2020-01-01T00:00:00Z"}, "InvalidParameterValue")):
        check_error(report(**words), 400, code)
    assert clc.rows("SELECT COUNT(*) FROM instance_status_report WHERE account_id = ?", account.id) == [(0,)]
    check_ec2(report(**{"ReasonCode.2": "performance-network", "Description": "slow", "StartTime": "2020-01-01T00:00:00Z"}),
              "ReportInstanceStatus")
    assert clc.rows("SELECT instance_id, status, reason_codes, description, start_us, end_us FROM instance_status_report"
                    " WHERE account_id = ?", account.id) == [(i, "impaired", "unresponsive performance-network", "slow",
                                                              1577836800000000, 0)]
    assert clc.rows("SELECT COUNT(*) FROM audit WHERE account_id = ? AND action = 'ReportInstanceStatus'",
                    account.id) == [(1,)]


# -- attributes --

def attribute(clc, account, instance, name):
    reply = check_ec2(clc.ec2(account, "DescribeInstanceAttribute", InstanceId=instance, Attribute=name),
                      "DescribeInstanceAttribute")
    assert reply.text("instanceId") == instance
    assert [tag(e) for e in reply.xml] == ["requestId", "instanceId", name]
    element = reply.find(name)
    if len(element) == 1 and tag(element[0]) == "value":
        return element[0].text or ""
    return value(element)


def modify(clc, account, instance, **words):
    return clc.ec2(account, "ModifyInstanceAttribute", InstanceId=instance, **words)


def test_attributes_as_launched(clc, account):
    i = launch(clc, account, UserData=base64.b64encode(b"hello").decode(), DisableApiTermination="true",
               InstanceInitiatedShutdownBehavior="terminate")
    group = clc.ec2(account, "DescribeSecurityGroups").text("groupId")
    for name, wanted in (("instanceType", "t2.nano"), ("kernel", ""), ("ramdisk", ""),
                         ("userData", base64.b64encode(b"hello").decode()), ("disableApiTermination", "true"),
                         ("disableApiStop", "false"), ("instanceInitiatedShutdownBehavior", "terminate"),
                         ("rootDeviceName", "/dev/vda"), ("blockDeviceMapping", ""), ("productCodes", ""),
                         ("sourceDestCheck", "true"), ("groupSet", [{"groupId": group, "groupName": "default"}]),
                         ("ebsOptimized", "false"), ("sriovNetSupport", ""), ("enaSupport", "false"),
                         ("enclaveOptions", {"enabled": "false"})):
        assert attribute(clc, account, i, name) == wanted, name
    check_error(clc.ec2(account, "DescribeInstanceAttribute", InstanceId=i, Attribute="colour"), 400,
                "InvalidParameterValue")
    check_error(clc.ec2(clc.other, "DescribeInstanceAttribute", InstanceId=i, Attribute="kernel"), 400,
                "InvalidInstanceID.NotFound")


def test_one_attribute_a_call(clc, account):
    i = launch(clc, account)
    for words, code, message in (
            ({}, "InvalidParameterCombination", "No attributes specified."),
            ({"DisableApiStop__Value": "true", "DisableApiTermination__Value": "true"}, "InvalidParameterCombination",
             "Fields for multiple attribute types specified: disableApiTermination, disableApiStop"),
            ({"Attribute": "kernel", "DisableApiStop__Value": "true"}, "InvalidParameterCombination", "kernel"),
            ({"Attribute": "disableApiStop", "Value": "true", "DisableApiStop__Value": "true"},
             "InvalidParameterCombination", "twice"),
            ({"Attribute": "disableApiStop"}, "MissingParameter", None),
            ({"Attribute": "disableApiStop", "Value": "perhaps"}, "InvalidParameterValue", "perhaps"),
            ({"Attribute": "groupSet", "Value": "x"}, "MissingParameter", "GroupId"),
            ({"Attribute": "rootDeviceName", "Value": "/dev/sda1"}, "InvalidParameterValue", None),
            ({"Attribute": "productCodes", "Value": "x"}, "InvalidParameterValue", None),
            ({"Attribute": "enclaveOptions", "Value": "true"}, "InvalidParameterValue", None),
            ({"InstanceInitiatedShutdownBehavior__Value": "sleep"}, "InvalidParameterValue", "sleep"),
            ({"BlockDeviceMapping__1__DeviceName": "/dev/vdz", "BlockDeviceMapping__1__Ebs__DeleteOnTermination": "true"},
             "InvalidInstanceAttributeValue", "No device is currently mapped at /dev/vdz")):
        check_error(modify(clc, account, i, **words), 400, code, message)
    check_error(modify(clc, clc.other, i, DisableApiStop__Value="true"), 400, "InvalidInstanceID.NotFound")
    check_error(modify(clc, account, "i-1", DisableApiStop__Value="true"), 400, "InvalidInstanceID.Malformed")
    # Both ways to write it.
    check_ec2(modify(clc, account, i, Attribute="disableApiTermination", Value="true"), "ModifyInstanceAttribute")
    assert attribute(clc, account, i, "disableApiTermination") == "true"
    check_ec2(modify(clc, account, i, DisableApiTermination__Value="false"), "ModifyInstanceAttribute")
    assert attribute(clc, account, i, "disableApiTermination") == "false"
    assert clc.rows("SELECT COUNT(*) FROM audit WHERE account_id = ? AND action = 'ModifyInstanceAttribute'",
                    account.id) == [(2,)]


def test_what_a_guest_is_made_of_changes_while_it_is_stopped(clc, account):
    i = launch(clc, account)
    clc.seed_image(account, f"aki-{account.image[4:]}", "kernel")
    clc.seed_image(account, f"ari-{account.image[4:]}", "ramdisk")
    kernel, ramdisk = f"aki-{account.image[4:]}", f"ari-{account.image[4:]}"
    changes = [("InstanceType", "m1.xlarge", "instanceType"), ("Kernel", kernel, "kernel"), ("Ramdisk", ramdisk, "ramdisk"),
               ("UserData", base64.b64encode(b"x" * 16384).decode(), "userData"), ("EbsOptimized", "true", "ebsOptimized")]
    for state in ("pending", "running"):
        if state == "running":
            move(clc, i, "running")
        for field, new, _ in changes:
            check_error(modify(clc, account, i, **{f"{field}__Value": new}), 400, "IncorrectInstanceState",
                        f"The instance '{i}' is not in the 'stopped' state.")
    move(clc, i, "stopped")
    revision = clc.rows("SELECT revision, to_put FROM instance WHERE instance_id = ?", i)
    for field, new, code in (("InstanceType", "t9.huge", "InvalidInstanceAttributeValue"),
                             ("Kernel", "aki-12345678", "InvalidAMIID.NotFound"), ("Kernel", "x", "InvalidAMIID.Malformed"),
                             ("Ramdisk", ramdisk, "InvalidParameterCombination"), ("UserData", "***", "InvalidUserData.Malformed"),
                             ("UserData", base64.b64encode(b"x" * 16385).decode(), "InvalidParameterValue"),
                             ("EnaSupport", "true", "UnsupportedOperation"), ("SriovNetSupport", "simple", "UnsupportedOperation"),
                             ("SriovNetSupport", "fancy", "InvalidParameterValue")):
        check_error(modify(clc, account, i, **{f"{field}__Value": new}), 400, code)
    for field, new, name in changes:
        check_ec2(modify(clc, account, i, **{f"{field}__Value": new}), "ModifyInstanceAttribute")
        assert attribute(clc, account, i, name) == new, name
    # Nothing is told while it is stopped: the next start says it all.
    assert clc.rows("SELECT revision, to_put FROM instance WHERE instance_id = ?", i) == revision
    assert clc.rows("SELECT vcpus, memory_mib, ephemeral_gib, holds FROM instance WHERE instance_id = ?", i) == [(4, 2048, 20, 1)]
    for name in ("ramdisk", "kernel"):
        check_ec2(clc.ec2(account, "ResetInstanceAttribute", InstanceId=i, Attribute=name), "ResetInstanceAttribute")
        assert attribute(clc, account, i, name) == ""
    check_error(clc.ec2(account, "ResetInstanceAttribute", InstanceId=i, Attribute="userData"), 400, "InvalidParameterValue")
    check_ec2(modify(clc, account, i, Attribute="userData", Value=""), "ModifyInstanceAttribute")
    assert attribute(clc, account, i, "userData") == ""
    move(clc, i, "terminated")
    check_error(modify(clc, account, i, InstanceType__Value="t2.micro"), 400, "IncorrectInstanceState")


def test_a_type_without_room_for_its_disk(clc, account):
    i = launch(clc, account, Placement__AvailabilityZone="zone-b")
    move(clc, i, "stopped")
    clc.rows("UPDATE node SET disk_gib = (SELECT SUM(disk_gib) + 19 FROM instance WHERE zone = 'zone-b' AND holds > 0)"
             " WHERE node_id = 'nc-zone-b'")
    try:
        check_error(modify(clc, account, i, InstanceType__Value="m1.xlarge"), 500, "InsufficientInstanceCapacity")
        assert attribute(clc, account, i, "instanceType") == "t2.nano"
    finally:
        clc.rows("UPDATE node SET disk_gib = 10000 WHERE node_id = 'nc-zone-b'")
    check_ec2(modify(clc, account, i, InstanceType__Value="m1.xlarge"), "ModifyInstanceAttribute")
    # The disk is held at once, the rest from the next start.
    assert clc.rows("SELECT disk_gib FROM instance WHERE instance_id = ?", i) == [(21,)]


def test_groups_and_checks_of_one_that_runs_are_told(clc, account):
    i = launch(clc, account)
    move(clc, i, "running")
    vpc, group = clc.rows("SELECT vpc_id, group_id FROM security_group WHERE account_id = ?", account.id)[0]
    more = [f"sg-{n}fffff{group[9:]}" for n in range(6)]
    for n, g in enumerate(more):
        clc.rows("INSERT INTO security_group VALUES (?, ?, ?, ?, ?, 'made', 0)", g, account.id, "mallee-1", vpc, f"g{n}")

    def told():
        return (clc.rows("SELECT revision, to_put FROM instance WHERE instance_id = ?", i)[0],
                clc.rows("SELECT revision FROM vpc WHERE vpc_id = ?", vpc)[0][0])
    (revision, _), vpc_revision = told()
    check_error(modify(clc, account, i, GroupId__1="sg-12345678"), 400, "InvalidGroup.NotFound")
    check_error(modify(clc, account, i, **{f"GroupId__{n}": g for n, g in enumerate(more)}), 400,
                "SecurityGroupsPerInterfaceLimitExceeded")
    assert told() == ((revision, 0), vpc_revision)
    check_ec2(modify(clc, account, i, GroupId__1=more[1], GroupId__2=more[0]), "ModifyInstanceAttribute")
    assert [g["groupId"] for g in attribute(clc, account, i, "groupSet")] == [more[1], more[0]]
    assert told() == ((revision + 1, 1), vpc_revision + 1)
    assert clc.ec2(account, "DescribeInstances", Filter__1__Name="instance.group-name",
                   Filter__1__Value__1="g0").all("instanceId") == [i]
    check_ec2(modify(clc, account, i, SourceDestCheck__Value="false"), "ModifyInstanceAttribute")
    assert told() == ((revision + 2, 1), vpc_revision + 2)
    assert attribute(clc, account, i, "sourceDestCheck") == "false"
    assert set(clc.ec2(account, "DescribeInstances").all("sourceDestCheck")) == {"false"}
    check_ec2(clc.ec2(account, "ResetInstanceAttribute", InstanceId=i, Attribute="sourceDestCheck"), "ResetInstanceAttribute")
    assert attribute(clc, account, i, "sourceDestCheck") == "true"
