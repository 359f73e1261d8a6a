"""The published benchmarks, tiny, and a server that has them."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from trmml_nb.datasets.archives import Patience, PracticeServer
from trmml_nb.datasets.prepare import BENCHMARKS, prepare_benchmark

QUICK = Patience(tries=2, wait=0.01, connect=2, silence=0.3)


def jpeg(seed):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


def tarred(files, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        for name, content in files.items():
            z.writestr(name, content)
    return out.getvalue()


VOC_LABELS = np.array([[1, 0], [2, 1], [0, 1], [1, 1], [0, 2]], np.int8)  # three for trainval, two for test


def tiny_voc(year="2007"):
    base, ids = f"VOCdevkit/VOC{year}", [f"{i:06d}" for i in (3, 5, 8, 11, 12)]
    parts = (
        dict(train=[0, 2], val=[1], trainval=[0, 1, 2], test=[3, 4])
        if year == "2007"
        else dict(train=[0, 2, 4], val=[1, 3], trainval=[0, 1, 2, 3, 4])
    )
    say, files = {1: 1, 0: -1, 2: 0}, {}
    for part, rows in parts.items():
        files[f"{base}/ImageSets/Main/{part}.txt"] = "".join(f"{ids[i]}\n" for i in rows)
        for c, name in enumerate(("cat", "dog")):
            files[f"{base}/ImageSets/Main/{name}_{part}.txt"] = "".join(
                f"{ids[i]} {say[int(VOC_LABELS[i, c])]:2d}\n" for i in rows
            )
    files = {k: v.encode() for k, v in files.items()}
    images = {f"{base}/JPEGImages/{name}.jpg": jpeg(i) for i, name in enumerate(ids)}
    if year == "2012":
        return {"VOCtrainval_11-May-2012.tar": tarred(files | images)}, dict(
            categories=2, images=dict(train=3, val=2), positives={}
        )
    test = {k for k in files if "test" in k} | set(list(images)[3:])
    return (
        {
            "VOCtrainval_06-Nov-2007.tar": tarred({k: v for k, v in (files | images).items() if k not in test}),
            "VOCtest_06-Nov-2007.tar": tarred({k: v for k, v in (files | images).items() if k in test}),
        },
        dict(categories=2, images=dict(trainval=3, test=2), positives=dict(trainval=3, test=2)),
    )


COCO_IDS = dict(train=[1000, 9, 20, 7], val=[5, 33])
COCO_OBJECTS = dict(
    train=[(1000, 18), (1000, 1), (9, 17), (9, 1), (9, 17), (20, 1), (20, 18)], val=[(33, 1)]
)  # 7 and 5 have none


def tiny_coco(all_ids=COCO_IDS, objects=COCO_OBJECTS):
    categories = [dict(id=18, name="dog"), dict(id=1, name="person"), dict(id=17, name="cat")]  # not in ascending order
    files = {}
    for part, ids in all_ids.items():
        about = dict(
            images=[dict(id=i, file_name=f"COCO_{part}2014_{i:012d}.jpg") for i in ids],
            categories=categories,
            annotations=[dict(image_id=i, category_id=c, iscrowd=0, segmentation=[]) for i, c in objects[part]],
        )
        files[f"annotations/instances_{part}2014.json"] = json.dumps(about).encode()
    files["annotations/captions_train2014.json"] = b"{}"
    pictures = {
        part: {f"{part}2014/COCO_{part}2014_{i:012d}.jpg": jpeg(i) for i in ids} for part, ids in all_ids.items()
    }
    return (
        {
            "annotations_trainval2014.zip": zipped(files),
            "train2014.zip": zipped(pictures["train"]),
            "val2014.zip": zipped(pictures["val"]),
        },
        dict(
            categories=3,
            images={
                f"{part}{more}": len(ids if more else {i for i, _ in objects[part]})
                for part, ids in all_ids.items()
                for more in ("", "_all")
            },
        ),
    )


def wider_coco():
    "Sixteen training images, most with several categories: another order of rows gives another single-positive list."
    ids = dict(train=[1000, 9, 20, 7, 300, 31, 4, 1999, 58, 600, 2, 75, 811, 12, 45, 100], val=[5, 33])
    return tiny_coco(
        ids, dict(train=[(i, c) for n, i in enumerate(ids["train"]) for c in (1, 17, 18) if (n + c) % 4], val=[(33, 1)])
    )


def tiny_vg():
    labels = {"2.jpg": [1, 450, 199], "1.jpg": [0], "7.jpg": [], "5.jpg": [200, 3]}
    return (
        {
            "images.zip": zipped({"VG_100K/1.jpg": jpeg(1), "VG_100K/5.jpg": jpeg(5)}),
            "images2.zip": zipped({"VG_100K_2/2.jpg": jpeg(2), "VG_100K_2/7.jpg": jpeg(7)}),
            "train_list_500.txt": b"2.jpg\n1.jpg\n7.jpg\n",
            "test_list_500.txt": b"5.jpg\n",
            "vg_category_500_labels_index.json": json.dumps(labels).encode(),
        },
        dict(images=dict(train=3, test=1)),
    )


def tiny_nus_official():
    cells = dict(sky=([1, 0, 0], [0, 1]), dog=([1, 0, 1], [0, 0]))
    files = {
        f"Groundtruth/TrainTestLabels/Labels_{name}_{part}.txt": "".join(f"{v}\n" for v in values).encode()
        for name, both in cells.items()
        for part, values in zip(("Train", "Test"), both)
    }
    lists = {
        "ImageList/TrainImagelist.txt": b"actor\\1.jpg\r\nzoo\\2.jpg\r\nzoo\\3.jpg\r\n",
        "ImageList/TestImagelist.txt": b"actor\\4.jpg\nzoo\\5.jpg\n",
    }
    return {"ImageList.zip": zipped(lists), "Groundtruth.zip": zipped(files)}


NUS_IMAGES = [f"Flickr/{name}.jpg" for name in ("actor/1", "zoo/2", "zoo/3", "actor/4", "zoo/5")]


def tiny_cub():
    files = {
        "attributes.txt": "1 bill::curved\n2 wing::blue\n3 eye::red\n",
        "CUB_200_2011/images.txt": "1 001.A/a_1.jpg\n2 002.B/b_2.jpg\n3 002.B/b_3.jpg\n",
        "CUB_200_2011/train_test_split.txt": "1 1\n2 0\n3 1\n",
        "CUB_200_2011/attributes/image_attribute_labels.txt": "1 1 0 3 27.7\n1 2 1 4 1.5\n1 3 0 1 0 3.0\n"
        "2 1 1 4 2\n2 2 0 3 2\n2 3 1 2 2\n3 1 0 1 0\n3 2 1 1 0 5 6\n3 3 1 4 0\n",
    }
    images = {
        f"CUB_200_2011/images/{name}": jpeg(i)
        for i, name in enumerate(("001.A/a_1.jpg", "002.B/b_2.jpg", "002.B/b_3.jpg"))
    }
    return {"CUB_200_2011.tgz": tarred({k: v.encode() for k, v in files.items()} | images, "w:gz")}, dict(
        categories=3, images=dict(train=2, test=1)
    )


def served(name, files, server, **counts):
    "The real benchmark with its true tiny counts, and its files on the practice server."
    real = BENCHMARKS[name]
    sources = tuple(
        s
        if s.optional
        else replace(
            s,
            urls=(server.url(s.name),) if s.urls else (),
            size=len(files[s.name]),
            md5=None,
            sha256=hashlib.sha256(files[s.name]).hexdigest(),
            said_by="this test",
        )
        for s in real.sources
    )
    return replace(real, sources=sources, said_by="this test", **{**dict(positives={}), **counts})


@pytest.fixture
def server():
    with PracticeServer({}) as server:
        yield server


def put(server, name, made):
    files, counts = made
    server.files.update(files)
    return served(name, files, server, **counts)


def make(benchmark, root, given=None, **more):
    return prepare_benchmark(benchmark, root, given, patience=QUICK, progress=False, workers=2, **more)


def flickr(folder, skip=()):
    for i, name in enumerate(NUS_IMAGES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name not in skip:
            (folder / name).write_bytes(jpeg(i))
    return folder
