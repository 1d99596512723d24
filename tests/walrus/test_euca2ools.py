"""euca2ools' requests, replayed as it puts them on the wire (data/euca2ools): signed by HMAC-SHA1, below the path of
Eucalyptus' object storage, which the signature does not cover."""
import base64
import email.utils
import hashlib
import hmac
import http.client
import os
import random
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest
from world import TOP

FILE = os.path.join(TOP, "tests/data/euca2ools/s3.http")
MOUNTS = ("/services/objectstorage", "/services/Walrus", "/services/walrus")


def requests():
    """(method, target, headers, status, what must hold) of each block."""
    with open(FILE, encoding="utf-8") as file:
        blocks = "\n".join(line.rstrip("\n") for line in file if not line.startswith("#")).split("\n\n")
    for block in filter(None, (b.strip() for b in blocks)):
        first, *lines = block.splitlines()
        status, _, what = lines.pop().removeprefix("< ").partition(" ")
        yield (*first.split(" "), [line.split(": ", 1) for line in lines], int(status), what)


def signature(secret, method, headers, resource):
    given = {k.lower(): v for k, v in headers}
    amazon = "".join(f"{k}:{given[k]}\n" for k in sorted(given) if k.startswith("x-amz-"))
    text = "\n".join([method, given.get("content-md5", ""), given.get("content-type", ""), given["date"], amazon + resource])
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def send(world, method, target, headers, body, keys):
    """As it is written there: no header more, none in another order."""
    date = email.utils.formatdate(usegmt=True)
    headers = [(k, v.replace("DATE", date) if k == "Date" else v) for k, v in headers]
    resource = next(target[len(m):] for m in MOUNTS if target.startswith(m + "/")).partition("?")[0]
    made = signature(keys[1], method, headers, resource)
    connection = http.client.HTTPConnection("127.0.0.1", world.walrus.port, timeout=60)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.replace("KEY:SIGNATURE", f"{keys[0]}:{made}"))
        connection.endheaders(body or None)
        reply = connection.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    finally:
        connection.close()


@pytest.mark.parametrize("mount", MOUNTS, ids=lambda m: m.rpartition("/")[2])
def test_a_bundle_is_uploaded_read_and_deleted(world, mount):
    sent, seen = {}, 0
    bucket = "euca-" + mount.rpartition("/")[2].lower() + str(MOUNTS.index(mount))
    for method, target, headers, status, what in requests():
        target = target.replace(MOUNTS[0], mount).replace("BUCKET", bucket)
        size = int(dict(headers).get("Content-Length", 0))
        body = random.Random(target).randbytes(size) if size else b""
        got, answered, text = send(world, method, target, headers, body, world.admin_keys)
        assert got == status, (method, target, text)
        if method == "PUT" and size:
            sent[target] = body
        if what == "md5":
            assert answered["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
        elif what == "same":
            assert text == sent[target]
        elif what:
            root = ElementTree.fromstring(text)
            assert what in (root.tag.rpartition("}")[2], root.findtext("Code"))
        seen += 1
    assert seen == 13 and len(sent) == 3
    assert bucket not in [b["Name"] for b in world.s3().list_buckets()["Buckets"]]


def test_a_wrong_signature(world, bucket):
    headers = [["Date", "DATE"], ["Authorization", "AWS KEY:SIGNATURE"]]
    target = f"/services/objectstorage/{bucket}?max-keys=0"
    assert send(world, "GET", target, headers, b"", world.admin_keys)[0] == 200
    status, _, text = send(world, "GET", target, headers, b"", (world.admin_keys[0], "x" * 40))
    assert status == 403 and b"<Code>SignatureDoesNotMatch</Code>" in text


def test_links_for_importing(world, s3, bucket):
    """euca-import-instance gives links signed in the query, by the same signature, to those that fetch parts."""
    s3.put_object(Bucket=bucket, Key="disk/part 0", Body=b"bytes")
    until = str(int(email.utils.mktime_tz(email.utils.parsedate_tz(email.utils.formatdate()))) + 60)
    resource = f"/{bucket}/disk/part%200"

    def fetch(method, expires, body=None):
        text = "\n".join([method, "", "", expires, resource])
        made = base64.b64encode(hmac.new(world.admin_keys[1].encode(), text.encode(), hashlib.sha1).digest()).decode()
        query = urllib.parse.urlencode({"AWSAccessKeyId": world.admin_keys[0], "Expires": expires, "Signature": made})
        connection = world.connection(20)
        connection.request(method, f"/services/objectstorage{resource}?{query}", body)
        reply = connection.getresponse()
        answer = reply.status, reply.read()
        connection.close()
        return answer
    assert fetch("GET", until) == (200, b"bytes")
    assert fetch("PUT", until, b"new")[0] == 200 and fetch("GET", until) == (200, b"new")
    status, text = fetch("GET", "1000000000")
    assert status == 403 and b"<Code>AccessDenied</Code>" in text and b"Request has expired" in text
    assert fetch("DELETE", until)[0] == 204 and fetch("HEAD", until) == (404, b"")


def test_what_images_are_read_by(world, s3, bucket):
    """aws-exec-read is an ACL like others: its owner reads it, another account does not."""
    headers = [["x-amz-acl", "aws-exec-read"], ["Content-Length", "1"], ["Date", "DATE"],
               ["Authorization", "AWS KEY:SIGNATURE"]]
    target = f"/services/objectstorage/{bucket}/part"
    assert send(world, "PUT", target, headers, b"x", world.admin_keys)[0] == 200
    assert send(world, "GET", target, headers[2:], b"", world.admin_keys)[::2] == (200, b"x")
    assert send(world, "GET", target, headers[2:], b"", world.other_keys)[0] == 403
    grants = s3.get_object_acl(Bucket=bucket, Key="part")["Grants"]
    assert [g["Permission"] for g in grants if g["Grantee"].get("ID") == s3.list_buckets()["Owner"]["ID"]] == ["FULL_CONTROL"]
    assert not [g for g in grants if "AllUsers" in g["Grantee"].get("URI", "")]
