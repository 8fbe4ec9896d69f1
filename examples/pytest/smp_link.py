"""SMP over Bluetooth LE with bleak: connections, requests and answers, and the upload of an image."""

import asyncio
import hashlib
import struct
from contextlib import asynccontextmanager

import cbor2
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError

SMP = "da2e7828-fbce-4e01-ae9e-261174997c48"
READ, WRITE = 0, 2
OS, IMAGE = 0, 1
RESET, PARAMETERS, STATE, UPLOAD = 5, 6, 0, 1


class Refused(Exception):
    """The device has refused a request, or does not run what it should."""


async def patiently(address, work, *arguments, attempts=5):
    """Connects and does some work; again, when the connection is lost in the middle."""
    for attempt in range(attempts):
        try:
            async with connected(address) as link:
                return await work(link, *arguments)
        except (BleakError, TimeoutError, OSError):
            if attempt + 1 == attempts:
                raise
            await asyncio.sleep(1)


@asynccontextmanager
async def connected(address):
    """A connection that is ready for requests."""
    device = await BleakScanner.find_device_by_address(address, timeout=30)
    if device is None:
        raise BleakError(f"{address} is not there")
    lost = asyncio.Event()
    async with BleakClient(device, disconnected_callback=lambda _: lost.set(), timeout=20) as client:
        link = Link(client, lost)
        await client.start_notify(SMP, link.heard)
        yield link


class Link:
    """Requests and answers over a connection, one at a time."""

    def __init__(self, client, lost):
        self.client, self.lost = client, lost
        self.room = client.services.get_characteristic(SMP).max_write_without_response_size
        self.sequence, self.pieces, self.answers = 0, b"", asyncio.Queue()

    def heard(self, _, piece):
        self.pieces += piece
        while len(self.pieces) >= 8 and len(self.pieces) >= (end := 8 + int.from_bytes(self.pieces[2:4])):
            self.answers.put_nowait(self.pieces[:end])
            self.pieces = self.pieces[end:]

    async def ask(self, op, group, command, body=None, seconds=10):
        """Sends a request; what the device answers."""
        payload, sequence = cbor2.dumps(body or {}), self.sequence
        self.sequence = (sequence + 1) % 256
        packet = struct.pack(">BBHHBB", 8 | op, 0, len(payload), group, sequence, command) + payload
        for start in range(0, len(packet), self.room):
            await self.client.write_gatt_char(SMP, packet[start : start + self.room], response=False)
        answer = cbor2.loads((await self.answer(sequence, seconds))[8:])
        if answer.get("rc") or answer.get("err"):
            raise Refused(answer)
        return answer

    async def answer(self, sequence, seconds):
        """The answer to a request; an exception as soon as the link is lost."""
        lost = asyncio.create_task(self.lost.wait())
        try:
            async with asyncio.timeout(seconds):
                while True:
                    answer = asyncio.create_task(self.answers.get())
                    await asyncio.wait([answer, lost], return_when=asyncio.FIRST_COMPLETED)
                    if not answer.done():
                        answer.cancel()
                        raise BleakError("the connection is lost")
                    if answer.result()[6] == sequence:
                        return answer.result()
        finally:
            lost.cancel()

    async def upload(self, image):
        """Sends the image, from where the device says it already has it."""
        offset, longest = 0, min(self.room, await self.buffer())
        while offset < len(image):
            body = {"off": offset, "data": b""}
            if offset == 0:
                body |= {"image": 0, "len": len(image), "sha": hashlib.sha256(image).digest()}
            room = longest - 8 - len(cbor2.dumps(body)) - 2
            body["data"] = image[offset : offset + room]
            # The first chunk waits for the erase of the slot, and the last for the check of the hash.
            offset = (await self.ask(WRITE, IMAGE, UPLOAD, body, seconds=40))["off"]

    async def buffer(self):
        """Size of the device's packet buffers in bytes: 384 where it does not tell."""
        try:
            return (await self.ask(READ, OS, PARAMETERS))["buf_size"]
        except Refused:
            return 384

    async def active(self):
        """The image that runs."""
        slots = (await self.ask(READ, IMAGE, STATE))["images"]
        return next(slot for slot in slots if slot.get("active"))
