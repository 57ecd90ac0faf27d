# SPDX-License-Identifier: Apache-2.0
"""Two NUMA nodes of a VM with two CPUs and 512 MiB, and what a kernel says of them; numa.SCRIPT asks it. By ACPI, Linux
numbers nodes in the order in which it meets their CPUs."""

OPTIONS = ("-object", "memory-backend-ram,id=ram0,size=320M,host-nodes=0,policy=bind",
           "-object", "memory-backend-memfd,id=ram1,size=192M,share=on",
           "-numa", "node,nodeid=0,cpus=0,memdev=ram0", "-numa", "node,nodeid=1,memdev=ram1", "-numa", "cpu,node-id=1,core-id=1",
           "-numa", "dist,src=0,dst=1,val=31")
SMP = "2,sockets=1,cores=2,threads=1"


def check(guest):
    assert guest.section("nodes").splitlines() == [
        "node0 cpus 0 distance 10 31", "node1 cpus 1 distance 31 10"], guest.report()
    # The kernel keeps some for itself.
    have = [int(line) / 1024 for line in guest.section("kib").split()]
    assert 240 < have[0] <= 320 and 140 < have[1] <= 192, have
