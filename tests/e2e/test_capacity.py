"""Capacity is never oversold, however many ask at once."""
from cloud import ClientError, code_of, eventually, parallel

BIG = "m1.large"


def capacity(cloud, size):
    """How many of a type the zone could still take, as the operator's tool says it: {type: free}."""
    for line in cloud.admin("capacity").splitlines():
        words = line.split()
        if len(words) >= 3 and words[-3] == size:
            return int(words[-2]), int(words[-1])
    raise AssertionError(f"mallee-admin capacity does not name {size}")


def test_a_hundred_at_once(cloud, tidy):
    """A hundred clients each ask for one large instance; as many get one as there is room for, all others
    InsufficientInstanceCapacity, and every accepted one runs."""
    free, _ = capacity(cloud, BIG)
    clients = [cloud.client("ec2") for _ in range(100)]
    results = parallel([lambda c=c: cloud.run(ec2=c, InstanceType=BIG) for c in clients])
    accepted = [one for one, problem in results if one]
    for _, problem in results:
        if problem is not None:
            assert isinstance(problem, ClientError), problem
            assert code_of(problem) == "InsufficientInstanceCapacity", problem
    assert len(accepted) == min(free, 100)
    cloud.ec2.terminate_instances(InstanceIds=accepted)
    for one in accepted:
        cloud.wait(one, "terminated", 180)
    eventually("the room is given back", 30, lambda: capacity(cloud, BIG)[0] == free)


def test_all_or_nothing(cloud, tidy):
    free, _ = capacity(cloud, BIG)
    try:
        cloud.run(count=free + 1, InstanceType=BIG)
        raise AssertionError("accepted more than there is room for")
    except ClientError as problem:
        assert code_of(problem) == "InsufficientInstanceCapacity"
    assert capacity(cloud, BIG)[0] == free
    # MinCount below, MaxCount above: as many as fit.
    made = cloud.run(count=1, MinCount=1, MaxCount=free + 5, InstanceType=BIG)
    made = [made] if isinstance(made, str) else made
    assert len(made) == free
    cloud.terminate(*made)
