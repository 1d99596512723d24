#!/usr/bin/python3
"""PUT, durable at the reply. Small ones, 64 clients, new keys: beside nginx whose DAV PUT syncs file and
directory (nginx_fsync.c). 1 GiB: beside the lower of one core's MD5 and fio writing a new file in the same
pattern with one sync. Two streams of parts: beside one stream, which shows that both cores work."""
import concurrent.futures
import json
import os
import subprocess

import walrus_bench as wb

CLIENTS = 64
SMALL_COUNT = 4000  # in a round
PART = 64 * wb.MIB


def small(bench, nginx, size, state):
    def ours():
        state["next"] += 1
        return bench.load("/bench/%d/#" % state["next"], m="PUT", b=size, c=CLIENTS, n=SMALL_COUNT, t=0)["rate"]

    def theirs():
        state["next"] += 1
        os.makedirs(os.path.join(nginx.files, str(state["next"])))
        return bench.load("/%d/#" % state["next"], nginx.port, nginx.pids, m="PUT", b=size, c=CLIENTS,
                          n=SMALL_COUNT // 4, t=0)["rate"]

    return wb.interleaved(ours, theirs)


def large_rate(bench):
    found = bench.load("/bench/1g", m="PUT", b=wb.GIB, c=1, n=1, t=0)
    bench.world.s3().delete_object(Bucket="bench", Key="1g")
    return wb.GIB / found["seconds"] / 1e6


def md5_rate():
    out = subprocess.run(["openssl", "speed", "-mr", "-seconds", "1", "-bytes", "65536", "-evp", "md5"], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return float(next(line for line in out.splitlines() if line.startswith("+F:")).split(":")[-1]) / 1e6


def fio_rate(bench):
    path = os.path.join(bench.directory, "fio")
    out = subprocess.run(["fio", "--name=put", f"--filename={path}", "--rw=write", "--bs=256k", f"--size={wb.GIB}",
                          "--fallocate=none", "--end_fsync=1", "--output-format=json"], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    os.remove(path)
    return json.loads(out)["jobs"][0]["write"]["bw_bytes"] / 1e6


def upload_streams(bench, streams):
    """Parts in so many streams at once: bytes per second until the last one is there."""
    s3 = bench.world.s3()
    upload = s3.create_multipart_upload(Bucket="bench", Key="parts")["UploadId"]

    def stream(number):
        return bench.load(f"/bench/parts?partNumber=#&uploadId={upload}", m="PUT", b=PART, c=1, f=1 + number * 8, n=4,
                          t=0)

    with concurrent.futures.ThreadPoolExecutor(streams) as pool:
        seconds = wb.timed(lambda: list(pool.map(stream, range(streams))))
    s3.abort_multipart_upload(Bucket="bench", Key="parts", UploadId=upload)
    return streams * 4 * PART / seconds / 1e6


def main():
    wb.need("fio", "openssl")
    with wb.Bench() as bench:
        nginx = bench.nginx(workers=os.cpu_count(), is_durable=True)
        bench.world.s3().create_bucket(Bucket="bench")
        state = {"next": 0}
        for name, size in (("put_1k_durable", wb.KIB), ("put_4k_durable", 4 * wb.KIB)):
            wb.row(name, *small(bench, nginx, size, state), "PUT/s", ">=5")
        ours, md5, disk = wb.interleaved(lambda: large_rate(bench), md5_rate, lambda: fio_rate(bench))
        wb.row("put_1g", ours, min(md5, disk), "MB/s", ">=0.85")
        one, two = wb.interleaved(lambda: upload_streams(bench, 1), lambda: upload_streams(bench, 2))
        wb.row("put_parts_two_streams", two, one, "MB/s", ">=1.3")


main()
