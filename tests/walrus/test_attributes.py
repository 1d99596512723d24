"""GetObjectAttributes, and parts of objects by their number."""
import base64
import hashlib
import random

import pytest
from test_multipart import PART, complete, make
from test_objects import code

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


@pytest.fixture
def parts(s3, bucket):
    """The object "m" of parts 2, 5 and 9, the last one small."""
    bodies = {2: random.Random(1).randbytes(PART), 5: random.Random(2).randbytes(PART + 1), 9: b"end"}
    upload, done = make(s3, bucket, "m", list(bodies.items()))
    complete(s3, bucket, "m", upload, done)
    return bodies


def test_attributes(s3, bucket):
    sha = base64.b64encode(hashlib.sha256(b"body").digest()).decode()
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"body", StorageClass="STANDARD_IA", ChecksumSHA256=sha)
    got = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=ALL)
    assert got["ETag"] == put["ETag"].strip('"') and got["ObjectSize"] == 4 and got["StorageClass"] == "STANDARD_IA"
    assert got["Checksum"] == {"ChecksumSHA256": sha} and "ObjectParts" not in got
    assert got["LastModified"] == s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    got = s3.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ObjectSize"])
    assert got["ObjectSize"] == 4 and not set(ALL[:4]) & set(got)
    assert code(s3.get_object_attributes, Bucket=bucket, Key="b", ObjectAttributes=ALL) == ("NoSuchKey", 404)


def test_wrong_questions(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    for headers, expected in (({}, b"InvalidRequest"), ({"x-amz-object-attributes": "Size"}, b"InvalidArgument"),
                              ({"x-amz-object-attributes": "ETag", "x-amz-max-parts": "x"}, b"InvalidArgument")):
        status, _, text = world.request("GET", f"/{bucket}/a", {"attributes": ""}, headers)
        assert status == 400 and b"<Code>" + expected in text


def test_parts_in_pages(s3, bucket, parts):
    seen, marker = [], 0
    while True:
        page = s3.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["ObjectParts"], MaxParts=2,
                                        PartNumberMarker=marker)["ObjectParts"]
        assert page["TotalPartsCount"] == 3 and page["MaxParts"] == 2 and page["PartNumberMarker"] == marker
        seen += [(p["PartNumber"], p["Size"]) for p in page["Parts"]]
        marker = page["NextPartNumberMarker"]
        if not page["IsTruncated"]:
            break
    assert seen == [(n, len(b)) for n, b in parts.items()]


def test_versions_and_markers(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    one = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["VersionId"]
    two = s3.put_object(Bucket=bucket, Key="a", Body=b"22")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    got = s3.get_object_attributes(Bucket=bucket, Key="a", VersionId=one, ObjectAttributes=ALL)
    assert got["VersionId"] == one and got["ObjectSize"] == 1
    assert code(s3.get_object_attributes, Bucket=bucket, Key="a", ObjectAttributes=ALL) == ("NoSuchKey", 404)
    assert code(s3.get_object_attributes, Bucket=bucket, Key="a", VersionId=marker, ObjectAttributes=ALL) == \
        ("MethodNotAllowed", 405)
    for version in (marker, two, one):
        s3.delete_object(Bucket=bucket, Key="a", VersionId=version)


def test_a_part_by_its_number(s3, bucket, parts):
    whole, at = b"".join(parts.values()), 0
    for number, body in parts.items():
        for call in (s3.get_object, s3.head_object):
            got = call(Bucket=bucket, Key="m", PartNumber=number)
            assert got["ResponseMetadata"]["HTTPStatusCode"] == 206 and got["PartsCount"] == 3
            assert got["ContentLength"] == len(body)
            assert got["ResponseMetadata"]["HTTPHeaders"]["content-range"] == \
                f"bytes {at}-{at + len(body) - 1}/{len(whole)}"
        assert s3.get_object(Bucket=bucket, Key="m", PartNumber=number)["Body"].read() == body
        at += len(body)
    for number in (1, 3, 10):
        assert code(s3.get_object, Bucket=bucket, Key="m", PartNumber=number) == ("InvalidPartNumber", 416)
    assert code(s3.get_object, Bucket=bucket, Key="m", PartNumber=10001) == ("InvalidArgument", 400)
    assert code(s3.get_object, Bucket=bucket, Key="m", PartNumber=2, Range="bytes=0-1") == ("InvalidRequest", 400)


def test_what_was_put_whole_is_one_part(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"abc")
    got = s3.get_object(Bucket=bucket, Key="a", PartNumber=1)
    assert got["Body"].read() == b"abc" and "PartsCount" not in got and got["ContentRange"] == "bytes 0-2/3"
    assert code(s3.get_object, Bucket=bucket, Key="a", PartNumber=2) == ("InvalidPartNumber", 416)
