# SPDX-License-Identifier: Apache-2.0
"""What leaving the guest costs (tests/guest/exits_bench.c)."""

import re

import block
import peers


def way_out(name):
    def measure(peer, folder):
        output = peers.run_to_end(peers.command(peer, "test=exits-bench", *peers.disk(peer, block.image_of(folder))))
        return int(re.search(rf"BENCH exit-{name} ns=(\d+)", output)[1])

    return measure


PAIR = (peers.OURS, peers.PEER)
MEASURES = {
    "exit-mmio": ("a register read by MMIO", "ns", False, way_out("mmio"), PAIR),
    "exit-port": ("a port read", "ns", False, way_out("port"), PAIR),
    "exit-notify-polled": ("request by ioeventfd to an iothread, completion polled for", "ns", False, way_out("notify-polled"), PAIR),
    "exit-notify-irq": ("the same, completion by irqfd to a CPU asleep", "ns", False, way_out("notify-irq"), PAIR),
}
