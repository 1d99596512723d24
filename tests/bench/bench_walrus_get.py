#!/usr/bin/python3
"""GET: small ones by the server's CPU per request beside nginx serving the same file unsigned, large ones
by bytes per second. Walrus checks a signature and every byte."""
import os

import walrus_bench as wb


def put_both(bench, nginx, key, size):
    path = os.path.join(nginx.files, key)
    with open(path, "wb") as file:
        for _ in range(max(1, size // wb.MIB)):
            file.write(os.urandom(min(size, wb.MIB)))
    s3 = bench.world.s3()
    with open(path, "rb") as file:
        s3.put_object(Bucket="bench", Key=key, Body=file)


def small(bench, nginx):
    put_both(bench, nginx, "1k", wb.KIB)
    return wb.interleaved(lambda: bench.load("/bench/1k", c=64, t=1)["server_us"],
                          lambda: bench.load("/1k", nginx.port, nginx.pids, c=64, t=1)["server_us"])


def large(bench, nginx, key, size, connections, count):
    put_both(bench, nginx, key, size)

    def rate(target, *server):
        found = bench.load(target, *server, c=connections, n=count, t=0)
        return found["bytes"] / found["seconds"] / 1e6

    figures = wb.interleaved(lambda: rate("/bench/" + key), lambda: rate("/" + key, nginx.port, nginx.pids))
    bench.world.s3().delete_object(Bucket="bench", Key=key)
    os.remove(os.path.join(nginx.files, key))
    return figures


def main():
    with wb.Bench() as bench:
        nginx = bench.nginx()
        bench.world.s3().create_bucket(Bucket="bench")
        wb.row("get_1k_signed", *small(bench, nginx), "us CPU/request", "<=1")
        wb.row("get_1m", *large(bench, nginx, "1m", wb.MIB, 4, 1500), "MB/s", ">=0.75")
        wb.row("get_1g", *large(bench, nginx, "1g", wb.GIB, 1, 2), "MB/s", ">=0.75")


main()
