"A stand-in for the model hub on 127.0.0.1: its API, its redirects for large files, its headers, and its refusals."

import hashlib
import json
import os
import re
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import run

COMMIT = '5' * 40


class StandInHub:
    """Repositories from memory: name -> {file: bytes}.

    `gated` ones tell their names and keep their files, `private` ones answer as if unknown. `drops`: sha256 of a large
    file -> bytes after which its first answer breaks off. `slow`: seconds before every answer. `endless`: large files go on
    after their end, and no answer says how long it is."""

    def __init__(self, repos, gated=(), private=(), drops=None, slow=0.0, endless=False):
        self.repos, self.gated, self.private, self.slow, self.log = repos, set(gated), set(private), slow, []
        self.endless, self.sent = endless, 0
        self.drops = dict(drops or {})
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                with suppress(ConnectionError):
                    hub.answer(self, True)

            def do_HEAD(self):
                with suppress(ConnectionError):
                    hub.answer(self, False)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.http.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.http.server_address[1]}'

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def send(self, request, status, headers=(), body=b'', whole=True, cut=None):
        request.send_response(status)
        for key, value in {'Content-Length': len(body), 'X-Repo-Commit': COMMIT, **dict(headers)}.items():
            request.send_header(key, str(value))
        request.end_headers()
        if whole:
            request.wfile.write(body[:cut])
            if cut is not None:
                request.wfile.flush()
                request.connection.close()

    def send_for_ever(self, request, body):
        request.send_response(200)
        request.send_header('Connection', 'close')
        request.end_headers()
        request.close_connection = True
        while self.sent < 2**31:
            self.sent += request.wfile.write(body)

    def answer(self, request, whole):
        time.sleep(self.slow)
        path = request.path.split('?')[0]
        self.log.append((request.command, path))
        refused = lambda code, status: self.send(
            request, status, {'X-Error-Code': code, 'X-Error-Message': code}, b'{}', whole
        )
        if found := re.fullmatch(r'/lfs/(\w+)', path):
            body = next(
                b for files in self.repos.values() for b in files.values() if hashlib.sha256(b).hexdigest() == found[1]
            )
            if self.endless and whole:
                return self.send_for_ever(request, body)
            start = int(re.fullmatch(r'bytes=(\d+)-\d*', request.headers.get('Range') or 'bytes=0-')[1])
            span = {'Content-Range': f'bytes {start}-{len(body) - 1}/{len(body)}'} if start else {}
            cut = self.drops.pop(found[1], None)
            return self.send(request, 206 if start else 200, span, body[start:], whole, cut)
        found = re.fullmatch(r'/api/models/([^/]+/[^/]+)(?:/(revision|tree)/[^/]+(?:/.*)?)?', path)
        if found:
            files = self.repos.get(found[1])
            if files is None or found[1] in self.private:
                return refused('RepoNotFound', 401)
            if found[2] == 'tree':
                tree = [
                    dict(type='file', path=n, size=len(b), oid=hashlib.sha1(b).hexdigest()) for n, b in files.items()
                ]
                return self.send(request, 200, {'Content-Type': 'application/json'}, json.dumps(tree).encode(), whole)
            about = dict(id=found[1], modelId=found[1], sha=COMMIT, private=False, tags=[], downloads=0, likes=0)
            about |= dict(
                siblings=[dict(rfilename=n) for n in files], gated='auto' if found[1] in self.gated else False
            )
            return self.send(request, 200, {'Content-Type': 'application/json'}, json.dumps(about).encode(), whole)
        found = re.fullmatch(r'/([^/]+/[^/]+)/resolve/[^/]+/(.+)', path)
        files = self.repos.get(found[1]) if found else None
        if files is None or found[1] in self.private:
            return refused('RepoNotFound', 401)
        if found[1] in self.gated:
            return refused('GatedRepo', 403)
        body = files.get(found[2])
        if body is None:
            return refused('EntryNotFound', 404)
        sha = hashlib.sha256(body).hexdigest()
        if found[2].endswith(('.safetensors', '.bin', '.pt')):
            links = {
                'Location': f'{self.url}/lfs/{sha}'.replace('127.0.0.1', 'localhost'),
                'X-Linked-Etag': f'"{sha}"',
                'X-Linked-Size': len(body),
            }
            return self.send(request, 302, {'ETag': '"pointer"', **links}, b'', whole)
        self.send(request, 200, {'ETag': f'"{hashlib.sha1(body).hexdigest()}"'}, body, whole)

    def python(self, code, home, **more):
        "Run a piece of Python that knows only this hub, as a fresh process."
        env = {k: v for k, v in os.environ.items() if not k.upper().startswith('HF_') and 'proxy' not in k.lower()}
        env |= dict(
            HF_ENDPOINT=self.url, HF_HOME=str(home), HF_HUB_DISABLE_XET='1', HF_HUB_DISABLE_TELEMETRY='1', **more
        )
        return run([sys.executable, '-c', code], capture_output=True, text=True, env=env, timeout=240)
