"""The ports of handfast for a CPython machine, twins of `handfast_micropython`.

The names below are loaded when they are first asked for, so that a program which needs one port
does not pay for the libraries behind the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handfast_cpython.clock import Clock as Clock
    from handfast_cpython.crypto import Crypto as Crypto
    from handfast_cpython.entropy import Entropy as Entropy
    from handfast_cpython.host import Host as Host
    from handfast_cpython.keystore import Keystore as Keystore
    from handfast_cpython.mqtt import MqttLink as MqttLink
    from handfast_cpython.swarm import Swarm as Swarm
    from handfast_cpython.uart import UartLink as UartLink

_HOMES = {
    "Clock": "handfast_cpython.clock",
    "Crypto": "handfast_cpython.crypto",
    "Entropy": "handfast_cpython.entropy",
    "Host": "handfast_cpython.host",
    "Keystore": "handfast_cpython.keystore",
    "MqttLink": "handfast_cpython.mqtt",
    "Swarm": "handfast_cpython.swarm",
    "UartLink": "handfast_cpython.uart",
}

__all__ = ["Clock", "Crypto", "Entropy", "Host", "Keystore", "MqttLink", "Swarm", "UartLink"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))
