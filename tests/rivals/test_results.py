"""The stored tables: complete, made with the settings that the code has now, with a file for each row, and told truly
in the README."""

import json
import re
from pathlib import Path

import pytest

from trmml_nb.rivals.compare import margins, read_table, summarise
from trmml_nb.runs.compare_job import config_folder
from trmml_nb.rivals.registry import METHODS, settings_sha256

ROOT = Path(__file__).resolve().parents[2]
VIEWS = dict(scenes='plain', voc2007_lab='plain+flip')  # what the tables of the notebook are scored from
SHARES = ['0.1', '0.3', '0.5', '0.7', '0.9', '1.0', 'single']


@pytest.fixture(scope='module')
def tables():
    found = {name: read_table(ROOT / 'results' / f'{name}.csv') for name in VIEWS}
    return {name: table[table['views'] == VIEWS[name]] for name, table in found.items()}


@pytest.mark.parametrize('name', VIEWS)
@pytest.mark.parametrize('method', METHODS)
def test_every_method_has_its_cells(tables, name, method):
    "Three seeds at seven shares; what is not trained has one."
    rows = tables[name][(tables[name]['method'] == method) & (tables[name]['selection'] == 'last')]
    seeds = rows.groupby('known')['seed'].nunique()
    assert all(seeds.get(share, 0) >= (3 if METHODS[method].trains else 1) for share in SHARES), (
        f'{name}, {method}: {seeds.to_dict()}'
    )


@pytest.mark.parametrize('name', VIEWS)
@pytest.mark.parametrize('method, seeds', [('trmml', 5), ('trmml_plus', 5), ('linear_ignore', 5), ('pvlr_both', 5)])
def test_ours_and_the_strongest_others_have_every_tenth(tables, name, method, seeds):
    rows = tables[name][(tables[name]['method'] == method) & (tables[name]['selection'] == 'last')]
    assert all(rows[rows['known'] == f'{tenth / 10:.1f}']['seed'].nunique() >= seeds for tenth in range(1, 10))


@pytest.mark.parametrize('name', VIEWS)
def test_a_lead_at_a_tenth_is_over_five_seeds(tables, name):
    """Whoever turns out to be the best other method there, ours and it have five seeds; a tower that is not trained
    has one."""
    summary = summarise(tables[name][tables[name]['method'].isin(METHODS)])
    best = margins(summary, 'trmml_plus')['best_other']
    for known in (f'{tenth / 10:.1f}' for tenth in range(1, 10)):
        assert not METHODS[best[known]].trains or summary.loc[(best[known], known), 'seeds'] >= 5, (
            f'{name} at {known}: {best[known]}'
        )


@pytest.mark.parametrize('name', VIEWS)
def test_rows_were_made_with_todays_settings_and_each_has_its_file(tables, name):
    table = tables[name]
    for spec, known in set(zip(table['method'], table['known'])):
        rows = table[(table['method'] == spec) & (table['known'] == known)]
        assert set(rows['settings']) == {settings_sha256(spec, rows['data'].iloc[0])}, (
            f'{name}, {spec} at {known}: other settings'
        )
        file = ROOT / 'results' / 'configs' / name / config_folder(spec) / f'{known}.json'
        assert json.loads(file.read_text())['mask_sha256'][:16] == rows['mask_sha256'].iloc[0], file


@pytest.mark.parametrize('name', VIEWS)
def test_one_mask_for_a_share(tables, name):
    assert (tables[name].groupby('known')['mask_sha256'].nunique() == 1).all()


def test_readme_tells_what_the_table_holds(tables):
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    table = tables['voc2007_lab']
    summary = summarise(table[table['method'].isin(METHODS)])
    columns = ['0.1', '0.5', '1.0', 'single']
    for method in ('trmml', 'trmml_plus', 'trmml_adaptive'):
        said = re.search(rf'^\| {re.escape(METHODS[method].title)} \| (.+) \|$', readme, re.M)[1].split(' | ')
        rows = [summary.loc[(method, known)] for known in columns]
        assert said == [f"{row['mean']:.1f} ± {row['std']:.1f} ({int(row['seeds'])})" for row in rows]
    best = margins(summary, 'trmml_plus')
    said = re.search(r'^\| the best of .+? \| (.+) \|$', readme, re.M)[1].split(' | ')
    assert said == [
        f"{best.loc[known, 'other']:.1f} ({METHODS[best.loc[known, 'best_other']].title})" for known in columns
    ]


def test_the_lead_that_readme_and_notebook_speak_of(tables):
    """TRM-ML+ over the methods as their sources state them, and over all, PVLR with both branches included;
    photographs at 40 % are the closest."""
    stated = [m for m in METHODS if not m.startswith('trmml') and m != 'pvlr_both']
    for name, least, over_all, at_40 in (('voc2007_lab', 2.0, 1.0, 0.85), ('scenes', 0.0, 0.25, 0.5)):
        summary = summarise(tables[name][tables[name]['method'].isin(METHODS)])
        lead = margins(summary, 'trmml_plus', stated)['margin'].astype(float)
        assert (lead.drop('1.0') >= least).all() and lead['1.0'] > 0, lead.to_dict()
        lead = margins(summary, 'trmml_plus')['margin'].astype(float)
        assert (lead.drop('0.4') >= over_all).all() and lead['0.4'] >= at_40, lead.to_dict()


@pytest.mark.parametrize('name, over_image, over_pixel', [('voc2007_lab', 3.0, 1.0), ('scenes', 2.5, 0.3)])
def test_what_is_said_of_regions_images_and_pixels(tables, name, over_image, over_pixel):
    "At 10 % known, seed by seed: five of each."
    rows = tables[name][(tables[name]['known'] == '0.1') & (tables[name]['selection'] == 'last')].pivot(
        index='seed', columns='method', values='mAP'
    )
    image, pixel = (rows['trmml'] - rows[f'trmml:matching={how}'] for how in ('image', 'pixel'))
    assert (
        image.count() == pixel.count() == 5
        and image.min() > over_image
        and pixel.mean() > over_pixel
        and pixel.min() > 0
    )


@pytest.mark.parametrize(
    'spec, folder',
    [
        ('trmml', 'trmml'),
        ('trmml:lr=1e-4', 'trmml_lr=1e-4'),
        ('pvlr:gamma_neg=0.', 'pvlr_gamma_neg=0.0'),
        ('pvlr:gamma_neg=0.,clip=0.', 'pvlr_gamma_neg=0._clip=0.0'),
    ],
)
def test_settings_lie_in_folders_that_every_file_system_takes(spec, folder):
    assert config_folder(spec) == folder


@pytest.fixture(scope='module')
def towers():
    "Two further stand-ins for CLIP: lab2, on a stronger trunk, and lab3, aligned as CLIP is."
    return read_table(ROOT / 'results' / 'towers.csv')


@pytest.mark.parametrize('clip', ['lab2', 'lab3'])
def test_other_towers_have_their_rows_made_with_todays_settings(towers, clip):
    table = towers[(towers['clip'] == clip) & (towers['selection'] == 'last')]
    for method, least in dict(trmml_adaptive=3, linear_ignore=3, pvlr_both=1, trmml=1).items():
        seeds = table[table['method'] == method].groupby('known')['seed'].nunique()
        assert all(seeds.get(share, 0) >= least for share in ('0.1', '0.5', '1.0', 'single')), seeds.to_dict()
    for spec in set(table['method']):
        assert set(table[table['method'] == spec]['settings']) == {settings_sha256(spec, table['data'].iloc[0])}, spec
    assert (table.groupby('known')['mask_sha256'].nunique() == 1).all()


@pytest.mark.parametrize('clip', ['lab2', 'lab3'])
def test_one_setting_leads_a_linear_head_on_every_tower(towers, clip):
    means = summarise(towers[towers['clip'] == clip])['mean']
    lead = means['trmml_adaptive'] - means['linear_ignore']
    assert (lead.dropna() > 1.0).all() and len(lead.dropna()) == 4, lead.to_dict()


@pytest.mark.parametrize('clip', ['lab2', 'lab3'])
def test_one_setting_leads_every_other_method_on_every_tower(towers, clip):
    means = summarise(towers[towers['clip'] == clip])['mean']
    for other in set(means.index.get_level_values('method')) - {'trmml_adaptive'}:
        lead = (means['trmml_adaptive'] - means[other]).dropna()
        assert (lead > 0).all(), (other, lead.to_dict())


def test_words_that_say_nothing_do_not_lead_astray():
    """Made-up names, and names exchanged: far ahead of a linear head that starts at them, and about level, or ahead, of one
    that never saw a word; the paper's statement is far behind both."""
    table = read_table(ROOT / 'results' / 'words.csv')
    assert set(table['clip']) == {'lab3_words', 'lab3_shuffled'}
    rows = table.groupby(['clip', 'known', 'method'])['mAP'].mean().unstack()
    assert len(rows) == 4 and (rows['trmml_adaptive'] - rows['linear_ignore'] > 3).all()
    assert (rows['trmml_adaptive'] - rows['linear_ignore:init=zeros'] > -1).all()
    assert (rows['trmml'] < rows['linear_ignore:init=zeros'] - 10).all()
    for spec in set(table['method']):
        assert set(table[table['method'] == spec]['settings']) == {settings_sha256(spec, 'own')}, spec


def test_a_tower_that_knows_where_is_not_made_worse_with_a_tenth_of_the_labels():
    "Known labels choose how sharply to look: without that choice, training falls behind no training there."
    table = read_table(ROOT / 'results' / 'scenes_tiny16.csv')
    means = summarise(table)['mean']
    alone, spec = means['zero_shot_pixel', '0.1'], 'trmml_adaptive:fit_attention=False'
    assert means[spec, '0.1'] < alone < means['trmml_adaptive', '0.1']
    for method in set(table['method']):
        assert set(table[table['method'] == method]['settings']) == {settings_sha256(method, 'scenes')}, method


def test_readme_tells_what_was_measured_on_other_towers(towers):
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    for clip in ('lab2', 'lab3'):
        means = summarise(towers[towers['clip'] == clip])['mean']
        said = re.search(rf'^\| {clip}, .+? \| (.+) \|$', readme, re.M)[1].split(' | ')
        columns = [('trmml_adaptive', k) for k in ('0.1', '0.5', '1.0', 'single')]
        others = lambda k: f'{means["linear_ignore", k]:.1f}; {means["pvlr_both", k]:.1f}'
        expected = [f'{means[m, k]:.1f} ({others(k)})' for m, k in columns]
        assert said == expected, (clip, expected)


def test_readme_does_not_hide_where_the_papers_statement_is_behind(towers):
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    assert 'TRM-ML itself is behind PVLR, both branches, on both, unless each picture has a single' in readme
    for clip in ('lab2', 'lab3'):
        means = summarise(towers[towers['clip'] == clip])['mean']
        lead = (means['trmml'] - means['pvlr_both']).dropna()
        assert (lead.drop('single') < 0).all() and lead['single'] > 0, lead.to_dict()
