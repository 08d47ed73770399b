"""Two KMEs whose store is filled by hand, and their SAEs: bare HTTPS clients with a certificate."""

import os
from typing import Any

import httpx

from handfast_kme.alarms import Level
from handfast_kme.certificates import client_tls
from handfast_kme.installed import Folder


class Sae:
    """An SAE with nothing but a TLS library."""

    def __init__(self, network: Any, name: str, node: str | None = None) -> None:
        consumer = network.named("consumer", name)
        kme = network.named("node", node or consumer.node)
        self.base = f"https://{kme.address}:{kme.port}/api/v1/keys"
        context = client_tls(Folder(network.group.folder).consumer(name), "sae")
        self.http = httpx.AsyncClient(verify=context, trust_env=False, timeout=60)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(f"{self.base}/{path}", **more)

    async def post(self, path: str, body: Any) -> httpx.Response:
        return await self.http.post(f"{self.base}/{path}", json=body)


class Site:
    def __init__(self, network: Any, kmes: dict[str, Any]) -> None:
        self.network, self.kmes = network, kmes
        self.master, self.slave = Sae(network, "hub-berlin"), Sae(network, "hub-vienna")
        self.second, self.stranger = Sae(network, "second-vienna"), Sae(network, "stranger")
        self.blocks = 0

    def fill(self, keys: int) -> None:
        """The same cells at both ends, as a block would have left them."""
        self.blocks += 1
        key = os.urandom(32 * keys)
        for kme in self.kmes.values():
            kme.store.add_block("fibre", self.blocks, key, {})

    def empty(self) -> None:
        for kme in self.kmes.values():
            kme.store.void("fibre", 0)
            kme.links["fibre"].watch.level = Level.CLEAR


def error(response: httpx.Response, status: int, message: str = "") -> dict[str, Any]:
    """The Error data format (clause 6.5): message, and details as an array of objects."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = response.json()
    assert isinstance(body["message"], str)
    assert body["message"]
    assert all(isinstance(entry, dict) for entry in body.get("details", []))
    if message:
        assert body["message"] == message
    return body
