#!/usr/bin/env python3
"""Measures what Redis spends on telling many gateways of changes.

Starts a redis-server, lets 0, 1, 10 and 100 connections track a prefix as gateways
do, writes keys, and prints the CPU of Redis a write, and the bytes told.
"""

import os
import selectors
import socket
import subprocess
import tempfile
import threading
import time

WRITES = 40_000
BATCH = 20  # written at once, as by so many callers


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def command(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        redis = subprocess.Popen(["taskset", "-c", "1", "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            while True:
                try:
                    writer = socket.create_connection(("127.0.0.1", port))
                    break
                except OSError:
                    time.sleep(0.02)
            for gateways in (0, 1, 10, 100):
                measure(redis.pid, port, writer, gateways)
        finally:
            redis.terminate()
            redis.wait()


def measure(pid, port, writer, gateways):
    selector, told, stop = selectors.DefaultSelector(), [0], threading.Event()
    connections = []
    for _ in range(gateways):
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(command(b"HELLO", b"3") + command(b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", b"edge_auth:"))
        time.sleep(0.01)
        one.recv(1 << 16)
        selector.register(one, selectors.EVENT_READ)
        connections.append(one)

    def listen():
        while not stop.is_set():
            for key, _ in selector.select(0.05):
                told[0] += len(key.fileobj.recv(1 << 20))

    listener = threading.Thread(target=listen)
    listener.start()
    before = cpu(pid)
    for n in range(WRITES // BATCH):
        writer.sendall(b"".join(command(b"SET", b"edge_auth:session:%064x" % (n * BATCH + i), b"x" * 200) for i in range(BATCH)))
        left = BATCH * len(b"+OK\r\n")
        while left:
            left -= len(writer.recv(left))
    time.sleep(0.5)
    spent = cpu(pid) - before
    stop.set()
    listener.join()
    print(f"{gateways:4d} gateways: {spent * 1e6 / WRITES:6.2f} us of Redis a write, {told[0] / WRITES / max(1, gateways):6.1f} bytes told a write and gateway")
    for one in connections:
        one.close()


if __name__ == "__main__":
    main()
