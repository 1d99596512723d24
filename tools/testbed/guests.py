"""What a user would do by hand: upload an image, register it, import a key, find an address, log in."""
import json
import os
import shlex
import subprocess

from . import hosts, images
from .model import REGION, write_file
from .term import Failure, run, say

AWS = "/usr/bin/aws"
BUCKET = "mallee-images"
KEY_NAME = "testbed"
# service of the aws command -> variable with its endpoint
ENDPOINTS = {"ec2": "AWS_ENDPOINT_URL_EC2", "s3": "AWS_ENDPOINT_URL_S3", "s3api": "AWS_ENDPOINT_URL_S3",
             "iam": "AWS_ENDPOINT_URL_IAM", "sts": "AWS_ENDPOINT_URL_STS"}
# what is uploaded of an image, and how each is registered
PARTS = (("kernel", "vmlinux", ["--kernel-id", "true"]), ("ramdisk", "initrd.img", ["--ramdisk-id", "true"]))
SSH_OPTIONS = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
               "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10", "-F", "/dev/null"]


def key_file(cloud):
    return cloud.path("keys", f"{KEY_NAME}.pem")


def image_file(cloud):
    return cloud.path("image.json")


def registered(cloud):
    try:
        with open(image_file(cloud), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def credentials(cloud):
    """KEY=value lines that `mallee-admin init` printed."""
    try:
        with open(cloud.path("credentials"), encoding="utf-8") as file:
            pairs = [line.strip().removeprefix("export ").split("=", 1) for line in file if "=" in line]
    except FileNotFoundError:
        raise Failure(f"cloud '{cloud.name}' has no account yet; run: tools/cloud up --name {cloud.name}") from None
    return {k.strip(): shlex.split(v)[0] if v.strip() else "" for k, v in pairs if not k.lstrip().startswith("#")}


def variables(cloud):
    """What `env` prints."""
    made = credentials(cloud)
    ec2, s3 = f"http://{cloud.loopback}:8773", f"http://{cloud.loopback}:8777"
    found = {
        "AWS_ACCESS_KEY_ID": made["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": made["AWS_SECRET_ACCESS_KEY"],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL_EC2": ec2 + "/",
        "AWS_ENDPOINT_URL_S3": s3 + "/",
        "AWS_ENDPOINT_URL_STS": ec2 + "/",
        "EC2_URL": ec2 + "/services/compute",
        "S3_URL": s3 + "/",
        "TOKEN_URL": ec2 + "/services/Tokens",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "NO_PROXY": cloud.loopback,
        "no_proxy": cloud.loopback,
    }
    for name in ("EC2_CERT", "EC2_PRIVATE_KEY", "EUCALYPTUS_CERT", "EC2_USER_ID"):
        if made.get(name):
            found[name] = made[name]
    image = registered(cloud)
    if image:
        found["MALLEE_IMAGE"] = image["image"]
        found["MALLEE_KEY"] = KEY_NAME
        found["MALLEE_KEYFILE"] = key_file(cloud)
    return found


AWS_FUNCTION = """aws() {
	for _word in "$@"; do
		case $_word in
%s
		esac
	done
	echo "aws: this cloud has no such service" >&2
	return 2
}
"""


def shell_lines(cloud):
    found = variables(cloud)
    lines = [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
    cases = [f'\t\t{service}) command {AWS} --endpoint-url "${variable}" "$@"; return ;;'
             for service, variable in ENDPOINTS.items() if variable in found]
    return "\n".join(lines) + "\n" + AWS_FUNCTION % "\n".join(cases)


def environment(cloud):
    """For a child: our variables, and nothing of the caller's AWS configuration or proxies."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
    env.update(variables(cloud), AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
    return env


def aws_argv(cloud, words):
    found = variables(cloud)
    for word in words:
        if word in ENDPOINTS:
            if ENDPOINTS[word] not in found:
                break
            return [AWS, "--endpoint-url", found[ENDPOINTS[word]], *words]
    raise Failure(f"'aws {shlex.join(words)[:80]}' is for no service of this cloud; it has: "
                  f"{', '.join(s for s, v in ENDPOINTS.items() if v in found)}")


def aws(cloud, *words):
    """Output of an aws command, parsed."""
    text = run(*aws_argv(cloud, [*words, "--output", "json"]), env=environment(cloud), timeout=600)
    return json.loads(text) if text.strip() else None


def aws_foreground(cloud, words):
    if not os.path.exists(AWS):
        raise Failure(f"'{AWS}' is not installed; install it with: apt-get install -y awscli")
    return subprocess.run(aws_argv(cloud, words), env=environment(cloud), check=False).returncode


# -- image and key -------------------------------------------------------------------------------------

def make_key(cloud):
    path = key_file(cloud)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{KEY_NAME}@{cloud.name}", "-f", path)
    pairs = aws(cloud, "ec2", "describe-key-pairs")["KeyPairs"]
    if not any(pair["KeyName"] == KEY_NAME for pair in pairs):
        aws(cloud, "ec2", "import-key-pair", "--key-name", KEY_NAME, "--public-key-material",
            f"fileb://{path}.pub")
        say(f"key pair {KEY_NAME}")


def register(cloud, name):
    """Builds (or finds) an image, uploads and registers it once; remembers its ids."""
    directory = images.build(name)
    digest = os.path.basename(directory)
    known = registered(cloud)
    if known.get("digest") == digest:
        have = {i["ImageId"] for i in aws(cloud, "ec2", "describe-images")["Images"]}
        if {known["image"], known["kernel"], known["ramdisk"]} <= have:
            return known
    buckets = {b["Name"] for b in (aws(cloud, "s3api", "list-buckets") or {}).get("Buckets", [])}
    if BUCKET not in buckets:
        aws(cloud, "s3api", "create-bucket", "--bucket", BUCKET)
    ids = {"digest": digest, "name": name}
    for part, file, options in PARTS:
        upload(cloud, directory, digest, file)
        ids[part] = aws(cloud, "ec2", "register-image", "--name", f"{digest}-{part}", "--image-location",
                        f"{BUCKET}/{digest}/{file}", "--architecture", "x86_64", *options)["ImageId"]
    upload(cloud, directory, digest, "root.ext4")
    ids["image"] = aws(cloud, "ec2", "register-image", "--name", digest, "--image-location",
                       f"{BUCKET}/{digest}/root.ext4", "--architecture", "x86_64", "--root-device-name", "/dev/vda",
                       "--kernel-id", ids["kernel"], "--ramdisk-id", ids["ramdisk"])["ImageId"]
    write_file(image_file(cloud), json.dumps(ids, indent=1) + "\n")
    say(f"image {name}: {ids['image']} (kernel {ids['kernel']}, ramdisk {ids['ramdisk']})")
    return ids


def upload(cloud, directory, digest, file):
    say(f"uploading {file} ({os.path.getsize(os.path.join(directory, file)) >> 20} MiB)")
    run(*aws_argv(cloud, ["s3", "cp", "--only-show-errors", os.path.join(directory, file),
                          f"s3://{BUCKET}/{digest}/{file}"]), env=environment(cloud), timeout=900)


# -- logging in ----------------------------------------------------------------------------------------

def instance(cloud, instance_id):
    found = [i for r in aws(cloud, "ec2", "describe-instances", "--instance-ids", instance_id)["Reservations"]
             for i in r["Instances"]]
    if not found:
        raise Failure(f"there is no instance '{instance_id}'")
    return found[0]


def ssh_argv(cloud, address, user, words):
    return hosts.enter(cloud, "outside", "ssh", *SSH_OPTIONS, "-i", key_file(cloud), f"{user}@{address}", *words)


def ssh(cloud, instance_id, user, words):
    one = instance(cloud, instance_id)
    address = one.get("PublicIpAddress")
    if not address:
        raise Failure(f"instance '{instance_id}' is {one['State']['Name']} and has no public address")
    return subprocess.run(ssh_argv(cloud, address, user, words), check=False).returncode
