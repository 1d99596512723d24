#!/usr/bin/python3
"""What 10,000 idle connections, half of them in the middle of a head, cost others: the latency of GETs with
them beside that without, in turns, and memory per connection."""
import socket

import walrus_bench as wb

IDLE, CONNECTION_KIB = 10_000, 16


class Idle:
    def __init__(self, port):
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(IDLE)]
        for s in self.sockets[::2]:
            s.sendall(b"GET /slow HTTP/1.1\r\nHost: 127")

    def close(self):
        for s in self.sockets:
            s.close()


def main():
    with wb.Bench() as bench:
        s3 = bench.world.s3()
        s3.create_bucket(Bucket="bench")
        s3.put_object(Bucket="bench", Key="1k", Body=b"x" * wb.KIB)
        walrus, memory = bench.world.walrus, []

        def latency():
            return bench.load("/bench/1k", c=16, t=1)["p50_us"]

        def latency_among_idle():
            before = walrus.rss_kib()
            idle = Idle(walrus.port)
            try:
                bench.load("/bench/1k", c=16, n=2000, t=0)  # these are behind the others when it accepts
                found = latency()
                memory.append((walrus.rss_kib() - before) / IDLE)
                return found
            finally:
                idle.close()

        among, alone = wb.interleaved(latency_among_idle, latency)
        wb.row("get_1k_among_10000_idle", among, alone, "us median", "<=1.3")
        wb.row("memory_of_an_idle_connection", max(memory), CONNECTION_KIB, "KiB", "<=1")


main()
