"""`tools/cloud`: the commands, each a few lines over the other modules."""
import argparse
import os
import shutil
import sys

from . import daemons, guests, holder, hosts, images, machine, model, net, proc, term
from .model import locked
from .term import Failure, say

DESCRIPTION = "A cloud of many hosts on this machine, in network namespaces of its own."


def up(options):
    existing = model.load(options.name)
    machine.check(options.state or (existing.state if existing else os.path.join(model.BASE, options.name)))
    cloud = model.create(options.name, options.zones, options.nodes, options.state)
    with locked(cloud):
        cloud.save()
        for directory in (cloud.state, cloud.log, cloud.run, os.path.join(cloud.run, "pid")):
            os.makedirs(directory, mode=0o755, exist_ok=True)
        if not (options.no_build and os.path.isdir(cloud.root)):
            machine.build(cloud.root)
        daemons.prepare_machine()
        from . import libvirt
        for host in cloud.hosts:
            if host.kind == "node":
                libvirt.prepare(cloud, host)
        hosts.up(cloud)
        if not holder.running(cloud):
            # Whoever still has sockets of an earlier holder would keep the addresses in use.
            for one in daemons.units(cloud):
                if one.spec.door:
                    daemons.kill(cloud, one)
            holder.start(cloud)
        daemons.up(cloud)
        if options.image:
            guests.make_key(cloud)
            guests.register(cloud, options.image)
    say(f"cloud '{cloud.name}' is up at {cloud.loopback}")
    if not term.quiet:
        print(f'eval "$(tools/cloud env --name {cloud.name})"', file=sys.stderr)


def env(options):
    print(guests.shell_lines(model.need(options.name)), end="")


def aws(options):
    return guests.aws_foreground(model.need(options.name), options.words)


def execute(options):
    cloud = model.need(options.name)
    if not options.words:
        raise Failure("what should run there? tools/cloud exec HOST CMD...")
    return hosts.execute(cloud, options.host, options.words)


def ssh(options):
    return guests.ssh(model.need(options.name), options.instance, options.login, options.words)


def kill(options):
    cloud = model.need(options.name)
    with locked(cloud):
        if not daemons.kill(cloud, daemons.unit(cloud, options.daemon)):
            raise Failure(f"{options.daemon} does not run")


def start(options):
    cloud = model.need(options.name)
    with locked(cloud):
        if not daemons.start(cloud, daemons.unit(cloud, options.daemon)):
            say(f"{options.daemon} runs already")


def logs(options):
    cloud = model.need(options.name)
    path = daemons.log_path(cloud, daemons.unit(cloud, options.daemon))
    if not os.path.exists(path):
        raise Failure(f"{options.daemon} has not said anything yet")
    if options.follow:
        os.execvp("tail", ["tail", "-n", "100", "-F", path])
    with open(path, encoding="utf-8", errors="replace") as file:
        shutil.copyfileobj(file, sys.stdout)


def partition(options):
    cloud = model.need(options.name)
    with locked(cloud):
        hosts.partition(cloud, options.a, options.b)


def heal(options):
    cloud = model.need(options.name)
    with locked(cloud):
        hosts.heal(cloud)


def status(options):
    if options.all:
        with model.registry() as clouds:
            for name, entry in sorted(clouds.items()):
                print(f"{name}\t127.0.{entry['slot']}.1\t{entry['zones']} zones of {entry['nodes']} nodes\t"
                      f"{entry['state']}")
        return 0
    cloud = model.need(options.name)
    print(f"cloud {cloud.name}: {cloud.loopback}, state in {cloud.state}")
    dead = 0
    for host in cloud.hosts:
        alive = hosts.init_pid(cloud, host.name)
        print(f"  {host.name:<20} {host.underlay or host.public:<15} {'up' if alive else 'down'}")
        for one in daemons.units(cloud):
            if one.host.name != host.name:
                continue
            pid = daemons.running(cloud, one)
            answer = ""
            if pid and one.spec.status_port:
                code, text = net.get(cloud, host.name, "127.0.0.1", one.spec.status_port, "/readyz", 2)
                answer = "ready" if code == 200 else " ".join(text.split())[:100]
            dead += not pid
            print(f"    {one.name:<28} {'pid ' + str(pid) if pid else 'not running':<14} {answer}")
    return 1 if dead else 0


def down(options):
    cloud = model.load(options.name)
    if not cloud:
        if options.wipe:
            return
        raise Failure(f"there is no cloud '{options.name}'")
    term.require_root("tools/cloud down")
    with locked(cloud):
        daemons.down(cloud)
        pid = holder.running(cloud)
        if pid:
            proc.kill([pid])
        hosts.down(cloud)
        if options.wipe and os.path.isdir(cloud.state):
            if os.path.exists(cloud.path("cloud.json")):
                shutil.rmtree(cloud.state)
    shutil.rmtree(cloud.run, ignore_errors=True)
    if options.wipe:
        model.forget(cloud.name)
    say(f"cloud '{cloud.name}' is down" + (", nothing of it is left" if options.wipe else
                                            f"; its state stays in {cloud.state}"))


def parser():
    top = argparse.ArgumentParser(prog="tools/cloud", description=DESCRIPTION)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default=os.environ.get("MALLEE_CLOUD", "mallee"), help="of the cloud (mallee)")
    common.add_argument("--quiet", action="store_true", help="no progress")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name, body, text, *arguments):
        one = commands.add_parser(name, help=text, description=text, parents=[common])
        for words, options in arguments:
            one.add_argument(*words, **options)
        one.set_defaults(body=body)

    rest = (["words"], {"nargs": argparse.REMAINDER, "metavar": "CMD"})
    daemon = (["daemon"], {"metavar": "DAEMON", "help": "clc, walrus, cc:ZONE, sc:ZONE, nc:NODE, helper:NODE, "
                           "libvirtd:NODE"})
    command("up", up, "Brings a cloud up, or what is missing of it; returns when everything answers.",
            (["--zones"], {"type": int, "default": 1, "help": "how many (1)"}),
            (["--nodes"], {"type": int, "default": 1, "help": "in each zone (1)"}),
            (["--image"], {"choices": images.NAMES, "help": "also build, upload and register this image, and "
                           "import a key pair"}),
            (["--state"], {"metavar": "DIR", "help": f"directory of its state ({model.BASE}/NAME)"}),
            (["--no-build"], {"action": "store_true", "help": "use the programs that are installed in the state "
                              "directory"}))
    command("env", env, "Prints shell lines: endpoints, credentials and a function `aws` that uses them.")
    command("aws", aws, "Runs /usr/bin/aws against this cloud.", rest)
    command("exec", execute, "Runs a command on a host: ctl, zone-a, zone-a-storage, zone-a-node-1, outside.",
            (["host"], {"metavar": "HOST"}), rest)
    command("ssh", ssh, "Logs in to an instance from outside, with the test bed's key.",
            (["-l", "--login"], {"default": "root", "metavar": "USER", "help": "log in as (root)"}),
            (["instance"], {"metavar": "INSTANCE"}), rest)
    command("kill", kill, "Kills a daemon (SIGKILL).", daemon)
    command("start", start, "Starts a daemon again.", daemon)
    command("logs", logs, "Prints what a daemon said.", (["-f", "--follow"], {"action": "store_true"}), daemon)
    command("partition", partition, "Cuts host A off from host B (or from all) on both networks.",
            (["a"], {"metavar": "A"}), (["b"], {"metavar": "B", "nargs": "?"}))
    command("heal", heal, "Ends all partitions.")
    command("status", status, "Shows hosts and daemons; fails when one does not run.",
            (["--all"], {"action": "store_true", "help": "list the clouds of this machine"}))
    command("down", down, "Ends a cloud; its state stays unless --wipe.",
            (["--wipe"], {"action": "store_true", "help": "remove everything of it"}))
    return top


def body(argv):
    options = parser().parse_args(argv)
    term.quiet = options.quiet
    os.umask(0o022)
    return options.body(options)


def main(argv):
    return term.main(body, argv)
