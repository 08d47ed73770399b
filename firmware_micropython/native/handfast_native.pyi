"""The module in C, for type checkers; native/module.c has its names."""

from typing import Any

INTERFACE: int

def __getattr__(name: str) -> Any: ...
