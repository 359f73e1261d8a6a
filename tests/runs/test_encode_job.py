"The encode job: words checked first, sizes told, work done once and found by a training."

import pytest

from trmml_nb.runs.encode_job import EncodeJob, readable
from trmml_nb.towers.store import FeatureStore
from trmml_nb.towers.views import StoreError, ViewStore
from trmml_nb.runs.options import JobError


def test_sizes_for_people():
    assert [readable(n) for n in (0, 999, 1000, 2**20, 2**30 * 15.55, 2**50)] == [
        "0 bytes",
        "999 bytes",
        "0.977 KiB",
        "1 MiB",
        "15.6 GiB",
        "1,024 TiB",
    ]


@pytest.mark.parametrize(
    "wrong, match",
    [
        (dict(views=""), "--views"),
        (dict(views="flip,flip"), "--views"),
        (dict(dtype="int4"), "--dtype"),
        (dict(precision="fp8"), "--precision"),
        (dict(shard_size=0), "--shard-size"),
        (dict(data="voc2007"), "--root"),
        (dict(limit=0), "--limit"),
    ],
)
def test_words_that_cannot_work(wrong, match):
    with pytest.raises(JobError, match=match):
        EncodeJob(**wrong)


def test_a_wrong_view_is_named():
    with pytest.raises(StoreError, match="view 'mirror'"):
        EncodeJob(views="plain, mirror")


def test_dry_run_says_the_size_and_does_nothing(tmp_path, capsys):
    assert EncodeJob(limit=3, views="plain,flip", cache=str(tmp_path), dry_run=True).run() == []
    said = capsys.readouterr().out
    assert "scenes/train: 3 images, 2 views" in said and "to encode" in said and not list(tmp_path.glob("*/shard*"))


def test_runs_once_and_is_found_again(tmp_path, capsys):
    job = EncodeJob(limit=3, cache=str(tmp_path), dtype="int8", shard_size=2)
    stores = job.run(progress=False)
    assert (
        [type(s) for s in stores] == [FeatureStore] * 2
        and stores[0].dtype == "int8"
        and len(stores[0].meta["shards"]) == 2
    )
    files = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*")}
    EncodeJob(limit=3, cache=str(tmp_path), dtype="int8", dry_run=True).run()
    assert capsys.readouterr().out.count("all encoded") == 2
    job.run(progress=False)
    assert files == {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/*")}
    assert isinstance(EncodeJob(limit=3, views="plain,flip", cache=str(tmp_path)).run(progress=False)[0], ViewStore)
