"""Keeps a Python program warm: it is imported once, and each run of it is a fork.

Under emulation the imports of a command-line tool take ten times as long as what it does. `warm-python serve SOCKET
MODULE` imports the module and waits; `warm-python run SOCKET FUNCTION PROGRAM ARGUMENT...` runs FUNCTION of it with
these arguments, this process's environment, folder, input and output, and exits as it exits. The program is the one
that is installed, unchanged; only its start is quicker.
"""

import importlib
import json
import os
import signal
import socket
import sys


def serve(place, module):
    importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(place)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            oversee(connection, module)
        connection.close()


def oversee(connection, module):
    """Runs the program in a process of its own, and ends it when whoever asked for it is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    wanted = json.loads(message)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        connection.close()
        os.environ.clear()
        os.environ.update(wanted["environment"])
        os.chdir(wanted["folder"])
        sys.argv = wanted["arguments"]
        sys.exit(getattr(sys.modules[module], wanted["function"])())
    try:
        # Whichever comes first: nobody may kill before the group is there.
        os.setpgid(child, child)
    except (PermissionError, ProcessLookupError):
        pass
    for stream in streams:
        os.close(stream)
    watcher = os.fork()
    if watcher == 0:
        # Its end of the connection is readable when the other one is closed.
        connection.recv(1)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os._exit(0)
    _, status = os.waitpid(child, 0)
    connection.sendall(bytes([os.waitstatus_to_exitcode(status) % 256]))
    os.kill(watcher, signal.SIGKILL)
    os._exit(0)


def run(place, function, arguments):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(place)
    wanted = {"function": function, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    socket.send_fds(connection, [json.dumps(wanted).encode()], [0, 1, 2])
    code = connection.recv(1)
    sys.exit(code[0] if code else 1)


if sys.argv[1] == "serve":
    serve(*sys.argv[2:4])
else:
    run(sys.argv[2], sys.argv[3], sys.argv[4:])
