"""A Python that need not import other people's libraries first: one process imports those, never the project, and each
program that asks for it is a child forked from it before anything has run there. It is a process of its own, as ever,
with its own folder, environment, streams and processor time, and imports the project anew.

    python ready.py serve SOCKET                 makes ready, then forks a program for each that asks
    python ready.py ask SOCKET -m MODULE ...     is what `python -m MODULE ...` is, and `-c CODE ...` likewise

Where environment variables are read by one of the libraries while it is imported, and where signals are what is tested,
use `sys.executable`."""

import atexit
import contextlib
import functools
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

# not pyplot, which joins the kernel that it is first imported in
LIBRARIES = (
    'torch', 'torch.utils.data', 'torchvision', 'timm', 'open_clip', 'numpy', 'pandas', 'scipy.stats',
    'matplotlib.figure', 'matplotlib.backends.backend_agg', 'pydantic', 'typer', 'rich', 'imagehash', 'ipywidgets',
    'anywidget', 'ipykernel.kernelapp', 'fastcore.all', 'tqdm.auto',
)  # fmt: skip


@functools.cache
def python():
    "The words that a command begins with instead of `python`; the first call makes ready. Linux alone can do it."
    if not hasattr(os, 'pidfd_open'):
        return (sys.executable,)
    path = Path(tempfile.mkdtemp(prefix='trmml-ready-')) / 'socket'
    environment = {**os.environ, 'MPLBACKEND': 'module://matplotlib_inline.backend_inline'}  # what a kernel chooses
    server = subprocess.Popen([sys.executable, __file__, 'serve', str(path)], env=environment)
    atexit.register(server.kill)
    while not path.exists():
        assert server.poll() is None, 'the process that programs are forked from has ended'
        time.sleep(0.05)
    return (sys.executable, '-I', '-S', __file__, 'ask', str(path))


def serve(path):
    "Fork a program for each that asks, and a process that watches both; returns in the program, with what it is."
    tests = os.getppid()  # a pytest that is killed takes this process with it
    for name in LIBRARIES:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.settimeout(1)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
        while os.getppid() == tests:
            with contextlib.suppress(TimeoutError), server.accept()[0] as asker:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    if asked := begin(asker):
                        return asked


def begin(asker):
    "In the program: what is asked for, as its streams are set. The process that watches ends here."
    words, streams, *_ = socket.recv_fds(asker, 2**20, 3)
    if (child := os.fork()) == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        return json.loads(words)
    for stream in streams:
        os.close(stream)
    if (ended := os.pidfd_open(child)) not in select.select([ended, asker], [], [])[0]:
        os.killpg(child, signal.SIGKILL)  # who asked is gone
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        asker.sendall(f'{status}\n'.encode())
    os._exit(0)


def become(asked):
    "Be the program that was asked for."
    os.setsid()
    os.chdir(asked['folder'])
    os.environ.clear()
    os.environ.update(asked['environment'], JPY_PARENT_PID=str(os.getppid()))
    kind, what, *rest = asked['arguments']
    sys.path.insert(0, '')
    sys.argv = [what if kind == '-m' else '-c', *rest]
    if kind == '-m':
        runpy.run_module(what, run_name='__main__', alter_sys=True)
    else:
        sys.modules['__main__'] = main = types.ModuleType('__main__')
        exec(compile(what, '<string>', 'exec'), main.__dict__)


def ask(path, arguments):
    "Ask for a program, and wait until it has ended: its exit status."
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        asked = dict(folder=os.getcwd(), environment=dict(os.environ), arguments=arguments)
        socket.send_fds(server, [json.dumps(asked).encode()], [0, 1, 2])
        return int(server.recv(100) or 1)


if __name__ == '__main__':
    what, path, *rest = sys.argv[1:]
    if what == 'ask':
        sys.exit(ask(path, rest))
    del sys.path[0]  # this folder
    if asked := serve(path):
        become(asked)
