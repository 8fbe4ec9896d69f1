"""Updates an EFR32 with silabs-ble-ota. The library begins at the AppLoader; the way there is its caller's.

usage: python3 silabs-ble-ota.py [--fast] FILE ADDRESS
"""

import asyncio
import sys
from pathlib import Path

from bleak import BleakClient, BleakScanner
from silabs_ble_ota import perform_silabs_ota

CONTROL = "f7bf3564-fb6d-4e53-88a4-5e37e0326063"
DATA = "984227f3-34fc-4045-a5d0-2c581f81a153"
# What AppLoaders of Series 2 and of Series 1 are called.
APPLOADERS = ("OTA", "AppLoader")


async def find(address):
    """The device, as its application or as its AppLoader, which may have another address."""

    def wanted(device, advertisement):
        return device.address == address or advertisement.local_name in APPLOADERS

    device = await BleakScanner.find_device_by_filter(wanted, timeout=20)
    if device is None:
        sys.exit(f"{address} is not found")
    return device


async def enter(device):
    """From an application into its AppLoader, if it has one: any byte to OTA Control, and the link ends."""
    gone = asyncio.Event()
    async with BleakClient(device, disconnected_callback=lambda _: gone.set()) as client:
        if client.services.get_characteristic(CONTROL) is None:
            sys.exit("the device has no OTA Control")
        if client.services.get_characteristic(DATA) is not None:
            return
        print("enters the AppLoader")
        await client.write_gatt_char(CONTROL, b"\x00", response=True)
        await asyncio.wait_for(gone.wait(), 10)


async def main(arguments):
    fast = arguments[0] == "--fast"
    path, address = arguments[fast:]
    device = await find(address)
    if device.name not in APPLOADERS:
        await enter(device)
        device = await find(address)
    await perform_silabs_ota(Path(path).read_bytes(), device, on_log=print, fast=fast)


asyncio.run(main(sys.argv[1:]))
