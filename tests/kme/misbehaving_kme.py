"""A KME that misbehaves, each time in one way: real TLS, wrong answers."""

import asyncio
import base64
import json
import os
import ssl
import uuid
from pathlib import Path
from typing import Any

from handfast.core.errors import Error
from handfast_hub.trunk.kme import KmeClient
from handfast_hub.trunk.used_keys import UsedKeys
from handfast_kme.certificates import Authority, server_tls

Answer = tuple[int, bytes, dict[str, str]] | None
SUBJECT = "CN=kme-berlin,O=test"


def new_key(size: int = 256, **more: Any) -> dict[str, Any]:
    return {"key_ID": str(uuid.uuid4()), "key": base64.b64encode(os.urandom(size // 8)).decode(), **more}


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, content, {name.replace("_", "-"): value for name, value in headers.items()}


class Misbehaving:
    """An HTTPS server that gives the next answer of a list, the last one again and again; None hangs up."""

    def __init__(self, folder: Path, answers: list[Answer]) -> None:
        self.folder, self.answers = folder, answers
        self.requests: list[tuple[str, str, bytes]] = []

    async def start(self, subject: str = SUBJECT, context: ssl.SSLContext | None = None) -> None:
        authority = Authority.create(self.folder / "ca", "test", 30)
        authority.issue(self.folder / "kme", "kme", subject, 30, "127.0.0.1")
        authority.issue(self.folder / "sae", "sae", "CN=hub-berlin,O=test", 30)
        tls = context or server_tls(self.folder / "kme", "kme")
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self.server.sockets[0].getsockname()[1]

    def client(self, **more: Any) -> KmeClient:
        sae = self.folder / "sae"
        wanted = {
            "kme_id": "kme-berlin",
            "ca": sae / "ca.pem",
            "certificate": sae / "sae.pem",
            "key": sae / "sae.key",
            "used": UsedKeys(self.folder / "used"),
            "timeout": 20.0,
            "sleep": self._no_sleep,
            **more,
        }
        return KmeClient(f"https://127.0.0.1:{self.port}", **wanted)

    @staticmethod
    async def _no_sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            verb, path, _ = head.split(" ", 2)
            length = next((int(v) for n, _, v in (line.partition(": ") for line in head.split("\r\n"))
                           if n.lower() == "content-length"), 0)  # fmt: skip
            self.requests.append((verb, path, await reader.readexactly(length)))
            given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if given is not None:
                status, body, headers = given
                lines = [f"HTTP/1.1 {status} x", *(f"{n}: {v}" for n, v in headers.items())]
                lines.append(f"content-length: {len(body) + int(headers.get('short', '0'))}")
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


def one_sentence(error: Error) -> str:
    assert error.detail
    assert "\n" not in error.detail
    assert "Traceback" not in error.detail
    return error.detail
