#!/usr/bin/python3
"""LIST of 1,000 keys from the middle of buckets of 10,000, a million and ten million; a delimiter listing of
a million keys under ten prefixes; how fast a walrus with a million objects starts and what memory it has
after work. The reference is the goal itself: 5 ms, 1 s, 200 MB.

The rows are copies of one that walrus wrote, with keys and contents of their own, inserted while it is
stopped. They lie in the order of their keys, as after an import in that order."""
import os
import signal
import sqlite3

import walrus_bench as wb

BUCKETS = {"list-10k": 10_000, "list-1m": 1_000_000, "list-10m": 10_000_000}
FIRST = 100_000_000
LIST_MS, START_S, MEMORY_MB = 5, 1, 200
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1)"


def copies(db, table, where, values, replaced, count):
    """Inserts copies of one row, with some columns as expressions of n.i."""
    columns = [r[1] for r in db.execute(f"PRAGMA table_info({table})")]
    chosen = ", ".join(replaced.get(c, c) for c in columns)
    db.execute("DROP TABLE IF EXISTS temp.sample")
    db.execute(f"CREATE TEMP TABLE sample AS SELECT * FROM {table} WHERE {where}", values)
    db.execute(f"{NUMBERS} INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM n CROSS JOIN sample",
               (count,))


def fill(db, bucket, count):
    """Keys d0/100000000 and on, a tenth of them in each of ten directories, with a content of one extent each."""
    bucket_id = db.execute("SELECT bucket_id FROM bucket WHERE name = ?", (bucket,)).fetchone()[0]
    content = f"printf('%08x%024x', {bucket_id}, n.i)"
    key = f"CAST(printf('d%d/%d', n.i / {count // 10}, {FIRST} + n.i) AS BLOB)"
    sample = db.execute("SELECT content_id FROM object WHERE bucket_id = ?", (bucket_id,)).fetchone()[0]
    copies(db, "object", "content_id = ?", (sample,), {"object_key": key, "content_id": content}, count)
    if count <= 1_000_000:  # beyond, listing is all that is asked of them
        copies(db, "extent", "content_id = ?", (sample,), {"content_id": content}, count)
    db.commit()


def fill_all(bench, buckets):
    s3 = bench.world.s3()
    for bucket in buckets:
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="~sample", Body=b"sixteen bytes...")
    bench.world.walrus.kill(signal.SIGTERM)
    db = sqlite3.connect(os.path.join(bench.world.walrus.state, "walrus.db"))
    db.execute("PRAGMA cache_size = -200000")
    db.execute("PRAGMA synchronous = OFF")
    for bucket in buckets:
        fill(db, bucket, BUCKETS[bucket])
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    bench.world.walrus.start()


def list_ms(bench, target):
    return bench.load(target, c=1, n=20, t=0)["p50_us"] / 1000


def listings(bench, buckets):
    measures = []
    for bucket in buckets:
        count = BUCKETS[bucket]
        after = f"d5%2F{FIRST + count // 2 + 17}"
        measures.append(lambda t=f"/{bucket}?list-type=2&start-after={after}": list_ms(bench, t))
    for bucket, ms in zip(buckets, wb.interleaved(*measures)):
        wb.row(f"list_1000_of_{BUCKETS[bucket]}", ms, LIST_MS, "ms", "<=1")


def start_seconds(bench):
    walrus = bench.world.walrus
    walrus.kill(signal.SIGTERM)
    return wb.timed(walrus.start)


def million(bench):
    ms, = wb.interleaved(lambda: list_ms(bench, "/list-1m?list-type=2&delimiter=%2F"))
    wb.row("list_10_prefixes_of_1000000", ms, LIST_MS, "ms", "<=1")
    seconds, = wb.interleaved(lambda: start_seconds(bench))
    wb.row("start_1000000_objects", seconds, START_S, "s", "<=1")
    for d in range(10):
        bench.load(f"/list-1m/d{d}/#", c=16, f=FIRST + d * 100_000, d=100_000, t=1)
    wb.row("memory_1000000_objects", bench.world.walrus.rss_kib() / 1000, MEMORY_MB, "MB", "<=1")


def main():
    with wb.Bench() as bench:
        fill_all(bench, ["list-10k", "list-1m"])
        million(bench)
        fill_all(bench, ["list-10m"])
        listings(bench, BUCKETS)


main()
