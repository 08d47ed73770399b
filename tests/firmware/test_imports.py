"""Every file of the SDK can be imported here, and so can every public name."""

import os

import handfast

FOLDER = handfast.__file__.rpartition("/")[0]


def modules(folder: str, package: str) -> "list[str]":
    """The names of the modules below a folder."""
    found = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            found.append(package if name == "__init__.py" else package + "." + name[:-3])
        elif "." not in name and name != "__pycache__":
            found.extend(modules(folder + "/" + name, package + "." + name))
    return found


def test_every_module_of_the_sdk_can_be_imported() -> None:
    names = modules(FOLDER, "handfast")
    assert "handfast.device" in names and "handfast.core.cbor" in names
    for name in names:
        __import__(name)


def test_every_public_name_can_be_imported_from_the_package() -> None:
    for name in ("Device", "Settings", "Message", "Error", "RefusedError", "EntropyError", "LinkClosed"):
        assert getattr(handfast, name).__name__ == name


def test_a_name_that_the_package_does_not_have_is_refused() -> None:
    try:
        handfast.Devise  # noqa: B018
    except AttributeError as error:
        assert "Device" in str(error)
    else:
        raise AssertionError("handfast has a Devise")
