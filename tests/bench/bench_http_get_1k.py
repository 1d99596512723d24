#!/usr/bin/python3
"""GET of 1 KiB over 64 keep-alive connections: our server's CPU per request beside nginx'.

Both serve the bytes from memory (nginx by `return`), one process or worker each, loaded in turns by
wrk. CPU time per request is what counts: the load generator and other work share the cores, so
requests per second say more about the machine than about the server.
"""
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

GOAL = "<=1"
ROUNDS = 5
SECONDS = 2
NGINX_CONF = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/octet-stream;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{body}"; }} }}
}}
"""


def cpu_ns(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total


def load(port, pid, seconds):
    """Microseconds of the server's CPU per request."""
    before = cpu_ns(pid)
    out = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}", f"http://127.0.0.1:{port}/"],
                         check=True, capture_output=True, text=True).stdout
    spent = cpu_ns(pid) - before
    if "Non-2xx" in out or "Socket errors" in out:
        raise RuntimeError(f"the server failed under load:\n{out}")
    return spent / 1000 / int(re.search(r"(\d+) requests in", out)[1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_nginx(directory):
    port = free_port()
    conf = os.path.join(directory, "nginx.conf")
    with open(conf, "w") as f:
        f.write(NGINX_CONF.format(dir=directory, port=port, body="x" * 1024))
    master = subprocess.Popen(["nginx", "-p", directory, "-c", conf])
    for _ in range(100):
        workers = glob.glob(f"/proc/{master.pid}/task/*/children")
        children = "".join(open(w).read() for w in workers).split()
        if children:
            return master, int(children[0]), port
        time.sleep(0.05)
    master.terminate()
    raise RuntimeError("nginx does not start")


def main():
    build = os.environ.get("BUILD", "build")
    missing = [p for p in ("nginx", "wrk") if not shutil.which(p)]
    if missing:
        sys.exit(f"{' and '.join(missing)} not installed")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="mallee-bench-") as directory:
        os.chmod(directory, 0o755)
        server = subprocess.Popen([f"{build}/tests/bench/http_small_server"], stdout=subprocess.PIPE, text=True)
        nginx = None
        try:
            port = int(server.stdout.readline())
            nginx, worker, nginx_port = start_nginx(directory)
            for _ in range(ROUNDS):
                ours.append(load(port, server.pid, SECONDS))
                theirs.append(load(nginx_port, worker, SECONDS))
        finally:
            for process in (server, nginx):
                if process:
                    process.terminate()
                    process.wait()
    ours.sort()
    theirs.sort()
    print("http_get_1k", f"{ours[ROUNDS // 2]:.2f}", f"{theirs[ROUNDS // 2]:.2f}",
          "us CPU/request", GOAL, sep="\t")


main()
