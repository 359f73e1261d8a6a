"Weights that are missing, damaged, foreign or dangerous, and a network that is not there: refused, with the mend."

import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from helpers.hub import StandInHub
from safetensors.torch import save, save_file
from helpers.towers import images, make
from typer.testing import CliRunner

from trmml_nb.cli import app
from trmml_nb.datasets.archives import PracticeServer
from trmml_nb.towers import weights as tower_weights
from trmml_nb.towers.weights import fetch_weights
from trmml_nb.errors import TowerError
from trmml_nb.towers.tower import load_tower
from helpers.towers import folder_of


def test_local_folder(tmp_path):
    tower = make("t-timm-plain")
    name = folder_of(tower, "t-timm-plain", tmp_path / "a")
    loaded = load_tower(name)
    assert torch.allclose(loaded.raw(images(tower)).dense, tower.raw(images(tower)).dense, atol=1e-6)
    assert loaded.preprocess == dict(mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear", resize_mode="squash")
    assert load_tower(name, resize_mode=None).preprocess["resize_mode"] == "shortest"
    (tmp_path / "a").rename(tmp_path / "b")
    assert load_tower(f"local-dir:{tmp_path / 'b'}").fingerprint == loaded.fingerprint
    with pytest.raises(TowerError, match="a is not a folder"):
        load_tower(name)
    with pytest.raises(TowerError, match="holds no weights"):
        load_tower(folder_of(tower, "t-timm-plain", tmp_path / "c", weights=False))
    with pytest.raises(TowerError, match="holds no open_clip_config.json"):
        load_tower(f"local-dir:{tmp_path}")


def test_wrong_weights(tmp_path):
    state = {k: v.contiguous() for k, v in make("t-vit-tok").model.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(TowerError, match="not weights of 't-resnet'"):
        load_tower("t-resnet", str(tmp_path / "w.safetensors"))
    wide = dict(state, **{"visual.proj": torch.zeros(64, 24), "ln_final.weight": torch.zeros(48)})
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(TowerError, match=r"visual.proj: \[64, 24\] in the file, \[64, 16\] in t-vit-tok"):
        load_tower("t-vit-tok", str(tmp_path / "wide.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:5000])
    with pytest.raises(TowerError, match="cut.safetensors: not a readable checkpoint"):
        load_tower("t-vit-tok", str(tmp_path / "cut.safetensors"))


class Hook:
    def __reduce__(self):
        return (open, ("hooked", "w"))


def test_pickles_never_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1), "x": Hook()}, tmp_path / "bad.pt")
    with pytest.raises(TowerError, match="bad.pt: not a readable checkpoint.*could run code"):
        load_tower("t-vit-tok", "bad.pt")
    assert not (tmp_path / "hooked").exists()
    torch.save(make("t-vit-tok").model.state_dict(), tmp_path / "good.pt")
    assert load_tower("t-vit-tok", "good.pt").dim == 16
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(TowerError, match="no state_dict of tensors"):
        load_tower("t-vit-tok", "none.pt")


def test_names():
    for args, match in {
        ("RN51",): "no tower is called 'RN51'; close names: .*RN50",
        ("RN50",): "needs weights.*openai.*random",
        ("RN50", "openia"): "close names: openai",
        ("RN50", "/no/such.pt"): "neither a file nor",
    }.items():
        with pytest.raises(TowerError, match=match):
            load_tower(*args)


def test_no_network_is_told_at_once():
    "In a fresh process, since the hub library reads its settings when it is imported."
    run = """
import socket, sys, time
def refuse(*a, **k): raise OSError('no network')
socket.create_connection = refuse; socket.getaddrinfo = refuse
from trmml_nb.errors import TowerError
from trmml_nb.towers.tower import load_tower
for args in (('RN101', 'yfcc15m'), ('RN50', 'openai'), ('hf-hub:no/such-model',)):
    start = time.time()
    try: load_tower(*args); sys.exit('loaded?')
    except TowerError as error: assert 'on a machine with network' in str(error), error
    assert time.time() - start < 5, time.time() - start
"""
    import os

    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {"HF_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_hub_that_never_answers_is_given_up(monkeypatch):
    import time

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(tower_weights.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        tower_weights.socket, "create_connection", lambda *a, **k: time.sleep(1) or SimpleNamespace(close=int)
    )
    start = time.time()
    assert not tower_weights.hub_reachable(timeout=0.2) and time.time() - start < 1


BASE = dict(
    model_cfg={"embed_dim": 16, "vision_cfg": dict(layers=1, width=32, head_width=8, patch_size=16, image_size=64)}
    | {"text_cfg": dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=1)}
)


def changed(**text):
    return dict(model_cfg=BASE["model_cfg"] | {"text_cfg": BASE["model_cfg"]["text_cfg"] | text})


def vision(**fields):
    return dict(model_cfg=BASE["model_cfg"] | {"vision_cfg": BASE["model_cfg"]["vision_cfg"] | fields})


def weights_of(config):
    with tower_weights.quiet_logging():
        model = open_clip.model.CLIP(**json.loads(json.dumps(config["model_cfg"])))
    return {k: v.contiguous() for k, v in model.state_dict().items()}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps(BASE), encoding="utf-8")
    save_file(weights_of(BASE), tmp_path / "open_clip_model.safetensors")
    assert load_tower(f"local-dir:{tmp_path}").dim == 16
    return tmp_path


EVIL = """
open({flag!r}, 'w', encoding='utf-8').write('ran')
from transformers import PreTrainedTokenizer
class Evil(PreTrainedTokenizer): pass
"""


@pytest.mark.parametrize(
    "case", ["kwargs", "auto_map", "auto_map in config.json", "both", "told at the end", "timm folder", "model"]
)
def test_a_folder_runs_no_code(folder, case, monkeypatch):
    "With transformers installed or not: whatever a folder says, no file of it is imported."
    monkeypatch.setattr(tower_weights.importlib.util, "find_spec", lambda name: "there")  # as if transformers were here
    (folder / "evil.py").write_text(EVIL.format(flag=str(folder / "ran")), encoding="utf-8")
    there = {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    kwargs = dict(hf_tokenizer_name="x", tokenizer_kwargs={"trust_remote_code": True})
    config = {
        "kwargs": changed(**kwargs),
        "both": changed(**kwargs),
        "auto_map": changed(hf_tokenizer_name="x"),
        "auto_map in config.json": changed(hf_tokenizer_name="x"),
        "told at the end": changed(hf_tokenizer_name="x"),
        "timm folder": vision(timm_model_name=f"local-dir:{folder}"),
        "model": changed(hf_model_name=str(folder), hf_tokenizer_name="x"),
    }[case]
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    if case in ("auto_map", "both"):
        (folder / "tokenizer_config.json").write_text(json.dumps(there), encoding="utf-8")
    if case == "auto_map in config.json":
        (folder / "config.json").write_text(json.dumps(there), encoding="utf-8")
    match = {
        "auto_map": "names Python code",
        "auto_map in config.json": "names Python code",
        "timm folder": "no model that timm ships",
        "model": "none of those that open_clip ships",
        "told at the end": "could not be loaded",
    }.get(case, "trust_remote_code: Extra inputs are not permitted.*nothing that could run code")
    with pytest.raises(TowerError, match=match):
        load_tower(f"local-dir:{folder}")
    assert not (folder / "ran").exists()


def test_no_tokenizer_is_asked_to_trust(folder, monkeypatch):
    "What reaches the loader that could run code says no, whatever the folder says."
    seen = {}
    (folder / "open_clip_config.json").write_text(json.dumps(changed(hf_tokenizer_name="x")), encoding="utf-8")
    monkeypatch.setattr(tower_weights.importlib.util, "find_spec", lambda name: "there")
    monkeypatch.setattr(
        open_clip, "get_tokenizer", lambda name, **options: seen.update(options) or (lambda texts: None)
    )
    load_tower(f"local-dir:{folder}")
    assert seen["trust_remote_code"] is False


def test_real_transformers_are_refused_too(folder):
    pytest.importorskip("transformers", reason="the extra trmml_nb[siglip] is not installed")
    (folder / "evil.py").write_text(EVIL.format(flag=str(folder / "ran")), encoding="utf-8")
    (folder / "open_clip_config.json").write_text(json.dumps(changed(hf_tokenizer_name="x")), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        '{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}', encoding="utf-8"
    )
    with pytest.raises(TowerError, match="names Python code"):
        load_tower(f"local-dir:{folder}")
    with pytest.raises(Exception):  # noqa: B017 (whatever it says, it must not run the file)
        open_clip.get_tokenizer(f"local-dir:{folder}", trust_remote_code=False)
    assert not (folder / "ran").exists()


MALFORMED = {
    "empty": "",
    "not JSON": "{",
    "a list": "[]",
    "a number": "7",
    "null": "null",
    "not UTF-8": b'{"model_cfg": "\xff"}',
    "deep": "[" * 100_000,
    "no model_cfg": "{}",
    "model_cfg a list": '{"model_cfg": []}',
    "no text": {"model_cfg": {"embed_dim": 16, "vision_cfg": {}}},
    "no vision": {"model_cfg": {"embed_dim": 16, "text_cfg": {}}},
    "text null": {"model_cfg": BASE["model_cfg"] | {"text_cfg": None}},
    "embed_dim text": {"model_cfg": BASE["model_cfg"] | {"embed_dim": "16"}},
    "embed_dim negative": {"model_cfg": BASE["model_cfg"] | {"embed_dim": -16}},
    "embed_dim huge": {"model_cfg": BASE["model_cfg"] | {"embed_dim": 10**12}},
    "unknown field": {"model_cfg": BASE["model_cfg"] | {"device": "meta"}},
    "heads zero": changed(heads=0),
    "heads do not divide": changed(heads=3),
    "vocabulary huge": changed(vocab_size=10**12),
    "layers text": changed(layers="2"),
    "width a half": changed(width=16.5),
    "patch zero": vision(patch_size=0),
    "image negative": vision(image_size=-64),
    "image smaller than a patch": vision(image_size=8),
    "head_width does not divide": vision(head_width=5),
    "layers a list": vision(layers=[1, 2]),
    "timm unknown": vision(timm_model_name="no_such_model"),
    "timm not a model": vision(timm_model_name="../../evil"),
    "pool unknown": vision(pool_type="nothing"),
    "act_kwargs": vision(act_kwargs={"inplace": "maybe", "nothing": 1}),
    "mean of text": BASE | dict(preprocess_cfg=dict(mean="white")),
    "interpolation unknown": BASE | dict(preprocess_cfg=dict(interpolation="psychic")),
    "mode unknown": BASE | dict(preprocess_cfg=dict(mode="CMYK")),
    "mean of two": BASE | dict(preprocess_cfg=dict(mean=[0.5, 0.5])),
    "std of zero": BASE | dict(preprocess_cfg=dict(std=[0.0, 0.0, 0.0])),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_configuration(folder, content):
    content = json.dumps(content) if isinstance(content, dict) else content
    (folder / "open_clip_config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TowerError):
        load_tower(f"local-dir:{folder}")


def scripted(state, path):
    "The state as parameters and buffers of a program, as OpenAI published it, with three settings among them."

    class Holder(torch.nn.Module):
        def forward(self, x):
            return x

    root = Holder()
    for key, value in state.items():
        *names, last = key.split(".")
        at = root
        for name in names:
            if not hasattr(at, name):
                at.add_module(name, Holder())
            at = getattr(at, name)
        at.register_parameter(last, torch.nn.Parameter(value, requires_grad=False))
    for key, value in dict(input_resolution=64, context_length=77, vocab_size=49408).items():
        root.register_buffer(key, torch.tensor(value))
    torch.jit.trace(root, torch.zeros(1)).save(str(path))


def test_openais_archive_is_read_without_its_program(tmp_path):
    state = weights_of(BASE)
    scripted({k: v.half() for k, v in state.items()}, tmp_path / "own.pt")
    read = tower_weights.read_weights(tmp_path / "own.pt")
    theirs = torch.jit.load(str(tmp_path / "own.pt")).state_dict()
    assert set(read) == set(theirs) - set(tower_weights.NOT_WEIGHTS) == set(state)
    assert all(torch.equal(read[k], theirs[k]) and read[k].dtype == torch.float16 for k in read)
    with tower_weights.quiet_logging():
        model = open_clip.model.CLIP(**json.loads(json.dumps(BASE["model_cfg"])))
    tower_weights.fill_weights(model, tmp_path / "own.pt", "small")
    assert all(torch.equal(v, state[k].half().float()) for k, v in model.state_dict().items())


def test_settings_among_the_tensors_are_dropped_in_every_form(tmp_path):
    state = weights_of(BASE) | {k: torch.tensor(7) for k in tower_weights.NOT_WEIGHTS}
    torch.save(state, tmp_path / "a.pt")
    torch.save(
        dict(epoch=3, name="x", optimizer={}, state_dict={f"module.{k}": v for k, v in state.items()}),
        tmp_path / "b.pt",
    )
    save_file(state, tmp_path / "c.safetensors")
    for name in ("a.pt", "b.pt", "c.safetensors"):
        with tower_weights.quiet_logging():
            model = open_clip.model.CLIP(**json.loads(json.dumps(BASE["model_cfg"])))
        tower_weights.fill_weights(model, tmp_path / name, "small")
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
        assert not set(tower_weights.checkpoint_shapes(tmp_path / name)) & set(tower_weights.NOT_WEIGHTS)


def test_openais_archive_cannot_hide_a_call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scripted(weights_of(BASE), tmp_path / "own.pt")
    lists = {
        "call": b"cbuiltins\nopen\n(S'hooked'\nS'w'\ntR.",
        "os": b"cos\nsystem\n(S'touch hooked'\ntR.",
        "torch": b"ctorch\nload\n(S'x'\ntR.",
        "cut": b"(lp0",
        "large": b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQI0\n"
        b"(I1000000\nI1000000\nt(I0\nI0\ntI00\nNtR.",
        "elsewhere": b"(S'storage'\nctorch\nFloatStorage\nS'../data'\nS'cpu'\nI4\ntQ.",
    }
    for name, content in lists.items():
        with zipfile.ZipFile("own.pt") as old, zipfile.ZipFile(f"{name}.pt", "w") as new:
            for info in old.infolist():
                new.writestr(info.filename, content if info.filename.endswith("/data.pkl") else old.read(info))
        with pytest.raises(TowerError, match="not a readable checkpoint"):
            tower_weights.read_weights(f"{name}.pt")
        assert not (tmp_path / "hooked").exists(), name


def test_a_file_gets_the_activation_it_was_trained_with(tmp_path):
    "RN50: all tags agree on QuickGELU. ViT-B-16: they do not, so the tag must be said."
    for name in ("RN50", "RN101", "RN50x4"):
        tags = open_clip.list_pretrained_tags_by_model(name)
        assert all(open_clip.get_pretrained_cfg(name, t)["quick_gelu"] for t in tags)
        assert tower_weights.file_record(name, tags, "w.safetensors")["quick_gelu"] is True
    file = tmp_path / "w.safetensors"
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(TowerError, match="'ViT-B-16' do not agree on quick_gelu.*openai:.*w.safetensors"):
        load_tower("ViT-B-16", str(file))
    assert tower_weights.find_weights("ViT-B-16", f"openai:{file}")[1]["quick_gelu"] is True
    assert tower_weights.find_weights("ViT-B-16", f"laion2b_s34b_b88k:{file}")[1]["quick_gelu"] is not True
    assert tower_weights.find_weights("ViT-L-14", f"laion2b_s32b_b82k:{file}")[1]["mean"] == (0.5, 0.5, 0.5)
    with pytest.raises(TowerError, match="said to be weights of the tag 'openai', is no file"):
        load_tower("ViT-B-16", "openai:/no/such.pt")
    assert tower_weights.find_weights("ViT-B-16-quickgelu", str(file))[0] == str(file)
    scripted(weights_of(BASE), tmp_path / "own.pt")
    assert (
        tower_weights.find_weights("ViT-B-16", str(tmp_path / "own.pt"))[1]["quick_gelu"] is True
    )  # OpenAI's own form


def test_positions_are_not_stretched_without_a_word(folder):
    (folder / "open_clip_config.json").write_text(json.dumps(vision(image_size=96)), encoding="utf-8")
    with pytest.raises(TowerError, match=r"visual.positional_embedding: \[17, 32\] in the file, \[37, 32\]"):
        load_tower(f"local-dir:{folder}")


def torch_bytes(state):
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def test_hub_repositories_in_every_form(tmp_path):
    "What they hold is fetched, in whichever form; what they lack is said; nothing that could be code is asked for."
    config, state = json.dumps(BASE).encode(), weights_of(BASE)
    small = {"open_clip_config.json": config, "README.md": b"x", "evil.py": b"raise SystemExit('ran')"}
    repos = {
        "a/usual": small | {"open_clip_model.safetensors": save(state)},
        "a/half": small | {"open_clip_model.safetensors": save({k: v.half() for k, v in state.items()})},
        "a/bin": small | {"open_clip_pytorch_model.bin": torch_bytes(state)},
        "a/training": small
        | {"epoch_3.pt": torch_bytes(dict(epoch=3, state_dict={f"module.{k}": v for k, v in state.items()}))},
        "a/plain": small | {"model.safetensors": save(state)},
        "a/two": small
        | {"model.safetensors": save({"other": torch.zeros(1)}), "open_clip_pytorch_model.bin": torch_bytes(state)},
        "a/none": small,
        "a/transformers": {"config.json": b"{}", "model.safetensors": save(state), "pytorch_model.bin": b"x"},
        "a/gated": small | {"open_clip_model.safetensors": save(state)},
        "a/private": small,
    }
    ask = """
import sys
from trmml_nb.towers.tower import load_tower
from trmml_nb.errors import TowerError
for name in sys.argv[1:] or %r:
    try: print(name, 'dim', load_tower('hf-hub:' + name).dim)
    except TowerError as error: print(name, str(error).replace(chr(10), ' '))
"""
    dropped = {hashlib.sha256(repos["a/plain"]["model.safetensors"]).hexdigest(): 5000}
    names = [*repos, "a/unknown"]
    with StandInHub(repos, gated=["a/gated"], private=["a/private"], drops=dropped) as hub:
        done = hub.python(ask % names, tmp_path)
        assert not [p for _, p in hub.log if p.endswith((".py", ".md"))]
        assert not [
            p for _, p in hub.log if "transformers" in p and "/resolve/" in p
        ]  # told before anything is fetched
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for name in ("usual", "half", "bin", "training", "plain", "two"):
        assert said[f"a/{name}"] == "dim 16", said
    assert "holds no weights" in said["a/none"] and "open_clip_config.json" in said["a/none"]
    assert "holds no open_clip_config.json" in said["a/transformers"] and "open_clip's form" in said["a/transformers"]
    assert "gated: accept its terms" in said["a/gated"] and "hf auth login" in said["a/gated"]
    for name in ("private", "unknown"):
        assert "if it is private" in said[f"a/{name}"] and "hf auth login" in said[f"a/{name}"]
    again = StandInHub(repos).python(ask % ["a/bin"], tmp_path, HF_HUB_OFFLINE="1")
    assert again.stdout.strip() == "a/bin dim 16", again.stdout + again.stderr[-1000:]


def test_siglip_needs_are_told_before_the_download(monkeypatch):
    monkeypatch.setattr(tower_weights.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tower_weights, "fetch_weights", lambda *a: pytest.fail("fetched first"))
    with pytest.raises(TowerError, match=r"needs transformers and sentencepiece.*pip install 'trmml_nb\[siglip\]'"):
        load_tower("ViT-B-16-SigLIP", "webli")


@pytest.mark.parametrize(
    "env, open_at, expected",
    [
        (dict(http_proxy="127.0.0.1:{port}"), "proxy", True),
        (dict(http_proxy="http://127.0.0.1:{port}"), "proxy", True),
        (dict(all_proxy="127.0.0.1:{port}"), "proxy", True),
        (dict(ALL_PROXY="http://127.0.0.1:{port}"), "proxy", True),
        (dict(http_proxy="127.0.0.1:1"), "hub", False),
        (dict(http_proxy="127.0.0.1:port"), "hub", False),
        (dict(all_proxy="127.0.0.1:1"), "hub", False),
        (dict(http_proxy="127.0.0.1:1", no_proxy="hub.example"), "hub", True),
        (dict(all_proxy="127.0.0.1:1", no_proxy=".example"), "hub", True),
        ({}, "hub", True),
    ],
)
def test_proxies(env, open_at, expected, monkeypatch):
    for key in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(key, raising=False)
        monkeypatch.delenv(key.upper(), raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(tower_weights.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(tower_weights.hub, "ENDPOINT", "http://hub.example:81")
    for key, value in env.items():
        monkeypatch.setenv(key, value.format(port=82))
    answers = {"proxy": ("127.0.0.1", 82), "hub": ("hub.example", 81)}[open_at]

    def connect(address, timeout):
        if address != answers:
            raise OSError("refused")
        return SimpleNamespace(close=int)

    monkeypatch.setattr(tower_weights.socket, "create_connection", connect)
    assert tower_weights.hub_reachable(timeout=1) is expected


def test_pictures_become_squares_as_projects_do_it():
    "By name; the tower's own mean and std stay, and what is said in `preprocess` comes last."
    own = load_tower("tiny").preprocess
    for name, (mode, interpolation) in {
        "dualcoop": ("squash", "bilinear"),
        "positivecoop": ("squash", "bilinear"),
        "query2label": ("squash", "bilinear"),
        "splc": ("squash", "bilinear"),
        "scpnet": ("shortest", "bilinear"),
        "hcplab": ("squash", "bicubic"),
        "tai_dpt": ("squash", "bicubic"),
        "shortest": ("shortest", "bicubic"),
    }.items():
        tower = load_tower("tiny", resize_mode=name)
        assert tower.preprocess == own | dict(resize_mode=mode, interpolation=interpolation), name
    assert load_tower("tiny", resize_mode="scpnet").fingerprint != load_tower("tiny").fingerprint
    chosen = load_tower("tiny", resize_mode="hcplab", preprocess=dict(interpolation="bilinear")).preprocess
    assert chosen["interpolation"] == "bilinear"
    with pytest.raises(TowerError, match="resize_mode is 'stretch', expected one of squash, shortest, dualcoop"):
        load_tower("tiny", resize_mode="stretch")


@pytest.mark.fault(
    'hostile files',
    'a model hub whose file goes on after its end, and whose answer does not say how long it is',
    'stopped at the published size, and the next try begins anew',
)
def test_a_file_of_the_hub_ends_at_its_published_size(tmp_path):
    weights = save({"a": torch.zeros(50_000)})
    repo = {"open_clip_config.json": json.dumps(BASE).encode(), "open_clip_model.safetensors": weights}
    ask = """
from trmml_nb.errors import TowerError
from trmml_nb.towers.weights import fetch_hub_folder
try:
    print(sorted(p.name for p in __import__('pathlib').Path(fetch_hub_folder('a/b')).iterdir()))
except TowerError as error:
    print(error)
"""
    with StandInHub({"a/b": repo}, endless=True) as hub:
        first = hub.python(ask, tmp_path)
        assert f"more than {len(weights):,} bytes came, the published size" in first.stdout, first.stdout + first.stderr
        kept = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
        assert kept < 2**21 and hub.sent < 2**28, (kept, hub.sent)
        hub.endless = False
        again = hub.python(ask, tmp_path)
    assert "'open_clip_config.json', 'open_clip_model.safetensors'" in again.stdout, again.stdout + again.stderr


@pytest.mark.fault(
    'hostile files',
    'an address of weights that sends more or less than it states, states no size, or sends another file',
    'stopped there; nothing is kept of it, and the next try begins anew',
)
@pytest.mark.parametrize(
    'fault, said',
    [
        ('endless', 'more than 1,048,576 bytes came, and no size was stated'),
        ('length 3000000', '2,000,000 bytes came, the server had stated 3,000,000'),
        ('length 99999999999999999', 'are offered, and .* are free'),
        ('length 1000', 'sha256 begins with [0-9a-f]{8}, the address says'),
        ('status 500', 'HTTPError: HTTP Error 500'),
        ('', None),
    ],
)
def test_weights_of_an_address_end_where_it_says(tmp_path, monkeypatch, fault, said):
    body = bytes(2_000_000)
    name = f'mlfoundations-{hashlib.sha256(body).hexdigest()[:8]}.pt'
    monkeypatch.setattr(tower_weights, 'UNSTATED', 1 << 20)
    monkeypatch.setattr(tower_weights, 'hub_reachable', lambda: True)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with PracticeServer({name: body}, {name: [fault] if fault else []}) as server:
        tags = {'rn50': {'yfcc15m': dict(url=server.url(name))}}
        monkeypatch.setattr(open_clip, 'get_pretrained_cfg', lambda name, tag: tags['rn50']['yfcc15m'])
        if said:
            with pytest.raises(TowerError, match=said):
                fetch_weights('RN50', 'yfcc15m')
            assert not [p for p in tmp_path.rglob('*') if p.is_file()]
        assert Path(fetch_weights('RN50', 'yfcc15m')).read_bytes() == body
    assert fetch_weights('RN50', 'yfcc15m') == str(tmp_path / '.cache' / 'clip' / name)


def test_a_file_without_a_published_size_has_a_stated_one(monkeypatch):
    monkeypatch.setattr(tower_weights, "UNSTATED", 10)
    bar = tower_weights.stops_at(None)(total=None, initial=4, disable=True)
    bar.update(6)
    with pytest.raises(OSError, match="more than 10 bytes came, and no size was published"):
        bar.update(1)


def test_tags_on_the_hub_in_every_form(tmp_path):
    """A published tag, from asking to features: whatever form its repository holds, the very weights; a second time
    from the cache; gated, unknown and empty ones say what to do; the activation comes with the tag."""
    state = weights_of(BASE)
    forms = {
        "usual": {"open_clip_model.safetensors": save(state)},
        "half": {"open_clip_model.safetensors": save({k: v.half() for k, v in state.items()})},
        "bin": {"open_clip_pytorch_model.bin": torch_bytes(state)},
        "gated": {"open_clip_model.safetensors": save(state)},
        "empty": {"README.md": b"x"},
    }
    (tmp_path / "small-clip.json").write_text(json.dumps(BASE["model_cfg"]))
    code = f"""
import open_clip
from open_clip import pretrained
from trmml_nb.towers.tower import load_tower
from trmml_nb.errors import TowerError
open_clip.add_model_config({str(tmp_path / "small-clip.json")!r})
own = dict(mean=(.5, .5, .5), std=(.5, .5, .5), interpolation='bicubic', resize_mode='squash', quick_gelu=True)
tags = {{t: dict(own, hf_hub='lab/' + t + '/') for t in {[*forms, "unknown"]!r}}}
pretrained._PRETRAINED['small-clip'] = pretrained._PRETRAINED['small_clip'] = tags
for tag in tags:
    try: print(tag, load_tower('small-clip', tag).fingerprint)
    except TowerError as error: print(tag, str(error).replace(chr(10), ' '))
"""
    with StandInHub({f"lab/{name}": files for name, files in forms.items()}, gated=["lab/gated"]) as hub:
        first = hub.python(code, tmp_path / "home")
        asked = len(hub.log)
        again = hub.python(code.replace("for tag in tags", "for tag in ('usual', 'bin')"), tmp_path / "home")
        assert len(hub.log) == asked, "the cache is asked first"
    assert first.returncode == again.returncode == 0, first.stderr[-2000:] + again.stderr[-2000:]
    said, later = (dict(line.split(" ", 1) for line in done.stdout.splitlines()) for done in (first, again))
    assert re.fullmatch("[0-9a-f]{64}", said["usual"]), said
    assert said["usual"] == said["bin"] == later["usual"] == later["bin"] != said["half"]
    assert "gated: accept its terms" in said["gated"] and "hf auth login" in said["gated"]
    assert "if it is private" in said["unknown"] and "hf auth login" in said["unknown"]
    assert "holds none of open_clip_model.safetensors" in said["empty"]


def test_openais_rn50_at_full_size(tmp_path):
    "Random weights in half precision, in OpenAI's form: features equal open_clip's own with QuickGELU."
    with tower_weights.quiet_logging():
        model = open_clip.create_model("RN50-quickgelu").half().float().eval()
    scripted({k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}, tmp_path / "RN50.pt")
    tower = load_tower("RN50", str(tmp_path / "RN50.pt"))
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(tower.raw(pixels).pooled, model.encode_image(pixels), atol=1e-4)
    words = f"train --data scenes --limit 8 --clip RN50 --pretrained {tmp_path}/RN50.pt --image-size 64 --device cpu"
    places = f"--method linear_ignore:epochs=1 --cache {tmp_path}/cache --out {tmp_path}/run"
    done = CliRunner().invoke(app, [*words.split(), *places.split()])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run" / "config.json").read_text())["tower"]["dim"] == 1024


def test_training_with_weights_of_the_hub_in_every_form(tmp_path):
    """As a person types it, with a hub that is slow and drops the line: every form of the same weights gives the same
    scores, and a file that the hub has in half precision gives those of half precision."""
    state = weights_of(BASE)
    config = {"open_clip_config.json": json.dumps(BASE).encode()}
    trained = dict(epoch=3, name="x", state_dict={f"module.{k}": v for k, v in state.items()})
    rounded = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    repos = {
        "lab/usual": config | {"open_clip_model.safetensors": save(state)},
        "lab/bin": config | {"open_clip_pytorch_model.bin": torch_bytes(state)},
        "lab/training": config | {"epoch_3.pt": torch_bytes(trained)},
        "lab/half": config | {"open_clip_model.safetensors": save(rounded)},
        "lab/half_bin": config | {"open_clip_pytorch_model.bin": torch_bytes(rounded)},
    }
    code = f"""
import json, pathlib
from typer.testing import CliRunner
from trmml_nb.cli import app
from trmml_nb.datasets.archives import PracticeServer
for name in {list(repos)!r}:
    out = pathlib.Path({str(tmp_path)!r}) / name
    words = f'train --data scenes --limit 40 --clip hf-hub:{{name}} --method trmml:epochs=1 --device cpu --out {{out}}'
    done = CliRunner().invoke(app, [*words.split(), '--cache', str(out) + '_cache'])
    assert done.exit_code == 0, done.output
    print(name, json.loads((out / 'metrics.json').read_text())['mAP'])
"""
    dropped = {hashlib.sha256(repos["lab/usual"]["open_clip_model.safetensors"]).hexdigest(): 50_000}
    with StandInHub(repos, drops=dropped, slow=0.05) as hub:
        done = hub.python(code, tmp_path / "home")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    scores = dict(line.split() for line in done.stdout.splitlines() if line.startswith("lab/"))
    assert scores["lab/usual"] == scores["lab/bin"] == scores["lab/training"]
    assert scores["lab/half"] == scores["lab/half_bin"]
