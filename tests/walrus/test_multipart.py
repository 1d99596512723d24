"""Multipart uploads, by the aws CLI and by hand, and what the other daemons see of them."""
import filecmp
import hashlib
import os
import random
import sqlite3
import threading
import time

import pytest
from test_objects import MIB, code

PART = 5 * MIB


def make(s3, bucket, key, parts, **options):
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    done = []
    for number, body in parts:
        etag = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        done.append({"PartNumber": number, "ETag": etag})
    return upload, done


def complete(s3, bucket, key, upload, parts):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def test_a_hundred_megabytes_by_the_cli(world, bucket, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(random.Random(5).randbytes(100 * 1000 * 1000))
    world.aws("s3", "cp", "--only-show-errors", str(there), f"s3://{bucket}/big")
    world.aws("s3", "cp", "--only-show-errors", f"s3://{bucket}/big", str(back))
    assert filecmp.cmp(there, back, shallow=False)
    assert "big" in world.aws("s3", "ls", f"s3://{bucket}").stdout
    tree = tmp_path / "tree"
    for name in ("a/b/one", "a/two", "ü three"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    world.aws("s3", "sync", "--only-show-errors", str(tree), f"s3://{bucket}/tree")
    world.aws("s3", "sync", "--only-show-errors", f"s3://{bucket}/tree", str(tmp_path / "copy"))
    assert {p.read_text() for p in (tmp_path / "copy").rglob("*") if p.is_file()} == {"a/b/one", "a/two", "ü three"}
    world.aws("s3", "rm", "--only-show-errors", "--recursive", f"s3://{bucket}")
    assert world.aws("s3", "ls", f"s3://{bucket}", check=False).stdout == ""
    world.assert_no_orphans()


def test_parts_become_an_object(world, s3, bucket):
    rng = random.Random(6)
    bodies = {n: rng.randbytes(PART + n) for n in (2, 7, 9)} | {10: b"last"}
    upload, parts = make(s3, bucket, "m", [(7, b"wrong"), (10, bodies[10]), (9, bodies[9]), (2, bodies[2]),
                                           (7, bodies[7]), (11, b"not chosen")],
                         Metadata={"k": "v"}, ContentType="a/b")
    listed = s3.list_parts(Bucket=bucket, Key="m", UploadId=upload, MaxParts=2)
    assert [p["PartNumber"] for p in listed["Parts"]] == [2, 7] and listed["IsTruncated"]
    more = s3.list_parts(Bucket=bucket, Key="m", UploadId=upload, PartNumberMarker=listed["NextPartNumberMarker"])
    assert [(p["PartNumber"], p["Size"]) for p in more["Parts"]] == [(9, PART + 9), (10, 4), (11, 10)]
    assert code(s3.get_object, Bucket=bucket, Key="m") == ("NoSuchKey", 404)
    chosen = sorted({p["PartNumber"]: p for p in parts if p["PartNumber"] != 11}.values(),
                    key=lambda p: p["PartNumber"])
    done = complete(s3, bucket, "m", upload, chosen)
    whole = b"".join(bodies[n] for n in sorted(bodies))
    tag = hashlib.md5(b"".join(hashlib.md5(bodies[n]).digest() for n in sorted(bodies))).hexdigest()
    assert done["ETag"] == f'"{tag}-4"' and done["Key"] == "m"
    got = s3.get_object(Bucket=bucket, Key="m")
    assert got["Body"].read() == whole and got["Metadata"] == {"k": "v"} and got["ContentType"] == "a/b"
    edge = len(bodies[2])
    for first, last in [(edge - 1, edge), (0, len(whole) - 1), (len(whole) - 3, len(whole) - 1), (edge, edge)]:
        assert s3.get_object(Bucket=bucket, Key="m", Range=f"bytes={first}-{last}")["Body"].read() == \
            whole[first:last + 1]
    again = complete(s3, bucket, "m", upload, chosen)
    assert again["ETag"] == done["ETag"] and again["Key"] == "m"
    assert code(complete, s3, bucket, "m", upload, chosen[1:]) == ("NoSuchUpload", 404)
    assert code(s3.abort_multipart_upload, Bucket=bucket, Key="m", UploadId=upload) == ("NoSuchUpload", 404)
    s3.delete_object(Bucket=bucket, Key="m")
    world.assert_no_orphans()
    assert world.rows("SELECT COUNT(*) FROM part") == [(0,)]


def test_wrong_completions(s3, bucket):
    upload, parts = make(s3, bucket, "m", [(1, b"small"), (2, b"small too")])
    one, two = parts
    assert code(complete, s3, bucket, "m", upload, [two, one]) == ("InvalidPartOrder", 400)
    assert code(complete, s3, bucket, "m", upload, [one, one]) == ("InvalidPartOrder", 400)
    assert code(complete, s3, bucket, "m", upload, [one, two]) == ("EntityTooSmall", 400)
    assert code(complete, s3, bucket, "m", upload, [one, {"PartNumber": 3, "ETag": "x"}]) == ("EntityTooSmall", 400)
    assert code(complete, s3, bucket, "m", upload, [{"PartNumber": 3, "ETag": "x"}]) == ("InvalidPart", 400)
    assert code(complete, s3, bucket, "m", upload, [{"PartNumber": 1, "ETag": two["ETag"]}]) == ("InvalidPart", 400)
    assert code(complete, s3, bucket, "m", upload, []) == ("MalformedXML", 400)
    assert code(complete, s3, bucket, "other", upload, [one]) == ("NoSuchUpload", 404)
    complete(s3, bucket, "m", upload, [two])
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"small too"


def test_abort_frees(world, s3, bucket):
    before = world.files()
    upload, _ = make(s3, bucket, "m", [(n, bytes(PART)) for n in (1, 2, 3)])
    assert len(world.files()) == len(before) + 3
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)
    world.assert_no_orphans(3)
    assert code(s3.abort_multipart_upload, Bucket=bucket, Key="m", UploadId=upload) == ("NoSuchUpload", 404)


def test_list_of_uploads(s3, bucket):
    made = sorted((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])
                  for key in ("a", "a", "a/b", "b", "c d"))
    found, marker = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **marker)
        found += [(u["Key"], u["UploadId"]) for u in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert found == made
    assert len(s3.list_multipart_uploads(Bucket=bucket, Prefix="a")["Uploads"]) == 3
    assert len(s3.list_multipart_uploads(Bucket=bucket, KeyMarker="a")["Uploads"]) == 3
    for key, upload in made:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


@pytest.mark.parametrize("is_multipart", [False, True])
def test_the_clc_learns_the_digest(world, s3, bucket, is_multipart):
    body = random.Random(7).randbytes(12 * MIB)
    if is_multipart:
        upload, parts = make(s3, bucket, "image", [(1, body[:PART]), (2, body[PART:])])
        complete(s3, bucket, "image", upload, parts)
    else:
        s3.put_object(Bucket=bucket, Key="image", Body=body)
    name = f"digest-{is_multipart}"
    env_endpoint = f"http://127.0.0.1:{world.clc.port}"
    import boto3
    ec2 = boto3.client("ec2", endpoint_url=env_endpoint, aws_access_key_id=world.admin_keys[0],
                       aws_secret_access_key=world.admin_keys[1], region_name="mallee-1")
    image = ec2.register_image(Name=name, ImageLocation=f"{bucket}/image", Architecture="x86_64",
                               RootDeviceName="/dev/sda")["ImageId"]
    assert world.rows("SELECT digest, size_bytes FROM image WHERE image_id = ?", image, daemon=world.clc) == \
        [(hashlib.sha256(body).hexdigest(), len(body))]
    other = boto3.client("ec2", endpoint_url=env_endpoint, aws_access_key_id=world.other_keys[0],
                         aws_secret_access_key=world.other_keys[1], region_name="mallee-1")
    assert code(other.register_image, Name=name, ImageLocation=f"{bucket}/image", Architecture="x86_64",
                RootDeviceName="/dev/sda")[0] == "InvalidManifest"
    assert os.path.exists(world.walrus.state)


def elements(text, name):
    return [piece.split(b"<")[0].decode() for piece in text.split(f"<{name}>".encode())[1:]]


def test_lists_of_uploads_by_prefix(world, s3, bucket):
    keys = ["a/1", "a/2", "a/b/3", "b", "c/4", "c/5", "ü x"]
    made = sorted((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in keys)
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["a/", "c/"] and page["Delimiter"] == "/"
    assert [u["Key"] for u in page["Uploads"]] == ["b", "ü x"]
    page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", Prefix="a/")
    assert [u["Key"] for u in page["Uploads"]] == ["a/1", "a/2"] and page["CommonPrefixes"] == [{"Prefix": "a/b/"}]
    seen, marker = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=1, **marker)
        seen += [u["Key"] for u in page.get("Uploads", [])] + [p["Prefix"] for p in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}
    assert seen == ["a/", "b", "c/", "ü x"]
    page = s3.list_multipart_uploads(Bucket=bucket, Prefix="c/", KeyMarker="a")
    assert [u["Key"] for u in page["Uploads"]] == ["c/4", "c/5"]
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket, Prefix="a/", KeyMarker="b")
    text = world.request("GET", f"/{bucket}", {"uploads": "", "encoding-type": "url", "prefix": "ü"})[2]
    assert elements(text, "Key") == ["%C3%BC%20x"] and elements(text, "EncodingType") == ["url"]
    assert s3.list_multipart_uploads(Bucket=bucket, MaxUploads=0)["IsTruncated"] is False
    for key, upload in made:
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def test_lists_say_who_and_what(world, s3, bucket):
    upload, _ = make(s3, bucket, "m", [(3, b"x")])
    owner = s3.list_buckets()["Owner"]["ID"]
    text = world.request("GET", f"/{bucket}/m", {"uploadId": upload})[2]
    assert elements(text, "ID") == [owner, owner] and elements(text, "NextPartNumberMarker") == ["3"]
    assert elements(text, "ETag") == [f'&quot;{hashlib.md5(b"x").hexdigest()}&quot;'] or \
        elements(text, "ETag") == [f'"{hashlib.md5(b"x").hexdigest()}"']
    assert elements(text, "MaxParts") == ["1000"] and elements(text, "IsTruncated") == ["false"]
    listed = s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]
    assert listed["Initiator"]["ID"] == listed["Owner"]["ID"] == owner
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)


def test_where_it_is(world, s3, bucket):
    upload, parts = make(s3, bucket, "a b/ü", [(1, b"x")])
    done = complete(s3, bucket, "a b/ü", upload, parts)
    assert done["Location"] == f"{world.endpoint}/{bucket}/a%20b/%C3%BC"


def test_part_numbers(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    for number in (0, 10001, -1):
        assert code(s3.upload_part, Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=b"") == \
            ("InvalidArgument", 400)
    etag = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=10000, Body=b"")["ETag"]
    assert code(complete, s3, bucket, "m", upload, [{"PartNumber": 10001, "ETag": etag}]) == ("InvalidArgument", 400)
    complete(s3, bucket, "m", upload, [{"PartNumber": 10000, "ETag": etag}])
    assert s3.head_object(Bucket=bucket, Key="m")["ContentLength"] == 0


def test_only_one_completion_makes_the_object(world, bucket):
    """Several at once: each is told of the one object, and there is one version of it."""
    s3 = world.s3()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    upload, parts = make(s3, bucket, "m", [(1, b"x" * PART), (2, b"y")])
    clients, versions = [world.s3() for _ in range(4)], []
    threads = [threading.Thread(target=lambda c=c: versions.append(complete(c, bucket, "m", upload, parts)["VersionId"]))
               for c in clients]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(versions) == 4 and len(set(versions)) == 1
    assert world.rows("SELECT COUNT(*) FROM object WHERE object_key = ?", b"m") == [(1,)]
    s3.delete_object(Bucket=bucket, Key="m", VersionId=versions[0])
    world.assert_no_orphans()


def test_conditions_of_completion(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="m", Body=b"old")
    upload, parts = make(s3, bucket, "m", [(1, b"new")])
    body = (f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{parts[0]['ETag']}</ETag></Part>"
            "</CompleteMultipartUpload>").encode()
    for headers, status in (({"if-none-match": "*"}, 412), ({"if-match": '"x"'}, 412), ({"if-match": "*"}, 200)):
        assert world.request("POST", f"/{bucket}/m", {"uploadId": upload}, headers, body)[0] == status
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"new"


def test_ten_thousand_parts(world, s3, bucket):
    """Rows as large parts would leave them, their bytes apart: what completion does with so many."""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=10000, Body=b"end")["ETag"].strip('"')
    first = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=bytes(PART))["ETag"].strip('"')
    with sqlite3.connect(f"{world.walrus.state}/walrus.db", timeout=10) as db:
        db.executemany("INSERT INTO part (upload_id, part_number, size_bytes, etag, modified_us, crc32c, data, checksum)"
                       " VALUES (?, ?, ?, ?, 0, 0, x'', 'CRC64NVME FULL_OBJECT AAAAAAAAAAA=')",
                       [(upload, n, PART, etag) for n in range(2, 10000)])
    page = s3.list_parts(Bucket=bucket, Key="m", UploadId=upload, PartNumberMarker=9500)
    assert len(page["Parts"]) == 500 and not page["IsTruncated"]
    assert s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)["NextPartNumberMarker"] == 1000
    body = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag if n > 1 else first}</ETag></Part>"
                   for n in range(1, 10001))
    before = time.monotonic()
    status, _, text = world.request("POST", f"/{bucket}/m", {"uploadId": upload}, {},
                                    f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode())
    assert status == 200, text
    assert time.monotonic() - before < 5
    size = 9999 * PART + 3
    head = s3.head_object(Bucket=bucket, Key="m")
    assert head["ContentLength"] == size and head["ETag"].endswith('-10000"')
    assert s3.get_object(Bucket=bucket, Key="m", Range=f"bytes={size - 3}-")["Body"].read() == b"end"
    assert s3.head_object(Bucket=bucket, Key="m", PartNumber=10000)["ContentLength"] == 3
    page = s3.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["ObjectParts"], MaxParts=10,
                                    PartNumberMarker=9995)["ObjectParts"]
    assert page["TotalPartsCount"] == 10000 and len(page["Parts"]) == 5


def test_five_tebibytes_are_the_most(world, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    etag = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=bytes(PART))["ETag"].strip('"')
    with sqlite3.connect(f"{world.walrus.state}/walrus.db", timeout=10) as db:
        db.executemany("INSERT INTO part (upload_id, part_number, size_bytes, etag, modified_us, crc32c, data)"
                       " VALUES (?, ?, ?, ?, 0, 0, x'')", [(upload, n, 5 << 30, etag) for n in range(2, 1025)]
                       + [(upload, 1025, (5 << 30) - PART, etag), (upload, 1026, 1, etag)])
    parts = [{"PartNumber": n, "ETag": etag} for n in range(1, 1027)]
    assert code(complete, s3, bucket, "m", upload, parts) == ("EntityTooLarge", 400)
    complete(s3, bucket, "m", upload, parts[:-1])
    assert s3.head_object(Bucket=bucket, Key="m")["ContentLength"] == 5 << 40
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "m"}}
    assert code(s3.copy_object, **copy) == ("InvalidRequest", 400)
