# SPDX-License-Identifier: Apache-2.0
"""virtio-net by a driver that runs at native speed (tests/guest/net_bench.c), on a tap in a network namespace of its own. QEMU
moves frames in its main loop, as it does by default; ours there as well, or in an iothread."""

import os
import re
import subprocess
import sys

import peers

sys.path.append(os.path.join(peers.TOP, "tests", "device"))
import tap  # noqa: E402

WIRE = os.path.join(peers.TOP, "build", "bench", "wire")
VHOST = "/dev/vhost-net"


def card(peer, fd, iothread, vhost):
    words = ["-netdev", f"tap,id=n0,fd={fd}" + (",vhost=on" if vhost else "")]
    thread = iothread and peer == peers.OURS
    return [*words, *(["-object", "iothread,id=io0"] if thread else []),
            "-device", "virtio-net-device,netdev=n0" + (",iothread=io0" if thread else "")]


def run(peer, folder, append, wire, iothread=False, vhost=False):
    """What the guest printed, and the other end of its cable. @wire: what that end does, or None."""
    cable = tap.Tap(folder)
    other = None
    try:
        if wire:
            other = subprocess.Popen([WIRE, wire, str(cable.cable.fileno())], pass_fds=[cable.cable.fileno()],
                                     stdout=subprocess.PIPE, text=True)
        else:
            cable.cable.close()  # or it would have a copy of each frame
        words = peers.command(peer, f"test=net-bench {append}", *card(peer, cable.fds[0], iothread, vhost))
        output = peers.run_to_end(words, fds=[cable.fds[0]])
        if other:
            output += other.communicate(timeout=peers.LIMIT)[0]
            if other.returncode:
                sys.exit(f"bench: the other end of the cable: {other.returncode}")
        return output
    finally:
        if other:
            other.kill()
            other.wait()
            other.stdout.close()
        cable.close()


def figure(pattern, append, wire, **how):
    def measure(peer, folder):
        return int(re.search(pattern, run(peer, folder, append, wire, **how))[1])

    return measure


def tx(size, what="pps", **how):
    return figure(rf"BENCH net-tx .*{what}=(\d+)", f"how=tx size={size}", None, **how)


def rx(size, what="pps", **how):
    return figure(rf"BENCH net-rx .*{what}=(\d+)", f"how=rx size={size}", "blast", **how)


def tx_cpu(peer, folder):
    """Microseconds of processor time a frame, the guest's part included."""
    before = os.times()
    frames = tx(64, "frames")(peer, folder)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) * 1e6 / frames


def ping(what="p50", **how):
    return figure(rf"ping .*{what}=(\d+)", "how=echo", "ping", **how)


PAIR = (peers.OURS, peers.PEER)


def kinds(suffix, **how):
    return {
        f"net-tx-64{suffix}": ("frames of 64 bytes sent", "1/s", True, tx(64, **how), PAIR),
        f"net-tx-1500{suffix}": ("frames of 1514 bytes sent", "1/s", True, tx(1514, **how), PAIR),
        f"net-tx-64k{suffix}": ("64 KiB of TCP sent in one piece", "MB/s", True, tx(65000, "MBps", **how), PAIR),
        f"net-rx-64{suffix}": ("frames of 64 bytes received", "1/s", True, rx(64, **how), PAIR),
        f"net-rx-1500{suffix}": ("frames of 1514 bytes received", "1/s", True, rx(1514, **how), PAIR),
        f"net-rx-64k{suffix}": ("64 KiB of TCP received in one piece", "MB/s", True, rx(65000, "MBps", **how), PAIR),
        f"net-ping{suffix}": ("round trip of a frame, the guest asleep in between", "ns", False, ping(**how), PAIR),
    }


def said(more, measures):
    return {name: (f"{what}, {more}", *rest) for name, (what, *rest) in measures.items()}


MEASURES = {
    **kinds(""),
    "net-tx-cpu": ("64 bytes sent: processor time a frame", "µs", False, tx_cpu, PAIR),
    **said("ours in an iothread", kinds("-iothread", iothread=True)),
    **(said("vhost-net", kinds("-vhost", vhost=True)) if os.path.exists(VHOST) else {}),
}
