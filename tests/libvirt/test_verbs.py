# SPDX-License-Identifier: Apache-2.0
"""Which test shows which verb of virsh: a table to tick off, and the proof that it does not lie.

test_native runs on every KVM with a guest of ours; test_linux (x86_64) and test_aarch64 in the rig with stock Debian kernels."""

import ast
import os

import pytest

HERE = os.path.dirname(os.path.realpath(__file__))

# verb: the tests that use it, module::function; "fixture" in the place of a function is how the module's VMs come and go.
VERBS = {
    "attach-device": ["test_linux::test_a_device_described_in_a_file_comes_and_goes"],
    "attach-disk": ["test_native::test_a_disk_comes_and_its_going_waits_for_the_guest", "test_linux::test_a_disk_comes_and_grows_and_goes"],
    "attach-interface": ["test_native::test_a_card_comes", "test_linux::test_a_card_comes_and_goes"],
    "autostart": ["test_native::test_autostart"],
    "blkdeviotune": ["test_native::test_throttling"],
    "blockresize": ["test_native::test_a_disk_comes_and_its_going_waits_for_the_guest", "test_linux::test_a_disk_comes_and_grows_and_goes"],
    "capabilities": ["test_capabilities::test_where_it_is_the_emulator_of_the_host"],
    "console": ["linux_vm::Console", "test_linux::test_the_console_has_a_login", "test_linux::test_the_console_is_left_and_found_again",
                "test_aarch64::Guest"],
    "create": ["test_native::test_create_and_undefine", "test_elements::create", "test_elements::test_autodestroy"],
    "define": ["libvirt_vm::define", "test_native::test_what_is_dumped_defines_the_same"],
    "destroy": ["test_native::test_destroy_ends_the_process_at_once"],
    "detach-device": ["test_linux::test_a_device_described_in_a_file_comes_and_goes"],
    "detach-disk": ["test_linux::test_a_disk_comes_and_grows_and_goes"],
    "detach-interface": ["test_native::test_detaching_waits_for_the_guest", "test_linux::test_a_card_comes_and_goes"],
    "domblkinfo": ["test_native::test_statistics"],
    "domblklist": ["test_linux::test_a_disk_comes_and_grows_and_goes"],
    "domblkstat": ["test_native::test_statistics", "test_linux::test_block_statistics_count_what_the_guest_does"],
    "domcapabilities": ["test_capabilities::domain_capabilities", "test_aarch64::test_capabilities"],
    "domif-getlink": ["test_native::test_the_cable"],
    "domif-setlink": ["test_native::test_the_cable", "test_linux::test_the_guest_sees_the_cable"],
    "domiflist": ["test_native::test_a_card_comes"],
    "domifstat": ["test_native::test_statistics", "test_linux::test_the_guest_reaches_the_host_by_both_cards"],
    "dominfo": ["test_native::test_virsh_knows_what_runs"],
    "dommemstat": ["test_native::test_statistics", "test_linux::test_statistics_of_the_guests_memory"],
    "domstate": ["test_native::test_a_process_that_dies_is_a_crash", "test_linux::test_a_panic_is_a_crash"],
    "domstats": ["test_native::test_statistics", "test_linux::test_statistics_of_the_guests_memory"],
    "dumpxml": ["test_native::test_what_is_dumped_defines_the_same"],
    "event": ["test_native::test_events_are_told", "test_linux::Events"],
    "iothreadadd": ["test_native::test_iothreads_come_and_go"],
    "iothreaddel": ["test_native::test_iothreads_come_and_go"],
    "iothreadinfo": ["test_native::test_virsh_knows_what_runs"],
    "list": ["test_native::test_virsh_knows_what_runs"],
    "qemu-monitor-command": ["test_native::test_the_monitor_is_ours"],
    "reboot": ["test_linux::test_it_starts_again"],
    "reset": ["test_native::test_reset_keeps_it_running", "test_linux::test_it_starts_again"],
    "resume": ["test_native::test_suspend_and_resume", "test_linux::test_suspended_it_says_nothing", "test_aarch64::test_suspend_and_resume"],
    "save": ["test_native::test_what_we_do_not_have_fails_with_libvirts_own_error"],
    "setmem": ["test_native::test_memory_balloon_is_asked", "test_linux::test_the_balloon_takes_memory_and_gives_it_back"],
    "setvcpus": ["test_linux::test_a_cpu_comes_and_goes", "test_linux::test_the_cpus_of_the_start_stay"],
    "shutdown": ["test_linux::test_the_guest_heeds_the_power_button",
                 "test_aarch64::test_the_guest_heeds_the_power_button_and_all_of_it_goes"],
    "start": ["conftest::domain", "test_native::test_flash_with_variables_of_its_own", "test_linux::start", "test_aarch64::guest"],
    "suspend": ["test_native::test_suspend_and_resume", "test_linux::test_suspended_it_says_nothing", "test_aarch64::test_suspend_and_resume"],
    "undefine": ["test_native::test_flash_with_variables_of_its_own", "test_linux::test_the_whole_example",
                 "test_aarch64::test_the_guest_heeds_the_power_button_and_all_of_it_goes"],
    "vcpucount": ["test_linux::test_a_cpu_comes_and_goes"],
    "vcpuinfo": ["test_native::test_virsh_knows_what_runs"],
}


def definition(place):
    """The class or function that module::name names."""
    module, name = place.split("::")
    with open(os.path.join(HERE, module + ".py")) as f:
        tree = ast.parse(f.read())
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name]
    assert len(found) == 1, f"{place}: {len(found)} of that name"
    return found[0]


def words(node):
    return {inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant) and isinstance(inner.value, str)}


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_is_used_where_the_table_says(verb):
    for place in VERBS[verb]:
        used = verb in words(definition(place))
        # Or by one of the tests' own parameters or helpers, which are places themselves.
        assert used or any(verb in words(decorator) for decorator in definition(place).decorator_list) or \
            any(verb in words(definition(helper)) for helper in VERBS[verb] if helper != place), f"{place} does not say {verb}"


def test_the_verbs_of_the_documentation_are_in_the_table():
    with open(os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "libvirt.md")) as f:
        text = f.read()
    table = text[text.index("| virsh | |"):text.index("What libvirt asks for and is not there")]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    named = {word.split()[0] for row in rows for word in row.split("|")[1].split("`")[1::2]}
    assert named - set(VERBS) == set() and len(named) > 30
