"""Statements of the hot path: written with SQLAlchemy, compiled once, run on the driver's cursor.

SQLAlchemy's own execution costs 40 us for a statement and 8 us for each of its rows, more than
SQLite needs for the work. So a statement here is compiled to the dialect's SQL the first time and
then handed to the driver with plain values: bytes, integers, floats and texts need no conversion
on any database. A SELECT over many values is compiled for 1, 2, 4, 8 … of them and padded.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.dml import UpdateBase

Row = Any


class Write:
    """An INSERT, UPDATE or DELETE for many rows; its bind parameters are the keys of a row."""

    def __init__(self, statement: UpdateBase) -> None:
        self._statement = statement
        self._compiled: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run the statement once for each of `rows`; nothing for none."""
        if not rows:
            return
        name = connection.dialect.name
        if name not in self._compiled:
            self._compiled[name] = self._compile(connection, rows[0])
        sql, arrange = self._compiled[name]
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(sql, [arrange(row) for row in rows])
        finally:
            cursor.close()

    def _compile(
        self, connection: Connection, row: Mapping[str, Any]
    ) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
        compiled = self._statement.compile(dialect=connection.dialect, column_keys=list(row))
        constants = {name: value for name, value in compiled.params.items() if name not in row}
        order = compiled.positiontup
        pick: Callable[[Mapping[str, Any]], Any]
        if order is None:
            pick = dict
        elif len(order) == 1:
            pick = _tuple_of(order[0])
        else:
            pick = itemgetter(*order)
        if constants:
            return str(compiled), lambda row: pick({**constants, **row})
        return str(compiled), pick


class Read:
    """A SELECT with one or more lists of values, such as `column IN (…)`.

    `build` makes it from lists of bind parameters; the rows have the names of its columns.
    """

    def __init__(self, build: Callable[..., sa.Select[Any]]) -> None:
        self._build = build
        self._compiled: dict[tuple[str, int, int], tuple[str, Callable[[list[Any]], Any] | None]] = {}
        self._row: Callable[[Iterable[Any]], Row] | None = None

    def rows(self, connection: Connection, *lists: Sequence[Any]) -> list[Row]:
        """The rows for `lists`, of which none is empty."""
        size = 1
        longest = max(map(len, lists))
        while size < longest:
            size *= 2
        key = (connection.dialect.name, len(lists), size)
        if key not in self._compiled:
            self._compiled[key] = self._compile(connection, len(lists), size)
        sql, arrange = self._compiled[key]
        # The last value again and again: IN does not mind.
        given: list[Any] = []
        for values in lists:
            given += [*values, *[values[-1]] * (size - len(values))]
        cursor = connection.connection.cursor()
        try:
            cursor.execute(sql, given if arrange is None else arrange(given))
            found = cursor.fetchall()
        finally:
            cursor.close()
        row = self._row
        return [] if row is None else list(map(row, found))

    def _compile(
        self, connection: Connection, count: int, size: int
    ) -> tuple[str, Callable[[list[Any]], Any] | None]:
        """The SQL, and what makes its arguments of the values of all lists; None where they are these."""
        lists: list[list[sa.BindParameter[Any]]]
        lists = [[sa.bindparam(f"v{at}_{index}") for index in range(size)] for at in range(count)]
        statement = self._build(*lists)
        if self._row is None:
            self._row = _row_type([str(column.key) for column in statement.selected_columns])
        compiled = statement.compile(dialect=connection.dialect)
        names = [bind.key for each in lists for bind in each]
        constants = {name: value for name, value in compiled.params.items() if name not in names}
        order = compiled.positiontup
        if order is None:
            return str(compiled), lambda given: {**dict(zip(names, given, strict=True)), **constants}
        if order == names:
            return str(compiled), None
        places = [[*names, *constants].index(name) for name in order]
        fixed = list(constants.values())
        return str(compiled), lambda given: [[*given, *fixed][place] for place in places]


def _tuple_of(name: str) -> Callable[[Mapping[str, Any]], tuple[Any]]:
    return lambda row: (row[name],)


def _row_type(names: list[str]) -> Callable[[Iterable[Any]], Row]:
    row = namedtuple("row", names)  # type: ignore[misc]  # the names are data
    return row._make
