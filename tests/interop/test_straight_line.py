"""The frozen onboardings by other people's libraries, and what each of ours can check of them."""

import pytest
from crypto_libraries import EVERY_LIBRARY, crypto_of
from interop.straight_line import onboarding
from vector_file import Vector, load

from handfast.core import messages
from handfast.core.credentials import credential_in, kid_in, make_ccs
from handfast.core.key_schedule import KeySchedule
from handfast.core.methods import Signatures
from handfast.core.suites import suite

ONBOARDINGS = [vector for vector in load("handshake") if vector.name.startswith("onboarding_")]


@pytest.mark.parametrize("vector", ONBOARDINGS, ids=lambda vector: vector.name[11:-4])
def test_an_implementation_that_shares_nothing_gives_the_frozen_values(vector: Vector) -> None:
    values = onboarding(vector.fields)
    assert values == {name: vector.fields[name] for name in values}
    assert len(values) > 15


@EVERY_LIBRARY
@pytest.mark.parametrize("vector", ONBOARDINGS, ids=lambda vector: vector.name[11:-4])
def test_every_library_takes_the_frozen_ciphertexts_and_signatures(vector: Vector, library: str) -> None:
    fields = vector.fields
    crypto = crypto_of(library)
    row = suite(int(fields["suites_i"].split()[-1]))
    schedule = KeySchedule(crypto, row)
    message_1 = messages.decode_message_1(messages.decode_frame(fields["frame_1"]).message)
    assert crypto.kem_public_key(row.kem, fields["kem_seed"]) == message_1.g_x
    g_y, _ = messages.split_message_2(messages.decode_frame(fields["frame_2"]).message, row)
    assert crypto.decapsulate(row.kem, fields["kem_seed"], g_y) == fields["g_xy"]

    hub, device = (
        make_ccs(
            crypto,
            fields[who + "_subject"].decode(),
            row.signature,
            crypto.signature_public_key(row.signature, fields[who + "_seed"]),
        )
        for who in ("hub", "device")
    )
    plaintext_2 = messages.decode_plaintext_2(fields["plaintext_2"])
    plaintext_3 = messages.decode_plaintext_3(fields["plaintext_3"])
    for id_cred, credential in ((plaintext_2.id_cred_r, hub), (plaintext_3.id_cred_i, device)):
        by_value = credential_in(crypto, id_cred)
        assert (by_value or credential) == credential
        assert kid_in(id_cred) == (None if by_value else credential.kid)
    Signatures().verify_2(
        schedule,
        fields["prk_2e"],
        fields["th_2"],
        plaintext_2.c_r,
        plaintext_2.id_cred_r,
        hub,
        b"",
        plaintext_2.signature_or_mac_2,
    )
    Signatures().verify_3(
        schedule,
        fields["prk_2e"],
        fields["th_3"],
        plaintext_3.id_cred_i,
        device,
        messages.encode_ead(plaintext_3.ead_3),
        plaintext_3.signature_or_mac_3,
    )
