"""What a tool at the serial line asks of a board; each answer is one line (`handfast flash`).

    from handfast_micropython import provisioning
    provisioning.answer(provisioning.bring_up({"hub": HUB_CODE, "configuration": {"broker": "hub.local"}}))

Nothing of the device itself is imported here: a key is made in less memory than a handshake.
"""

import asyncio

import handfast.entries as entries
import handfast.identity as identity
from handfast.core.codes import decode_hub_code, decode_token, encode_claim_code
from handfast.core.errors import Error, LocalError
from handfast_micropython import configuration, wifi
from handfast_micropython.board import PATH, Board
from handfast_micropython.keystore import Keystore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


def answer(work: "Coroutine[Any, Any, dict[str, object]]") -> None:
    """Do `work` and print its result, or the name and the text of our error, as one Python literal."""
    try:
        said = asyncio.run(work)
    except Error as error:
        said = {"error": type(error).__name__, "detail": error.detail}
    print(repr(said))


async def bring_up(wishes: "dict[str, Any]", path: str = PATH) -> "dict[str, object]":
    """Make this board a device of the hub in `wishes`, or bring an existing one up to date; may be repeated.

    `wishes`, each of which may be missing: hub and token (texts of the operator), name, wifi (name and
    password), configuration (entries of `handfast_micropython.configuration`), reset (True: forget the
    identity that is there). An existing identity is kept. LocalError when it belongs to another hub, and
    for a wish that cannot be; DecodeError, EntropyError and KeystoreError as `main.set_up`.
    """
    keystore = Keystore(path)
    if wishes.get("reset"):
        identity.reset(keystore)
    made = keystore.load(entries.IDENTITY) is None
    values: "dict[str, Any]" = wishes.get("configuration") or {}
    if made and not wishes.get("hub"):
        raise LocalError("a new board needs the code of its hub")
    board = Board(path, qrng=values.get("qrng") or "os", keystore=keystore)
    try:
        if not made and wishes.get("hub"):
            _same_hub(board, wishes["hub"], wishes.get("token"))
        if wishes.get("wifi"):
            wifi.save(keystore, *wishes["wifi"])
        if made:
            await create(board, wishes["hub"], wishes.get("token"), wishes.get("name") or "board", values)
        elif values:
            if keystore.load(configuration.NAME) is not None:
                values = dict(configuration.load(keystore), **values)
            configuration.save(keystore, values)
        thumbprint = identity.load(board.crypto, keystore).credential.thumbprint
        return {
            "made": made,
            "thumbprint": thumbprint,
            "claim_code": encode_claim_code(board.crypto, thumbprint),
            "hub": identity.load_pin(board.crypto, keystore).hub_id,
            "onboard": keystore.load(entries.SESSION) is not None,
        }
    finally:
        await board.close()


async def create(
    board: Board, hub_code: str, token: "str | None", name: str, values: "dict[str, object]"
) -> str:
    """What `main.set_up` does."""
    if board.keystore.load(entries.IDENTITY) is not None:
        raise LocalError("this board is set up already; reset it first to make another device of it")
    configuration.save(board.keystore, values)
    signature = configuration.settings(board.keystore).signature
    made = await identity.create(board, signature, name, hub_code, token)
    return encode_claim_code(board.crypto, made.credential.thumbprint)


def _same_hub(board: Board, hub_code: str, token: "str | None") -> None:
    """The identity stays; a new token takes the place of one that the hub has not used yet."""
    pin = identity.load_pin(board.crypto, board.keystore)
    if pin.hub_id != decode_hub_code(board.crypto, hub_code):
        raise LocalError("this board is a device of another hub; reset it to make a new device of it")
    if token is not None and board.keystore.load(entries.SESSION) is None:
        pin = identity.Pin(pin.hub_id, decode_token(board.crypto, token), pin.credential)
        identity.save_pin(board.keystore, pin)
