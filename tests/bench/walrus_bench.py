"""What the benchmarks of walrus share: a clc and a walrus on a real disk, nginx beside them, the load
program, and medians of interleaved rounds."""
import contextlib
import glob
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", "build")
os.environ.setdefault("MALLEE_BUILD", BUILD)
sys.path.insert(0, os.path.join(TOP, "tests/walrus"))
sys.dont_write_bytecode = True
import world as worlds  # noqa: E402

ROUNDS = 5
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
NGINX_CONF = """
worker_processes {workers}; daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type application/octet-stream; sendfile on; tcp_nopush on;
  client_body_temp_path {dir}/files/.b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; client_max_body_size 0;
  server {{ listen 127.0.0.1:{port} backlog=1024; root {dir}/files; dav_methods PUT DELETE; create_full_put_path on; }}
}}
"""


def need(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        sys.exit(f"{' and '.join(missing)} not installed")


def cpu_seconds(pids):
    """Of all threads that the processes have now; those of pools live as long as they do."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with contextlib.suppress(OSError):
                with open(path, encoding="ascii") as file:
                    total += int(file.read().split()[0])
    return total / 1e9


class Nginx:
    def __init__(self, directory, workers=1, is_durable=False):
        self.directory = tempfile.mkdtemp(prefix="nginx-", dir=directory)
        self.files = os.path.join(self.directory, "files")
        os.makedirs(self.files)
        self.port = worlds.free_ports(1)[0]
        conf = os.path.join(self.directory, "nginx.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(NGINX_CONF.format(dir=self.directory, port=self.port, workers=workers,
                                         user="user root;" if os.geteuid() == 0 else ""))
        env = dict(os.environ)
        if is_durable:
            env["LD_PRELOAD"] = os.path.abspath(f"{BUILD}/tests/bench/nginx_fsync.so")
        self.master = subprocess.Popen(["nginx", "-p", self.directory, "-c", conf], env=env)
        self.pids = worlds.wait_for(lambda: len(self.children()) >= workers and self.children(), 10,
                                    "nginx does not start")

    def children(self):
        texts = []
        for path in glob.glob(f"/proc/{self.master.pid}/task/*/children"):
            with contextlib.suppress(OSError):
                with open(path, encoding="ascii") as file:
                    texts.append(file.read())
        return [int(word) for word in " ".join(texts).split()]

    def stop(self):
        self.master.terminate()
        self.master.wait()


class Bench:
    """Walrus and its directory, both gone at the end."""

    def __init__(self):
        need("nginx")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.directory = tempfile.mkdtemp(prefix="bench-walrus-", dir=os.path.abspath(BUILD))
        os.chmod(self.directory, 0o755)
        self.nginxes = []
        self.world = None

    def __enter__(self):
        try:
            self.world = worlds.World(self.directory)
        except BaseException:
            worlds.remove(self.directory)
            raise
        return self

    def __exit__(self, *_):
        for nginx in self.nginxes:
            nginx.stop()
        for daemon in (self.world.walrus, self.world.clc):
            daemon.kill()
        worlds.remove(self.directory)

    def nginx(self, **options):
        self.nginxes.append(Nginx(self.directory, **options))
        return self.nginxes[-1]

    @property
    def walrus_pids(self):
        return [self.world.walrus.process.pid]

    def load(self, target, port=None, pids=None, **options):
        """One run of the load program: its figures, and CPU microseconds of the server per request."""
        is_ours = port is None
        words = [f"{BUILD}/tests/bench/load"]
        for name, value in options.items():
            words += ["-" + name, str(value)]
        if is_ours:
            words += ["-k", ":".join(self.world.admin_keys)]
        pids = pids or self.walrus_pids
        before = cpu_seconds(pids)
        done = subprocess.run(words + [str(port or self.world.walrus.port), target], stdout=subprocess.PIPE,
                              text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the load of {target} failed: {done.stdout}")
        found = json.loads(done.stdout)
        found["server_us"] = (cpu_seconds(pids) - before) * 1e6 / max(1, found["requests"])
        return found


def interleaved(*measures, rounds=ROUNDS):
    """Medians of what the functions return, called in turns."""
    seen = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(seen, measures):
            values.append(measure())
    return [statistics.median(values) for values in seen]


def row(name, ours, reference, unit, goal):
    print(name, f"{ours:.2f}", f"{reference:.2f}", unit, goal, sep="\t", flush=True)


def timed(function):
    start = time.monotonic()
    function()
    return time.monotonic() - start
