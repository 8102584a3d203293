#!/usr/bin/env python3
"""Two hosts on one machine: a rank each in a network namespace of its own, with a link between them that has a delay
and a rate. For measurements, as root, with Open MPI:

    tests/link.py [--delay MS] [--rate MBIT] BLANCH train ARGUMENTS...     a core of the first device each
    tests/link.py [--delay MS] [--rate MBIT] PROGRAM ARGUMENTS...          anything else that MPI starts

MS is how long a packet takes one way (0.2), MBIT what the link carries in a second, each way (1000). The hosts are
called link-a and link-b. The kernel's own netem would do, where it is there; here packets pass through this program, by
a tun device in each namespace."""
import argparse
import collections
import ctypes
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

HOSTS = ('link-a', 'link-b')
ADDRESSES = ('10.213.77.1', '10.213.77.2')
MTU = 60000  # few packets, as they pass through Python
BACKLOG = 0.002  # seconds of packets that wait for the link; then their sender does


def call(*words):
    subprocess.run(words, check=True)


def open_tun(name):
    fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    tun, no_header, set_interface = 0x0001, 0x1000, 0x400454ca
    fcntl.ioctl(fd, set_interface, struct.pack('16sH14x', name.encode(), tun | no_header))
    return fd


class Way:
    """Packets from one device to the other."""

    def __init__(self, source, sink, delay, rate):
        self.source, self.sink, self.delay, self.rate = source, sink, delay, rate
        self.free, self.waiting = 0.0, collections.deque()  # when the link is free; (due, packet)

    def wants(self, now):
        return self.free - now < BACKLOG

    def take(self, now):
        packet = os.read(self.source, MTU + 100)
        self.free = max(self.free, now) + 8 * len(packet) / self.rate
        self.waiting.append((self.free + self.delay, packet))

    def deliver(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            os.write(self.sink, self.waiting.popleft()[1])


def forward(ways, stop):
    pr_set_timerslack = 29
    ctypes.CDLL(None).prctl(pr_set_timerslack, 1000, 0, 0, 0)
    while not stop.is_set():
        now = time.monotonic()
        due = min([way.waiting[0][0] for way in ways if way.waiting] + [now + 0.05])
        ready = [way.source for way in ways if way.wants(now)]
        ready, _, _ = select.select(ready, [], [], max(0, due - now))
        now = time.monotonic()
        for way in ways:
            if way.source in ready:
                way.take(now)
            way.deliver(time.monotonic())


def make_hosts():
    fds = []
    for host, address in zip(HOSTS, ADDRESSES):
        fds.append(open_tun(host))
        call('ip', 'netns', 'add', host)
        call('ip', 'link', 'set', host, 'netns', host)
        call('ip', '-n', host, 'link', 'set', 'lo', 'up')
        call('ip', '-n', host, 'addr', 'add', address + '/24', 'dev', host)
        call('ip', '-n', host, 'link', 'set', host, 'mtu', str(MTU), 'up')
    return fds


def drop_hosts():
    for host in HOSTS:
        subprocess.run(['ip', 'netns', 'del', host], stderr=subprocess.DEVNULL)


def within(host):
    """A command's beginning: in the host's network, under its name."""
    return ['ip', 'netns', 'exec', host, 'unshare', '--uts', 'sh', '-c', 'hostname %s; exec "$@"' % host, 'sh']


def starter(folder):
    """What Open MPI starts its daemon on the other host by, instead of ssh: HOST COMMAND..."""
    path = os.path.join(folder, 'agent')
    with open(path, 'w') as f:
        f.write('#!/bin/sh\nhost=$1\nshift\nexec ip netns exec "$host" unshare --uts sh -c "hostname $host; $*"\n')
    os.chmod(path, 0o755)
    with open(os.path.join(folder, 'hosts'), 'w') as f:
        f.write(''.join('%s slots=1\n' % host for host in HOSTS))
    return path


def command(program, folder):
    words = ['mpirun', '--hostfile', os.path.join(folder, 'hosts'), '--bind-to', 'none']
    for key, value in (('plm_rsh_agent', starter(folder)), ('btl', 'tcp,self'), ('pml', 'ob1'),
                       ('btl_tcp_if_include', '10.213.77.0/24'), ('oob_tcp_if_include', '10.213.77.0/24')):
        words += ['--mca', key, value]
    parts = []
    for rank in range(len(HOSTS)):
        own = ['--device', '0:0/1:%d' % rank] if program[1:2] == ['train'] else []
        parts += [':'] * bool(rank) + ['-n', '1'] + program + own
    return within(HOSTS[0]) + words + parts


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('--delay', type=float, default=0.2)
    parser.add_argument('--rate', type=float, default=1000)
    parser.add_argument('program', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    drop_hosts()
    stop, thread = threading.Event(), None
    with tempfile.TemporaryDirectory(prefix='blanch-link-') as folder:
        try:
            a, b = make_hosts()
            ways = [Way(a, b, 1e-3 * options.delay, 1e6 * options.rate),
                    Way(b, a, 1e-3 * options.delay, 1e6 * options.rate)]
            thread = threading.Thread(target=forward, args=(ways, stop))
            thread.start()
            environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1')
            return subprocess.run(command(options.program, folder), env=environment).returncode
        finally:
            stop.set()
            if thread:
                thread.join()
            drop_hosts()


if __name__ == '__main__':
    sys.exit(main())
