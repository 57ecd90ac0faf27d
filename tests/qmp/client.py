# SPDX-License-Identifier: Apache-2.0
"""A VM with a monitor, and a QMP client that checks what every message must be."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
STRATOVIRT = os.environ.get("STRATOVIRT") or os.path.join(TOP, "build", "stratovirt")
GUEST_ELF = os.environ.get("GUEST_ELF") or os.path.join(TOP, "build", "guest", "guest.elf")
LIMIT = 30  # seconds that anything may take

# A VM that is started with one of these ignored leaves it so: these tests may run in the background of a shell, or under nohup.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


class QmpError(Exception):
    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.kind, self.desc = error["class"], error["desc"]


class Client:
    """One connection. Events are put aside as they come; see event()."""

    def __init__(self, address, negotiate=True):
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.settimeout(LIMIT)
        self.sock.connect(address)
        self.data = b""
        self.events = []
        self.greeting = self.message()
        assert list(self.greeting) == ["QMP"]
        if negotiate:
            assert self.run("qmp_capabilities") == {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def line(self):
        """The next line without its end, None at the end of the stream."""
        while b"\n" not in self.data:
            got = self.sock.recv(65536)
            if not got:
                assert not self.data, f"the stream ends inside of a message: {self.data!r}"
                return None
            self.data += got
        line, self.data = self.data.split(b"\n", 1)
        assert line.endswith(b"\r"), f"a message that does not end in CR LF: {line!r}"
        return line[:-1]

    def message(self):
        line = self.line()
        return None if line is None else json.loads(line)

    def send(self, text, fds=()):
        data = text if isinstance(text, bytes) else text.encode()
        if fds:
            socket.send_fds(self.sock, [data], list(fds))
        else:
            self.sock.sendall(data)

    def execute(self, command, **arguments):
        request = {"execute": command}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.send(json.dumps(request))

    def reply(self):
        """The next message that is no event."""
        while True:
            message = self.message()
            assert message is not None, "the connection ended while a reply was waited for"
            if "event" not in message:
                return message
            self.events.append(message)

    def result(self):
        reply = self.reply()
        if "error" in reply:
            raise QmpError(reply["error"])
        return reply["return"]

    def run(self, command, **arguments):
        self.execute(command, **arguments)
        return self.result()

    def event(self, name=None):
        """The next event, which must have this name."""
        if self.events:
            message = self.events.pop(0)
        else:
            message = self.message()
        assert message is not None and "event" in message, f"no event but {message}"
        if name:
            assert message["event"] == name, f"{message}, expected {name}"
        return message

    def silent(self, seconds=0.2):
        """True when nothing comes for a while."""
        return not self.data and not select.select([self.sock], [], [], seconds)[0]


class VM:
    """A microvm with the bare-metal guest, stopped unless told otherwise; used as a context."""

    def __init__(self, folder, *options, paused=True, append="test=spin", qmp=True, **popen):
        self.folder = str(folder)
        self.path = os.path.join(self.folder, "qmp.sock")
        self.command = [STRATOVIRT, "-machine", "microvm", "-m", "128", "-kernel", GUEST_ELF, "-append", append,
                        "-serial", "null"]
        if paused:
            self.command.append("-S")
        if qmp:
            self.command += ["-qmp", f"unix:{self.path},server,nowait"]
        self.command += list(options)
        self.popen = popen
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **self.popen)
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            # Counters of coverage are written by an orderly end; otherwise the sooner the better.
            self.process.send_signal(signal.SIGTERM if "coverage" in STRATOVIRT else signal.SIGKILL)
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def wait_for(self, path):
        """Waits until something listens on this unix socket."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stderr.read()
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                return
            time.sleep(0.01)
        raise AssertionError(f"nobody listens on {path}")

    def connect(self, path=None, negotiate=True):
        path = path or self.path
        self.wait_for(path)
        return Client(path, negotiate)

    def end(self, status=0):
        """The process must end by itself."""
        assert self.process.wait(LIMIT) == status, self.process.stderr.read()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def cpu_time(self):
        """Clock ticks that all threads have run."""
        tasks, ticks = f"/proc/{self.process.pid}/task", 0
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks

    def descriptors(self):
        return sorted(os.listdir(f"/proc/{self.process.pid}/fd"), key=int)


def listens(path):
    """Is there somebody behind this unix socket?"""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def wait_for(condition, seconds=LIMIT):
    """Waits until @condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Schema:
    """Checks values against what query-qmp-schema says."""

    JSON = {"string": str, "int": int, "number": (int, float), "boolean": bool, "null": type(None)}

    def __init__(self, entries):
        self.entries = {entry["name"]: entry for entry in entries}
        assert len(self.entries) == len(entries)

    def names(self, meta):
        return {name for name, entry in self.entries.items() if entry["meta-type"] == meta}

    def check(self, name, value, path):
        entry = self.entries[name]
        getattr(self, "check_" + entry["meta-type"])(entry, value, path)

    def check_builtin(self, entry, value, path):
        kind = entry["json-type"]
        if kind == "value":
            return
        assert isinstance(value, self.JSON[kind]), f"{path}: {value!r} is no {kind}"
        assert kind == "boolean" or not isinstance(value, bool), f"{path}: {value!r} is no {kind}"

    def check_enum(self, entry, value, path):
        assert value in entry["values"], f"{path}: {value!r} is not one of {entry['values']}"

    def check_array(self, entry, value, path):
        assert isinstance(value, list), f"{path}: {value!r} is no list"
        for i, element in enumerate(value):
            self.check(entry["element-type"], element, f"{path}[{i}]")

    def check_object(self, entry, value, path):
        assert isinstance(value, dict), f"{path}: {value!r} is no object"
        members = {member["name"]: member for member in entry["members"]}
        assert set(value) <= set(members), f"{path}: {set(value) - set(members)} not in the schema"
        for name, member in members.items():
            if name in value:
                self.check(member["type"], value[name], f"{path}.{name}")
            else:
                assert "default" in member, f"{path}.{name} is missing"

    def check_return(self, command, value):
        self.check(self.entries[command]["ret-type"], value, command)

    def check_event(self, message):
        entry = self.entries[message["event"]]
        assert entry["meta-type"] == "event"
        stamp = message["timestamp"]
        assert set(stamp) == {"seconds", "microseconds"} and 0 <= stamp["microseconds"] < 1000000
        assert abs(time.time() - stamp["seconds"]) < 120
        self.check(entry["arg-type"], message.get("data", {}), message["event"])
