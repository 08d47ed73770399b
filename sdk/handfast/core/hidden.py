"""What a value with key material shows of itself: nothing but its name.

Values end in logs, in tracebacks with local variables and in the output of a failing test. A namedtuple
would write all its fields there.
"""


class Hidden:
    """The first base of a namedtuple that holds a secret: neither repr, str nor format shows a field.

    class Key(Hidden, namedtuple("Key", ("attempt", "secret"))):
        __slots__ = ()
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<%s, secret>" % type(self).__name__

    # MicroPython asks the tuple itself when this is not said.
    __str__ = __repr__
