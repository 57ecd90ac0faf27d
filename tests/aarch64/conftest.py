# SPDX-License-Identifier: Apache-2.0
"""The ring of aarch64: its cases use what the linux ring has, in the machine of tests/rig/run --arch aarch64."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "linux"))
from guests import new_guest  # noqa: E402,F401
