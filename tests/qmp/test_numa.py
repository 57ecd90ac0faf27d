# SPDX-License-Identifier: Apache-2.0
"""-numa: what is refused and why, and what QMP says of nodes and their memory."""

import subprocess

import pytest

import client
from client import QmpError

MIB = 1 << 20
HALF = ("-object", "memory-backend-ram,id=m0,size=64M", "-object",
        '{"qom-type":"memory-backend-memfd","id":"m1","size":67108864,"prealloc":true,"dump":false}')
TWO = ("-numa", "node,cpus=0-1,mem=64M", "-numa", "node,cpus=2,cpus=3,mem=64M")


@pytest.mark.parametrize("options, text", (
    ("nod,mem=128M", "-numa nod: one of node, cpu, dist has to come first"),
    ("node,mem=100M", "the nodes have 100M of memory together, -m says 128M"),
    ("node", "the nodes have 0 of memory together, -m says 128M"),
    ("node,mem=1234567B node", "mem=1234567B is not a multiple of 1M"),
    ("node,memdev=m2", "memdev=m2: there is no memory-backend with this id; did you mean 'm0'?"),
    ("node,memdev=m0 node,memdev=m0", "memdev=m0 is another node's memory already"),
    ("node,memdev=m0 node,mem=64M", "node,nodeid=1: mem= does not go with the memdev= of other nodes"),
    ("node,memdev=m0,mem=64M", "mem and memdev exclude each other"),
    ("node,nodeid=1,mem=128M", "node 0 is missing: 1 nodes have the numbers 0 to 0"),
    ("node,nodeid=0,mem=128M node,nodeid=0", "nodeid=0 is given twice"),
    ("node,nodeid=128,mem=128M", "nodeid=128 is out of range [0, 127]"),
    ("node,mem=128M,cpus=0-1 node,cpus=1", "CPU 1 is in node 0 already, it cannot be in node 1, too"),
    ("node,mem=128M,cpus=4", "cpus=4: CPU 4 is out of range [0, 3]"),
    ("node,mem=128M,cpus=a", "cpus=a is not of the form 0-3:8"),
    ("node,mem=128M cpu,node-id=1", "there is no node 1"),
    ("node,mem=128M cpu,socket-id=0", "'node-id' is required"),
    ("node,mem=128M cpu,node-id=0,socket-id=7", "no CPU is there"),
    ("node,mem=128M node,cpus=0 cpu,node-id=0,core-id=0", "CPU 0 is in node 1 already"),
    ("cpu,node-id=0", "there is no -numa node"),
    ("node,mem=128M node dist,src=0,dst=1,val=9", "val=9 is out of range [10, 255]"),
    ("node,mem=128M node dist,src=0,dst=1,val=256", "val=256 is out of range [10, 255]"),
    ("node,mem=128M node dist,src=0,dst=1,val=10", "val=10 is out of range: [11, 255] between two nodes"),
    ("node,mem=128M node dist,src=1,dst=1,val=20", "val=20 is out of range: a node is 10 from itself"),
    ("node,mem=128M node dist,src=0,dst=2,val=20", "there is no node 2"),
    ("node,mem=128M node dist,src=0,dst=1", "'val' is required"),
    ("node,mem=128M node node dist,src=0,dst=1,val=20", "dist,src=0,dst=2: missing: with one distance, all are needed"),
    ("node,mem=128M node node dist,src=0,dst=1,val=20 dist,src=1,dst=0,val=30 dist,src=0,dst=2,val=40 dist,src=2,dst=1,val=40",
     "dist,src=1,dst=2: missing: two nodes are not as far there as back"),
))
def test_what_is_refused(options, text):
    words = [word for option in options.split() for word in ("-numa", option)]
    done = subprocess.run([client.STRATOVIRT, "-machine", "none", "-m", "128", "-smp", "4", *HALF, *words],
                          capture_output=True, text=True, timeout=client.LIMIT)
    assert done.returncode == 1 and text in done.stderr, done.stderr


@pytest.mark.parametrize("options, text", (
    (("-machine", "none,memory-backend=m1"), "-machine memory-backend= and -numa node,memdev= exclude each other"),
    (("-machine", "none", "-mem-prealloc"), "-mem-prealloc does not go with -numa node,memdev="),
    (("-machine", "none,mem-share=on"), "-machine mem-share=on does not go with -numa node,memdev="),
    (("-machine", "none", "-mem-path", "/dev/shm"), "-mem-path does not go with -numa node,memdev="),
))
def test_memory_is_said_once(options, text):
    done = subprocess.run([client.STRATOVIRT, "-m", "128", *HALF, "-numa", "node,memdev=m0", "-numa", "node,memdev=m1", *options],
                          capture_output=True, text=True, timeout=client.LIMIT)
    assert done.returncode == 1 and text in done.stderr, done.stderr


def nodes(answer):
    return [entry["props"]["node-id"] for entry in answer]


def test_queries(tmp_path):
    with client.VM(tmp_path, "-smp", "3,maxcpus=4", *HALF, "-numa", "node,memdev=m0", "-numa", "node,memdev=m1,cpus=1:3") as vm, \
            vm.connect() as q:
        assert nodes(q.run("query-cpus-fast")) == [0, 1, 0]
        assert sorted(nodes(q.run("query-hotpluggable-cpus"))) == [0, 0, 1, 1]
        assert q.run("human-monitor-command", command_line="info numa").split("\r\n") == [
            "2 nodes", "node 0 cpus: 0 2", "node 0 size: 64 MB", "node 0 plugged: 0 MB",
            "node 1 cpus: 1", "node 1 size: 64 MB", "node 1 plugged: 0 MB", ""]
        common = {"size": 64 * MIB, "merge": False, "reserve": True, "host-nodes": [], "policy": "default"}
        assert q.run("query-memdev") == [
            {"id": "m0", "dump": True, "prealloc": False, "share": False, **common},
            {"id": "m1", "dump": False, "prealloc": True, "share": True, **common}]
        for name in ("m0", "m1"):
            with pytest.raises(QmpError, match="in use"):
                q.run("object-del", id=name)
        # One slot each: no node begins before the other one ends.
        assert q.run("human-monitor-command", command_line="info mtree").split("\r\n")[:4] == [
            "RAM", "  0000000000000000-0000000003ffffff: ram", "  0000000004000000-0000000007ffffff: ram", "MMIO"]


def test_parts_of_one_memory(tmp_path):
    with client.VM(tmp_path, "-smp", "4", *TWO) as vm, vm.connect() as q:
        assert nodes(q.run("query-cpus-fast")) == [0, 0, 1, 1]
        assert q.run("query-memdev") == []


def test_without_a_word_sockets_take_turns(tmp_path):
    with client.VM(tmp_path, "-smp", "4,sockets=4,cores=1", "-numa", "node,mem=128M", "-numa", "node") as vm, vm.connect() as q:
        assert nodes(q.run("query-cpus-fast")) == [0, 1, 0, 1]


def test_without_nodes_there_are_none(qmp):
    assert "node-id" not in qmp.run("query-cpus-fast")[0]["props"]
    assert qmp.run("human-monitor-command", command_line="info numa") == "0 nodes\r\n"


def test_host_nodes_are_told(tmp_path):
    objects = ("-object", "memory-backend-ram,id=m0,size=64M,host-nodes=0,host-nodes=0,policy=bind", "-object",
               '{"qom-type":"memory-backend-ram","id":"m1","size":67108864,"host-nodes":[0],"policy":"interleave"}')
    with client.VM(tmp_path, *objects, "-numa", "node,memdev=m0", "-numa", "node,memdev=m1") as vm, vm.connect() as q:
        assert [(m["host-nodes"], m["policy"]) for m in q.run("query-memdev")] == [([0], "bind"), ([0], "interleave")]
        with open(f"/proc/{vm.process.pid}/numa_maps") as f:
            text = f.read()
        assert "bind:0" in text and "interleave:0" in text
