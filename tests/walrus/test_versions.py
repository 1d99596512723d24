"""Versions: what a key had stays behind what it has, and is found, listed and removed by its id."""
import base64
import hashlib
import random
import sqlite3
import threading
import time
from xml.etree import ElementTree

import pytest
from botocore.exceptions import ClientError

import versions

MIB = 1 << 20
UNKNOWN = "0" * 32


@pytest.fixture(name="bucket")
def versioned_bucket(world, request):
    s3 = world.s3()
    name = "v-" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:50].strip("-")
    s3.create_bucket(Bucket=name)
    set_versioning(s3, name, "Enabled")
    yield name
    versions.empty(s3, name)


def set_versioning(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def refused(call, *args, **kwargs):
    with pytest.raises(ClientError) as caught:
        call(*args, **kwargs)
    return caught.value.response


def code(call, *args, **kwargs):
    reply = refused(call, *args, **kwargs)
    return reply["Error"]["Code"], reply["ResponseMetadata"]["HTTPStatusCode"]


def put(s3, bucket, key="a", body=b"x", **options):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **options)["VersionId"]


def ids(s3, bucket):
    page = s3.list_object_versions(Bucket=bucket)
    return [v["VersionId"] for v in page.get("Versions", [])], [v["VersionId"] for v in page.get("DeleteMarkers", [])]


def text_of(xml, name):
    return ElementTree.fromstring(xml).findtext(name)


def test_versioning_of_a_bucket(world, s3, bucket):
    plain = bucket + "-plain"
    s3.create_bucket(Bucket=plain)
    status, _, text = world.request("GET", f"/{plain}", {"versioning": ""})
    root = ElementTree.fromstring(text)
    assert (status, root.tag, len(root)) == (200, "{http://s3.amazonaws.com/doc/2006-03-01/}VersioningConfiguration", 0)
    assert "VersionId" not in s3.put_object(Bucket=plain, Key="a", Body=b"")
    assert "VersionId" not in s3.head_object(Bucket=plain, Key="a")
    assert "VersionId" not in s3.delete_object(Bucket=plain, Key="a")
    s3.delete_bucket(Bucket=plain)
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    set_versioning(s3, bucket, "Suspended")
    reply = s3.get_bucket_versioning(Bucket=bucket)
    assert reply["Status"] == "Suspended" and "MFADelete" not in reply


@pytest.mark.parametrize("body, headers, status, name", [
    ("<VersioningConfiguration/>", {}, 400, "IllegalVersioningConfigurationException"),
    ("<VersioningConfiguration><Status>enabled</Status></VersioningConfiguration>", {}, 400, "MalformedXML"),
    ("<VersioningConfiguration><Status>Disabled</Status></VersioningConfiguration>", {}, 400, "MalformedXML"),
    ("<Versioning><Status>Enabled</Status></Versioning>", {}, 400, "MalformedXML"),
    ("", {}, 400, "MissingRequestBodyError"),
    ("<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>", {}, 403,
     "AccessDenied"),
    ("<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>",
     {"x-amz-mfa": "1 123456"}, 403, "AccessDenied"),
    ("<VersioningConfiguration><Status>Enabled</Status><MfaDelete>x</MfaDelete></VersioningConfiguration>", {}, 400,
     "MalformedXML"),
])
def test_versioning_refused(world, s3, bucket, body, headers, status, name):
    reply = world.request("PUT", f"/{bucket}", {"versioning": ""}, headers, body.encode())
    assert (reply[0], text_of(reply[2], "Code")) == (status, name)
    if "Mfa" in body and status == 403:
        assert ("token code" if headers else "Mfa Authentication must be used") in text_of(reply[2], "Message")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_mfa_that_was_never_asked_for_may_be_disabled(world, s3, bucket):
    body = b"<VersioningConfiguration><MfaDelete>Disabled</MfaDelete><Status>Suspended</Status></VersioningConfiguration>"
    assert world.request("PUT", f"/{bucket}", {"versioning": ""}, {}, body)[0] == 200
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
    assert world.request("DELETE", f"/{bucket}/a", {}, {"x-amz-mfa": "1 123456"})[0] == 403


def test_every_put_is_a_version(s3, bucket):
    bodies = [b"%d" % n * (n * 30000 + 1) for n in range(4)]
    made = [put(s3, bucket, body=b) for b in bodies]
    assert len(set(made)) == 4 and all(len(v) == 32 for v in made)
    for version, body in zip(made, bodies):
        got = s3.get_object(Bucket=bucket, Key="a", VersionId=version)
        assert (got["Body"].read(), got["VersionId"]) == (body, version)
        head = s3.head_object(Bucket=bucket, Key="a", VersionId=version)
        assert (head["ContentLength"], head["VersionId"]) == (len(body), version)
        assert s3.get_object(Bucket=bucket, Key="a", VersionId=version, Range="bytes=0-0")["Body"].read() == body[:1]
    assert s3.get_object(Bucket=bucket, Key="a")["VersionId"] == made[-1]
    assert ids(s3, bucket) == (made[::-1], [])
    assert s3.delete_object(Bucket=bucket, Key="a", VersionId=made[3])["VersionId"] == made[3]
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == bodies[2]
    s3.delete_object(Bucket=bucket, Key="a", VersionId=made[1])
    assert ids(s3, bucket) == ([made[2], made[0]], [])


def test_a_delete_marker(world, s3, bucket):
    first = put(s3, bucket)
    reply = s3.delete_object(Bucket=bucket, Key="a")
    marker = reply["VersionId"]
    assert reply["DeleteMarker"] is True and marker != first
    for call in ("GET", "HEAD"):
        status, headers, text = world.request(call, f"/{bucket}/a")
        assert (status, headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == (404, "true", marker)
        assert call == "HEAD" or text_of(text, "Code") == "NoSuchKey"
        status, headers, text = world.request(call, f"/{bucket}/a", {"versionId": marker})
        assert (status, headers["x-amz-delete-marker"], headers["allow"]) == (405, "true", "DELETE")
        assert headers["last-modified"] and headers["x-amz-version-id"] == marker
        assert call == "HEAD" or text_of(text, "Code") == "MethodNotAllowed"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert ids(s3, bucket) == ([first], [marker])
    again = s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    assert again != marker and ids(s3, bucket) == ([first], [again, marker])
    for version in (again, marker):
        reply = s3.delete_object(Bucket=bucket, Key="a", VersionId=version)
        assert (reply["DeleteMarker"], reply["VersionId"]) == (True, version)
    assert s3.get_object(Bucket=bucket, Key="a")["VersionId"] == first
    assert s3.delete_object(Bucket=bucket, Key="never was")["DeleteMarker"] is True


def test_ids_that_are_none(world, s3, bucket):
    version = put(s3, bucket)
    for wrong in ("v1", "x" * 31, "x" * 33, "ä" * 32, "x/" * 16, " " * 32):
        for call in (s3.get_object, s3.delete_object):
            reply = refused(call, Bucket=bucket, Key="a", VersionId=wrong)["Error"]
            assert (reply["Code"], reply["Message"]) == ("InvalidArgument", "Invalid version id specified")
    status, _, text = world.request("GET", f"/{bucket}/a", {"versionId": ""})
    assert (status, text_of(text, "Code")) == (400, "InvalidArgument")
    reply = world.request("PUT", f"/{bucket}/a", {"versionId": version}, {}, b"x")
    assert (reply[0], text_of(reply[2], "Message")) == (400, "This operation does not accept a version-id.")
    # it is the place that is found: another chance behind it is another version
    other = version[:16] + UNKNOWN[16:]
    for unknown in (UNKNOWN, "f" * 32, "A.b_C-d0" * 4, "null", other):
        assert code(s3.get_object, Bucket=bucket, Key="a", VersionId=unknown) == ("NoSuchVersion", 404)
        assert code(s3.head_object, Bucket=bucket, Key="a", VersionId=unknown) == ("404", 404)
        reply = s3.delete_object(Bucket=bucket, Key="a", VersionId=unknown)
        assert (reply["ResponseMetadata"]["HTTPStatusCode"], reply["VersionId"]) == (204, unknown)
    assert code(s3.get_object, Bucket=bucket, Key="b", VersionId=version) == ("NoSuchVersion", 404)
    assert ids(s3, bucket) == ([version], [])


def test_the_null_version(s3, bucket):
    set_versioning(s3, bucket, "Suspended")
    assert put(s3, bucket, body=b"1") == "null" and put(s3, bucket, body=b"2") == "null"
    set_versioning(s3, bucket, "Enabled")
    newer = put(s3, bucket, body=b"3")
    assert ids(s3, bucket) == ([newer, "null"], [])
    assert s3.get_object(Bucket=bucket, Key="a", VersionId="null")["Body"].read() == b"2"
    set_versioning(s3, bucket, "Suspended")
    assert put(s3, bucket, body=b"4") == "null"
    assert ids(s3, bucket) == (["null", newer], [])
    reply = s3.delete_object(Bucket=bucket, Key="a")
    assert (reply["DeleteMarker"], reply["VersionId"]) == (True, "null")
    assert ids(s3, bucket) == ([newer], ["null"])
    reply = s3.delete_object(Bucket=bucket, Key="a", VersionId="null")
    assert (reply["DeleteMarker"], reply["VersionId"]) == (True, "null")
    assert s3.get_object(Bucket=bucket, Key="a")["VersionId"] == newer


def test_objects_from_before_are_null_versions(world, s3):
    s3.create_bucket(Bucket="v-before")
    s3.put_object(Bucket="v-before", Key="a", Body=b"old" * 50000)
    set_versioning(s3, "v-before", "Enabled")
    assert s3.get_object(Bucket="v-before", Key="a")["VersionId"] == "null"
    put(s3, "v-before")
    assert s3.get_object(Bucket="v-before", Key="a", VersionId="null")["Body"].read() == b"old" * 50000
    reply = refused(s3.delete_bucket, Bucket="v-before")["Error"]
    assert reply["Code"] == "BucketNotEmpty" and "all versions" in reply["Message"]
    s3.delete_object(Bucket="v-before", Key="a")
    assert code(s3.delete_bucket, Bucket="v-before") == ("BucketNotEmpty", 409)
    versions.empty(s3, "v-before")
    world.assert_no_orphans()


def test_an_upload_makes_a_version(s3, bucket):
    before = put(s3, bucket)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a", UploadId=upload, PartNumber=1, Body=b"y" * 100000)
    done = s3.complete_multipart_upload(Bucket=bucket, Key="a", UploadId=upload,
                                        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    assert ids(s3, bucket) == ([done["VersionId"], before], [])
    assert s3.get_object(Bucket=bucket, Key="a", VersionId=before)["Body"].read() == b"x"


def test_removed_versions_leave_no_bytes(world, s3, bucket):
    made = [put(s3, bucket, body=bytes([n]) * MIB) for n in range(3)]
    s3.delete_object(Bucket=bucket, Key="a")
    for version in made[:2]:
        s3.delete_object(Bucket=bucket, Key="a", VersionId=version)
    assert len(world.blob_paths(bucket, "a")) == 1
    world.assert_no_orphans()


# -- many --


def test_many_removals(s3, bucket):
    one, two = put(s3, bucket), put(s3, bucket)
    other = put(s3, bucket, key="b")
    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": [
        {"Key": "a", "VersionId": one}, {"Key": "b"}, {"Key": "a", "VersionId": "wrong"}, {"Key": "c"},
        {"Key": "a", "VersionId": UNKNOWN}]})
    deleted = reply["Deleted"]
    assert deleted[0] == {"Key": "a", "VersionId": one}
    assert deleted[1]["Key"] == "b" and deleted[1]["DeleteMarker"] and deleted[1]["DeleteMarkerVersionId"] != other
    assert deleted[2]["DeleteMarker"] and deleted[3] == {"Key": "a", "VersionId": UNKNOWN}
    assert reply["Errors"] == [{"Key": "a", "VersionId": "wrong", "Code": "InvalidArgument",
                                "Message": "Invalid version id specified"}]
    marker = deleted[1]["DeleteMarkerVersionId"]
    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b", "VersionId": marker}]})
    assert reply["Deleted"] == [{"Key": "b", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}]
    assert s3.get_object(Bucket=bucket, Key="b")["VersionId"] == other
    reply = s3.delete_objects(Bucket=bucket, Delete={"Quiet": True, "Objects": [
        {"Key": "a", "VersionId": two}, {"Key": "a", "VersionId": "wrong"}]})
    assert "Deleted" not in reply and len(reply["Errors"]) == 1


def delete_many(world, bucket, objects):
    body = "<Delete>" + "".join(objects) + "</Delete>"
    digest = base64.b64encode(hashlib.md5(body.encode()).digest()).decode()
    status, _, text = world.request("POST", f"/{bucket}", {"delete": ""}, {"content-md5": digest}, body.encode())
    return status, text.decode()


def test_many_removals_with_conditions(world, s3, bucket):
    tag = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["ETag"].strip('"')
    s3.put_object(Bucket=bucket, Key="b", Body=b"2")
    status, text = delete_many(world, bucket, [
        f"<Object><Key>b</Key><ETag>{tag}</ETag></Object>", f"<Object><Key>a</Key><ETag>\"{tag}\"</ETag></Object>",
        f"<Object><Key>c</Key><ETag>{tag}</ETag></Object>"])
    assert status == 200 and text.count("<Deleted>") == 1 and "<Deleted><Key>a</Key>" in text
    assert "<Error><Key>b</Key><Code>PreconditionFailed</Code>" in text
    assert "<Error><Key>c</Key><Code>NoSuchKey</Code>" in text
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["b"]
    status, text = delete_many(world, bucket, ["<Object><Key>b</Key><Size>1</Size></Object>"])
    assert status == 501 and "NotImplemented" in text


@pytest.mark.parametrize("objects", [[], ["<Object/>"], ["<Object><Key/></Object>"], ["<Object><Key>a</Key></Object>"] * 1001,
                                     ["<Other/>"], ["<Object><Key><b/></Key></Object>"]])
def test_many_removals_malformed(world, s3, bucket, objects):
    put(s3, bucket)
    status, text = delete_many(world, bucket, objects)
    assert status == 400 and "MalformedXML" in text
    assert ids(s3, bucket)[1] == []


def test_a_thousand_removals(world, s3, bucket):
    status, text = delete_many(world, bucket, [f"<Object><Key>{n}</Key></Object>" for n in range(1000)])
    assert status == 200 and text.count("<DeleteMarker>true") == 1000


# -- conditions --


def test_conditions_of_writes(world, s3, bucket):
    def put_if(**headers):
        return world.request("PUT", f"/{bucket}/a", {}, {k.replace("_", "-"): v for k, v in headers.items()}, b"new")[0]

    assert put_if(if_match='"x"') == 404 and put_if(if_match="*") == 404
    assert put_if(if_none_match="*") == 200 and put_if(if_none_match="*") == 412
    tag = s3.head_object(Bucket=bucket, Key="a")["ETag"]
    assert put_if(if_match='"x"') == 412 and put_if(if_match=tag) == 200 and put_if(if_match="*") == 200
    assert put_if(if_none_match='"x"') == 501
    s3.delete_object(Bucket=bucket, Key="a")
    assert put_if(if_match=tag) == 404 and put_if(if_none_match="*") == 200
    assert len(ids(s3, bucket)[0]) == 4


def test_conditions_of_reads_are_the_versions(world, s3, bucket):
    one = s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    two = s3.put_object(Bucket=bucket, Key="a", Body=b"2")

    def get(version, **headers):
        return world.request("GET", f"/{bucket}/a", {"versionId": version["VersionId"]},
                             {k.replace("_", "-"): v for k, v in headers.items()})[0]
    assert (get(one, if_match=one["ETag"]), get(one, if_match=two["ETag"])) == (200, 412)
    assert (get(one, if_none_match=one["ETag"]), get(one, if_none_match=two["ETag"])) == (304, 200)


def test_conditions_of_removals(world, s3, bucket):
    one = s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    two = s3.put_object(Bucket=bucket, Key="a", Body=b"2")

    def delete_if(match, version=None):
        return world.request("DELETE", f"/{bucket}/a", {"versionId": version} if version else {}, {"if-match": match})[0]
    assert delete_if(one["ETag"]) == 412 and delete_if(two["ETag"], one["VersionId"]) == 412
    assert ids(s3, bucket) == ([two["VersionId"], one["VersionId"]], [])
    assert delete_if(one["ETag"], one["VersionId"]) == 204 and delete_if(two["ETag"]) == 204
    assert delete_if("*") == 404 and delete_if(two["ETag"]) == 404
    for name in ("x-amz-if-match-size", "x-amz-if-match-last-modified-time"):
        assert world.request("DELETE", f"/{bucket}/a", {}, {name: "1"})[0] == 501


def test_an_upload_completes_on_its_condition(world, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a", UploadId=upload, PartNumber=1, Body=b"y")
    body = f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part['ETag']}</ETag></Part></CompleteMultipartUpload>"

    def complete(**headers):
        return world.request("POST", f"/{bucket}/a", {"uploadId": upload},
                             {k.replace("_", "-"): v for k, v in headers.items()}, body.encode())[0]
    assert complete(if_match='"x"') == 404
    put(s3, bucket)
    assert complete(if_none_match="*") == 412 and complete(if_match='"x"') == 412
    s3.delete_object(Bucket=bucket, Key="a")
    assert complete(if_none_match="*") == 200 and complete() == 200  # of one that is done: again the same answer


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_of_concurrent_first_writers_one_wins(world, s3, bucket, status):
    set_versioning(s3, bucket, status)
    for round_ in range(5):
        key, start, seen = f"k{round_}", threading.Barrier(8), []

        def write(n):
            start.wait()
            seen.append(world.request("PUT", f"/{bucket}/{key}", {}, {"if-none-match": "*"}, b"%d" % n)[0])
        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(seen) == [200] + [412] * 7


def test_counting_by_compare_and_swap_loses_nothing(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="n", Body=b"0")

    def add():
        mine = world.s3()
        for _ in range(5):
            while True:
                got = mine.get_object(Bucket=bucket, Key="n")
                more = b"%d" % (int(got["Body"].read()) + 1)
                if world.request("PUT", f"/{bucket}/n", {}, {"if-match": got["ETag"]}, more)[0] == 200:
                    break
    threads = [threading.Thread(target=add) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert s3.get_object(Bucket=bucket, Key="n")["Body"].read() == b"20"
    assert len(ids(s3, bucket)[0]) == 21


# -- lists --


def test_the_list_of_versions(world, s3, bucket):
    a, b = put(s3, bucket, "a", b"1", StorageClass="STANDARD_IA"), put(s3, bucket, "b ä", b"22")
    marker = s3.delete_object(Bucket=bucket, Key="a")["VersionId"]
    status, headers, text = world.request("GET", f"/{bucket}", {"versions": "", "encoding-type": "url"})
    assert (status, headers["content-type"]) == (200, "application/xml")
    root = ElementTree.fromstring(text.replace(b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', b""))
    assert root.tag == "ListVersionsResult"
    assert [c.tag for c in root] == ["Name", "Prefix", "KeyMarker", "VersionIdMarker", "MaxKeys", "EncodingType",
                                     "IsTruncated", "DeleteMarker", "Version", "Version"]
    assert [c.tag for c in root[7]] == ["Key", "VersionId", "IsLatest", "LastModified", "Owner"]
    assert [c.tag for c in root[8]] == ["Key", "VersionId", "IsLatest", "LastModified", "ETag", "ChecksumAlgorithm",
                                        "ChecksumType", "Size", "StorageClass", "Owner"]
    assert [(e.findtext("Key"), e.findtext("VersionId"), e.findtext("IsLatest")) for e in root[7:]] == [
        ("a", marker, "true"), ("a", a, "false"), ("b%20%C3%A4", b, "true")]
    assert root[8].findtext("StorageClass") == "STANDARD_IA" and root[9].findtext("Size") == "2"
    assert root[9].findtext("Owner/ID") == root[7].findtext("Owner/ID")


@pytest.mark.parametrize("query, message", [
    ({"version-id-marker": UNKNOWN}, "A version-id marker cannot be specified without a key marker."),
    ({"version-id-marker": "x", "key-marker": "a"}, "Invalid version id specified"),
    ({"max-keys": "-1"}, "Argument maxKeys must be an integer between 0 and 2147483647"),
    ({"max-keys": "x"}, "Provided max-keys not an integer or within integer range"),
    ({"encoding-type": "x"}, "Invalid Encoding Method specified in Request"),
])
def test_a_list_of_versions_refused(world, bucket, query, message):
    status, _, text = world.request("GET", f"/{bucket}", {"versions": "", **query})
    assert (status, text_of(text, "Code"), text_of(text, "Message")) == (400, "InvalidArgument", message)


def test_a_list_goes_on_behind_what_is_gone(s3, bucket):
    set_versioning(s3, bucket, "Suspended")
    put(s3, bucket)
    set_versioning(s3, bucket, "Enabled")
    made = [put(s3, bucket) for _ in range(3)][::-1] + ["null"]
    last = put(s3, bucket, "b")

    def after(version):
        page = s3.list_object_versions(Bucket=bucket, KeyMarker="a", VersionIdMarker=version)
        return [v["VersionId"] for v in page["Versions"]]
    assert after(made[1]) == made[2:] + [last] and after("null") == [last]
    s3.delete_object(Bucket=bucket, Key="a", VersionId=made[1])
    assert after(made[1]) == made[2:] + [last]
    s3.delete_object(Bucket=bucket, Key="a", VersionId="null")
    assert after("null") == [made[0], made[2], last]  # where it was nobody knows: rather again than not at all
    page = s3.list_object_versions(Bucket=bucket, KeyMarker="a")
    assert [v["VersionId"] for v in page["Versions"]] == [last]


def pages_of_versions(s3, bucket, limit, **options):
    found, prefixes, more = [], [], {}
    for _ in range(500):
        page = s3.list_object_versions(Bucket=bucket, MaxKeys=limit, **options, **more)
        rows = [(v["Key"], v["VersionId"], v["IsLatest"], "Size" not in v)
                for v in page.get("Versions", []) + page.get("DeleteMarkers", [])]
        here = [p["Prefix"] for p in page.get("CommonPrefixes", [])]
        assert len(rows) + len(here) <= limit
        found += rows
        prefixes += here
        if not page["IsTruncated"]:
            return found, prefixes
        assert len(rows) + len(here) == limit
        more = {"KeyMarker": page["NextKeyMarker"]}
        if "NextVersionIdMarker" in page:
            more["VersionIdMarker"] = page["NextVersionIdMarker"]
    raise AssertionError("a list without an end")


def check(s3, bucket, model, rng):
    limit = rng.choice([1, 2, 3, 7, 1000])
    prefix, delimiter = rng.choice(["", "", "a", "a/"]), rng.choice(["", "", "/", "b"])
    found, prefixes = pages_of_versions(s3, bucket, limit, Prefix=prefix, Delimiter=delimiter)
    shown = versions.rolled_up(sorted(model.keys, key=str.encode), prefix, delimiter)
    whole = {name for is_prefix, name in shown if not is_prefix}
    assert sorted(found) == sorted(row for row in model.rows() if row[0] in whole)
    assert prefixes == [name for is_prefix, name in shown if is_prefix]
    listed, token = [], {}
    while True:
        page = s3.list_objects_v2(Bucket=bucket, MaxKeys=limit, **token)
        listed += [o["Key"] for o in page.get("Contents", [])]
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert listed == model.listed()


def check_reads(s3, bucket, model, key):
    current = model.current(key)
    if current:
        got = s3.get_object(Bucket=bucket, Key=key)
        assert (got["Body"].read(), got.get("VersionId", "null")) == (current.body, current.id)
    else:
        assert code(s3.get_object, Bucket=bucket, Key=key) == ("NoSuchKey", 404)
    for version in model.keys.get(key, []):
        if version.body is None:
            assert code(s3.get_object, Bucket=bucket, Key=key, VersionId=version.id) == ("MethodNotAllowed", 405)
        else:
            assert s3.get_object(Bucket=bucket, Key=key, VersionId=version.id)["Body"].read() == version.body


KEYS = ["a", "a/b", "a/c", "ab", "b", "a\u00fc/\u65e5"]


def step(s3, bucket, model, rng):
    """One random operation on both: the key it touched."""
    key = rng.choice(KEYS)
    known = [v.id for v in model.keys.get(key, [])]
    operation = rng.choices(["put", "delete", "remove", "many", "status", "copy"], [6, 3, 4, 1, 1, 1])[0]
    if operation == "put":
        body = rng.randbytes(rng.choice([0, 5, 70000]))
        reply = s3.put_object(Bucket=bucket, Key=key, Body=body)
        model.add(key, reply.get("VersionId", "null"), body)
    elif operation == "delete":
        reply = s3.delete_object(Bucket=bucket, Key=key)
        if model.status:
            model.add(key, reply["VersionId"], None)
        else:
            model.remove(key, "null") if known else None
    elif operation == "remove" and known:
        version = rng.choice(known + [UNKNOWN, "null"])
        found = model.find(key, version)
        reply = s3.delete_object(Bucket=bucket, Key=key, VersionId=version)
        assert reply.get("DeleteMarker", False) == bool(found and found.body is None)
        model.remove(key, version)
    elif operation == "many" and known:
        chosen = rng.sample(known, rng.randint(1, len(known)))
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key, "VersionId": v} for v in chosen]})
        for version in chosen:
            model.remove(key, version)
    elif operation == "status":
        model.status = rng.choice(["Enabled", "Suspended"])
        set_versioning(s3, bucket, model.status)
    elif operation == "copy" and known:
        source = model.find(key, rng.choice(known))
        target = rng.choice(KEYS)
        if source.body is not None:
            reply = s3.copy_object(Bucket=bucket, Key=target, MetadataDirective="REPLACE",
                                   CopySource={"Bucket": bucket, "Key": key, "VersionId": source.id})
            model.add(target, reply.get("VersionId", "null"), source.body)
            return target
    return key


@pytest.mark.parametrize("seed", range(3))
def test_random_operations_against_a_model(world, s3, seed):
    rng, model, bucket = random.Random(seed), versions.Model(), f"v-model-{seed}"
    s3.create_bucket(Bucket=bucket)
    for _ in range(120):
        key = step(s3, bucket, model, rng)
        check(s3, bucket, model, rng)
        check_reads(s3, bucket, model, key)
    versions.empty(s3, bucket)
    world.assert_no_orphans()


# -- many versions of one key --

MANY = 100_000


def add_versions(world, bucket, key, count):
    """Old versions of a key that is there, as rows: putting them one by one would take minutes."""
    world.walrus.kill()
    with sqlite3.connect(f"{world.walrus.state}/walrus.db") as db:
        db.execute(
            "INSERT INTO object SELECT o.bucket_id, o.object_key, o.position + n.i,"
            " printf('%016x%016x', o.position + n.i, 0), 0, 0, NULL, 0, '', NULL, o.modified_us, o.account_id, NULL,"
            " o.acl, o.tags, o.checksum, o.storage_class, o.lock_mode, o.lock_until_us, o.is_held, o.encryption"
            " FROM object o JOIN bucket b ON b.bucket_id = o.bucket_id,"
            " (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT i FROM c) n"
            " WHERE b.name = ? AND o.object_key = ? AND o.is_current = 1", (count, bucket, key.encode()))
    db.close()
    world.walrus.start()


def quickest(call, *args, **kwargs):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        call(*args, **kwargs)
        times.append(time.perf_counter() - start)
    return min(times)


def test_many_versions_of_one_key_cost_the_others_nothing(world, s3, bucket):
    for key in ("a", "many", "z"):
        put(s3, bucket, key)
    usual = quickest(s3.list_objects_v2, Bucket=bucket)
    usual_put = quickest(put, s3, bucket, "z")
    add_versions(world, bucket, "many", MANY)
    try:
        limit = usual * 3 + 0.01  # reading all of them takes ten times as long
        assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a", "many", "z"]
        assert quickest(s3.list_objects_v2, Bucket=bucket) < limit
        last = s3.list_object_versions(Bucket=bucket, KeyMarker="many", MaxKeys=1)["Versions"][0]
        assert last["Key"] == "z"
        old = world.rows("SELECT version_id FROM object WHERE object_key = ? ORDER BY position DESC LIMIT 10", b"many")
        gone = iter(old)
        assert quickest(lambda: s3.delete_object(Bucket=bucket, Key="many", VersionId=next(gone)[0])) < limit + usual_put
        assert quickest(code, s3.get_object, Bucket=bucket, Key="many", VersionId=old[0][0]) < limit
        assert quickest(s3.list_object_versions, Bucket=bucket, KeyMarker="many", VersionIdMarker=old[9][0]) < limit
        assert quickest(put, s3, bucket, "many") < limit + usual_put * 3
        set_versioning(s3, bucket, "Suspended")
        assert quickest(put, s3, bucket, "many") < limit + usual_put * 3
        set_versioning(s3, bucket, "Enabled")
        put(s3, bucket, "many")
        assert quickest(s3.head_object, Bucket=bucket, Key="many", VersionId="null") < limit
    finally:
        world.walrus.kill()
        with sqlite3.connect(f"{world.walrus.state}/walrus.db") as db:
            db.execute("DELETE FROM object WHERE object_key = ? AND content_id IS NULL", (b"many",))
        db.close()
        world.walrus.start()
