"""What a KME tells an SAE of its supply: keys, their rate, and the way that they would go now."""

from collections.abc import Mapping
from typing import Any

from handfast_kme.alarms import Level
from handfast_kme.budgets import payer
from handfast_kme.cells import CELL
from handfast_kme.link_end import LinkEnd
from handfast_kme.link_states import UNKNOWN
from handfast_kme.messages import Demands
from handfast_kme.network import Network
from handfast_kme.routing import Router, Wanted
from handfast_kme.tables import ConsumerLink


async def supply(
    network: Network, router: Router, pair: ConsumerLink, start: str, own: Mapping[str, LinkEnd]
) -> dict[str, Any]:
    """Part of Status (clause 6.1): stored_key_count, max_key_count, and everything of status_extension.

    `handfast_relays` names every node whose KME sees the keys, beside those of the two SAEs.
    `handfast_alarmed_links` names links in alarm over which their keys may have come before: those may be
    known to somebody, even if the next key goes another way. `handfast_alarms` counts their alarms, for who
    asks seldom.
    """
    wanted = Wanted(1, pair.key_size // 8, Demands(None, 1))
    path = router.planned(pair, start, wanted)
    if path is None:
        return {"stored_key_count": 0, "max_key_count": 0, "status_extension": {"handfast_simulated": True}}
    links = [network.named("provider_link", name) for name in path.links]
    states = [router.state(name) for name in path.links]
    # By relay every key that is asked for alone costs a tag key on each hop.
    per_key = -(-pair.key_size // (8 * CELL)) + bool(path.relays)
    maximum = min((link.capacity - (link.reserved if path.relays else 0)) // per_key for link in links)
    cells = [router.spare(path, name) for name in path.links]
    cells.append(await own[path.links[0]].purse.allowance(payer(*pair.consumers)))
    stored = max(0, min(min(cells) // per_key, maximum))
    errors = max(state.error_ppm for state in states)
    return {
        "stored_key_count": stored,
        "max_key_count": max(0, maximum),
        "status_extension": {
            "handfast_simulated": True,
            "handfast_qber_percent": None if errors == UNKNOWN else round(errors / 1e4, 3),
            "handfast_key_rate_bits_per_second": min(state.rate for state in states),
            "handfast_alarm": Level(max(state.level for state in states)).name.lower(),
            "handfast_link_up": all(state.up for state in states),
            "handfast_starves_in_seconds": stored * min(link.key_request_interval for link in links),
            "handfast_path": list(path.nodes),
            "handfast_relays": list(path.relays),
            "handfast_alarmed_links": router.alarmed(pair),
            "handfast_alarms": router.alarms(pair),
            "handfast_disjoint_paths": router.ways(pair, start, wanted),
        },
    }
