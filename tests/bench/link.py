#!/usr/bin/env python3
"""A bad link for datagrams: a relay with a rate, a delay and a loss.

    tests/bench/link.py --listen ADDRESS:PORT --to ADDRESS:PORT [--rate-kbit 20000] [--delay-ms 300] [--loss 0.02] [--mtu 1472]

Whoever sends to `--listen` reaches `--to`, and the answers come back. In each direction a datagram waits for its turn at the rate (what
would wait for more than a second, or for two round trips, is dropped), is then lost by chance, or arrives a delay later, in order. Longer datagrams than
`--mtu` are dropped, as on a path that does not carry them. The same seed loses the same datagrams. It ends with SIGTERM.
"""

import argparse
import heapq
import random
import select
import socket
import time


class Way:
    """One direction: when the link is free, and what is on its way."""

    def __init__(self, args, seed):
        self.seconds_of_byte = 8 / (args.rate_kbit * 1000)
        self.delay, self.loss, self.mtu = args.delay_ms / 1000, args.loss, args.mtu
        self.queue = max(1.0, 4 * self.delay)
        self.chance = random.Random(seed)
        self.free_at, self.order, self.heap = 0.0, 0, []

    def take(self, datagram, now):
        """Puts a datagram on the link. IPv4 and UDP add 28 bytes."""
        starts = max(self.free_at, now)
        if len(datagram) > self.mtu or starts - now > self.queue:
            return
        self.free_at = starts + (len(datagram) + 28) * self.seconds_of_byte
        if self.chance.random() >= self.loss:
            heapq.heappush(self.heap, (self.free_at + self.delay, self.order, datagram))
            self.order += 1

    def due(self, now):
        while self.heap and self.heap[0][0] <= now:
            yield heapq.heappop(self.heap)[2]


def place(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def opened():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    sock.setblocking(False)
    return sock


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=place, required=True)
    parser.add_argument("--to", type=place, required=True)
    parser.add_argument("--rate-kbit", type=float, default=20_000)
    parser.add_argument("--delay-ms", type=float, default=300)
    parser.add_argument("--loss", type=float, default=0.02)
    parser.add_argument("--mtu", type=int, default=1472)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    near, far = opened(), opened()
    near.bind(args.listen)
    far.bind((args.listen[0], 0))
    caller = None
    out, back = Way(args, args.seed), Way(args, args.seed + 1)
    while True:
        now = time.monotonic()
        next_due = min((way.heap[0][0] for way in (out, back) if way.heap), default=now + 1)
        ready, _, _ = select.select([near, far], [], [], max(0.0, next_due - now))
        now = time.monotonic()
        for sock, way in ((near, out), (far, back)):
            while sock in ready:
                try:
                    datagram, sender = sock.recvfrom(65_536)
                except (BlockingIOError, ConnectionRefusedError):
                    break
                if sock is near:
                    caller = sender
                way.take(datagram, now)
        for datagram in out.due(now):
            far.sendto(datagram, args.to)
        for datagram in back.due(now):
            near.sendto(datagram, caller)


if __name__ == "__main__":
    main()
