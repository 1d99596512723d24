"""Access logs: what a line says, where it goes, and who must have allowed it."""
import json
import re

import pytest
from test_objects import code
from test_website import SITE, ask
from world import wait_for

FIELDS = ("owner bucket time remote requester request_id operation key uri status error sent size total turn referer "
          "agent version host_id signature cipher authentication host tls access_point acl_required").split()
LINE = re.compile(r'"[^"]*"|\[[^]]*\]|\S+')


@pytest.fixture
def target(world, s3):
    name = "log-target"
    s3.create_bucket(Bucket=name)
    allow(s3, name)
    yield name
    s3.delete_bucket_policy(Bucket=name)
    for o in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=o["Key"])
    s3.delete_bucket(Bucket=name)


def allow(s3, name, condition=None):
    statement = {"Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject",
                 "Resource": f"arn:aws:s3:::{name}/*"}
    if condition:
        statement["Condition"] = condition
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def enable(s3, bucket, target, prefix="logs/", **more):
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={
        "LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix, **more}})


def lines(s3, target):
    found = []
    for o in s3.list_objects_v2(Bucket=target).get("Contents", []):
        text = s3.get_object(Bucket=target, Key=o["Key"])["Body"].read().decode()
        assert text.endswith("\n")
        for line in text.splitlines():
            parts = LINE.findall(line)
            assert len(parts) == len(FIELDS), line
            found.append(dict(zip(FIELDS, parts)))
    return found


def test_setting(s3, bucket, target):
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    grants = [{"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
               "Permission": "READ"}]
    enable(s3, bucket, target, TargetGrants=grants)
    found = s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"]
    assert (found["TargetBucket"], found["TargetPrefix"], found["TargetGrants"]) == (target, "logs/", grants)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


def refused(s3, bucket, target):
    return code(s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus={
        "LoggingEnabled": {"TargetBucket": target, "TargetPrefix": ""}})


def test_targets_that_are_none(world, s3, bucket, target):
    assert refused(s3, bucket, "no-such-target") == ("InvalidTargetBucketForLogging", 400)
    other = world.s3(world.other_keys)
    other.create_bucket(Bucket="log-of-bob")
    assert refused(s3, bucket, "log-of-bob") == ("InvalidTargetBucketForLogging", 400)
    other.delete_bucket(Bucket="log-of-bob")
    assert refused(s3, bucket, bucket) == ("InvalidTargetBucketForLogging", 400)  # it grants nothing
    for condition, wanted in [({"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}}, True),
                              ({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::other"}}, False),
                              ({"StringEquals": {"aws:SourceAccount": "000000000000"}}, False)]:
        allow(s3, target, condition)
        if wanted:
            enable(s3, bucket, target)
        else:
            assert refused(s3, bucket, target) == ("InvalidTargetBucketForLogging", 400)


def test_a_group_may_be_granted(s3, bucket, target):
    s3.delete_bucket_policy(Bucket=target)
    assert refused(s3, bucket, target) == ("InvalidTargetBucketForLogging", 400)
    s3.put_bucket_ownership_controls(Bucket=target, OwnershipControls={"Rules": [
        {"ObjectOwnership": "BucketOwnerPreferred"}]})
    s3.put_bucket_acl(Bucket=target, ACL="log-delivery-write")
    enable(s3, bucket, target)


def test_lines(world, s3, bucket, target):
    enable(s3, bucket, target)
    s3.put_object(Bucket=bucket, Key="a b", Body=b"four")
    s3.get_object(Bucket=bucket, Key="a b", Range="bytes=1-2")
    code(s3.get_object, Bucket=bucket, Key="none")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=SITE)
    ask(world, f"{bucket}.web.test", "/page", User_Agent='an "agent" with\ttab', Referer="http://r.test/")
    s3.get_bucket_location(Bucket=bucket)
    ask_url = s3.generate_presigned_url("head_object", Params={"Bucket": bucket, "Key": "a b"})
    connection = world.connection()
    connection.request("HEAD", ask_url.split(str(world.walrus.port), 1)[1])
    assert connection.getresponse().status == 200
    connection.close()
    wanted = ["REST.PUT.OBJECT", "REST.GET.OBJECT", "REST.GET.OBJECT", "REST.PUT.WEBSITE", "WEBSITE.GET.OBJECT",
              "REST.GET.LOCATION", "REST.HEAD.OBJECT"]
    found = wait_for(lambda: (lambda all_: all_ if len(all_) >= len(wanted) else None)(
        [x for x in lines(s3, target) if x["operation"] != "REST.PUT.LOGGING_STATUS"]), 10, "lines did not come")
    found.sort(key=lambda x: wanted.index(x["operation"]))  # a line is written when its reply is sent, by whoever sent it
    assert [x["operation"] for x in found] == wanted
    put, get, missing, _, page, _, head = found
    owner = s3.list_buckets()["Owner"]["ID"]
    assert {x["owner"] for x in found} == {owner} and {x["bucket"] for x in found} == {bucket}
    assert put["key"] == "a%20b" and put["status"] == "200" and put["error"] == "-" and put["size"] == "4"
    assert put["uri"] == f'"PUT /{bucket}/a%20b HTTP/1.1"' and put["sent"] == "-"
    assert put["requester"].startswith("arn:aws:iam::") or put["requester"] == owner
    assert (put["signature"], put["authentication"], put["cipher"], put["tls"]) == ("SigV4", "AuthHeader", "-", "-")
    assert put["host"] == f"127.0.0.1:{world.walrus.port}" and put["remote"] == "127.0.0.1"
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]", put["time"])
    assert int(put["total"]) >= int(put["turn"]) >= 0 and put["agent"].startswith('"Boto3')
    assert (get["status"], get["sent"], get["size"]) == ("206", "2", "4")
    assert (missing["status"], missing["error"], missing["size"]) == ("404", "NoSuchKey", "-")
    assert int(missing["sent"]) > 100
    assert (page["requester"], page["signature"], page["status"]) == ("-", "-", "403")
    assert page["agent"] == '"an %22agent%22 with%09tab"' and page["referer"] == '"http://r.test/"'
    assert (head["authentication"], head["sent"]) == ("QueryString", "-")
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=target)["Contents"]]
    assert all(re.fullmatch(r"logs/\d{4}(-\d\d){5}-[0-9A-F]{16}", k) for k in keys), keys


def test_nothing_is_delivered_where_it_may_not(world, s3, bucket, target):
    enable(s3, bucket, target)
    s3.delete_bucket_policy(Bucket=target)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    wait_for(lambda: "access_log.dropped" in world.walrus.last_words(), 10)
    assert lines(s3, target) == []


def test_a_process_that_ends_delivers(world, s3, bucket, target):
    enable(s3, bucket, target, "end/")
    s3.put_object(Bucket=bucket, Key="last", Body=b"")
    assert world.walrus.kill(15) == 0
    world.walrus.start()
    assert "last" in [x["key"] for x in lines(s3, target)]
