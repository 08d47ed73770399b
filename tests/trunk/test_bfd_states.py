"""The state machine of BFD by the text of RFC 5880 sections 6.2 and 6.8.6."""

import pytest
from bfd_sessions import ADMIN_DOWN, DOWN, INIT, UP, asked, brought, said

from handfast_hub.trunk.bfd import INTERVAL, Changed
from handfast_hub.trunk.bfd_packet import Diagnostic, State

# Section 6.2, the arcs of the diagram, and section 6.8.6: what is received, and what becomes of each state.
ARCS = {
    #              DOWN  INIT  UP    as (state, diagnostic or None when nothing changes)
    ADMIN_DOWN: ((DOWN, 0), (DOWN, 3), (DOWN, 3)),
    DOWN: ((INIT, 0), (INIT, 0), (DOWN, 3)),
    INIT: ((UP, 0), (UP, 0), (UP, 0)),
    UP: ((DOWN, 0), (UP, 0), (UP, 0)),
}


@pytest.mark.parametrize("received", State)
@pytest.mark.parametrize("state", [DOWN, INIT, UP])
def test_the_state_machine_has_the_arcs_of_the_rfc(state: State, received: State) -> None:
    one = brought(state)
    one.receive(said(state=received).encode(), 0.1)
    expected, diagnostic = ARCS[received][state - 1]
    assert (one.state, one.diagnostic) == (expected, diagnostic)
    assert one.next_event() == (
        None if expected is state else Changed(state, expected, Diagnostic(diagnostic))
    )
    assert one.remote_state is received


@pytest.mark.parametrize("state", [INIT, UP])
def test_a_detection_time_without_a_packet_takes_the_session_down(state: State) -> None:
    one = brought(state)
    assert one.detection_time == 3 * INTERVAL
    one.handle_timer(0.899)
    assert one.state is state
    one.handle_timer(0.9)
    assert one.next_event() == Changed(state, DOWN, Diagnostic.CONTROL_DETECTION_TIME_EXPIRED)
    # Section 6.8.1: what names the peer is forgotten; section 6.8.18: and so is its pace.
    assert (one.remote_discriminator, one.remote_min_rx_interval) == (0, 1)
    assert asked(one, 0.9)[-1].your_discriminator == 0


@pytest.mark.parametrize("received", State)
def test_a_session_that_is_held_down_stays_down_and_says_so(received: State) -> None:
    one = brought(UP)
    one.disable()
    assert one.next_event() == Changed(UP, ADMIN_DOWN, Diagnostic.ADMINISTRATIVELY_DOWN)
    packet = asked(one, 0.0)[0]
    assert (packet.state, packet.diagnostic) == (ADMIN_DOWN, 7)
    one.receive(said(state=received, poll=True).encode(), 0.1)
    assert (one.state, one.next_event()) == (ADMIN_DOWN, None)
    # Section 6.8.6 discards the packet before it comes to the Poll bit.
    assert not any(packet.final for packet in asked(one, 0.1))
    one.enable()
    assert one.next_event() == Changed(ADMIN_DOWN, DOWN, Diagnostic.ADMINISTRATIVELY_DOWN)
    one.enable()
    assert one.next_event() is None
