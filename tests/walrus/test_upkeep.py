"""Scrub, orphans, digests, backup and restoration, as an operator sees them."""
import hashlib
import os
import random
import re
import shutil
import signal
import sqlite3
import threading

import pytest
from botocore.exceptions import ClientError
from test_durability import flip
from test_multipart import PART, complete, make
from test_objects import MIB, code
from world import wait_for
import world as worlds


@pytest.fixture(scope="module", name="world")
def world_of_these_tests():
    """Of their own: what others left behind would be held after a restoration, and counted."""
    with worlds.living() as made:
        yield made


def scrub(world):
    """Orders one and waits for its end: the first line of the report, and those of damage."""
    before = world.ask("scrub").count("scrub state=ended")
    began = re.findall(r"began=(\S+)", world.ask("scrub"))[:1]
    world.ask("scrub", "start")

    def ended():
        lines = world.ask("scrub").splitlines()
        return lines and "state=ended" in lines[0] and re.findall(r"began=(\S+)", lines[0]) != began and lines
    lines = wait_for(ended, 20, "the scrub did not end")
    assert before <= 10 and world.ask("scrub").count("scrub state=") <= 10
    return dict(re.findall(r"(\w+)=(\S+)", lines[0])), [line for line in lines if line.startswith("damaged ")]


@pytest.fixture
def fast(world):
    world.restart(scrub_rate="1T", scrub_interval=0)
    yield world
    world.restart()


def flip_row(world, bucket, key):
    """One bit of an object's bytes in the store; walrus must be down."""
    with sqlite3.connect(f"{world.walrus.state}/walrus.db") as db:
        content, data = db.execute(
            "SELECT e.content_id, e.data FROM extent e JOIN object o ON o.content_id = e.content_id"
            " JOIN bucket b ON b.bucket_id = o.bucket_id WHERE b.name = ? AND o.object_key = ?",
            (bucket, key.encode())).fetchone()
        data = data[:-1] + bytes([data[-1] ^ 1])
        db.execute("UPDATE extent SET data = ? WHERE content_id = ?", (data, content))
    db.close()


def test_scrub_finds_each_kind_of_damage(fast, s3, bucket):
    """In data, tables and trailers of files, in rows, in parts, files that are gone or cut: named in the report, the
    log, a metric and health; and gone from there once they are."""
    world, rng = fast, random.Random(21)
    body = rng.randbytes(3 * MIB + 17)
    keys = {"data": 77, "later": 2 * MIB + 5, "last": 3 * MIB + 3, "table": 3 * MIB + 18, "trailer": None, "cut": None,
            "gone": None}
    for key in [*keys, "sound"]:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.put_object(Bucket=bucket, Key="in row", Body=b"small")
    s3.put_object(Bucket=bucket, Key="sound row", Body=b"small")
    upload, parts = make(s3, bucket, "of parts", [(1, bytes(PART)), (2, b"end")])
    complete(s3, bucket, "of parts", upload, parts)
    upload, _ = make(s3, bucket, "begun", [(1, bytes(PART)), (2, b"small part"), (3, bytes(PART))])
    report, damaged = scrub(world)
    assert report["damaged"] == "0" and not damaged and int(report["objects"]) >= 14
    assert int(report["bytes"]) >= 8 * len(body) + 3 * PART
    assert "scrub ok" in world.page("/readyz") and world.metric("mallee_walrus_scrub_damaged") == 0

    for key, offset in keys.items():
        path, = world.blob_paths(bucket, key)
        size = os.path.getsize(path)
        if key == "gone":
            os.unlink(path)
        elif key == "cut":
            os.truncate(path, size - 1)
        else:
            flip(path, size - 9 if offset is None else offset)
    flip(world.blob_paths(bucket, "of parts")[0], PART - 1)
    part = world.rows("SELECT blob_id FROM part WHERE upload_id = ? AND part_number = 3", upload)[0][0]
    flip(os.path.join(world.walrus.state, "blobs", part[:2], part[2:4], part), 5)
    world.walrus.kill(signal.SIGTERM)
    flip_row(world, bucket, "in row")
    world.walrus.start()
    report, damaged = scrub(world)
    wrong = {*keys, "in%20row", "of%20parts", "begun"}
    assert {re.search(r" key=(\S+)", line)[1] for line in damaged} == wrong
    assert report["damaged"] == str(len(wrong)) and all(f"bucket={bucket} " in line for line in damaged)
    assert any(f"upload={upload} part=3" in line for line in damaged)
    assert "scrub: 10 object(s)" in world.page("/readyz") and world.walrus.is_ready()
    assert world.metric("mallee_walrus_scrub_damaged") == len(wrong)
    with open(world.walrus.log, encoding="utf-8") as file:
        log = file.read()
    assert 'error walrus object.damaged' in log and 'key="in row"' in log and "error walrus part.damaged" in log
    for key in [*keys, "in row", "of parts"]:
        try:
            got = s3.get_object(Bucket=bucket, Key=key)
            assert key in ("later", "last", "of parts")  # the status line was out: the connection is cut
            with pytest.raises(Exception):
                got["Body"].read()
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500, key

    # Known after a restart; what is deleted, replaced or well again is no longer damaged.
    world.restart(scrub_rate="1T", scrub_interval=0)
    wait_for(lambda: "scrub: 10 object(s)" in world.page("/readyz"), 5)
    path, = world.blob_paths(bucket, "table")
    flip(path, keys["table"])
    s3.put_object(Bucket=bucket, Key="data", Body=body)
    s3.delete_object(Bucket=bucket, Key="gone")
    s3.abort_multipart_upload(Bucket=bucket, Key="begun", UploadId=upload)
    world.ask("--daemon", "walrus", "reconcilers", "run", "scrub")
    wait_for(lambda: "scrub: 7 object(s)" in world.page("/readyz"), 5)
    report, damaged = scrub(world)
    assert {re.search(r" key=(\S+)", line)[1] for line in damaged} == wrong - {"table", "data", "gone", "begun"}
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "in row"}, {"Key": "of parts"}]})
    assert scrub(world)[1] == []
    assert "scrub ok" in world.page("/readyz") and world.metric("mallee_walrus_scrub_damaged") == 0


def test_object_verify_and_show(world, s3, bucket):
    body = random.Random(22).randbytes(2 * MIB)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="a key", Body=body)["VersionId"]
    path, = world.blob_paths(bucket, "a key")
    second = s3.put_object(Bucket=bucket, Key="a key", Body=b"short")["VersionId"]
    shown = world.ask("object", "show", bucket, "a key")
    assert re.search(f"version={second} state=current .* bytes=5 ", shown) and "inline" in shown
    assert re.search(f"version={first} state=noncurrent .* bytes={2 * MIB} ", shown)
    assert os.path.relpath(path, world.walrus.state) in shown
    listed = world.ask("object", "list", bucket, "--prefix", "a").splitlines()
    assert len(listed) == 2 and all(line.startswith("a%20key version=") for line in listed)
    assert world.ask("object", "list", bucket, "--prefix", "b") == ""
    assert world.ask("object", "verify", bucket, "a key").count(" sound") == 2
    flip(path, MIB + 1)
    with pytest.raises(AssertionError, match=f'version={second} bytes=5 sound|version={first} .* damaged reason='):
        world.ask("object", "verify", bucket, "a key")
    with pytest.raises(AssertionError, match="there is no such key"):
        world.ask("object", "show", bucket, "b")
    with pytest.raises(AssertionError, match="there is no bucket"):
        world.ask("object", "list", "nobody-has-this")
    for version in (first, second):
        s3.delete_object(Bucket=bucket, Key="a key", VersionId=version)


def test_scrub_keeps_its_rate_and_goes_on_after_a_kill(world, s3, bucket):
    world.restart(scrub_rate="8M", scrub_interval=0)
    try:
        for n in range(4):
            s3.put_object(Bucket=bucket, Key=f"k{n}", Body=bytes([n]) * (4 * MIB))
        world.ask("scrub", "start")
        wait_for(lambda: world.metric("mallee_walrus_scrub_bytes_total") >= MIB, 5)
        assert "state=running" in world.ask("scrub")
        assert world.metric("mallee_walrus_scrub_bytes_total") < 12 * MIB
        world.restart(signal.SIGKILL, scrub_rate="1T", scrub_interval=0)
        lines = wait_for(lambda: "state=ended" in world.ask("scrub").splitlines()[0] and world.ask("scrub"), 10)
        assert " damaged=0" in lines.splitlines()[0]
    finally:
        world.restart()


# -- backup and restoration --

def put_back(world, path):
    """The store as it was; walrus is down."""
    for end in ("", "-wal", "-shm"):
        name = f"{world.walrus.state}/walrus.db{end}"
        if os.path.exists(name):
            os.unlink(name)
    shutil.copy(path, f"{world.walrus.state}/walrus.db")


def make_backup(world):
    number, path = re.match(r"(\d+) path=(\S+)\n", world.ask("backup", "make")).groups()
    assert f"{number} made=" in world.ask("backup", "list")
    return number, path


def test_backup_while_it_is_written_and_restoration(world, s3, bucket):
    rng = random.Random(23)
    old = {f"k{n}": rng.randbytes(1 + n * 40_000) for n in range(6)}
    for key, body in old.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    stopped = threading.Event()
    serial = [0]

    def write():
        mine = world.s3()
        while not stopped.is_set():
            serial[0] += 1
            mine.put_object(Bucket=bucket, Key="busy", Body=bytes([serial[0] % 256]) * 100_000)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for(lambda: serial[0] > 3)
        number, path = make_backup(world)
        before = serial[0]
        wait_for(lambda: serial[0] > before + 3)
    finally:
        stopped.set()
        thread.join()

    # What the copy names stays, whatever happens to it.
    s3.delete_object(Bucket=bucket, Key="k5")
    s3.put_object(Bucket=bucket, Key="k4", Body=b"new")
    s3.put_object(Bucket=bucket, Key="newer", Body=bytes(200_000))
    newer, = world.blob_paths(bucket, "newer")
    world.ask("--daemon", "walrus", "reconcilers", "run", "garbage")
    assert int(re.search(r"files held: (\d+)", world.ask("backup", "list"))[1]) >= 2

    world.walrus.kill()
    put_back(world, path)
    world.walrus.start()
    for key, body in old.items():
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body, key
    busy = s3.get_object(Bucket=bucket, Key="busy")["Body"].read()
    assert len(busy) == 100_000 and len(set(busy)) == 1
    assert code(s3.head_object, Bucket=bucket, Key="newer") == ("404", 404)
    # Files that are newer than the copy are held, across restarts as well, until somebody says that they may go.
    wait_for(lambda: "state=held" in world.ask("orphan"), 5)
    assert "orphans: " in world.page("/readyz") and world.metric("mallee_walrus_orphans_held") >= 1
    world.restart()
    world.ask("--daemon", "walrus", "reconcilers", "run", "orphans")
    wait_for(lambda: "orphans: " in world.page("/readyz"), 5)
    assert os.path.exists(newer) and world.walrus.is_ready()
    world.ask("orphan", "release")
    wait_for(lambda: not os.path.exists(newer), 5)
    wait_for(lambda: "orphans ok" in world.page("/readyz"), 5)
    world.ask("backup", "drop", number)
    assert not os.path.exists(path) and number not in world.ask("backup", "list")
    with pytest.raises(AssertionError, match="there is no backup"):
        world.ask("backup", "drop", number)
    world.assert_no_orphans()


def test_a_restoration_without_its_files(world, s3, bucket):
    """The copy was kept elsewhere and its backup dropped: what is gone is found, and never answered with bytes."""
    s3.put_object(Bucket=bucket, Key="lost", Body=bytes(100_000))
    s3.put_object(Bucket=bucket, Key="kept", Body=bytes(100_000))
    number, path = make_backup(world)
    elsewhere = f"{world.directory}/elsewhere.db"
    shutil.copy(path, elsewhere)
    s3.delete_object(Bucket=bucket, Key="lost")
    lost = set(world.files()) - set(world.named_files())
    assert len(lost) == 1
    world.ask("backup", "drop", number)
    wait_for(lambda: not lost & set(world.files()), 5, "the file was held")
    world.walrus.kill(signal.SIGTERM)
    put_back(world, elsewhere)
    world.walrus.start()
    assert code(s3.get_object, Bucket=bucket, Key="lost") == ("InternalError", 500)
    assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == bytes(100_000)
    world.restart(scrub_rate="1T")
    _, damaged = scrub(world)
    assert len(damaged) == 1 and " key=lost " in damaged[0]
    assert f"{number} " in world.ask("backup", "list") and "state=missing" in world.ask("backup", "list")
    world.ask("backup", "drop", number)
    s3.delete_object(Bucket=bucket, Key="lost")
    world.ask("orphan", "release")
    world.restart()
    world.assert_no_orphans()


def test_a_store_that_was_lost_costs_no_file(world, s3, bucket):
    """An empty store beside files: nothing is removed."""
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(100_000))
    path, = world.blob_paths(bucket, "a")
    assert world.walrus.kill(signal.SIGTERM) == 0
    kept = f"{world.directory}/kept"
    os.mkdir(kept)
    for name in os.listdir(world.walrus.state):
        if name.startswith("walrus.db"):
            shutil.move(os.path.join(world.walrus.state, name), kept)
    world.walrus.start()
    wait_for(lambda: "state=held" in world.ask("orphan"), 5)
    assert os.path.exists(path)
    world.walrus.kill(signal.SIGTERM)
    for name in os.listdir(kept):
        shutil.move(os.path.join(kept, name), os.path.join(world.walrus.state, name))
    world.walrus.start()
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == bytes(100_000)
    wait_for(lambda: "state=removed" in world.ask("orphan"), 5)
    assert os.path.exists(path)


def test_orphans_are_counted(world):
    name = "ab" * 16
    directory = f"{world.walrus.state}/blobs/ab/ab"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/{name}", "wb") as file:
        file.write(bytes(1000))
    before = world.metric("mallee_walrus_orphans_removed_total")
    world.ask("--daemon", "walrus", "reconcilers", "run", "orphans")
    wait_for(lambda: not os.path.exists(f"{directory}/{name}"), 5)
    wait_for(lambda: "state=removed files=1 bytes=1000" in world.ask("orphan"), 5)
    assert world.metric("mallee_walrus_orphans_removed_total") == before + 1


def test_a_digest_that_cannot_be_computed_does_not_hold_up_others(world, s3, bucket):
    """What can't be read now is tried again, also after a restart; what is missing is damage, and forgotten."""
    def digests():
        return dict(world.rows("SELECT CAST(object_key AS TEXT), sha256 FROM object"
                               " WHERE object_key IN (CAST('unreadable' AS BLOB), CAST('missing' AS BLOB), CAST('whole' AS BLOB))"))

    def due():
        return world.rows("SELECT CAST(object_key AS TEXT), attempts FROM digest_due")
    body = random.Random(4).randbytes(PART + MIB)
    for key in ("unreadable", "missing", "whole"):
        upload, parts = make(s3, bucket, key, [(1, body[:PART]), (2, body[PART:])])
        complete(s3, bucket, key, upload, parts)
    assert not any(digests().values())
    unreadable, missing = (world.blob_paths(bucket, key)[1] for key in ("unreadable", "missing"))
    os.rename(unreadable, world.directory + "/set-aside")
    os.symlink(unreadable, unreadable)
    os.unlink(missing)
    world.walrus.kill()
    with sqlite3.connect(f"{world.walrus.state}/walrus.db") as db:  # as somebody asked for them
        db.execute("INSERT INTO digest_due (content_id, bucket_id, object_key, since_us)"
                   " SELECT content_id, bucket_id, object_key, CASE WHEN object_key = CAST('whole' AS BLOB) THEN 2"
                   " ELSE 1 END FROM object WHERE sha256 IS NULL AND object_key IN"
                   " (CAST('unreadable' AS BLOB), CAST('missing' AS BLOB), CAST('whole' AS BLOB))")
    db.close()
    world.walrus.start()
    wanted = hashlib.sha256(body).hexdigest()
    wait_for(lambda: digests()["whole"] == wanted, 10, "the one behind it waited")
    wait_for(lambda: [key for key, _ in due()] == ["unreadable"], 10, "the damaged one is still due")
    wait_for(lambda: due()[0][1] >= 2, 10, "it is not tried again")
    world.restart(signal.SIGKILL)
    assert due()[0][1] >= 2
    os.rename(world.directory + "/set-aside", unreadable)
    wait_for(lambda: digests()["unreadable"] == wanted, 30, "it was never tried again")
    assert not due() and digests()["missing"] is None
