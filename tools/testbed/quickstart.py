"""`tools/quickstart`: from a fresh clone to a guest that answers SSH, and what to do next.

It can be given again after it was interrupted: a file in the cloud's state tells that it was this command
that had begun.
"""
import argparse
import json
import os
import time
import types

from . import cli, guests, hosts, machine, model, term
from .model import write_file
from .term import Failure, run, say

TYPE = "t2.micro"

GO_ON = """
The cloud '{name}' is up and its first guest answers.

  instance      {instance}   {private} (private)   {public} (public, from host `outside`)
  EC2 endpoint  http://{loopback}:8773/     S3 endpoint  http://{loopback}:8777/
  key           {key}     secret: tools/cloud env{more}
  clone to SSH  {seconds:.0f} s in this run

Go on:
  eval "$(tools/cloud env{more})"                        # credentials, endpoints, and an `aws` that uses them
  aws ec2 describe-instances
  aws ec2 get-console-output --instance-id {instance} --output text
  tools/cloud ssh{more} {instance}           # root's shell in the guest
  aws ec2 run-instances --image-id $MALLEE_IMAGE --key-name $MALLEE_KEY --instance-type {type}
  aws ec2 stop-instances --instance-ids {instance}
  tools/cloud status{more}                                 # hosts and daemons; also: logs, kill, start, exec
  tools/cloud down --wipe{more}                            # ends it and leaves nothing
"""


def marker(cloud):
    return cloud.path("quickstart.json")


def begin(name, state):
    """A cloud that we may bring up: none of this name exists, or we had begun it."""
    cloud = model.load(name)
    more = "" if name == "mallee" else f" --name {name}"
    if cloud:
        try:
            with open(marker(cloud), encoding="utf-8") as file:
                begun = json.load(file)
        except (FileNotFoundError, ValueError):
            begun = None
        if begun is None or begun.get("done"):
            up = any(hosts.init_pid(cloud, h.name) for h in cloud.hosts)
            raise Failure(
                f"a cloud '{name}' {'is up' if up else 'exists'} already (state in {cloud.state}); use it: "
                f"eval \"$(tools/cloud env{more})\"; or end it: tools/cloud down --wipe{more}; "
                f"or make another beside it: tools/quickstart --name NAME")
        say("going on where the last quickstart was interrupted")
        return cloud, begun
    cloud = model.create(name, 1, 1, state)
    cloud.save()
    write_file(marker(cloud), "{}\n")
    return cloud, {}


def wait_state(cloud, instance_id, wanted, seconds):
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        one = guests.instance(cloud, instance_id)
        state = one["State"]["Name"]
        if state != last:
            say(f"{instance_id} is {state}")
            last = state
        if state == wanted:
            return one
        if state in ("terminated", "shutting-down") and wanted == "running":
            reason = one.get("StateReason", {})
            raise Failure(f"{instance_id} did not start: {reason.get('Code', '')} {reason.get('Message', '')}; "
                          f"see: tools/cloud logs nc:zone-a-node-1 --name {cloud.name}")
        time.sleep(0.5)
    raise Failure(f"{instance_id} is still {last} after {seconds} s; see: tools/cloud status --name {cloud.name}")


def wait_ssh(cloud, address, seconds):
    end = time.monotonic() + seconds
    said = "no answer"
    while time.monotonic() < end:
        try:
            return run(*guests.ssh_argv(cloud, address, "root", ["uname", "-sr"]), timeout=30).strip()
        except Failure as failure:
            said = str(failure).rpartition("failed: ")[2]
        time.sleep(0.5)
    raise Failure(f"{address} does not answer SSH after {seconds} s ({said}); the guest's console: "
                  f"tools/cloud aws --name {cloud.name} ec2 get-console-output --output text --instance-id ...")


def body(argv):
    parser = argparse.ArgumentParser(prog="tools/quickstart", description="Installs what is missing, builds Mallee, "
                                     "brings a cloud up on this machine, starts a guest and logs in to it.")
    parser.add_argument("--name", default="mallee", help="of the cloud (mallee)")
    parser.add_argument("--state", metavar="DIR", help=f"directory of its state ({model.BASE}/NAME)")
    options = parser.parse_args(argv)
    os.umask(0o022)
    term.require_root("tools/quickstart")
    machine.install_packages("build", "run")
    cloud, begun = begin(options.name, options.state)
    cli.up(types.SimpleNamespace(name=cloud.name, zones=cloud.zones, nodes=cloud.nodes, state=None, image="tiny",
                                 no_build=False))
    image = guests.registered(cloud)
    if "instance" not in begun:
        say(f"starting an instance of {image['image']}")
        made = guests.aws(cloud, "ec2", "run-instances", "--image-id", image["image"], "--instance-type", TYPE,
                          "--key-name", guests.KEY_NAME, "--client-token", f"quickstart-{cloud.slot}")
        begun["instance"] = made["Instances"][0]["InstanceId"]
        write_file(marker(cloud), json.dumps(begun) + "\n")
    instance = wait_state(cloud, begun["instance"], "running", 180)
    address = instance.get("PublicIpAddress")
    if not address:
        raise Failure(f"{begun['instance']} runs but has no public address")
    say(f"waiting for SSH at {address}")
    say(f"SSH: {wait_ssh(cloud, address, 180)}")
    write_file(marker(cloud), json.dumps(dict(begun, done=True)) + "\n")
    print(GO_ON.format(name=cloud.name, instance=begun["instance"], private=instance.get("PrivateIpAddress"),
                       public=address, loopback=cloud.loopback,
                       key=guests.variables(cloud)["AWS_ACCESS_KEY_ID"], type=TYPE,
                       more="" if cloud.name == "mallee" else f" --name {cloud.name}",
                       seconds=time.monotonic() - term.START))
    return 0


def main(argv):
    return term.main(body, argv)
