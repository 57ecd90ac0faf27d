# SPDX-License-Identifier: Apache-2.0
"""Requests in the rules of src/seccomp/rules.c that bare-metal guests, monitors and the test accelerator do not lead to."""

# These are made in the linux ring; tests/tools/check linux-log sees to it.
BY_LINUX_GUESTS = {
    "VHOST_SET_OWNER": "vhost-net, vhost-vsock",
    "VHOST_RESET_OWNER": "vhost-net, vhost-vsock",
    "VHOST_GET_FEATURES": "vhost-net, vhost-vsock",
    "VHOST_SET_FEATURES": "vhost-net, vhost-vsock",
    "VHOST_SET_MEM_TABLE": "vhost-net, vhost-vsock",
    "VHOST_SET_VRING_NUM": "vhost-net, vhost-vsock",
    "VHOST_SET_VRING_BASE": "vhost-net, vhost-vsock",
    "VHOST_GET_VRING_BASE": "vhost-net, vhost-vsock",
    "VHOST_SET_VRING_ADDR": "vhost-net, vhost-vsock",
    "VHOST_SET_VRING_KICK": "vhost-net, vhost-vsock",
    "VHOST_SET_VRING_CALL": "vhost-net, vhost-vsock",
    "VHOST_NET_SET_BACKEND": "vhost-net",
    "VHOST_VSOCK_SET_RUNNING": "vhost-vsock",
    "VHOST_VSOCK_SET_GUEST_CID": "vhost-vsock",
    "KVM_SET_GSI_ROUTING": "MSI-X vectors that somebody else sends",
    "KVM_SIGNAL_MSI": "MSI-X",
    "KVM_CREATE_VCPU": "a CPU that is plugged in",
    "KVM_SET_CPUID2": "a CPU that is plugged in",
}

OTHERS = {
    "TIOCGPGRP": "the terminal is given back at an end by the sandbox",
    "TIOCGWINSZ": "a terminal whose size changes",
    "KVM_SET_FPU": "hosts without XSAVE",
    "KVM_GET_NESTED_STATE": "hosts whose KVM nests",
    "KVM_SET_NESTED_STATE": "hosts whose KVM nests",
    "AF_INET6": "hosts with IPv6",
}
