"""The uploader against a device that loses power, refuses, and goes back."""

import asyncio

import pytest
from smp_link import Refused
from uploader import update


def test_an_update_runs_and_is_confirmed(device, image):
    asyncio.run(update(device.address, image))
    assert device.running() == ("1.1.0", "confirmed")


def test_power_is_lost_in_the_middle_of_the_upload(device, image):
    device.post("/fault", {"when": {"upload-progress": 0.5}, "do": {"power-loss": {"for": "1 s"}}})
    boots = device.state()["boots"]
    asyncio.run(update(device.address, image))
    assert device.running() == ("1.1.0", "confirmed")
    assert device.state()["boots"] == boots + 2, "one for the power loss, one for the update"


def test_power_is_lost_in_the_middle_of_the_swap(device, image):
    device.post("/fault", {"when": {"swap-progress": 0.5}, "do": {"power-loss": {"for": "1 s"}}})
    asyncio.run(update(device.address, image))
    assert device.running() == ("1.1.0", "confirmed")


def test_a_device_that_goes_back_is_no_success(device, image):
    # Power goes in the moment of the confirm: the image was not confirmed, so the old one comes back.
    trial = {"request": "image-state", "op": "write", "nth": 2}
    device.post("/fault", {"when": trial, "do": {"power-loss": {"for": "1 s"}}})
    with pytest.raises(Refused, match="gone back"):
        asyncio.run(update(device.address, image))
    assert device.running() == ("1.0.0", "confirmed")


def test_a_refusal_is_no_success(device, image):
    device.post("/fault", {"when": {"request": "image-upload", "nth": 3}, "do": {"refuse": {"rc": 11}}})
    with pytest.raises(Refused):
        asyncio.run(update(device.address, image))
    assert device.running() == ("1.0.0", "confirmed")
