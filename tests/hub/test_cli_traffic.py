"""`handfast-hub` for readings and commands: listened to, sent, and shown as they are."""

import json
import signal

import pytest
from operator_shell import Shell, claim, handfast_hub, onboarded

from handfast_cpython.terminal import UNREACHABLE, USAGE
from handfast_hub.cli.options import show_table


async def test_readings_are_listened_to_and_commands_are_sent(shell: Shell) -> None:
    import asyncio

    device_id = await onboarded(shell, 1)
    listened = await asyncio.to_thread(shell.type, "listen", "--after", "0", "--count", "1")
    assert listened.endswith(f"{device_id.hex()} telemetry: 21.5 C\n")
    line = await asyncio.to_thread(
        shell.type, "listen", "--after", "0", "--count", "1", "--json", "--device", device_id.hex()
    )
    assert json.loads(line)["data"] == b"21.5 C".hex()
    sent = await asyncio.to_thread(shell.json, "send", device_id.hex()[:8], "open", "--no-wait")
    assert (sent["state"], sent["data"]) == ("queued", b"open".hex())
    sentence = await asyncio.to_thread(
        shell.one_sentence, "send", device_id.hex(), "00ff", "--hex", "--expires", "1s", code=UNREACHABLE
    )
    assert "was not answered within 1s" in sentence
    assert "h'00ff'" in await asyncio.to_thread(shell.type, "commands")
    assert "expected hex digits" in await asyncio.to_thread(
        shell.one_sentence, "send", device_id.hex(), "xx", "--hex", code=USAGE
    )


def test_a_command_for_a_device_that_is_not_onboarded_is_one_sentence(shell: Shell) -> None:
    shell.type("approve", claim(1))
    device_id = shell.json("devices")[0]["device_id"]
    assert "needs an onboarded device" in shell.one_sentence("send", device_id, "open", code=USAGE)


async def test_ctrl_c_ends_listen_without_a_traceback(shell: Shell) -> None:
    import asyncio

    await onboarded(shell, 1)
    process = handfast_hub("--config", str(shell.config), "listen", "--after", "0")
    assert process.stdout is not None
    try:
        assert "21.5 C" in await asyncio.to_thread(process.stdout.readline)
        process.send_signal(signal.SIGINT)
        _, stderr = await asyncio.to_thread(process.communicate, timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stderr) == (130, "")


def test_what_a_stranger_calls_itself_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("detail",), [("[/red]a[b]",), ("\x1b]0;owned\x07",)], "")
    assert capsys.readouterr().out.split()[1:] == ["[/red]a[b]", "\ufffd]0;owned\ufffd"]
