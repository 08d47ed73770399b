"""What `list` and `status` show: rows of plain values, the same for tables and for JSON."""

from collections.abc import Callable
from typing import Any

from cryptography import x509

from handfast_kme.cells import A_KEY
from handfast_kme.dials import read_dials
from handfast_kme.installed import Folder
from handfast_kme.network import Network
from handfast_kme.store import Store
from handfast_kme.tables import NetworkError

Row = dict[str, Any]


def rows(network: Network, noun: str) -> list[Row]:
    """The rows of one noun."""
    return _NOUNS[noun](network)


def link_status(network: Network) -> list[Row]:
    """One row a provider link, from the stores and the dials; KeystoreError before apply."""
    folder = Folder(network.group.folder)
    found = []
    for link in network.provider_link:
        alice, bob = network.ends(link)
        path = folder.store(alice.name)
        if not path.exists():
            raise NetworkError(
                f"{alice.name} never ran: call 'handfast-kme apply' and 'handfast-kme serve' first"
            )
        store = Store(path, only_look=True)
        try:
            history, cells, relayed = (
                store.history(link.name, 50),
                store.count(link.name),
                store.passed(link.name),
            )
        finally:
            store.close()
        made = [row for row in history if "qber" in row]
        last: Row = made[-1] if made else {}
        seconds = sum(row["link_seconds"] for row in made)
        dials = read_dials(folder.dials(link.name))
        found.append(
            {
                "link": link.name,
                "between": f"{alice.name} {bob.name}",
                "model": f"{link.model} (simulated)",
                "qber_percent": round(100 * last["qber"], 2) if last else None,
                "key_bits_per_second": round(sum(row["secret_bits"] for row in made) / seconds)
                if made
                else None,
                "keys": cells // A_KEY,
                "relayed_last_hour": relayed,
                "alarm": last.get("level"),
                "reasons": "; ".join(last.get("reasons", [])) or history[-1].get("failure", "")
                if history
                else "",
                "attack": f"{dials.attack} {dials.dial:g}",
                "faults": ", ".join(f"{name} {dial:g}" for name, (dial, _) in dials.faults.items()),
            }
        )
    return found


def _paths(network: Network) -> list[Row]:
    found = []
    for pair in network.consumer_link:
        start = network.node_of(pair.consumers[0]).name
        path = next(iter(network.paths(pair, start)), None)
        disjoint = network.paths(pair, start, two=True)
        given = any(set(path.consumers) == set(pair.consumers) for path in network.path)
        found.append(
            {
                "consumers": " ".join(pair.consumers),
                "nodes": " ".join(path.nodes) if path else "none",
                "hops": len(path.links) if path else 0,
                "relays_that_see_the_keys": (" ".join(path.relays) or "none") if path else None,
                "two_without_a_common_relay": ", ".join(" ".join(way.nodes) for way in disjoint) or "none",
                "found": "in the file" if given else "automatically",
            }
        )
    return found


def _certificates(network: Network) -> list[Row]:
    folder = Folder(network.group.folder)
    files = [(folder.authority / "ca.pem", "ca")]
    files += [(folder.node(node.name) / "kme.pem", f"node {node.name}") for node in network.node]
    files += [
        (folder.line(link.name) / "line.pem", f"provider link {link.name}") for link in network.provider_link
    ]
    files += [(folder.consumer(sae.name) / "sae.pem", f"consumer {sae.name}") for sae in network.consumer]
    found = []
    for path, owner in files:
        certificate = x509.load_pem_x509_certificate(path.read_bytes()) if path.exists() else None
        found.append(
            {
                "owner": owner,
                "subject": certificate.subject.rfc4514_string() if certificate else None,
                "holds_until": f"{certificate.not_valid_after_utc:%Y-%m-%d}" if certificate else None,
                "file": str(path),
            }
        )
    return found


def _providers(network: Network) -> list[Row]:
    found = []
    for provider in network.provider:
        links = [link.name for link in network.provider_link if provider.name in link.providers]
        found.append({"name": provider.name, "node": provider.node, "links": " ".join(links)})
    return found


_NOUNS: dict[str, Callable[[Network], list[Row]]] = {
    "group": lambda network: [{"name": network.group.name, "folder": str(network.group.folder)}],
    "nodes": lambda network: [
        {
            "name": n.name,
            "uid": n.uid,
            "kme_id": n.kme_id,
            "url": f"https://{n.address}:{n.port}",
            "peer_port": n.peer_port,
            "relay": n.relay,
        }
        for n in network.node
    ],
    "node-links": lambda network: [
        {"nodes": " ".join(link.nodes), "algorithm": link.algorithm} for link in network.node_link
    ],
    "providers": _providers,
    "provider-links": lambda network: [
        {
            "name": link.name,
            "providers": " ".join(link.providers),
            "model": f"{link.model} (simulated)",
            "key_request_interval": link.key_request_interval,
            "cost": link.cost,
            "reserve": link.reserve,
            "line": f"{link.line_address}:{link.line_port}",
        }
        for link in network.provider_link
    ],
    "consumers": lambda network: [
        {
            "name": c.name,
            "node": c.node,
            "subject": network.subject(c),
            "key_type": c.key_type,
            "port": c.port,
        }
        for c in network.consumer
    ],
    "consumer-links": lambda network: [
        {
            "consumers": " ".join(pair.consumers),
            "bidirectional": pair.bidirectional,
            "share": pair.share,
            "key_size": pair.key_size,
        }
        for pair in network.consumer_link
    ],
    "paths": _paths,
    "certificates": _certificates,
}
