# SPDX-License-Identifier: Apache-2.0
"""Network cards at native speed: the guest is both ends of a cable and looks at every frame (net.c). That it gets to the end is
what shows that no wake-up is lost, on either side, whoever handles the queues."""

import os
import re
import select
import sys
import threading

import pytest

import vmm
from vmm import run

sys.path.append(os.path.join(vmm.TOP, "tests", "device"))
import tap  # noqa: E402

pytestmark = pytest.mark.skipif(vmm.QEMU, reason="only promised by our own VMM")

# A VMM that is watched or instrumented shows the same with fewer.
SLOWED = "SV_TRACES" in os.environ or "tsan" in vmm.STRATOVIRT
THREADS = {
    "main": ("", ""),
    "iothreads": (",iothread=a", ",iothread=b"),
    "rx-and-tx-iothreads": (",rx-iothread=a,tx-iothread=b", ",iothread=c,tx-iothread=a"),
}


def cards(kind, *netdevs):
    words = [word for name in "abc" for word in ("-object", f"iothread,id={name}")]
    for i, netdev in enumerate(netdevs):
        words += ["-netdev", netdev, "-device", f"virtio-net-device,netdev=n{i},id=net{i}{THREADS[kind][i]}"]
    return words


def slowed(words):
    return re.sub(r"(?<=frames=)\d+", lambda found: str(int(found[0]) // 20), words) if SLOWED else words


@pytest.mark.parametrize("events", (0, 1), ids=("flags", "event-idx"))
@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("shape", ("frames=40000", "frames=8000 size=16000 depth=16"), ids=("frames", "large-frames"))
def test_a_socket_as_cable(tmp_path, shape, kind, events):
    """Large ones fill the socket, so that sending waits as well."""
    where = f"addr.type=unix,addr.path={tmp_path}/cable"
    run(f"test=net events={events} {slowed(shape)}",
        *cards(kind, f"stream,id=n0,server=on,{where}", f"stream,id=n1,{where}"), timeout=300)


def relay(ends, stop):
    """From each tap to the other, as a bridge would."""
    while True:
        ready, _, _ = select.select([*ends, stop], [], [])
        if stop in ready:
            return
        for end in ready:
            try:
                while True:
                    frame = end.recv(1 << 16)
                    ends[end is ends[0]].send(frame)
            except BlockingIOError:
                pass


@pytest.mark.parametrize("kind", THREADS)
def test_taps_as_cable(tmp_path, kind):
    taps = [tap.Tap(tmp_path), tap.Tap(tmp_path)]
    words = cards(kind, *[f"tap,id=n{i},fd={one.fds[0]}" for i, one in enumerate(taps)])
    stop, told = os.pipe()
    thread = threading.Thread(target=relay, args=([one.cable for one in taps], stop))
    thread.start()
    try:
        run(slowed("test=net frames=20000 events=1 window=32"), *words, fds=[one.fds[0] for one in taps], timeout=300)
    finally:
        os.write(told, b"x")
        thread.join()
        for fd in (stop, told):
            os.close(fd)
        for one in taps:
            one.close()
