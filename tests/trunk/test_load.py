"""The load run, shortened: `make soak` runs the whole ten minutes."""

import secrets
from pathlib import Path

import pytest
from load_plan import SHORT
from load_trunk import Load


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_nothing_is_lost_or_doubled_while_everything_is_killed_and_the_carrier_loses(
    tmp_path: Path, carrier: str
) -> None:
    load = Load(SHORT._replace(carrier=carrier), secrets.randbelow(2**32), tmp_path, print)
    print(f"--seed {load.numbers['seed']}")
    await load.run()
    assert [check for check in load.checks if not check.held] == []
    # The run was what it should be: readings of each class, lost frames, epochs of both kinds.
    assert all(load.numbers["recorded"].values())
    assert all(load.numbers["frames_lost"].values())
    assert load.numbers["epochs_with_qkd"]
    assert load.numbers["degraded"]["normal"]
