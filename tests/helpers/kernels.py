"""Fresh kernels without the wait for other people's libraries: one process imports those, never the project, and each
kernel is a child forked from it before anything has run. A kernel is a process of its own, as ever: it has its own
folder, environment and processor time, and imports the project anew.

    python kernels.py serve SOCKET             makes ready, then forks a kernel for each that asks
    python kernels.py ask SOCKET -f CONNECTION asks for a kernel and ends when that ends, or takes it with it"""

import importlib
import json
import os
import select
import signal
import socket
import sys

# not pyplot, which joins the kernel that it is first imported in
LIBRARIES = (
    'torch', 'torch.utils.data', 'torchvision', 'timm', 'open_clip', 'numpy', 'pandas', 'scipy.stats',
    'matplotlib.figure', 'matplotlib.backends.backend_agg', 'pydantic', 'typer', 'rich', 'imagehash', 'ipywidgets',
    'anywidget', 'ipykernel.kernelapp', 'fastcore.all', 'tqdm.auto',
)  # fmt: skip


def serve(path):
    "Fork a kernel for each that asks, one after the other; returns in the child, with what it was asked for."
    for name in LIBRARIES:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while True:
            asker = server.accept()[0]
            with asker, asker.makefile('rwb', buffering=0) as line:
                asked = json.loads(line.readline())
                if (child := os.fork()) == 0:
                    return asked
                ended = os.pidfd_open(child)
                if ended not in select.select([ended, asker], [], [])[0]:
                    os.killpg(child, signal.SIGKILL)  # who asked is gone
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                os.close(ended)
                try:
                    line.write(f'{status}\n'.encode())
                except OSError:
                    pass


def become(asked):
    "Be the kernel that was asked for."
    os.setsid()
    os.chdir(asked['folder'])
    os.environ.clear()
    os.environ.update(asked['environment'], JPY_PARENT_PID=str(os.getppid()))
    sys.argv = ['ipykernel_launcher', *asked['arguments']]
    sys.modules['ipykernel.kernelapp'].launch_new_instance()


def ask(path, arguments):
    "Ask for a kernel, and wait until it has ended: its exit status."
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        with server.makefile('rwb', buffering=0) as line:
            asked = dict(folder=os.getcwd(), environment=dict(os.environ), arguments=arguments)
            line.write(json.dumps(asked).encode() + b'\n')
            return int(line.readline() or 1)


if __name__ == '__main__':
    what, path, *rest = sys.argv[1:]
    if what == 'ask':
        sys.exit(ask(path, rest))
    del sys.path[0]  # this folder
    become(serve(path))
