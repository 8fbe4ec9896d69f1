"""Runs adafruit-nrfutil over a pty: like any line without modem control, that has no DTR to toggle.

usage: python3 adafruit-nrfutil.py ARGUMENT...
"""

import sys

import serial

for name in ("_update_dtr_state", "_update_rts_state"):

    def quietly(self, toggle=getattr(serial.Serial, name)):
        try:
            toggle(self)
        except OSError:
            pass

    setattr(serial.Serial, name, quietly)

from nordicsemi.__main__ import cli  # noqa: E402

sys.argv[0] = "adafruit-nrfutil"
cli()
