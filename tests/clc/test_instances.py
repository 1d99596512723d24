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
    clc.seed_node("zone-a", vcpus=0, memory_mib=0, disk_gib=0, node_id="nc-status")
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
        clc.rows("INSERT OR REPLACE INTO state_since VALUES ('nc-status', ?, ?)", state, since)
        assert statuses(clc, account)[i]["systemStatus"] == {"status": "impaired", "details": [
            {"impairedSince": "2020-09-13T12:26:41.000Z", "name": "reachability", "status": "failed"}]}
    clc.rows("UPDATE instance SET is_unreachable = 1 WHERE instance_id = ?", i)
    assert statuses(clc, account)[i]["instanceStatus"] == lacking
    clc.rows("DELETE FROM node WHERE node_id = 'nc-status'")
    clc.rows("DELETE FROM state_since WHERE id = 'nc-status'")


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
    assert statuses(clc, clc.new_account("without-instances"), IncludeAllInstances="true") == {}


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


# -- options --

def described(clc, account, instance):
    reply = check_ec2(clc.ec2(account, "DescribeInstances", InstanceId__1=instance), "DescribeInstances")
    return value(reply.find("instancesSet"))[0]


def test_what_amazon_tells_of_every_instance(clc, account):
    i = launch(clc, account, InstanceType="m1.large")
    one = described(clc, account, i)
    assert one["cpuOptions"] == {"coreCount": "2", "threadsPerCore": "1"}
    assert one["capacityReservationSpecification"] == {"capacityReservationPreference": "open"}
    assert one["hibernationOptions"] == {"configured": "false"} and one["enclaveOptions"] == {"enabled": "false"}
    assert one["maintenanceOptions"] == {"autoRecovery": "default"}
    assert one["privateDnsNameOptions"] == {"hostnameType": "ip-name", "enableResourceNameDnsARecord": "false",
                                            "enableResourceNameDnsAAAARecord": "false"}
    assert one["metadataOptions"] == {"state": "pending", "httpTokens": "optional", "httpPutResponseHopLimit": "1",
                                      "httpEndpoint": "enabled", "httpProtocolIpv6": "disabled",
                                      "instanceMetadataTags": "disabled"}
    assert (one["platformDetails"], one["usageOperation"]) == ("Linux/UNIX", "RunInstances")
    assert one["usageOperationUpdateTime"] == one["launchTime"]
    assert (one["enaSupport"], one["ebsOptimized"], one["productCodes"], one["reason"]) == ("false", "false", "", "")
    attached = one["networkInterfaceSet"][0]["attachment"]
    assert (attached["networkCardIndex"], attached["deviceIndex"], attached["deleteOnTermination"]) == ("0", "0", "true")
    move(clc, i, "running")
    assert described(clc, account, i)["metadataOptions"]["state"] == "applied"


def test_options_of_a_launch(clc, account):
    i = launch(clc, account, **{
        "MetadataOptions.HttpTokens": "required", "MetadataOptions.HttpPutResponseHopLimit": "3",
        "MetadataOptions.HttpEndpoint": "disabled", "MetadataOptions.InstanceMetadataTags": "enabled",
        "MetadataOptions.HttpProtocolIpv6": "disabled", "DisableApiStop": "true", "MaintenanceOptions.AutoRecovery": "disabled",
        "PrivateDnsNameOptions.HostnameType": "ip-name", "PrivateDnsNameOptions.EnableResourceNameDnsARecord": "false",
        "CreditSpecification.CpuCredits": "unlimited", "CpuOptions.CoreCount": "1", "CpuOptions.ThreadsPerCore": "1",
        "CapacityReservationSpecification.CapacityReservationPreference": "none", "HibernationOptions.Configured": "false",
        "EnclaveOptions.Enabled": "false", "EbsOptimized": "true", "NetworkInterface.1.DeviceIndex": "0",
        "NetworkInterface.1.Description": "front", "NetworkInterface.1.PrivateIpAddresses.1.Primary": "true",
        "NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress": "172.31.0.77",
        "NetworkInterface.1.SubnetId": clc.ec2(account, "DescribeSubnets", Filter__1__Name="availability-zone",
                                               Filter__1__Value__1="zone-a").text("subnetId"),
        "NetworkInterface.1.InterfaceType": "interface", "NetworkInterface.1.DeleteOnTermination": "true"})
    one = described(clc, account, i)
    assert {k: one["metadataOptions"][k] for k in ("httpTokens", "httpPutResponseHopLimit", "httpEndpoint",
                                                  "instanceMetadataTags")} == {
        "httpTokens": "required", "httpPutResponseHopLimit": "3", "httpEndpoint": "disabled", "instanceMetadataTags": "enabled"}
    assert one["maintenanceOptions"] == {"autoRecovery": "disabled"} and one["ebsOptimized"] == "true"
    assert one["capacityReservationSpecification"] == {"capacityReservationPreference": "none"}
    assert one["privateIpAddress"] == "172.31.0.77" and one["networkInterfaceSet"][0]["description"] == "front"
    assert attribute(clc, account, i, "disableApiStop") == "true"
    for name, wanted in (("metadata-options.instance-metadata-tags", "enabled"), ("hibernation-options.configured", "false"),
                         ("metadata-options.http-endpoint", "disabled"), ("network-interface.description", "front"),
                         ("network-interface.attachment.instance-id", i), ("network-interface.availability-zone", "zone-a"),
                         ("network-interface.attachment.instance-owner-id", account.id),
                         ("network-interface.attachment.delete-on-termination", "true"),
                         ("network-interface.association.ip-owner-id", "amazon"),
                         ("network-interface.requester-managed", "false"), ("private-ip-address", "172.31.0.77")):
        for asked, found in ((wanted, [i]), (wanted + "x", [])):
            assert check_ec2(clc.ec2(account, "DescribeInstances", Filter__1__Name=name, Filter__1__Value__1=asked),
                             "DescribeInstances").all("instanceId")[:1] == found, name
    for name in ("platform", "instance-lifecycle", "host-id", "product-code", "block-device-mapping.volume-id"):
        assert not clc.ec2(account, "DescribeInstances", Filter__1__Name=name, Filter__1__Value__1="*").all("instanceId")


def test_options_that_are_refused(clc, account):
    def refused(code, **words):
        reply = clc.ec2(account, "RunInstances", **{"ImageId": account.image, "MinCount": "1", "MaxCount": "1",
                                                    "InstanceType": "t2.nano", **words})
        check_error(reply, 400, code)
        return reply.message
    for words in ({"MetadataOptions.HttpProtocolIpv6": "enabled"}, {"HibernationOptions.Configured": "true"},
                  {"EnclaveOptions.Enabled": "true"}, {"InstanceMarketOptions.MarketType": "spot"},
                  {"PrivateDnsNameOptions.HostnameType": "resource-name"}, {"Ipv6AddressCount": "1"},
                  {"NetworkInterface.1.DeleteOnTermination": "false"}, {"LicenseSpecification.1.LicenseConfigurationArn": "x"},
                  {"NetworkInterface.1.SecondaryPrivateIpAddressCount": "1"}, {"ElasticGpuSpecification.1.Type": "x"},
                  {"CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId": "cr-1"},
                  {"NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress": "172.31.0.9"}):
        refused("UnsupportedOperation", **words)
    for words in ({"CpuOptions.CoreCount": "2"}, {"CpuOptions.ThreadsPerCore": "2"},
                  {"InstanceType": "m1.small", "CreditSpecification.CpuCredits": "standard"},
                  {"NetworkInterface.1.PrivateIpAddress": "172.31.0.9", "NetworkInterface.1.PrivateIpAddresses.1.Primary": "true",
                   "NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress": "172.31.0.9"}):
        refused("InvalidParameterCombination", **words)
    refused("InvalidParameterValue", **{"CreditSpecification.CpuCredits": "endless"})
    refused("InvalidNetworkInterfaceID.NotFound", **{"NetworkInterface.1.NetworkInterfaceId": "eni-12345678"})
    refused("InvalidNetworkInterfaceId.Malformed", **{"NetworkInterface.1.NetworkInterfaceId": "eni-x"})
    assert "Invalid IAM Instance Profile name" in refused("InvalidParameterValue", **{"IamInstanceProfile.Name": "web"})
    assert "Invalid IAM Instance Profile ARN" in refused("InvalidParameterValue", **{"IamInstanceProfile.Arn": "arn:aws:iam::1:x"})
    launch(clc, account)
    interface = clc.rows("SELECT interface_id FROM network_interface WHERE account_id = ?", account.id)[0][0]
    refused("InvalidNetworkInterface.InUse", **{"NetworkInterface.1.NetworkInterfaceId": interface})


def test_monitoring(clc, account):
    one, two = launch(clc, account), launch(clc, account, Monitoring__Enabled="true")

    def call(action, *ids):
        reply = check_ec2(clc.ec2(account, action, **{f"InstanceId__{n}": i for n, i in enumerate(ids)}), action)
        return [(m["instanceId"], m["monitoring"]["state"]) for m in value(reply.find("instancesSet"))]
    assert call("MonitorInstances", one, two, one) == [(one, "pending"), (two, "enabled")]
    assert described(clc, account, one)["monitoring"] == {"state": "enabled"}
    assert call("UnmonitorInstances", one) == [(one, "disabling")]
    assert call("UnmonitorInstances", one) == [(one, "disabled")]
    check_error(clc.ec2(account, "MonitorInstances", InstanceId__1=one, InstanceId__2="i-12345678"), 400,
                "InvalidInstanceID.NotFound")
    assert described(clc, account, one)["monitoring"] == {"state": "disabled"}
    move(clc, one, "terminated")
    check_error(clc.ec2(account, "MonitorInstances", InstanceId__1=one), 400, "IncorrectInstanceState")


def test_metadata_options_reach_one_that_runs(clc, account):
    i = launch(clc, account)
    move(clc, i, "running")
    revision = clc.rows("SELECT revision FROM instance WHERE instance_id = ?", i)[0][0]

    def change(**words):
        return clc.ec2(account, "ModifyInstanceMetadataOptions", InstanceId=i, **words)
    reply = check_ec2(change(HttpTokens="required", HttpPutResponseHopLimit="2"), "ModifyInstanceMetadataOptions")
    assert reply.text("instanceId") == i and value(reply.find("instanceMetadataOptions")) == {
        "state": "pending", "httpTokens": "required", "httpPutResponseHopLimit": "2", "httpEndpoint": "enabled",
        "httpProtocolIpv6": "disabled", "instanceMetadataTags": "disabled"}
    # The same generation: the guest goes on.
    assert clc.rows("SELECT revision, to_put, generation FROM instance WHERE instance_id = ?", i) == [(revision + 1, 1, 1)]
    check_ec2(change(HttpEndpoint="disabled", InstanceMetadataTags="enabled", HttpProtocolIpv6="disabled"),
              "ModifyInstanceMetadataOptions")
    clc.rows("UPDATE instance SET to_put = 0 WHERE instance_id = ?", i)
    assert described(clc, account, i)["metadataOptions"] == {
        "state": "applied", "httpTokens": "required", "httpPutResponseHopLimit": "2", "httpEndpoint": "disabled",
        "httpProtocolIpv6": "disabled", "instanceMetadataTags": "enabled"}
    for words, code in (({}, "MissingParameter"), ({"HttpTokens": "v2"}, "InvalidParameterValue"),
                        ({"HttpPutResponseHopLimit": "65"}, "InvalidParameterValue"),
                        ({"HttpPutResponseHopLimit": "0"}, "InvalidParameterValue"),
                        ({"HttpProtocolIpv6": "enabled"}, "UnsupportedOperation")):
        check_error(change(**words), 400, code)
    move(clc, i, "stopped")
    reply = check_ec2(change(HttpTokens="optional"), "ModifyInstanceMetadataOptions")
    assert value(reply.find("instanceMetadataOptions"))["state"] == "applied"
    move(clc, i, "terminated")
    check_error(change(HttpTokens="optional"), 400, "IncorrectInstanceState")


def test_metadata_defaults_of_an_account(clc, account):
    def defaults():
        return value(check_ec2(clc.ec2(account, "GetInstanceMetadataDefaults"), "GetInstanceMetadataDefaults").find("accountLevel"))

    def change(**words):
        return check_ec2(clc.ec2(account, "ModifyInstanceMetadataDefaults", **words), "ModifyInstanceMetadataDefaults")

    def launched(**words):
        options = described(clc, account, launch(clc, account, **words))["metadataOptions"]
        return tuple(options[k] for k in ("httpTokens", "httpPutResponseHopLimit", "httpEndpoint", "instanceMetadataTags"))
    assert defaults() == {"managedBy": "account"} and launched() == ("optional", "1", "enabled", "disabled")
    assert change(HttpTokens="required", HttpPutResponseHopLimit="2").text("return") == "true"
    change(InstanceMetadataTags="enabled", HttpEndpoint="disabled")
    assert defaults() == {"httpTokens": "required", "httpPutResponseHopLimit": "2", "httpEndpoint": "disabled",
                          "instanceMetadataTags": "enabled", "managedBy": "account"}
    assert launched() == ("required", "2", "disabled", "enabled")
    # What a launch says goes first.
    assert launched(MetadataOptions__HttpTokens="optional", MetadataOptions__HttpPutResponseHopLimit="9") == (
        "optional", "9", "disabled", "enabled")
    change(HttpTokens="no-preference", HttpPutResponseHopLimit="-1", HttpEndpoint="no-preference")
    assert defaults() == {"instanceMetadataTags": "enabled", "managedBy": "account"}
    assert launched() == ("optional", "1", "enabled", "enabled")
    for words in ({"HttpTokens": "maybe"}, {"HttpPutResponseHopLimit": "0"}, {"HttpPutResponseHopLimit": "65"}):
        check_error(clc.ec2(account, "ModifyInstanceMetadataDefaults", **words), 400, "InvalidParameterValue")
    assert value(clc.ec2(clc.other, "GetInstanceMetadataDefaults").find("accountLevel")) == {"managedBy": "account"}


def test_maintenance_options(clc, account):
    i = launch(clc, account)
    for wanted in ("disabled", "default"):
        reply = check_ec2(clc.ec2(account, "ModifyInstanceMaintenanceOptions", InstanceId=i, AutoRecovery=wanted),
                          "ModifyInstanceMaintenanceOptions")
        assert (reply.text("instanceId"), reply.text("autoRecovery")) == (i, wanted)
        assert described(clc, account, i)["maintenanceOptions"] == {"autoRecovery": wanted}
    check_error(clc.ec2(account, "ModifyInstanceMaintenanceOptions", InstanceId=i, AutoRecovery="never"), 400,
                "InvalidParameterValue")


def test_credits_of_burstable_types(clc, account):
    t, m = launch(clc, account), launch(clc, account, InstanceType="m1.small")

    def shown(**words):
        reply = check_ec2(clc.ec2(account, "DescribeInstanceCreditSpecifications", **words), "DescribeInstanceCreditSpecifications")
        return [(c["instanceId"], c["cpuCredits"]) for c in value(reply.find("instanceCreditSpecificationSet")) or []]
    assert shown(InstanceId__1=t) == [(t, "standard")] and shown() == []
    check_error(clc.ec2(account, "DescribeInstanceCreditSpecifications", InstanceId__1=t, InstanceId__2=m), 400,
                "InvalidParameterCombination", m)
    check_error(clc.ec2(account, "DescribeInstanceCreditSpecifications", InstanceId__1="i-12345678"), 400,
                "InvalidInstanceID.NotFound")
    words = {}
    for n, i in enumerate((t, m, "i-12345678", "i-1")):
        words[f"InstanceCreditSpecification__{n}__InstanceId"] = i
        words[f"InstanceCreditSpecification__{n}__CpuCredits"] = "unlimited"
    reply = check_ec2(clc.ec2(account, "ModifyInstanceCreditSpecification", **words), "ModifyInstanceCreditSpecification")
    assert value(reply.find("successfulInstanceCreditSpecificationSet")) == [{"instanceId": t}]
    assert [(u["instanceId"], u["error"]["code"]) for u in value(reply.find("unsuccessfulInstanceCreditSpecificationSet"))] == [
        (m, "InstanceCreditSpecification.NotSupported"), ("i-12345678", "InvalidInstanceID.NotFound"),
        ("i-1", "InvalidInstanceID.Malformed")]
    # Without ids: the unlimited ones.
    assert shown() == [(t, "unlimited")] == shown(Filter__1__Name="instance-id", Filter__1__Value__1=t)
    words["InstanceCreditSpecification__0__CpuCredits"] = "endless"
    check_error(clc.ec2(account, "ModifyInstanceCreditSpecification", **words), 400, "InvalidParameterValue")


def test_there_are_no_instance_profiles(clc, account):
    i = launch(clc, account)
    check_error(clc.ec2(account, "AssociateIamInstanceProfile", InstanceId="i-12345678", IamInstanceProfile__Name="x"), 400,
                "InvalidInstanceID.NotFound")
    for words, code, message in (
            ({}, "MissingParameter", "IamInstanceProfile"),
            ({"IamInstanceProfile.Name": "web"}, "InvalidParameterValue",
             "Value (web) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"),
            ({"IamInstanceProfile.Arn": "arn:x"}, "InvalidParameterValue",
             "Value (arn:x) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN"),
            ({"IamInstanceProfile.Arn": "arn:x", "IamInstanceProfile.Name": "web"}, "InvalidParameterCombination", None)):
        check_error(clc.ec2(account, "AssociateIamInstanceProfile", InstanceId=i, **words), 400, code, message)
    reply = check_ec2(clc.ec2(account, "DescribeIamInstanceProfileAssociations"), "DescribeIamInstanceProfileAssociations")
    assert reply.text("iamInstanceProfileAssociationSet") == ""
    known, bad = "iip-assoc-0123456789abcdef0", "iip-assoc-x"
    for action, words in (("DescribeIamInstanceProfileAssociations", lambda a: {"AssociationId.1": a}),
                          ("DisassociateIamInstanceProfile", lambda a: {"AssociationId": a}),
                          ("ReplaceIamInstanceProfileAssociation", lambda a: {"AssociationId": a, "IamInstanceProfile.Name": "x"})):
        check_error(clc.ec2(account, action, **words(known)), 400, "InvalidAssociationID.NotFound", known)
        check_error(clc.ec2(account, action, **words(bad)), 400, "InvalidParameterValue", "Invalid value for associationId.")


def test_no_product_code_is_confirmed(clc, account):
    i = launch(clc, account)
    reply = check_ec2(clc.ec2(account, "ConfirmProductInstance", InstanceId=i, ProductCode="774F4FF8"), "ConfirmProductInstance")
    assert reply.text("return") == "false" and reply.find("ownerId") is None
    check_error(clc.ec2(account, "ConfirmProductInstance", InstanceId="i-12345678", ProductCode="x"), 400,
                "InvalidInstanceID.NotFound")


def test_password_data_is_empty_until_there_is_some(clc, account):
    i = launch(clc, account)
    reply = check_ec2(clc.ec2(account, "GetPasswordData", InstanceId=i), "GetPasswordData")
    assert (reply.text("instanceId"), reply.text("passwordData")) == (i, "")
    check_error(clc.ec2(account, "GetPasswordData", InstanceId="i-12345678"), 400, "InvalidInstanceID.NotFound")


# -- orders --

def states(reply):
    return {c["instanceId"]: c["currentState"]["name"] for c in value(reply.find("instancesSet"))}


def test_protection_from_being_stopped(clc, account):
    kept = launch(clc, account, DisableApiStop="true")
    plain = launch(clc, account)
    check_error(clc.ec2(account, "StopInstances", InstanceId__1=plain, InstanceId__2=kept), 400, "OperationNotPermitted",
                f"The instance '{kept}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.")
    check_error(clc.ec2(account, "TerminateInstances", InstanceId__1=kept), 400, "OperationNotPermitted", "disableApiStop")
    assert described(clc, account, plain)["instanceState"]["name"] == "pending"
    check_ec2(modify(clc, account, kept, DisableApiStop__Value="false"), "ModifyInstanceAttribute")
    assert states(check_ec2(clc.ec2(account, "StopInstances", InstanceId__1=plain, InstanceId__2=kept), "StopInstances")) == {
        plain: "stopping", kept: "stopping"}


def test_a_protected_instance_spares_its_zone_alone(clc, account):
    kept = launch(clc, account, DisableApiTermination="true", Placement__AvailabilityZone="zone-b")
    beside = launch(clc, account, Placement__AvailabilityZone="zone-b")
    elsewhere = launch(clc, account, Placement__AvailabilityZone="zone-a")
    ids = {f"InstanceId__{n}": i for n, i in enumerate((kept, beside, elsewhere))}
    check_error(clc.ec2(account, "TerminateInstances", **ids), 400, "OperationNotPermitted",
                f"The instance '{kept}' may not be terminated. Modify its 'disableApiTermination' instance attribute")
    now = {i: described(clc, account, i)["instanceState"]["name"] for i in (kept, beside, elsewhere)}
    assert now == {kept: "pending", beside: "pending", elsewhere: "shutting-down"}
    # One that is unknown keeps all of them.
    check_error(clc.ec2(account, "TerminateInstances", InstanceId__1=beside, InstanceId__2="i-12345678"), 400,
                "InvalidInstanceID.NotFound")
    assert described(clc, account, beside)["instanceState"]["name"] == "pending"
    check_ec2(modify(clc, account, kept, Attribute="disableApiTermination", Value="false"), "ModifyInstanceAttribute")
    assert set(states(check_ec2(clc.ec2(account, "TerminateInstances", **ids), "TerminateInstances")).values()) == {
        "shutting-down"}


def test_the_end_stays_visible_without_addresses(clc, account):
    i = launch(clc, account)
    check_ec2(clc.ec2(account, "TerminateInstances", InstanceId__1=i), "TerminateInstances")
    # As when its zone reports the end.
    clc.rows("UPDATE instance SET state = 'terminated', holds = 0, to_put = 0, ended_us = ? WHERE instance_id = ?",
             int(time.time() * 1e6), i)
    for table, column in (("interface_group", "interface_id IN (SELECT interface_id FROM network_interface WHERE instance_id = ?)"),
                          ("network_interface", "instance_id = ?")):
        clc.rows(f"DELETE FROM {table} WHERE {column}", i)
    one = described(clc, account, i)
    assert one["instanceState"] == {"code": "48", "name": "terminated"}
    assert not {"privateIpAddress", "ipAddress", "subnetId", "vpcId"} & set(one) and one["networkInterfaceSet"] == ""
    assert one["stateReason"] == {"code": "Client.UserInitiatedShutdown",
                                  "message": "Client.UserInitiatedShutdown: User initiated shutdown"}
    assert one["reason"].startswith("User initiated (20") and one["reason"].endswith(" GMT)")
    assert states(check_ec2(clc.ec2(account, "TerminateInstances", InstanceId__1=i), "TerminateInstances")) == {i: "terminated"}
    for action in ("StartInstances", "StopInstances", "RebootInstances"):
        check_error(clc.ec2(account, action, InstanceId__1=i), 400, "IncorrectInstanceState")
    assert attribute(clc, account, i, "groupSet") == ""


def test_processors_are_limited_where_the_administrator_says_so(clc, account):
    clc.rows("INSERT INTO quota VALUES (?, 'vcpus', 3)", account.id)
    clc.rows("INSERT INTO quota VALUES (?, 'instances', 4)", account.id)
    words = {"ImageId": account.image, "InstanceType": "m1.large"}  # two each
    check_error(clc.ec2(account, "RunInstances", MinCount="2", MaxCount="2", **words), 400, "VcpuLimitExceeded",
                "You have requested more vCPU capacity than your current vCPU limit of 3 allows")
    check_error(clc.ec2(account, "RunInstances", MinCount="500", MaxCount="500", **words), 400, "InstanceLimitExceeded")
    made = check_ec2(clc.ec2(account, "RunInstances", MinCount="1", MaxCount="2", **words), "RunInstances").all("instanceId")
    assert len(made) == 1
    move(clc, made[0], "stopped")
    small = run(clc, account, MinCount="3", MaxCount="3").all("instanceId")
    check_error(clc.ec2(account, "StartInstances", InstanceId__1=made[0]), 400, "VcpuLimitExceeded")
    move(clc, small[0], "stopped")
    check_error(clc.ec2(account, "StartInstances", InstanceId__1=made[0], InstanceId__2=small[0]), 400, "VcpuLimitExceeded")
    assert {described(clc, account, i)["instanceState"]["name"] for i in (made[0], small[0])} == {"stopped"}
    # A smaller type fits again.
    check_ec2(modify(clc, account, made[0], InstanceType__Value="m1.small"), "ModifyInstanceAttribute")
    assert states(check_ec2(clc.ec2(account, "StartInstances", InstanceId__1=made[0]), "StartInstances")) == {made[0]: "pending"}
    assert clc.rows("SELECT generation, vcpus FROM instance WHERE instance_id = ?", made[0]) == [(2, 1)]


def test_force_and_what_else_orders_say(clc, account):
    one, two = launch(clc, account), launch(clc, account)
    check_error(clc.ec2(account, "StopInstances", InstanceId__1=one, Hibernate="true"), 400, "UnsupportedOperation")
    check_ec2(clc.ec2(account, "StopInstances", InstanceId__1=one, Hibernate="false", SkipOsShutdown="false"), "StopInstances")
    assert clc.rows("SELECT is_forced FROM instance WHERE instance_id = ?", one) == [(0,)]
    check_ec2(clc.ec2(account, "StopInstances", InstanceId__1=one, Force="true"), "StopInstances")
    check_ec2(clc.ec2(account, "TerminateInstances", InstanceId__1=two, SkipOsShutdown="true"), "TerminateInstances")
    assert clc.rows("SELECT is_forced FROM instance WHERE instance_id IN (?, ?)", one, two) == [(1,), (1,)]


def test_client_tokens(clc, account):
    token = "~" * 64
    first = run(clc, account, ClientToken=token).text("instanceId")
    assert run(clc, account, ClientToken=token).text("instanceId") == first
    words = {"ImageId": account.image, "MinCount": "1", "MaxCount": "1", "ClientToken": token}
    for other in ({"InstanceType": "t2.micro"}, {"InstanceType": "t2.nano", "DisableApiStop": "true"},
                  {"InstanceType": "t2.nano", "MetadataOptions.HttpTokens": "required"}):
        check_error(clc.ec2(account, "RunInstances", **words, **other), 400, "IdempotentParameterMismatch")
    assert described(clc, account, first)["clientToken"] == token
    one, two = (run(clc, account, ClientToken="").text("instanceId") for _ in range(2))  # which is none
    assert one != two
    check_error(clc.ec2(account, "RunInstances", **{**words, "ClientToken": "é"}), 400, "InvalidParameterValue")
