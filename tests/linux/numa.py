# SPDX-License-Identifier: Apache-2.0
"""Two NUMA nodes across the hole below 4 GiB, and what a guest says of them."""

MIB = 1 << 20
NODES = (1536, 1536)
# Node 0 is memory of one kind, node 1 of another; CPU 0 and 2 are in node 0, CPU 1 and CPU 3, which is not there yet, in node 1.
OPTIONS = ("-object", f"memory-backend-ram,id=ram0,size={NODES[0]}M,host-nodes=0,policy=bind",
           "-object", f"memory-backend-memfd,id=ram1,size={NODES[1]}M,share=on",
           "-numa", "node,nodeid=0,cpus=0,cpus=2,memdev=ram0", "-numa", "node,nodeid=1,memdev=ram1",
           "-numa", "cpu,node-id=1,core-id=1", "-numa", "cpu,node-id=1,core-id=3", "-numa", "dist,src=0,dst=1,val=31")
SMP = "3,maxcpus=4,sockets=1,cores=4"

SCRIPT = """
echo "== nodes"
cd /sys/devices/system/node
for node in node*; do echo "$node cpus $(cat $node/cpulist) distance $(cat $node/distance)"; done
echo "== kib"; for node in node*; do sed -n 's/.*MemTotal: *\\([0-9]*\\) kB/\\1/p' $node/meminfo; done
echo "== srat"; dmesg | sed -n 's/.*SRAT: Node \\([0-9]*\\) PXM [0-9]* \\[mem \\(.*\\)\\]/\\1 \\2/p'
"""


def check(guest, ranges):
    """@ranges: (node, first byte, last byte) as the tables say them."""
    assert guest.section("nodes").splitlines() == [
        "node0 cpus 0,2 distance 10 31", "node1 cpus 1 distance 31 10"], guest.report()
    kib = [int(line) for line in guest.section("kib").split()]
    assert all(0.85 * size < have / 1024 <= size for have, size in zip(kib, NODES)), kib
    found = [(int(node), *(int(end, 16) for end in where.split("-")))
             for node, where in (line.split(" ", 1) for line in guest.section("srat").splitlines())]
    assert found == ranges
