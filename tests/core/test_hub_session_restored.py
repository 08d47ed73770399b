"""A hub from an old copy of its database finds its devices and never counts where it counted before."""

from host_crypto import crypto
from joined import active, enrolled, meet

from handfast.core import hub_session
from handfast.core.records import decode_header
from handfast.core.topics import TELEMETRY


def test_a_hub_from_an_old_copy_finds_a_device_that_went_on() -> None:
    for steps in (0, 1, 5, 64):
        device, hub = active(crypto)
        copy = hub.disk
        for step in range(steps):
            device.restart(float(step))
            meet(device, hub, float(step))
        hub.disk = copy
        hub.restart()
        hub.commit(hub_session.restored(hub.ring))
        hub.restart()
        device.session.send(TELEMETRY, b"21.5 C", 100.0)
        for channel, record in device.frames(100.0):
            hub.receive(channel, record, 100.0)
        assert hub.delivered[-1] == (TELEMETRY, b"21.5 C")
        assert hub.ring.active.epoch == device.session.epoch and hub.ring.lookahead == 1


def test_a_restored_hub_never_counts_where_it_counted_before() -> None:
    device, hub = active(crypto)
    copy, used = hub.disk, []
    for step in range(4):
        used.extend([(hub.ring.active.epoch, decode_header(hub.seal(TELEMETRY, b"")).piv) for _ in range(3)])
        device.restart(float(step))
        meet(device, hub, float(step))
    hub.disk = copy
    hub.restart()
    hub.commit(hub_session.restored(hub.ring))
    hub.restart()
    for step in range(4):
        epoch = device.session.epoch
        device.restart(10.0 + step)
        meet(device, hub, 10.0 + step)
        assert hub.ring.active.epoch == epoch + 1
        again = [(epoch + 1, decode_header(hub.seal(TELEMETRY, b"")).piv) for _ in range(3)]
        assert all(piv >= 1 << 32 for _, piv in again)
        assert not set(used) & set(again)
        used.extend(again)


def test_a_record_replayed_into_a_restored_hub_leads_to_no_second_nonce() -> None:
    device, hub = active(crypto)
    copy, hellos, used = hub.disk, [], []
    for step in range(3):
        device.restart(float(step))
        hello = device.frames(float(step))[0]
        hellos.append(hello)
        device.receive(*hub.answer(hub.receive(*hello, now=float(step))))
        used.append(hub.ring.active.epoch)
    hub.disk = copy
    hub.restart()
    hub.commit(hub_session.restored(hub.ring))
    for hello in hellos:
        opened = hub.receive(*hello, now=50.0)
        assert decode_header(hub.answer(opened)[1]).piv >= 1 << 32


def test_a_restored_hub_asks_for_a_step_and_a_second_copy_starts_higher() -> None:
    _, hub = active(crypto)
    ring = hub_session.restored(hub.ring)
    assert hub_session.wants_step(ring) and ring.lookahead == 64
    assert ring.active.send_next == ring.active.send_bound == ring.active.send_base == (1 << 32) + 1024
    assert hub_session.restored(hub.ring, 7 << 32).active.send_next == 7 << 32
    assert hub_session.next_epoch(ring) == 65


def test_a_restored_hub_finds_a_device_whose_pending_was_promoted_since() -> None:
    device, hub = enrolled(crypto)
    copy = hub.disk
    meet(device, hub)
    device.restart(1.0)
    meet(device, hub, 1.0)
    hub.disk = copy
    hub.restart()
    hub.commit(hub_session.restored(hub.ring))
    device.session.send(TELEMETRY, b"21.5 C", 2.0)
    opened = hub.receive(*device.frames(2.0)[0], now=2.0)
    assert opened.promoted and opened.stepped and hub.ring.active.epoch == 1
