"""Hostile requests for every action, made from the definitions by a seeded generator: each is answered, in time, as a
client's mistake; the daemon goes on, and its sanitizers have nothing to say.

The short run asks the same each time. CYCLES=N makes it N times as long and asks something else; MALLEE_SEED=N repeats that.
"""
import os
import random
import re
import socket
import time

import front
import parameters
import pytest
from strict import check_ec2, check_error
from test_model import base, context, fields
from world import OPERATIONS, World

# One piece of code answers for all that the cloud has none of: three of them stand for the rest.
EMPTY = [a for a in sorted(OPERATIONS) if OPERATIONS[a].get("answers")]
ACTIONS = [a for a in sorted(OPERATIONS) if a not in EMPTY[3:]]

CYCLES = int(os.environ.get("CYCLES", "1"))
SEED = int(os.environ.get("MALLEE_SEED", "0")) or (random.SystemRandom().randrange(1, 1 << 31) if CYCLES > 1 else 1)
REQUESTS = 40 * CYCLES   # of each action and kind
DEADLINE_S = 30          # for one answer, on a machine that does much else
# The server's own errors that a request may meet with: nothing here has room for thousands of instances.
OF_THE_SERVER = {"InsufficientInstanceCapacity", "InsufficientAddressCapacity", "ServiceUnavailable", "Unavailable",
                 "RequestLimitExceeded"}
NASTY = ["", " ", "\0", "a\0b", "\x01", "\x7f", "é" * 300, "\U0001f980" * 50, "\u202e\ufeff", "%", "%00", "%s%n%d", "'; DROP TABLE x; --",
         "<a>&amp;]]>", "../../../etc/passwd", "*", "?" * 500, "*a" * 300, "\\", "\\*" * 99, "-1", "0", "1", "2147483648",
         "4294967296", "9223372036854775808", "-9223372036854775809", "1e9", "0x7f", "١", "NaN", "inf", "true", "TRUE", "null", "[]",
         "{}", "i-", "i-12345678", "ami-0123456789abcdef0", "sg-", "A" * 4096, "A" * 70000, "=" * 64, "AAAA" * 20000,
         "2026-01-01", "2026-13-45T99:99:99Z", "-292277026596-12-04T15:30:08Z", "127.0.0.1", "::1", "0.0.0.0/0", "1/33"]
PLACES = ["0", "1", "2", "00", "01", "-1", "1.1", "1.0", "x", "", "999", "1000", "1001", "4294967295", "4294967297",
          "99999999999999999999", "1 ", "é"]


@pytest.fixture(scope="module")
def world():
    print(f"\nMALLEE_SEED={SEED}")
    made = World(parameters.MAKERS)
    try:
        yield made
    finally:
        made.close()


def must_be_well(world):
    """Ready, and serving."""
    assert world.clc.process.poll() is None, world.clc.read_log()[-4000:]
    assert world.clc.status_get("/readyz")[0] == 200
    check_ec2(world.call("DescribeRegions", {}), "DescribeRegions")


def judge(reply, what):
    if reply.status == 200:
        return
    assert reply.xml is not None, (SEED, what, reply)
    assert reply.status < 500 or reply.code in OF_THE_SERVER, (SEED, what, reply)
    check_error(reply, reply.status, reply.code)


def spoiled(chance, form, names):
    """A list of pairs that was a good request once."""
    pairs = list(form.items())
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        name = chance.choice(names)
        how = chance.randrange(12)
        if how <= 2:
            pairs = [p for p in pairs if p[0] != name] + [(name, chance.choice(NASTY))]
        elif how == 3:
            place = chance.choice(PLACES)
            pairs.append((f"{name.removesuffix('.1')}.{place}", chance.choice(NASTY)))
        elif how == 4:
            pairs.append((".".join(w if w != "1" else chance.choice(PLACES) for w in name.split(".")), "x"))
        elif how == 5:
            pairs += [(name, "1"), (name, "2")]
        elif how == 6:
            pairs += [(f"{name.removesuffix('.1')}.{i * 7 + 1}", "x") for i in range(chance.choice((3, 50, 200)))]
        elif how == 7:
            pairs.append((name + "." + ".".join(["A"] * chance.choice((1, 30, 400))), "x"))
        elif how == 8:
            pairs.append((chance.choice(NASTY)[:200], "x"))
        elif how == 9 and pairs:
            pairs.pop(chance.randrange(len(pairs)))
        elif how == 10 and pairs:
            i = chance.randrange(len(pairs))
            pairs[i] = (pairs[i][0], chance.choice(NASTY))
        else:
            pairs += [(f"Filter.{chance.choice(PLACES)}.Name", chance.choice(NASTY)),
                      (f"Filter.{chance.choice(PLACES)}.Value.{chance.choice(PLACES)}", chance.choice(NASTY))]
    chance.shuffle(pairs)
    return pairs


@pytest.mark.parametrize("action", ACTIONS)
def test_spoiled_parameters(world, action):
    chance = random.Random(f"{SEED} {action}")
    names = [name for _, name, field, _, _ in fields(action) if field["type"] != "struct"] or ["Nothing"]
    form = base(action)
    for path, _, _, _, _ in fields(action):
        if chance.random() < 0.1:
            form.update(context(action, path))
    form = world.fill_in(form, True)
    for _ in range(REQUESTS):
        pairs = spoiled(chance, form, names)
        dry = [("DryRun", "true")] if chance.random() < 0.5 else []
        reply = world.clc.call(world.account, [("Action", action), ("Version", front.VERSION), *pairs, *dry], timeout=DEADLINE_S)
        judge(reply, (action, str(pairs)[:1500]))
    must_be_well(world)


@pytest.mark.parametrize("action", ACTIONS)
def test_ten_thousand_of_a_name(world, action):
    """More parameters than are read, and long lists below that."""
    name = next((n for _, n, f, _, _ in fields(action) if f["list"] and f["type"] != "struct"), "Filter.1.Value.1")
    for count, step in ((10000, 1), (4000, 1), (4000, 1000)):
        body = "&".join([f"Action={action}", f"Version={front.VERSION}"]
                        + [f"{name.removesuffix('.1')}.{i * step + 1}=x" for i in range(count)]).encode()
        reply = world.clc.call(world.account, [], body=body, timeout=DEADLINE_S)
        judge(reply, (action, name, count, step))
        assert reply.status == 400 or reply.code == "MalformedQueryString", (action, name, count, reply)
    must_be_well(world)


def raw_bodies(chance, action):
    good = f"Action={action}&Version={front.VERSION}"
    yield from (b"", b"&", b"=", b"&&&==&", b"%", b"Action", b"Action=", b"Action=%", b"Action=%zz", b"Action=%4", b"\xff\xfe\x00")
    for tail in ("&a=%", "&a=%f", "&a=%fg", "&%=%", "&a=%00", "&a%00b=c", "&a=%ff%fe", "&a=%c3%28", "&a=+%2b+", "&a;b=c", "&a=b=c=d",
                 "&Action=RunInstances", "&Version=2010-01-01", "&" + "a" * 60000 + "=b", "&a=" + "%41" * 30000, "&" * 5000,
                 "&Signature=x&AWSAccessKeyId=y", "\r\nAction=x", "\0"):
        yield (good + tail).encode("latin-1")
    for _ in range(REQUESTS):
        text = bytearray(good.encode() + b"&MaxResults=5&Filter.1.Name=x&Filter.1.Value.1=y")
        for _ in range(chance.randrange(1, 8)):
            place = chance.randrange(len(text))
            how = chance.randrange(3)
            if how == 0:
                text[place] = chance.randrange(256)
            elif how == 1:
                del text[place:place + chance.randrange(1, 9)]
            else:
                text[place:place] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
        yield bytes(text)


@pytest.mark.parametrize("action", ["RunInstances", "DescribeInstances", "ImportKeyPair"])
def test_bodies_that_are_no_forms(world, action):
    chance = random.Random(f"{SEED} bodies {action}")
    for body in raw_bodies(chance, action):
        reply = world.clc.call(world.account, [], body=body, timeout=DEADLINE_S)
        judge(reply, (action, body[:300]))
    must_be_well(world)


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/xml", "application/x-www-form-urlencoded;",
                                  "application/x-www-form-urlencoded; charset=utf-16", "x", "a" * 4000, ";", "application/x-www-form-urlencodedx"])
def test_content_types(world, kind):
    reply = world.clc.call(world.account, [("Action", "DescribeRegions"), ("Version", front.VERSION)], content_type=kind)
    judge(reply, kind)
    assert (reply.status == 200) == kind.startswith("application/x-www-form-urlencoded;"), reply
    must_be_well(world)


# -- below the form: bytes on a connection --

def exchange(world, raw, half_close=True):
    """What comes back until the server closes or a whole answer is there; '' when it hung up."""
    with socket.create_connection(("127.0.0.1", world.clc.port), timeout=DEADLINE_S) as s:
        found = b""
        try:
            s.sendall(raw)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while chunk := s.recv(65536):
                found += chunk
                head, mark, rest = found.partition(b"\r\n\r\n")
                length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")), None)
                if mark and length is not None and len(rest) >= length and not head.startswith(b"HTTP/1.1 100"):
                    break
        except ConnectionError:
            pass
        return found


def signed(world, body, **more):
    """A good POST as (head lines, body)."""
    host, stamp = f"127.0.0.1:{world.clc.port}", front.now().strftime("%Y%m%dT%H%M%SZ")
    headers = {"Host": host, "X-Amz-Date": stamp, "Content-Type": "application/x-www-form-urlencoded", **more}
    headers["Authorization"] = front.sign_v4(world.account.key, world.account.secret, "POST", "/", "", headers, body, stamp,
                                             front.REGION, "ec2")
    return headers


BODY = f"Action=DescribeRegions&Version={front.VERSION}".encode()


def request(headers, body, first="POST / HTTP/1.1", length=True):
    lines = [first] + [f"{k}: {v}" for k, v in headers.items()] + ([f"Content-Length: {len(body)}"] if length else [])
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def test_this_way_of_asking_works(world):
    assert exchange(world, request(signed(world, BODY), BODY), half_close=False).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("kept", [0, 1, 20, len(BODY) - 1])
def test_bodies_cut_off(world, kept):
    """The client goes away in the middle: nothing is answered, nothing done, nothing hangs."""
    begin = time.monotonic()
    raw = request(signed(world, BODY), BODY)
    answer = exchange(world, raw[:len(raw) - len(BODY) + kept])
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert time.monotonic() - begin < DEADLINE_S
    must_be_well(world)


def tricks(world):
    good = signed(world, BODY)
    yield "chunked", request({**good, "Transfer-Encoding": "chunked"}, b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), length=False), b"200"
    yield "a chunk a byte", request({**good, "Transfer-Encoding": "chunked"},
                                    b"".join(b"1\r\n%c\r\n" % c for c in BODY) + b"0\r\n\r\n", length=False), b"200"
    yield "expects", request({**good, "Expect": "100-continue"}, BODY), b"100|200"
    yield "two requests", request(good, BODY) * 2, b"200"
    yield "absolute target", request(good, BODY, f"POST http://127.0.0.1:{world.clc.port}/ HTTP/1.1"), b"200|400|403"
    yield "old version", request(good, BODY, "POST / HTTP/1.0"), b"200|400"
    yield "no such method", request(good, BODY, "BREW / HTTP/1.1"), b"40."
    yield "delete", request(good, BODY, "DELETE / HTTP/1.1"), b"405"
    yield "no such path", request(good, BODY, "POST /../../etc HTTP/1.1"), b"40."
    yield "long path", request(good, BODY, "POST /" + "a" * 100000 + " HTTP/1.1"), b"4..|$"
    yield "long header", request({**good, "X": "a" * 200000}, BODY), b"4..|$"
    yield "many headers", request({**good, **{f"X-{i}": "a" for i in range(5000)}}, BODY), b"4..|$"
    yield "two lengths", request({**good, "Content-Length": "3"}, BODY), b"400|$"
    yield "negative length", request({**good, "Content-Length": "-1"}, BODY, length=False), b"400|$"
    yield "huge length", request({**good, "Content-Length": "99999999999999999999"}, BODY, length=False), b"4..|$"
    yield "large length", request({**good, "Content-Length": str(1 << 40)}, BODY, length=False), b"413|$"
    yield "chunked and length", request({**good, "Transfer-Encoding": "chunked"}, BODY), b"400|$"
    yield "bad chunk", request({**good, "Transfer-Encoding": "chunked"}, b"zz\r\n", length=False), b"400|$"
    yield "huge chunk", request({**good, "Transfer-Encoding": "chunked"}, b"ffffffffffffffff\r\nx", length=False), b"4..|$"
    yield "folded", request(good, BODY).replace(b"X-Amz-Date: ", b"X-Amz-Date:\r\n "), b"400|$"
    yield "a null", request({**good, "X": "a\0b"}, BODY), b"400|$"
    yield "no host", request({k: v for k, v in good.items() if k != "Host"}, BODY), b"400|$"
    yield "other host", request({**good, "Host": "example.com"}, BODY), b"40[013]"
    for name, value in (("Authorization", ""), ("Authorization", "AWS4-HMAC-SHA256"), ("Authorization", "AWS4-HMAC-SHA256 " + "," * 3000),
                        ("Authorization", "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;;, Signature=zz"),
                        ("Authorization", good["Authorization"] + "0"), ("Authorization", good["Authorization"].replace("host;", "")),
                        ("Authorization", "Basic eDp4"), ("X-Amz-Date", "yesterday"), ("X-Amz-Date", ""), ("X-Amz-Date", "99999999T999999Z"),
                        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), ("X-Amz-Security-Token", "x" * 3000)):
        yield f"{name}: {value[:30]}", request({**good, name: value}, BODY), b"40.|200"


def test_tricks_with_headers(world):
    for name, raw, wanted in tricks(world):
        begin = time.monotonic()
        answer = exchange(world, raw, half_close=wanted.endswith(b"$"))  # who stops to send may be taken for gone
        got = answer.split(b" ")[1][:3] if answer.startswith(b"HTTP/1.1 ") else b""
        assert re.match(rb"(?:%s)" % wanted, got) and len(got) in (0, 3), (name, wanted, answer[:300])
        assert time.monotonic() - begin < DEADLINE_S, name
    must_be_well(world)


def test_slow_and_idle_connections_are_in_nobodys_way(world):
    """Two hundred that say half a request: the next one is served at once."""
    raw = request(signed(world, BODY), BODY)
    idle = []
    try:
        for i in range(200):
            s = socket.create_connection(("127.0.0.1", world.clc.port), timeout=DEADLINE_S)
            s.sendall(raw[:i % (len(raw) - 1)])
            idle.append(s)
        begin = time.monotonic()
        must_be_well(world)
        assert time.monotonic() - begin < 5
    finally:
        for s in idle:
            s.close()
    must_be_well(world)
