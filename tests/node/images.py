"""A store of images with faults: /NAME serves a file; /NAME?damage=1 flips a bit, ?cut=1 stops short,
?status=403&text=expired answers so, ?rate=BYTES slows down. A PUT to /NAME makes the file; the same status,
and rate. Arguments: DIRECTORY PORT."""
import http.server
import os
import sys
import time
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = os.path.join(sys.argv[1], os.path.basename(url.path))
        if "status" in query or not os.path.exists(path):
            body = query.get("text", "no").encode()
            self.send_response(int(query.get("status", "404")))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        with open(path, "rb") as f:
            body = bytearray(f.read())
        if "damage" in query:
            body[len(body) // 2] ^= 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if "cut" in query:
            body = body[:len(body) // 2]
            self.close_connection = True
        rate = int(query.get("rate", "0"))
        for at in range(0, len(body), rate or len(body)):
            self.wfile.write(body[at:at + (rate or len(body))])
            if rate:
                time.sleep(1)

    def do_PUT(self):
        url = urllib.parse.urlparse(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = os.path.join(sys.argv[1], os.path.basename(url.path))
        left, rate = int(self.headers["Content-Length"]), int(query.get("rate", "0"))
        with open(path + ".part", "wb") as f:
            while left:
                got = self.rfile.read(min(left, rate or 1 << 16))
                if not got:
                    return
                f.write(got)
                left -= len(got)
                if rate:
                    time.sleep(1)
        body = query.get("text", "").encode()
        if "status" not in query:
            os.rename(path + ".part", path)
        self.send_response(int(query.get("status", "200")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
