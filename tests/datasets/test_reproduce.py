"The paper's setting as files: sources of published rows, what is asked, costs, and every difference by name."

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pandas as pd
import open_clip
import pytest
import torch
from helpers.hub import StandInHub
from safetensors.torch import save
from helpers.benchmarks import jpeg, make, put, tarred, tiny_voc
from typer.testing import CliRunner

from trmml_nb.cli import app
from trmml_nb.io import SEAL
from trmml_nb.rivals.registry import RELEASES
from trmml_nb.data.mask_files import PUBLISHED_MASKS
from trmml_nb.datasets.prepare import BENCHMARKS
from trmml_nb.datasets.reproduce import (
    Cost,
    ReproduceError,
    ReproduceJob,
    beside,
    cost_table,
    differences,
    measure_cost,
    read_setting,
    report,
    reproduce_job,
    setting_names,
)


@pytest.mark.parametrize('name', setting_names())
def test_every_setting_is_one_of_a_benchmark_and_has_sources(name):
    setting, benchmark = read_setting(name), BENCHMARKS[name]
    assert (setting.name, setting.title) == (name, benchmark.title)
    assert {setting.train_split, setting.eval_split} <= set(benchmark.splits) and {
        setting.train_split,
        setting.eval_split,
    } <= set(benchmark.images)
    assert (setting.clip, setting.pretrained, setting.image_size) == ('RN101', 'openai', 448)
    assert all(row['source'] and row['backbone'] and ('average' in row or row['mAP']) for row in setting.published)
    assert not any('TRM' in row['method'] for row in setting.published), 'none of its numbers was read'


def test_masks_are_those_of_the_protocol():
    for name, shape in (('voc2007', (5011, 20)), ('coco2014', (82783, 80)), ('vg200', (82904, 200))):
        assert read_setting(name).masks == {str(m.known): m.sha16 for m in PUBLISHED_MASKS if m.shape == shape}


def test_published_rows_as_they_were_read():
    rows = {r['method']: r for r in read_setting('voc2007').published}
    assert rows['DualCoOp']['mAP'] == dict(
        zip(read_setting('voc2007').known, (90.3, 92.2, 92.8, 93.3, 93.6, 93.9, 94.0, 94.1, 94.2))
    )
    assert (
        rows['SARB']['average'] == 90.7
        and {r['method']: r for r in read_setting('vg200').published}['SARB']['average'] == 45.6
    )
    for name in ('voc2007', 'coco2014'):
        for row in read_setting(name).published:
            if len(row.get('mAP', {})) == 9:
                assert np.mean(list(row['mAP'].values())) == pytest.approx(row['average'], abs=0.055)


@pytest.mark.parametrize(
    'content, said', [('{', 'not JSON'), ('[]', 'lacks'), ('{"name": "x", "colour": 1}', "unknown fields .'colour'.")]
)
def test_settings_that_are_wrong(tmp_path, content, said):
    (tmp_path / 'mine.json').write_text(content)
    with pytest.raises(ReproduceError, match=said):
        read_setting(str(tmp_path / 'mine.json'))
    with pytest.raises(ReproduceError, match='no setting of that name.*voc2007'):
        read_setting('imagenet')


def test_every_published_row_has_a_source_that_can_be_opened():
    for name in setting_names():
        for row in read_setting(name).published:
            assert re.search(
                r'(arxiv\.org/abs/\d{4}\.\d{5}|openaccess\.thecvf\.com/\S+|github\.com/\S+/\S+)', row['source']
            ), row
    for row in read_setting('vg200').published:
        assert 'DualCoOp' not in row['source'], 'its Table 1 has no VG-200'
    single = {
        n: {r['method']: r['mAP']['single'] for r in read_setting(n).published if 'single' in r.get('mAP', {})}
        for n in ('voc2012', 'coco2014', 'nuswide-cole', 'cub200')
    }
    assert [round(single[n]['VLPL'], 1) for n in single] == [89.1, 71.5, 49.6, 24.0]
    assert read_setting('nuswide-asl').published[0]['mAP'] == {'single': 62.0}


def test_nus_wide_is_asked_for_by_the_name_of_its_split():
    with pytest.raises(
        ReproduceError, match='3 splits that do not compare; name one: nuswide-asl, nuswide-cole, nuswide-off'
    ):
        read_setting('nuswide')


@pytest.mark.parametrize(
    'field, value',
    [('image_size', 'large'), ('known', '0.1'), ('seeds', [0.5]), ('masks', []), ('published', {}), ('clip', 3)],
)
def test_fields_of_another_type_are_named(tmp_path, field, value):
    content = json.loads((resources.files('trmml_nb') / 'configs' / 'voc2007.json').read_text(encoding='utf-8'))
    (tmp_path / 'mine.json').write_text(json.dumps(content | {field: value}), encoding='utf-8')
    with pytest.raises(ReproduceError, match=rf'mine\.json: {field}'):
        read_setting(str(tmp_path / 'mine.json'))


def test_numbers_for_names_and_images_left_out_are_differences():
    vg, counts = read_setting('vg200'), dict(train=82904, test=10000)
    asked = dict(
        clip=vg.clip, pretrained=vg.pretrained, image_size=448, train_split='train', eval_split='test', limit=None
    )
    job = SimpleNamespace(**asked, resize=None, dense=None)
    table = rows(mask_sha256='ad8ee2291cbf5e5e').iloc[:1]
    assert differences(vg, job, counts, table, ['man', 'tree']) == []
    said = differences(vg, job, counts, table, [f'category {i}' for i in range(200)])
    assert len(said) == 1 and "texts: the categories have no names but 'category 0'" in said[0]
    assert 'published one' not in report(beside(table, vg, [0.1]), said, vg)
    left = dict(train=[('VG_100K/1722.jpg', 'could not be decoded when it was prepared (OSError)')], test=[])
    assert differences(vg, job, counts, table, ['man'], left) == [
        'left out of train: 1 image: VG_100K/1722.jpg (could not be decoded when it was prepared (OSError))'
    ]


def test_cost_by_hand():
    cost = Cost('RN101', 448, 'cpu', 2.0, 0.01, 196, 512)
    table = cost_table(cost, ['voc2007'], shares=9, seeds=2, epochs=10)
    row = table.loc['PASCAL VOC 2007']
    assert row['images'] == 9963 and row['encoding (h)'] == round(9963 * 2 / 3600, 2)
    assert row['training (h)'] == round(5011 * 10 * 0.01 * 9 * 2 / 3600, 2) and row['features (GB)'] == round(
        9963 * (196 * 513 * 2 + 2048) / 1e9, 1
    )


def test_cost_is_measured():
    cost = measure_cost('tiny', None, 'cpu', categories=5, images=1, times=1)
    assert cost.encode_seconds > 0 and cost.train_seconds > 0 and cost.dim == 128


def rows(**more):
    return pd.DataFrame([
        dict(method='trmml', known=k, seed=s, epochs=10, selection='last', mAP=v, clip='RN101', mask_sha256=m) | more
        for k, s, v, m in (
            ('0.1', 0, 80.0, '6c449e375ae8f362'),
            ('0.1', 1, 82.0, '6c449e375ae8f362'),
            ('0.5', 0, 90.0, 'eaf149bf815e9948'),
        )
    ])


def test_our_row_over_the_published_ones():
    shown = beside(rows(), read_setting('voc2007'), [0.1, 0.5])
    assert shown.loc['trmml', ['10 %', '20 %', '50 %', 'mean', 'source']].tolist() == [
        '81.0',
        '–',
        '90.0',
        '–',
        'this run',
    ]
    assert shown.index[0] == 'trmml' and shown.loc['DualCoOp', 'mean'] == '93.2' and shown.loc['SSGRL', '10 %'] == '–'
    whole = pd.concat([rows().assign(known=k, mAP=float(i)) for i, k in enumerate(read_setting('voc2007').known)])
    assert beside(whole, read_setting('voc2007'), []).loc['trmml', 'mean'] == '4.0'


def test_differences_are_named(tmp_path):
    voc = read_setting('voc2007')
    same, counts = ReproduceJob('voc2007', root=str(tmp_path)).comparison, dict(trainval=5011, test=4952)
    assert (
        same.difficult == 'absent'
        and same.known == ','.join(f'0.{i}' for i in range(1, 10))
        and same.out == 'results/reproduce_voc2007.csv'
    )
    assert differences(voc, same, counts, rows()) == []
    assert differences(voc, same, counts | dict(test=900), rows()) == ['images of test: 900, published 4,952']
    assert differences(voc, same, counts, rows(mask_sha256='ff'))[0] == 'mask at 0.1: ff, published 6c449e375ae8f362'
    other = ReproduceJob(
        'voc2007', root=str(tmp_path), clip='tiny', image_size=64, eval_split='val', limit=5
    ).comparison
    assert differences(voc, replace(same, resize='tai_dpt'), counts, rows()) == []
    seen = differences(voc, replace(same, resize='dualcoop', dense='dualcoop'), counts, rows())
    assert seen == [
        'pictures: --resize dualcoop, the setting has squash',
        'dense features: --dense dualcoop, the setting has plain',
    ]
    said = '\n'.join(differences(voc, other, {}, rows()))
    for word in (
        'tower: tiny, the setting has RN101 openai',
        'image size: 64',
        'measured on: val',
        'only the first 5 images',
    ):
        assert word in said
    assert 'do not compare' in report(
        beside(rows(), voc, [0.1]), ['x'], voc
    ) and 'setting is the published one' in report(beside(rows(), voc, [0.1]), [], voc)


def test_every_row_says_which_form_it_is(tmp_path):
    "Of a rival ours or its source's, with the words to type; of a reader of texts how VOC's names are written."
    same = ReproduceJob('voc2007', root=str(tmp_path)).comparison
    voc, names, counts = read_setting('voc2007'), ['diningtable', 'dog'], dict(trainval=5011, test=4952)
    ask = lambda spec, job=same: differences(voc, job, counts, rows(method=spec), names)
    assert ask('query2label') == [
        'query2label: our form; as released it is query2label:form=release,layers=2,clip=0 --resize query2label'
    ]
    (words,) = ask('trmml')
    assert "trmml: texts say 'dining table'" in words and "'diningtable' (--class-names papers)" in words
    assert ask('trmml:class_names=papers') == [] == ask('linear_ignore:class_names=papers')
    for name, release in RELEASES.items():
        tower = dict(zip(*[iter(release.tower.replace('--', '').split())] * 2))
        (line,) = ask(release.spec, replace(same, **tower))[len(tower) :]
        assert line.startswith(f'{release.spec}: {release.form}, where ') and 'its tower' not in line
        if tower:
            assert f'; its tower has {release.tower}' in '\n'.join(ask(release.spec))
        assert f'{release.form} it is {release.spec}' in ask(name)[0], 'ours says what to type'


def test_from_a_prepared_set_to_the_row(server, tmp_path):  # noqa: F811
    "trmml reproduce voc2007 on a tiny prepared VOC: resumable, with every difference in the print."
    make(put(server, 'voc2007', tiny_voc()), tmp_path / 'data')
    args = [
        'reproduce',
        'voc2007',
        '--root',
        str(tmp_path / 'data'),
        '--clip',
        'tiny',
        '--known',
        '0.5,0.9',
        '--methods',
        'trmml:epochs=1',
        '--out',
        str(tmp_path / 't.csv'),
        '--cache',
        str(tmp_path / 'cache'),
    ]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    for word in (
        'images of trainval: 3, published 5,011',
        'DualCoOp, Table 1: arxiv.org/abs/2206.09541',
        'this run',
        'last epoch',
    ):
        assert word in done.output
    before = (tmp_path / 't.csv').read_bytes()
    assert CliRunner().invoke(app, args).exit_code == 0 and (tmp_path / 't.csv').read_bytes() == before
    job = ReproduceJob(
        'voc2007',
        root=str(tmp_path / 'data'),
        clip='tiny',
        known='0.5',
        methods='trmml:epochs=1',
        out=str(tmp_path / 't.csv'),
        cache=str(tmp_path / 'cache'),
    )
    shown, said = reproduce_job(job, progress=False)
    assert shown.loc['trmml:epochs=1', '50 %'] != '–' and any('tower' in line for line in said)
    text = report(shown, said, job.setting).splitlines()
    cited = {line.split()[0]: line for line in text if line.startswith('[')}
    assert all(row.split()[-1] in cited for row in text if row.startswith(('SST', 'SARB', 'HST'))), (
        'each has its source'
    )
    assert max(len(line) for line in text[text.index('') :] if not line.startswith(('[', 'Masks', 'Diff'))) < 160


def test_command_line_without_network_or_data(tmp_path):
    none = CliRunner().invoke(app, ['reproduce', 'voc2007', '--root', str(tmp_path)])
    assert none.exit_code == 1 and 'Traceback' not in none.output
    missing = CliRunner().invoke(app, ['reproduce', 'coco2014', '--root', str(tmp_path)])
    assert missing.exit_code == 1 and 'trmml prepare coco2014' in missing.output
    plan = CliRunner().invoke(app, ['reproduce', 'vg200', '--clip', 'tiny', '--image-size', '64', '--plan-only'])
    assert plan.exit_code == 0 and 'features (GB)' in plan.output and '92904' in plan.output


def voc_of_thirty(broken=()):
    "Thirty photographs, some of them perhaps broken, and three categories in VOC's own archives."
    names, base, labels = ['cat', 'dog', 'sheep'], 'VOCdevkit/VOC2007', np.random.default_rng(0).integers(0, 2, (30, 3))
    files = {f'{base}/JPEGImages/{i:06d}.jpg': b'no picture' if i in broken else jpeg(i) for i in range(30)}
    parts = dict(train=range(0, 20, 2), val=range(1, 20, 2), trainval=range(20), test=range(20, 30))
    for part, rows in parts.items():
        lists = {part: ''.join(f'{i:06d}\n' for i in rows)}
        for c, name in enumerate(names):
            lists[f'{name}_{part}'] = ''.join(f'{i:06d} {1 if labels[i, c] else -1:2d}\n' for i in rows)
        files |= {f'{base}/ImageSets/Main/{name}.txt': text.encode() for name, text in lists.items()}
    late = [n for n in files if 'test' in n or n[-10:-4] >= '000020' and n.endswith('.jpg')]
    first = {n: b for n, b in files.items() if n not in late}
    counts = {part: dict(images=len(rows), present=int(labels[list(rows)].sum())) for part, rows in parts.items()}
    return {
        'VOCtrainval_06-Nov-2007.tar': tarred(first),
        'VOCtest_06-Nov-2007.tar': tarred({n: files[n] for n in late}),
    }, dict(
        categories=3,
        images={p: counts[p]['images'] for p in ('trainval', 'test')},
        positives={p: counts[p]['present'] for p in ('trainval', 'test')},
    )


def small_clip():
    "A folder of the hub: configuration and random weights of a CLIP that is quick."
    config = {'embed_dim': 16, 'vision_cfg': dict(layers=1, width=32, head_width=8, patch_size=16, image_size=64)}
    config['text_cfg'] = dict(context_length=77, vocab_size=49408, width=16, heads=2, layers=1)
    torch.manual_seed(0)
    state = {k: v.contiguous() for k, v in open_clip.model.CLIP(**json.loads(json.dumps(config))).state_dict().items()}
    about = json.dumps(dict(model_cfg=config)).encode()
    return {'open_clip_config.json': about, 'open_clip_model.safetensors': save(state)}


def test_what_was_left_out_is_named_in_every_result(server, tmp_path):
    "An image that no copy has whole is left out when that is asked for; training, measuring and tables name it."
    files, counts = voc_of_thirty(broken=(4, 25))
    make(put(server, 'voc2007', (files, counts)), tmp_path / 'data', allow_undecodable=True)
    data = ['--root', str(tmp_path / 'data'), '--clip', 'tiny', '--cache', str(tmp_path / 'cache')]
    splits, image = ['--train-split', 'trainval', '--eval-split', 'test'], 'VOCdevkit/VOC2007/JPEGImages/0000{}.jpg'
    lost = {part: f'{part}: 1 image: {image.format(n)}' for part, n in (('trainval', '04'), ('test', '25'))}
    run, table = tmp_path / 'run', tmp_path / 't.csv'
    spec, known = 'linear_ignore:epochs=1', ['--known', '0.5']

    def typed(*words):
        done = CliRunner().invoke(app, [*words, *data])
        assert done.exit_code == 0, done.output
        return done.output

    typed('train', '--data', 'voc2007', *splits, '--method', spec, *known, '--out', str(run))
    assert json.loads((run / 'config.json').read_text())['data']['images_left_out'] == lost['trainval']
    assert json.loads((run / 'metrics.json').read_text())['images_left_out'] == lost['test']
    typed('compare', '--data', 'voc2007', *splits, '--methods', spec, *known, '--out', str(table))
    assert set(pd.read_csv(table).left_out) == {f'{lost["trainval"]}; {lost["test"]}'}
    said = typed('reproduce', 'voc2007', '--methods', spec, *known, '--out', str(tmp_path / 'r.csv'))
    for part, n in (('trainval', '04'), ('test', '25')):
        assert f'left out of {part}: 1 image: {image.format(n)} (could not be decoded' in said


def test_a_whole_row_as_a_user_types_it(server, tmp_path):
    """All nine shares and single, weights from an emulated hub, archives from an emulated host that drops the line.

    Killed at random moments and gone on with, the table is the one of a run that nobody stopped, and what is printed
    is what the table says."""
    host = put(server, 'voc2007', voc_of_thirty())
    server.faults['VOCtrainval_06-Nov-2007.tar'] = ['drop 20000']
    make(host, tmp_path / 'data')
    shares = [f'0.{i}' for i in range(1, 10)]
    with StandInHub({'lab/small': small_clip()}) as hub:
        env = {k: v for k, v in os.environ.items() if not k.upper().startswith('HF_') and 'proxy' not in k.lower()}
        env |= dict(HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / 'hub'), HF_HUB_DISABLE_XET='1')

        def command(out):
            row = (
                f'reproduce voc2007 --clip hf-hub:lab/small --methods trmml:epochs=2 --known {",".join(shares)},single'
            )
            places = ['--root', str(tmp_path / 'data'), '--cache', str(tmp_path / f'cache_{out}')]
            return [
                sys.executable,
                *('-c', 'from trmml_nb.cli import main; main()'),
                *row.split(),
                *places,
                *('--device', 'cpu', '--out', str(tmp_path / f'{out}.csv')),
            ]

        begun = time.monotonic()
        whole = subprocess.run(command('whole'), capture_output=True, text=True, env=env, timeout=400)
        lasted = time.monotonic() - begun
        assert whole.returncode == 0, whole.stdout[-2000:] + whole.stderr[-2000:]
        done, cuts, draw = tmp_path / 'cut.csv', [], np.random.default_rng(0)
        cells = lambda: len(pd.read_csv(done).known.unique()) if done.exists() else 0
        for number in range(3):
            process = subprocess.Popen(command('cut'), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
            if number == 0:  # the first surely among the cells
                while process.poll() is None and not 1 <= cells() < 9:
                    time.sleep(0.01)
                time.sleep(draw.uniform(0, 0.05) * lasted / 10)
            else:
                time.sleep(draw.uniform(0.2, 0.9) * lasted)
            process.send_signal(signal.SIGKILL)
            process.wait()
            cuts.append(cells())
        again = subprocess.run(command('cut'), capture_output=True, text=True, env=env, timeout=400)
        assert again.returncode == 0, again.stdout[-2000:] + again.stderr[-2000:]
    assert any(0 < n < 10 for n in cuts), f'stopped in the middle, not after {cuts} cells'
    first, second = (pd.read_csv(tmp_path / f'{name}.csv') for name in ('whole', 'cut'))
    same = [c for c in first.columns if 'seconds' not in c and c != SEAL]
    assert len(first) == 20 and first[same].equals(second[same])
    row = next(line for line in again.stdout.splitlines() if line.startswith('trmml:epochs=2') and 'this run' in line)
    last = first[first.selection == 'last'].astype(dict(known=str)).set_index('known').mAP
    printed = re.findall(r'\d+\.\d|–', row)[:11]
    assert printed[:9] == [f'{last[k]:.1f}' for k in shares] and printed[9] == f'{last["single"]:.1f}', row
    assert printed[10] == f'{last[shares].mean():.1f}'
    table = lambda run: run.stdout[run.stdout.index('PASCAL VOC 2007, mAP') :]
    assert table(again) == table(whole), 'the printed table is that of the run that nobody stopped'
    for said in (
        'tower: hf-hub:lab/small, the setting has RN101 openai',
        'images of trainval: 20, published 5,011',
        'last epoch',
    ):
        assert said in again.stdout
