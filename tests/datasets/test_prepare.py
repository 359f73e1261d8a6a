"Tiny benchmarks of the official shape, from a local server: one form on the disk, counts that bite, runs that resume."

import io
import json
import runpy
import sys
import tarfile
import time
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trmml_nb.datasets import archives
from trmml_nb.datasets import prepare
from trmml_nb.datasets.archives import ArchiveError, Source, WrongFile
from trmml_nb.errors import DataError
from trmml_nb.data.labels import (
    ABSENT,
    PRESENT,
    UNKNOWN,
    mask_sha256,
)
from trmml_nb.data.mask_files import PUBLISHED_MASKS, read_mask_file, single_positive_mask
from trmml_nb.data.own_data import csv_dataset
from trmml_nb.datasets.prepare import (
    BENCHMARKS,
    LabelTable,
    PrepareJob,
    Tree,
    check_counts,
    gather,
    notice,
    plan,
    prepare_job,
    read_coco,
    read_cub,
    read_vg,
    single_positive_targets,
    table_bytes,
    unpacked_in,
    write_label_table,
)
from trmml_nb.data.prepared import DIFFICULT, PrepareError, prepared_dataset, read_provenance
from trmml_nb.data.voc import voc_dataset
from helpers.benchmarks import (
    COCO_IDS,
    NUS_IMAGES,
    QUICK,
    flickr,
    jpeg,
    make,
    put,
    served,
    tarred,
    tiny_coco,
    tiny_cub,
    tiny_nus_official,
    tiny_vg,
    tiny_voc,
    wider_coco,
    zipped,
)

RNG = np.random.default_rng(0)
SAFELY = dict(filter='data') if hasattr(tarfile, 'data_filter') else {}  # Python 3.10 and 3.11 learned it late


# -- the six, tiny; each maker gives {archive: bytes}, the stored labels, and the benchmark's true counts


# -- VOC


def test_voc2007(server, tmp_path):
    folder = make(put(server, "voc2007", tiny_voc()), tmp_path / "data")
    assert (folder / "labels.csv").read_text().splitlines() == [
        "image,split,cat,dog",
        "VOCdevkit/VOC2007/JPEGImages/000003.jpg,train,1,0",
        "VOCdevkit/VOC2007/JPEGImages/000005.jpg,val,2,1",
        "VOCdevkit/VOC2007/JPEGImages/000008.jpg,train,0,1",
        "VOCdevkit/VOC2007/JPEGImages/000011.jpg,test,1,1",
        "VOCdevkit/VOC2007/JPEGImages/000012.jpg,test,0,2",
    ]
    assert (folder / "categories.txt").read_text() == "cat\ndog\n"
    trainval = prepared_dataset(folder, "trainval", check=True)
    assert trainval.image_ids == ["000003", "000005", "000008"] and trainval.truth.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert prepared_dataset(folder, "trainval", "unknown").truth.tolist() == [[1, 0], [-1, 1], [0, 1]]
    assert (
        prepared_dataset(folder, "train").image_ids == ["000003", "000008"]
        and prepared_dataset(folder, "test", "unknown").truth[1, 1] == UNKNOWN
    )
    assert trainval.image(0).size == (32, 24)
    for rule in ("absent", "unknown"):  # the same as the official files, read by the official reader
        theirs = voc_dataset(folder / "images" / "VOCdevkit", "test", difficult=rule)
        assert np.array_equal(prepared_dataset(folder, "test", rule).truth, theirs.truth)
    about = read_provenance(folder)
    assert (
        about["difficult"] == 2
        and about["counts"]["trainval"] == dict(images=3, present=3)
        and about["missing"] == about["unknown"] == 0
    )
    assert (
        [s["checked"] for s in about["sources"]] == ["published checksum"] * 2
        and about["sources"][0]["sha256"]
        and about["image_root"] == "images"
    )


def test_voc2012_and_its_single_positives(server, tmp_path):
    folder = make(put(server, "voc2012", tiny_voc("2012")), tmp_path)
    data = prepared_dataset(folder, "train")
    assert data.image_ids == ["000003", "000008", "000012"] and set(read_provenance(folder)["splits"]) == {
        "train",
        "val",
        "trainval",
    }
    path = tmp_path / "masks" / "voc2012_train_single_positive.txt"
    targets = read_mask_file(path, data.image_ids, data.class_names)
    expected = np.where(single_positive_mask(data.truth), data.truth, UNKNOWN)
    assert np.array_equal(targets, expected) and (targets == PRESENT).sum(1).tolist() == [1, 1, 0], (
        "a difficult object is no positive"
    )
    assert read_provenance(folder)["masks"][0]["sha256"] == mask_sha256(targets == PRESENT)


# -- COCO


def test_coco(server, tmp_path):
    folder = make(put(server, "coco2014", tiny_coco()), tmp_path)
    train, every = prepared_dataset(folder, "train"), prepared_dataset(folder, "train_all")
    assert train.class_names == ["person", "cat", "dog"], "columns in ascending category id"
    assert [int(i[-12:]) for i in every.image_ids] == COCO_IDS["train"] and [int(i[-12:]) for i in train.image_ids] == [
        1000,
        9,
        20,
    ], "rows in JSON order"
    assert every.truth.tolist() == [[1, 0, 1], [1, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert len(prepared_dataset(folder, "val")) == 1 and len(prepared_dataset(folder, "val_all")) == 2
    assert sorted(p.name for p in (folder / "images" / "annotations").iterdir()) == [
        "instances_train2014.json",
        "instances_val2014.json",
    ], "captions are not unpacked"


def test_coco_rows_are_visited_as_in_coles_code(server, tmp_path):
    "Ids sorted as text: 100, 1000, 12, 1999, 2, ...; a draw in the order of the rows gives another list."
    folder = make(put(server, "coco2014", wider_coco()), tmp_path)
    data = prepared_dataset(folder, "train")

    def drawn(
        rows,
    ):  # written out, as in the public code: shuffle the present ones, keep the first, shuffle the absent ones
        rng, expected = np.random.RandomState(1200), np.full(data.truth.shape, UNKNOWN)
        for row in rows:
            present, absent = np.flatnonzero(data.truth[row] == 1), np.flatnonzero(data.truth[row] == 0)
            rng.shuffle(present)
            rng.shuffle(absent)
            expected[row, present[0]] = PRESENT
        return expected

    numbers = [str(int(i[-12:])) for i in data.image_ids]
    targets = read_mask_file(
        tmp_path / "masks" / "coco2014_train_single_positive.txt", data.image_ids, data.class_names
    )
    assert np.array_equal(targets, drawn(np.argsort(numbers, kind="stable"))) and sorted(numbers)[:3] == [
        "100",
        "1000",
        "12",
    ]
    assert not np.array_equal(targets, drawn(range(len(data))))


def test_order_of_visits_matters():
    truth = (np.random.default_rng(0).random((60, 10)) < 0.5).astype(np.int8)
    ids = [str(i) for i in range(60)]
    assert not np.array_equal(single_positive_targets(truth, ids, str), single_positive_targets(truth, ids))
    assert np.array_equal(single_positive_targets(truth, ids, int), single_positive_targets(truth, ids))


def test_coco_that_is_damaged(tmp_path):
    (tmp_path / "annotations").mkdir()
    about = dict(
        images=[dict(id=1, file_name="a.jpg")],
        categories=[dict(id=1, name="cat")],
        annotations=[dict(image_id=2, category_id=1)],
    )
    (tmp_path / "annotations" / "instances_train2014.json").write_text(json.dumps(about))
    with pytest.raises(PrepareError, match="an object belongs to an image or category that is not listed"):
        read_coco(Tree([tmp_path]))


# -- VG-200


def test_vg(server, tmp_path):
    files, counts = tiny_vg()
    benchmark = put(server, "vg200", (files, counts))
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with pytest.warns(UserWarning, match="called by their index"):
        folder = make(benchmark, tmp_path / "data", shelf)
    data = prepared_dataset(folder)
    assert data.image_ids == ["2", "1", "7"] and data.truth.shape == (3, 200)
    assert [np.flatnonzero(row).tolist() for row in data.truth] == [[1, 199], [0], []], "labels from 200 on are dropped"
    assert np.flatnonzero(prepared_dataset(folder, "test").truth[0]).tolist() == [3]
    assert "VG_100K_2/2.jpg" in (folder / "labels.csv").read_text() and data.image(0).size == (32, 24)
    assert [name for name, *_ in server.log][:3] == [
        "train_list_500.txt",
        "test_list_500.txt",
        "vg_category_500_labels_index.json",
    ], "the small files first: what is wrong with them is told before 15 GB are fetched"
    (shelf / "vg_category_names.txt").write_text("".join(f"thing {i}\n" for i in range(500)))
    assert prepared_dataset(make(benchmark, tmp_path / "named", shelf)).class_names[199] == "thing 199"


def test_vg_with_a_repeated_line_is_another_list(tmp_path):
    for name, text in {
        "train_list_500.txt": "1.jpg\n3.jpg\n1.jpg\n",
        "test_list_500.txt": "2.jpg\n",
        "vg_category_500_labels_index.json": '{"1.jpg": [], "2.jpg": [], "3.jpg": []}',
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(PrepareError, match="1.jpg' stands twice"), pytest.warns(UserWarning):
        read_vg(Tree([tmp_path]))


@pytest.mark.parametrize("content", ["[]", '{"1.jpg": 3}', '{"1.jpg": ["a"]}', '{"1.jpg": [-1]}', "{", "[" * 9999])
def test_a_label_file_of_another_form(tmp_path, content):
    (tmp_path / "vg_category_500_labels_index.json").write_text(content)
    with pytest.raises(PrepareError, match="not a label file of SSGRL"):
        read_vg(Tree([tmp_path]))


def test_vg_as_people_have_it(server, tmp_path):
    "A clone of the lists' repository beside all pictures merged in one folder: nothing is asked of the network."
    files, counts = tiny_vg()
    benchmark = put(server, "vg200", (files, counts))
    lists = tmp_path / "mine" / "SSGRL" / "data" / "VG"
    merged = tmp_path / "mine" / "pictures" / "all"
    lists.mkdir(parents=True)
    merged.mkdir(parents=True)
    for name in files:
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(files[name])) as z:
                for info in z.infolist():
                    (merged / Path(info.filename).name).write_bytes(z.read(info))
        else:
            (lists / name).write_bytes(files[name])
    text = notice(benchmark, tmp_path / "data" / "vg200", tmp_path / "mine")
    assert f"images2.zip: unpacked in {merged}" in text and f"train_list_500.txt: given in {lists}" in text
    with pytest.warns(UserWarning, match="called by their index"):
        folder = make(benchmark, tmp_path / "data", tmp_path / "mine", offline=True)
    assert server.log == [] and prepared_dataset(folder, check=True).image_ids == ["2", "1", "7"]
    assert len(list(merged.iterdir())) == 4 and read_provenance(folder)["linked"] == 4


def test_vg_without_labels_for_an_image(tmp_path):
    for name, text in {
        "train_list_500.txt": "1.jpg\n",
        "test_list_500.txt": "2.jpg\n",
        "vg_category_500_labels_index.json": '{"1.jpg": []}',
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(PrepareError, match=r"no labels for 1 image of test_list_500\.txt, first '2\.jpg'"):
        read_vg(Tree([tmp_path]))


# -- NUS-WIDE


def test_nus_official_and_labelled(server, tmp_path):
    files = tiny_nus_official()
    server.files.update(files)
    shelf = flickr(tmp_path / "shelf")
    whole = served("nuswide-official", files, server, categories=2, images=dict(train=3, test=2))
    folder = make(whole, tmp_path / "data", shelf)
    data = prepared_dataset(folder)
    assert (
        data.class_names == ["dog", "sky"]
        and data.truth.tolist() == [[1, 1], [0, 0], [1, 0]]
        and data.image_ids == NUS_IMAGES[:3]
    )
    assert read_provenance(folder)["image_root"] == str(shelf.resolve()) and data.image(2).size == (32, 24), (
        "photographs are used where they lie"
    )
    labelled = served("nuswide-labelled", files, server, categories=2, images=dict(train=2, test=1))
    assert prepared_dataset(make(labelled, tmp_path / "data", shelf), "test").image_ids == ["Flickr/zoo/5.jpg"]
    with pytest.raises(PrepareError, match=r"train: 2 images, expected 3\n  test: 1 images, expected 2"):
        make(replace(labelled, name="other", images=whole.images), tmp_path / "data", shelf)


def test_nus_with_missing_photographs(server, tmp_path):
    files = tiny_nus_official()
    server.files.update(files)
    benchmark = served("nuswide-official", files, server, categories=2, images=dict(train=3, test=2))
    with pytest.raises(PrepareError, match=r"(?s)5 of 5 images are not in.*no longer served: ask the authors"):
        make(benchmark, tmp_path / "data")
    shelf = flickr(tmp_path / "shelf", skip=NUS_IMAGES[1:2])
    with pytest.raises(
        PrepareError,
        match=r"(?s)1 of 5 images are not in .*shelf:\n  Flickr/zoo/2\.jpg\n.*--allow-missing .* not comparable",
    ):
        make(benchmark, tmp_path / "data", shelf)
    folder = make(benchmark, tmp_path / "data", shelf, allow_missing=True)
    data = prepared_dataset(folder)
    assert data.image_ids == [NUS_IMAGES[0], NUS_IMAGES[2]] and data.truth.tolist() == [[1, 1], [1, 0]]
    assert data.skipped == [(NUS_IMAGES[1], "missing when it was prepared")] and read_provenance(folder)["missing"] == 1
    assert read_provenance(folder)["counts"]["train"]["images"] == 3, "the lists are whole, and say so"


def test_nus_asl(server, tmp_path):
    table = (
        'filepath,label,split_name\nFlickr/actor/1.jpg,"[\'sky\', \'dog\']",train\n'
        + "Flickr/zoo/2.jpg,['cow'],train\nFlickr/zoo/3.jpg,[],val\n"
    )
    files = {"nus_wid_data.csv": table.encode()}
    server.files.update(files)
    folder = make(
        served("nuswide-asl", files, server, categories=3, images=dict(train=2, test=1)),
        tmp_path,
        flickr(tmp_path / "shelf"),
    )
    assert prepared_dataset(folder).class_names == ["cow", "dog", "sky"] and prepared_dataset(
        folder
    ).truth.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert len(prepared_dataset(folder, "test")) == 1
    server.files["nus_wid_data.csv"] = bad = table.replace("['cow']", "cow").encode()
    with pytest.raises(PrepareError, match="holds something that is no list"):
        make(
            served("nuswide-asl", {"nus_wid_data.csv": bad}, server, categories=3, images=dict(train=2, test=1)),
            tmp_path / "bad",
            tmp_path / "shelf",
        )


def test_nus_cole(server, tmp_path):
    shelf, files = flickr(tmp_path / "shelf"), {}
    for part, rows in dict(train=NUS_IMAGES[:3], val=NUS_IMAGES[3:]).items():
        for what, array in dict(images=np.array(rows), labels=np.eye(len(rows), 2)).items():
            np.save(shelf / f"formatted_{part}_{what}.npy", array)
            files[f"formatted_{part}_{what}.npy"] = (shelf / f"formatted_{part}_{what}.npy").read_bytes()
    with pytest.warns(UserWarning, match="no nus_category_names"):
        folder = make(
            served("nuswide-cole", files, server, categories=2, images=dict(train=3, test=2)), tmp_path / "data", shelf
        )
    assert prepared_dataset(folder).truth.tolist() == [[1, 0], [0, 1], [0, 0]]
    np.save(shelf / "formatted_val_images.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError):  # a pickle is never opened
        prepare.read_nus_cole(Tree([shelf]))


def test_nus_label_lists_of_another_length(tmp_path):
    (tmp_path / "TrainTestLabels").mkdir()
    (tmp_path / "TrainImagelist.txt").write_text("a\\1.jpg\na\\2.jpg\n")
    (tmp_path / "TrainTestLabels" / "Labels_sky_Train.txt").write_text("1\n")
    with pytest.raises(PrepareError, match=r"1 label files with \[1\] lines, expected 1 with 2"):
        prepare.read_nus_official(Tree([tmp_path]))
    (tmp_path / "TrainTestLabels" / "Labels_sky_Train.txt").write_text("1\n2\n")
    with pytest.raises(PrepareError, match="is neither 0 nor 1"):
        prepare.read_nus_official(Tree([tmp_path]))


def test_flickr_zip_as_the_authors_send_it(server, tmp_path):
    files = tiny_nus_official()
    server.files.update(files)
    benchmark = served("nuswide-official", files, server, categories=2, images=dict(train=3, test=2))
    (tmp_path / "mine" / "post").mkdir(parents=True)
    pictures = {name: jpeg(i) for i, name in enumerate(NUS_IMAGES)}
    (tmp_path / "mine" / "post" / "Flickr.zip").write_bytes(zipped(pictures))
    folder = make(benchmark, tmp_path / "data", tmp_path / "mine")
    assert prepared_dataset(folder, check=True).image_ids == NUS_IMAGES[:3]


def test_the_tree_of_tai_dpt(server, tmp_path):
    "DATAROOT/NUSWIDE with ImageList, TrainTestLabels and Flickr in it, beside other data sets."
    files, root = tiny_nus_official(), tmp_path / "DATAROOT" / "NUSWIDE"
    for content in files.values():
        with zipfile.ZipFile(io.BytesIO(content)) as z:
            for info in z.infolist():
                place = root / info.filename.removeprefix("Groundtruth/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(z.read(info))
    flickr(root)
    (tmp_path / "DATAROOT" / "COCO" / "annotations").mkdir(parents=True)
    benchmark = served("nuswide-official", files, server, categories=2, images=dict(train=3, test=2))
    folder = make(benchmark, tmp_path / "data", tmp_path / "DATAROOT", offline=True)
    assert server.log == [] and prepared_dataset(folder, "test", check=True).image_ids == NUS_IMAGES[3:]


# -- CUB


def test_cub(server, tmp_path):
    folder = make(put(server, "cub200", tiny_cub()), tmp_path)
    data = prepared_dataset(folder)
    assert data.class_names == ["bill::curved", "wing::blue", "eye::red"] and data.truth.tolist() == [
        [0, 1, 0],
        [0, 1, 1],
    ]
    assert (
        prepared_dataset(folder, "test").truth.tolist() == [[1, 0, 1]]
        and data.image_ids[0] == "CUB_200_2011/images/001.A/a_1.jpg"
    )


def test_cub_with_a_line_less(tmp_path):
    files, _ = tiny_cub()
    with tarfile.open(fileobj=io.BytesIO(files["CUB_200_2011.tgz"])) as tar:
        tar.extractall(tmp_path, **SAFELY)
    path = tmp_path / "CUB_200_2011" / "attributes" / "image_attribute_labels.txt"
    path.write_text(path.read_text().rsplit("\n", 2)[0])
    with pytest.raises(PrepareError, match="8 lines, expected 3 images times 3 attributes"):
        read_cub(Tree([tmp_path]))


# -- the real table of benchmarks


def test_published_counts_are_those_of_the_protocol():
    b = BENCHMARKS
    assert (b["voc2007"].images, b["voc2007"].positives, b["voc2007"].categories) == (
        dict(trainval=5011, test=4952),
        dict(trainval=7306, test=7013),
        20,
    )
    assert b["voc2012"].images == dict(train=5717, val=5823)
    assert (
        b["coco2014"].images == dict(train=82081, val=40137, train_all=82783, val_all=40504)
        and b["coco2014"].categories == 80
    )
    assert b["vg200"].images == dict(train=82904, test=10000) and b["vg200"].categories == 200
    assert {n: tuple(x.images.values()) for n, x in b.items() if n.startswith("nus")} == {
        "nuswide-official": (161789, 107859),
        "nuswide-labelled": (125449, 83898),
        "nuswide-asl": (119103, 50720),
        "nuswide-cole": (150000, 60260),
    }
    assert b["cub200"].images == dict(train=5994, test=5794) and b["cub200"].categories == 312


def test_checksums_are_torchvisions():
    "The installed library is the source: a typing mistake here would make every download fail."
    voc = pytest.importorskip("torchvision.datasets.voc").DATASET_YEAR_DICT
    ours = {s.name: s for s in prepare.VOC2007_SOURCES + prepare.VOC2012_SOURCES}
    for key in ("2007", "2007-test", "2012"):
        source = ours[voc[key]["filename"]]
        assert source.md5 == voc[key]["md5"] and source.urls[0] == voc[key]["url"]


def test_no_checksum_without_a_source():
    for b in BENCHMARKS.values():
        for s in b.sources:
            assert (
                bool(s.said_by) == s.checksum_known
                and (s.urls or s.help)
                and (not s.md5 or len(s.md5) == 32)
                and (not s.sha256 or len(s.sha256) == 64)
            )
            assert s.size is None or s.limit > s.size


def test_published_masks_fit_the_benchmarks():
    "Each mask of the protocol has the shape of a split that masks are written for."
    shapes = {(b.images[split], b.categories) for b in BENCHMARKS.values() for split in b.masks if split in b.images}
    assert {m.shape for m in PUBLISHED_MASKS} <= shapes


def test_masks_of_a_published_shape_are_compared(tmp_path, server, monkeypatch):
    "A split of shape (3, 2) with a mask 'published' for it: agreement is recorded, disagreement is an error."
    from trmml_nb.data.labels import bernoulli_mask
    from trmml_nb.data.mask_files import PublishedMask

    right = PublishedMask("tiny", (3, 2), 0.5, mask_sha256(bernoulli_mask((3, 2), 0.5))[:16])
    benchmark = put(server, "voc2007", tiny_voc())
    monkeypatch.setattr(prepare, "PUBLISHED_MASKS", [right])
    assert read_provenance(make(benchmark, tmp_path / "a"))["masks"][0]["published"] == {"0.5": right.sha16}
    monkeypatch.setattr(prepare, "PUBLISHED_MASKS", [right._replace(sha16="0" * 16)])
    with pytest.raises(PrepareError, match="draws other masks than the published ones"):
        make(benchmark, tmp_path / "b")


@pytest.mark.parametrize("name", ["voc2007", "coco2014", "cub200"])
def test_the_real_counts_are_never_weakened(server, tmp_path, name):
    "Tiny files under the real benchmark are refused, and nothing is called prepared."
    files, _ = dict(voc2007=tiny_voc, coco2014=tiny_coco, cub200=tiny_cub)[name]()
    server.files.update(files)
    real = BENCHMARKS[name]
    benchmark = served(name, files, server, positives=real.positives)
    with pytest.raises(PrepareError) as error:
        make(benchmark, tmp_path)
    for split, n in real.images.items():
        assert f"{split}: " in str(error.value) and f"expected {n:,}" in str(error.value)
    assert f"expected {real.categories}" in str(error.value) and not (tmp_path / name / "labels.csv").exists()


# -- running twice, being killed, and other people's files


def test_a_second_run_does_nothing(server, tmp_path, monkeypatch):
    benchmark = put(server, "voc2007", tiny_voc())
    folder = make(benchmark, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    asked = len(server.log)
    monkeypatch.setattr(prepare, "gather", lambda *a, **k: pytest.fail("nothing may be gathered again"))
    assert make(benchmark, tmp_path) == folder and len(server.log) == asked
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}


@pytest.mark.fault(
    'stopped in the middle',
    'preparing stopped before and after each of its steps',
    'goes on, and downloads nothing twice',
)
@pytest.mark.parametrize(
    "step", ["obtain", "unpack", "broken_images", "write_label_table", "write_masks", "write_json"]
)
def test_a_run_killed_at_any_step_goes_on(server, tmp_path, monkeypatch, step):
    "Before and after the step: the next run ends with the same table, and downloads nothing twice."
    benchmark = put(server, "coco2014", tiny_coco())
    real = getattr(prepare, step)

    class Killed(BaseException):
        pass

    def kill(*args, **more):
        if when == "after":
            real(*args, **more)
        raise Killed

    for when in ("before", "after"):
        with monkeypatch.context() as patch:
            patch.setattr(prepare, step, kill)
            with pytest.raises(Killed):
                make(benchmark, tmp_path / "data")
        if (step, when) != ("write_json", "after"):
            assert not (tmp_path / "data" / "coco2014" / "provenance.json").exists()
    folder = make(benchmark, tmp_path / "data")
    assert prepared_dataset(folder, "train_all").truth.tolist() == [[1, 0, 1], [1, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert sorted(name for name, *_ in server.log) == sorted(s.name for s in benchmark.sources)


def test_a_dropped_line_in_the_middle(server, tmp_path):
    benchmark = put(server, "cub200", tiny_cub())
    server.faults["CUB_200_2011.tgz"] = ["drop 1000", "status 503"]
    assert len(prepared_dataset(make(benchmark, tmp_path))) == 2


def test_mirrors_and_wrong_checksums(server, tmp_path):
    files, counts = tiny_cub()
    server.files.update(files | {"old/CUB_200_2011.tgz": files["CUB_200_2011.tgz"][:-1] + b"x"})
    benchmark = served("cub200", files, server, **counts)
    source = replace(
        benchmark.sources[0],
        urls=(server.url("gone/x"), server.url("old/CUB_200_2011.tgz"), server.url("CUB_200_2011.tgz")),
    )
    make(replace(benchmark, sources=(source,)), tmp_path / "a")
    assert [(name, status) for name, _, status in server.log] == [
        ("gone/x", 404),
        ("old/CUB_200_2011.tgz", 200),
        ("CUB_200_2011.tgz", 200),
    ]
    with pytest.raises(ArchiveError, match="sha256"):
        make(replace(benchmark, sources=(replace(source, urls=source.urls[:2]),)), tmp_path / "b")


@pytest.mark.fault('disk and clock', 'disk too small for a download', 'refused before the work')
def test_a_disk_that_is_too_small(server, tmp_path, monkeypatch):
    benchmark = put(server, "voc2007", tiny_voc())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage(10**4, 0, 10**4))
    with pytest.raises(ArchiveError, match="PASCAL VOC 2007 needs .* free some space"):
        make(benchmark, tmp_path)
    assert server.log == [], "not a byte was asked for"


def test_a_bomb(server, tmp_path):
    files, counts = tiny_cub()
    big = tarred({"zeros.bin": bytes(5_000_000)}, "w:gz")
    server.files["CUB_200_2011.tgz"] = big
    with pytest.raises(ArchiveError, match="a bomb, or not the official file"):
        make(served("cub200", {"CUB_200_2011.tgz": big}, server, **counts), tmp_path)


def test_archives_that_a_person_has(server, tmp_path):
    files, counts = tiny_coco()
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name, content in files.items():
        (shelf / name).write_bytes(content)
    benchmark = served("coco2014", files, server, **counts)
    folder = make(benchmark, tmp_path / "data", shelf, offline=True)
    assert server.log == [] and {r["origin"] for r in read_provenance(folder)["sources"]} == {"given"}
    assert {p.name: p.read_bytes() for p in shelf.iterdir()} == files, "nothing is written beside them"
    (shelf / "val2014.zip").write_bytes(b"something else")
    with pytest.raises(WrongFile, match=r"shelf/val2014\.zip: 14 bytes, expected"):
        make(benchmark, tmp_path / "other", shelf)
    (shelf / "val2014.zip").unlink()
    with pytest.raises(ArchiveError, match="nothing may be downloaded"):
        make(benchmark, tmp_path / "third", shelf, offline=True)


@pytest.mark.parametrize("inside", ["", "VOCdevkit"])
def test_files_that_a_person_has_unpacked(server, tmp_path, inside):
    files, counts = tiny_voc()
    for content in files.values():
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(tmp_path / "mine", **SAFELY)
    before = sorted(p for p in (tmp_path / "mine").rglob("*"))
    benchmark = served("voc2007", files, server, **counts)
    folder = make(benchmark, tmp_path / "data", tmp_path / "mine" / inside, offline=True)
    data = prepared_dataset(folder, "trainval", check=True)
    assert (
        data.image(0).size == (32, 24)
        and data.images[0].path.startswith(str(tmp_path / "mine"))
        and before == sorted(p for p in (tmp_path / "mine").rglob("*"))
    )
    assert {r["checked"] for r in read_provenance(folder)["sources"]} == {"counts and images only"}


def test_two_devkits_side_by_side(server, tmp_path):
    "As Kaggle hands VOC out: each archive unpacked in a folder of its own."
    files, counts = tiny_voc()
    for name, content in files.items():
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(tmp_path / "kaggle" / "versions" / name.removesuffix(".tar"), **SAFELY)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "kaggle").rglob("*")}
    benchmark = served("voc2007", files, server, **counts)
    folder = make(benchmark, tmp_path / "data", tmp_path / "kaggle", offline=True)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "kaggle").rglob("*")} and server.log == []
    assert prepared_dataset(folder, "trainval", check=True).truth.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert len(prepared_dataset(folder, "test", check=True)) == 2 and read_provenance(folder)["linked"] == 5
    alone = make(benchmark, tmp_path / "second", tmp_path / "kaggle" / "versions", offline=True)
    assert (alone / "labels.csv").read_bytes() == (folder / "labels.csv").read_bytes()


def test_four_times_as_many_images_in_two_places_take_four_times_as_long(tmp_path, monkeypatch):
    "Twice nested, as Kaggle hands COCO out, half of the images lie elsewhere; COCO has 123,287."

    def seconds(count, again=0):
        images, linked = [f"{part}/{i:06d}.jpg" for part in ("train", "val") for i in range(count // 2)], {}
        table = LabelTable(images, ["train"] * count, ["cat"], np.ones((count, 1)))
        benchmark = replace(BENCHMARKS["cub200"], read=lambda tree: table, categories=1, positives={}, masks=())
        benchmark = replace(benchmark, images=dict(train=count, test=0), sources=())
        monkeypatch.setattr(Tree, "image_root", lambda *_: (tmp_path / "first", images[count // 2 :]))
        monkeypatch.setattr(Tree, "elsewhere", lambda _, lost: {i: tmp_path / "second" / i for i in lost})
        monkeypatch.setattr(prepare, "link_images", lambda folder, places: linked.update(places))
        monkeypatch.setattr(prepare, "check_images", lambda *rest: {})
        begun = time.process_time()
        make(benchmark, tmp_path / f"{count}-{again}")
        assert list(linked) == images and linked[images[0]] == tmp_path / "first" / images[0]
        assert linked[images[-1]] == tmp_path / "second" / images[-1]
        return time.process_time() - begun

    seconds(100)  # what is paid once
    few, many = (min(seconds(count, again) for again in (1, 2)) for count in (20_000, 80_000))
    assert many < 9 * few  # 16 if each is compared with each


def test_an_undecodable_picture_can_be_left_out(server, tmp_path):
    "Only when it is asked for: its name and the reason are in the provenance and beside the data."
    files, counts = tiny_cub()
    benchmark = put(server, "cub200", (files, counts))
    image = "CUB_200_2011/images/002.B/b_3.jpg"
    gather(benchmark, tmp_path / "cub200", None, QUICK, False)
    (tmp_path / "cub200" / "images" / image).write_bytes(b"no picture")
    for more in ({}, dict(allow_missing=True)):
        with pytest.raises(PrepareError, match=r"(?s)1 image cannot be decoded.*--allow-undecodable"):
            make(benchmark, tmp_path, **more)
    folder = make(benchmark, tmp_path, allow_undecodable=True)
    about, data = read_provenance(folder), prepared_dataset(folder, check=True)
    assert list(about["undecodable"]) == [image] and "UnidentifiedImageError" in about["undecodable"][image]
    assert len(data) == 1 and about["counts"]["train"]["images"] == 2 and about["missing"] == 0
    assert data.skipped[0][0] == image and "could not be decoded when it was prepared" in data.skipped[0][1]
    (tmp_path / "cub200" / "provenance.json").unlink()
    for row in ("001.A/a_1.jpg", "002.B/b_2.jpg"):
        (tmp_path / "cub200" / "images" / "CUB_200_2011" / "images" / row).write_bytes(b"no picture")
    with pytest.raises(PrepareError, match="3 images cannot be decoded"):
        make(benchmark, tmp_path, allow_undecodable=True)


def test_photographs_of_voc_that_lack_or_are_damaged_can_be_left_out(server, tmp_path):
    "Its lists are read without a look at the photographs; those are judged afterwards, by the one rule for all."
    files, counts = tiny_voc()
    benchmark = served("voc2007", files, server, **counts)
    for content in files.values():
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            tar.extractall(tmp_path / "mine", **SAFELY)
    pictures = tmp_path / "mine" / "VOCdevkit" / "VOC2007" / "JPEGImages"
    (pictures / "000003.jpg").unlink()
    (pictures / "000011.jpg").write_bytes(b"no picture")
    with pytest.raises(PrepareError, match=r"(?s)1 of 5 images are not in.*000003.*--allow-missing"):
        make(benchmark, tmp_path / "data", tmp_path / "mine", offline=True)
    with pytest.raises(PrepareError, match=r"(?s)1 image cannot be decoded.*000011.*--allow-undecodable"):
        make(benchmark, tmp_path / "data", tmp_path / "mine", offline=True, allow_missing=True)
    both = dict(allow_missing=True, allow_undecodable=True)
    folder = make(benchmark, tmp_path / "data", tmp_path / "mine", offline=True, **both)
    data, test = prepared_dataset(folder, "trainval"), prepared_dataset(folder, "test")
    assert (data.image_ids, test.image_ids) == (["000005", "000008"], ["000012"])
    assert "missing when" in data.skipped[0][1] and "could not be decoded" in test.skipped[0][1]


def test_a_list_that_was_cut_is_not_kept_for_ever(server, tmp_path):
    "Nobody published its size, the counts do not fit: the next run fetches it anew."
    files, counts = tiny_vg()
    benchmark = put(server, "vg200", (files, counts))
    sources = tuple(
        replace(s, size=None, sha256=None) if s.name == "test_list_500.txt" else s for s in benchmark.sources
    )
    server.files["test_list_500.txt"] = b""
    with pytest.warns(UserWarning):
        with pytest.raises(PrepareError, match=r"(?s)test: 0 images, expected 1.*test_list_500.txt.*fetches it anew"):
            make(replace(benchmark, sources=sources), tmp_path)
        assert (tmp_path / "vg200" / "archives" / "train_list_500.txt").exists()
        server.files["test_list_500.txt"] = files["test_list_500.txt"]
        assert len(prepared_dataset(make(replace(benchmark, sources=sources), tmp_path), "test")) == 1


def test_an_archive_that_was_cut_is_not_kept_for_ever(server, tmp_path):
    "Lists of NUS-WIDE come as archives without a published size: one that does not open is fetched anew."
    files = tiny_nus_official()
    server.files.update(files)
    benchmark = served("nuswide-official", files, server, categories=2, images=dict(train=3, test=2))
    benchmark = replace(benchmark, sources=tuple(replace(s, size=None, sha256=None) for s in benchmark.sources))
    shelf = flickr(tmp_path / "shelf")
    server.files["Groundtruth.zip"] = files["Groundtruth.zip"][:200]
    with pytest.raises(
        ArchiveError, match=r"(?s)Groundtruth\.zip: damaged.*a checksum of Groundtruth.zip.*fetches it anew"
    ):
        make(benchmark, tmp_path / "data", shelf)
    server.files["Groundtruth.zip"] = files["Groundtruth.zip"]
    assert len(prepared_dataset(make(benchmark, tmp_path / "data", shelf))) == 3
    names = [name for name, *_ in server.log]
    assert names.count("ImageList.zip") == 1 and names.count("Groundtruth.zip") == 2


def test_lists_are_counted_before_large_archives_are_fetched(server, tmp_path):
    "A label file that somebody brought and that is another one costs no download; what is large and whole is kept."
    files, counts = tiny_vg()
    benchmark = put(server, "vg200", (files, counts))
    sources = tuple(
        replace(s, sha256=None, size=None if s.name.endswith("json") else s.size) for s in benchmark.sources
    )
    benchmark = replace(benchmark, sources=sources)
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "vg_category_500_labels_index.json").write_text('{"2.jpg": [1]}')
    with pytest.raises(PrepareError, match="no labels for 2 images of train_list"):
        make(benchmark, tmp_path / "data", shelf)
    assert not [name for name, *_ in server.log if name.startswith("images")]
    with pytest.warns(UserWarning):
        gather(benchmark, tmp_path / "later" / "vg200", None, QUICK, False)
        with pytest.raises(PrepareError, match="test: 1 images, expected 2") as error:
            make(replace(benchmark, images=dict(train=3, test=2)), tmp_path / "later")
    archives = tmp_path / "later" / "vg200" / "archives"
    assert "of vg_category_500_labels_index.json; what was" in str(error.value)
    assert (archives / "images.zip").exists() and not (archives / "vg_category_500_labels_index.json").exists()


def test_what_must_be_brought_is_told_before_anything_is_fetched(server, tmp_path):
    files, counts = tiny_coco()
    benchmark = put(server, "coco2014", (files, counts))
    last = replace(benchmark.sources[2], urls=(), help="ask the authors")
    benchmark = replace(benchmark, sources=(*benchmark.sources[:2], last))
    with pytest.raises(ArchiveError, match=r"(?s)val2014\.zip: not in .*; ask the authors.*Nothing was downloaded"):
        make(benchmark, tmp_path)
    assert server.log == []


def test_images_of_a_table_stay_in_their_folder():
    for name in ("../a.jpg", "/etc/a.jpg", "d/../../a.jpg", "C:/a.jpg", "d\\a.jpg", ""):
        with pytest.raises(PrepareError, match="leads out of the folder of images"):
            LabelTable([name], ["train"], ["cat"], [[1]])


@pytest.mark.fault('overwriting', 'a prepared folder with other content', 'refused')
def test_nothing_is_overwritten(server, tmp_path):
    benchmark = put(server, "voc2007", tiny_voc())
    (tmp_path / "voc2007").mkdir()
    (tmp_path / "voc2007" / "labels.csv").write_text("image,mine\n")
    with pytest.raises(PrepareError, match=r"labels\.csv: exists and is not what would be written"):
        make(benchmark, tmp_path)
    assert (tmp_path / "voc2007" / "labels.csv").read_text() == "image,mine\n"
    (tmp_path / "voc2007" / "labels.csv").unlink()
    path = tmp_path / "masks" / "voc2007_train_single_positive.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("000003 1 0\n000008 1 0\n")
    with pytest.raises(PrepareError, match="exists and is another list"):
        make(benchmark, tmp_path)
    assert path.read_text() == "000003 1 0\n000008 1 0\n"


def test_cut_images_are_found_and_mended(server, tmp_path):
    "A truncated picture in the archive's place; after its removal it is unpacked again."
    benchmark = put(server, "cub200", tiny_cub())
    image = tmp_path / "cub200" / "images" / "CUB_200_2011" / "images" / "002.B" / "b_2.jpg"
    gather(benchmark, tmp_path / "cub200", None, QUICK, False)
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PrepareError, match=r"1 image cannot be decoded:\n  .*b_2\.jpg: OSError: "):
        make(benchmark, tmp_path)
    image.unlink()
    with pytest.raises(PrepareError, match=r"1 of 3 images are not in .*:\n  CUB_200_2011/images/002\.B/b_2\.jpg"):
        make(benchmark, tmp_path)
    make(benchmark, tmp_path)
    assert image.read_bytes() == whole


def test_two_at_once(server, tmp_path):
    benchmark = put(server, "cub200", tiny_cub())
    with archives.locked(tmp_path / "cub200" / ".lock"):
        with pytest.raises(ArchiveError, match="process [0-9]+ on .* is at work"):
            make(benchmark, tmp_path)


# -- reading


@pytest.fixture
def small(tmp_path):
    table = LabelTable(
        ["d/a.jpg", "d/b.jpg", "e/c.jpg"],
        ["train", "test", "train"],
        ["cat", "dog, wet", 'say "x"'],
        [[1, 0, -1], [2, -1, 0], [0, 1, 1]],
    )
    about = write_label_table(table, tmp_path)
    (tmp_path / "provenance.json").write_text(
        json.dumps(
            dict(
                title="t",
                table=about,
                splits=dict(train=["train"], test=["test"], all=["train", "test"]),
                unknown=2,
                missing=0,
                image_root="images",
                ids="stem",
            )
        )
    )
    return tmp_path, table


def test_unknown_labels_are_blank_and_names_survive(small):
    folder, table = small
    assert (
        (folder / "labels.csv").read_text()
        == 'image,split,cat,"dog, wet","say ""x"""\nd/a.jpg,train,1,0,\nd/b.jpg,test,2,,0\ne/c.jpg,train,0,1,1\n'
    )
    every = prepared_dataset(folder, "all")
    assert (
        every.class_names == table.class_names
        and every.truth.tolist() == [[1, 0, -1], [0, -1, 0], [0, 1, 1]]
        and every.truth.dtype == np.int8
    )
    assert prepared_dataset(folder, "all", "unknown").truth[1].tolist() == [-1, -1, 0]
    assert prepared_dataset(folder, "train").image_ids == ["a", "c"] and prepared_dataset(folder).images[1].path == str(
        folder / "images" / "e" / "c.jpg"
    )


def test_errors_of_reading(small, tmp_path):
    folder, _ = small
    with pytest.raises(PrepareError, match="no split 'val'; its splits are train, test, all"):
        prepared_dataset(folder, "val")
    with pytest.raises(PrepareError, match="difficult='maybe', expected 'absent' or 'unknown'"):
        prepared_dataset(folder, difficult="maybe")
    with pytest.raises(DataError, match=r"a\.jpg: no such image"):
        prepared_dataset(folder, check=True)
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text.replace(",0,1,1", ",1,1,1"))
    with pytest.raises(PrepareError, match=r"labels\.csv: missing or changed since it was written"):
        prepared_dataset(folder)
    with pytest.raises(PrepareError, match="no prepared benchmark .no provenance.json."):
        prepared_dataset(folder / "nowhere")
    with pytest.raises(PrepareError, match=f"it holds: {folder.name}"):
        prepared_dataset(folder.parent)


def test_a_table_of_wrong_shape_or_code():
    with pytest.raises(PrepareError, match=r"shape \(1, 1\)"):
        LabelTable(["a"], ["train"], ["cat", "dog"], [[1]])
    with pytest.raises(PrepareError, match="image 'a' stands twice"):
        LabelTable(["a", "a"], ["train"] * 2, ["cat"], [[1], [0]])
    with pytest.raises(PrepareError, match="category 'cat' stands twice"):
        LabelTable(["a"], ["train"], ["cat", "cat"], [[1, 0]])
    with pytest.raises(PrepareError, match="expected only 1, 0, -1"):
        LabelTable(["a"], ["train"], ["cat"], [[3]])


def test_the_form_can_be_read_as_a_plain_table(server, tmp_path):
    "labels.csv without its split column and its 2s is what csv_dataset reads."
    import pandas as pd

    folder = make(put(server, "coco2014", tiny_coco()), tmp_path)
    frame = pd.read_csv(folder / "labels.csv")
    mine = csv_dataset(frame[frame.split == "train"].drop(columns="split"), folder / "images")
    assert np.array_equal(mine.truth, prepared_dataset(folder).truth)


def test_check_counts_reports_all_at_once():
    table = LabelTable(["a", "b"], ["train", "odd"], ["cat"], [[1], [0]])
    with pytest.raises(PrepareError) as error:
        check_counts(table, BENCHMARKS["voc2012"])
    for part in (
        "train: 1 images, expected 5,717",
        "val: 0 images, expected 5,823",
        "1 categories, expected 20",
        "unknown splits odd",
        "Cole et al.",
    ):
        assert part in str(error.value)


def test_table_bytes_hold_no_float():
    table = LabelTable(["a"], ["train"], ["x", "y", "z"], [[1, DIFFICULT, ABSENT]])
    assert table_bytes(table) == b"image,split,x,y,z\na,train,1,2,0\n"


# -- plan, notice and the command's dataclass


def test_plan_and_notice(tmp_path):
    assert plan(BENCHMARKS["vg200"], tmp_path).state.tolist() == ["download"] * 5
    assert plan(BENCHMARKS["nuswide-official"], tmp_path).state.tolist() == ["download", "download", "not needed"]
    (tmp_path / "shelf" / "train2014").mkdir(parents=True)
    (tmp_path / "shelf" / "val2014.zip").touch()
    assert plan(BENCHMARKS["coco2014"], tmp_path, tmp_path / "shelf").state.tolist() == [
        "download",
        "unpacked",
        "given",
    ]
    text = notice(BENCHMARKS["vg200"], tmp_path)
    for part in (
        "images.zip: download, 9.73 GB, no published checksum",
        "To download: 15.2 GB",
        "CC BY 4.0",
        "names of its categories are not public",
    ):
        assert part in text
    assert (
        unpacked_in(Source("x.zip", marker="nothing"), tmp_path)
        is None
        is unpacked_in(Source("x.zip", marker="a"), None)
    )


def test_prepare_job(server, tmp_path, capsys):
    benchmark = put(server, "voc2007", tiny_voc())
    job = PrepareJob("voc2007", root=str(tmp_path / "data"), plan_only=True)
    assert not prepare_job(job, benchmark).exists() and "Licence" in capsys.readouterr().out
    job = replace(job, plan_only=False)
    folder = prepare_job(job, benchmark, QUICK, progress=False)
    assert len(prepared_dataset(folder, "test")) == 2 and "prepared: " in capsys.readouterr().out
    assert prepare_job(job, benchmark) == folder and "prepared already" in capsys.readouterr().out
    with pytest.raises(ArchiveError, match="no such folder"):
        prepare_job(
            PrepareJob("cub200", root=str(tmp_path), archives=str(tmp_path / "none")), patience=QUICK, progress=False
        )


def test_prepare_job_refuses():
    for given, part in (
        (dict(data="imagenet"), "--data is 'imagenet'"),
        (dict(data="nuswide"), "nuswide needs one of official, labelled, asl, cole"),
        (dict(data="coco2014", nus_split="asl"), "--nus-split is 'asl'"),
        (dict(data="nuswide", nus_split="x"), "--nus-split is 'x'"),
        (dict(workers=0), "--workers"),
    ):
        with pytest.raises(PrepareError, match=part):
            PrepareJob(**given)
    for said in (PrepareJob("nuswide-asl"), PrepareJob("nuswide", nus_split="asl")):
        assert said.benchmark.name == "nuswide-asl", "as reproduce calls it, and says to type"
    with pytest.raises(PrepareError, match="--nus-split is 'tenth'"):
        PrepareJob("nuswide-tenth")
    assert {PrepareJob("nuswide", nus_split=s).benchmark.name for s in prepare.NUS_SPLITS} | {
        d for d in BENCHMARKS if "nus" not in d
    } == set(BENCHMARKS)


SCRIPTS = Path(__file__).resolve().parents[2] / "data_scripts"


def run_script(name, arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    return done.value.code


@pytest.mark.parametrize(
    "name, arguments, word",
    [
        ("voc", ["2012"], "VOC 2012"),
        ("voc", [], "VOC 2007"),
        ("coco2014", [], "COCO 2014"),
        ("visual_genome", [], "VG-200"),
        ("nus_wide", ["--nus-split", "asl"], "NUS-WIDE"),
        ("cub200", [], "CUB-200-2011"),
    ],
)
def test_scripts(name, arguments, word, tmp_path, monkeypatch, capsys):
    "Each script only calls the library; --plan-only says what it would do."
    assert len((SCRIPTS / f"{name}.py").read_text().splitlines()) < 20
    code = run_script(name, [*arguments, "--root", str(tmp_path), "--plan-only"], monkeypatch)
    assert not code and word in capsys.readouterr().out and not list(tmp_path.iterdir())


def test_a_script_has_help_and_plain_errors(tmp_path, monkeypatch, capsys):
    assert not run_script("nus_wide", ["--help"], monkeypatch)
    assert "--from" in (text := capsys.readouterr().out) and "official" in text
    assert run_script("nus_wide", ["--nus-split", "half", "--root", str(tmp_path)], monkeypatch) == 1
    assert "--nus-split is 'half'" in capsys.readouterr().err
