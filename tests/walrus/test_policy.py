"""Policies of buckets: what is taken, what they allow and deny, and to whom."""
import base64
import hashlib
import http.client
import json
import time
import urllib.parse
import uuid

import botocore.exceptions
import pytest
import urllib3
from test_objects import own_link


@pytest.fixture(scope="module")
def ann(world):
    return world.s3()


@pytest.fixture(scope="module")
def bob(world):
    return world.s3(world.other_keys)


@pytest.fixture(scope="module")
def accounts(world):
    rows = dict(world.rows("SELECT access_key_id, account_id FROM identity_key"))
    return {"ann": rows[world.admin_keys[0]], "bob": rows[world.other_keys[0]]}


@pytest.fixture
def box(ann):
    name = "policy-" + uuid.uuid4().hex[:12]
    ann.create_bucket(Bucket=name)
    ann.put_object(Bucket=name, Key="public/a", Body=b"a")
    ann.put_object(Bucket=name, Key="private/a", Body=b"a")
    yield name
    ann.delete_bucket_policy(Bucket=name)
    for o in ann.list_objects_v2(Bucket=name).get("Contents", []):
        ann.delete_object(Bucket=name, Key=o["Key"])
    ann.delete_bucket(Bucket=name)


def refusal(call, **arguments):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**arguments)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"]


def status_of(call, **arguments):
    try:
        return call(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except botocore.exceptions.ClientError as e:
        return e.response["ResponseMetadata"]["HTTPStatusCode"]


def statement(box, who="*", actions="s3:GetObject", path="/*", effect="Allow", **more):
    paths = path if isinstance(path, list) else [path]
    return {"Effect": effect, "Principal": who, "Action": actions,
            "Resource": [f"arn:aws:s3:::{box}{p}" for p in paths], **more}


def put(s3, box, *statements, **more):
    s3.put_bucket_policy(Bucket=box, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}), **more)


def anonymous(world, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", world.walrus.port, timeout=20)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


def test_kept_as_it_came(world, ann, bob, box):
    assert refusal(ann.get_bucket_policy, Bucket=box) == (404, "NoSuchBucketPolicy")
    assert refusal(ann.get_bucket_policy_status, Bucket=box) == (404, "NoSuchBucketPolicy")
    text = json.dumps({"Version": "2008-10-17", "Id": "öffentlich", "Statement": statement(box)}, indent=3,
                      ensure_ascii=False)
    status, _, _ = world.request("PUT", f"/{box}", {"policy": ""}, body=text.encode())
    assert status == 204
    assert ann.get_bucket_policy(Bucket=box)["Policy"] == text
    assert ann.get_bucket_policy_status(Bucket=box)["PolicyStatus"] == {"IsPublic": True}
    for call in (bob.get_bucket_policy, bob.delete_bucket_policy, bob.get_bucket_policy_status):
        assert refusal(call, Bucket=box) == (403, "AccessDenied")
    ann.delete_bucket_policy(Bucket=box)
    ann.delete_bucket_policy(Bucket=box)
    assert refusal(ann.get_bucket_policy, Bucket=box) == (404, "NoSuchBucketPolicy")
    assert anonymous(world, "GET", f"/{box}/public/a") == 403


MALFORMED = [
    ("nonsense", "Policies must be valid JSON and the first byte must be '{'"),
    ("{]", "This policy contains invalid Json"),
    ({"Statement": []}, "Could not parse the policy: Statement is empty!"),
    ({}, "Missing required field Statement"),
    ({"Effect": "allow"}, "Invalid effect: allow"),
    ({"Resource": "arn:aws:s3:::other/*"}, "Policy has invalid resource"),
    ({"Resource": "*"}, "Policy has invalid resource"),
    ({"Resource": "arn:aws:s3:::BOXes/*"}, "Policy has invalid resource"),
    ({"Resource": "arn:aws:s3:::BOX"}, "Action does not apply to any resource(s) in statement"),
    ({"Action": "s3:ListBucket"}, "Action does not apply to any resource(s) in statement"),
    ({"Action": "s3:ListAllMyBuckets"}, "Action does not apply to any resource(s) in statement"),
    ({"Action": "s3:GetThing"}, "Policy has invalid action"),
    ({"Action": "ec2:RunInstances"}, "Policy has invalid action"),
    ({"Principal": "bob"}, "Invalid principal in policy"),
    ({"Principal": {"AWS": "999999999999"}}, "Invalid principal in policy"),
    ({"Principal": {"AWS": "arn:aws:iam::999999999999:root"}}, "Invalid principal in policy"),
    ({"Principal": {"CanonicalUser": "abc"}}, "Invalid principal in policy"),
    ({"Condition": {"StringEquals": {"s3:prefix": "x"}}},
     "Conditions do not apply to combination of actions and resources in statement"),
    ({"Condition": {"StringEquals": {"s3:nothing": "x"}}}, "Policy has an invalid condition key"),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "1.2.3"}}}, "Invalid IP address in Conditions"),
]


@pytest.mark.parametrize("change,message", MALFORMED)
def test_malformed(world, ann, box, change, message):
    text = change
    if isinstance(change, dict):
        text = change if not change or "Statement" in change else {"Statement": {**statement(box), **change}}
        text = json.dumps(text).replace("BOX", box)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ann.put_bucket_policy(Bucket=box, Policy=text)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("MalformedPolicy", message)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refusal(ann.get_bucket_policy, Bucket=box) == (404, "NoSuchBucketPolicy")


def test_size(ann, box):
    fits = statement(box, Sid="x" * 18000)
    put(ann, box, fits)
    assert refusal(put, s3=ann, box=box) == (400, "MalformedPolicy")
    with pytest.raises(botocore.exceptions.ClientError):
        put(ann, box, statement(box, Sid="x" * 21000))


# -- who is allowed what: statements, then statuses of bob and of nobody --

ALLOWED = [
    # who, actions, path; list, GET public/a, GET private/a, GET missing, PUT, DELETE
    ("*", "s3:GetObject", "/public/*", (403, 403), (200, 200), (403, 403), (403, 403), (403, 403), (403, 403)),
    ("*", ["s3:GetObject", "s3:ListBucket"], ["", "/public/*"],
     (200, 200), (200, 200), (403, 403), (404, 404), (403, 403), (403, 403)),
    ("BOB", "s3:Get*", ["", "/*"], (403, 403), (200, 403), (200, 403), (403, 403), (403, 403), (403, 403)),
    ("BOB", "s3:*", ["", "/*"], (200, 403), (200, 403), (200, 403), (404, 403), (200, 403), (204, 403)),
    ("BOB-ROOT", "s3:PutObject", "/*", (403, 403), (403, 403), (403, 403), (403, 403), (200, 403), (403, 403)),
    ("BOB-CANONICAL", "s3:DeleteObject", "/*",
     (403, 403), (403, 403), (403, 403), (403, 403), (403, 403), (204, 403)),
    ("ANN", "s3:*", ["", "/*"], (403, 403), (403, 403), (403, 403), (403, 403), (403, 403), (403, 403)),
]


@pytest.mark.parametrize("who,actions,path,may_list,public,private,missing,may_put,may_delete", ALLOWED)
def test_allowed(world, ann, bob, box, accounts, who, actions, path, may_list, public, private, missing, may_put,
                 may_delete):
    whom = {"*": "*", "BOB": {"AWS": accounts["bob"]}, "BOB-ROOT": {"AWS": f"arn:aws:iam::{accounts['bob']}:root"},
            "BOB-CANONICAL": {"CanonicalUser": bob.list_buckets()["Owner"]["ID"]}, "ANN": {"AWS": accounts["ann"]}}
    put(ann, box, statement(box, whom[who], actions, path))
    for i in (0, 1):
        def status(method, path, body=None):
            if i == 0:
                return world.request(method, path, body=body or b"", keys=world.other_keys)[0]
            return anonymous(world, method, path, body)

        assert status("GET", f"/{box}") == may_list[i]
        assert status("GET", f"/{box}/public/a") == public[i]
        assert status("HEAD", f"/{box}/private/a") == private[i]
        assert status("GET", f"/{box}/public/missing") == missing[i]
        assert status("PUT", f"/{box}/new", b"x") == may_put[i]
        assert status("DELETE", f"/{box}/new") == may_delete[i]
    assert ann.get_object(Bucket=box, Key="private/a")["Body"].read() == b"a"


def test_deny_wins(world, ann, bob, box, accounts):
    put(ann, box, statement(box), statement(box, "*", "s3:*", "/private/*", "Deny"))
    assert anonymous(world, "GET", f"/{box}/public/a") == 200
    for call in (ann.get_object, ann.delete_object, bob.get_object):
        assert refusal(call, Bucket=box, Key="private/a") == (403, "AccessDenied")
    assert refusal(ann.get_object, Bucket=box, Key="private/missing") == (403, "AccessDenied")
    ann.put_object_acl(Bucket=box, Key="public/a", ACL="public-read")
    assert refusal(ann.put_object, Bucket=box, Key="private/b", ACL="public-read") == (403, "AccessDenied")


def test_owner_is_never_shut_out(ann, box):
    put(ann, box, statement(box, "*", "s3:*", ["", "/*"], "Deny"))
    for call in (ann.list_objects_v2, ann.get_bucket_acl, ann.get_bucket_policy_status):
        assert refusal(call, Bucket=box) == (403, "AccessDenied")
    assert "Deny" in ann.get_bucket_policy(Bucket=box)["Policy"]
    put(ann, box, statement(box))
    ann.list_objects_v2(Bucket=box)


def test_what_another_wrote(ann, bob, world, box, accounts):
    """A policy allows what is the bucket owner's, and denies whatever it names."""
    put(ann, box, statement(box, {"AWS": accounts["bob"]}, "s3:PutObject"), statement(box))
    bob.put_object(Bucket=box, Key="his", Body=b"b")
    assert anonymous(world, "GET", f"/{box}/public/a") == 200
    assert anonymous(world, "GET", f"/{box}/his") == 403
    assert refusal(ann.get_object, Bucket=box, Key="his") == (403, "AccessDenied")
    assert refusal(bob.put_object, Bucket=box, Key="his", ACL="public-read") == (403, "AccessDenied")
    put(ann, box, statement(box, {"AWS": accounts["bob"]}, ["s3:PutObject", "s3:PutObjectAcl"]))
    bob.put_object(Bucket=box, Key="his", ACL="public-read", Body=b"b")
    assert anonymous(world, "GET", f"/{box}/his") == 200
    put(ann, box, statement(box, "*", "s3:GetObject", "/his", "Deny"))
    assert anonymous(world, "GET", f"/{box}/his") == 403
    assert refusal(bob.get_object, Bucket=box, Key="his") == (403, "AccessDenied")
    ann.delete_object(Bucket=box, Key="his")


def test_users_by_name(world, ann, box, accounts):
    name = world.rows("SELECT user_name FROM identity_key WHERE access_key_id = ?", world.other_keys[0])[0][0]
    own = f"arn:aws:iam::{accounts['bob']}:user/{name}" if name else f"arn:aws:iam::{accounts['bob']}:root"
    other = f"arn:aws:iam::{accounts['bob']}:user/nobody-of-that-name"
    for arn, expected in ((own, 200), (other, 403)):
        put(ann, box, statement(box, {"AWS": arn}))
        assert world.request("GET", f"/{box}/public/a", keys=world.other_keys)[0] == expected


def test_versions_are_another_action(ann, bob, box, accounts):
    ann.put_bucket_versioning(Bucket=box, VersioningConfiguration={"Status": "Enabled"})
    version = ann.put_object(Bucket=box, Key="v", Body=b"1")["VersionId"]
    put(ann, box, statement(box, {"AWS": accounts["bob"]}))
    bob.get_object(Bucket=box, Key="v")
    assert refusal(bob.get_object, Bucket=box, Key="v", VersionId=version) == (403, "AccessDenied")
    put(ann, box, statement(box, {"AWS": accounts["bob"]}, "s3:GetObjectVersion",
                            Condition={"StringEquals": {"s3:VersionId": version}}))
    bob.get_object(Bucket=box, Key="v", VersionId=version)
    assert refusal(bob.get_object, Bucket=box, Key="v") == (403, "AccessDenied")
    put(ann, box, statement(box, {"AWS": accounts["bob"]}, "s3:DeleteObject"))
    assert refusal(bob.delete_object, Bucket=box, Key="v", VersionId=version) == (403, "AccessDenied")
    marker = bob.delete_object(Bucket=box, Key="v")["VersionId"]
    for each in (version, marker, "null"):
        for key in ("v", "public/a", "private/a"):
            ann.delete_object(Bucket=box, Key=key, VersionId=each)


# -- conditions: key, operator, value; headers; whether anonymous GET of public/a is allowed --

def in_an_hour():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))


CONDITIONS = [
    ("IpAddress", "aws:SourceIp", "127.0.0.0/8", {}, True),
    ("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "::1"], {}, False),
    ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", {}, True),
    ("Bool", "aws:SecureTransport", "false", {}, True),
    ("Bool", "aws:SecureTransport", "true", {}, False),
    ("StringLike", "aws:Referer", "http://example.com/*", {"Referer": "http://example.com/page"}, True),
    ("StringLike", "aws:Referer", "http://example.com/*", {"Referer": "http://example.org/page"}, False),
    ("StringLike", "aws:Referer", "http://example.com/*", {}, False),
    ("StringEquals", "aws:UserAgent", "me", {"User-Agent": "me"}, True),
    ("StringEquals", "aws:UserAgent", "me", {"User-Agent": "you"}, False),
    ("DateLessThan", "aws:CurrentTime", in_an_hour, {}, True),
    ("DateGreaterThan", "aws:CurrentTime", in_an_hour, {}, False),
    ("NumericGreaterThan", "aws:EpochTime", "1700000000", {}, True),
    ("NumericLessThan", "aws:EpochTime", "1700000000", {}, False),
    ("StringEquals", "aws:PrincipalType", "Anonymous", {}, True),
    ("StringEquals", "aws:userid", "anonymous", {}, True),
    ("Null", "aws:username", "true", {}, True),
    ("Null", "aws:PrincipalAccount", "false", {}, False),
    ("Null", "s3:signatureversion", "true", {}, True),
    ("StringEquals", "aws:unheard-of", "x", {}, False),
]


@pytest.mark.parametrize("operator,key,value,headers,allowed", CONDITIONS)
def test_conditions(world, ann, box, operator, key, value, headers, allowed):
    # A test's name must not tell the time: those who run them together compare what they have found.
    put(ann, box, statement(box, Condition={operator: {key: value() if callable(value) else value}}))
    assert anonymous(world, "GET", f"/{box}/public/a", headers=headers) == (200 if allowed else 403)


def allows(ann, box, accounts, actions, condition, path="/*"):
    put(ann, box, statement(box, {"AWS": accounts["bob"]}, actions, path, Condition=condition))


def test_conditions_of_signed_requests(world, ann, bob, box, accounts):
    url = urllib.parse.urlsplit(bob.generate_presigned_url("get_object", {"Bucket": box, "Key": "public/a"}))
    target = f"{url.path}?{url.query}"
    for condition, in_header, in_query in (
            ({"StringEquals": {"s3:authType": "REST-HEADER"}}, 200, 403),
            ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, 403, 200),
            ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, 200, 200),
            ({"StringEquals": {"s3:signatureversion": "AWS"}}, 403, 403),
            ({"NumericLessThan": {"s3:signatureAge": "600000"}}, 200, 200),
            ({"NumericGreaterThan": {"s3:signatureAge": "600000"}}, 403, 403),
            ({"StringEquals": {"s3:x-amz-content-sha256": "UNSIGNED-PAYLOAD"}}, 200, 403),
            ({"StringEquals": {"aws:PrincipalAccount": accounts["bob"]}}, 200, 200),
            ({"StringEquals": {"aws:PrincipalAccount": accounts["ann"]}}, 403, 403),
            ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{accounts['bob']}:*"}}, 200, 200),
            ({"StringEquals": {"s3:ResourceAccount": accounts["ann"]}}, 200, 200),
            ({"StringEquals": {"aws:PrincipalType": ["User", "Account"]}}, 200, 200)):
        allows(ann, box, accounts, "s3:GetObject", condition)
        assert world.request("GET", f"/{box}/public/a", keys=world.other_keys)[0] == in_header, condition
        assert anonymous(world, "GET", target) == in_query, condition


def test_conditions_of_requests_signed_by_version_2(world, ann, bob, box, accounts):
    """Its age is always 0: boto3 sends a date in the header, and when it ends in a link."""
    old = world.s3(world.other_keys, version="s3")
    url = urllib.parse.urlsplit(old.generate_presigned_url("get_object", {"Bucket": box, "Key": "public/a"}))
    time.sleep(1.1)  # more than nothing, if it was counted
    for condition, in_header, in_query in (
            ({"StringEquals": {"s3:authType": "REST-HEADER"}}, 200, 403),
            ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, 403, 200),
            ({"StringEquals": {"s3:signatureversion": "AWS"}}, 200, 200),
            ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, 403, 403),
            ({"NumericEquals": {"s3:signatureAge": "0"}}, 200, 200),
            ({"Null": {"s3:signatureAge": "true"}}, 403, 403)):
        allows(ann, box, accounts, "s3:GetObject", condition)
        assert status_of(old.get_object, Bucket=box, Key="public/a") == in_header, condition
        assert anonymous(world, "GET", f"{url.path}?{url.query}") == in_query, condition


def test_conditions_of_signed_forms(world, ann, box, accounts):
    """The signature of a form is in its fields."""
    for version, name in (("s3v4", "AWS4-HMAC-SHA256"), ("s3", "AWS")):
        made = world.s3(world.other_keys, version=version).generate_presigned_post(box, "public/form")
        body, kind = urllib3.encode_multipart_formdata([*made["fields"].items(), ("file", ("a", b"x"))])
        for condition, status in (({"StringEquals": {"s3:authType": "POST"}}, 204),
                                  ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, 403),
                                  ({"StringEquals": {"s3:signatureversion": name}}, 204),
                                  ({"StringNotEquals": {"s3:signatureversion": name}}, 403),
                                  ({"NumericLessThan": {"s3:signatureAge": "600000"}}, 204),
                                  ({"NumericGreaterThan": {"s3:signatureAge": "600000"}}, 403)):
            allows(ann, box, accounts, "s3:PutObject", condition)
            assert anonymous(world, "POST", f"/{box}", body, {"Content-Type": kind}) == status, (name, condition)
    ann.delete_object(Bucket=box, Key="public/form")


def test_conditions_of_lists(ann, bob, box, accounts):
    for condition, good, bad in (
            ({"StringLike": {"s3:prefix": "public/*"}}, {"Prefix": "public/"}, {"Prefix": "private/"}),
            ({"StringEquals": {"s3:delimiter": "/"}}, {"Delimiter": "/"}, {}),
            ({"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"MaxKeys": 10}, {"MaxKeys": 11})):
        allows(ann, box, accounts, "s3:ListBucket", condition, "")
        bob.list_objects_v2(Bucket=box, **good)
        assert refusal(bob.list_objects_v2, Bucket=box, **bad) == (403, "AccessDenied")


def test_conditions_of_writes(ann, bob, box, accounts):
    writes = ["s3:PutObject", "s3:PutObjectAcl"]
    identity = bob.list_buckets()["Owner"]["ID"]
    for condition, good, bad in (
            ({"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
             {"ACL": "bucket-owner-full-control"}, {"ACL": "private"}),
            ({"StringEquals": {"s3:x-amz-storage-class": "STANDARD_IA"}}, {"StorageClass": "STANDARD_IA"}, {}),
            ({"StringLike": {"s3:x-amz-grant-read": "id=*"}}, {"GrantRead": f"id={identity}"}, {})):
        actions = writes if "acl" in str(condition) or "grant" in str(condition) else "s3:PutObject"
        allows(ann, box, accounts, actions, condition)
        bob.put_object(Bucket=box, Key="w", Body=b"w", **good)
        assert refusal(bob.put_object, Bucket=box, Key="w", Body=b"w", **bad) == (403, "AccessDenied")
    ann.delete_object(Bucket=box, Key="w")


def test_parameters_are_no_headers(world, bob, ann, box, accounts):
    """A parameter that is named like a header changes nothing of what is stored, nor who may store it; but in a signed
    link some are taken for it."""
    for name, value in (("x-amz-acl", "bucket-owner-full-control"), ("x-amz-server-side-encryption", "AES256"),
                        ("x-amz-storage-class", "STANDARD_IA")):
        actions = ["s3:PutObject", "s3:PutObjectAcl"] if name == "x-amz-acl" else "s3:PutObject"
        allows(ann, box, accounts, actions, {"StringEquals": {f"s3:{name}": value}})
        assert world.request("PUT", f"/{box}/w", {name: value}, keys=world.other_keys)[0] == 403, name
        assert world.request("PUT", f"/{box}/w", headers={name: value}, keys=world.other_keys)[0] == 200, name
        url = urllib.parse.urlsplit(bob.generate_presigned_url("put_object", {"Bucket": box, "Key": "w"}))
        assert anonymous(world, "PUT", f"{url.path}?{url.query}&{name}={value}", b"") == 403, name
        linked = own_link(world, f"/{box}/w", world.other_keys, **{name: value})
        assert anonymous(world, "PUT", linked[len(world.endpoint):], b"") == 200, name
    ann.delete_object(Bucket=box, Key="w")


def tagging(ann, box, key):
    return {t["Key"]: t["Value"] for t in ann.get_object_tagging(Bucket=box, Key=key)["TagSet"]}


def test_conditions_of_tags(world, ann, bob, box, accounts):
    """Those that are put, and those that are there, whatever a header says beside them."""
    def put_tags(value, headers=None):
        xml = f"<Tagging><TagSet><Tag><Key>team</Key><Value>{value}</Value></Tag></TagSet></Tagging>"
        return world.request("PUT", f"/{box}/public/a", {"tagging": ""}, headers, xml.encode(),
                             keys=world.other_keys)[0]

    allows(ann, box, accounts, "s3:PutObjectTagging", {"StringEquals": {"s3:RequestObjectTag/team": "red"}})
    assert put_tags("red") == 200 and put_tags("blue") == 403
    assert put_tags("blue", {"x-amz-tagging": "team=red"}) == 403
    assert tagging(ann, box, "public/a") == {"team": "red"}
    allows(ann, box, accounts, "s3:PutObjectTagging",
           {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["colour"]}})
    assert put_tags("red", {"x-amz-tagging": "colour=red"}) == 403
    allows(ann, box, accounts, ["s3:GetObjectTagging", "s3:PutObjectTagging", "s3:DeleteObjectTagging"],
           {"StringEquals": {"s3:ExistingObjectTag/team": "red"}})
    assert tagging(bob, box, "public/a") == {"team": "red"}
    assert refusal(bob.get_object_tagging, Bucket=box, Key="private/a") == (403, "AccessDenied")
    assert refusal(bob.get_object_tagging, Bucket=box, Key="missing") == (403, "AccessDenied")
    bob.delete_object_tagging(Bucket=box, Key="public/a")
    assert put_tags("red") == 403


def test_what_tells_of_bytes_and_tags(world, ann, bob, box, accounts):
    """Attributes need the right to read the object beside their own; the number of tags that to read tags."""
    who = {"AWS": accounts["bob"]}
    asked = {"Bucket": box, "Key": "public/a", "ObjectAttributes": ["ETag", "ObjectSize"]}
    ann.put_object(Bucket=box, Key="public/a", Body=b"a", Tagging="team=red")

    def count():
        return world.request("HEAD", f"/{box}/public/a", keys=world.other_keys)[1].get("x-amz-tagging-count")

    put(ann, box, statement(box, who, "s3:GetObjectAttributes"))
    assert refusal(bob.get_object_attributes, **asked) == (403, "AccessDenied")
    put(ann, box, statement(box, who, "s3:GetObject"))
    assert refusal(bob.get_object_attributes, **asked) == (403, "AccessDenied")
    assert count() is None
    put(ann, box, statement(box, who, ["s3:GetObject", "s3:GetObjectAttributes", "s3:GetObjectTagging"]))
    assert bob.get_object_attributes(**asked)["ObjectSize"] == 1 and count() == "1"


def test_tags_of_copies(world, ann, bob, box, accounts):
    """They need what reading and putting them needs."""
    mine = "copies-" + uuid.uuid4().hex[:12]
    who = {"AWS": accounts["bob"]}
    bob.create_bucket(Bucket=mine)
    ann.put_object(Bucket=box, Key="public/a", Body=b"a", Tagging="team=red")
    bob.put_object(Bucket=mine, Key="blue", Body=b"b", Tagging="team=blue")
    put(ann, box, statement(box, who))
    from_ann = {"Bucket": mine, "Key": "c", "CopySource": f"{box}/public/a"}
    assert refusal(bob.copy_object, **from_ann) == (403, "AccessDenied")
    bob.copy_object(**from_ann, TaggingDirective="REPLACE", Tagging="team=none")
    bob.copy_object(Bucket=mine, Key="c", CopySource=f"{box}/private/a")
    put(ann, box, statement(box, who, ["s3:GetObject", "s3:GetObjectTagging"]))
    bob.copy_object(**from_ann)
    assert tagging(bob, mine, "c") == {"team": "red"}

    to_ann = {"Bucket": box, "Key": "w", "CopySource": f"{mine}/blue"}
    put(ann, box, statement(box, who, "s3:PutObject"))
    assert refusal(bob.copy_object, **to_ann) == (403, "AccessDenied")
    put(ann, box, statement(box, who, "s3:PutObject"),
        statement(box, who, "s3:PutObjectTagging", Condition={"StringEquals": {"s3:RequestObjectTag/team": "red"}}))
    assert refusal(bob.copy_object, **to_ann) == (403, "AccessDenied")
    status, _, _ = world.request("PUT", f"/{box}/w", keys=world.other_keys, headers={
        "x-amz-copy-source": f"{mine}/blue", "x-amz-tagging": "team=red"})
    assert status == 403
    bob.copy_object(Bucket=box, Key="w", CopySource=f"{mine}/c")
    ann.delete_object(Bucket=box, Key="w")
    for key in ("blue", "c"):
        bob.delete_object(Bucket=mine, Key=key)
    bob.delete_bucket(Bucket=mine)


def test_variables(world, ann, bob, box, accounts):
    name = world.rows("SELECT user_name FROM identity_key WHERE access_key_id = ?", world.other_keys[0])[0][0]
    put(ann, box, statement(box, {"AWS": accounts["bob"]}, "s3:PutObject", "/of-${aws:PrincipalAccount}/*"),
        statement(box, {"AWS": accounts["bob"]}, "s3:PutObject", "/user-${aws:username, 'none'}/*"))
    bob.put_object(Bucket=box, Key=f"of-{accounts['bob']}/x", Body=b"")
    bob.put_object(Bucket=box, Key=f"user-{name or 'none'}/x", Body=b"")
    assert refusal(bob.put_object, Bucket=box, Key=f"of-{accounts['ann']}/x", Body=b"") == (403, "AccessDenied")


# -- public --

def test_status_and_public_access_block(world, ann, bob, box, accounts):
    cases = [(statement(box), True), (statement(box, {"AWS": accounts["bob"]}), False),
             (statement(box, effect="Deny"), False),
             (statement(box, Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}), False),
             (statement(box, Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}), True),
             (statement(box, Condition={"StringEquals": {"aws:PrincipalAccount": accounts["bob"]}}), False)]
    for one, is_public in cases:
        put(ann, box, one)
        assert ann.get_bucket_policy_status(Bucket=box)["PolicyStatus"]["IsPublic"] == is_public
    both = statement(box, {"AWS": accounts["bob"]}, path="/private/*")
    put(ann, box, statement(box), both)
    bob.get_object(Bucket=box, Key="private/a")
    configuration = {"BlockPublicPolicy": True, "RestrictPublicBuckets": True}
    ann.put_public_access_block(Bucket=box, PublicAccessBlockConfiguration=configuration)
    assert anonymous(world, "GET", f"/{box}/public/a") == 403
    assert refusal(bob.get_object, Bucket=box, Key="private/a") == (403, "AccessDenied")
    for one, is_public in cases:
        if is_public:
            assert refusal(ann.put_bucket_policy, Bucket=box, Policy=json.dumps({"Statement": one})) == (
                403, "AccessDenied")
    put(ann, box, both)
    bob.get_object(Bucket=box, Key="private/a")


# -- many keys, each by its own right --

def test_many_keys(world, ann, bob, box, accounts):
    put(ann, box, statement(box, {"AWS": accounts["bob"]}, "s3:DeleteObject", "/public/*"))
    reply = bob.delete_objects(Bucket=box, Delete={"Objects": [{"Key": "public/a"}, {"Key": "private/a"}]})
    assert [d["Key"] for d in reply["Deleted"]] == ["public/a"]
    assert [(d["Key"], d["Code"]) for d in reply["Errors"]] == [("private/a", "AccessDenied")]
    assert [o["Key"] for o in ann.list_objects_v2(Bucket=box)["Contents"]] == ["private/a"]


def test_revoked_and_kept(world, ann, bob, box, accounts):
    """A change is seen by the next request, and outlives a kill."""
    put(ann, box, statement(box, {"AWS": accounts["bob"]}))
    bob.get_object(Bucket=box, Key="public/a")
    world.walrus.kill()
    world.walrus.start()
    bob.get_object(Bucket=box, Key="public/a")
    ann.delete_bucket_policy(Bucket=box)
    assert refusal(bob.get_object, Bucket=box, Key="public/a") == (403, "AccessDenied")


def test_many_conditions_for_many_keys(world, ann, box):
    """All conditions but the last hold, each key is asked for by itself: no more memory than for one."""
    conditions = {"StringNotEquals": {f"s3:RequestObjectTag/{i}": "z" for i in range(560)},
                  "StringEquals": {"aws:Referer": "never"}}
    ann.put_bucket_policy(Bucket=box, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{box}/*",
         "Condition": conditions}]}, separators=(",", ":")))
    body = "<Delete>" + "".join(f"<Object><Key>{i}</Key></Object>" for i in range(1000)) + "</Delete>"
    body = body.encode()
    headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode(), "x-amz-tagging": "a=" + "b" * 5000}
    status, _, text = world.request("POST", f"/{box}", {"delete": ""}, headers, body)
    assert status == 200 and text.count(b"<Deleted>") == 1000
