"""A device for every test, without hardware: `brickproof simulate`, which must be on PATH."""

import json
import subprocess
import urllib.request

import pytest

TARGET = "nrf52840-mcuboot-swap-move"


class Device:
    """A simulated device, and what can be done to it."""

    def __init__(self, ready):
        self.address, self.bus, self.control = ready["address"], ready["bus"], ready["control"]

    def state(self):
        """Slots, running image, power and battery."""
        return self.request("/state")

    def post(self, path, body):
        """Does something to it: /power, /reset, /link, /battery, /fault."""
        return self.request(path, json.dumps(body).encode())

    def request(self, path, body=None):
        with urllib.request.urlopen(self.control + path, data=body, timeout=30) as answer:
            return json.load(answer)

    def running(self):
        """The version in the primary slot, and whether it is confirmed."""
        state = self.state()
        primary = next(slot for slot in state["slots"] if slot["slot"] == "primary")
        return primary["version"], state["state"]


@pytest.fixture
def device(monkeypatch):
    """A device with version 1.0.0; programs of this test find it as if it were on the system's Bluetooth."""
    command = ["brickproof", "simulate", "--target", TARGET, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            device = Device(json.loads(process.stdout.readline()))
            monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", device.bus)
            yield device
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """Version 1.1.0, signed with the development key that simulated devices trust."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "app.bin").write_bytes(bytes(range(256)) * 200)
    signed = folder / "app.signed.bin"
    sign = ["brickproof", "image", "sign", folder / "app.bin", signed, "--version", "1.1.0"]
    subprocess.run(sign, check=True, stdout=subprocess.DEVNULL)
    return signed.read_bytes()
