"""The helper's protocol (nc/helper_protocol.h) from Python: for tests."""
import array
import socket
import struct

from node import Fault, connect

VERBS = ["", "hello", "probe", "guest_start", "guest_stop", "guest_reboot", "guest_resume", "guest_cpus",
         "guest_screen", "guest_forget",
         "guest_list", "console", "vpc_put", "vpc_remove", "vpc_sockets", "nic_plug", "nic_unplug",
         "nic_counters", "nic_probe", "net_sweep"]
STATES = ["absent", "defined", "prepared", "running", "paused-io", "paused", "shut-down", "destroyed",
          "crashed", "failed"]
HEADER = struct.Struct("=IHHIII")
GUEST = struct.Struct("=20sIQ")
HEALTH = struct.Struct("=I16s256s128s")
EVENT_LIFECYCLE = 64
RAW, QCOW2 = 1, 2


def cstr(b):
    return b.split(b"\0")[0].decode()


def nic(index, vni, address, mac, public="0.0.0.0", prefix=20, groups=()):
    gateway = socket.inet_aton(address)[:3] + b"\1"
    return struct.pack("=II4s4s4s5I6sBB", index, vni, socket.inet_aton(address), gateway,
                       socket.inet_aton(public), *(list(groups) + [0] * (5 - len(groups))),
                       bytes.fromhex(mac.replace(":", "")), prefix, len(groups))


NIC_SIZE = len(nic(1, 1, "10.0.0.5", "02:00:00:00:00:01"))


def nics(items):
    return b"".join(items).ljust(4 * NIC_SIZE, b"\0")


def image(digest=None, fmt=RAW):
    return bytes.fromhex(digest) + bytes([fmt]) if digest else bytes(33)


def guest_spec(instance, generation, base, kernel=None, ramdisk=None, arguments="", vcpus=1,
               memory=192, ephemeral=0, interfaces=(), base_format=RAW, shares=None, pinned=()):
    body = struct.pack("=20sIQII", instance.encode(), vcpus, generation, memory, len(interfaces))
    body += image(base, base_format) + image(kernel) + image(ramdisk)
    body += bytes([ephemeral, bool(pinned)])
    body = body.ljust((len(body) + 3) // 4 * 4, b"\0") + struct.pack("=I", shares or vcpus * 1024) + cpus(pinned)
    body += nics(interfaces)
    body += arguments.encode().ljust(1024, b"\0")
    return body.ljust((len(body) + 7) // 8 * 8, b"\0")


def cpus(numbers):
    """A set of the host's processors."""
    return sum(1 << n for n in numbers).to_bytes(128, "little")


def guest_cpus(instance, numbers):
    return struct.pack("=20s", instance.encode()) + cpus(numbers)


def guest_stop(instance, force=False, grace_ms=20000, interfaces=()):
    return struct.pack("=20sIII", instance.encode(), force, grace_ms, len(interfaces)) + nics(interfaces)


class Helper:
    def __init__(self, path):
        self.socket = connect(path)
        self.serial = 0
        self.events = []

    def close(self):
        self.socket.close()

    def _receive(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise EOFError("the helper closed the connection")
            data += piece
        return data

    def _frame(self):
        fds = array.array("i")
        head, control, _, _ = self.socket.recvmsg(HEADER.size, socket.CMSG_SPACE(4 * 4))
        if not head:
            raise EOFError("the helper closed the connection")
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data)
        head += self._receive(HEADER.size - len(head))
        _, _, verb, serial, length, is_error = HEADER.unpack(head)
        return verb, serial, is_error, self._receive(length), list(fds)

    def send(self, verb, payload=b""):
        self.serial += 1
        self.socket.sendall(HEADER.pack(0x6c616d6e, 2, VERBS.index(verb), self.serial, len(payload), 0)
                            + payload)
        return self.serial

    def reply(self, wanted):
        while True:
            verb, serial, is_error, payload, fds = self._frame()
            if serial == 0:
                self.events.append((verb, payload))
            elif serial == wanted:
                break
        if is_error:
            raise Fault(cstr(payload[:48]) + ": " + cstr(payload[48:]))
        return (payload, fds) if fds else payload

    def call(self, verb, payload=b""):
        return self.reply(self.send(verb, payload))

    def health(self):
        degraded, hypervisor, reason, _ = HEALTH.unpack(self.call("probe"))
        return bool(degraded), cstr(hypervisor), cstr(reason)

    def guests(self):
        payload = self.call("guest_list")
        count, = struct.unpack_from("=I", payload)
        found = {}
        for i in range(count):
            name, state, generation = GUEST.unpack_from(payload, 8 + i * GUEST.size)
            found[cstr(name)] = (STATES[state], generation)
        return found

    def wait_event(self, instance, state):
        while True:
            for verb, payload in self.events:
                if verb == EVENT_LIFECYCLE:
                    name, s, _ = GUEST.unpack(payload)
                    if cstr(name) == instance and STATES[s] == state:
                        return
            self.events.clear()
            verb, serial, _, payload, _ = self._frame()
            if serial == 0:
                self.events.append((verb, payload))

    def ref(self, verb, instance):
        return self.call(verb, instance.encode().ljust(20, b"\0"))
