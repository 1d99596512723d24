"""Capacity is never oversold, however many ask at once."""
import re

from cloud import ClientError, code_of, eventually, parallel

BIG = "m1.large"
VCPUS = 2  # of it; virtual processors are what runs out first here


def free(cloud):
    """How many of BIG the nodes have room for, as the operator's tool says it."""
    room = 0
    for line in cloud.admin("nodes").splitlines():
        used, total = (int(n) for n in re.search(r"vcpus=(\d+)/(\d+)", line).groups())
        room += (total - used) // VCPUS
    return room


def settled(cloud):
    """The room, once the nodes' reports agree with the API."""
    def agree():
        vcpus = {t["InstanceType"]: t["VCpuInfo"]["DefaultVCpus"]
                 for t in cloud.ec2.describe_instance_types()["InstanceTypes"]}
        held = sum(vcpus[i["InstanceType"]] for i in cloud.instances("pending", "running", "stopping", "shutting-down"))
        used = sum(int(n) for n in re.findall(r"vcpus=(\d+)/", cloud.admin("nodes")))
        return held == used
    eventually("nodes report what runs", 30, agree)
    return free(cloud)


def test_a_hundred_at_once(cloud, tidy):
    """A hundred clients each ask for one large instance; as many get one as there is room for, all others
    InsufficientInstanceCapacity, and every accepted one is ended again."""
    room = settled(cloud)
    assert room > 1
    clients = [cloud.client("ec2") for _ in range(100)]
    results = parallel([lambda c=c: cloud.run(ec2=c, InstanceType=BIG) for c in clients])
    accepted = [one for one, problem in results if one]
    for _, problem in results:
        if problem is not None:
            assert isinstance(problem, ClientError), problem
            assert code_of(problem) == "InsufficientInstanceCapacity", problem
    assert len(accepted) == room
    # Nobody was promised what is not there: none of them fails for want of room.
    for one in accepted:
        cloud.wait(one, "running", 240)
    cloud.terminate(*accepted)
    eventually("the room is given back", 60, lambda: free(cloud) == room)


def test_all_or_nothing(cloud, tidy):
    room = settled(cloud)
    try:
        cloud.run(count=room + 1, InstanceType=BIG)
        raise AssertionError("accepted more than there is room for")
    except ClientError as problem:
        assert code_of(problem) == "InsufficientInstanceCapacity"
    # MinCount below, MaxCount above: as many as fit.
    made = cloud.run(count=2, MinCount=1, MaxCount=room + 5, InstanceType=BIG)
    assert len(made) == room
    cloud.terminate(*made)
    eventually("the room is given back", 60, lambda: free(cloud) == room)
