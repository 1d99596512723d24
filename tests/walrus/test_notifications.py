"""Notifications: the configuration, and what an endpoint is sent."""
import http.server
import json
import socket
import sqlite3
import threading
import time

import pytest
from test_lifecycle import forget
from test_objects import code
from world import wait_for

ARN = "arn:aws:sns:mallee-1:123456789012:"


class Endpoint:
    """An HTTP server on the port that the walrus knows as `events`."""

    def __init__(self, port):
        self.seen, self.refuse = [], 0
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.refuse -= 1
                if endpoint.refuse < 0:
                    endpoint.seen.append((self.path, json.loads(body)))
                self.send_response(200 if endpoint.refuse < 0 else 500)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def records(self, path="/hook"):
        return [r for p, body in self.seen if p == path for r in body.get("Records", [])]


@pytest.fixture
def endpoint(world):
    made = Endpoint(world.hook_port)
    yield made
    made.close()


def topic(events, name="events", **more):
    return {"TopicArn": ARN + name, "Events": events, **more}


def put(s3, bucket, *topics, **more):
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={
        "TopicConfigurations": list(topics), **more})


def key_filter(prefix, suffix):
    return {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}, {"Name": "suffix", "Value": suffix}]}}


def test_setting(s3, bucket, endpoint):
    get = s3.get_bucket_notification_configuration
    assert "TopicConfigurations" not in get(Bucket=bucket)
    put(s3, bucket, topic(["s3:ObjectCreated:*"], Id="one", Filter=key_filter("a/", ".jpg")),
        QueueConfigurations=[{"Id": "two", "QueueArn": "arn:aws:sqs:mallee-1:1:second",
                              "Events": ["s3:ObjectRemoved:Delete"]}],
        LambdaFunctionConfigurations=[{"LambdaFunctionArn": "arn:aws:lambda:mallee-1:1:function:events",
                                       "Events": ["s3:ObjectTagging:*", "s3:ObjectAcl:Put"]}])
    found = get(Bucket=bucket)
    assert found["TopicConfigurations"] == [{"Id": "one", **topic(["s3:ObjectCreated:*"]), "Filter": {
        "Key": {"FilterRules": [{"Name": "Prefix", "Value": "a/"}, {"Name": "Suffix", "Value": ".jpg"}]}}}]
    assert found["QueueConfigurations"][0]["QueueArn"] == "arn:aws:sqs:mallee-1:1:second"
    assert found["LambdaFunctionConfigurations"][0]["Events"] == ["s3:ObjectTagging:*", "s3:ObjectAcl:Put"]
    wait_for(lambda: len(endpoint.seen) == 3)
    assert {p for p, _ in endpoint.seen} == {"/hook", "/second"}
    test = endpoint.seen[0][1]
    assert (test["Service"], test["Event"], test["Bucket"]) == ("Amazon S3", "s3:TestEvent", bucket)
    put(s3, bucket)
    assert "TopicConfigurations" not in get(Bucket=bucket)


@pytest.mark.parametrize("configuration", [
    {"TopicConfigurations": [topic(["s3:ObjectCreated:Put"], "no-such-endpoint")]},
    {"TopicConfigurations": [topic(["s3:Nonsense"])]},
    {"TopicConfigurations": [{"TopicArn": "events", "Events": ["s3:ObjectCreated:Put"]}]},
    {"TopicConfigurations": [{"TopicArn": "arn:aws:sqs:r:1:events", "Events": ["s3:ObjectCreated:Put"]}]},
    {"TopicConfigurations": [topic(["s3:ObjectCreated:*"]), topic(["s3:ObjectCreated:Put"])]},
    {"TopicConfigurations": [topic(["s3:ObjectCreated:*"], Filter=key_filter("a", "")),
                             topic(["s3:ObjectCreated:*"], Filter=key_filter("ab", "x"))]},
    {"TopicConfigurations": [topic(["s3:ObjectCreated:*"], Id="x"), topic(["s3:ObjectRemoved:*"], Id="x")]},
    {"TopicConfigurations": [topic(["s3:ObjectCreated:*"], Filter={"Key": {"FilterRules": [
        {"Name": "prefix", "Value": "a"}, {"Name": "prefix", "Value": "b"}]}})]},
    {"TopicConfigurations": [topic(["s3:ObjectCreated:*"], Filter={"Key": {"FilterRules": [
        {"Name": "suffix", "Value": "a" * 1025}]}})]},
    {"EventBridgeConfiguration": {}}])
def test_configurations_that_are_none(s3, bucket, configuration):
    assert code(s3.put_bucket_notification_configuration, Bucket=bucket,
                NotificationConfiguration=configuration) == ("InvalidArgument", 400)
    assert "TopicConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


def test_records(world, s3, bucket, endpoint):
    put(s3, bucket, topic(["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], Id="all", Filter=key_filter("a", "")))
    etag = s3.put_object(Bucket=bucket, Key="a b/ü+", Body=b"four")["ETag"].strip('"')
    s3.put_object(Bucket=bucket, Key="other", Body=b"x")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="a2")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="a2", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(Bucket=bucket, Key="a2", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a2"}]})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="a3", Body=b"x")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="a3")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="a3", VersionId=marker)
    s3.delete_object(Bucket=bucket, Key="a3", VersionId=version)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    wait_for(lambda: len(endpoint.records()) == 7)
    records = endpoint.records()
    assert [(r["eventName"], r["s3"]["object"]["key"], r["s3"]["object"].get("versionId")) for r in records] == [
        ("ObjectCreated:Put", "a+b/%C3%BC%2B", None), ("ObjectCreated:CompleteMultipartUpload", "a2", None),
        ("ObjectRemoved:Delete", "a2", None), ("ObjectCreated:Put", "a3", version),
        ("ObjectRemoved:DeleteMarkerCreated", "a3", marker), ("ObjectRemoved:Delete", "a3", marker),
        ("ObjectRemoved:Delete", "a3", version)]
    first = records[0]
    assert (first["eventVersion"], first["eventSource"], first["awsRegion"]) == ("2.1", "aws:s3", "us-east-1")
    assert first["s3"]["object"]["eTag"] == etag and first["s3"]["object"]["size"] == 4
    assert first["s3"]["bucket"]["name"] == bucket and first["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert first["s3"]["configurationId"] == "all" and first["s3"]["s3SchemaVersion"] == "1.0"
    assert first["requestParameters"]["sourceIPAddress"] == "127.0.0.1"
    assert first["userIdentity"]["principalId"].startswith("AWS:") and first["responseElements"]["x-amz-request-id"]
    assert "size" not in records[2]["s3"]["object"] and "eTag" not in records[2]["s3"]["object"]
    order = [r["s3"]["object"]["sequencer"] for r in records]
    assert order == sorted(order) and len(set(order)) == 7
    put(s3, bucket)
    forget(world, s3, bucket, "a b/ü+", "other")
    wait_for(lambda: world.rows("SELECT COUNT(*) FROM notification") == [(0,)])


def test_a_kill_and_an_endpoint_that_fails_lose_nothing(world, s3, bucket):
    world.restart(notification_age="1h")
    put(s3, bucket, topic(["s3:ObjectCreated:Put"]))
    for i in range(40):
        s3.put_object(Bucket=bucket, Key=f"{i:02}", Body=b"")
    world.walrus.kill()
    world.walrus.start()
    endpoint = Endpoint(world.hook_port)
    try:
        endpoint.refuse = 1
        wait_for(lambda: len(endpoint.records()) >= 40)
        keys = [r["s3"]["object"]["key"] for r in endpoint.records()]
        assert list(dict.fromkeys(keys)) == [f"{i:02}" for i in range(40)]
    finally:
        endpoint.close()
        world.restart()


def test_what_nobody_takes_is_dropped(world, s3, bucket, endpoint):
    put(s3, bucket, topic(["s3:ObjectCreated:Put"], "nobody"), topic(["s3:ObjectRemoved:*"]))
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.delete_object(Bucket=bucket, Key="k")
    wait_for(lambda: endpoint.records())  # meanwhile others are served
    assert world.rows("SELECT COUNT(*) FROM notification WHERE endpoint = 'nobody'") != [(0,)]
    wait_for(lambda: world.rows("SELECT COUNT(*) FROM notification") == [(0,)], 10, "it was kept")
    time.sleep(0.1)
    assert len(endpoint.records()) == 1


def test_only_the_old_is_dropped(world, s3, bucket):
    """Records that lie behind an old one are tried again, however long that one was kept."""
    put(s3, bucket, topic(["s3:ObjectCreated:Put"], "nobody"))
    for key in ("old", "new"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    world.walrus.kill()
    with sqlite3.connect(f"{world.walrus.state}/walrus.db") as db:
        db.execute("DELETE FROM notification WHERE is_test = 1")
        db.execute("UPDATE notification SET created_us = created_us - 7200000000, attempts = 0, due_us = 0"
                   " WHERE revision = (SELECT MIN(revision) FROM notification)")
    db.close()
    world.walrus.configure(notification_age="1h")
    world.walrus.start()
    try:
        wait_for(lambda: len(world.rows("SELECT 1 FROM notification")) < 2, 10, "the old one was kept")
        assert [json.loads(row[0])["s3"]["object"]["key"] for row in world.rows("SELECT body FROM notification")] == ["new"]
    finally:
        world.restart()
    wait_for(lambda: world.rows("SELECT COUNT(*) FROM notification") == [(0,)], 15)


def test_expiry_is_told(s3, bucket, endpoint):
    put(s3, bucket, topic(["s3:LifecycleExpiration:*"]))
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [
        {"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]})
    wait_for(lambda: endpoint.records(), 10)
    record = endpoint.records()[0]
    assert record["eventName"] == "LifecycleExpiration:Delete" and record["s3"]["object"]["key"] == "k"
    assert record["userIdentity"]["principalId"] == "s3.amazonaws.com"


def test_endpoints_that_hang_delay_nobody(world, s3, bucket):
    """They take the connection and say nothing, for longer than the others may take; nor do they hold up the end."""
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    names = [f"{letter}-hangs" for letter in "amz"]  # before and behind the other
    urls = [f"{name}=http://127.0.0.1:{s.getsockname()[1]}/" for name, s in zip(names, silent)]
    world.restart(notification_endpoints=" ".join([f"events=http://127.0.0.1:{world.hook_port}/hook", *urls]))
    endpoint = Endpoint(world.hook_port)
    try:
        put(s3, bucket, *(topic(["s3:ObjectCreated:Put"], name, Id=name, Filter=key_filter(name, ""))
                          for name in [*names, "events"]))
        for i in range(5):
            begun = time.monotonic()
            for name in [*names, "events"]:
                s3.put_object(Bucket=bucket, Key=f"{name}/{i}", Body=b"")
            wait_for(lambda n=i: len(endpoint.records()) == n + 1, 5)
            assert time.monotonic() - begun < 3, "it waited for others"
        assert [r["s3"]["object"]["key"] for r in endpoint.records()] == [f"events/{i}" for i in range(5)]
        assert world.rows("SELECT COUNT(DISTINCT endpoint) FROM notification") == [(3,)]
        begun = time.monotonic()
        world.restart()
        assert time.monotonic() - begun < 5, "it waited for an endpoint"
        put(s3, bucket)
        wait_for(lambda: world.rows("SELECT COUNT(*) FROM notification") == [(0,)], 15)  # nobody has those names now
    finally:
        endpoint.close()
        for s in silent:
            s.close()
