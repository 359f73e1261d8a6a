"Downloads are whole or absent, unpacking stays in its folder; every fault is served by a local server."

import contextlib
import gzip
import hashlib
import io
import json
import os
import socket
import stat
import tarfile
import threading
import time
import zipfile
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from trmml_nb.datasets import archives
from trmml_nb.datasets.archives import (
    ArchiveError,
    Obtained,
    Patience,
    PracticeServer,
    Source,
    Unpacked,
    WrongFile,
    broken_images,
    check_file,
    digests,
    download,
    find_given,
    identify,
    image_problem,
    locked,
    members,
    obtain,
    require_disk,
    safe_target,
    unpack,
)

QUICK = Patience(tries=3, wait=0.01, connect=2, silence=0.2)
BODY = np.random.default_rng(1).bytes(500_000)
SHA = hashlib.sha256(BODY).hexdigest()


def source_of(*urls, **other):
    return Source(**{**dict(name="a.zip", urls=urls, size=len(BODY), sha256=SHA, said_by="the test"), **other})


def get(source, folder):
    return download(source, folder, QUICK, progress=False)


# -- checksums


def test_digests_of_the_standards():
    "Test vectors of RFC 1321 and FIPS 180-2."
    assert digests_of(b"") == dict(
        size=0,
        md5="d41d8cd98f00b204e9800998ecf8427e",
        sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    )
    assert digests_of(b"abc")["md5"] == "900150983cd24fb0d6963f7d28e17f72"


def digests_of(content):
    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(content)
    try:
        return digests(file.name)
    finally:
        os.unlink(file.name)


def test_check_file_names_both_numbers_and_who_said_so(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(BODY[:-1])
    with pytest.raises(WrongFile, match=r"a\.zip: 499,999 bytes, expected 500,000 \(the test\)"):
        check_file(path, source_of())
    path.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    with pytest.raises(WrongFile, match=rf"a\.zip: sha256 [0-9a-f]{{64}}, expected {SHA} \(the test\)"):
        check_file(path, source_of())
    with pytest.raises(WrongFile, match="md5"):
        check_file(path, source_of(sha256=None, md5=hashlib.md5(BODY).hexdigest()))
    path.write_bytes(BODY)
    assert check_file(path, source_of(sha256=SHA.upper()))["sha256"] == SHA


def test_identify_reads_once(tmp_path, monkeypatch):
    path, calls = tmp_path / "a.zip", []
    path.write_bytes(BODY)
    monkeypatch.setattr(archives, "digests", lambda p: calls.append(p) or digests(p))
    assert identify(path, source_of()) == identify(path, source_of()) and len(calls) == 1
    with pytest.raises(WrongFile):  # the remembered numbers are compared with the source, not believed blindly
        identify(path, source_of(sha256="0" * 64))
    os.utime(path, ns=(1, 1))
    identify(path, source_of())
    assert len(calls) == 2, "a file that was touched is read again"


def test_trust_on_first_use(tmp_path):
    path, unknown = tmp_path / "list.txt", Source("list.txt")
    path.write_bytes(b"one")
    identify(path, unknown)
    path.write_bytes(b"two")
    with pytest.raises(WrongFile, match="at its first use it was"):
        identify(path, unknown)
    (tmp_path / ".list.txt.json").unlink()
    assert identify(path, unknown)["sha256"] == hashlib.sha256(b"two").hexdigest()


# -- downloads


def test_a_plain_download_and_a_second_one(tmp_path):
    with PracticeServer({"a.zip": BODY}) as server:
        source = source_of(server.url("a.zip"))
        assert get(source, tmp_path / "new").read_bytes() == BODY
        get(source, tmp_path / "new")
        assert len(server.log) == 1, "the second call asks for nothing"
    assert not list((tmp_path / "new").glob("*.part*"))


@pytest.mark.parametrize("fault", ["drop 200000", "drop 0", "stall 150000", "status 503", "status 429"])
def test_faults_that_pass(tmp_path, fault):
    "A dropped, silent or busy server is asked again, and for the rest only."
    with PracticeServer({"a.zip": BODY}, {"a.zip": [fault, fault]}) as server:
        assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY
        asked = [int(a[6:-1]) for _, a, _ in server.log if a]
        if fault.split()[0] in ("drop", "stall") and not fault.endswith(" 0"):
            assert asked == sorted(asked) and asked[0] >= 130_000 and server.log[-1][2] == 206


def test_a_restart_in_the_middle_resumes(tmp_path):
    "What a killed run has left is continued by the next one, byte for byte."
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["drop 300000", "drop 0", "drop 0", "drop 0"]}) as server:
        with pytest.raises(ArchiveError, match=r"3 times; 2\d\d,\d{3} bytes are kept, the next run goes on"):
            get(source_of(server.url("a.zip")), tmp_path)
        kept = (tmp_path / ".a.zip.part").stat().st_size
        assert not (tmp_path / "a.zip").exists() and BODY.startswith((tmp_path / ".a.zip.part").read_bytes())
        assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY
    assert server.log[-1] == ("a.zip", f"bytes={kept}-", 206)


def test_killed_after_the_last_byte(tmp_path):
    (tmp_path / ".a.zip.part").write_bytes(BODY)
    with PracticeServer({"a.zip": BODY}) as server:
        assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY
    assert server.log == []


def test_a_server_without_ranges_starts_again(tmp_path):
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["drop 300000"]}, ranges=False) as server:
        assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY
    assert [status for *_, status in server.log] == [200, 200]


@pytest.mark.fault(
    'stopped in the middle',
    'download dropped, slow or cut off',
    'retried, resumed; given up with a message after some tries',
)
def test_a_server_that_drops_forever_is_given_up(tmp_path):
    "No ranges, and each answer ends at the same byte: no progress, so it ends."
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["drop 300000"] * 50}, ranges=False) as server:
        with pytest.raises(ArchiveError, match="no address gave the file"):
            get(source_of(server.url("a.zip")), tmp_path)
    assert len(server.log) <= 5


def test_a_file_that_changed_meanwhile_is_not_patched_together(tmp_path):
    "If-Range: the server has another version now; nothing of the old half may remain."
    other = BODY[::-1]
    unknown = source_of(size=None, sha256=None)
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["drop 300000"] + ["drop 0"] * 3}) as server:
        with pytest.raises(ArchiveError):
            get(replace(unknown, urls=(server.url("a.zip"),)), tmp_path)
        server.files["a.zip"] = other
        assert get(replace(unknown, urls=(server.url("a.zip"),)), tmp_path).read_bytes() == other


def test_a_bad_part_costs_one_more_download(tmp_path):
    "A part of something else fails the checksum; the same mirror then gives the file whole."
    (tmp_path / ".a.zip.part").write_bytes(bytes(1000))
    with PracticeServer({"a.zip": BODY}) as server:
        assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY
    assert [status for *_, status in server.log] == [206, 200]


def test_mirrors_in_order(tmp_path):
    with PracticeServer(
        {"old/a.zip": BODY[::-1], "short/a.zip": BODY[:-5], "a.zip": BODY}, {"page/a.zip": ["page"]}
    ) as server:
        urls = [server.url(f"{p}a.zip") for p in ("gone/", "page/", "short/", "old/", "")]
        assert get(source_of(*urls), tmp_path).read_bytes() == BODY
        assert [(name, status) for name, _, status in server.log] == [
            ("gone/a.zip", 404),
            ("page/a.zip", 200),
            ("short/a.zip", 200),
            ("old/a.zip", 200),
            ("a.zip", 200),
        ]
        with pytest.raises(ArchiveError) as error:
            get(source_of(*urls[:4], name="b.zip", sha256="1" * 64), tmp_path)
    text = str(error.value)
    assert (
        "404 Not Found" in text
        and "offers 499,995 bytes, expected 500,000" in text
        and "expected 1111" in text
        and "--from" in text
    )
    assert not (tmp_path / "b.zip").exists()


def test_redirects_are_followed_and_circles_left(tmp_path):
    "An old address leads to the host of today, where a dropped line is gone on with; a dead one leads round and round."
    with PracticeServer(
        {"new/a.zip": BODY},
        {"a.zip": ["redirect new/a.zip"] * 2, "new/a.zip": ["drop 200000"], "dead/a.zip": ["redirect dead/a.zip"] * 99},
    ) as server:
        urls = server.url("dead/a.zip"), server.url("a.zip")
        assert get(source_of(*urls), tmp_path).read_bytes() == BODY
        circle = [entry for entry in server.log if entry[0] == "dead/a.zip"]
        assert len(circle) < 40, "one circle, not one for every try"
        rest = server.log[len(circle) :]
        assert [(name, status) for name, _, status in rest] == [
            ("a.zip", 302),
            ("new/a.zip", 200),
            ("a.zip", 302),
            ("new/a.zip", 206),
        ]
        with pytest.raises(ArchiveError, match="dead/a.zip: sends in a circle"):
            get(source_of(urls[0], name="b.zip"), tmp_path)


def test_a_login_page_is_no_archive(tmp_path):
    with PracticeServer({}, {"a.zip": ["page"] * 2}) as server:
        with pytest.raises(ArchiveError, match="a web page instead of the file"):
            get(source_of(server.url("a.zip"), size=None, sha256=None), tmp_path)


def test_a_closed_port(tmp_path):
    with PracticeServer({}) as server:
        url = server.url("a.zip")
    with pytest.raises(ArchiveError, match="ConnectionError 3 times; 0 bytes"):
        get(source_of(url), tmp_path)


def test_a_full_disk_is_seen_first(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage(10**6, 9 * 10**5, 10**5))
    with PracticeServer({"a.zip": BODY}) as server:
        with pytest.raises(ArchiveError, match=r"a\.zip needs .*B and 97\.7 KiB are free; free some space"):
            get(source_of(server.url("a.zip")), tmp_path)
    assert not (tmp_path / ".a.zip.part").exists(), "not a byte was written"
    require_disk(tmp_path, 90_000, "less")


def test_two_at_once(tmp_path):
    with locked(tmp_path / "x.lock"):
        with pytest.raises(ArchiveError, match="process [0-9]+ on .* is at work"):
            with locked(tmp_path / "x.lock", wait=0.05):
                pass
    with locked(tmp_path / "x.lock", wait=0.05):
        pass


def test_an_interrupted_download_keeps_its_part(tmp_path, monkeypatch):
    "Ctrl-C in the middle: the part stays, the lock does not."

    class Stop(KeyboardInterrupt):
        pass

    def stop(*_):
        raise Stop

    with PracticeServer({"a.zip": BODY}, {"a.zip": ["drop 200000"]}) as server:
        source = source_of(server.url("a.zip"))
        with monkeypatch.context() as patch:
            patch.setattr(Patience, "pause", stop)
            with pytest.raises(Stop):
                get(source, tmp_path)
        assert (tmp_path / ".a.zip.part").stat().st_size > 0
        assert get(source, tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("known", [dict(size=200_000, sha256=None), dict(size=None, sha256=None, unpacked=300_000), {}])
def test_a_server_that_never_stops_is_stopped(tmp_path, known):
    "Without a length: nothing beyond the published (or the stated) size is written."
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["endless"] * 9}) as server:
        source = source_of(server.url("a.zip"), **known)
        with pytest.raises(ArchiveError, match="sends more than the .* bytes that are expected of it; stopped there"):
            get(source, tmp_path)
        assert source.largest == (known.get("size", len(BODY)) or 300_000)
    assert not list(tmp_path.glob("*part")) and not (tmp_path / "a.zip").exists()


class Raw:
    "A server that answers each request with what `answer` writes to its socket."

    def __init__(self, answer):
        self.answer, self.socket = answer, socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/a.zip"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.one, args=(self.socket.accept()[0],), daemon=True).start()

    def one(self, line):
        with contextlib.suppress(OSError), line:
            line.recv(1 << 16)
            self.answer(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def now_and_then(start, piece):
    "Sends something before every limit that begins anew with each byte, and never ends."

    def answer(line):
        line.sendall(start)
        while True:
            line.sendall(piece)
            time.sleep(0.05)

    return answer


OK, CHUNKED = b"HTTP/1.1 200 OK\r\n", b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = dict(
    status=(b"", b"H"),
    header=(OK + b"A: ", b"a"),
    headers=(OK, b"A: a\r\n"),
    waits=(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    body=(OK + b"Content-Length: 500000\r\n\r\n", b"a"),
    open_body=(OK + b"\r\n", b"a"),
    chunks=(OK + CHUNKED, b"1\r\na\r\n"),
    one_chunk=(OK + CHUNKED + b"1;", b"a"),
)


@pytest.mark.fault(
    'stopped in the middle',
    'a server that sends a byte now and then, in its headers or after them',
    'asked again, then given up: 16 KiB have a limit, and not each byte',
)
@pytest.mark.parametrize("kind", SLOW)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(tmp_path, kind):
    quick, started = Patience(tries=2, wait=0.01, connect=0.5, silence=0.5), time.monotonic()
    with Raw(now_and_then(*SLOW[kind])) as server:
        with pytest.raises(ArchiveError, match="sends too little in .* 2 times; 0 bytes are kept"):
            download(source_of(server.url), tmp_path, quick, progress=False)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    "head, said",
    [
        (b"302 Go\r\nLocation: /b", "sends in a circle"),
        (b"503 Busy", "answers 503 Busy 3 times"),
        (b"404 No", "404 No"),
    ],
)
def test_what_a_refusal_says_beyond_its_headers_is_not_read(tmp_path, head, said):
    "Endless answers that send elsewhere, or refuse: nothing of them comes into memory."
    sent = []

    def answer(line):
        line.sendall(b"HTTP/1.1 " + head + b"\r\n\r\n")
        while len(sent) < 4000:
            line.sendall(bytes(1 << 16))
            sent.append(1)

    with Raw(answer) as server:
        with pytest.raises(ArchiveError, match=said):
            get(source_of(server.url), tmp_path)
    assert len(sent) < 2000, "more than buffers hold was taken"


@pytest.mark.parametrize(
    "answer, said",
    [
        (b"HTTP/1.1 416 No\r\nContent-Range: bytes */0\r\n\r\n", "ended early"),
        (OK + CHUNKED + b"-5\r\na", "sends no HTTP"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://[::1\r\n\r\n", "sends no HTTP"),
        (b"HTTP/1.1 302 Go\r\nLocation: file:///etc/passwd\r\n\r\n", "no address of the web"),
    ],
)
def test_answers_that_are_none_are_told(tmp_path, answer, said):
    with Raw(lambda line: line.sendall(answer)) as server:
        with pytest.raises(ArchiveError, match=said):
            get(source_of(server.url), tmp_path)


def test_a_tag_that_could_not_be_sent_back_is_not_kept(tmp_path):
    "Else the next run would fail at its own request, and for ever."
    answer = OK + b"ETag: \"\xff\"\r\nContent-Length: 500000\r\n\r\n" + BODY[:100_000]
    with Raw(lambda line: line.sendall(answer)) as server:
        with pytest.raises(ArchiveError, match="bytes are kept"):
            get(source_of(server.url), tmp_path)
    assert json.loads((tmp_path / ".a.zip.part.json").read_text(encoding="utf-8"))["tag"] is None


def test_a_length_above_the_bound_is_refused_first(tmp_path):
    with PracticeServer({"a.zip": BODY}) as server:
        with pytest.raises(ArchiveError, match="offers 500,000 bytes, and at most 1,000 are expected"):
            get(source_of(server.url("a.zip"), size=None, sha256=None, unpacked=1000), tmp_path)


@pytest.mark.parametrize("length", ["", "12x", "-5", "1" * 5000, "٣"])
def test_a_length_that_is_none(tmp_path, length):
    "Junk in Content-Length: the file is judged by its size and checksum alone, or refused in words."
    with PracticeServer(
        {"a.zip": BODY}, {"a.zip": [f"length {length}".encode("utf-8").decode("latin-1")] * 9}
    ) as server:
        try:
            assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY
        except ArchiveError as error:
            assert "no address gave the file" in str(error)


def test_a_list_without_length_is_asked_for_twice(tmp_path):
    "Nobody says how long it is: two equal answers are believed, a cut one is not."
    plain = source_of(size=None, sha256=None)
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["open 1000", "open"]}) as server:
        with pytest.raises(ArchiveError, match=r"names no length, and two answers differ \(1,000 and 500,000 bytes\)"):
            get(replace(plain, urls=(server.url("a.zip"),)), tmp_path)
        assert not (tmp_path / "a.zip").exists() and not (tmp_path / ".a.zip.part").exists()
        server.faults["a.zip"] = ["open", "open"]
        assert get(replace(plain, urls=(server.url("a.zip"),)), tmp_path).read_bytes() == BODY
        server.log.clear()
        assert get(replace(plain, urls=(server.url("a.zip"),), name="a.zip"), tmp_path).read_bytes() == BODY
        assert server.log == []


def test_an_open_answer_that_is_cut_is_gone_on_with(tmp_path):
    "No length from the server, but a published one: a cut answer is not the whole file."
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["open 1000", "open 2000"]}) as server:
        assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY


@pytest.mark.parametrize("known", [{}, dict(size=None, sha256=None)])
def test_a_host_that_compresses_nevertheless(tmp_path, known):
    with PracticeServer({"a.zip": b"list\n" * 40_000}, {"a.zip": ["gzip"] * 9}) as server:
        body = server.files["a.zip"]
        about = dict(size=len(body), sha256=hashlib.sha256(body).hexdigest()) | known
        assert get(source_of(server.url("a.zip"), **about), tmp_path).read_bytes() == body
    assert len(server.log) <= 2


def test_a_true_archive_that_is_called_a_page(tmp_path):
    "Its checksum is known, so what the server calls it does not matter; a real page is refused all the same."
    with PracticeServer({"a.zip": BODY}, {"a.zip": ["html"]}) as server:
        assert get(source_of(server.url("a.zip")), tmp_path).read_bytes() == BODY
    with PracticeServer({"b.zip": BODY}, {"b.zip": ["page"] * 3}) as server:
        with pytest.raises(ArchiveError, match="not the same file|a web page"):
            get(source_of(server.url("b.zip"), name="b.zip"), tmp_path)


def test_a_planted_link_is_not_followed(tmp_path):
    "In the place of the unfinished download, and of the unfinished member."
    (tmp_path / "mine.txt").write_bytes(b"mine")
    (tmp_path / ".a.zip.part").symlink_to(tmp_path / "mine.txt")
    with PracticeServer({"a.zip": BODY}) as server:
        with pytest.raises(ArchiveError, match=r"\.a\.zip\.part: a link in the place of an unfinished file; remove it"):
            get(source_of(server.url("a.zip")), tmp_path)
    (tmp_path / "out").mkdir()
    for name in (archives.UNPACKING, ".b.txt.part"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "mine.txt")
    unpack(make_zip(tmp_path / "x.zip", [("b.txt", b"theirs")]), tmp_path / "out", 100)
    assert (tmp_path / "mine.txt").read_bytes() == b"mine" and (tmp_path / "out" / "b.txt").read_bytes() == b"theirs"


# -- given files


def test_obtain_prefers_given_files_and_leaves_no_trace(tmp_path):
    shelf = tmp_path / "shelf"
    (shelf / "deep").mkdir(parents=True)
    (shelf / "deep" / "a.zip").write_bytes(BODY)
    found = obtain(source_of("http://127.0.0.1:9/a.zip"), tmp_path / "root", shelf)
    assert (
        isinstance(found, Obtained)
        and found[:2] == (shelf / "deep" / "a.zip", "given")
        and found.checked == "published checksum"
    )
    assert [p.name for p in shelf.rglob("*")] == ["deep", "a.zip"]
    (shelf / "deep" / "a.zip").write_bytes(BODY[::-1])
    with pytest.raises(WrongFile, match="damaged or another version"):
        obtain(source_of(), tmp_path / "root", shelf)
    assert (shelf / "deep" / "a.zip").exists(), "a person's file is never removed"


def test_obtain_says_what_to_do(tmp_path):
    with pytest.raises(
        ArchiveError,
        match=r"a\.zip: not in .*shelf.*, and no address serves it; ask the authors\. Put the file .* --from",
    ):
        (tmp_path / "shelf").mkdir()
        obtain(source_of(help="ask the authors"), tmp_path, tmp_path / "shelf")
    with pytest.raises(ArchiveError, match="nothing may be downloaded"):
        obtain(source_of("http://127.0.0.1:9/a.zip"), tmp_path, offline=True)
    with pytest.raises(ArchiveError, match="no such folder"):
        find_given("a.zip", tmp_path / "nowhere")


def test_obtain_downloads(tmp_path):
    with PracticeServer({"a.zip": BODY}) as server:
        found = obtain(source_of(server.url("a.zip"), sha256=None), tmp_path, patience=QUICK, progress=False)
    assert found.origin == "downloaded" and found.checked == "first use" and found.about["sha256"] == SHA
    assert obtain(source_of(server.url("a.zip")), tmp_path, offline=True).path == tmp_path / "a.zip", "it is there now"


# -- unpacking


def make_tar(path, entries, mode="w:gz"):
    "entries: (name, bytes) or (name, type, link target)"
    with tarfile.open(path, mode) as tar:
        for name, *what in entries:
            info = tarfile.TarInfo(name)
            body = what[0] if len(what) == 1 else b""
            if len(what) == 2:
                info.type, info.linkname = what
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return path


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, body in entries:
            z.writestr(name, body)
    return path


MAKERS = {
    "tar": lambda p, e: make_tar(p.with_suffix(".tar"), e, "w"),
    "tgz": lambda p, e: make_tar(p.with_suffix(".tgz"), e),
    "tbz": lambda p, e: make_tar(p.with_suffix(".tbz"), e, "w:bz2"),
    "txz": lambda p, e: make_tar(p.with_suffix(".txz"), e, "w:xz"),
    "zip": lambda p, e: make_zip(p.with_suffix(".zip"), e),
}
each_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@each_kind
def test_unpack(tmp_path, make):
    path = make(tmp_path / "x", [("d/a.txt", b"abc"), ("./d/e/b.txt", b""), ("c.json", b"{}")])
    assert unpack(path, tmp_path / "out", 5) == Unpacked(3, 5, 3)
    assert {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file() and p.name[0] != "."
    } == {"d/a.txt": b"abc", "d/e/b.txt": b"", "c.json": b"{}"}
    assert unpack(path, tmp_path / "out", 5) == Unpacked(3, 5, 0)
    assert (
        unpack(path, tmp_path / "part", 5, wanted=r"^\.?/?d/") == Unpacked(2, 3, 2)
        and not (tmp_path / "part" / "c.json").exists()
    )


@pytest.mark.fault(
    'hostile files',
    'a name in an archive that another system takes for a device, a drive or another file (CON, a:b, a.), or for a note '
    'of ours',
    'refused on every system, with the member',
)
@each_kind
@pytest.mark.parametrize(
    'name',
    [
        'CON',
        'd/nul.txt',
        'aux/a.txt',
        'COM1 .jpg',
        'LPT\xb9',
        'a:b',
        'd/a:$DATA',
        'a.',
        'd /a.txt',
        'a?',
        'a"b',
        'a\nb',
        '\x1b[2J',
    ]
    + ['.b.zip.unpacked.json', '.unpacking.part'],
)
def test_names_that_other_systems_read_differently(tmp_path, make, name):
    path = make(tmp_path / 'x', [('ok.txt', b'ok'), (name, b'!')])
    with pytest.raises(ArchiveError, match=r'x\.\w+: member .*(every system reads alike|or notes have here)'):
        unpack(path, tmp_path / 'in', 100)
    assert {p.name for p in (tmp_path / 'in').rglob('*')} <= {'ok.txt'}
    for fine in ('.hidden', 'd/.x', 'a.b.c', 'CONSOLE', 'com', 'con-1.txt', 'd e/f g.txt', '猫.jpg'):
        assert archives.safe_target(tmp_path / 'in', fine)


@each_kind
@pytest.mark.parametrize(
    "name", ["../out.txt", "d/../../out.txt", "/etc/out.txt", "C:/out.txt", "..\\out.txt", "a\\b.txt"]
)
def test_names_that_lead_out(tmp_path, make, name):
    path = make(tmp_path / "x", [("ok.txt", b"ok"), (name, b"!")])
    with pytest.raises(ArchiveError, match=r"x\.\w+: member .*(leads out of|no name that every system)"):
        unpack(path, tmp_path / "cage" / "in", 100)
    assert {p.name for p in (tmp_path / "cage").rglob("*")} <= {"in", "ok.txt"}
    assert {p.name for p in tmp_path.iterdir()} == {path.name, "cage"}


@pytest.mark.parametrize(
    "kind, target",
    [
        (tarfile.SYMTYPE, ".."),
        (tarfile.SYMTYPE, "/etc"),
        (tarfile.SYMTYPE, "ok.txt"),
        (tarfile.LNKTYPE, "../secret.txt"),
        (tarfile.LNKTYPE, "ok.txt"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""),
    ],
)
def test_links_and_devices_in_tars(tmp_path, kind, target):
    (tmp_path / "secret.txt").write_text("secret")
    path = make_tar(tmp_path / "x.tgz", [("ok.txt", b"ok"), ("in", kind, target), ("in/evil.txt", b"!")])
    with pytest.raises(ArchiveError, match="member 'in': a link or device"):
        unpack(path, tmp_path / "cage", 100)
    assert not (tmp_path / "evil.txt").exists() and {p.name for p in (tmp_path / "cage").iterdir()} == {"ok.txt"}


@pytest.mark.fault('hostile files', 'archive with links', 'refused')
def test_links_in_zips(tmp_path):
    info = zipfile.ZipInfo("in")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = make_zip(tmp_path / "x.zip", [("ok.txt", b"ok"), (info, ".."), ("in/evil.txt", b"!")])
    with pytest.raises(ArchiveError, match="member 'in': a link or device"):
        unpack(path, tmp_path / "cage", 100)
    assert list((tmp_path / "cage").iterdir()) == [], "all names are judged first"


def test_a_link_that_lies_there_already(tmp_path):
    "The archive is harmless; the folder has a link that leads out."
    (tmp_path / "out").mkdir()
    (tmp_path / "cage").mkdir()
    (tmp_path / "cage" / "d").symlink_to(tmp_path / "out")
    with pytest.raises(ArchiveError, match="leads out of"):
        unpack(make_zip(tmp_path / "x.zip", [("d/a.txt", b"!")]), tmp_path / "cage", 100)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.fault('hostile files', 'archive that grows without end', 'stopped')
@each_kind
def test_bombs(tmp_path, make):
    path = make(tmp_path / "x", [(f"{i}.bin", bytes(3_000_000)) for i in range(4)])
    with pytest.raises(ArchiveError, match=r"9,000,000 bytes so far, and at most 8,000,000 are expected of it: a bomb"):
        unpack(path, tmp_path / "cage", 8_000_000)
    assert sum(p.stat().st_size for p in (tmp_path / "cage").glob("*.bin")) <= 8_000_000


def test_a_tar_that_lies_about_its_names(tmp_path):
    "A name of 100 MB (a pax header) is a bomb in the memory, not on the disk."
    path = tmp_path / "x.tgz"
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 100_000_000
    with gzip.open(path, "wb", 1) as out:
        out.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(100):
            out.write(bytes(1_000_000))
    with pytest.raises(ArchiveError, match="holds more than it may|damaged"):
        unpack(path, tmp_path / "cage", 1000)


@pytest.mark.fault('hostile files', 'archive that lies about its sizes', 'stopped')
def test_a_zip_that_lies_about_its_sizes(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("a.bin", bytes(100_000))])
    raw = bytearray(path.read_bytes())
    central = raw.rindex(b"PK\x01\x02")
    raw[central + 24 : central + 28] = (10).to_bytes(4, "little")  # 10 bytes instead of 100,000
    path.write_bytes(bytes(raw))
    with pytest.raises(ArchiveError, match=r"x\.zip|a\.bin"):
        unpack(path, tmp_path / "cage", 1000)
    assert not (tmp_path / "cage" / "a.bin").exists()


@each_kind
def test_the_same_name_twice(tmp_path, make):
    with pytest.warns(UserWarning) if make is MAKERS["zip"] else open(os.devnull, encoding="utf-8"):
        path = make(tmp_path / "x", [("a.txt", b"one"), ("./a.txt" if make is not MAKERS["zip"] else "a.txt", b"two")])
    with pytest.raises(ArchiveError, match="stands twice"):
        unpack(path, tmp_path / "out", 100)


@each_kind
def test_damaged_archives(tmp_path, make):
    path = make(tmp_path / "x", [(f"{i}.bin", np.random.default_rng(i).bytes(5000)) for i in range(4)])
    path.write_bytes(path.read_bytes()[:12_000])
    with pytest.raises(ArchiveError, match=r"x\.\w+: .*(damaged|no archive)"):
        unpack(path, tmp_path / "out", 10**6)
    path.write_bytes(b"<html>please log in</html>" * 30)
    with pytest.raises(ArchiveError, match="damaged or no archive"):
        unpack(path, tmp_path / "out", 10**6)


def test_a_flipped_bit_in_a_zip(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("a.bin", BODY[:2000])])
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(ArchiveError):
        unpack(path, tmp_path / "out", 10**6)
    assert not (tmp_path / "out" / "a.bin").exists()


@pytest.mark.fault('stopped in the middle', 'unpacking killed', 'goes on')
def test_unpacking_continues_after_a_kill(tmp_path, monkeypatch):
    path = make_tar(tmp_path / "x.tgz", [(f"{i}.txt", b"%d" % i) for i in range(10)])
    real, count = os.replace, [0]

    def die(a, b):
        count[0] += 1
        if count[0] == 5:
            raise KeyboardInterrupt
        real(a, b)

    with monkeypatch.context() as patch:
        patch.setattr(archives.os, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            unpack(path, tmp_path / "out", 100)
    assert unpack(path, tmp_path / "out", 100) == Unpacked(10, 10, 6)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".x.tgz.unpacked.json"] + [
        f"{i}.txt" for i in range(10)
    ]


def test_nothing_is_overwritten(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("a.txt", b"theirs"), ("d", b"file")])
    (tmp_path / "out" / "d").mkdir(parents=True)
    (tmp_path / "out" / "a.txt").write_bytes(b"mine, longer")
    with pytest.raises(ArchiveError, match=r"out/a\.txt: exists and is not .* not overwritten"):
        unpack(path, tmp_path / "out", 100)
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"mine, longer"
    (tmp_path / "out" / "a.txt").unlink()
    with pytest.raises(ArchiveError, match=r"out/d: exists"):
        unpack(path, tmp_path / "out", 100)


def test_members_and_targets(tmp_path):
    path = make_zip(tmp_path / "x.zip", [("d/", b""), ("d/a.txt", b"abc")])
    assert [(n, s, o().read()) for n, s, o in members(path, tmp_path, 10)] == [("d/a.txt", 3, b"abc")]
    assert safe_target(tmp_path, "./d//a.txt") == tmp_path / "d" / "a.txt"


@each_kind
@pytest.mark.parametrize(
    "names, said",
    [
        (["d/A.txt", "D/a.txt"], "but for capitals or accents"),
        (["caf\u00e9.txt", "cafe\u0301.txt"], "but for capitals or accents"),
        (["a", "a/b.txt"], "a file and a folder have the same name"),
        (["a/b.txt", "a"], "a file and a folder have the same name"),
        (["A", "a/b.txt"], "a file and a folder have the same name"),
        ([".unpacking.part"], "the name that unfinished files have"),
    ],
)
def test_names_that_collide(tmp_path, make, names, said):
    with pytest.raises(ArchiveError, match=rf"x\.\w+: member .*{said}"):
        unpack(make(tmp_path / "x", [(n, b"1") for n in names]), tmp_path / "out", 100)


@each_kind
def test_a_part_of_another_member(tmp_path, make):
    "`.a.part` beside `a` is a name like any other."
    unpack(make(tmp_path / "x", [("a", b"one"), (".a.part", b"two"), ("b", b"three")]), tmp_path / "out", 100)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir() if p.name in ("a", ".a.part")} == {
        "a": b"one",
        ".a.part": b"two",
    }


def patched(path, old, new):
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new))
    return path


def test_odd_archives(tmp_path):
    "Each is told by name; none ends in a traceback or in a folder that is called unpacked."
    odd = {
        "method": patched(
            make_zip(tmp_path / "m.zip", [("a.txt", b"x" * 99)]),
            b"\x14\x00\x00\x00\x08\x00",
            b"\x14\x00\x00\x00\x63\x00",
        ),
        "bz2": tmp_path / "b.tbz",
        "xz": tmp_path / "x.txz",
        "zeros": tmp_path / "z.tgz",
        "empty tar": make_tar(tmp_path / "e.tar", [], "w"),
        "empty zip": make_zip(tmp_path / "e.zip", []),
        "nothing": tmp_path / "n.tar",
        "utf-8": patched(make_tar(tmp_path / "u.tar", [("abcd.txt", b"x")], "w"), b"abcd.txt", b"ab\xff\xfe.txt"),
    }
    (tmp_path / "b.tbz").write_bytes(b"BZh9" + bytes(range(200)))
    (tmp_path / "x.txz").write_bytes(b"\xfd7zXZ\x00" + bytes(range(200)))
    (tmp_path / "z.tgz").write_bytes(gzip.compress(bytes(100_000)))
    (tmp_path / "n.tar").touch()
    zipped = make_zip(tmp_path / "z.zip", [("\u00e4\u00e4.txt", b"x")])
    odd["zip name"] = patched(zipped, "\u00e4\u00e4.txt".encode(), b"\xff\xfe\xff\xfe.txt")
    for name, path in odd.items():
        for _ in range(2):
            with pytest.raises(ArchiveError, match=path.name.replace(".", r"\.")):
                unpack(path, tmp_path / f"out {name}", 10**6)
        assert not list((tmp_path / f"out {name}").rglob("*.json")), name
    with pytest.raises(ArchiveError, match="none of its members is one that is wanted"):
        unpack(make_zip(tmp_path / "w.zip", [("a.txt", b"1")]), tmp_path / "w", 100, wanted="annotations")


def test_a_disk_that_fills_up_while_unpacking(tmp_path, monkeypatch):
    "The archive and the reason are named, and nothing unfinished stays."
    real = archives.os.replace

    def full(a, b):
        raise OSError(28, "No space left on device", str(b))

    monkeypatch.setattr(archives.os, "replace", full)
    path = make_zip(tmp_path / "x.zip", [("a.txt", b"abc")])
    with pytest.raises(ArchiveError, match=r"x\.zip: cannot be unpacked \(No space left on device"):
        unpack(path, tmp_path / "out", 100)
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.setattr(archives.os, "replace", real)
    assert unpack(path, tmp_path / "out", 100).new == 1


@pytest.mark.parametrize("junk", ["[]", "7", "{", '{"size": []}', '{"files": "many"}', "[" * 5000])
def test_notes_that_are_damaged_are_not_believed(tmp_path, junk):
    path = make_zip(tmp_path / "x.zip", [("a.txt", b"abc")])
    (tmp_path / ".x.zip.json").write_text(junk)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".x.zip.unpacked.json").write_text(junk)
    assert identify(path, Source("x.zip"))["size"] == path.stat().st_size
    assert unpack(path, tmp_path / "out", 100) == Unpacked(1, 3, 1)


def test_random_bytes_in_archives_are_told(tmp_path):
    "Every kind with bytes changed at random: unpacked, or an ArchiveError, and nothing outside the folder."
    rng, outcomes = np.random.default_rng(0), {True: 0, False: 0}
    for kind, make in MAKERS.items():
        whole = make(tmp_path / "w", [(f"d/{i}.bin", rng.bytes(300)) for i in range(5)])
        for trial in range(30):
            raw = bytearray(whole.read_bytes())
            for at in rng.integers(0, len(raw), rng.integers(1, 6)):
                raw[at] = rng.integers(256)
            path = tmp_path / f"{kind}{trial}{whole.suffix}"
            path.write_bytes(raw[: rng.integers(1, len(raw) + 1)] if trial % 3 == 0 else raw)
            try:
                unpack(path, tmp_path / "cage" / path.name, 10**5)
                outcomes[True] += 1
            except ArchiveError as error:
                assert path.name in str(error)
                outcomes[False] += 1
    assert outcomes[False] > 50 and {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"cage"}


# -- pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in ("rgb.jpg", "rgb.png", "tiny.jpg", "grey.jpg", "rgb.gif"):
        size = (1, 1) if name == "tiny.jpg" else (60, 80)
        pixels = rng.integers(0, 255, size if name == "grey.jpg" else (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_good_pictures(pictures):
    assert broken_images(sorted(pictures.iterdir()), workers=3) == []


@pytest.mark.parametrize("name", ["rgb.jpg", "rgb.png", "grey.jpg"])
def test_cut_pictures(pictures, tmp_path, name):
    content = (pictures / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    assert image_problem(tmp_path / name)
    if name.endswith("jpg"):
        Image.open(tmp_path / name).verify()  # the reason why pictures are decoded: this says nothing


def test_broken_images_are_named_in_order(pictures, tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>")
    paths = [tmp_path / "empty.jpg", pictures / "rgb.jpg", tmp_path / "gone.jpg", tmp_path / "page.jpg"]
    assert [path for path, _ in broken_images(paths, workers=4)] == [str(paths[i]) for i in (0, 2, 3)]


def test_pictures_are_read_side_by_side(tmp_path, monkeypatch):
    seen = set()

    def slow(path):
        seen.add(threading.get_ident())
        time.sleep(0.005)

    monkeypatch.setattr(archives, "image_problem", slow)
    broken_images(["x"] * 256, workers=4)
    assert len(seen) > 1
