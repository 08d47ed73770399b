"""Traffic through a tunnel: numbered datagrams, answered by the other end, and what became of each.

python echoes.py answer ADDRESS        until it is killed
python echoes.py ask ADDRESS           20 a second until its standard input ends; then prints sent, answered
"""

import select
import socket
import sys
import time

PORT = 7007
SECONDS = 0.05
# How long to wait for the last answers: far more than a busy machine needs.
PATIENCE = 20.0


def answer(address: str) -> None:
    """Send everything back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, PORT))
        print("ready", flush=True)
        while True:
            data, sender = server.recvfrom(100)
            server.sendto(data, sender)


def ask(address: str) -> None:
    """Send, and count what comes back."""
    sent, missing = 0, set()
    stopped = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        while stopped is None or (missing and time.monotonic() < stopped + PATIENCE):
            if stopped is None:
                missing.add(sent)
                client.sendto(b"%d" % sent, (address, PORT))
                sent += 1
            until = time.monotonic() + SECONDS
            while (left := until - time.monotonic()) > 0:
                sources = [client] if stopped is not None else [client, sys.stdin]
                ready, _, _ = select.select(sources, [], [], left)
                if client in ready:
                    missing.discard(int(client.recv(100)))
                if sys.stdin in ready:
                    stopped = time.monotonic()
                    break
    print(sent, sent - len(missing))


if __name__ == "__main__":
    {"answer": answer, "ask": ask}[sys.argv[1]](sys.argv[2])
