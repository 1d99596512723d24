"""What buckets and accounts hold, and quotas."""
import random
import re

import pytest
from test_multipart import PART
from test_objects import code
from world import World, wait_for

EXCEEDED = ("QuotaExceeded", 403)


def usage(world, bucket):
    line = next(line for line in world.ask("bucket", "show", bucket).splitlines() if line.startswith("usage "))
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}


def counted(world, bucket):
    """The same, from the rows."""
    number = world.rows("SELECT bucket_id FROM bucket WHERE name = ?", bucket)[0][0]
    objects, versions, size = world.rows(
        "SELECT COALESCE(SUM(is_current = 1 AND is_marker = 0), 0), COUNT(*), COALESCE(SUM(size_bytes), 0)"
        " FROM object WHERE bucket_id = ?", number)[0]
    parts, part_size = world.rows(
        "SELECT COUNT(*), COALESCE(SUM(p.size_bytes), 0) FROM part p JOIN upload u ON u.upload_id = p.upload_id"
        " WHERE u.bucket_id = ?", number)[0]
    return {"objects": objects, "versions": versions, "bytes": size, "parts": parts, "part_bytes": part_size}


def versions_of(world, bucket):
    return [(key.decode(), version) for key, version in world.rows(
        "SELECT o.object_key, o.version_id FROM object o JOIN bucket b ON b.bucket_id = o.bucket_id"
        " WHERE b.name = ? ORDER BY o.object_key, o.position", bucket)]


def remove_all(world, s3, bucket):
    for key, version in versions_of(world, bucket):
        s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


def test_usage_is_exact(world, s3, bucket):
    """After each of many random changes, versioned and not, the row says what the rows of objects and parts say."""
    rng = random.Random(31)
    uploads = {}

    def put():
        s3.put_object(Bucket=bucket, Key=rng.choice("abc"), Body=bytes(rng.choice([0, 5, 1000, 70_000])))

    def delete():
        s3.delete_object(Bucket=bucket, Key=rng.choice("abc"))

    def delete_version():
        there = versions_of(world, bucket)
        if there:
            key, version = rng.choice(there)
            s3.delete_object(Bucket=bucket, Key=key, VersionId=version)

    def begin():
        key = rng.choice("abc")
        uploads[s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]] = (key, {})

    def part():
        if uploads:
            upload, (key, parts) = rng.choice(list(uploads.items()))
            number = rng.choice([1, 2, 3])
            size = PART if number < 3 and rng.random() < 0.3 else rng.choice([7, 100_000])
            parts[number] = (s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number,
                                            Body=bytes(size))["ETag"], size)

    def end():
        if uploads:
            upload, (key, parts) = uploads.popitem()
            if not parts or rng.random() < 0.3:
                s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
                return
            last = max(parts)
            chosen = [n for n in sorted(parts) if n == last or parts[n][1] >= PART]
            s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={
                "Parts": [{"PartNumber": n, "ETag": parts[n][0]} for n in chosen]})

    def version(status):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    for status in (None, "Enabled", "Suspended", "Enabled"):
        if status:
            version(status)
        for n in range(25):
            step = rng.choice([put, put, put, delete, delete_version, begin, part, part, end])
            step()
            assert usage(world, bucket) == counted(world, bucket), (status, n, step.__name__)
    for upload, (key, _) in uploads.items():
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    remove_all(world, s3, bucket)
    assert set(usage(world, bucket).values()) == {0}


def test_quota_of_a_bucket(world, s3, bucket):
    assert "quota_" not in world.ask("bucket", "show", bucket)
    said = world.ask("bucket", "quota", bucket, "--bytes", "100K", "--objects", "3")
    assert "quota_bytes=102400" in said and "quota_objects=3" in said
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(90_000))
    assert code(s3.put_object, Bucket=bucket, Key="b", Body=bytes(20_000)) == EXCEEDED
    assert code(s3.head_object, Bucket=bucket, Key="b") == ("404", 404)
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(100_000))  # in place of what was there
    assert code(s3.put_object, Bucket=bucket, Key="a", Body=bytes(103_000)) == EXCEEDED
    assert s3.head_object(Bucket=bucket, Key="a")["ContentLength"] == 100_000
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=bytes(2_000))
    s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=bytes(2_400))
    assert code(s3.upload_part, Bucket=bucket, Key="m", UploadId=upload, PartNumber=2, Body=b"x") == EXCEEDED
    parts = [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]}
             for p in s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)["Parts"]]
    s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
    s3.put_object(Bucket=bucket, Key="c", Body=b"")
    assert code(s3.put_object, Bucket=bucket, Key="d", Body=b"") == EXCEEDED
    s3.put_object(Bucket=bucket, Key="c", Body=b"")
    s3.delete_object(Bucket=bucket, Key="c")
    s3.put_object(Bucket=bucket, Key="d", Body=b"")
    world.ask("bucket", "quota", bucket, "--objects", "none")
    s3.put_object(Bucket=bucket, Key="e", Body=b"")
    assert code(s3.put_object, Bucket=bucket, Key="f", Body=b"x") == EXCEEDED
    # Below what is there already: nothing more, but smaller objects, and deletes.
    world.ask("bucket", "quota", bucket, "--bytes", "10")
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(50))
    assert code(s3.put_object, Bucket=bucket, Key="a", Body=bytes(51)) == EXCEEDED
    s3.delete_object(Bucket=bucket, Key="m")
    world.ask("bucket", "quota", bucket, "--bytes", "none")
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(200_000))
    for words, why in [(("--bytes", "many"), "neither a number"), (("--bytes", "-1"), "neither a number"),
                       (("--objects", "1 # x"), "neither a number")]:
        with pytest.raises(AssertionError, match=why):
            world.ask("bucket", "quota", bucket, *words)
    world.assert_no_orphans()


def test_versions_count_and_deletes_are_never_too_much(world, s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    world.ask("bucket", "quota", bucket, "--bytes", "10", "--objects", "2")
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(6))
    assert code(s3.put_object, Bucket=bucket, Key="a", Body=bytes(6)) == EXCEEDED
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(4))
    s3.delete_object(Bucket=bucket, Key="a")
    assert usage(world, bucket) == {"objects": 0, "versions": 3, "bytes": 10, "parts": 0, "part_bytes": 0,
                                    "quota_bytes": 10, "quota_objects": 2}
    assert code(s3.put_object, Bucket=bucket, Key="b", Body=b"") == EXCEEDED
    remove_all(world, s3, bucket)
    s3.put_object(Bucket=bucket, Key="a", Body=bytes(10))
    remove_all(world, s3, bucket)


def test_quota_of_an_account(world):
    keys = World.credentials(world.admin("account", "create", "quota-1"))
    wait_for(lambda: world.knows(keys[0]), 5)
    mine = world.s3(keys)
    for bucket in ("quota-1-a", "quota-1-b"):
        mine.create_bucket(Bucket=bucket)
    assert "quota_bytes=1000 " in world.ask("usage", "quota", "quota-1", "--bytes", "1000", "--objects", "4")
    mine.put_object(Bucket="quota-1-a", Key="a", Body=bytes(600))
    assert code(mine.put_object, Bucket="quota-1-b", Key="a", Body=bytes(600)) == EXCEEDED
    mine.put_object(Bucket="quota-1-b", Key="a", Body=bytes(400))
    listed = world.ask("bucket", "list", "--account", "quota-1").splitlines()
    assert [line.split()[0] for line in listed] == ["quota-1-a", "quota-1-b"]
    assert "name=quota-1 buckets=2 objects=2 versions=2 bytes=1000 part_bytes=0" in world.ask("usage")
    upload = mine.create_multipart_upload(Bucket="quota-1-a", Key="m")["UploadId"]
    assert code(mine.upload_part, Bucket="quota-1-a", Key="m", UploadId=upload, PartNumber=1, Body=b"x") == EXCEEDED
    assert f"{upload} key=m " in world.ask("upload", "list", "quota-1-a")
    world.ask("usage", "quota", "quota-1", "--bytes", "none")
    assert "quota_bytes" not in world.ask("usage", "--account", "quota-1")
    mine.upload_part(Bucket="quota-1-a", Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    for n in range(2):
        mine.put_object(Bucket="quota-1-a", Key=f"more-{n}", Body=b"")
    assert code(mine.put_object, Bucket="quota-1-a", Key="too-many", Body=b"") == EXCEEDED
    world.ask("usage", "quota", "quota-1", "--objects", "none")
    assert not world.rows("SELECT 1 FROM account_quota")
    with pytest.raises(AssertionError, match="there is no account"):
        world.ask("usage", "quota", "nobody", "--bytes", "1")
    mine.abort_multipart_upload(Bucket="quota-1-a", Key="m", UploadId=upload)
    for bucket in ("quota-1-a", "quota-1-b"):
        remove_all(world, mine, bucket)
        mine.delete_bucket(Bucket=bucket)
    assert not world.rows("SELECT 1 FROM bucket_usage u WHERE NOT EXISTS"
                          " (SELECT 1 FROM bucket b WHERE b.bucket_id = u.bucket_id)")
