"""Updates an EFR32 with silabs-ble-ota. The library begins at the AppLoader; the way there is its caller's.

usage: python3 silabs-ble-ota.py [--fast] FILE ADDRESS
"""

import asyncio
import sys
from pathlib import Path

from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError, BleakGATTProtocolErrorCode
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus
from silabs_ble_ota import perform_silabs_ota

CONTROL = "f7bf3564-fb6d-4e53-88a4-5e37e0326063"
DATA = "984227f3-34fc-4045-a5d0-2c581f81a153"
# What AppLoaders of Series 2 and of Series 1 are called.
APPLOADERS = ("OTA", "AppLoader")
TRIES = 4


async def find(address):
    """The device, as its application or as its AppLoader, which may have another address.

    BlueZ keeps the attributes of a device. What is found the first time is forgotten, so that the attributes of another
    mode are not taken for those that are there: the library wants that of its caller.
    """

    def wanted(device, advertisement):
        return device.address == address or advertisement.local_name in APPLOADERS

    for last in (False, True):
        device = await BleakScanner.find_device_by_filter(wanted, timeout=20)
        if device is None:
            sys.exit(f"{address} is not found")
        if not last:
            await forget(device.details["path"])
    return device


async def forget(path):
    """Has BlueZ remove a device."""
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    adapter = path.rsplit("/", 1)[0]
    await bus.call(
        Message(
            destination="org.bluez",
            path=adapter,
            interface="org.bluez.Adapter1",
            member="RemoveDevice",
            signature="o",
            body=[path],
        )
    )
    bus.disconnect()


async def enter(device):
    """From an application into its AppLoader: any byte to OTA Control, and the link ends. Whether it is the application
    itself that takes updates."""
    gone = asyncio.Event()
    try:
        async with BleakClient(device, disconnected_callback=lambda _: gone.set()) as client:
            if client.services.get_characteristic(CONTROL) is None:
                sys.exit("the device has no OTA Control")
            if client.services.get_characteristic(DATA) is not None:
                return True
            print("enters the AppLoader")
            await client.write_gatt_char(CONTROL, b"\x00", response=True)
            await asyncio.wait_for(gone.wait(), 10)
    except BleakGATTProtocolError as error:
        # It is refused; that the link ends before the answer is no refusal.
        if error.code != BleakGATTProtocolErrorCode.UNLIKELY_ERROR:
            raise
    except (BleakError, TimeoutError) as error:
        print(f"the way into the AppLoader: {error!r}")
    return False


async def main(arguments):
    fast = arguments[0] == "--fast"
    path, address = arguments[fast:]
    for _ in range(TRIES):
        device = await find(address)
        if device.name in APPLOADERS or await enter(device):
            return await perform_silabs_ota(Path(path).read_bytes(), device, on_log=print, fast=fast)
    sys.exit("the device does not enter its AppLoader")


asyncio.run(main(sys.argv[1:]))
