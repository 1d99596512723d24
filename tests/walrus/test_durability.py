"""kill -9, flipped bits, clients that vanish, are slow or lie, a full disk."""
import hashlib
import hmac
import http.client
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from test_multipart import PART, complete, make
from test_objects import MIB, code
from world import IS_SANITIZED, is_root, wait_for

CYCLES = int(os.environ.get("CYCLES", "8"))


def body_of(key, serial):
    """Of very different sizes: in the row, in one block, in several."""
    rng = random.Random(f"{key}/{serial}")
    return rng.randbytes(rng.choice([100, 60_000, 70_000, MIB + 5, 3 * MIB]))


class Writer(threading.Thread):
    """Overwrites its key again and again; remembers what was acknowledged and what was under way."""

    def __init__(self, world, bucket, key):
        super().__init__()
        self.s3, self.bucket, self.key = world.s3(), bucket, key
        self.serial = self.acknowledged = 0
        self.stopped = False

    def run(self):
        while not self.stopped:
            self.serial += 1
            try:
                if self.serial % 4 == 0:
                    upload, parts = make(self.s3, self.bucket, self.key,
                                         [(1, bytes([self.serial % 256]) * PART), (2, b"%d" % self.serial)])
                    complete(self.s3, self.bucket, self.key, upload, parts)
                else:
                    self.s3.put_object(Bucket=self.bucket, Key=self.key, Body=body_of(self.key, self.serial))
            except (BotoCoreError, ClientError):
                return
            self.acknowledged = self.serial

    def bodies(self, serial):
        return bytes([serial % 256]) * PART + b"%d" % serial if serial % 4 == 0 else body_of(self.key, serial)


def test_kill_at_any_moment(world, s3, bucket):
    """The object is the old one or the new one, whole; what was acknowledged is there; no file is left over."""
    rng = random.Random(8)
    for cycle in range(CYCLES):
        writers = [Writer(world, bucket, f"key-{n}") for n in range(3)]
        for w in writers:
            w.serial = w.acknowledged = cycle * 10_000
            s3.put_object(Bucket=bucket, Key=w.key, Body=w.bodies(w.serial))
        for w in writers:
            w.start()
        time.sleep(rng.uniform(0.02, 0.6))
        world.walrus.kill()
        for w in writers:
            w.stopped = True
            w.join()
        world.walrus.start()
        for w in writers:
            got = s3.get_object(Bucket=bucket, Key=w.key)["Body"].read()
            serials = {w.acknowledged, w.serial}
            assert got in [w.bodies(n) for n in serials], f"cycle {cycle}: neither of {serials}"
        world.assert_no_orphans()
    for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_flipped_bit_is_never_served(world, s3, bucket):
    body = random.Random(9).randbytes(4 * MIB)
    s3.put_object(Bucket=bucket, Key="a", Body=body)
    path, = world.blob_paths(bucket, "a")
    size = os.path.getsize(path)
    for offset in (0, MIB - 1, len(body), len(body) + 9, size - 30, size - 1):
        flip(path, offset)
        assert code(s3.get_object, Bucket=bucket, Key="a") == ("InternalError", 500), offset
        flip(path, offset)
        assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == body
    flip(path, 2 * MIB + 77)
    status, _, _ = world.request("GET", f"/{bucket}/a", headers={"range": "bytes=0-99"})
    assert status == 206
    with pytest.raises(http.client.HTTPException):  # IncompleteRead: the connection was cut
        target, headers, _ = world.signed("GET", f"/{bucket}/a")
        connection = world.connection()
        connection.request("GET", target, headers=headers)
        reply = connection.getresponse()
        try:
            reply.read()
        except ConnectionError as error:
            raise http.client.HTTPException from error
        finally:
            connection.close()
    os.truncate(path, size - 5)
    assert code(s3.get_object, Bucket=bucket, Key="a") == ("InternalError", 500)
    os.unlink(path)
    assert code(s3.get_object, Bucket=bucket, Key="a") == ("InternalError", 500)
    s3.put_object(Bucket=bucket, Key="a", Body=body)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == body


def raw_put(world, path, length, headers=None, payload="UNSIGNED-PAYLOAD", query=None):
    target, signed, _ = world.signed("PUT", path, query or None, headers=headers, payload=payload)
    text = f"PUT {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in signed.items())
    raw = socket.create_connection(("127.0.0.1", world.walrus.port), timeout=30)
    raw.sendall((text + f"content-length: {length}\r\n\r\n").encode())
    return raw


def test_clients_that_vanish_leave_nothing(world, s3, bucket):
    """Files, rows, memory: in the middle of objects and of parts."""
    rows = [f"SELECT COUNT(*) FROM {table}" for table in ("object", "extent", "part", "garbage", "digest_due")]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = {"partNumber": "1", "uploadId": upload}

    def crowd():
        several = [raw_put(world, f"/{bucket}/gone-{n}", 10 * MIB) for n in range(10)]
        several += [raw_put(world, f"/{bucket}/m", 10 * MIB, query=part) for n in range(10)]
        for raw in several:
            raw.sendall(bytes(MIB))
        wait_for(lambda: len(world.files()) == len(world.named_files()) + 20, 10, "the files were not begun")
        for raw in several:
            raw.close()
        world.assert_no_orphans()

    crowd()
    before, memory = [world.rows(sql) for sql in rows], world.walrus.rss_kib()
    for _ in range(4):
        crowd()
    assert [world.rows(sql) for sql in rows] == before
    if not IS_SANITIZED:
        # 80 MiB came; what grows is the allocator's, whose threads warm up
        assert world.walrus.rss_kib() - memory < 40 * 1024
    s3.abort_multipart_upload(Bucket=bucket, Key="m", UploadId=upload)


def test_a_client_that_vanishes_leaves_nothing(world, s3, bucket):
    for reset in (False, True):
        raw = raw_put(world, f"/{bucket}/gone", 10 * MIB)
        raw.sendall(bytes(3 * MIB))
        wait_for(lambda: len(world.files()) == len(world.named_files()) + 1, 5, "the file was not begun")
        if reset:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        world.assert_no_orphans(5)
    assert code(s3.head_object, Bucket=bucket, Key="gone") == ("404", 404)


def test_continue_only_for_who_may(world, bucket):
    raw = raw_put(world, f"/{bucket}/a", 5, {"expect": "100-continue"})
    assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
    raw.sendall(b"12345")
    assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")
    raw.close()
    target, signed, _ = world.signed("PUT", f"/{bucket}/a", keys=world.other_keys)
    raw = socket.create_connection(("127.0.0.1", world.walrus.port), timeout=30)
    raw.sendall((f"PUT {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in signed.items()) +
                 "expect: 100-continue\r\ncontent-length: 5\r\n\r\n").encode())
    assert raw.recv(1000).startswith(b"HTTP/1.1 403 ")
    raw.close()


def test_slow_clients_hold_nobody_up(world, s3, bucket):
    """More of them than there are workers, sending and receiving."""
    body = random.Random(10).randbytes(8 * MIB)
    s3.put_object(Bucket=bucket, Key="a", Body=body)
    slow = []
    before = world.walrus.rss_kib()
    for n in range(40):
        raw = raw_put(world, f"/{bucket}/slow-{n}", 8 * MIB)
        raw.sendall(b"x" * 1000)
        slow.append(raw)
        target, signed, _ = world.signed("GET", f"/{bucket}/a")
        raw = socket.create_connection(("127.0.0.1", world.walrus.port), timeout=30)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.sendall((f"GET {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in signed.items()) +
                     "\r\n").encode())
        slow.append(raw)
    begin = time.monotonic()
    for _ in range(20):
        s3.put_object(Bucket=bucket, Key="b", Body=b"x")
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == body
    assert time.monotonic() - begin < 10
    if not IS_SANITIZED:
        assert world.walrus.rss_kib() - before < 40 * 4 * 1024  # a few MiB each, whatever the object's size
    for raw in slow:
        raw.close()
    world.assert_no_orphans()


# -- aws-chunked, signed chunk by chunk --

def chunk(key, stamp, scope, previous, data):
    import hmac
    empty = hashlib.sha256(b"").hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, previous, empty, hashlib.sha256(data).hexdigest()])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return signature, b"%x;chunk-signature=%s\r\n%s\r\n" % (len(data), signature.encode(), data)


@pytest.mark.parametrize("damage, status, name", [(None, 200, b""), ("data", 403, b"SignatureDoesNotMatch"),
                                                  ("cut", 400, b"IncompleteBody")])
def test_chunks_are_verified(world, s3, bucket, damage, status, name):
    body = random.Random(11).randbytes(300_000)
    target, headers, (key, stamp, scope, signature) = world.signed(
        "PUT", f"/{bucket}/a", payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        headers={"x-amz-decoded-content-length": str(len(body)), "content-encoding": "aws-chunked,gzip"})
    framed = b""
    for part in [body[n:n + 65536] for n in range(0, len(body), 65536)] + [b""]:
        signature, piece = chunk(key, stamp, scope, signature, part)
        framed += piece
    if damage == "data":
        framed = framed[:150_000] + bytes([framed[150_000] ^ 1]) + framed[150_001:]
    if damage == "cut":
        framed = framed[:-100]
    connection = world.connection()
    connection.request("PUT", target, body=framed, headers=headers)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    assert (reply.status, name in text) == (status, True), text
    if damage:
        assert code(s3.head_object, Bucket=bucket, Key="a") == ("404", 404)
    else:
        got = s3.get_object(Bucket=bucket, Key="a")
        assert got["Body"].read() == body and got["ContentEncoding"] == "gzip"
    world.assert_no_orphans()


def checksums(body):
    import zlib
    return {"crc32": zlib.crc32(body).to_bytes(4, "big"), "sha1": hashlib.sha1(body).digest(),
            "sha256": hashlib.sha256(body).digest()}


@pytest.mark.parametrize("algorithm", ["crc32", "sha1", "sha256"])
def test_checksums_in_headers_and_trailers(world, s3, bucket, algorithm):
    """Unsigned chunks with a trailer are what newer SDKs send by default."""
    import base64
    body = random.Random(13).randbytes(100_001)
    right = base64.b64encode(checksums(body)[algorithm]).decode()
    wrong = base64.b64encode(checksums(b"other")[algorithm]).decode()
    name = f"x-amz-checksum-{algorithm}"
    for value, status, error in [(right, 200, b""), (wrong, 400, b"<Code>BadDigest</Code>"),
                                 ("AAA=", 400, b"<Code>InvalidRequest</Code>")]:
        got, _, text = world.request(
            "PUT", f"/{bucket}/trailer", payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            headers={"x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": name},
            body=b"%x\r\n%s\r\n0\r\n%s:%s\r\n\r\n" % (len(body), body, name.encode(), value.encode()))
        assert got == status and error in text, text
        got, _, text = world.request("PUT", f"/{bucket}/header", headers={name: value}, body=body)
        assert got == status and error in text, text
    for key in ("trailer", "header"):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
    got, _, text = world.request(
        "PUT", f"/{bucket}/a", payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER", body=b"0\r\n\r\n",
        headers={"x-amz-decoded-content-length": "0", "x-amz-trailer": name})
    assert got == 400 and b"<Code>MalformedTrailerError</Code>" in text


@pytest.mark.parametrize("is_signed", [False, True], ids=["anonymous", "version 2"])
def test_trailers_without_signature_version_4(world, s3, bucket, is_signed):
    """Clients frame the body for its checksum's sake over TLS, also when nothing or an older version signs it."""
    import base64
    import email.utils
    body = b"five!"
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    headers = {"Content-Encoding": "aws-chunked", "Date": email.utils.formatdate(usegmt=True),
               "x-amz-decoded-content-length": str(len(body)), "x-amz-trailer": "x-amz-checksum-crc32"}
    if is_signed:
        text = (f"PUT\n\n\n{headers['Date']}\nx-amz-decoded-content-length:{len(body)}\n"
                f"x-amz-trailer:x-amz-checksum-crc32\n/{bucket}/framed")
        key, secret = world.admin_keys
        signature = base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()
        headers["Authorization"] = f"AWS {key}:{signature}"
    for of, status in ((b"other", 400), (body, 200)):
        digest = base64.b64encode(checksums(of)["crc32"])
        connection = world.connection()
        connection.request("PUT", f"/{bucket}/framed", headers=headers,
                           body=b"5\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (body, digest))
        reply = connection.getresponse()
        assert reply.status == status, reply.read()
        connection.close()
    assert s3.get_object(Bucket=bucket, Key="framed")["Body"].read() == body
    s3.put_bucket_acl(Bucket=bucket, ACL="private")


@pytest.fixture
def small_disk(world):
    """walrus' blobs on a file system of 24 MiB, until the test is over."""
    if not is_root():
        pytest.skip("mounting needs root")
    blobs = os.path.join(world.walrus.state, "blobs")
    def start(**keys):
        if world.walrus.process:
            assert world.walrus.kill(signal.SIGTERM) == 0
        world.walrus.configure(**keys)
        world.walrus.start()

    assert world.walrus.kill(signal.SIGTERM) == 0
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "walrus-test", blobs], check=True)
    yield start
    world.walrus.kill(signal.SIGTERM)
    subprocess.run(["umount", blobs], check=True)
    start()


def test_a_full_disk_and_recovery(world, s3, small_disk):
    """Without a reserve: it is the write that fails."""
    small_disk(disk_reserve=0)
    s3.create_bucket(Bucket="full-disk")
    body = random.Random(12).randbytes(9 * MIB)
    for key in ("a", "b"):
        s3.put_object(Bucket="full-disk", Key=key, Body=body)
    assert code(s3.put_object, Bucket="full-disk", Key="c", Body=body)[1] in (503, 507)
    assert s3.get_object(Bucket="full-disk", Key="a")["Body"].read() == body
    assert code(s3.head_object, Bucket="full-disk", Key="c") == ("404", 404)
    s3.delete_object(Bucket="full-disk", Key="a")
    world.assert_no_orphans()
    s3.put_object(Bucket="full-disk", Key="c", Body=body)
    assert s3.get_object(Bucket="full-disk", Key="c")["Body"].read() == body
    for key in ("b", "c"):
        s3.delete_object(Bucket="full-disk", Key=key)
    s3.delete_bucket(Bucket="full-disk")


def test_the_reserve_of_the_disk(world, s3, small_disk):
    """Before the disk is full nothing is stored any more, inline objects neither; the rest goes on."""
    small_disk(disk_reserve="8M")
    s3.create_bucket(Bucket="reserve")
    body = random.Random(14).randbytes(9 * MIB)
    s3.put_object(Bucket="reserve", Key="a", Body=body)  # 15 of 24 MiB are left
    assert "disk ok" in world.page("/readyz")
    before = world.metric("mallee_walrus_disk_refused_total")
    assert code(s3.put_object, Bucket="reserve", Key="b", Body=body) == ("InsufficientStorage", 507)
    assert world.metric("mallee_walrus_disk_refused_total") > before
    assert "disk ok" in world.page("/readyz") and world.metric("mallee_walrus_disk_full") == 0
    # Others take the room: the file system is below the reserve.
    with open(os.path.join(world.walrus.state, "blobs", "others"), "wb") as file:
        file.write(bytes(8 * MIB))
    upload = s3.create_multipart_upload(Bucket="reserve", Key="m")["UploadId"]
    for key, size in (("b", MIB), ("c", 1)):
        assert code(s3.put_object, Bucket="reserve", Key=key, Body=bytes(size)) == ("InsufficientStorage", 507)
    assert code(s3.upload_part, Bucket="reserve", Key="m", UploadId=upload, PartNumber=1,
                Body=b"x") == ("InsufficientStorage", 507)
    wait_for(lambda: "disk: nothing can be stored" in world.page("/readyz"), 8)
    assert world.walrus.is_ready() and world.metric("mallee_walrus_disk_full") == 1
    assert s3.get_object(Bucket="reserve", Key="a")["Body"].read() == body
    assert [o["Key"] for o in s3.list_objects_v2(Bucket="reserve")["Contents"]] == ["a"]
    s3.abort_multipart_upload(Bucket="reserve", Key="m", UploadId=upload)
    s3.delete_object(Bucket="reserve", Key="a")
    wait_for(lambda: world.metric("mallee_walrus_disk_free_bytes") > 14 * MIB, 5)
    s3.put_object(Bucket="reserve", Key="c", Body=b"room again")
    os.unlink(os.path.join(world.walrus.state, "blobs", "others"))
    s3.delete_object(Bucket="reserve", Key="c")
    s3.delete_bucket(Bucket="reserve")


def test_an_upload_that_outgrows_the_reserve(world, s3, small_disk):
    """Two that have room alone, but not together, though the disk itself has: one of them is stopped on its way,
    and leaves nothing."""
    small_disk(disk_reserve="8M")
    s3.create_bucket(Bucket="reserve")
    both = [raw_put(world, f"/reserve/{n}", 9 * MIB) for n in range(2)]
    for raw in both:
        raw.settimeout(20)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    answers = []

    def send(raw):
        try:
            for _ in range(9):
                raw.sendall(bytes(MIB))
        except OSError:
            pass
        answers.append(raw.recv(1000)[:12])

    threads = [threading.Thread(target=send, args=(raw,)) for raw in both]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for raw in both:
        raw.close()
    assert answers.count(b"HTTP/1.1 507") >= 1, answers
    world.assert_no_orphans()
    for o in s3.list_objects_v2(Bucket="reserve").get("Contents", []):
        s3.delete_object(Bucket="reserve", Key=o["Key"])
    s3.delete_bucket(Bucket="reserve")


def test_drain(world, s3, bucket):
    """SIGTERM lets a request under way come to its end."""
    raw = raw_put(world, f"/{bucket}/a", 2 * MIB, {"expect": "100-continue"})
    assert raw.recv(1000).startswith(b"HTTP/1.1 100 ")  # it is under way
    raw.sendall(bytes(MIB))
    world.walrus.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    raw.sendall(bytes(MIB))
    assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")
    raw.close()
    assert world.walrus.kill(0) == 0
    world.walrus.start()
    assert s3.head_object(Bucket=bucket, Key="a")["ContentLength"] == 2 * MIB
