"""Pictures of a guest's screen: what is on it, who may reach it, and guests that have none to show."""
import base64
import os
import struct

import pytest

from helper_client import Fault
from test_controller import end

FIRST = "i-0123456789abcde35"
SECOND = "i-0123456789abcde36"


def picture(c, instance, wake="false"):
    reply = c.call("GetConsoleScreenshot", f"<instanceId>{instance}</instanceId><wakeUp>{wake}</wakeUp>")
    return base64.b64decode(reply.findtext("image"))


def size_of(jpeg):
    """Width and height, from the frame's header."""
    at = 2
    while jpeg[at + 1] not in (0xc0, 0xc1, 0xc2):
        at += 2 + struct.unpack_from(">H", jpeg, at + 2)[0]
    height, width = struct.unpack_from(">HH", jpeg, at + 5)
    return width, height


def test_a_picture_of_what_runs(controller):
    c = controller
    c.put_vpc()
    c.put(FIRST)
    c.wait_state(FIRST, "running")
    c.wait_console(FIRST, b"TINY userspace")
    jpeg = picture(c, FIRST)
    assert jpeg[:3] == b"\xff\xd8\xff" and len(jpeg) < 1 << 20
    width, height = size_of(jpeg)
    assert width >= 640 and height >= 400
    # A black one of that size packs to a byte for some hundred pixels; SeaBIOS and the kernel have written on it.
    assert len(jpeg) > width * height / 60
    assert size_of(picture(c, FIRST, wake="true")) == (width, height)


def test_the_screen_is_at_a_socket_of_the_guests_user(controller):
    c = controller
    directory = c.node.path("helper-run/screens")
    assert os.listdir(directory) == [f"{FIRST}.sock"]
    assert os.stat(directory).st_mode & 0o777 == 0o700
    # Neither a port nor anything else listens for it.
    assert "qemu" not in c.node.run("ss", "-Hltnp", check=False)


def test_guests_that_do_not_run(controller):
    c = controller
    with pytest.raises(Fault, match="NOT_FOUND"):
        picture(c, SECOND)
    c.put(FIRST, wanted="stopped", force=True)
    c.wait_state(FIRST, "stopped")
    with pytest.raises(Fault, match="CONFLICT"):
        picture(c, FIRST)
    end(c, FIRST)
    assert os.listdir(c.node.path("helper-run/screens")) == []
