"""handfast: quantum-safe onboarding of devices with their hub.

The names below are loaded when they are first asked for, so that `import handfast.core` on a hub
loads no device, and a board pays for what it uses.
"""

_PLACES = {
    "Device": "device",
    "Message": "message",
    "Settings": "settings",
    "Error": "core.errors",
    "LocalError": "core.errors",
    "PeerError": "core.errors",
    "RefusedError": "core.errors",
    "EntropyError": "core.errors",
    "LinkError": "core.errors",
    "LinkClosed": "core.errors",
    "LinkTimeout": "core.errors",
    "KeystoreError": "core.errors",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handfast.core.errors import EntropyError as EntropyError
    from handfast.core.errors import Error as Error
    from handfast.core.errors import KeystoreError as KeystoreError
    from handfast.core.errors import LinkClosed as LinkClosed
    from handfast.core.errors import LinkError as LinkError
    from handfast.core.errors import LinkTimeout as LinkTimeout
    from handfast.core.errors import LocalError as LocalError
    from handfast.core.errors import PeerError as PeerError
    from handfast.core.errors import RefusedError as RefusedError
    from handfast.device import Device as Device
    from handfast.message import Message as Message
    from handfast.settings import Settings as Settings


def __getattr__(name: str) -> object:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError("handfast has no %s; it has %s" % (name, ", ".join(sorted(_PLACES))))
    # The fifth argument of __import__ would do without the loop, on CPython alone.
    module = __import__("handfast." + place)
    for part in place.split("."):
        module = getattr(module, part)
    return getattr(module, name)
