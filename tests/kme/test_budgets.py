"""Key budgets: shares of what a link makes, and a greedy SAE that gets no more than its own."""

from pathlib import Path

import pytest
from installation import clients, until
from relays import asked, fill, kmes, network_of, ready

from handfast_hub.trunk.kme_answers import Key, KeysUnavailable
from handfast_kme.budgets import OTHERS, Budget


def test_what_a_link_makes_is_divided_by_shares() -> None:
    budget = Budget({"one": 3, "other": 1}, 400)
    budget.settle(200)
    assert (budget.allowance("one"), budget.allowance("other")) == (150, 50)
    budget.spend("one", 150)
    assert (budget.allowance("one"), budget.allowance("other")) == (0, 50)
    # 40 more come in.
    budget.settle(90)
    assert (budget.allowance("one"), budget.allowance("other")) == (30, 60)


def test_an_idle_account_does_not_keep_income_from_the_busy_one_once_it_is_full() -> None:
    budget = Budget({"busy": 1, "idle": 1}, 100)
    budget.settle(100)
    budget.spend("busy", 50)
    budget.settle(80)
    assert (budget.allowance("busy"), budget.allowance("idle")) == (30, 50)


def test_keys_that_are_voided_are_everybodys_loss_and_no_account_promises_what_is_not_there() -> None:
    budget = Budget({"one": 1, "other": 1, OTHERS: 2}, 400)
    budget.settle(400)
    budget.settle(40)
    assert [budget.allowance(who) for who in ("one", "other", "whoever")] == [10, 10, 20]
    budget.settle(0)
    assert [budget.allowance(who) for who in ("one", "other", "whoever")] == [0, 0, 0]


def test_what_is_more_than_a_full_store_belongs_to_whoever_comes_first() -> None:
    budget = Budget({"one": 1, "other": 1}, 100)
    budget.settle(130)
    assert budget.allowance("one") == 80
    budget.spend("one", 80)
    assert (budget.allowance("one"), budget.allowance("other")) == (0, 50)


GREEDY = """
[[consumer]]
name = "greedy-a"
node = "a"
[[consumer]]
name = "greedy-b"
node = "b"
[[consumer_link]]
consumers = ["greedy-a", "greedy-b"]
"""


async def test_a_greedy_sae_starves_no_other_at_either_end(tmp_path: Path) -> None:
    network, file = network_of(tmp_path, ("ab",), ("ab",), more=GREEDY)
    fill(network, 90)
    with kmes(network, file):
        async with clients(network, tmp_path, "greedy-a", "greedy-b", "sae-a", "sae-b") as (
            greedy,
            accomplice,
            modest,
            other,
        ):
            await ready(greedy, "greedy-b")
            await ready(accomplice, "greedy-a")
            taken: list[Key] = []
            with pytest.raises(KeysUnavailable) as raised:
                while True:
                    taken += await greedy.enc_keys("greedy-b", 5)
            assert raised.value.reason == "key_exhausted"
            assert "budget" in raised.value.detail
            assert len(taken) == 45
            # Nor by asking at the other end.
            with pytest.raises(KeysUnavailable, match="budget"):
                await accomplice.enc_keys("greedy-a")
            assert (await greedy.status("greedy-b")).stored_key_count == 0
            assert (await modest.status("sae-b")).stored_key_count == 45
            keys = await modest.enc_keys("sae-b", 40)
            assert await other.dec_keys("sae-a", [key.key_id for key in keys]) == keys


async def test_a_greedy_relayed_pair_does_not_starve_the_ends_of_a_link_on_its_way(tmp_path: Path) -> None:
    network, file = network_of(
        tmp_path, ("ab", "bc"), ("ac", "bc"), of_pair={"bc": "share = 3"}, of_link="reserve = 4"
    )
    fill(network, 80)
    with kmes(network, file):
        async with clients(network, tmp_path, "sae-a", "sae-b", "sae-c") as (greedy, modest, other):
            await ready(greedy, "sae-c")
            assert await until(lambda: asked(greedy, "sae-c", number=9))
            # The relay keeps three quarters of its second link for its own SAE.
            for number in (10, 9):
                answer = await asked(greedy, "sae-c", number=number)
                assert (answer is None) == (number == 10)
            assert await asked(greedy, "sae-c") is None
            keys = await modest.enc_keys("sae-c", 60)
            assert await other.dec_keys("sae-b", [key.key_id for key in keys]) == keys
