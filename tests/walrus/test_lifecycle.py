"""Lifecycle rules, and that they run. A day of the walrus under test has one second."""
import datetime
import http.client

import pytest
from test_objects import code
from world import wait_for


def rule(**more):
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **more}


def put(s3, bucket, *rules):
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def keys(s3, bucket):
    return [o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    yield bucket
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


def versions(world, bucket, key):
    return world.rows("SELECT version_id, is_marker, is_current FROM object o JOIN bucket b ON o.bucket_id = b.bucket_id"
                      " WHERE b.name = ? AND object_key = ? ORDER BY position", bucket, key.encode())


def forget(world, s3, bucket, *names):
    for key in names:
        for version, _, _ in versions(world, bucket, key):
            s3.delete_object(Bucket=bucket, Key=key, VersionId=version)


def test_setting(s3, bucket):
    assert code(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == ("NoSuchLifecycleConfiguration", 404)
    day = datetime.datetime(2050, 1, 2, tzinfo=datetime.timezone.utc)
    rules = [
        rule(ID="a", Expiration={"Days": 3}, Transitions=[{"Days": 1, "StorageClass": "GLACIER"}]),
        rule(ID="b", Filter={"And": {"Prefix": "x/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 5,
                                     "ObjectSizeLessThan": 50}}, Expiration={"Date": day}),
        rule(ID="c", Filter={"Tag": {"Key": "k", "Value": ""}}, Status="Disabled", Expiration={"Days": 1}),
        rule(ID="d", NoncurrentVersionExpiration={"NoncurrentDays": 2, "NewerNoncurrentVersions": 4},
             NoncurrentVersionTransitions=[{"NoncurrentDays": 1, "StorageClass": "STANDARD_IA"}]),
        rule(ID="e", Expiration={"ExpiredObjectDeleteMarker": True}),
        rule(ID="f", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7})]
    put(s3, bucket, *rules)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    old = {"Prefix": "logs/", "Status": "Enabled", "Expiration": {"Days": 3}}
    put(s3, bucket, old, {**old, "Prefix": "tmp/"})
    found = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [r["Prefix"] for r in found] == ["logs/", "tmp/"] and len({r["ID"] for r in found}) == 2
    assert found == s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert code(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == ("NoSuchLifecycleConfiguration", 404)


NOON = datetime.datetime(2050, 1, 2, 12, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize("rules, wanted", [
    ([rule()], "InvalidRequest"),
    ([rule(Expiration={"Days": 0})], "InvalidArgument"),
    ([rule(Expiration={"Days": -1})], "InvalidArgument"),
    ([rule(Expiration={"Date": NOON})], "InvalidArgument"),
    ([rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True})], "MalformedXML"),
    ([rule(Expiration={})], "MalformedXML"),
    ([rule(Status="On", Expiration={"Days": 1})], "MalformedXML"),
    ([rule(ID="x" * 256, Expiration={"Days": 1})], "InvalidArgument"),
    ([rule(Expiration={"Days": 1}), rule(Expiration={"Days": 2})], "InvalidArgument"),
    ([rule(Prefix="x", Expiration={"Days": 1})], "MalformedXML"),
    ([{"Status": "Enabled", "Expiration": {"Days": 1}}], "MalformedXML"),
    ([rule(NoncurrentVersionExpiration={"NoncurrentDays": 0})], "InvalidArgument"),
    ([rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 101})], "InvalidArgument"),
    ([rule(Filter={"Tag": {"Key": "a", "Value": "b"}}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})],
     "InvalidRequest"),
    ([rule(Filter={"Tag": {"Key": "a", "Value": "b"}}, Expiration={"ExpiredObjectDeleteMarker": True})],
     "InvalidRequest"),
    ([rule(Filter={"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}, Expiration={"Days": 1})],
     "InvalidRequest"),
    ([rule(Filter={"And": {"Prefix": "a"}}, Expiration={"Days": 1})], "MalformedXML"),
    ([rule(Transitions=[{"Days": 1, "StorageClass": "TAPE"}])], "MalformedXML"),
    ([rule(Transitions=[{"StorageClass": "GLACIER"}])], "MalformedXML"),
    ([], "MalformedXML"),
    ([rule(ID=str(i), Expiration={"Days": 1}) for i in range(1001)], "InvalidRequest")])
def test_rules_that_are_none(s3, bucket, rules, wanted):
    assert code(s3.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration={"Rules": rules}) == \
        (wanted, 400)


def test_expiration(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="keep", Body=b"x")
    s3.put_object(Bucket=bucket, Key="tmp/large", Body=b"x" * 200000)
    s3.put_object(Bucket=bucket, Key="tmp/small", Body=b"x")
    files = world.blob_paths(bucket, "tmp/large")
    assert len(files) == 1
    put(s3, bucket, rule(Filter={"And": {"Prefix": "tmp/", "ObjectSizeGreaterThan": 10}}, Expiration={"Days": 1}),
        rule(ID="off", Status="Disabled", Expiration={"Days": 1}))
    wait_for(lambda: keys(s3, bucket) == ["keep", "tmp/small"], 10, "the object did not expire")
    world.assert_no_orphans()
    assert world.rows("SELECT 1 FROM audit WHERE action = 'LifecycleExpiration' AND resource = ?", bucket)


def test_header(s3, bucket):
    put(s3, bucket, rule(ID="by age", Filter={"Prefix": "a"}, Expiration={"Days": 1000}),
        rule(ID="later", Expiration={"Date": datetime.datetime(2050, 1, 2, tzinfo=datetime.timezone.utc)}))
    said = s3.put_object(Bucket=bucket, Key="a", Body=b"x")["Expiration"]
    assert 'rule-id="by%20age"' in said and said == s3.head_object(Bucket=bucket, Key="a")["Expiration"]
    assert s3.get_object(Bucket=bucket, Key="a")["Expiration"] == said
    # a day is a second, and what is due is so at the end of one
    at = datetime.datetime.strptime(said.split('"')[1], "%a, %d %b %Y %H:%M:%S GMT").timestamp()
    assert 999 <= at - datetime.datetime.utcnow().timestamp() <= 1002
    assert s3.put_object(Bucket=bucket, Key="b", Body=b"x")["Expiration"] == \
        'expiry-date="Sun, 02 Jan 2050 00:00:00 GMT", rule-id="later"'


def test_versions(world, s3, versioned):
    for _ in range(4):
        s3.put_object(Bucket=versioned, Key="many", Body=b"x")
    s3.put_object(Bucket=versioned, Key="gone", Body=b"x")
    s3.delete_object(Bucket=versioned, Key="gone")
    put(s3, versioned, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 1}))
    wait_for(lambda: len(versions(world, versioned, "many")) == 2, 10, "older versions stayed")
    assert len(versions(world, versioned, "gone")) == 2 and versions(world, versioned, "many")[0][2] == 1
    put(s3, versioned, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}),
        rule(ID="m", Expiration={"ExpiredObjectDeleteMarker": True}))
    wait_for(lambda: not versions(world, versioned, "gone"), 10, "the lone delete marker stayed")
    wait_for(lambda: len(versions(world, versioned, "many")) == 1, 10)
    put(s3, versioned, rule(Filter={"Prefix": "many"}, Expiration={"Days": 1}))
    wait_for(lambda: [v[1] for v in versions(world, versioned, "many")][:1] == [1], 10, "no delete marker was made")
    assert keys(s3, versioned) == []
    s3.delete_bucket_lifecycle(Bucket=versioned)
    forget(world, s3, versioned, "many", "gone")


def test_uploads(s3, bucket):
    s3.create_multipart_upload(Bucket=bucket, Key="keep")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="up/a")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="up/a", UploadId=upload, PartNumber=1, Body=b"x" * 100000)
    put(s3, bucket, rule(Filter={"Prefix": "up/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    wait_for(lambda: [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["keep"], 10,
             "the upload stayed")
    assert code(s3.list_parts, Bucket=bucket, Key="up/a", UploadId=upload) == ("NoSuchUpload", 404)


def test_more_than_a_batch(s3, bucket):
    for i in range(250):
        s3.put_object(Bucket=bucket, Key=f"{'tmp' if i % 2 else 'keep'}/{i:03}", Body=b"")
    put(s3, bucket, rule(Filter={"Prefix": "tmp/"}, Expiration={"Days": 1}))
    wait_for(lambda: len(keys(s3, bucket)) == 125, 10, "not all expired")
    assert all(k.startswith("keep/") for k in keys(s3, bucket))


def test_metric(world):
    connection = http.client.HTTPConnection("127.0.0.1", world.walrus.status_port)
    connection.request("GET", "/metrics")
    assert b'mallee_walrus_lifecycle_total{action="expire"}' in connection.getresponse().read()
