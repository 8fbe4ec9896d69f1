"""Updates a device over Bluetooth LE: upload, test, reset, and confirm when the new image runs.

usage: python uploader.py ADDRESS IMAGE
"""

import asyncio
import sys
from contextlib import suppress

from bleak.exc import BleakError
from smp_link import IMAGE, OS, READ, RESET, STATE, WRITE, Refused, patiently


async def update(address, image):
    """Updates the device; raises an exception if the image does not run confirmed in the end."""
    new = await patiently(address, install, image)
    await patiently(address, confirm, new)


async def install(link, image):
    """Uploads the image, has it tested and resets; its hash."""
    # After a loss of link or power the device goes on from what it has.
    await link.upload(image)
    slots = (await link.ask(READ, IMAGE, STATE))["images"]
    new = next(slot["hash"] for slot in slots if slot["slot"] == 1)
    await link.ask(WRITE, IMAGE, STATE, {"hash": new, "confirm": False})
    with suppress(BleakError):
        await link.ask(WRITE, OS, RESET)
    await asyncio.wait_for(link.lost.wait(), 20)
    return new


async def confirm(link, new):
    """Confirms the image if it is the one that runs."""
    if (await link.active())["hash"] != new:
        raise Refused("the device has gone back to its old image")
    await link.ask(WRITE, IMAGE, STATE, {"hash": new, "confirm": True})
    if not (await link.active())["confirmed"]:
        raise Refused("the image is not confirmed")


if __name__ == "__main__":
    with open(sys.argv[2], "rb") as file:
        asyncio.run(update(sys.argv[1], file.read()))
