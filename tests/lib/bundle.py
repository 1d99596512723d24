"""Bundles of images as euca2ools makes them: tar, gzip, AES-128-CBC, parts of 10 MiB, a signed manifest.

    bundle = Bundle.of(content, "disk", account, user_key, user_cert, cloud_cert)
    for name, part in bundle.parts: ...upload...
    manifest = bundle.manifest()

Everything can be made wrong: change `bundle.tar`, `bundle.fields`, `bundle.parts` in between.
"""
import base64
import gzip
import hashlib
import hmac
import io
import os
import subprocess
import tarfile
import tempfile
import email.utils

PART_BYTES = 10 << 20


def openssl(*words, data=b""):
    done = subprocess.run(["openssl", *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_certificate(directory, name):
    """A key pair of somebody: paths of key and certificate."""
    key, certificate = (os.path.join(directory, f"{name}-{kind}.pem") for kind in ("key", "cert"))
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "30", "-keyout", key,
            "-out", certificate)
    return key, certificate


def tar_of(*members):
    """A tar archive of (name, content) in that order; content may be a TarInfo made by the caller."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def wrap(text, certificate):
    """RSA PKCS#1 v1.5 of hex text, as hex."""
    return openssl("pkeyutl", "-encrypt", "-certin", "-inkey", certificate, "-pkeyopt", "rsa_padding_mode:pkcs1",
                   data=text.encode()).hex()


def sign(text, key):
    with tempfile.NamedTemporaryFile() as file:
        file.write(hashlib.sha1(text.encode()).digest())
        file.flush()
        return openssl("pkeyutl", "-sign", "-inkey", key, "-pkeyopt", "digest:sha1", "-in", file.name).hex()


class Bundle:
    def __init__(self, name, account, user_key, user_cert, cloud_cert, kind="machine"):
        self.name, self.user_key, self.user_cert, self.cloud_cert = name, user_key, user_cert, cloud_cert
        self.key, self.iv = os.urandom(16), os.urandom(16)
        self.fields = {"architecture": "x86_64", "kernel_id": None, "ramdisk_id": None, "user": account, "type": kind}
        self.mappings = {}  # virtual name -> device
        self.tar, self.parts, self.size, self.bundled_size = b"", [], 0, 0
        self.part_digests, self.version = {}, "2007-10-10"
        if kind in ("kernel", "ramdisk"):
            self.fields[kind + "_id"] = "true"

    @classmethod
    def of(cls, content, name, account, user_key, user_cert, cloud_cert, kind="machine", **words):
        self = cls(name, account, user_key, user_cert, cloud_cert, kind)
        self.size = len(content)
        self.pack(tar_of((name, content)), **words)
        return self

    def pack(self, tar, part_bytes=PART_BYTES, compressed=None):
        self.tar = tar
        encrypted = openssl("enc", "-e", "-aes-128-cbc", "-K", self.key.hex(), "-iv", self.iv.hex(),
                            data=gzip.compress(tar, 6) if compressed is None else compressed)
        pieces = [encrypted[i:i + part_bytes] for i in range(0, len(encrypted), part_bytes)]
        self.parts = [(f"{self.name}.part.{i:0{len(str(len(pieces)))}}", piece) for i, piece in enumerate(pieces)]
        self.bundled_size = len(encrypted)

    def manifest(self, pretty=False):
        f = self.fields
        machine = "<machine_configuration>" + "".join(
            f"<{n}>{f[n]}</{n}>" for n in ("architecture", "kernel_id", "ramdisk_id") if f[n])
        if self.mappings:
            machine += "<block_device_mapping>" + "".join(
                f"<mapping><device>{d}</device><virtual>{v}</virtual></mapping>"
                for v, d in sorted(self.mappings.items())) + "</block_device_mapping>"
        machine += "</machine_configuration>"
        image = (f"<image><name>{self.name}</name><user>{f['user']}</user>"
                 f"<digest algorithm=\"SHA1\">{hashlib.sha1(self.tar).hexdigest()}</digest><size>{self.size}</size>"
                 f"<bundled_size>{self.bundled_size}</bundled_size><type>{f['type']}</type>")
        for who, certificate in (("ec2", self.cloud_cert), ("user", self.user_cert)):
            image += (f"<{who}_encrypted_key algorithm=\"AES-128-CBC\">{wrap(self.key.hex(), certificate)}"
                      f"</{who}_encrypted_key>")
        for who, certificate in (("ec2", self.cloud_cert), ("user", self.user_cert)):
            image += f"<{who}_encrypted_iv>{wrap(self.iv.hex(), certificate)}</{who}_encrypted_iv>"
        image += f"<parts count=\"{len(self.parts)}\">"
        for i, (name, part) in enumerate(self.parts):
            digest = self.part_digests.get(i) or hashlib.sha1(part).hexdigest()
            image += (f"<part index=\"{i}\"><filename>{name}</filename><digest algorithm=\"SHA1\">{digest}</digest>"
                      "</part>")
        image += "</parts></image>"
        signature = sign(machine + image, self.user_key)
        text = (f"<manifest><version>{self.version}</version><bundler><name>euca2ools</name><version>3.4.1</version>"
                f"<release>0</release></bundler>{machine}{image}<signature>{signature}</signature></manifest>")
        return text.replace("><", ">\n  <").encode() if pretty else text.encode()


def v1_headers(method, path, keys, headers=None):
    """What euca2ools signs S3 requests with: version 1, HMAC-SHA1 of method, date, x-amz headers and path."""
    headers = dict(headers or {})
    headers["Date"] = email.utils.formatdate()  # "... -0000"
    amazon = "".join(f"{k.lower()}:{v}\n" for k, v in sorted(headers.items()) if k.lower().startswith("x-amz-"))
    text = "\n".join([method, headers.get("Content-MD5", ""), headers.get("Content-Type", ""), headers["Date"],
                      amazon + path])
    mac = base64.b64encode(hmac.new(keys[1].encode(), text.encode(), hashlib.sha1).digest()).decode()
    headers["Authorization"] = f"AWS {keys[0]}:{mac}"
    return headers
