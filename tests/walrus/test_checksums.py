"""Checksums of objects and of parts: sent, stored, combined, answered."""
import base64
import hashlib
import zlib

import pytest
from test_multipart import PART, complete, make
from test_objects import MIB, code

ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]
POLYNOMIALS = {"CRC32C": (0x82f63b78, 32), "CRC64NVME": (0x9a6c9329ac4bc9b5, 64)}


def crc(data, polynomial, bits):
    """By long division: slow, but plainly what the definition says."""
    value = (1 << bits) - 1
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
    return (value ^ (1 << bits) - 1).to_bytes(bits // 8, "big")


def raw(algorithm, data):
    if algorithm == "CRC32":
        return zlib.crc32(data).to_bytes(4, "big")
    if algorithm in POLYNOMIALS:
        return crc(data, *POLYNOMIALS[algorithm])
    return hashlib.new(algorithm.lower(), data).digest()


def text(data):
    return base64.b64encode(data).decode()


def header(algorithm):
    return "x-amz-checksum-" + algorithm.lower()


def element(body, name):
    inner = body.split(f"<{name}>".encode())
    return inner[1].split(b"<")[0].decode() if len(inner) > 1 else None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_is_kept_and_answered(world, s3, bucket, algorithm):
    body = b"check this" * 20
    value = text(raw(algorithm, body))
    status, reply, _ = world.request("PUT", f"/{bucket}/a", headers={header(algorithm): value}, body=body)
    assert status == 200 and reply[header(algorithm)] == value and reply["x-amz-checksum-type"] == "FULL_OBJECT"
    for method in ("GET", "HEAD"):
        reply = world.request(method, f"/{bucket}/a", headers={"x-amz-checksum-mode": "ENABLED"})[1]
        assert reply[header(algorithm)] == value and reply["x-amz-checksum-type"] == "FULL_OBJECT"
        assert header(algorithm) not in world.request(method, f"/{bucket}/a")[1]
    part = world.request("GET", f"/{bucket}/a", headers={"x-amz-checksum-mode": "ENABLED", "range": "bytes=0-3"})
    assert part[0] == 206 and header(algorithm) not in part[1]
    listed = world.request("GET", f"/{bucket}", {"list-type": "2"})[2]
    assert element(listed, "ChecksumAlgorithm") == algorithm and element(listed, "ChecksumType") == "FULL_OBJECT"
    wrong = text(raw(algorithm, b"other"))
    status, _, reply = world.request("PUT", f"/{bucket}/a", headers={header(algorithm): wrong}, body=body)
    assert status == 400 and element(reply, "Code") == "BadDigest"
    status, _, reply = world.request("PUT", f"/{bucket}/a", headers={header(algorithm): "AAA="}, body=body)
    assert status == 400 and element(reply, "Code") == "InvalidRequest"


def test_one_is_always_stored(world, s3, bucket):
    for body in (b"", b"plain", b"x" * 70000):
        reply = world.request("PUT", f"/{bucket}/a", body=body)[1]
        assert reply["x-amz-checksum-crc64nvme"] == text(raw("CRC64NVME", body))
    assert code(s3.put_object, Bucket=bucket, Key="b", Body=b"x", ChecksumSHA1="AAAA") == ("InvalidRequest", 400)
    status, _, reply = world.request("PUT", f"/{bucket}/b", headers={"x-amz-sdk-checksum-algorithm": "CRC32"}, body=b"x")
    assert status == 400 and element(reply, "Code") == "InvalidRequest"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_by_trailer(world, s3, bucket, algorithm):
    """As the SDK sends it for a stream, over plain HTTP signed chunk for chunk."""
    body = b"streamed" * 30000
    put = s3.put_object(Bucket=bucket, Key="a", Body=body, ChecksumAlgorithm=algorithm)
    assert put["Checksum" + algorithm] == text(raw(algorithm, body))
    got = s3.get_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert got["Checksum" + algorithm] == put["Checksum" + algorithm] and got["Body"].read() == body


def begin(world, bucket, **headers):
    status, reply, body = world.request("POST", f"/{bucket}/m", {"uploads": ""},
                                        {"x-amz-checksum-" + k: v for k, v in headers.items()})
    return status, reply, element(body, "UploadId") or element(body, "Code")


def send(world, bucket, upload, number, body, headers=None):
    status, reply, answer = world.request("PUT", f"/{bucket}/m", {"uploadId": upload, "partNumber": str(number)},
                                          headers or {}, body)
    return (reply["etag"], reply) if status == 200 else (element(answer, "Code"), answer)


def end(world, bucket, upload, parts, headers=None):
    body = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag>{c}</Part>" for n, e, c in parts)
    return world.request("POST", f"/{bucket}/m", {"uploadId": upload}, headers or {},
                         f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode())


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_of_parts_as_composite(world, s3, bucket, algorithm):
    bodies = [bytes(PART), b"the last one"] if algorithm != "CRC32C" else [b"the last one"]
    sums = [raw(algorithm, b) for b in bodies]
    status, reply, upload = begin(world, bucket, algorithm=algorithm)
    assert status == 200 and reply["x-amz-checksum-algorithm"] == algorithm
    assert reply["x-amz-checksum-type"] == "COMPOSITE"
    assert send(world, bucket, upload, 1, b"x")[0] == "InvalidRequest"
    other = "SHA1" if algorithm != "SHA1" else "SHA256"
    assert send(world, bucket, upload, 1, b"x", {header(other): text(raw(other, b"x"))})[0] == "InvalidRequest"
    parts = []
    for number, (body, value) in enumerate(zip(bodies, sums), 1):
        etag, reply = send(world, bucket, upload, number, body, {header(algorithm): text(value)})
        assert reply[header(algorithm)] == text(value)
        parts.append((number, etag, f"<Checksum{algorithm}>{text(value)}</Checksum{algorithm}>"))
    listed = world.request("GET", f"/{bucket}/m", {"uploadId": upload})[2]
    assert element(listed, "ChecksumAlgorithm") == algorithm and element(listed, "ChecksumType") == "COMPOSITE"
    assert element(listed, "Checksum" + algorithm) == text(sums[0])
    uploads = world.request("GET", f"/{bucket}", {"uploads": ""})[2]
    assert element(uploads, "ChecksumAlgorithm") == algorithm and element(uploads, "ChecksumType") == "COMPOSITE"
    without = [(n, e, "") for n, e, _ in parts]
    assert element(end(world, bucket, upload, without)[2], "Code") == "InvalidRequest"
    bad = [(n, e, f"<Checksum{algorithm}>{text(raw(algorithm, b'z'))}</Checksum{algorithm}>") for n, e, _ in parts]
    assert element(end(world, bucket, upload, bad)[2], "Code") == "InvalidPart"
    assert element(end(world, bucket, upload, parts, {header(algorithm): text(raw(algorithm, b"z"))})[2], "Code") == "BadDigest"
    assert element(end(world, bucket, upload, parts, {"x-amz-checksum-type": "FULL_OBJECT"})[2], "Code") == "InvalidRequest"
    assert element(end(world, bucket, upload, parts, {"x-amz-mp-object-size": "7"})[2], "Code") == "InvalidRequest"
    value = text(raw(algorithm, b"".join(sums))) + f"-{len(sums)}"
    status, _, answer = end(world, bucket, upload, parts, {header(algorithm): value, "x-amz-checksum-type": "COMPOSITE",
                                                           "x-amz-mp-object-size": str(sum(map(len, bodies)))})
    assert status == 200 and element(answer, "Checksum" + algorithm) == value
    assert element(answer, "ChecksumType") == "COMPOSITE"
    reply = world.request("HEAD", f"/{bucket}/m", headers={"x-amz-checksum-mode": "ENABLED"})[1]
    assert reply[header(algorithm)] == value and reply["x-amz-checksum-type"] == "COMPOSITE"
    reply = world.request("HEAD", f"/{bucket}/m", {"partNumber": "1"}, {"x-amz-checksum-mode": "ENABLED"})[1]
    assert reply[header(algorithm)] == text(sums[0])


@pytest.mark.parametrize("algorithm", [None, "CRC32", "CRC64NVME"])
def test_of_parts_as_of_the_whole(world, s3, bucket, algorithm):
    """CRCs of parts make that of the object, whether or not the client sends them."""
    first, last = bytes(range(256)) * (PART // 256), b"the end"
    named = algorithm or "CRC64NVME"
    # The second part's CRC is extended over the first one by what zlib knows; else through PUT of the same bytes.
    world.request("PUT", f"/{bucket}/whole", body=first + last,
                  headers={} if named == "CRC64NVME" else {header(named): text(raw(named, first + last))})
    expected = world.request("HEAD", f"/{bucket}/whole", headers={"x-amz-checksum-mode": "ENABLED"})[1][header(named)]
    if named == "CRC32":
        assert expected == text(zlib.crc32(first + last).to_bytes(4, "big"))
    options = {"algorithm": algorithm, "type": "FULL_OBJECT"} if algorithm else {}
    upload = begin(world, bucket, **options)[2]
    parts = [(n, send(world, bucket, upload, n, b)[0], "") for n, b in ((1, first), (2, last))]
    wrong = text(b"\0" * (4 if named == "CRC32" else 8))
    assert element(end(world, bucket, upload, parts, {header(named): wrong})[2], "Code") == "BadDigest"
    status, _, answer = end(world, bucket, upload, parts, {header(named): expected})
    assert status == 200 and element(answer, "Checksum" + named) == expected
    assert element(answer, "ChecksumType") == "FULL_OBJECT"


def test_a_part_may_have_another_where_none_was_named(world, s3, bucket):
    """As SDKs do that add CRC-32 to each part by themselves."""
    upload, parts = make(s3, bucket, "m", [(1, b"only")])
    value = text(raw("CRC32", b"only"))
    part = s3.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"only", ChecksumCRC32=value)
    assert part["ChecksumCRC32"] == value
    parts[0]["ChecksumCRC32"] = value
    complete(s3, bucket, "m", upload, parts)
    reply = world.request("HEAD", f"/{bucket}/m", headers={"x-amz-checksum-mode": "ENABLED"})[1]
    assert reply["x-amz-checksum-crc64nvme"] == text(raw("CRC64NVME", b"only"))


def test_wrong_beginnings(world, s3, bucket):
    for wrong in ({"algorithm": "MD5"}, {"type": "FULL_OBJECT"}, {"algorithm": "SHA256", "type": "FULL_OBJECT"},
                  {"algorithm": "CRC64NVME", "type": "COMPOSITE"}, {"algorithm": "CRC32", "type": "SOME"}):
        assert begin(world, bucket, **wrong)[::2] == (400, "InvalidRequest"), wrong


def test_deletions_are_checked(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    body = b"<Delete><Object><Key>a</Key></Object></Delete>"
    status, _, answer = world.request("POST", f"/{bucket}", {"delete": ""}, body=body)
    assert status == 400 and element(answer, "Code") == "InvalidRequest"
    wrong = world.request("POST", f"/{bucket}", {"delete": ""}, {header("CRC32"): "AAAAAA=="}, body)
    assert element(wrong[2], "Code") == "BadDigest"
    assert s3.head_object(Bucket=bucket, Key="a")["ContentLength"] == 1
    for algorithm in ALGORITHMS:
        good = world.request("POST", f"/{bucket}", {"delete": ""}, {header(algorithm): text(raw(algorithm, body))}, body)
        assert good[0] == 200
    signed = world.request("POST", f"/{bucket}", {"delete": ""}, {}, body, hashlib.sha256(body).hexdigest())
    assert signed[0] == 200
    assert code(s3.head_object, Bucket=bucket, Key="a") == ("404", 404)


def test_large_ones_match_what_the_sdk_checks(s3, bucket):
    body = bytes(range(251)) * (3 * MIB // 251)
    s3.put_object(Bucket=bucket, Key="a", Body=body, ChecksumAlgorithm="CRC32")
    assert s3.get_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")["Body"].read() == body
