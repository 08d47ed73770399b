"""A PKCS#11 token takes the keys of a trunk: SoftHSM, two hubs, simulated QKD."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fed_hubs import fed_hubs

from handfast.core.suites import SHA_256
from handfast_cpython import Crypto
from handfast_hub.feeds.feeder import FeedError
from handfast_hub.feeds.keys import FeedKey
from handfast_hub.feeds.settings import Pkcs11Feed

MODULE = next(
    (
        path
        for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"))
        if path.exists()
    ),
    None,
)
pytestmark = pytest.mark.skipif(
    MODULE is None or shutil.which("softhsm2-util") is None, reason="needs SoftHSM 2 and its softhsm2-util"
)
PIN = "2718281828"
TOKENS = ("berlin", "vienna")


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two empty tokens; the file with their PIN."""
    import pkcs11

    folder = tmp_path / "softhsm"
    folder.mkdir()
    config = tmp_path / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(config))
    for label in TOKENS:
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", PIN],
            check=True, capture_output=True, env={**os.environ, "SOFTHSM2_CONF": str(config)},
        )  # fmt: skip
    # The module reads its configuration when it is initialized.
    pkcs11.lib(str(MODULE)).reinitialize()
    yield pin_file(tmp_path / "pin", PIN)
    pkcs11.lib(str(MODULE)).finalize()


def pin_file(path: Path, pin: str, mode: int = 0o600) -> Path:
    path.write_text(f"{pin}\n")
    path.chmod(mode)
    return path


def consumer(pin: Path, label: str = "berlin", **more: Any) -> Any:
    from handfast_hub.feeds.pkcs11 import Pkcs11

    wanted = {"trunk": "x", "kind": "pkcs11", "module": MODULE, "token": label, "pin_file": pin, **more}
    return Pkcs11("tunnel", Pkcs11Feed(**wanted))


def fed_key(epoch: int, name: int) -> FeedKey:
    return FeedKey(epoch, bytes([name]) * 8, bytes([name]) * 32)


class Looked:
    """What another program sees of the keys in a token."""

    def __init__(self, label: str) -> None:
        import pkcs11

        self._token = pkcs11.lib(str(MODULE)).get_token(token_label=label)

    def __enter__(self) -> "Looked":
        self._session = self._token.open(rw=True, user_pin=PIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def keys(self) -> dict[bytes, Any]:
        """The keys of the feed by CKA_ID."""
        from pkcs11 import Attribute, ObjectClass

        found = self._session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
        return {key[Attribute.ID]: key for key in found if key.label.startswith("handfast-tunnel-")}


async def test_what_one_hub_s_token_seals_the_other_s_opens_and_nobody_reads_the_key(
    tokens: Path, tmp_path: Path
) -> None:
    from pkcs11 import Attribute, Mechanism
    from pkcs11.exceptions import AttributeSensitive
    from pkcs11.mechanisms import GCMParams

    def feed(name: str) -> str:
        return f'kind = "pkcs11"\nmodule = "{MODULE}"\ntoken = "{name}"\npin_file = "{tokens}"\nkeep = 2\n'

    async with fed_hubs(tmp_path, feed) as fed:
        await fed.reach("fed")
        seen = set()
        for _ in range(3):
            await fed.rotate(1)
            seen.add(bytes.fromhex(fed.status("berlin")["key"]))
    with Looked("berlin") as berlin:
        held = berlin.keys()
        # Those before were destroyed; one more may have come while the hubs were stopped.
        assert len(held) == 2
        assert len(seen - set(held)) >= 1
        gcm = GCMParams(bytes(12), b"head", 128)
        sealed = {
            name: key.encrypt(b"a reading", mechanism=Mechanism.AES_GCM, mechanism_param=gcm)
            for name, key in held.items()
        }
        for key in held.values():
            assert (key[Attribute.SENSITIVE], key[Attribute.EXTRACTABLE]) == (True, False)
            with pytest.raises(AttributeSensitive):
                key[Attribute.VALUE]
    with Looked("vienna") as vienna:
        opened = [
            key.decrypt(sealed[name], mechanism=Mechanism.AES_GCM, mechanism_param=gcm)
            for name, key in vienna.keys().items()
            if name in sealed
        ]
    assert len(opened) >= 1
    assert set(opened) == {b"a reading"}


async def test_a_generic_secret_makes_the_hmac_that_everybody_makes_with_that_key(tokens: Path) -> None:
    from pkcs11 import Mechanism

    await consumer(tokens, key_type="generic").put(fed_key(1, 7))
    with Looked("berlin") as token:
        [key] = token.keys().values()
        made = key.sign(b"a reading", mechanism=Mechanism.SHA256_HMAC)
    assert made == Crypto().hmac(SHA_256, bytes([7]) * 32, b"a reading")


@pytest.mark.parametrize(
    ("key_type", "uses"), [("aes", {"ENCRYPT", "DECRYPT"}), ("generic", {"SIGN", "VERIFY"})]
)
async def test_a_key_is_good_for_what_it_is_meant_for_and_nothing_else(
    tokens: Path, key_type: str, uses: set[str]
) -> None:
    from pkcs11 import Attribute

    await consumer(tokens, key_type=key_type).put(fed_key(1, 7))
    with Looked("berlin") as token:
        [key] = token.keys().values()
        every = ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP", "DERIVE")
        assert {use for use in every if key[Attribute[use]]} == uses


async def test_the_oldest_keys_go_also_after_a_restart_when_epochs_count_anew(tokens: Path) -> None:
    async def left(*names: int) -> None:
        with Looked("berlin") as token:
            assert set(token.keys()) == {bytes([name]) * 8 for name in names}

    feed = consumer(tokens, keep=2)
    for epoch, name in ((8, 1), (9, 2), (10, 3)):
        await feed.put(fed_key(epoch, name))
    # The same key once more is no second object.
    await feed.put(fed_key(10, 3))
    await left(2, 3)
    feed = consumer(tokens, keep=2)
    await feed.put(fed_key(0, 4))
    await left(3, 4)
    await feed.put(fed_key(1, 5))
    await left(4, 5)
    await feed.shut()
    await left()


async def test_another_feed_s_keys_in_the_same_token_are_left_alone(tokens: Path) -> None:
    from handfast_hub.feeds.pkcs11 import Pkcs11

    settings = consumer(tokens)._settings
    other = Pkcs11("tunnel-1", settings)
    await other.put(fed_key(1, 9))
    feed = consumer(tokens, keep=1)
    await feed.put(fed_key(1, 1))
    await feed.shut()
    with Looked("berlin") as token:
        assert set(token.keys()) == {bytes([9]) * 8}


async def test_what_is_wrong_is_said_in_one_sentence(tokens: Path, tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="has no token with the label 'paris'"):
        await consumer(tokens, "paris").look()
    with pytest.raises(FeedError, match="there is no PKCS#11 module"):
        await consumer(tokens, module=tmp_path / "none.so").look()
    with pytest.raises(FeedError, match="expected the user PIN of the token in"):
        await consumer(tmp_path / "none").look()
    (tmp_path / "no.so").write_text("not a module")
    with pytest.raises(FeedError, match="the token 'berlin' failed"):
        await consumer(tokens, module=tmp_path / "no.so").look()
    for mode in (0o640, 0o604):
        with pytest.raises(FeedError, match=rf"may be read by others \(mode 0{mode:o}\); run: chmod 600"):
            await consumer(pin_file(tmp_path / "open", PIN, mode)).look()
    with pytest.raises(FeedError, match="refuses the PIN in") as refused:
        await consumer(pin_file(tmp_path / "wrong", "0000000000")).look()
    assert refused.value.lasting
    await consumer(tokens).look()
