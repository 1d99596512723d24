"""How long what walrus knows of keys lives, and how soon it learns of those that are revoked."""
import signal
import sqlite3
import time

import pytest
from test_objects import code
from world import World, wait_for

AGE = 2  # seconds


@pytest.fixture
def brief(world):
    """What is known lives for AGE; whatever the test does to the daemons is undone."""
    world.restart(identity_max_age=f"{AGE}s")
    yield world
    for daemon in (world.clc, world.walrus):
        if daemon.process:
            daemon.process.send_signal(signal.SIGCONT)
    if not world.clc.process:
        world.clc.start()
    world.restart()


def account(world, name):
    keys = World.credentials(world.admin("account", "create", name))
    wait_for(lambda: world.knows(keys[0]), 5)
    return keys


def revoke(world, key):
    with sqlite3.connect(f"{world.clc.state}/clc.db", timeout=10) as db:
        db.execute("UPDATE access_key SET is_active = 0, generation = generation + 1 WHERE access_key_id = ?", (key,))
        db.execute("UPDATE outbox_state SET last_revision = last_revision + 1")
        db.execute("INSERT INTO outbox SELECT last_revision, 1, 'access_key', ?, '', NULL FROM outbox_state", (key,))
    db.close()


def status(world, keys):
    return world.request("GET", "/", keys=keys)[0]


def test_revoked_while_connected(world):
    keys = account(world, "revoked-1")
    assert status(world, keys) == 200
    revoke(world, keys[0])
    world.admin("account", "create", "revoked-1-news")  # the clc hears of what was written behind its back
    begin = time.monotonic()
    wait_for(lambda: status(world, keys) == 403, 5)
    assert time.monotonic() - begin < 1
    assert status(world, world.admin_keys) == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP], ids=["stopped", "killed", "hung"])
def test_an_outage(brief, how):
    """Known keys live for AGE after the last answer, not longer; then 503 until the clc answers, and then what was
    revoked meanwhile is refused from the first request on."""
    world = brief
    name = f"outage-{how.name.lower()}"
    keys = account(world, name)
    if how == signal.SIGSTOP:
        world.clc.process.send_signal(how)
    else:
        world.clc.kill(how)
    end = time.monotonic() + AGE + 0.2
    assert status(world, keys) == 200
    seen = set()
    while time.monotonic() < end:
        seen.add(status(world, keys))
        time.sleep(0.05)
    assert seen <= {200, 503}
    assert status(world, keys) == 503
    got, headers, text = world.request("GET", "/", keys=keys)
    assert got == 503 and b"<Code>ServiceUnavailable</Code>" in text
    assert not world.walrus.is_ready() and "identity" in world.page("/readyz")
    assert world.metric("mallee_walrus_identity_age_seconds") > AGE
    assert world.request("GET", "/unsigned-bucket-that-is-not-there/x", headers={}, keys=("AKIANOBODY", "x"))[0] == 503
    revoke(world, keys[0])
    if how == signal.SIGSTOP:
        world.clc.process.send_signal(signal.SIGCONT)
    else:
        world.clc.start()
    seen = []
    wait_for(lambda: seen.append(status(world, keys)) or seen[-1] != 503, 15)
    assert set(seen) <= {503, 403} and seen[-1] == 403, seen
    assert status(world, world.admin_keys) == 200


def test_a_start_hears_of_what_was_revoked_first(brief):
    """Revoked while walrus was away: no request is served by what it knew, ready or not."""
    world = brief
    keys = account(world, "start-1")
    assert status(world, keys) == 200
    world.walrus.kill()
    revoke(world, keys[0])
    world.walrus.start(wait=False)
    seen = []

    def asked():
        try:
            seen.append(status(world, keys))
        except OSError:
            return False
        return seen[-1] != 503
    wait_for(asked, 15)
    assert set(seen) <= {503, 403} and seen[-1] == 403, seen
    wait_for(world.walrus.is_ready)


def test_a_restart_does_not_make_it_younger(brief):
    """In an outage: known keys work after a restart as well, but not longer than without it."""
    world = brief
    keys = account(world, "restart-1")
    world.clc.kill()
    end = time.monotonic() + AGE + 0.3
    world.walrus.kill()
    world.walrus.start(wait=False)
    seen = []
    while time.monotonic() < end:
        try:
            seen.append(status(world, keys))
        except OSError:
            pass
        time.sleep(0.02)
    assert 200 in seen, seen
    assert status(world, keys) == 503
    world.walrus.kill()
    world.walrus.start(wait=False)
    time.sleep(0.5)
    assert status(world, keys) == 503
    world.clc.start()
    wait_for(lambda: status(world, keys) == 200, 15)


def test_anonymous_requests_need_no_clc(brief):
    world = brief
    world.clc.kill()
    wait_for(lambda: status(world, world.admin_keys) == 503, AGE + 5)
    connection = world.connection()
    connection.request("GET", "/nobody-has-this-bucket/a")
    reply = connection.getresponse()
    assert reply.status == 404 and b"NoSuchBucket" in reply.read()
    connection.close()
