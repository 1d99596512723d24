"""Where instances are to go: capacity that is exact node by node, policies, maintenance, placement groups."""
import collections
import concurrent.futures
import subprocess

import front
import pytest
from strict import check_ec2, check_error

TYPES = {"t2.nano": 1, "m1.large": 2, "m1.xlarge": 4}   # processors


@pytest.fixture
def cloud():
    daemon = front.Clc()
    daemon.seed_zone("zone-a", vcpus=1, memory_mib=1)
    daemon.rows("DELETE FROM node")
    daemon.image = daemon.seed_image(daemon.admin)
    try:
        yield daemon
    finally:
        daemon.close()


def nodes(cloud, *vcpus, zone="zone-a", **room):
    for n, v in enumerate(vcpus):
        cloud.seed_node(zone, v, node_id=f"nc-{zone}-{n + 1}", **room)
    return cloud.start()


def run(cloud, **words):
    return cloud.ec2(cloud.admin, "RunInstances", **{"ImageId": cloud.image, "MinCount": "1", "MaxCount": "1",
                                                     "InstanceType": "t2.nano", **words})


def ids(reply):
    return check_ec2(reply, "RunInstances").all("instanceId")


def placed(cloud):
    """{instance: (node, partition)}"""
    return {i: (node, partition) for i, node, partition in cloud.rows(
        "SELECT instance_id, preferred_node_id, partition_number FROM instance WHERE holds > 0")}


def per_node(cloud):
    return collections.Counter(node for node, _ in placed(cloud).values())


def admin_fails(cloud, *words):
    done = subprocess.run([cloud.program("mallee-admin"), "--runtime-dir", f"{cloud.directory}/run", *words],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    return done.stderr


def move(cloud, instance, state):
    """As its zone would report it."""
    holds = {"running": 2, "stopped": 1, "terminated": 0}[state]
    cloud.rows("UPDATE instance SET state = ?, wanted = ?, holds = ?, node_id = preferred_node_id WHERE instance_id = ?",
               state, state, holds, instance)


def capacity(cloud, kind="m1.large"):
    count, sentence = cloud.mallee_admin("capacity", kind, "zone-a").splitlines()
    return int(count), sentence


# -- capacity --

def test_fragmented(cloud):
    """3 + 3 + 3 processors are room for three of two processors each, not for four."""
    nodes(cloud, 3, 3, 3)
    count, sentence = capacity(cloud)
    assert count == 3
    assert "(zone-a): 3 nodes are full (processors)." in sentence
    for _ in range(count):
        ids(run(cloud, InstanceType="m1.large"))
    refused = run(cloud, InstanceType="m1.large")
    check_error(refused, 500, "InsufficientInstanceCapacity", sentence)
    assert capacity(cloud) == (0, sentence)
    assert set(per_node(cloud).values()) == {1}
    assert capacity(cloud, "t2.nano")[0] == 3
    assert len(ids(run(cloud, MaxCount="10"))) == 3


def test_all_or_nothing(cloud):
    nodes(cloud, 3, 3)
    refused = run(cloud, InstanceType="m1.large", MinCount="3", MaxCount="3")
    check_error(refused, 500, "InsufficientInstanceCapacity")
    assert "there is room for 2, then 2 nodes are full (processors)" in refused.message
    assert not placed(cloud)
    assert len(ids(run(cloud, InstanceType="m1.large", MinCount="1", MaxCount="3"))) == 2


def test_each_reason(cloud):
    nodes(cloud, 1, 8, 8, 8)
    cloud.rows("UPDATE node SET memory_mib = 100 WHERE node_id = 'nc-zone-a-2'")
    cloud.rows("UPDATE node SET state = 'silent' WHERE node_id = 'nc-zone-a-3'")
    cloud.mallee_admin("node", "maintenance", "nc-zone-a-4", "on", "new fans")
    count, sentence = capacity(cloud)
    assert count == 0
    assert "1 node is full (processors), 1 is full (memory), 1 is in maintenance, 1 is silent" in sentence
    check_error(run(cloud, InstanceType="m1.large"), 500, "InsufficientInstanceCapacity", sentence)


def test_hundred_at_once_on_fragmented_nodes(cloud):
    """Mixed sizes from a hundred threads: no node ever holds more than it has, and none has room that was refused."""
    shape = (3, 5, 7, 2, 9)
    nodes(cloud, *shape)
    kinds = list(TYPES)
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda n: (kinds[n % 3], run(cloud, InstanceType=kinds[n % 3])), range(100)))
    refused = {kind for kind, reply in replies if reply.status != 200}
    for _, reply in replies:
        if reply.status != 200:
            check_error(reply, 500, "InsufficientInstanceCapacity")
    assert refused == set(kinds)
    held = dict(cloud.rows("SELECT preferred_node_id, SUM(vcpus) FROM instance WHERE holds = 2 GROUP BY 1"))
    assert held == {f"nc-zone-a-{n + 1}": v for n, v in enumerate(shape)}   # ones fill every gap


@pytest.mark.parametrize("kind", list(TYPES))
def test_capacity_is_what_launches_find(cloud, kind):
    nodes(cloud, 3, 5, 1, 9)
    ids(run(cloud, InstanceType="t2.nano", MinCount="4", MaxCount="4"))
    count, sentence = capacity(cloud, kind)
    if count:
        assert len(ids(run(cloud, InstanceType=kind, MinCount=str(count), MaxCount=str(count)))) == count
    check_error(run(cloud, InstanceType=kind), 500, "InsufficientInstanceCapacity", sentence)


def test_starting_again_needs_room_on_the_node_of_its_disk(cloud):
    nodes(cloud, 2, 8)
    cloud.mallee_admin("zone", "set", "zone-a", "policy=greedy")
    first = ids(run(cloud, InstanceType="m1.large"))[0]
    assert placed(cloud)[first][0] == "nc-zone-a-1"
    move(cloud, first, "stopped")
    ids(run(cloud))     # takes one of the two processors there; the other node has eight
    assert per_node(cloud) == {"nc-zone-a-1": 2}
    reply = cloud.ec2(cloud.admin, "StartInstances", InstanceId__1=first)
    check_error(reply, 500, "InsufficientInstanceCapacity")
    assert "the node that has its disk is full (processors)" in reply.message


def test_one_that_never_had_a_node_gets_one(cloud):
    nodes(cloud, 2, 2)
    first = ids(run(cloud, InstanceType="m1.large"))[0]
    cloud.rows("UPDATE instance SET state = 'stopped', wanted = 'stopped', holds = 1 WHERE instance_id = ?", first)
    reserved = placed(cloud)[first][0]
    cloud.rows("UPDATE node SET state = 'silent' WHERE node_id = ?", reserved)
    check_ec2(cloud.ec2(cloud.admin, "StartInstances", InstanceId__1=first), "StartInstances")
    assert placed(cloud)[first][0] not in (None, reserved)


# -- policies, maintenance --

def test_policies(cloud):
    nodes(cloud, 8, 8)
    assert cloud.mallee_admin("zone", "list") == "zone-a id=m1-az1 policy=round-robin nodes=2\n"
    ids(run(cloud, MinCount="4", MaxCount="4"))
    assert sorted(per_node(cloud).values()) == [2, 2]
    for policy in ("greedy", "power-save"):
        cloud.mallee_admin("zone", "set", "zone-a", f"policy={policy}")
        assert f"policy={policy}" in cloud.mallee_admin("zone", "list")
        ids(run(cloud, MinCount="3", MaxCount="3"))
    assert sorted(per_node(cloud).values()) == [2, 8]
    revision = cloud.rows("SELECT nodes_revision, nodes_put FROM zone")[0]
    assert revision[0] > revision[1]        # the zone is told
    assert "there is no policy 'fair'" in admin_fails(cloud, "zone", "set", "zone-a", "policy=fair")
    assert "there is no zone 'zone-x'" in admin_fails(cloud, "zone", "set", "zone-x", "policy=greedy")
    assert "there is no zone 'zone-x'" in admin_fails(cloud, "capacity", "t2.nano", "zone-x")
    assert admin_fails(cloud, "capacity", "t9.none", "zone-a")


def test_asleep_counts_and_is_woken_last(cloud):
    nodes(cloud, 2, 2)
    cloud.rows("UPDATE node SET power = 'asleep', memory_mib = memory_mib + 1 WHERE node_id = 'nc-zone-a-1'")
    assert capacity(cloud, "t2.nano")[0] == 4
    ids(run(cloud, MinCount="2", MaxCount="2"))
    assert per_node(cloud) == {"nc-zone-a-2": 2}
    ids(run(cloud))
    assert per_node(cloud) == {"nc-zone-a-2": 2, "nc-zone-a-1": 1}
    assert "power=asleep" in cloud.mallee_admin("nodes")


def test_maintenance(cloud):
    nodes(cloud, 4, 4)
    ids(run(cloud, MinCount="2", MaxCount="2"))
    said = cloud.mallee_admin("node", "maintenance", "nc-zone-a-1", "on", "new fans")
    assert said == "nc-zone-a-1 takes no new instances; 1 that it has go on until they are ended\n"
    line = next(x for x in cloud.mallee_admin("nodes").splitlines() if x.startswith("nc-zone-a-1"))
    assert "maintenance_since=" in line and 'maintenance_reason="new fans"' in line
    assert cloud.rows("SELECT is_maintained, maintenance_us > 0, maintenance_reason FROM node ORDER BY node_id") == [
        (1, 1, "new fans"), (0, None, None)]
    assert capacity(cloud, "t2.nano")[0] == 3
    assert len(ids(run(cloud, MaxCount="9"))) == 3
    assert per_node(cloud) == {"nc-zone-a-1": 1, "nc-zone-a-2": 4}
    stopped = next(i for i, (node, _) in placed(cloud).items() if node == "nc-zone-a-1")
    move(cloud, stopped, "stopped")
    reply = cloud.ec2(cloud.admin, "StartInstances", InstanceId__1=stopped)
    check_error(reply, 500, "InsufficientInstanceCapacity")
    assert "the node that has its disk is in maintenance" in reply.message
    cloud.stop(9)
    cloud.start()       # what an operator was told outlives the daemon
    assert "maintenance_since=" in cloud.mallee_admin("nodes")
    cloud.mallee_admin("node", "maintenance", "nc-zone-a-1", "off")
    assert "maintenance" not in cloud.mallee_admin("nodes")
    check_ec2(cloud.ec2(cloud.admin, "StartInstances", InstanceId__1=stopped), "StartInstances")
    assert "neither on nor off" in admin_fails(cloud, "node", "maintenance", "nc-zone-a-1", "maybe")
    assert "there is no node" in admin_fails(cloud, "node", "maintenance", "nc-none", "on")


def test_removing(cloud):
    nodes(cloud, 4, 4)
    one = ids(run(cloud))[0]
    node = placed(cloud)[one][0]
    assert "holds 1 instance(s)" in admin_fails(cloud, "node", "remove", node)
    assert node in cloud.mallee_admin("nodes")
    assert "can only be terminated" in cloud.mallee_admin("node", "remove", node, "--force")
    assert node not in cloud.mallee_admin("nodes")
    assert "there is no node" in admin_fails(cloud, "node", "remove", node)
    assert capacity(cloud, "t2.nano")[0] == 4
    assert "there is no peer" in admin_fails(cloud, "peer", "remove", "cc-none")
    cloud.rows("INSERT INTO peer (peer_id, role, zone, url, fingerprint, expires_us, joined_us) VALUES"
               " ('cc-1', 'cc', 'zone-a', 'https://127.0.0.1:1', 'f', 1, 1), ('nc-9', 'nc', 'zone-a', 'https://x:1', 'f', 1, 1)")
    assert "mallee-admin node remove" in admin_fails(cloud, "peer", "remove", "nc-9")
    assert "zone 'zone-a' holds 1 instance(s)" in admin_fails(cloud, "peer", "remove", "cc-1")
    move(cloud, one, "terminated")
    assert "no longer part" in cloud.mallee_admin("peer", "remove", "cc-1")
    assert cloud.rows("SELECT COUNT(*) FROM peer WHERE role = 'cc'") == [(0,)]


def test_power_orders_need_a_zone(cloud):
    nodes(cloud, 4)
    for verb in ("sleep", "wake"):
        assert "has no cluster controller" in admin_fails(cloud, "node", verb, "nc-zone-a-1")
        assert "there is no node" in admin_fails(cloud, "node", verb, "nc-none")


# -- placement groups --

def group(cloud, name, **words):
    return check_ec2(cloud.ec2(cloud.admin, "CreatePlacementGroup", GroupName=name, **words), "CreatePlacementGroup")


def test_groups_as_told(cloud):
    nodes(cloud, 4)
    made = group(cloud, "near", Strategy="cluster", TagSpecification__1__ResourceType="placement-group",
                 TagSpecification__1__Tag__1__Key="k", TagSpecification__1__Tag__1__Value="v")
    assert made.text("groupId").startswith("pg-") and made.text("state") == "available" and made.text("key") == "k"
    assert made.text("groupArn") == f"arn:aws:ec2:{front.REGION}:{cloud.admin.id}:placement-group/near"
    assert made.text("partitionCount") is None and made.text("spreadLevel") is None
    assert group(cloud, "apart", Strategy="spread").text("spreadLevel") == "rack"
    assert group(cloud, "host", Strategy="spread", SpreadLevel="host").text("spreadLevel") == "host"
    assert group(cloud, "parts", Strategy="partition", PartitionCount="7").text("partitionCount") == "7"
    assert group(cloud, "two", Strategy="partition").text("partitionCount") == "2"
    assert group(cloud, "plain").text("strategy") == "cluster"

    def described(**words):
        return check_ec2(cloud.ec2(cloud.admin, "DescribePlacementGroups", **words), "DescribePlacementGroups").all("groupName")
    assert described() == ["near", "apart", "host", "parts", "two", "plain"]
    assert described(GroupName__1="two", GroupName__2="near") == ["near", "two"]
    assert described(GroupId__1=made.text("groupId")) == ["near"]
    for name, value, found in (("strategy", "spread", ["apart", "host"]), ("spread-level", "host", ["host"]),
                               ("group-name", "p*", ["parts", "plain"]), ("state", "available", described()),
                               ("state", "deleted", []), ("tag:k", "v", ["near"]), ("tag-key", "k", ["near"]),
                               ("group-arn", made.text("groupArn"), ["near"])):
        assert described(Filter__1__Name=name, Filter__1__Value__1=value) == found, name
    other = cloud.new_account("other")
    assert check_ec2(cloud.ec2(other, "DescribePlacementGroups"), "DescribePlacementGroups").all("groupName") == []
    check_error(cloud.ec2(other, "DescribePlacementGroups", GroupId__1=made.text("groupId")), 400,
                "InvalidPlacementGroup.Unknown")
    check_ec2(cloud.ec2(other, "CreatePlacementGroup", GroupName="near"), "CreatePlacementGroup")
    assert check_ec2(cloud.ec2(cloud.admin, "DeletePlacementGroup", GroupName="two"), "DeletePlacementGroup").text("return") == "true"
    assert "two" not in described()


WRONG = [
    ("CreatePlacementGroup", {"GroupName": "there"}, "InvalidPlacementGroup.Duplicate", "The Placement Group 'there' already exists."),
    ("CreatePlacementGroup", {"GroupName": "x" * 256}, "InvalidParameterValue", None),
    ("CreatePlacementGroup", {"GroupName": "é"}, "InvalidParameterValue", None),
    ("CreatePlacementGroup", {"GroupName": "n", "Strategy": "apart"}, "InvalidParameterValue", None),
    ("CreatePlacementGroup", {"GroupName": "n", "Strategy": "partition", "PartitionCount": "0"}, "InvalidParameterValue", None),
    ("CreatePlacementGroup", {"GroupName": "n", "Strategy": "partition", "PartitionCount": "8"}, "InvalidParameterValue", None),
    ("CreatePlacementGroup", {"GroupName": "n", "Strategy": "spread", "PartitionCount": "2"}, "InvalidParameterCombination", None),
    ("CreatePlacementGroup", {"GroupName": "n", "Strategy": "cluster", "SpreadLevel": "host"}, "InvalidParameterCombination", None),
    ("CreatePlacementGroup", {"GroupName": "n", "TagSpecification.1.ResourceType": "instance",
                              "TagSpecification.1.Tag.1.Key": "k"}, "InvalidParameterValue", None),
    ("DeletePlacementGroup", {"GroupName": "none"}, "InvalidPlacementGroup.Unknown", "The Placement Group 'none' is unknown."),
    ("DescribePlacementGroups", {"GroupName.1": "none"}, "InvalidPlacementGroup.Unknown", None),
    ("DescribePlacementGroups", {"GroupId.1": "pg-0123456789abcdef0"}, "InvalidPlacementGroup.Unknown", None),
    ("DescribePlacementGroups", {"GroupId.1": "there"}, "InvalidPlacementGroupId.Malformed", None),
    ("RunInstances", {"Placement.GroupName": "none"}, "InvalidPlacementGroup.Unknown", None),
    ("RunInstances", {"Placement.GroupId": "pg-0123456789abcdef0"}, "InvalidPlacementGroup.Unknown", None),
    ("RunInstances", {"Placement.GroupId": "pg"}, "InvalidPlacementGroupId.Malformed", None),
    ("RunInstances", {"Placement.GroupName": "there", "Placement.GroupId": "pg-0123456789abcdef0"}, "InvalidParameterCombination", None),
    ("RunInstances", {"Placement.GroupName": "there", "Placement.PartitionNumber": "1"}, "InvalidParameterCombination", None),
    ("RunInstances", {"Placement.PartitionNumber": "1"}, "InvalidParameterCombination", None),
    ("RunInstances", {"Placement.GroupName": "parts", "Placement.PartitionNumber": "4"}, "InvalidParameterValue", None),
    ("RunInstances", {"Placement.GroupName": "parts", "Placement.PartitionNumber": "0"}, "InvalidParameterValue", None),
    ("RunInstances", {"Placement.HostId": "h-1"}, "UnsupportedOperation", None),
    ("RunInstances", {"Placement.Affinity": "host"}, "UnsupportedOperation", None),
    ("RunInstances", {"Placement.HostResourceGroupArn": "arn:x"}, "UnsupportedOperation", None),
    ("RunInstances", {"Placement.SpreadDomain": "x"}, "UnsupportedOperation", None),
    ("RunInstances", {"Placement.Tenancy": "dedicated"}, "UnsupportedOperation", None),
    ("RunInstances", {"Placement.Tenancy": "mine"}, "InvalidParameterValue", None),
]


def test_groups_wrong(cloud):
    nodes(cloud, 4)
    group(cloud, "there")
    group(cloud, "parts", Strategy="partition", PartitionCount="3")
    for action, words, code, message in WRONG:
        base = {"ImageId": cloud.image, "MinCount": "1", "MaxCount": "1"} if action == "RunInstances" else {}
        check_error(cloud.ec2(cloud.admin, action, **base, **words), 400, code, message)
    cloud.rows("INSERT INTO quota VALUES (?, 'placement-groups', 2)", cloud.admin.id)
    check_error(cloud.ec2(cloud.admin, "CreatePlacementGroup", GroupName="third"), 400, "PlacementGroupLimitExceeded")
    assert not placed(cloud)


def test_cluster(cloud):
    nodes(cloud, 3, 6, 8)
    cloud.mallee_admin("zone", "set", "zone-a", "policy=greedy")
    cloud.rows("UPDATE node SET memory_mib = memory_mib - 1 WHERE node_id = 'nc-zone-a-1'")     # which greed would take
    group(cloud, "near")
    near = {"Placement__GroupName": "near"}
    assert len(ids(run(cloud, MinCount="5", MaxCount="5", **near))) == 5
    assert len(per_node(cloud)) == 1        # where all of them fit
    one = ids(run(cloud, **near))[0]
    assert len(per_node(cloud)) == 1
    described = check_ec2(cloud.ec2(cloud.admin, "DescribeInstances", InstanceId__1=one), "DescribeInstances")
    assert described.find("placement").find("{*}groupName").text == "near"
    assert described.find("placement").find("{*}partitionNumber") is None
    check_error(cloud.ec2(cloud.admin, "DeletePlacementGroup", GroupName="near"), 400, "InvalidPlacementGroup.InUse",
                "The placement group 'near' is in use and may not be deleted.")
    # No more room there: the next node, for as long as the zone has any.
    assert len(ids(run(cloud, MaxCount="100", **near))) == 11
    check_error(run(cloud, **near), 500, "InsufficientInstanceCapacity")
    for one in placed(cloud):
        move(cloud, one, "terminated")
    check_ec2(cloud.ec2(cloud.admin, "DeletePlacementGroup", GroupName="near"), "DeletePlacementGroup")
    reply = check_ec2(cloud.ec2(cloud.admin, "DescribeInstances", InstanceId__1=one), "DescribeInstances")
    assert not reply.find("placement").find("{*}groupName").text


def test_cluster_is_in_one_zone(cloud):
    cloud.seed_zone("zone-b", vcpus=64, third=16)
    nodes(cloud, 4)
    group(cloud, "near")
    ids(run(cloud, Placement__GroupName="near", Placement__AvailabilityZone="zone-a"))
    check_error(run(cloud, Placement__GroupName="near", Placement__AvailabilityZone="zone-b"), 400,
                "InvalidPlacementGroup.InUse", "The placement group 'near' is in use in another availability zone: zone-a")
    reply = run(cloud, Placement__GroupName="near")     # no zone named: where the others are, though zone-b has more room
    assert ids(reply) and reply.text("availabilityZone") == "zone-a"
    assert run(cloud).text("availabilityZone") == "zone-b"


def test_spread(cloud):
    nodes(cloud, *[8] * 9)
    group(cloud, "apart", Strategy="spread")
    apart = {"Placement__GroupName": "apart"}
    first = ids(run(cloud, MinCount="3", MaxCount="3", **apart))
    assert set(per_node(cloud).values()) == {1}
    assert len(ids(run(cloud, MaxCount="20", **apart))) == 4        # seven in a zone
    assert set(per_node(cloud).values()) == {1}
    reply = run(cloud, **apart)
    check_error(reply, 500, "InsufficientInstanceCapacity")
    assert "the spread placement group 'apart' has 7 running instances there" in reply.message
    # One that is stopped is not running; its node stays its own.
    move(cloud, first[0], "stopped")
    ids(run(cloud, **apart))
    assert set(per_node(cloud).values()) == {1}
    check_error(cloud.ec2(cloud.admin, "StartInstances", InstanceId__1=first[0]), 500, "InsufficientInstanceCapacity")
    move(cloud, first[1], "terminated")
    check_ec2(cloud.ec2(cloud.admin, "StartInstances", InstanceId__1=first[0]), "StartInstances")


def test_spread_over_few_nodes(cloud):
    nodes(cloud, 8, 8)
    group(cloud, "apart", Strategy="spread")
    reply = run(cloud, MinCount="3", MaxCount="3", Placement__GroupName="apart")
    check_error(reply, 500, "InsufficientInstanceCapacity")
    assert "there is room for 2, then 2 nodes have an instance of the placement group already" in reply.message


def test_partitions(cloud):
    nodes(cloud, *[8] * 4)
    group(cloud, "parts", Strategy="partition", PartitionCount="3")
    parts = {"Placement__GroupName": "parts"}
    ids(run(cloud, MinCount="7", MaxCount="7", **parts))
    assert sorted(collections.Counter(p for _, p in placed(cloud).values()).values()) == [2, 2, 3]
    reply = run(cloud, Placement__PartitionNumber="2", **parts)
    assert ids(reply) and reply.text("partitionNumber") == "2"
    for _ in range(12):
        ids(run(cloud, Placement__PartitionNumber="3", **parts))
    of_node = collections.defaultdict(set)
    for node, partition in placed(cloud).values():
        of_node[node].add(partition)
    assert all(len(p) == 1 for p in of_node.values()), of_node
    found = check_ec2(cloud.ec2(cloud.admin, "DescribeInstances", Filter__1__Name="placement-partition-number",
                                Filter__1__Value__1="3", Filter__2__Name="placement-group-name",
                                Filter__2__Value__1="parts"), "DescribeInstances").all("instanceId")
    assert set(found) == {i for i, (_, p) in placed(cloud).items() if p == 3}


def test_modify_placement(cloud):
    nodes(cloud, 8, 8)
    group(cloud, "apart", Strategy="spread")
    group(cloud, "parts", Strategy="partition", PartitionCount="3")
    cloud.mallee_admin("zone", "set", "zone-a", "policy=greedy")
    one, two = ids(run(cloud, MinCount="2", MaxCount="2"))
    assert len(per_node(cloud)) == 1

    def modify(instance, **words):
        return cloud.ec2(cloud.admin, "ModifyInstancePlacement", InstanceId=instance, **words)

    def placement(instance):
        reply = check_ec2(cloud.ec2(cloud.admin, "DescribeInstances", InstanceId__1=instance), "DescribeInstances")
        found = reply.find("placement")
        return (found.find("{*}groupName").text or "", getattr(found.find("{*}partitionNumber"), "text", None))
    check_error(modify(one, GroupName="apart"), 400, "IncorrectInstanceState")
    move(cloud, one, "stopped")
    move(cloud, two, "stopped")
    check_error(modify(one), 400, "MissingParameter")
    check_error(modify(one, GroupName="none"), 400, "InvalidPlacementGroup.Unknown")
    check_error(modify("i-0123456789abcdef0", GroupName="apart"), 400, "InvalidInstanceID.NotFound")
    check_error(modify("x", GroupName="apart"), 400, "InvalidInstanceID.Malformed")
    for words in ({"Tenancy": "host"}, {"Affinity": "host"}, {"HostId": "h-1"}, {"HostResourceGroupArn": "arn:x"}):
        check_error(modify(one, **words), 400, "UnsupportedOperation")
    for words in ({"Tenancy": "default"}, {"Affinity": "default"}):
        check_ec2(modify(one, **words), "ModifyInstancePlacement")
    assert check_ec2(modify(one, GroupName="apart"), "ModifyInstancePlacement").text("return") == "true"
    assert placement(one) == ("apart", None)
    # The other's disk is on the same node: it can't be spread from it.
    reply = modify(two, GroupName="apart")
    check_error(reply, 500, "InsufficientInstanceCapacity")
    assert "the node that has its disk has an instance of the placement group already" in reply.message
    check_ec2(modify(one, GroupName="parts", PartitionNumber="2"), "ModifyInstancePlacement")
    assert placement(one) == ("parts", "2")
    check_error(modify(two, GroupName="parts", PartitionNumber="1"), 500, "InsufficientInstanceCapacity")
    check_ec2(modify(two, GroupName="parts"), "ModifyInstancePlacement")
    assert placement(two) == ("parts", "2")     # its node's
    check_ec2(modify(two, GroupName=""), "ModifyInstancePlacement")
    assert placement(two) == ("", None)
    check_ec2(modify(one, PartitionNumber="3"), "ModifyInstancePlacement")
    assert placement(one) == ("parts", "3")
    check_error(modify(two, PartitionNumber="1"), 400, "InvalidParameterCombination")
    check_ec2(cloud.ec2(cloud.admin, "StartInstances", InstanceId__1=one), "StartInstances")
    check_error(modify(one, GroupName=""), 400, "IncorrectInstanceState")
