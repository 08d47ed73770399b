"""The schema's history: it ends where the tables are, and nobody falls off its end."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from handfast_hub.registry import migrations
from handfast_hub.registry.engine import RegistryError, create_database, open_engine
from handfast_hub.registry.schema import metadata

FOLDER = Path(migrations.__file__).parent


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    database = str(tmp_path / "hub.sqlite")
    create_database(database)
    return open_engine(database)


def test_the_last_step_is_the_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_the_steps_make_exactly_the_tables_of_the_schema(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert migrations.revision(connection) == migrations.HEAD
    migrations.upgrade(engine)
    engine.dispose()


def test_a_step_that_fails_leaves_the_database_as_it_was(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("half way")

    monkeypatch.setattr(Operations, "create_index", broken)
    with pytest.raises(RuntimeError, match="half way"):
        migrations.upgrade(engine)
    monkeypatch.undo()
    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == []
    migrations.upgrade(engine)
    engine.dispose()


def test_a_device_that_an_old_hub_approved_twice_is_onboarded_again(engine: sa.Engine) -> None:
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number, active in ((1, 1), (2, 0)):
            connection.exec_driver_sql(
                "INSERT INTO devices (id, device_id, thumbprint, state, label, reason, highest_epoch,"
                f" lookahead, created_at) VALUES ({number}, x'0{number}', x'0{number}', 'admitted', '', '',"
                " 0, 1, 0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO keys (device, attempt, active, born, epoch, suite, sealed_secret, send_base,"
                f" send_bound, window, failures, sealed_root, created_at) VALUES ({number}, x'00', {active},"
                " 1, 0, -21, x'', 0, 0, x'', 0, x'', 0)"
            )
    migrations.upgrade(engine)
    with engine.connect() as connection:
        states = connection.exec_driver_sql("SELECT state FROM devices ORDER BY id").scalars().all()
    assert states == ["onboarded", "admitted"]
    engine.dispose()


def test_a_database_from_the_future_is_left_alone(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RegistryError, match="schema 9999"):
        migrations.upgrade(engine)
    engine.dispose()


def test_the_same_tables_can_be_written_for_postgresql() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    texts = [
        str(CreateTable(table).compile(dialect=postgresql.dialect())) for table in metadata.sorted_tables
    ]
    assert "BYTEA" in "".join(texts)
    assert "id BIGSERIAL NOT NULL" in "".join(texts)


def test_every_hot_statement_can_be_written_for_postgresql() -> None:
    import inspect

    from sqlalchemy.dialects import postgresql

    from handfast_hub.registry import backup, delivery, enrolment, reads, traffic
    from handfast_hub.registry.statements import Read, Write

    modules = (backup, delivery, enrolment, reads, traffic)
    found = {name: value for module in modules for name, value in vars(module).items()}
    texts = []
    for value in found.values():
        if isinstance(value, Write):
            statement = value._statement
            columns = statement.table.c.keys() if isinstance(statement, sa.Insert) else None
            texts.append(str(statement.compile(dialect=postgresql.dialect(), column_keys=columns)))
        elif isinstance(value, Read):
            count = len(inspect.signature(value._build).parameters)
            lists = [[sa.bindparam(f"v{at}_{index}") for index in range(2)] for at in range(count)]
            texts.append(str(value._build(*lists).compile(dialect=postgresql.dialect())))
    assert len(texts) > 20
    assert all(text.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE") for text in texts)
