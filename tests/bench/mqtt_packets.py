"""The few MQTT 3.1.1 packets of a device, built and read by hand: a generator must cost little."""

from collections.abc import Iterator, Sequence

CONNACK = 0x20
PUBLISH = 0x30
PUBACK = 0x40
SUBACK = 0x90
DISCONNECT = b"\xe0\x00"


def connect(client_id: str) -> bytes:
    """CONNECT of a client without a password and without a keep-alive, with a clean session."""
    return _packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + _text(client_id))


def subscribe(topics: Sequence[str]) -> bytes:
    """SUBSCRIBE to exact topics at QoS 1."""
    return _packet(0x82, b"\x00\x01" + b"".join(_text(topic) + b"\x01" for topic in topics))


def publish(topic: str, payload: bytes, packet_id: int = 2) -> bytes:
    """PUBLISH at QoS 1."""
    return _packet(0x32, _text(topic) + packet_id.to_bytes(2, "big") + payload)


def puback(packet_id: bytes) -> bytes:
    """PUBACK of the two bytes `packet_id`."""
    return b"\x40\x02" + packet_id


def read_publish(body: bytes) -> tuple[str, bytes, bytes]:
    """(topic, packet id, payload) of a PUBLISH at QoS 1."""
    end = 2 + int.from_bytes(body[:2], "big")
    return body[2:end].decode(), body[end : end + 2], body[end + 2 :]


def take(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """(kind, body) of every whole packet at the beginning of `buffer`, which loses them."""
    while True:
        length = shift = 0
        for at in range(1, min(5, len(buffer))):
            length |= (buffer[at] & 127) << shift
            shift += 7
            if buffer[at] < 128:
                break
        else:
            return
        end = at + 1 + length
        if len(buffer) < end:
            return
        kind, body = buffer[0] & 0xF0, bytes(buffer[at + 1 : end])
        del buffer[:end]
        yield kind, body


def _packet(head: int, body: bytes) -> bytes:
    encoded = bytearray((head,))
    length = len(body)
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + body


def _text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()
