"""What many, slow, large and repeated requests cost: memory that stays bounded, others that do not wait, and
answers from memory that are never old."""
import hashlib
import os
import socket
import threading
import time

MIB = 1 << 20
IDLE = 400


def connect(world):
    return socket.create_connection(("127.0.0.1", world.walrus.port))


def get_seconds(world, path, times=20):
    start = time.monotonic()
    for _ in range(times):
        assert world.request("GET", path)[0] == 200
    return (time.monotonic() - start) / times


def test_idle_connections_cost_little(world, s3, bucket):
    """The full count is the bench's: ten thousand."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 1000)
    get_seconds(world, f"/{bucket}/k", 5)
    before = world.walrus.rss_kib()
    idle = [connect(world) for _ in range(IDLE)]
    try:
        for s in idle[::2]:  # half of them in the middle of a head
            s.sendall(b"GET /slow HTTP/1.1\r\nHost: 127")
        assert get_seconds(world, f"/{bucket}/k") < 0.5
        assert world.walrus.rss_kib() - before < IDLE * 16
    finally:
        for s in idle:
            s.close()


def test_slow_bodies_hold_no_worker(world, s3, bucket):
    """More slow uploads than there are workers, both short bodies and long ones."""
    slow = []
    try:
        for i in range(200):
            length = 1000 if i % 2 else 3 * MIB
            target, headers, _ = world.signed("PUT", f"/{bucket}/slow-{i}", headers={"content-length": str(length)})
            s = connect(world)
            head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            s.sendall(f"PUT {target} HTTP/1.1\r\n{head}\r\nfirst bytes".encode())
            slow.append(s)
        assert get_seconds(world, f"/{bucket}", 5) < 1
        s3.put_object(Bucket=bucket, Key="quick", Body=b"x" * 100000)
    finally:
        for s in slow:
            s.close()
    world.assert_no_orphans()
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["quick"]


def test_a_short_body_in_many_pieces(world, s3, bucket):
    """As a slow network brings it, both what the loop itself would store and what a worker would."""
    for length in (64, 64000):
        body = os.urandom(length)
        target, headers, _ = world.signed("PUT", f"/{bucket}/k", headers={"content-length": str(length)})
        with connect(world) as s:
            s.settimeout(10)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
            s.sendall(f"PUT {target} HTTP/1.1\r\n{head}\r\n".encode())
            for at in range(0, length, length // 32):
                time.sleep(0.01)
                s.sendall(body[at:at + length // 32])
            assert s.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_memory_of_a_large_object(world, s3, bucket):
    """120 MiB up and down: a few MiB, whatever its size."""
    path = os.path.join(world.directory, "large")
    piece, digest, count = os.urandom(MIB), hashlib.md5(), 120
    with open(path, "wb") as file:
        for i in range(count):
            file.write(piece[i:] + piece[:i])
            digest.update(piece[i:] + piece[:i])
    s3.put_object(Bucket=bucket, Key="warm", Body=piece * 20)
    s3.get_object(Bucket=bucket, Key="warm")["Body"].read()
    before, most, over = world.walrus.rss_kib(), [0], threading.Event()

    def look():
        while not over.wait(0.02):
            most[0] = max(most[0], world.walrus.rss_kib())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with open(path, "rb") as file:
            reply = s3.put_object(Bucket=bucket, Key="large", Body=file)
        assert reply["ETag"] == f'"{digest.hexdigest()}"'
        seen = hashlib.md5()
        for chunk in s3.get_object(Bucket=bucket, Key="large")["Body"].iter_chunks(MIB):
            seen.update(chunk)
        assert seen.hexdigest() == digest.hexdigest()
    finally:
        over.set()
        watcher.join()
        os.remove(path)
    assert 0 < most[0] < before + 24 * 1024


def test_a_slow_reader_of_a_large_object(world, s3, bucket):
    """Who reads nothing makes walrus read no further than it may queue."""
    s3.put_object(Bucket=bucket, Key="large", Body=os.urandom(MIB) * 64)
    target, headers, _ = world.signed("GET", f"/{bucket}/large")
    before, slow = world.walrus.rss_kib(), []
    try:
        for _ in range(20):
            s = connect(world)
            s.sendall((f"GET {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
                       + "\r\n").encode())
            slow.append(s)
        time.sleep(0.3)
        assert world.walrus.rss_kib() - before < 20 * 4 * 1024  # two blocks ahead, and the one being sent
        assert get_seconds(world, f"/{bucket}", 5) < 1
    finally:
        for s in slow:
            s.close()


def read(world, bucket, keys=None, **headers):
    status, reply, body = world.request("GET", f"/{bucket}/k", headers=headers, keys=keys)
    return status, reply.get("etag"), body


def test_what_memory_answers_is_what_is_stored(world, s3, bucket):
    """Read often enough to be kept, then changed in each way there is."""
    def settle(body):
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        for _ in range(3):
            assert read(world, bucket) == (200, etag, body)
        return etag

    for body in (b"one", b"two two", b"", b"x" * 65536):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
        etag = settle(body)
    status, reply, body = world.request("GET", f"/{bucket}/k", headers={"Range": "bytes=2-4"})
    assert (status, reply["content-range"], body) == (206, "bytes 2-4/65536", b"xxx")
    assert read(world, bucket, **{"If-None-Match": etag})[0] == 304
    assert world.request("HEAD", f"/{bucket}/k")[1]["content-length"] == "65536"
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 100000)  # now a file
    settle(b"x" * 100000)
    s3.put_object(Bucket=bucket, Key="k", Body=b"small again")
    settle(b"small again")
    s3.delete_object(Bucket=bucket, Key="k")
    assert read(world, bucket)[0] == 404
    s3.put_object(Bucket=bucket, Key="k", Body=b"last", Metadata={"a": "b"})
    settle(b"last")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"parts")["ETag"]
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload,
                                 MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    assert read(world, bucket)[2] == b"parts"


def test_memory_answers_only_who_may(world, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    for _ in range(3):
        assert read(world, bucket)[0] == 200
    assert read(world, bucket, keys=world.other_keys)[0] == 403
    assert read(world, bucket, keys=(world.admin_keys[0], "wrong"))[0] == 403
    connection = world.connection()
    connection.request("GET", f"/{bucket}/k")
    assert connection.getresponse().status == 403
    connection.close()


def test_readers_never_go_back(world, s3, bucket):
    """Numbers written in order are read in order, and never one older than was acknowledged."""
    acknowledged, wrong, over = [0], [], threading.Event()
    s3.put_object(Bucket=bucket, Key="k", Body=b"0")

    def look():
        last = 0
        while not over.is_set():
            least = acknowledged[0]
            seen = int(read(world, bucket)[2])
            if seen < max(last, least):
                wrong.append((seen, last, least))
            last = seen

    readers = [threading.Thread(target=look) for _ in range(3)]
    for r in readers:
        r.start()
    try:
        for i in range(1, 150):
            assert world.request("PUT", f"/{bucket}/k", body=str(i).encode())[0] == 200
            acknowledged[0] = i
    finally:
        over.set()
        for r in readers:
            r.join()
    assert not wrong
