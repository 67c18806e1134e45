"""Hosts that are network namespaces, and wires between them that delay, lose and break on command.

A wire is a TUN device at either end and a thread that carries packets from one to the other: what `tc netem` does, for kernels
that are built without it. Needs root and /dev/net/tun."""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time

TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def why_not():
    """What is missing for all this; `None` when nothing is."""
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        with Host("probe") as one, Host("other") as other:
            Wire(one, "192.0.2.1", other, "192.0.2.2").cut()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces or TUN devices here: {getattr(error, 'stderr', None) or error}"


class Host:
    """A network namespace with its loopback up."""

    def __init__(self, name):
        self.name = f"dz-{name}-{os.getpid()}"
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes meanwhile are the host's, and stay so."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:
            enter(there)
            try:
                yield
            finally:
                enter(home)

    def run(self, *command, **options):
        return subprocess.Popen(["ip", "netns", "exec", self.name, *command], **options)


def enter(namespace):
    if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Wire:
    """Between two hosts. `delay` is in seconds each way, `loss` a part of all packets; `up` is false while it is broken."""

    def __init__(self, one, address, other, other_address):
        self.delay, self.loss, self.up = 0.0, 0.0, True
        self.random = random.Random(1)
        ends = [end(one, address, other_address), end(other, other_address, address)]
        self.peer = {ends[0]: ends[1], ends[1]: ends[0]}
        self.stop, self.stopped = os.pipe()
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def carry(self):
        under_way, number = [], 0
        while True:
            wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
            readable, _, _ = select.select([*self.peer, self.stop], [], [], wait)
            if self.stop in readable:
                return
            for source in readable:
                packet = os.read(source, 65536)
                if self.up and self.random.random() >= self.loss:
                    # The number keeps the order of packets of one moment.
                    number += 1
                    heapq.heappush(under_way, (time.monotonic() + self.delay, number, self.peer[source], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(under_way)
                with contextlib.suppress(OSError):
                    os.write(target, packet)

    def cut(self):
        """For good."""
        os.close(self.stopped)
        self.thread.join()
        for fd in (*self.peer, self.stop):
            os.close(fd)


def end(host, address, peer):
    name = f"to-{peer.rsplit('.', 2)[-2]}-{peer.rsplit('.', 1)[-1]}"
    with host.inside():
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN_WITHOUT_HEADER))
    ip("-n", host.name, "addr", "add", address, "peer", peer, "dev", name)
    ip("-n", host.name, "link", "set", name, "up")
    return tun
