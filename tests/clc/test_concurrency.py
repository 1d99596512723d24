"""A hundred clients of one account at once, by hand-signed requests on connections that they keep: limits are exact,
tokens mean one thing, nothing waits for ever. Figures are printed.
"""
import collections
import concurrent.futures
import http.client
import threading
import time

import front
import pytest
from strict import check_ec2, check_error
from world import OPERATIONS

CLIENTS = 100
DEADLINE_S = 120  # for all of a test's calls; sanitizers and neighbours are slow
SANITIZED = "asan" in front.BUILD or "tsan" in front.BUILD


@pytest.fixture(scope="module")
def daemon():
    made = front.Clc()
    made.seed_zone("zone-a", vcpus=1000000, memory_mib=1 << 30, disk_gib=1 << 30)
    try:
        yield made.start()
    finally:
        made.close()


_count = iter(range(1, 1 << 30))


@pytest.fixture
def account(daemon):
    n = next(_count)
    made = daemon.new_account(f"crowd-{n}")
    made.image = daemon.seed_image(made, f"ami-{n:017x}")
    return made


class Client:
    """One of them: a kept connection."""

    def __init__(self, daemon, account):
        self.daemon, self.account = daemon, account
        self.connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=DEADLINE_S)

    def call(self, action, **params):
        body = "&".join(f"{front.quote(k.replace('__', '.'))}={front.quote(v)}" for k, v in
                        {"Action": action, "Version": front.VERSION, **params}.items()).encode()
        stamp = front.now().strftime("%Y%m%dT%H%M%SZ")
        headers = {"Host": f"127.0.0.1:{self.daemon.port}", "X-Amz-Date": stamp, "Content-Type": "application/x-www-form-urlencoded"}
        headers["Authorization"] = front.sign_v4(self.account.key, self.account.secret, "POST", "/", "", headers, body, stamp,
                                                 front.REGION, "ec2")
        self.connection.request("POST", "/", body, headers)
        reply = self.connection.getresponse()
        return front.Reply(reply.status, dict(reply.getheaders()), reply.read())

    def run(self, **params):
        return self.call("RunInstances", **{"ImageId": self.account.image, "InstanceType": "t2.nano", "MinCount": "1",
                                            "MaxCount": "1", **params})


def crowd(daemon, account, body, clients=CLIENTS):
    """body(client, number) by all at the same moment; their results, and requests a second."""
    barrier, calls = threading.Barrier(clients), collections.Counter()

    def one(number):
        client = Client(daemon, account)
        inner = client.call

        def counted(*words, **params):
            calls["all"] += 1
            return inner(*words, **params)
        client.call = counted
        barrier.wait(DEADLINE_S)
        try:
            return body(client, number)
        finally:
            client.connection.close()
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(one, range(clients), timeout=DEADLINE_S))
    spent = time.monotonic() - begin
    print(f"\n{calls['all']} requests of {clients} clients in {spent:.1f} s: {calls['all'] / spent:.0f}/s")
    return results


def codes(replies):
    return collections.Counter(r.code or 200 for r in replies)


@pytest.mark.parametrize("limit", [1, 37, 99])
def test_the_quota_is_exact(daemon, account, limit):
    daemon.rows("INSERT INTO quota VALUES (?, 'instances', ?)", account.id, limit)
    replies = crowd(daemon, account, lambda client, n: client.run())
    assert codes(replies) == {200: limit, "InstanceLimitExceeded": CLIENTS - limit}
    assert daemon.rows("SELECT COUNT(*), COUNT(DISTINCT instance_id) FROM instance WHERE account_id = ?", account.id) == [(limit, limit)]
    # What ends makes room for exactly as many.
    victim = next(r for r in replies if r.status == 200).text("instanceId")
    daemon.rows("UPDATE instance SET state = 'terminated', holds = 0 WHERE instance_id = ?", victim)
    again = crowd(daemon, account, lambda client, n: client.run(), clients=20)
    assert codes(again) == {200: 1, "InstanceLimitExceeded": 19}


def test_quotas_of_several_each(daemon, account):
    """Who asks for 3 and takes 1 gets what is left, never more in all."""
    daemon.rows("INSERT INTO quota VALUES (?, 'instances', 50)", account.id)
    replies = crowd(daemon, account, lambda client, n: client.run(MaxCount="3"))
    assert sum(len(r.all("instanceId")) for r in replies if r.status == 200) == 50
    assert set(codes(replies)) == {200, "InstanceLimitExceeded"}


def test_one_token_is_one_reservation(daemon, account):
    replies = crowd(daemon, account, lambda client, n: client.run(ClientToken="the same", MinCount="2", MaxCount="2"))
    assert len({r.text("reservationId") for r in replies}) == 1, codes(replies)
    assert len({tuple(check_ec2(r, "RunInstances").all("instanceId")) for r in replies}) == 1
    assert daemon.rows("SELECT COUNT(*) FROM instance WHERE account_id = ?", account.id) == [(2,)]


def test_one_token_for_different_requests(daemon, account):
    """One of them wins; those that ask for the same get its instances, the others are told."""
    replies = crowd(daemon, account, lambda client, n: client.run(ClientToken="shared", MinCount=str(n % 4 + 1), MaxCount=str(n % 4 + 1)))
    assert codes(replies) == {200: 25, "IdempotentParameterMismatch": 75}
    assert len({r.text("reservationId") for r in replies if r.status == 200}) == 1


def test_names_are_given_once(daemon, account):
    replies = crowd(daemon, account, lambda client, n: client.call("CreateKeyPair", KeyName="wanted by all", KeyType="ed25519"))
    assert codes(replies) == {200: 1, "InvalidKeyPair.Duplicate": CLIENTS - 1}
    assert len(daemon.rows("SELECT * FROM key_pair WHERE account_id = ?", account.id)) == 1


def test_each_state_changes_once(daemon, account):
    instance = check_ec2(Client(daemon, account).run(), "RunInstances").text("instanceId")
    replies = crowd(daemon, account, lambda client, n: client.call("TerminateInstances", InstanceId__1=instance))
    before = [r.find("previousState").find("{*}name").text for r in replies]
    assert collections.Counter(before) == {"pending": 1, "shutting-down": CLIENTS - 1}


@pytest.mark.skipif("CreateTags" not in OPERATIONS, reason="CreateTags is no action of ours yet")
def test_fifty_tags_are_fifty(daemon, account):
    """Of a hundred tags wanted on one instance, each by a client of its own, exactly fifty are there."""
    instance = check_ec2(Client(daemon, account).run(), "RunInstances").text("instanceId")
    replies = crowd(daemon, account, lambda client, n: client.call("CreateTags", ResourceId__1=instance, Tag__1__Key=f"key {n}",
                                                                   Tag__1__Value="v"))
    assert codes(replies) == {200: 50, "TagLimitExceeded": CLIENTS - 50}
    shown = Client(daemon, account).call("DescribeInstances", InstanceId__1=instance)
    assert len(set(shown.all("key"))) == 50
    # Those that are there may be changed; others still may not come.
    again = crowd(daemon, account, lambda client, n: client.call("CreateTags", ResourceId__1=instance, Tag__1__Key=f"key {n}",
                                                                 Tag__1__Value="w"))
    assert codes(again) == {200: 50, "TagLimitExceeded": CLIENTS - 50}


def test_everything_at_once(daemon, account):
    """Launches, reads, stops, starts, ends and keys, ten of each client: all answered, the books in order."""
    allowed = {None, "IncorrectInstanceState", "InvalidKeyPair.Duplicate", "InvalidKeyPair.NotFound"}

    def story(client, n):
        seen = []
        made = client.run(ClientToken=f"of {n}")
        instance = check_ec2(made, "RunInstances").text("instanceId")
        for action, params in (("DescribeInstances", {}), ("CreateKeyPair", {"KeyName": f"key {n % 10}", "KeyType": "ed25519"}),
                               ("StopInstances", {"InstanceId__1": instance}), ("DescribeImages", {"Owner__1": "self"}),
                               ("StartInstances", {"InstanceId__1": instance}), ("DeleteKeyPair", {"KeyName": f"key {n % 10}"}),
                               ("DescribeSubnets", {}), ("TerminateInstances", {"InstanceId__1": instance}),
                               ("DescribeInstances", {"InstanceId__1": instance})):
            reply = client.call(action, **params)
            assert reply.code in allowed, reply
            seen.append(reply.status)
        return seen
    assert len(crowd(daemon, account, story)) == CLIENTS
    assert daemon.rows("SELECT COUNT(*), COUNT(DISTINCT instance_id) FROM instance WHERE account_id = ?", account.id) == [(100, 100)]
    assert daemon.rows("SELECT COUNT(*) - COUNT(DISTINCT address) FROM network_interface WHERE account_id = ?", account.id) == [(0,)]
    assert daemon.status_get("/readyz")[0] == 200


def test_reads_are_many(daemon, account):
    for _ in range(5):
        Client(daemon, account).run()

    def reads(client, n):
        return [client.call("DescribeInstances").status for _ in range(20)]
    begin = time.monotonic()
    assert all(s == [200] * 20 for s in crowd(daemon, account, reads))
    assert time.monotonic() - begin < (90 if SANITIZED else 30)
    check_error(Client(daemon, account).call("DescribeNothing"), 400, "InvalidAction")
