"""Tags of objects, storage classes, and what headers say beside bytes."""
import urllib.error
import urllib.request

import pytest
from test_multipart import complete, make
from test_objects import code

TAGS = [{"Key": "project", "Value": "x y"}, {"Key": "ü/+=", "Value": ""}]


def tags_of(s3, bucket, key="a", **more):
    return s3.get_object_tagging(Bucket=bucket, Key=key, **more)["TagSet"]


def put(s3, bucket, tags, key="a", **more):
    return s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": tags}, **more)


def test_tags_of_an_object(world, s3, bucket):
    before = s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert tags_of(s3, bucket) == []
    put(s3, bucket, TAGS)
    assert tags_of(s3, bucket) == TAGS
    head = world.request("HEAD", f"/{bucket}/a")[1]
    assert head["x-amz-tagging-count"] == "2" and head["etag"] == before["ETag"]
    put(s3, bucket, TAGS[:1])
    assert tags_of(s3, bucket) == TAGS[:1]
    s3.delete_object_tagging(Bucket=bucket, Key="a")
    assert tags_of(s3, bucket) == [] and "x-amz-tagging-count" not in world.request("HEAD", f"/{bucket}/a")[1]
    s3.put_object(Bucket=bucket, Key="a", Body=b"y", Tagging="k=1")
    s3.put_object(Bucket=bucket, Key="a", Body=b"z")
    assert tags_of(s3, bucket) == []


def test_tags_by_header(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", Tagging="project=x%20y&%C3%BC%2F%2B%3D=")
    assert tags_of(s3, bucket) == TAGS
    upload, parts = make(s3, bucket, "m", [(1, b"x")], Tagging="of=upload")
    complete(s3, bucket, "m", upload, parts)
    assert tags_of(s3, bucket, "m") == [{"Key": "of", "Value": "upload"}]
    for wrong in ("a=1&a=2", "aws:x=1", "k=" + "v" * 257, "&".join(f"k{i}=v" for i in range(11))):
        assert code(s3.put_object, Bucket=bucket, Key="b", Body=b"", Tagging=wrong)[1] == 400
    assert code(s3.head_object, Bucket=bucket, Key="b") == ("404", 404)


def test_limits(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    many = [{"Key": f"k{i}", "Value": "v" * 256} for i in range(11)]
    put(s3, bucket, many[:10])
    assert code(put, s3, bucket, many) == ("BadRequest", 400)
    assert code(put, s3, bucket, [{"Key": "k" * 129, "Value": ""}]) == ("InvalidTag", 400)
    assert code(put, s3, bucket, [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]) == ("InvalidTag", 400)
    assert len(tags_of(s3, bucket)) == 10
    assert code(put, s3, bucket, [], "never") == ("NoSuchKey", 404)
    assert code(s3.get_object_tagging, Bucket=bucket, Key="never") == ("NoSuchKey", 404)
    assert code(s3.get_object_tagging, Bucket=bucket, Key="a", VersionId="0" * 32) == ("NoSuchVersion", 404)


def test_of_versions(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    one = s3.put_object(Bucket=bucket, Key="a", Body=b"1", Tagging="v=1")["VersionId"]
    two = s3.put_object(Bucket=bucket, Key="a", Body=b"2")["VersionId"]
    assert put(s3, bucket, TAGS, VersionId=one)["VersionId"] == one
    assert tags_of(s3, bucket) == [] and tags_of(s3, bucket, VersionId=one) == TAGS
    marker = s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    assert code(put, s3, bucket, TAGS) == ("MethodNotAllowed", 405)
    for version in (marker, two, one):
        s3.delete_object(Bucket=bucket, Key="a", VersionId=version)


@pytest.mark.parametrize("name", ["STANDARD", "STANDARD_IA", "REDUCED_REDUNDANCY", "GLACIER", "DEEP_ARCHIVE"])
def test_storage_classes(s3, bucket, name):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", StorageClass=name)
    assert s3.head_object(Bucket=bucket, Key="a").get("StorageClass", "STANDARD") == name
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == name
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", StorageClass=name)["UploadId"]
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["StorageClass"] == name
    assert s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)["StorageClass"] == name
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)
    assert code(s3.put_object, Bucket=bucket, Key="b", Body=b"", StorageClass="GOLD") == ("InvalidStorageClass", 400)


def test_metadata_comes_back_as_it_was_put(world, s3, bucket):
    for value in ("=?UTF-8?B?w7w=?=", "a, b", 'q"uote', "x" * 1900):
        s3.put_object(Bucket=bucket, Key="a", Body=b"", Metadata={"v": value, "Mixed-Case": "1"})
        assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"v": value, "mixed-case": "1"}


def test_a_stranger_sets_no_headers(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", ACL="public-read")
    try:
        urllib.request.urlopen(f"{world.endpoint}/{bucket}/a").close()
    except urllib.error.HTTPError:
        pytest.skip("nothing is public here")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{world.endpoint}/{bucket}/a?response-content-type=text/html")
    assert caught.value.code == 400 and b"<Code>InvalidRequest</Code>" in caught.value.read()
