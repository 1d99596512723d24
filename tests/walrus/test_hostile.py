"""What nobody should send, at every operation: answered with Amazon's error or as it stands, never a failure of the
daemon, never silence, and nothing of it stays."""
import base64
import datetime
import hashlib
import hmac
import re
import socket
import urllib.parse

import pytest
from world import REGION

FINE = {501, 503, 507}  # of the 5xx: what is documented
SAFE = b"-_.~"


def quote(raw, safe=b""):
    return urllib.parse.quote_from_bytes(raw, safe=SAFE + safe).encode()


def canonical_query(raw):
    pairs = []
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            pairs.append(tuple(quote(urllib.parse.unquote_to_bytes(x.replace(b"+", b" "))) for x in (name, value)))
    return b"&".join(b"=".join(p) for p in sorted(pairs))


def sign(world, method, target, headers, payload=b"UNSIGNED-PAYLOAD", host=None):
    """Headers as bytes, well signed whatever they hold; and what chunks go on from."""
    now = datetime.datetime.utcnow()
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ").encode(), now.strftime("%Y%m%d")
    all_headers = [(b"Host", host or f"127.0.0.1:{world.walrus.port}".encode()), (b"x-amz-date", stamp),
                   (b"x-amz-content-sha256", payload), *headers]
    kept = {}
    for name, value in all_headers:
        if name.lower().startswith(b"x-amz-") or name == b"Host":
            kept.setdefault(name.lower(), []).append(re.sub(rb" +", b" ", value.strip(b" \t")))
    names = b";".join(sorted(kept))
    path, _, query = target.partition(b"?")
    canonical = b"\n".join([method, path, canonical_query(query),
                            b"".join(n + b":" + b",".join(kept[n]) + b"\n" for n in sorted(kept)), names, payload])
    scope = f"{day}/{REGION}/s3/aws4_request".encode()
    key = b"AWS4" + world.admin_keys[1].encode()
    for part in scope.split(b"/"):
        key = hmac.new(key, part, hashlib.sha256).digest()
    text = b"\n".join([b"AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical).hexdigest().encode()])
    signature = hmac.new(key, text, hashlib.sha256).hexdigest().encode()
    all_headers.append((b"Authorization", b"AWS4-HMAC-SHA256 Credential=" + world.admin_keys[0].encode() + b"/" + scope +
                        b", SignedHeaders=" + names + b", Signature=" + signature))
    return all_headers, (key, stamp, scope, signature)


def exchange(world, method, target, headers=(), body=b"", length=None, payload=b"UNSIGNED-PAYLOAD", signed=True):
    """(status, body) of one request on a connection of its own. A server that says nothing fails here."""
    sent = sign(world, method, target, headers, payload)[0] if signed else list(headers)
    names = {n.lower() for n, _ in sent}
    if length is None and not names & {b"content-length", b"transfer-encoding"}:
        length = len(body)
    if length is not None:
        sent.append((b"Content-Length", str(length).encode()))
    head = method + b" " + target + b" HTTP/1.1\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in sent)
    return send(world, head + b"Connection: close\r\n\r\n" + body)


def send(world, text, ends=False):
    """ends: nothing more will come, and who speaks first is the server, or nobody."""
    got = b""
    with socket.create_connection(("127.0.0.1", world.walrus.port), timeout=20) as connection:
        try:
            connection.sendall(text)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except (ConnectionError, OSError):
            pass  # refused before all of it was sent
        while True:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                piece = b""
            if not piece:
                break
            got += piece
    if not got:
        return 0, b""  # cut: what was sent was not whole
    if got[:2] == b"\x15\x03":
        return 0, b""  # it looked like TLS, and was told so
    assert got.startswith(b"HTTP/1.1 "), got[:200]
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head[9:12]), body


def check(status, body, what):
    assert status < 500 or status in FINE, (what, status, body[:500])
    if status >= 400 and body:
        assert b"<Code>" in body or status in (400, 414, 417, 431), (what, status, body[:300])
        assert b"InternalError" not in body, what


@pytest.fixture(scope="module")
def home(world):
    s3 = world.s3()
    s3.create_bucket(Bucket="hostile")
    s3.put_object(Bucket="hostile", Key="key", Body=b"kept")
    pid = world.walrus.process.pid
    yield s3
    assert world.walrus.process.pid == pid and world.walrus.process.poll() is None
    assert s3.get_object(Bucket="hostile", Key="key")["Body"].read() == b"kept"
    for key, upload in world.rows("SELECT u.object_key, u.upload_id FROM upload u JOIN bucket b ON b.bucket_id = u.bucket_id"
                                  " WHERE b.name = 'hostile'"):
        s3.abort_multipart_upload(Bucket="hostile", Key=key.decode(), UploadId=upload)
    for key, version in world.rows("SELECT o.object_key, o.version_id FROM object o JOIN bucket b"
                                   " ON b.bucket_id = o.bucket_id WHERE b.name = 'hostile'"):
        s3.delete_object(Bucket="hostile", Key=key.decode(), VersionId=version)
    s3.delete_bucket(Bucket="hostile")
    world.assert_no_orphans()


def keys_of(world):
    return {r[0] for r in world.rows("SELECT o.object_key FROM object o JOIN bucket b ON b.bucket_id = o.bucket_id"
                                     " WHERE b.name = 'hostile'")}


# -- keys --

KEYS = [  # as in the target; None: no key, else the key that it is
    (b"%00", None), (b"a%00b", None), (b"%ff", None), (b"%c0%af", None), (b"%c0%80", None), (b"%e0%80%af", None),
    (b"%ed%a0%80", None), (b"%ed%a0%80%ed%b0%80", None), (b"%f4%90%80%80", None), (b"%f8%88%80%80%80", None),
    (b"%c3", None), (b"%zz", None), (b"%", None), (b"%1", None), (b"a%2", None),
    (b"..", b".."), (b"../..", b"../.."), (b"../../../etc/passwd", b"../../../etc/passwd"), (b".", b"."), (b"./", b"./"),
    (b"a/../b", b"a/../b"), (b"%2e%2e/%2e%2e", b"../.."), (b"..%2f..%2fetc", b"../../etc"), (b"/", b"/"), (b"//", b"//"),
    (b"%5c..%5c..", b"\\..\\.."), (b"a%0d%0aX:%20y", b"a\r\nX: y"), (b"%0a", b"\n"), (b"%09", b"\t"), (b"%7f", b"\x7f"),
    (b"%ef%bf%bf", b"\xef\xbf\xbf"), (b"%ef%bb%bf", b"\xef\xbb\xbf"), (b"%e2%80%ae", b"\xe2\x80\xae"),
    (b"%f0%9f%98%80", b"\xf0\x9f\x98\x80"), (b"%3C%26%3E%22", b'<&>"'), (b"a;b=c", b"a;b=c"), (b"%25", b"%"),
    (b"%2525", b"%25"), (b"a+b", b"a+b"), (b"' OR 1=1--".replace(b" ", b"%20"), b"' OR 1=1--"), (b"~root", b"~root"),
    (b"k" * 1024, b"k" * 1024), (b"k" * 1025, None), (b"%c3%a4" * 512, b"\xc3\xa4" * 512), (b"%c3%a4" * 512 + b"x", None),
    (b"k" * 15000, None), (b"/" * 1024, b"/" * 1024),
]


@pytest.mark.parametrize("raw, key", KEYS, ids=lambda v: repr(v)[:30])
def test_keys(world, home, raw, key):
    target = b"/hostile/" + raw
    status, body = exchange(world, b"PUT", target, body=b"hostile")
    if key is None:
        check(status, body, raw)
        assert status == 400 and (b"InvalidURI" in body or b"KeyTooLongError" in body), body
    else:
        assert status == 200, body
        assert key in keys_of(world)
        assert exchange(world, b"GET", target) == (200, b"hostile")
    for method, query in ((b"HEAD", b""), (b"GET", b"?uploadId=x"), (b"POST", b"?uploads"), (b"PUT", b"?partNumber=1&uploadId=x"),
                          (b"POST", b"?uploadId=x"), (b"DELETE", b"?uploadId=x"), (b"GET", b"?acl"), (b"PUT", b"?tagging"),
                          (b"GET", b"?attributes"), (b"DELETE", b"")):
        check(*exchange(world, method, target + query), (method, raw, query))
    check(*exchange(world, b"PUT", b"/hostile/copy", [(b"x-amz-copy-source", b"hostile/" + raw)]), ("copy", raw))
    assert key is None or key not in keys_of(world)


BUCKETS = [b"%00", b"%ff", b"..", b".", b"%2e%2e", b"a", b"A" * 64, b"x" * 300, b"%c3%a4", b"-x-", b"a..b", b"1.2.3.4", b"%0a",
           b".images-000000000000", b"hostile%2f", b"hostile%00", b"hostile%2Fkey", b"<xml>".replace(b"<", b"%3C"), b"*", b"%25"]


@pytest.mark.parametrize("name", BUCKETS)
def test_buckets(world, home, name):
    for method, rest in ((b"PUT", b""), (b"GET", b""), (b"HEAD", b""), (b"DELETE", b""), (b"PUT", b"/k"), (b"GET", b"/k"),
                         (b"GET", b"?acl"), (b"GET", b"?location"), (b"POST", b"?delete"), (b"POST", b"")):
        status, body = exchange(world, method, b"/" + name + rest, body=b"" if method != b"PUT" else b"x")
        check(status, body, (method, name, rest))
        assert 400 <= status < 500 or status == 501, (method, name, rest, status)


# -- headers --

LONG = b"v" * 20000
HEADERS = [
    [(b"x-amz-meta-", b"no name")], [(b"x-amz-meta-a", b"\xff\xfe")], [(b"x-amz-meta-a", b"\xc3\xa4")],
    [(b"x-amz-meta-a", b"1"), (b"x-amz-meta-a", b"2")], [(b"x-amz-meta-a", LONG)], [(b"x-amz-meta-" + b"n" * 3000, b"v")],
    [(b"x-amz-meta-%d" % i, b"v") for i in range(120)], [(b"x-amz-meta-%d" % i, b"v") for i in range(200)],
    [(b"x-amz-meta-a", b"")], [(b"x-amz-acl", b"everybody")], [(b"x-amz-acl", b"private"), (b"x-amz-acl", b"public-read")],
    [(b"x-amz-tagging", b"a=b&a=c")], [(b"x-amz-tagging", b"%zz")], [(b"x-amz-tagging", b"\xff")], [(b"x-amz-tagging", b"=")],
    [(b"x-amz-storage-class", b"GOLD")], [(b"x-amz-server-side-encryption", b"ROT13")],
    [(b"x-amz-server-side-encryption-customer-algorithm", b"AES256")],
    [(b"x-amz-server-side-encryption-customer-algorithm", b"AES256"), (b"x-amz-server-side-encryption-customer-key", b"!"),
     (b"x-amz-server-side-encryption-customer-key-md5", b"!")],
    [(b"x-amz-object-lock-mode", b"FOREVER")], [(b"x-amz-object-lock-retain-until-date", b"tomorrow")],
    [(b"x-amz-object-lock-legal-hold", b"MAYBE")], [(b"x-amz-website-redirect-location", b"javascript:x")],
    [(b"x-amz-copy-source", b"")], [(b"x-amz-copy-source", b"/")], [(b"x-amz-copy-source", b"nokey")],
    [(b"x-amz-copy-source", b"%00/%ff")], [(b"x-amz-copy-source", b"hostile/key?versionId=")],
    [(b"x-amz-copy-source", b"hostile/key"), (b"x-amz-metadata-directive", b"MERGE")],
    [(b"x-amz-copy-source", b"hostile/key"), (b"x-amz-copy-source-range", b"bytes=9-1")],
    [(b"x-amz-copy-source", b"hostile/key"), (b"x-amz-copy-source-if-match", b"\xff")],
    [(b"x-amz-grant-read", b"id=")], [(b"x-amz-grant-read", b'uri="nowhere"')], [(b"x-amz-grant-read", b"\x80")],
    [(b"x-amz-checksum-crc32", b"")], [(b"x-amz-checksum-crc32", b"AAAAAA==" * 100)], [(b"x-amz-checksum-sha256", b"\xff")],
    [(b"x-amz-checksum-crc32", b"AAAAAA=="), (b"x-amz-checksum-crc32c", b"AAAAAA==")],
    [(b"x-amz-checksum-crc32", b"AAAAAA=="), (b"x-amz-checksum-crc32", b"AAAAAA==")], [(b"x-amz-checksum-type", b"HALF")],
    [(b"x-amz-sdk-checksum-algorithm", b"CRC7"), (b"x-amz-checksum-crc32", b"AAAAAA==")], [(b"x-amz-trailer", b"")],
    [(b"x-amz-trailer", b"x-amz-checksum-crc32")], [(b"x-amz-decoded-content-length", b"-1")],
    [(b"x-amz-mfa", b"1 2")], [(b"x-amz-expected-bucket-owner", b"nobody")], [(b"x-amz-security-token", b"\xff" * 3000)],
    [(b"Content-MD5", b"")], [(b"Content-MD5", b"=")], [(b"Content-MD5", b"A" * 5000)], [(b"Content-MD5", b"\xff")],
    [(b"Content-Type", LONG)], [(b"Content-Type", b"\x80\x81")], [(b"Content-Encoding", b"aws-chunked,,aws-chunked")],
    [(b"Expires", b"never")], [(b"Cache-Control", b"\xff")], [(b"Range", b"bytes=")], [(b"Range", b"bytes=1-0,")],
    [(b"Range", b"bytes=99999999999999999999-")], [(b"Range", b"bytes=-99999999999999999999")], [(b"Range", b"\xff")],
    [(b"If-Match", b"")], [(b"If-Match", b'"' * 3000)], [(b"If-None-Match", b"*, *")], [(b"If-None-Match", b"\xff")],
    [(b"If-Modified-Since", b"99 Foo")], [(b"If-Unmodified-Since", b"\xff")], [(b"If-Range", b"x")], [(b"Origin", b"\xff")],
    [(b"Expect", b"something")], [(b"Connection", b"upgrade"), (b"Upgrade", b"h2c")], [(b"Accept-Encoding", LONG)],
    [(b"Date", b"yesterday")], [(b"X-Forwarded-For", LONG)], [(b"Cookie", LONG)], [(b"Referer", b"\xff")],
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda h: f"{h[0][0][:25].decode()}-{len(h)}")
def test_headers(world, home, headers):
    for method, target in ((b"PUT", b"/hostile/made"), (b"GET", b"/hostile/key"), (b"HEAD", b"/hostile/key"), (b"GET", b"/hostile"),
                           (b"POST", b"/hostile/up?uploads"), (b"PUT", b"/hostile/p?partNumber=1&uploadId=x"), (b"GET", b"/"),
                           (b"POST", b"/hostile?delete"), (b"PUT", b"/hostile?versioning"), (b"POST", b"/hostile"),
                           (b"POST", b"/hostile/up?uploadId=x"), (b"PUT", b"/hostile-never-made-%ff"), (b"OPTIONS", b"/hostile/key")):
        check(*exchange(world, method, target, headers, b"x" if method in (b"PUT", b"POST") else b""), (method, target, headers))
    exchange(world, b"DELETE", b"/hostile/made")


HEADS = [  # heads that no two parsers would read alike: refused before they are a request
    b"PUT /hostile/made HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    b"PUT /hostile/made HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"PUT /hostile/made HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\nx",
    b"PUT /hostile/made HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\nx",
    b"PUT /hostile/made HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\nx",
    b"PUT /hostile/made HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /hostile/made HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"GET /hostile/key HTTP/1.1\r\nHost: h\r\nX-A: b\r\n folded\r\n\r\n", b"GET /hostile/key HTTP/1.1\r\nHost : h\r\n\r\n",
    b"GET /hostile/key HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", b"GET /hostile/key HTTP/1.1\r\n\r\n",
    b"GET /hostile/key HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n", b"GET /hostile/key HTTP/9.9\r\nHost: h\r\n\r\n",
    b"GET /hostile/\0key HTTP/1.1\r\nHost: h\r\n\r\n", b"GET /hostile/\xffkey HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET " + b"/" + b"a" * 20000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    b"\r\n\r\n\r\n", b"\x16\x03\x01\x02\x00garbage that looks like TLS", b"PUT\r\n\r\n", b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n",
]


@pytest.mark.parametrize("text", HEADS, ids=range(len(HEADS)))
def test_heads(world, home, text):
    status, _ = send(world, text, ends=True)
    assert status == 0 or 400 <= status < 500 or status in (501, 505), text[:100]


# -- XML --

ENTITIES = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
S3 = b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
DOCUMENTS = {  # of each operation: what is well formed, with a place for text
    b"POST /hostile?delete": b"<Delete><Object><Key>%s</Key></Object></Delete>",
    b"PUT /hostile?versioning": b"<VersioningConfiguration><Status>%s</Status></VersioningConfiguration>",
    b"PUT /hostile?requestPayment": b"<RequestPaymentConfiguration><Payer>%s</Payer></RequestPaymentConfiguration>",
    b"PUT /hostile-new": b"<CreateBucketConfiguration><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
    b"POST /hostile/up?uploadId=x": b"<CompleteMultipartUpload><Part><PartNumber>%s</PartNumber><ETag>e</ETag></Part>"
                                    b"</CompleteMultipartUpload>",
    b"PUT /hostile?tagging": b"<Tagging><TagSet><Tag><Key>a</Key><Value>%s</Value></Tag></TagSet></Tagging>",
    b"PUT /hostile?acl": b"<AccessControlPolicy><Owner><ID>%s</ID></Owner></AccessControlPolicy>",
    b"PUT /hostile?cors": b"<CORSConfiguration><CORSRule><AllowedOrigin>%s</AllowedOrigin></CORSRule></CORSConfiguration>",
    b"PUT /hostile?lifecycle": b"<LifecycleConfiguration><Rule><ID>%s</ID></Rule></LifecycleConfiguration>",
    b"PUT /hostile?website": b"<WebsiteConfiguration><IndexDocument><Suffix>%s</Suffix></IndexDocument></WebsiteConfiguration>",
    b"PUT /hostile?object-lock": b"<ObjectLockConfiguration><ObjectLockEnabled>%s</ObjectLockEnabled></ObjectLockConfiguration>",
    b"PUT /hostile/key?retention": b"<Retention><Mode>%s</Mode></Retention>",
}


def md5_of(body):
    return [(b"Content-MD5", base64.b64encode(hashlib.md5(body).digest()))]


def bodies(document):
    root = document[1:document.index(b">")]
    yield b"entities", ENTITIES + document % b"&b;&b;&b;&b;"
    yield b"a file", OUTSIDE + document % b"&a;"
    yield b"deep", b"<a>" * 20000 + b"</a>" * 20000
    yield b"deep inside", document % (b"<a>" * 500 + b"</a>" * 500)
    yield b"another root", b"<Other/>"
    yield b"another namespace", (document % b"x").replace(root, root + b' xmlns="urn:other"', 1)
    yield b"cut", (document % b"x")[:-3]
    yield b"two roots", document % b"x" * 2
    yield b"text before", b"x" + document % b"x"
    yield b"no XML", b"\0\xff" * 100
    yield b"only space", b" \n"
    yield b"UTF-16", (document % b"x").decode().encode("utf-16")
    yield b"bad UTF-8", document % b"\xff\xfe"
    yield b"a control", document % b"&#1;"
    yield b"a surrogate", document % b"&#xd800;"
    yield b"many attributes", b"<" + root + b"".join(b" a%d='1'" % i for i in range(2000)) + b"/>"
    yield b"many elements", document % (b"<a/>" * 60000)
    yield b"a long text", document % (b"x" * 100000)
    yield b"CDATA", document % b"<![CDATA[<x>&]]>"
    yield b"an instruction", b"<?php x ?>" + document % b"x"
    yield b"a comment", document % b"<!-- -->"
    yield b"a mark", b"\xef\xbb\xbf" + document % b"x"
    yield b"empty root", b"<" + root + b"/>"
    yield b"huge number", document % b"99999999999999999999999999"
    yield b"negative", document % b"-1"
    yield b"JSON", b'{"Statement": []}'


@pytest.mark.parametrize("call", DOCUMENTS, ids=lambda c: c.decode())
def test_xml(world, home, call):
    method, target = call.split(b" ")
    for what, body in bodies(DOCUMENTS[call]):
        status, text = exchange(world, method, target, md5_of(body), body)
        check(status, text, (call, what))
        refused = what in (b"entities", b"a file", b"deep", b"another root", b"cut", b"two roots", b"text before", b"no XML",
                           b"only space", b"bad UTF-8", b"a control", b"a surrogate", b"many attributes", b"JSON")
        assert not refused or 400 <= status < 500 or status == 501, (call, what, status)
        assert b"root:" not in text
        if status == 200 and target == b"/hostile-new":
            exchange(world, b"DELETE", target)
    assert "key" in [o["Key"] for o in home.list_objects_v2(Bucket="hostile")["Contents"]]


def test_no_xml_is_malformed_xml(world, home):
    """Where it is served: the code that says so."""
    for call in (b"POST /hostile?delete", b"PUT /hostile?versioning", b"PUT /hostile?requestPayment", b"PUT /hostile-new"):
        method, target = call.split(b" ")
        for what, body in bodies(DOCUMENTS[call]):
            if what in (b"entities", b"deep", b"another root", b"cut", b"no XML", b"many attributes", b"a control"):
                status, text = exchange(world, method, target, md5_of(body), body)
                assert (status, b"<Code>MalformedXML</Code>" in text) == (400, True), (call, what, text)


# -- queries --

QUERIES = [b"?", b"?&", b"?&&&", b"?=", b"?=x", b"?a", b"?a=", b"?%", b"?%zz", b"?a=%", b"?a=%00", b"?%00=a", b"?a=%ff", b"?\"<>",
           b"?acl&acl", b"?acl=x", b"?acl&policy", b"?uploads&delete", b"?versionId=", b"?versionId=null", b"?versionId=%ff",
           b"?versionId=" + b"x" * 5000, b"?uploadId=", b"?uploadId=../..", b"?uploadId=x&uploadId=y", b"?partNumber=1",
           b"?partNumber=0&uploadId=x", b"?partNumber=-1&uploadId=x", b"?partNumber=99999999999&uploadId=x", b"?partNumber=a&uploadId=x",
           b"?max-keys=-1", b"?max-keys=x", b"?max-keys=99999999999999999999", b"?max-keys=0", b"?max-keys=1&max-keys=2", b"?max-keys=",
           b"?list-type=2&continuation-token=x", b"?list-type=2&continuation-token=", b"?list-type=3", b"?list-type=",
           b"?list-type=2&start-after=%ff", b"?prefix=%ff", b"?delimiter=%ff", b"?delimiter=" + b"d" * 2000, b"?marker=%ff",
           b"?encoding-type=none", b"?prefix=" + b"p" * 5000, b"?uploads&key-marker=%ff&upload-id-marker=%ff", b"?uploads&max-uploads=x",
           b"?versions&version-id-marker=x", b"?versions&key-marker=%ff", b"?response-content-type=a%0d%0aX:y",
           b"?response-content-type=%ff", b"?response-expires=" + b"x" * 9000, b"?X-Amz-Signature=x", b"?X-Amz-Algorithm=x",
           b"?AWSAccessKeyId=x", b"?AWSAccessKeyId=x&Signature=y", b"?AWSAccessKeyId=x&Signature=y&Expires=z", b"?unknown=1",
           b"?location=%00", b"?" + b"&".join(b"a%d" % i for i in range(500)), b"?" + b"a" * 15000, b"?torrent", b"?select&select-type=2",
           b"?restore", b"?attributes", b"?retention", b"?legal-hold", b"?tagging", b"?lifecycle", b"?cors", b"?website", b"?logging",
           b"?notification", b"?encryption", b"?replication", b"?analytics&id=x", b"?inventory", b"?metrics", b"?accelerate",
           b"?requestPayment", b"?object-lock", b"?ownershipControls", b"?publicAccessBlock", b"?policyStatus", b"?policy",
           b"?intelligent-tiering", b"?session", b"?metadataTable", b"?renameObject"]


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q[:25].decode())
def test_queries(world, home, query):
    for method, target, body in ((b"GET", b"/hostile/key", b""), (b"HEAD", b"/hostile/key", b""), (b"GET", b"/hostile", b""),
                                 (b"HEAD", b"/hostile", b""), (b"GET", b"/", b""), (b"POST", b"/hostile", b"x"),
                                 (b"POST", b"/hostile/none", b"x"), (b"PUT", b"/hostile/made", b"x"), (b"DELETE", b"/hostile/made", b""),
                                 (b"PUT", b"/hostile", b"x"), (b"PATCH", b"/hostile/key", b"x"), (b"OPTIONS", b"/hostile", b"")):
        status, text = exchange(world, method, target + query, body=body)
        check(status, text, (method, target, query))
    exchange(world, b"DELETE", b"/hostile/made")


def test_an_override_cannot_split_the_reply(world, home):
    _, headers, body = world.request("GET", "/hostile/key", {"response-content-type": "a\r\nX-Evil: y\r\n\r\nz"})
    assert "x-evil" not in headers and not body.startswith(b"z")


# -- chunks --

def chunk(state, data, signature=None):
    """One chunk of STREAMING-AWS4-HMAC-SHA256-PAYLOAD, and what the next goes on from."""
    key, stamp, scope, before = state
    text = b"\n".join([b"AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, before, hashlib.sha256(b"").hexdigest().encode(),
                       hashlib.sha256(data).hexdigest().encode()])
    made = hmac.new(key, text, hashlib.sha256).hexdigest().encode()
    return b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), signature or made, data), (key, stamp, scope, made)


BIG = b"d" * 8192
UNSIGNED = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
CRC = b"x-amz-checksum-crc32:jNwWgw==\r\n"  # of "x"
FRAMES = [  # decoded length, x-amz-trailer, body, code; None: it is taken
    (1, b"x-amz-checksum-crc32", b"1\r\nx\r\n0\r\n" + CRC + b"\r\n", None),
    (1, None, b"1\r\nx\r\n0\r\n\r\n", None),
    (1, b"x-amz-checksum-crc32", b"1\r\nx\r\n0\r\n\r\n", b"MalformedTrailerError"),
    (1, None, b"1\r\nx\r\n0\r\n" + CRC + b"\r\n", b"MalformedTrailerError"),
    (1, b"x-amz-checksum-crc32", b"1\r\nx\r\n0\r\n" + CRC * 2 + b"\r\n", b"MalformedTrailerError"),
    (1, b"x-amz-checksum-crc32", b"1\r\nx\r\n0\r\nx-amz-checksum-sha1:x\r\n\r\n", b"MalformedTrailerError"),
    (1, b"x-amz-checksum-crc32", b"1\r\nx\r\n0\r\n" + CRC + b"x-other:1\r\n\r\n", b"MalformedTrailerError"),
    (1, b"x-amz-checksum-crc32", b"1\r\nx\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", b"BadDigest"),
    (1, b"x-amz-checksum-crc32", b"1\r\nx\r\n0\r\nx-amz-checksum-crc32:!\r\n\r\n", b"InvalidRequest"),
    (1, b"x-amz-checksum-none", b"1\r\nx\r\n0\r\n\r\n", b"InvalidRequest"),
    (1, None, b"1\r\nx\r\n", b"IncompleteBody"), (1, None, b"", b"IncompleteBody"), (1, None, b"1\r\n", b"IncompleteBody"),
    (1, None, b"2\r\nx\r\n0\r\n\r\n", b"IncompleteBody"), (2, None, b"1\r\nx\r\n0\r\n\r\n", b"IncompleteBody"),
    (0, None, b"1\r\nx\r\n0\r\n\r\n", b"IncompleteBody"), (1, None, b"1\nx\n0\n\n", b"IncompleteBody"),
    (1, None, b"-1\r\nx\r\n0\r\n\r\n", b"IncompleteBody"), (1, None, b"0x1\r\nx\r\n0\r\n\r\n", b"IncompleteBody"),
    (1, None, b"ffffffffffffffffffff\r\nx\r\n0\r\n\r\n", b"IncompleteBody"), (1, None, b"fffffffff\r\nx", b"IncompleteBody"),
    (1, None, b"1" * 300 + b"\r\n", b"IncompleteBody"), (1, None, b"1;" + b"e" * 5000 + b"\r\nx\r\n0\r\n\r\n", b"IncompleteBody"),
    (1, None, b"1\r\nx\r\n0\r\n\r\nmore", b"IncompleteBody"), (1, None, b"x" * 100, b"IncompleteBody"),
    (2, None, b"1\r\nx\r\n1\r\ny\r\n0\r\n\r\n", b"InvalidChunkSizeError"), (1, None, b"\0\0\0\0", b"IncompleteBody"),
    (1, None, b"1\r\nx\r\n0\r\n" + b"a:b\r\n" * 5000 + b"\r\n", b"MalformedTrailerError"),
    (6 << 30, None, b"1\r\nx\r\n", b"EntityTooLarge"),
]


@pytest.mark.parametrize("length, trailer, body, code", FRAMES, ids=range(len(FRAMES)))
def test_unsigned_chunks(world, home, length, trailer, body, code):
    headers = [(b"x-amz-decoded-content-length", b"%d" % length), (b"Content-Encoding", b"aws-chunked")]
    headers += [(b"x-amz-trailer", trailer)] if trailer else []
    for method, target in ((b"PUT", b"/hostile/chunks"), (b"PUT", b"/hostile/key?partNumber=1&uploadId=x"), (b"POST", b"/hostile?delete")):
        status, text = exchange(world, method, target, headers, body, payload=UNSIGNED)
        check(status, text, (method, target, body[:50]))
        if target == b"/hostile/chunks":
            assert status == (200 if code is None else 403 if code == b"InvalidChunkSizeError" else 400), text
            assert code is None or b"<Code>" + code + b"</Code>" in text
            assert (b"chunks" in keys_of(world)) == (code is None)
    if code is None:
        got = home.get_object(Bucket="hostile", Key="chunks")
        assert got["Body"].read() == b"x" and "ContentEncoding" not in got
        home.delete_object(Bucket="hostile", Key="chunks")


def signed_chunks(world, pieces, break_at=None, cut=None, length=None):
    headers = [(b"x-amz-decoded-content-length", b"%d" % (sum(map(len, pieces)) if length is None else length))]
    kind = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    sent, state = sign(world, b"PUT", b"/hostile/chunks", headers, kind)
    body = b""
    for i, piece in enumerate([*pieces, b""]):
        one, state = chunk(state, piece, b"0" * 64 if i == break_at else None)
        body += one
    body = body[:cut]
    sent += [(b"Content-Length", b"%d" % len(body)), (b"Connection", b"close")]
    head = b"PUT /hostile/chunks HTTP/1.1\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in sent)
    return send(world, head + b"\r\n" + body)


def test_signed_chunks(world, home):
    assert signed_chunks(world, [BIG, BIG, b"end"])[0] == 200
    assert home.get_object(Bucket="hostile", Key="chunks")["Body"].read() == BIG * 2 + b"end"
    home.delete_object(Bucket="hostile", Key="chunks")
    for broken in range(3):
        status, text = signed_chunks(world, [BIG, b"end"], break_at=broken)
        assert (status, b"<Code>SignatureDoesNotMatch</Code>" in text) == (403, True), text
    status, text = signed_chunks(world, [b"short", BIG])
    assert status == 403 and b"<Chunk>2</Chunk><BadChunkSize>5</BadChunkSize>" in text
    for cut in (-2, -3, -80, -100, 50, 5):
        status, text = signed_chunks(world, [BIG, b"end"], cut=cut)
        assert cut == -2 or (status, b"<Code>IncompleteBody</Code>" in text) == (400, True), (cut, text)
    for length in (0, 1, len(BIG) + 4):
        status, text = signed_chunks(world, [BIG, b"end"], length=length)
        assert (status, b"<Code>IncompleteBody</Code>" in text) == (400, True), text
    home.delete_object(Bucket="hostile", Key="chunks")
    for value in (b"", b"-1", b"x", b"1e3", b"99999999999999999999"):
        status, text = exchange(world, b"PUT", b"/hostile/chunks", [(b"x-amz-decoded-content-length", value)], b"0\r\n\r\n",
                                payload=UNSIGNED)
        assert (status, b"<Code>InvalidArgument</Code>" in text) == (400, True), text
    status, text = exchange(world, b"PUT", b"/hostile/chunks", [], b"0\r\n\r\n", payload=UNSIGNED)
    assert (status, b"<Code>MissingContentLength</Code>" in text) == (411, True), text
    assert b"chunks" not in keys_of(world)


def test_signed_trailers(world, home):
    """...-PAYLOAD-TRAILER: its signature goes on from the last chunk's."""
    for wrong in (False, True, None):
        headers = [(b"x-amz-decoded-content-length", b"1"), (b"x-amz-trailer", b"x-amz-checksum-crc32")]
        sent, state = sign(world, b"PUT", b"/hostile/chunks", headers, b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
        first, state = chunk(state, b"x")
        last, (key, stamp, scope, before) = chunk(state, b"")
        text = b"\n".join([b"AWS4-HMAC-SHA256-TRAILER", stamp, scope, before,
                           hashlib.sha256(b"x-amz-checksum-crc32:jNwWgw==\n").hexdigest().encode()])
        made = hmac.new(key, text, hashlib.sha256).hexdigest().encode()
        signature = b"" if wrong is None else b"x-amz-trailer-signature:" + (b"0" * 64 if wrong else made) + b"\r\n"
        body = first + last[:-2] + CRC + signature + b"\r\n"
        sent += [(b"Content-Length", b"%d" % len(body)), (b"Connection", b"close")]
        head = b"PUT /hostile/chunks HTTP/1.1\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in sent)
        status, text = send(world, head + b"\r\n" + body)
        code = b"MalformedTrailerError" if wrong is None else b"SignatureDoesNotMatch"
        assert (status == 200) == (wrong is False) and (wrong is False or b"<Code>" + code in text), text
        exchange(world, b"DELETE", b"/hostile/chunks")


# -- forms --

TYPE = b"multipart/form-data; boundary=b"
KEY = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n%s\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n'
FORMS = [
    (TYPE, b""), (TYPE, b"--b"), (TYPE, b"--b--"), (TYPE, b"--b\r\n\r\n"), (TYPE, KEY % b"k"), (TYPE, FILE), (TYPE, KEY % b"" + FILE),
    (TYPE, KEY % b"k" + FILE), (TYPE, KEY % b"k" * 2 + FILE), (TYPE, KEY % b"\xff" + FILE), (TYPE, KEY % b"\0" + FILE),
    (TYPE, KEY % (b"k" * 1025) + FILE), (TYPE, KEY % (b"k" * 30000) + FILE), (TYPE, (KEY % b"k") * 300 + FILE),
    (TYPE, KEY.replace(b"key", b"policy") % b"x" + KEY % b"k" + FILE), (TYPE, KEY.replace(b"key", b"signature") % b"x" + KEY % b"k" + FILE),
    (TYPE, KEY.replace(b"key", b"x-amz-meta-a") % b"a\r\nb: c" + KEY % b"k" + FILE),
    (TYPE, KEY.replace(b"key", b"tagging") % b"<x>" + KEY % b"k" + FILE), (TYPE, KEY.replace(b'"key"', b'""') % b"x" + FILE),
    (TYPE, b"x" * 5000), (TYPE, b"--b\r\n" + b"A: b\r\n" * 5000), (TYPE, b"--b\r\n" + b"A" * 50000), (TYPE, b"\r\n" * 1000),
    (b"multipart/form-data", b"--b"), (b"multipart/form-data; boundary=", b"--"), (b"multipart/form-data; boundary=" + b"b" * 100, b"--"),
    (b"multipart/form-data; boundary=\"", b"--"), (b"multipart/form-data; boundary=\xff", b"--\xff"), (b"", b"x"), (b"text/plain", b"x"),
]


@pytest.mark.parametrize("kind, body", FORMS, ids=range(len(FORMS)))
def test_forms(world, home, kind, body):
    for target in (b"/hostile", b"/hostile-nowhere", b"/hostile/"):
        status, text = exchange(world, b"POST", target, [(b"Host", b"h"), (b"Content-Type", kind)], body, signed=False)
        check(status, text, (kind, body[:60]))
        assert 400 <= status < 500, text
    assert b"k" not in keys_of(world)


# -- clients that vanish --

def test_bodies_that_end_early(world, home):
    """The connection ends in the middle of a body of each kind: no answer is owed, and nothing stays."""
    large = b"z" * 200000
    for headers, payload, body in (([], b"UNSIGNED-PAYLOAD", large),
                                   ([(b"x-amz-decoded-content-length", b"900000")], UNSIGNED, b"dbba0\r\n" + large)):
        sent, _ = sign(world, b"PUT", b"/hostile/vanished", headers, payload)
        head = b"PUT /hostile/vanished HTTP/1.1\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in sent)
        send(world, head + b"Content-Length: 900010\r\n\r\n" + body, ends=True)
    form = b"POST /hostile HTTP/1.1\r\nHost: h\r\nContent-Type: " + TYPE + b"\r\nContent-Length: 900000\r\n\r\n"
    send(world, form + KEY % b"vanished" + FILE[:-9] + large, ends=True)
    assert b"vanished" not in keys_of(world)
    world.assert_no_orphans()


SETTINGS = {
    "cors": "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>"
            "%s</CORSConfiguration>",
    "encryption": "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256"
                  "</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>%s</ServerSideEncryptionConfiguration>",
    "notification": "<NotificationConfiguration>%s</NotificationConfiguration>",
    "publicAccessBlock": "<PublicAccessBlockConfiguration><BlockPublicAcls>false</BlockPublicAcls>%s"
                         "</PublicAccessBlockConfiguration>",
    "requestPayment": "<RequestPaymentConfiguration><Payer>BucketOwner</Payer>%s</RequestPaymentConfiguration>",
    "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet>%s</Tagging>",
    "website": "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument>%s</WebsiteConfiguration>",
}


def test_large_settings_do_not_add_up(world, bucket):
    """Each is kept as it came, and all of them are in memory with the bucket."""
    rules = "".join(f"<Rule><ID>{i}</ID><Status>Enabled</Status><Filter><And><Prefix>{'p' * 900}</Prefix>" +
                    "".join(f"<Tag><Key>{n}{'k' * 100}</Key><Value>{'v' * 200}</Value></Tag>" for n in range(10)) +
                    "</And></Filter><Expiration><Days>1</Days></Expiration></Rule>" for i in range(900))

    def put(name, text):
        body = text.encode()
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        status, _, answer = world.request("PUT", f"/{bucket}", {name: ""}, {"content-md5": digest}, body)
        assert world.request("GET", f"/{bucket}", {"location": ""})[0] == 200
        return status, answer

    assert put("lifecycle", f"<LifecycleConfiguration>{rules}</LifecycleConfiguration>")[0] == 200
    for size, status in ((200000, 200), (4000000, 400)):
        for name, text in SETTINGS.items():
            got, answer = put(name, text % (" " * size))
            assert got == status, (name, answer)
            assert status == 200 or b"<Code>MaxMessageLengthExceeded</Code>" in answer


def test_a_list_of_objects_that_say_much(world, s3, bucket):
    """Of headers and tags, some 95 KB each, a list needs nothing."""
    s3.put_object(Bucket=bucket, Key="0", ContentDisposition="x" * 50000)
    tags = [{"Key": f"{i}" + "\U00010348" * 120, "Value": "\U00010348" * 250} for i in range(10)]
    s3.put_object_tagging(Bucket=bucket, Key="0", Tagging={"TagSet": tags})
    for i in range(1, 1000):
        s3.copy_object(Bucket=bucket, Key=str(i), CopySource=f"{bucket}/0")
    assert len(s3.list_objects_v2(Bucket=bucket)["Contents"]) == 1000
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 1000
    assert world.ask("object", "list", bucket).count("\n") == 1000
