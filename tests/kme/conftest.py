"""Fixtures of more than one file here."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from etsi_014_site import Site
from installation import installed, running, until
from misbehaving_kme import Answer, Misbehaving, answer, new_key

from handfast_kme import link_states, relay


@pytest.fixture
async def kme(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts a KME that gives these answers, one good key when there are none."""
    started: list[Misbehaving] = []

    async def start(*answers: Answer, **more: Any) -> Misbehaving:
        server = Misbehaving(tmp_path, list(answers) or [answer({"keys": [new_key()]})])
        await server.start(**more)
        started.append(server)
        return server

    yield start
    for server in started:
        server.server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Two KMEs and their SAEs, for all tests of a file."""
    network, _ = installed(tmp_path_factory.mktemp("site"))
    async with running(network, line=False) as kmes:
        made = Site(network, kmes)

        async def connected() -> bool:
            return all(kme.links["fibre"].control is not None for kme in kmes.values())

        await until(connected)
        yield made
        for sae in (made.master, made.slave, made.second, made.stranger):
            await sae.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def site(installation: Site) -> Site:
    """64 keys in store, none on its way, no alarm."""
    installation.empty()
    installation.fill(64)
    return installation


@pytest.fixture
def fast_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """What KMEs tell each other of links and void keys goes round ten times as fast."""
    monkeypatch.setattr(link_states, "SPREAD", 0.1)
    monkeypatch.setattr(relay, "NOTICES", 0.1)
