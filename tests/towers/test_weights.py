"Weights that are missing, damaged, foreign or dangerous, and a network that is not there: refused at once, with the mend."

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from test_dense import CONFIGS, TEXT, images, make, registry  # noqa: F401 (registry is a fixture)

from trmml_nb.towers import weights as tower_weights
from trmml_nb.errors import TowerError
from trmml_nb.towers.tower import load_tower


def folder_of(tower, name, path, weights=True):
    path.mkdir()
    (path / "open_clip_config.json").write_text(
        json.dumps(
            dict(
                model_cfg={"text_cfg": TEXT} | CONFIGS[name],
                preprocess_cfg=dict(mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear", resize_mode="shortest"),
            )
        )
    )
    if weights:
        save_file(
            {k: v.contiguous() for k, v in tower.model.state_dict().items()}, path / "open_clip_model.safetensors"
        )
    return f"local-dir:{path}"


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
