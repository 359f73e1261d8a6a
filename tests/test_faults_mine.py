"What is somebody's own: notebooks of another run, sidecars that were edited, photographs that were exchanged."

import errno
import io
import json
import os
import re
import shutil
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from helpers.albums import album_run
from trmml_nb.cli import app
from trmml_nb.datasets.archives import ArchiveError, Patience, Source, PracticeServer, download, unpack
from trmml_nb.data.formats import read_labels
from trmml_nb.data.reading import Reading
from trmml_nb.errors import DataError, TowerError, ViewError
from trmml_nb.io import guarded, tell, unguarded
from trmml_nb.runs.compare_job import CompareJob, compare_job
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs import predict as predicting
from trmml_nb.runs.predict import check_sidecars, predict_job, write_sidecars, xmp_sidecar
from trmml_nb.runs.train import train_job
from trmml_nb.towers.weights import tiny_folder
from trmml_nb.yours.view import Inspector, Reviewer, Thresholds, review_notebook, view_notebook


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "Two runs of one name, on an album of sixteen scenes."
    place = tmp_path_factory.mktemp('mine')
    album_run(place, place / 'one' / 'run')
    shutil.copytree(place / 'one', place / 'two')
    return place


def calls(path):
    return ''.join(json.loads(path.read_bytes())['cells'][0]['source']).splitlines()[1]


@pytest.mark.fault(
    'overwriting',
    'a notebook that opens another run of the same name',
    'stays; this run gets one of its own, so that no answer goes to the other',
)
@pytest.mark.parametrize('make, widget', [(view_notebook, 'Inspector'), (review_notebook, 'Reviewer')])
def test_a_notebook_of_another_run_of_that_name_stays(place, tmp_path, monkeypatch, make, widget):
    "The first run keeps the plain name; a notebook that a person changed is still that person's."
    monkeypatch.chdir(place)
    first, second = make('one/run', tmp_path), make('two/run', tmp_path)
    assert (calls(first), calls(second)) == (f"{widget}('one/run')", f"{widget}('two/run')")
    assert second.name == f'{first.stem}-2.ipynb'
    assert (make('one/run', tmp_path), make('two/run', tmp_path)) == (first, second)
    assert make(place / 'one' / 'run') == make('one/run') and make(place / 'two' / 'run') == make('two/run')
    for said in (f'{widget}("one/run", device="cpu")', f'run = "one/run"\n{widget}(run)', f"{widget}(run='one/run')"):
        first.write_text(json.dumps(dict(cells=[dict(source=said)])), encoding='utf-8')
        assert make('one/run', tmp_path) == first
    odd = place / 'two' / "it's \\ one"
    shutil.copytree(place / 'two' / 'run', odd, dirs_exist_ok=True)
    assert make(odd, tmp_path) == make(odd, tmp_path)


@pytest.mark.fault(
    'overwriting',
    'a sidecar with keywords that a person edited since, a link or an empty file in its place',
    'refused before any work, and again before it is written; it stays',
)
def test_a_sidecar_that_a_person_edited_stays(place, tmp_path):
    run, album, words = place / 'one' / 'run', place / 'album', tmp_path / 'words'
    path, _ = predict_job(run, album, tmp_path / 'a.csv', xmp=words, progress=False)
    predict_job(run, album, tmp_path / 'b.csv', xmp=words, progress=False)  # its own are written anew
    there = sorted(words.glob('*.xmp'))[0]
    whole = there.read_bytes()
    for mine in (
        whole.replace(b'</rdf:Bag>', b'<rdf:li>mine</rdf:li></rdf:Bag>'),
        whole.replace(b'rdf:about=""', b'rdf:about="" xmp:Rating="5"'),
        whole + b'<!-- mine -->',
        b'',
        xmp_sidecar(['dog']).replace(b'dog', b'cat'),
    ):
        there.write_bytes(mine)
        with pytest.raises(JobError, match=f'{there.name}: exists and was not made by this program, or was changed'):
            predict_job(run, album, tmp_path / 'c.csv', xmp=words, progress=False)
        for p in ([0.9], [0.1]):
            with pytest.raises(JobError, match='was changed since'):
                write_sidecars(iter([dict(image=there.stem, p=p)]), ['dog'], np.array([0.5]), words)
        assert there.read_bytes() == mine and not list(tmp_path.glob('*c.csv*'))
    there.unlink()
    there.symlink_to(tmp_path / 'nowhere')
    with pytest.raises(JobError, match='was changed since'):
        check_sidecars(words, [there.stem])
    (words / 'away').symlink_to(tmp_path)
    with pytest.raises(JobError, match='away: leads out of .* through a link'):
        check_sidecars(words, ['away/x'])
    for odd in (['a\rb', 'ä', ''], [f'xmptk="trmml_nb {"0" * 16}"'], []):
        (words / 'odd.xmp').write_bytes(xmp_sidecar(odd))
        check_sidecars(words, ['odd'])


@pytest.mark.fault(
    'damaged or foreign files',
    'photographs exchanged or edited between trmml photos and a look at its run',
    'refused: its probabilities may be of other pictures',
)
def test_photographs_that_were_exchanged_are_noticed_when_a_run_is_looked_at(place):
    run, one, other = place / 'one' / 'run', place / 'album' / '00.png', place / 'album' / '01.png'
    Inspector(run)
    was = one.read_bytes(), other.read_bytes()
    try:
        one.write_bytes(was[1])
        other.write_bytes(was[0])
        for widget in (Inspector, Reviewer, Thresholds):
            with pytest.raises(ViewError, match='its photographs are not those that it was made from'):
                widget(run)
        Inspector(run, images=str(one))  # what is scored now is of now
    finally:
        one.write_bytes(was[0])
        other.write_bytes(was[1])
    Reviewer(run)


@pytest.mark.fault(
    'two at once',
    'thresholds of a run moved and saved in two widgets',
    'the second is told that they were changed; none that was saved is lost',
)
def test_thresholds_that_somebody_else_saved_are_not_lost(place):
    run = place / 'two' / 'run'
    first, second = Thresholds(run), Thresholds(run)
    first.move('dog', 0.75)
    first.save()
    first.move('dog', 0.875)
    first.save()  # what it saved itself is its own
    kept = (run / 'decisions.json').read_bytes()
    second.move('tree', 0.125)
    second.save()
    assert 'changed since they were read here, so nothing was saved' in second.said
    assert (run / 'decisions.json').read_bytes() == kept and first.said.startswith('saved: ')
    third = Thresholds(run)
    third.move('tree', 0.125)
    third.save()
    assert Thresholds(run).thresholds == third.thresholds and third.thresholds[0] == first.thresholds[0]
    assert not list(run.glob('.*'))


@pytest.mark.fault(
    'hostile files',
    'a pipe, or a file of another name too, in the place of an unfinished download or of unfinished scores',
    'refused at once; nothing is waited for, and the other file stays as it was',
)
@pytest.mark.parametrize('kind', ['pipe', 'other name'])
def test_no_plain_file_in_the_place_of_unfinished_work(place, tmp_path, kind):
    mine = tmp_path / 'mine.txt'
    mine.write_text('mine', encoding='utf-8')

    def plant(path):
        os.mkfifo(path) if kind == 'pipe' else os.link(mine, path)

    with PracticeServer({'a.zip': b'PK' * 500}) as server:
        plant(tmp_path / '.a.zip.part')
        with pytest.raises(ArchiveError, match='no plain file, or one of another name too'):
            download(
                Source('a.zip', (server.url('a.zip'),), 1000), tmp_path, Patience(1, 0.0, 5.0, 5.0), progress=False
            )
    plant(tmp_path / '.s.csv.unfinished')
    with pytest.raises(JobError, match='in the place of unfinished work'):
        predict_job(place / 'two' / 'run', place / 'album', tmp_path / 's.csv', progress=False)
    assert mine.read_text(encoding='utf-8') == 'mine' and not (tmp_path / 's.csv').exists()


@pytest.mark.fault(
    'overwriting',
    'a file of the size and name of a member where an archive is unpacked, with another content',
    'not taken for it, and not overwritten',
)
@pytest.mark.parametrize('kind', ['zip', 'tar'])
def test_a_file_of_the_same_size_is_not_taken_for_a_member(tmp_path, kind):
    path, out, held = tmp_path / f'a.{kind}', tmp_path / 'out', dict(a=b'1' * 3000, b=b'0' * 3000)
    if kind == 'zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, data in held.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, 'w:gz') as archive:
            for name, data in held.items():
                about = tarfile.TarInfo(name)
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
    out.mkdir()
    (out / 'a').write_bytes(held['a'])
    (out / 'b').write_bytes(b'0' * 2999 + b'1')
    with pytest.raises(ArchiveError, match='exists and is not what .b. in the archive is'):
        unpack(path, out, 10**5)
    assert (out / 'b').read_bytes() == b'0' * 2999 + b'1'
    (out / 'b').unlink()
    assert unpack(path, out, 10**5).new == 1 and (out / 'b').read_bytes() == held['b']


@pytest.mark.fault(
    'wrong words',
    'a name or a category with commands for a terminal, or signs that turn text round',
    'shown with escapes; no XML is written that nobody can read',
)
def test_names_do_not_command_a_terminal(place, tmp_path, capsys):
    odd = 'a\x1b[8m\x07\x9b2J\u202eb\r'
    tell('ä 猫 👍\tb\nc', odd)
    assert capsys.readouterr().out == 'ä 猫 👍\tb\nc a\\x1b[8m\\x07\\x9b2J\\u202eb\\r\n'
    album = tmp_path / 'al'
    shutil.copytree(place / 'album', album)
    (album / 'x\x1b[2J.png').write_bytes(b'no picture')
    table = pd.read_csv(album / 'labels.csv').rename(columns=dict(dog='do\x1bg'))
    table.to_csv(album / 'labels.csv', index=False)
    said = [
        CliRunner().invoke(app, words)
        for words in (
            ['check', str(album), '--clip', 'tiny'],
            ['photos', str(album), '--clip', 'tiny', '--epochs', '1', '--cache', str(place / 'cache'), '--out']
            + [str(tmp_path / 'p'), '--folds', '2', '--on-bad', 'skip'],
            ['predict', str(tmp_path / 'p'), str(album), '--on-bad', 'skip', '--out', str(tmp_path / 's.csv')],
            ['predict', str(tmp_path / 'p'), str(album), '--out', str(tmp_path / 't.csv')],
            ['predict', str(tmp_path / 'p'), str(album), '--xmp', str(tmp_path / 'x'), '--on-bad', 'skip'],
        )
    ]
    assert [s.exit_code for s in said] == [0, 0, 0, 1, 1], said[1].output
    assert not any('\x1b' in s.output for s in said)
    assert 'do\\x1bg' in said[0].output and all('x\\x1b[2J.png' in said[k].output for k in (0, 2, 3))
    assert 'a category has a sign that XML cannot hold' in said[4].output and not (tmp_path / 'x').exists()


@pytest.mark.fault(
    'hostile files',
    'a formula that begins with a wide sign, as spreadsheets of East Asia read them',
    'guarded like the others, and read back as it was',
)
def test_wide_signs_of_formulas_are_guarded():
    for text in ('＝1+1', '＋1', '－1', '＠SUM(1)', "'＝1", 'a;＝1', 'a\n"＠x', '=1', 'a|=1'):
        kept = guarded(text)
        assert kept != text and unguarded(kept) == text and not re.match('[=＝＋－＠]', kept)
    assert guarded('＝a.png', path=True) == './＝a.png' and guarded('a＝b') == 'a＝b' and guarded('-1.5') == '-1.5'


@pytest.mark.fault(
    'damaged or foreign files',
    'sidecars that `trmml predict` wrote, given as labels',
    'no labels: left out and told, unless a person changed them or asks for proposals',
)
def test_proposals_in_sidecars_are_no_labels_of_people(tmp_path):
    for name in ('a', 'b'):
        Image.new('RGB', (8, 8)).save(tmp_path / f'{name}.png')
        (tmp_path / f'{name}.png.xmp').write_bytes(xmp_sidecar(['dog']))
    with pytest.raises(DataError, match='no label found in it. 2 sidecars of trmml predict that nobody changed'):
        read_labels(tmp_path)
    accepted = read_labels(tmp_path, reading=Reading(proposals='accept'))
    assert accepted.dataset.targets.tolist() == [[1], [1]]
    edited = tmp_path / 'b.png.xmp'
    edited.write_bytes(edited.read_bytes().replace(b'dog', b'cat'))
    sheet = read_labels(tmp_path)
    assert sheet.dataset.class_names == ['cat'] and sheet.dataset.targets.tolist() == [[-1], [1]]
    assert any('1 sidecar of trmml predict' in note for note in sheet.notes)


@pytest.mark.fault(
    'wrong words', 'an option or an argument that is empty, as `--xmp "$X"` where X is not set', 'refused, by name'
)
@pytest.mark.parametrize(
    'words',
    [
        ['predict', 'run', 'photos', '--xmp', ''],
        ['predict', 'run', 'photos', '--out', '  '],
        ['evaluate', 'run', '--split', ''],
        ['check', ''],
        ['photos', 'photos', '--from', ''],
        ['train', '--cache', ' '],
        ['compare', '--name', ''],
        ['reproduce', 'voc2007', '--methods', ''],
    ],
)
def test_an_empty_word_is_refused(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and 'is empty, perhaps a variable of the shell' in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(
    'damaged or foreign files',
    'a tower whose weights or preprocessing give no finite numbers',
    'refused when it encodes; nothing of it is kept',
)
def test_a_tower_without_numbers_leaves_nothing(place, tmp_path):
    tower, cache = tmp_path / 'tower', tmp_path / 'cache'
    shutil.copytree(tiny_folder(), tower)
    about = json.loads((tower / 'open_clip_config.json').read_bytes())
    about['preprocess_cfg']['std'] = [1e-38] * 3
    (tower / 'open_clip_config.json').write_text(json.dumps(about), encoding='utf-8')
    job = TrainJob(
        data='csv',
        labels=str(place / 'album' / 'labels.csv'),
        clip=f'local-dir:{tower}',
        method='linear_ignore',
        encode_precision='fp32',
        cache=str(cache),
        out=str(tmp_path / 'run'),
    )
    with pytest.raises(TowerError, match='gives no finite numbers for a picture'):
        train_job(job, progress=False)
    assert not list(tmp_path.rglob('model.safetensors')) and not list(cache.rglob('*.safetensors'))


@pytest.mark.fault(
    'overwriting',
    'settings of rows on other data, or a file of a person, where a comparison writes its settings',
    'stay; the new ones stand beside them',
)
def test_settings_of_other_rows_stay(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / 'album', 'other')
    for labels in (place / 'album' / 'labels.csv', tmp_path / 'other' / 'labels.csv'):
        table = pd.read_csv(labels).iloc[: 16 if labels.is_relative_to(place) else 12]
        table.to_csv(labels, index=False)
        for name in ('one', 'one', 'two'):
            compare_job(
                CompareJob(
                    data='csv',
                    labels=str(labels),
                    methods='zero_shot',
                    name=name,
                    out=f'{labels.parent.name}.csv',
                    cache=str(place / 'cache'),
                ),
                progress=False,
            )
    folder = tmp_path / 'configs' / 'album' / 'zero_shot'
    assert [json.loads((folder / n).read_bytes())['clip'] for n in ('0.1.json', '0.1-2.json')] == ['one', 'two']
    assert len(list(folder.iterdir())) == 2
    (folder / '0.1.json').write_text('mine', encoding='utf-8')
    job = dict(data='csv', labels=str(place / 'album' / 'labels.csv'), methods='zero_shot', cache=str(place / 'cache'))
    compare_job(CompareJob(**job, name='one', out='album.csv'), progress=False)
    assert (folder / '0.1.json').read_text(encoding='utf-8') == 'mine' and (folder / '0.1-3.json').is_file()


@pytest.mark.parametrize('lr', [-1.0, 0.0, 1e30, float('inf'), float('nan')])
def test_a_rate_that_cannot_be_is_refused_before_any_data_is_read(tmp_path, lr):
    with pytest.raises(JobError, match='--lr is .*, expected a number above 0 and below 1000'):
        TrainJob(data='csv', labels=str(tmp_path / 'nowhere.csv'), lr=lr)


def test_metrics_go_into_a_folder_that_is_made(place, tmp_path):
    out = tmp_path / 'deep' / 'down' / 'again.json'
    words = ['evaluate', str(place / 'one' / 'run'), '--labels', str(place / 'album' / 'labels.csv'), '--out', str(out)]
    done = CliRunner().invoke(app, [*words, '--cache', str(place / 'cache')])
    assert done.exit_code == 0 and 'mAP' in json.loads(out.read_bytes()), done.output


def test_a_sidecar_that_cannot_be_written_is_named_with_its_own_option(place, tmp_path):
    "Not the table, which has room."
    (tmp_path / 'words').write_text('a file where the folder should be', encoding='utf-8')
    with pytest.raises(JobError, match='s.csv: cannot be written') as table:
        predict_job(place / 'one' / 'run', place / 'album', tmp_path / 'words' / 's.csv', progress=False)
    assert '--out' in str(table.value)
    names = [f'{i:02d}.png.xmp' for i in range(16)]
    for name in names:
        (tmp_path / 'full' / name).mkdir(parents=True)
    with pytest.raises(JobError, match='.png.xmp: exists and was not made by this program'):
        predict_job(place / 'one' / 'run', place / 'album', tmp_path / 's.csv', xmp=tmp_path / 'full', progress=False)

    def full(path, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.MonkeyPatch.context() as patch, pytest.raises(JobError, match='png.xmp: cannot be written .*--xmp'):
        patch.setattr(predicting, 'write_atomic', full)
        predict_job(place / 'one' / 'run', place / 'album', tmp_path / 's.csv', xmp=tmp_path / 'x', progress=False)
