"""Both widgets in a real browser, by keyboard and mouse, without a notebook around them; what a person sees and what
reaches the page behind."""

import io

import numpy as np
import pytest
from helpers.fakes import fake_inspection
from helpers.in_browser import START, UNREADABLE, InBrowser, chromium

from trmml_nb.people.review import Review

pytest.importorskip('anywidget', reason='the widgets need pip install "trmml_nb[notebooks]"')
SIZES = [(640, 480), (480, 640), (1200, 150), (90, 90), (150, 1200), (500, 375)] * 3  # panoramas, portraits, thumbnails
NAMES = ['aeroplane', 'sheep', 'a category with a very long name that has to be broken somewhere', 'potted plant']


@pytest.fixture(scope='module')
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=dict(width=1280, height=900), device_scale_factor=2)
    page.set_default_timeout(20_000)
    yield page
    page.close()


@pytest.fixture
def reviewer(tmp_path):
    from trmml_nb.people.review_widget import ReviewWidget

    seen = fake_inspection(NAMES, SIZES, thresholds=np.array([0.3, 0.5, 0.7, 0.4]))
    review = Review(
        seen.dataset, seen.probabilities, tmp_path / 'answers.csv', 'Ada', 'fake', threshold=seen.thresholds
    )
    return ReviewWidget(review, seen, lambda labels: seen)


@pytest.fixture
def inspector(tmp_path):
    from trmml_nb.people.inspector_widget import InspectorWidget
    from trmml_nb.people.why import Why

    names = [*NAMES, *(f'class {k}' for k in range(196))]
    seen = fake_inspection(names, SIZES, thresholds=np.full(200, 0.3))
    review = Review(seen.dataset, seen.probabilities, tmp_path / 'answers.csv', 'Ada', 'fake', threshold=0.3)
    return InspectorWidget(seen, review=review, reasons=Why(seen, lambda: seen))


FOCUS = "document.querySelector('.trmml').contains(document.activeElement)"


UNNAMED = '''() => [...document.querySelectorAll('.trmml :is(button, select, input, progress, [role=img])')]
  .filter(e => e.checkVisibility() && !(e.getAttribute('aria-label') || e.closest('label')?.textContent.trim() || e.textContent.trim())).map(e => e.outerHTML)'''
STOPS = "[...document.querySelectorAll('.trmml, .trmml *')].filter(e => e.tabIndex >= 0 && e.checkVisibility()).length"


def labels(live):
    return [a.label for a in live.review.answers]


# -- the reviewer


def test_keys_of_the_reviewer_work_at_once_and_stay_in_it(page, reviewer):
    w = InBrowser(page, reviewer)
    page.wait_for_function(FOCUS)  # nobody has clicked anything
    w.press('y', 'n', 's', 'Y')
    assert labels(reviewer) == [1, 0, -1, 1]
    w.press('u')
    assert labels(reviewer) == [1, 0, -1]
    w.press('a', 'x', 'd', 'b', 'c', 'v', 'm', 'Enter', 'ArrowDown', 'ArrowUp', 'Delete', 'z', '?', '?', 'Escape')
    assert labels(reviewer) == [1, 0, -1] and page.evaluate('window.outer') == [] and not w.errors


@pytest.mark.parametrize(
    'name', ['present', 'absent', 'skip', 'undo', 'zoom', 'keys', 'export the table', 'train again']
)
def test_focus_comes_back_after_every_button(page, reviewer, name):
    w = InBrowser(page, reviewer)
    w.press('y', 'n')
    page.get_by_role('button', name=name, exact=True).first.click()
    w.settle()
    before = len(reviewer.review.answers)
    assert page.evaluate(FOCUS)
    page.keyboard.press('Escape')
    w.press('y')
    assert len(reviewer.review.answers) == before + 1 and page.evaluate('window.outer') == []


def test_focus_is_not_taken_from_somebody_who_types(page, reviewer):
    page.set_default_timeout(5000)
    page.expose_function('nothing', lambda: None)
    original = page.set_content

    def with_field(content):
        original(content.replace('<main>', '<main><textarea autofocus></textarea>'))
        page.locator('textarea').focus()

    page.set_content = with_field
    InBrowser(page, reviewer)
    page.wait_for_timeout(1800)
    assert page.evaluate("document.activeElement.tagName") == 'TEXTAREA'


def test_focus_is_not_taken_from_another_widget(page, reviewer):
    "Several widgets are drawn at once when a notebook is opened again: the one that a person uses keeps the keys."
    InBrowser(page, reviewer)
    page.evaluate("""() => { const other = document.createElement('div');
      Object.assign(other, { className: 'trmml', id: 'other', tabIndex: 0 });
      document.body.append(other);
      other.focus(); }""")
    page.wait_for_timeout(1800)
    assert page.evaluate("document.activeElement.id") == 'other'


def test_focus_is_not_taken_from_somebody_who_clicked_elsewhere(page, reviewer):
    InBrowser(page, reviewer)
    page.evaluate("() => { document.body.append(Object.assign(document.createElement('button'), { id: 'away' })); }")
    page.locator('#away').click()
    page.wait_for_timeout(1800)
    assert page.evaluate("document.activeElement.id") == 'away'


def test_another_page_of_tiles_begins_at_its_first_tile(page, reviewer):
    "Who has answered the last tile and saves sees the new page from its top, and answers its first tile next."
    page.set_viewport_size(dict(width=800, height=700))
    reviewer.mode = 'grid'
    w = InBrowser(page, reviewer)
    board, tiles = page.locator('.board'), page.locator('.tile')
    w.press('ArrowRight', 'y', *['ArrowRight', 'n'] * (tiles.count() - 1))
    assert board.evaluate('e => e.scrollTop') > 0
    before = [reviewer.page, w.press('Enter')][0]
    assert not {*before} & {*reviewer.page} and board.evaluate('e => e.scrollTop') == 0
    assert tiles.first.evaluate('e => e === document.activeElement')
    w.press('y')
    assert reviewer.marks[0] == 'present' and set(reviewer.marks[1:]) == {''}
    reviewer.category = 'sheep'
    w.refresh()
    w.settle()
    assert tiles.count() > 4
    w.press('ArrowDown', 'n')
    at = page.evaluate("[...document.querySelectorAll('.tile')].indexOf(document.activeElement)")
    reviewer.draw()  # the same page anew, as after another's answer: what is framed stays so
    w.refresh()
    w.settle()
    assert page.evaluate("[...document.querySelectorAll('.tile')].indexOf(document.activeElement)") == at > 0


def test_saving_the_notebook_is_the_one_key_that_goes_through(page, reviewer):
    "The page behind hears Control+S as if it came from beside the widget; if it saves, the browser does not."
    w = InBrowser(page, reviewer)
    page.wait_for_function(FOCUS)
    page.evaluate("""() => { window.saves = []; document.body.addEventListener('keydown', e => {
      window.saves.push([e.key, e.keyCode, e.ctrlKey, document.querySelector('.trmml').contains(e.target)]);
      e.preventDefault(); }); window.addEventListener('keydown', e => { window.stopped = e.defaultPrevented; }, true);
      document.querySelector('.trmml').addEventListener('keydown', e => { window.stopped = e.defaultPrevented; }); }""")
    w.press('Control+s')
    assert page.evaluate('window.saves') == [['s', 83, True, False]] and page.evaluate('window.stopped')
    w.press('Control+x', 'Control+z', 'Control+Shift+s', 'Alt+s', 'x')
    assert len(page.evaluate('window.saves')) == 1 and labels(reviewer) == []


def test_letters_of_another_alphabet_are_read_by_their_place(page, reviewer):
    w = InBrowser(page, reviewer)
    page.wait_for_function(FOCUS)
    for key, code in (
        ('\u043d', 'KeyY'),
        ('\u0442', 'KeyN'),
        ('\u044b', 'KeyS'),
        ('\u0433', 'KeyU'),
        ('\u0444', 'KeyA'),
    ):
        page.evaluate(
            "init => document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { ...init, bubbles: true }))",
            dict(key=key, code=code),
        )
        w.settle()
    assert labels(reviewer) == [1, 0] and not w.errors


def test_the_grid_begins_unanswered_and_is_answered_by_keys(page, reviewer):
    reviewer.mode, reviewer.category = 'grid', 'sheep'
    w = InBrowser(page, reviewer)
    tiles, save = page.locator('.tile'), page.locator('.actions button', has_text='save')
    assert tiles.count() == len(reviewer.page) == 12
    assert {tiles.nth(i).get_attribute('data-mark') for i in range(12)} == {''}
    assert page.get_by_role('button', name='nothing answered yet').is_disabled()
    w.press('Enter')
    assert labels(reviewer) == []
    w.press('ArrowRight', 'y', 'ArrowRight', 'n', 'Shift+ArrowRight', 'Shift+ArrowRight', 'ArrowRight', 's')
    assert reviewer.marks[:5] == ['present', 'absent', 'absent', 'absent', 'skip'] and set(reviewer.marks[5:]) == {''}
    assert save.inner_text().startswith('1 present, 3 absent, 1 skipped: save')
    tiles.nth(6).click()
    tiles.nth(9).click(modifiers=['Shift'])
    w.settle()
    assert reviewer.marks[6:10] == ['present'] * 4
    w.press('Enter')
    assert sorted(labels(reviewer)) == [-1, 0, 0, 0, 1, 1, 1, 1, 1] and page.evaluate(FOCUS)
    assert 'sheep: 5 present, 3 absent, 1 skipped' in page.locator('.recent').inner_text()
    page.locator('.recent button').first.click()
    w.settle()
    assert labels(reviewer) == [] and page.evaluate('window.outer') == [] and not w.errors


def test_the_line_parts_present_from_absent(page, reviewer):
    reviewer.mode, reviewer.category = 'grid', 'sheep'
    w = InBrowser(page, reviewer)
    page.get_by_label('line between present and absent tiles').fill('4')
    w.settle()
    assert reviewer.marks == ['present'] * 4 + ['absent'] * 8


def test_quick_clicks_on_tiles_all_count(page, reviewer):
    reviewer.mode, reviewer.category = 'grid', 'sheep'
    w = InBrowser(page, reviewer)
    page.evaluate("[1, 3, 4, 3, 4, 3, 4].forEach(k => document.querySelectorAll('.tile')[k].click())")
    w.settle()
    assert reviewer.marks == ['', 'present', '', 'skip', 'skip', *[''] * 7]


def test_a_key_held_down_answers_once(page, reviewer):
    w = InBrowser(page, reviewer)
    page.wait_for_function(FOCUS)
    page.keyboard.down('y')
    for _ in range(5):
        page.keyboard.down('y')  # the browser marks these as repeated
    page.keyboard.up('y')
    w.settle()
    assert labels(reviewer) == [1]


def test_the_reviewer_does_not_jump_and_its_picture_is_large_and_sharp(page, reviewer):
    w = InBrowser(page, reviewer)
    canvas, heights = page.locator('.one canvas'), set()
    for _ in range(len(SIZES)):
        heights.add(page.locator('.trmml').bounding_box()['height'])
        w.press('y')
    assert len(heights) == 1
    box, pixels = canvas.bounding_box(), canvas.evaluate('c => [c.width, c.height]')
    assert box['height'] >= 500 and box['width'] > 1200 and abs(pixels[0] - 2 * box['width']) <= 2


@pytest.mark.parametrize('height', [768, 900, 1080])
@pytest.mark.parametrize('which', ['reviewer', 'inspector'])
def test_what_is_pressed_and_what_is_said_is_seen_on_the_screen_of_a_laptop(page, which, height, request):
    "A notebook has about 190 pixels of its own above and below: what is left holds picture, buttons and progress."
    page.set_viewport_size(dict(width=1366, height=height))
    InBrowser(page, request.getfixturevalue(which))
    top = page.locator('.trmml').bounding_box()['y']
    for part in (page.locator('.trmml-status'), page.get_by_role('button', name='zoom', exact=True)):
        box = part.bounding_box()
        assert box['y'] + box['height'] - top <= height - 187, part
    assert page.locator('.one' if which == 'reviewer' else '.centre').bounding_box()['height'] >= 360


@pytest.mark.parametrize('width', [384, 620, 816, 1280])  # the first: 800 pixels with JupyterLab's file browser open
@pytest.mark.parametrize('mode', ['single', 'grid'])
def test_progress_and_status_of_the_reviewer_are_on_the_screen_at_every_width(page, reviewer, mode, width):
    page.set_viewport_size(dict(width=width, height=800))
    reviewer.mode = mode
    w = InBrowser(page, reviewer)
    w.press('y', *(['Enter'] if mode == 'grid' else 'nu'))
    top = page.locator('.trmml').bounding_box()['y']
    for part in ('progress', '.trmml-status', '.actions button:last-of-type'):
        box = page.locator(part).last.bounding_box()
        assert box is None or box['y'] + box['height'] - top <= 800 - 187, part
    seen = page.locator('.board' if mode == 'grid' else '.one').bounding_box()
    assert seen['height'] >= 200, seen
    if mode == 'grid':  # pictures are seen beside each other, and a whole row of them
        tiles = [page.locator('.tile').nth(k).bounding_box() for k in (0, 1)]
        assert tiles[0]['y'] == tiles[1]['y'] and tiles[0]['height'] <= seen['height']
    assert not w.errors


@pytest.mark.parametrize('width', [400, 800, 1280])
@pytest.mark.parametrize('mode', ['single', 'grid'])
def test_no_part_of_the_reviewer_moves_while_it_is_used(page, reviewer, mode, width):
    "Neither from a short name to a long one, nor when tiles are marked."
    page.set_viewport_size(dict(width=width, height=900))
    reviewer.mode = mode
    w, places = InBrowser(page, reviewer), []
    parts = [page.locator(p) for p in ('.trmml', '.body', '.actions', 'progress')]
    for name in NAMES:
        reviewer.category = name
        w.refresh()
        w.settle()
        for key in ('y', 'ArrowRight', 'n') if mode == 'grid' else 'yn':
            places.append([box[k] for box in (p.bounding_box() for p in parts) for k in ('y', 'height')])
            w.press(key)
    assert [p for p in places if p != places[0]] == [] and not w.errors


def test_marks_in_one_view_are_seen_in_the_other(page, reviewer):
    "The same reviewer shown twice: tiles that are marked, and the page that is saved."
    reviewer.mode, reviewer.category = 'grid', 'sheep'
    w = InBrowser(page, reviewer)
    page.evaluate('window.another()')
    views = page.locator('.trmml-reviewer')
    views.nth(1).locator('.tile').first.wait_for()
    marks = lambda k: views.nth(k).locator('.tile').evaluate_all('all => all.map(e => e.dataset.mark)')
    views.nth(1).locator('.tile').nth(2).click()
    w.settle()
    views.nth(0).locator('.tile').nth(3).click()
    w.settle()
    assert marks(0) == marks(1) == reviewer.marks == ['', '', 'present', 'present', *[''] * 8]
    page.evaluate("[1, 3, 3, 4].forEach(k => document.querySelectorAll('.tile')[k].click())")
    w.settle()
    assert marks(0) == marks(1) == reviewer.marks == ['', 'present', 'present', 'skip', 'present', *[''] * 7]
    page.evaluate('window.another()')  # and in one that is opened later
    views.nth(2).locator('.tile').first.wait_for()
    assert marks(2) == reviewer.marks == reviewer.content['marks']
    views.nth(2).locator('.tile').first.focus()
    w.press('Enter')
    assert sorted(labels(reviewer)) == [-1, 1, 1, 1] and marks(0) == marks(1) == marks(2) and not w.errors


def test_what_is_chosen_in_one_view_of_the_inspector_is_chosen_in_the_other(page, inspector):
    w = InBrowser(page, inspector)
    page.evaluate('window.another()')
    views = page.locator('.trmml-inspector')
    views.nth(1).locator('.label').first.wait_for()
    views.nth(1).focus()
    w.press('ArrowDown', 'Enter', 'ArrowDown', 'Shift+ArrowUp')
    strength = views.nth(1).get_by_label('strength of the colours')
    strength.fill('0.9')
    w.settle()
    page.evaluate('window.another()')  # and in one that is opened later
    views.nth(2).locator('.label').first.wait_for()
    w.settle()
    for k in range(3):
        view = views.nth(k)
        assert view.locator('[aria-selected=true] .name').inner_text() == inspector.label
        assert view.locator('.dot[style]').count() == 2 and len(inspector.labels) == 1
        assert f'Who claims patch {inspector.patch}?' in view.locator('.detail').inner_text()
        assert view.get_by_label('strength of the colours').input_value() == '0.9' == str(inspector.opacity)
    assert inspector.content['start']['label'] == inspector.label and not w.errors


def test_a_line_moved_in_one_view_is_moved_in_the_other(page, thresholds):
    w = InBrowser(page, thresholds)
    page.evaluate('window.another()')
    views = page.locator('.trmml-thresholds')
    views.nth(1).focus()
    w.press('ArrowDown', 'Shift+ArrowLeft', 'ArrowLeft')
    said = [views.nth(k).locator('.body > table').inner_text() for k in range(2)]
    assert said[0] == said[1] and f'{thresholds.thresholds[1]:.3f}' in said[0]
    assert [views.nth(k).get_by_role('button', name='save 1 threshold').is_enabled() for k in range(2)] == [True] * 2
    assert not w.errors


def test_in_a_frame_that_grows_with_its_content_the_picture_is_large(page, reviewer):
    "As in Colab: a height that followed the frame, while the frame follows it, would end at the smallest."
    page.evaluate("Object.defineProperty(window, 'parent', { value: {} })")
    page.set_viewport_size(dict(width=1000, height=300))
    InBrowser(page, reviewer)
    assert page.locator('.one').bounding_box()['height'] >= 540


@pytest.mark.parametrize('width', [1280, 800, 620, 400])
@pytest.mark.parametrize('dark', [False, True])
def test_the_last_five_answers_are_whole_and_progress_is_seen(page, reviewer, width, dark):
    page.set_viewport_size(dict(width=width, height=1000))
    w = InBrowser(page, reviewer, dark)
    reviewer.category = 'sheep'
    w.refresh()
    w.press(*'ynysn')
    recent, bar = page.locator('.recent'), page.locator('progress')
    assert recent.locator('button').count() == 5
    assert recent.evaluate('e => e.scrollHeight <= e.clientHeight')
    assert bar.bounding_box()['width'] > 0.9 * page.locator('.trmml').bounding_box()['width'] - 20
    from PIL import Image

    shot = np.asarray(Image.open(io.BytesIO(bar.screenshot())).convert('RGB')).astype(int)
    left, right = (shot[shot.shape[0] // 2, round(share * shot.shape[1])] for share in (0.01, 0.9))
    assert abs(left - (1, 115, 178)).max() < 12, 'what is done is blue'
    assert (right.mean() < 90) == dark, 'what is left has the colour of the page'


def test_nothing_is_answered_that_is_covered(page, reviewer):
    "While the list of keys or the overview lies over the picture, a key only puts the list away."
    w = InBrowser(page, reviewer)
    w.press('?', 'y')
    assert labels(reviewer) == [] and not page.locator('.help').is_visible()
    w.press('?')
    page.get_by_role('button', name='absent', exact=True).click()
    w.settle()
    assert labels(reviewer) == []
    w.press('?', 'Shift', 'Tab')
    assert page.locator('.help').is_visible()
    page.locator('.trmml').focus()
    w.press('?', 'y')
    assert labels(reviewer) == [1] and not w.errors


def test_in_the_overview_no_control_does_nothing(page, inspector):
    w = InBrowser(page, inspector)
    row = inspector.row
    w.press('o', 'y', 'n', 'w', 'ArrowRight', 'ArrowDown', 'z')
    assert inspector.row == row and not inspector.review.answers and page.locator('.overview').is_visible()
    for name in ('previous', 'next', 'zoom'):
        assert page.get_by_role('button', name=name, exact=True).is_disabled(), name
    for name in ('strength of the colours', 'level of the lines'):
        assert page.get_by_label(name).is_disabled(), name
    page.get_by_label('which images').select_option('all')
    page.get_by_text(f'{len(SIZES)} images under "all"').wait_for()
    page.get_by_label('which images').select_option('false positives')
    page.get_by_text('images under "false positives"').wait_for()
    page.get_by_label('go to image').fill(inspector.runs[0].dataset.image_ids[3])
    page.get_by_label('go to image').press('Enter')
    w.settle()
    assert inspector.row == 3 and not page.locator('.overview').is_visible()
    assert page.get_by_role('button', name='next', exact=True).is_enabled()
    w.press('?', 'y')
    assert not inspector.review.answers and not page.locator('.help').first.is_visible() and not w.errors


def test_escape_ends_a_search(page, inspector):
    w = InBrowser(page, inspector)
    count = page.locator('.label').count()
    w.press('/')
    page.keyboard.type('sheep')
    assert page.locator('.label').count() == 1
    w.press('Escape')
    assert page.locator('.label').count() == count and page.get_by_label('search labels').input_value() == ''
    assert page.evaluate("document.activeElement === document.querySelector('.trmml')") and not w.errors


def test_in_the_grid_the_first_key_frames_the_tile_that_it_answers(page, reviewer):
    reviewer.mode, reviewer.category = 'grid', 'sheep'
    w = InBrowser(page, reviewer)
    w.press('y', 'ArrowRight', 'n')
    assert reviewer.marks[:3] == ['present', 'absent', ''] and not w.errors


def test_what_happens_is_said_without_another_drawing(page, reviewer):
    "A file that somebody else has changed: the message names a button, and it is there. A training says that it began."
    w = InBrowser(page, reviewer)
    status, again = page.locator('.trmml-status'), page.get_by_role('button', name='read file again')
    assert not again.is_visible()
    Review(reviewer.review.dataset, reviewer.review.probabilities, reviewer.review.path, 'Bob').correct(0, 0, 1)
    w.press('y')
    assert labels(reviewer) == [] and 'Press "read file again"' in status.inner_text()
    height = page.locator('.trmml').bounding_box()['height']
    again.click()
    w.settle()
    assert '1 answer read' in status.inner_text() and not again.is_visible()
    reviewer.say('training ...')
    w.refresh()
    assert status.inner_text().startswith('training ...; ')
    page.get_by_role('button', name='export the table').click()
    w.settle()
    assert 'written: ' in status.inner_text() and page.locator('.trmml').bounding_box()['height'] <= height


def test_a_probability_is_told_from_its_threshold(page, reviewer):
    "Both read 0.30, and one is below the other."
    row, column = reviewer.page[0].row, reviewer.page[0].column
    reviewer.review.probabilities[row, column] = reviewer.review.threshold[column] - 0.002
    reviewer.ask()
    first = reviewer.page[0]
    limit = reviewer.review.threshold[first.column]
    reviewer.page = [first._replace(probability=limit - 0.002, label=0)]
    reviewer.draw()
    InBrowser(page, reviewer)
    assert (
        f'probability {limit - 0.002:.3f}, threshold {limit:.3f}: the run says absent'
        in page.locator('.facts').inner_text()
    )


# -- the inspector


PAINTED = "() => document.querySelector('.centre canvas').toDataURL()"


def test_keys_of_the_inspector_work_at_once_and_stay_in_it(page, inspector):
    w = InBrowser(page, inspector)
    page.wait_for_function(FOCUS)
    w.press('ArrowRight', 'ArrowRight', 'ArrowLeft')
    assert inspector.row == 1
    first = inspector.label
    w.press('ArrowDown')
    assert inspector.label != first and page.locator('[aria-selected=true] .name').inner_text() == inspector.label
    w.press('Enter', 'ArrowDown', 'Enter', 'ArrowDown')
    assert len(inspector.labels) == 2 and inspector.label not in inspector.labels
    w.press('Shift+ArrowUp', 'Shift+ArrowLeft')
    assert inspector.patch >= 0 and 'Who claims patch' in page.locator('.detail').inner_text()
    assert page.locator('.hint').inner_text().startswith(f'patch {inspector.patch}: ')
    w.press('Escape', 'a', 'x', 'd', 'd', 'b', 'c', 'v', 'm', 'z', '?', '?')
    assert inspector.patch == -1 and page.evaluate('window.outer') == [] and not w.errors
    w.press('/')
    page.keyboard.type('class 77')
    w.press('Enter')
    assert inspector.label == 'class 77' and page.evaluate("document.activeElement.classList.contains('trmml')")
    w.press('ArrowRight')
    assert inspector.row == 2 and page.evaluate('window.outer') == []


def test_fast_keys_are_none_lost(page, inspector):
    w = InBrowser(page, inspector)
    page.evaluate("""() => { for (let k = 0; k < 6; k++) document.querySelector('.trmml').dispatchEvent(
      new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true, cancelable: true})); }""")
    w.settle()
    assert inspector.row == 6


def test_space_shows_the_plain_photograph_while_it_is_held(page, inspector):
    InBrowser(page, inspector)
    page.wait_for_function("document.querySelector('.trmml').dataset.drawn")
    drawn = page.evaluate(PAINTED)
    page.keyboard.down(' ')
    plain = page.evaluate(PAINTED)
    page.keyboard.up(' ')
    assert plain != drawn and page.evaluate(PAINTED) == drawn


def test_each_label_has_a_colour_and_a_place_of_its_own(page, inspector):
    w = InBrowser(page, inspector)
    pictures = [page.evaluate(PAINTED)]
    for _ in range(3):
        w.press('Enter', 'ArrowDown')
        pictures.append(page.evaluate(PAINTED))
    assert len(set(pictures)) == 4 and len(inspector.labels) == 3
    colours = page.evaluate("[...document.querySelectorAll('.dot')].map(d => d.style.background).filter(Boolean)")
    assert len(colours) == len(set(colours)) == 4
    assert (
        page.evaluate("document.querySelector('.link path').getAttribute('d').length") > 10
    )  # from the list to the region


def test_labels_are_searched_sorted_and_sifted(page, inspector):
    w = InBrowser(page, inspector)
    rows, p = page.locator('.label'), inspector.views[0].probabilities
    assert rows.count() == (p >= 0.05).sum() or rows.count() == (p >= 0.05).sum() + 1
    page.get_by_role('button', name='show all 200 labels').click()
    assert rows.count() == 200
    page.get_by_role('button', name='wrong', exact=True).click()
    truth = inspector.views[0].truth
    assert rows.count() == ((p >= 0.3) != (truth == 1))[truth >= 0].sum() == page.locator('.wrong').count()
    page.get_by_role('button', name='present', exact=True).and_(page.locator('.chip')).click()
    assert rows.count() == (truth == 1).sum()
    page.get_by_role('button', name='all', exact=True).click()
    page.get_by_label('search labels').fill('CLASS 19')
    assert set(rows.locator('.name').all_inner_texts()) == {'class 19', *(f'class {k}' for k in range(190, 196))}
    page.get_by_label('search labels').fill('')
    page.get_by_label('order of labels').select_option('by name')
    names = rows.locator('.name').all_inner_texts()
    assert names == sorted(names) or names[0] == NAMES[2]
    inspector.label = 'sheep'
    w.refresh()
    w.settle()
    box, outer = page.locator('[aria-selected=true]').bounding_box(), page.locator('.rows').bounding_box()
    assert (
        outer['y'] - 1 <= box['y'] and box['y'] + box['height'] <= outer['y'] + outer['height'] + 1
    )  # never out of sight


def test_the_chosen_label_stays_in_sight_when_the_window_changes(page, inspector):
    page.set_viewport_size(dict(width=1280, height=1000))
    inspector.label = inspector.names[inspector.views[0].order[14]]  # at the end of the list as it is now
    InBrowser(page, inspector)
    page.get_by_role('button', name='show all 200 labels').click()
    for height in (700, 1000, 720):
        page.set_viewport_size(dict(width=1280, height=height))
        page.wait_for_timeout(200)
        box, outer = page.locator('[aria-selected=true]').bounding_box(), page.locator('.rows').bounding_box()
        assert outer['y'] - 1 <= box['y'] and box['y'] + box['height'] <= outer['y'] + outer['height'] + 1, height


@pytest.mark.parametrize('width', [1280, 800, 400])
@pytest.mark.parametrize('which', ['inspector', 'overview', 'thresholds'])
def test_a_long_name_has_the_width_of_the_list(page, inspector, thresholds, which, width):
    "Sixty letters stand in two lines or three, whatever is said beside them: a sign, the word wrong, bar and number."
    page.set_viewport_size(dict(width=width, height=1000))
    if which != 'thresholds':
        k = NAMES.index(NAMES[2])
        inspector.runs[0].dataset.truth[:, k] = 1
        inspector.runs[0].probabilities[:, k] = 0.1  # wrong everywhere
        inspector.row = 1
        inspector.label = NAMES[2]
    w = InBrowser(page, thresholds if which == 'thresholds' else inspector)
    if which == 'overview':
        w.press('o')
        for pair in page.locator('.pairs .line').all():  # its count stands beside it
            said, count = (pair.locator(part).bounding_box() for part in ('.name', '.p'))
            assert count['y'] < said['y'] + said['height'] and said['x'] + said['width'] <= count['x']
    name = page.locator('.rows .name' if which != 'overview' else '.scores .name', has_text=NAMES[2]).first
    row = name.locator('xpath=..')
    assert which != 'inspector' or 'wrong' in row.inner_text()
    lines = name.evaluate('e => e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight)')
    assert round(lines) <= 3, lines
    box, outer = name.bounding_box(), row.bounding_box()
    assert box['width'] > 0.75 * outer['width']
    assert page.locator('.trmml').evaluate(UNREADABLE) == [] and not w.errors


@pytest.mark.parametrize('width', [1280, 800, 400])
def test_all_details_of_a_label_are_seen_without_scrolling(page, inspector, width):
    page.set_viewport_size(dict(width=width, height=1200))
    w = InBrowser(page, inspector)
    detail = page.locator('.detail')
    assert detail.evaluate('e => e.scrollHeight <= e.clientHeight + 1')
    w.press('w')
    box, outer = page.locator('.near figure').first.bounding_box(), detail.bounding_box()
    assert box['y'] + box['height'] <= outer['y'] + outer['height'] + 1  # what was asked for is seen


def test_hover_lights_who_claims_a_patch(page, inspector):
    InBrowser(page, inspector)
    page.locator('.centre canvas').hover()
    page.locator('.hint').wait_for()
    assert '%' in page.locator('.hint').inner_text()


def test_the_inspector_does_not_jump_and_is_fast_with_200_labels(page, inspector):
    "The time of the processor, in Python and in the page's main thread: what else the machine does is not counted."
    w = InBrowser(page, inspector)
    measured = page.context.new_cdp_session(page)
    measured.send('Performance.enable', dict(timeDomain='threadTicks'))
    busy = lambda: {m['name']: m['value'] for m in measured.send('Performance.getMetrics')['metrics']}['TaskDuration']
    heights, costs = set(), []
    for k in range(len(SIZES) - 1):
        heights.add(page.locator('.trmml').bounding_box()['height'])
        before = np.array([w.answering, busy()])
        w.press('ArrowRight')
        costs.append(1000 * (np.array([w.answering, busy()]) - before))
    python, script = np.median(costs, axis=0)
    print(f'next image at 200 labels: {python:.0f} ms in Python and {script:.0f} ms in the page')
    assert inspector.row == len(SIZES) - 1 and len(heights) == 1
    assert python + script < 125  # the goal is 100 ms; the page also has to decode what this test sends as text
    box, pixels = (
        page.locator('.centre canvas').bounding_box(),
        page.evaluate("(c => [c.width, c.height])(document.querySelector('.centre canvas'))"),
    )
    assert box['height'] > 500 and abs(pixels[0] - 2 * box['width']) <= 2


def test_a_label_is_corrected_where_it_is_seen(page, inspector):
    w = InBrowser(page, inspector)
    review, label = inspector.review, inspector.label
    page.wait_for_function(FOCUS)
    w.press('y')
    assert [(a.image, a.category, a.label) for a in review.answers] == [('picture 0.jpg', label, 1)]
    assert page.locator('.sign.yours').count() == 1 and 'you say' in page.locator('.detail').inner_text()
    w.press('n')
    assert [a.label for a in review.answers] == [0]  # one answer about one label
    w.press('n')
    assert review.answers == [] and page.locator('.sign.yours').count() == 0
    page.get_by_role('button', name='absent', exact=True).click()
    w.settle()
    w.press('ArrowRight', 'ArrowRight', 'u')  # undone where it was said, and that is shown
    assert review.answers == [] and (inspector.row, inspector.label) == (0, label)
    assert 'taken back' in page.locator('.trmml-status').inner_text() and page.evaluate('window.outer') == []
    page.evaluate("""() => { for (const key of ['ArrowRight', 'y']) document.querySelector('.trmml').dispatchEvent(
      new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true})); }""")
    w.settle()
    assert [a.image for a in review.answers] == ['picture 0.jpg'], 'a quick key counts for the picture that is seen'


def test_why_shows_known_regions_and_prototypes(page, inspector):
    w = InBrowser(page, inspector)
    w.press('w')
    near, reason = page.locator('.near figure'), inspector.reasons(0, inspector.names.index(inspector.label))
    assert near.count() == len(reason.neighbours) > 2
    said = near.locator('figcaption').all_inner_texts()
    assert [float(t.split()[-1]) for t in said] == [round(n.cosine, 2) for n in reason.neighbours]
    assert [('present' in t) for t in said] == [n.label == 1 for n in reason.neighbours]
    assert 'Nearest texts' in page.locator('.detail').inner_text()
    w.press('ArrowDown')
    assert near.count() == 0 and not w.errors  # it was about another label


def test_the_overview_opens_what_it_shows(page, inspector):
    w = InBrowser(page, inspector)
    height = page.locator('.trmml').bounding_box()['height']
    w.press('o')
    board = page.locator('.overview')
    assert board.is_visible() and page.locator('.trmml').bounding_box()['height'] == height
    assert board.locator('.brick').count() == len(SIZES) and board.locator('.scores .line').count() == 200
    shown = [t for t in board.locator('.scores .p').all_inner_texts() if t != '–']
    assert [float(t) for t in shown] == sorted(float(t) for t in shown)  # weakest first
    said, there = board.locator('.pairs strong').all_inner_texts()[:2]
    board.locator('.pairs .line').first.click()
    w.settle()
    assert not board.is_visible() and (inspector.filter, inspector.category) == ('false positives', said)
    there = inspector.names.index(there)
    assert (inspector.runs[0].reference[inspector.ranking.rows, there] == 1).all()
    page.get_by_role('button', name=f'with {inspector.beside}').click()
    w.settle()
    assert inspector.beside == '' and page.evaluate(FOCUS)
    w.press('o')
    board.locator('.brick').nth(1).click()
    w.settle()
    assert inspector.row == inspector.ranking.rows[1]
    w.press('o', 'Escape')
    assert not board.is_visible() and page.evaluate('window.outer') == [] and not w.errors


@pytest.fixture
def thresholds():
    from trmml_nb.people.threshold_widget import ThresholdWidget

    r = np.random.default_rng(0)
    truth = (r.random((300, 4)) < 0.3).astype(int)
    p = 1 / (1 + np.exp(-r.normal(np.where(truth, 1.5, -1.5), 1)))
    known = np.where(r.random(truth.shape) < 0.5, truth, -1)
    kept = []
    note = 'Drawn labels: what is chosen on them is no longer measured by them.'
    live = ThresholdWidget(p, known, NAMES, [0.5, 0.4, 0.313, 0.5], lambda t: kept.append(t) or 'a list', note=note)
    live.kept = kept
    return live


def test_a_threshold_is_dragged_or_stepped_and_saved(page, thresholds):
    w = InBrowser(page, thresholds)
    page.wait_for_function(FOCUS)
    facts = lambda: page.locator('.body > table').inner_text()
    percent = lambda m, name: f'{100 * m[name]:.1f} %'
    for press in ((), ('ArrowLeft',), ('Shift+ArrowLeft',), ('ArrowDown', 'ArrowDown'), ('b',)):
        w.press(*press)
        m = thresholds.measures()
        assert page.locator('[aria-selected=true] .name').inner_text() == thresholds.category
        assert percent(m, 'precision') in facts() and percent(m, 'recall') in facts() and percent(m, 'F1') in facts()
        assert str(m['proposed']) in facts() and f'of {m["blanks"]} blanks' in facts()
    assert thresholds.category == NAMES[2] and thresholds.kept == []
    best = thresholds.measures()['F1']
    w.press('r')
    assert thresholds.thresholds[2] == 0.313 and thresholds.measures()['F1'] <= best
    box = page.locator('.chart canvas').bounding_box()
    page.mouse.move(box['x'] + 0.2 * box['width'], box['y'] + 60)
    page.mouse.down()
    page.mouse.move(box['x'] + 0.7 * box['width'], box['y'] + 60, steps=4)
    page.mouse.up()
    w.settle()
    assert abs(thresholds.thresholds[2] - 0.7) < 0.02
    assert page.get_by_role('button', name='save 2 thresholds').is_enabled()
    w.press('Enter')
    assert len(thresholds.kept) == 1 and thresholds.kept[0].tolist() == thresholds.thresholds
    assert 'saved: a list' in page.locator('.trmml-status').inner_text()
    assert page.get_by_role('button', name='nothing to save').is_disabled()
    assert page.evaluate('window.outer') == [] and not w.errors


def test_a_category_is_searched_among_two_hundred(page):
    from trmml_nb.people.threshold_widget import ThresholdWidget

    r = np.random.default_rng(0)
    names = [*NAMES, *(f'class {k}' for k in range(196))]
    live = ThresholdWidget(r.random((60, 200)), r.integers(-1, 2, (60, 200)), names, [0.5] * 200)
    w = InBrowser(page, live)
    page.wait_for_function(FOCUS)
    seen = lambda: [t for t in page.locator('.rows .label:visible .name').all_inner_texts()]
    assert len(seen()) == 200
    w.press('/')
    page.keyboard.type('CLASS 19')
    assert seen() == ['class 19', *(f'class {k}' for k in range(190, 196))]
    w.press('Enter')
    assert live.category == 'class 19' and page.evaluate("document.activeElement.classList.contains('trmml')")
    w.press('ArrowDown', 'ArrowDown', 'ArrowLeft')
    assert live.category == 'class 191' and live.thresholds[195] < 0.5
    w.press('ArrowUp', 'ArrowUp', 'ArrowUp')
    assert live.category == 'class 19'
    w.press('/', 'Escape')
    assert len(seen()) == 200 and page.get_by_label('search categories').input_value() == ''
    box, outer = page.locator('[aria-selected=true]').bounding_box(), page.locator('.rows').bounding_box()
    assert outer['y'] - 1 <= box['y'] and box['y'] + box['height'] <= outer['y'] + outer['height'] + 1
    before = list(live.thresholds)
    w.press('?', 'ArrowLeft')
    assert live.thresholds == before and not page.locator('.help').is_visible()
    assert page.evaluate('window.outer') == [] and not w.errors


@pytest.mark.parametrize('dark', [False, True])
def test_thresholds_are_readable_at_every_width(page, thresholds, dark):
    w = InBrowser(page, thresholds, dark)
    for width in (1280, 800, 400, 300):  # the last is JupyterLab's cell on a phone
        page.set_viewport_size(dict(width=width, height=900))
        page.wait_for_timeout(150)
        assert page.locator('.trmml').evaluate(UNREADABLE) == [], width
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert page.evaluate(UNNAMED) == [] and not w.errors


# -- controls, by mouse and by keyboard


def test_after_a_control_was_used_by_mouse_keys_are_for_the_widget(page, inspector):
    "A filter, a slider, a tick: the arrow after it goes to the next image, and changes neither."
    inspector.runs[0].dataset.images[0].object_masks = lambda: np.ones((200, 8, 8), bool)
    inspector.row = 1
    inspector.row = 0
    w = InBrowser(page, inspector)
    choice, slider = page.get_by_label('which images'), page.get_by_label('strength of the colours')
    choice.dispatch_event('pointerdown')
    choice.select_option('disagreements')
    w.settle()
    first, filter = inspector.row, inspector.filter
    w.press('ArrowRight', 'y')
    assert filter == inspector.filter == 'disagreements' and inspector.row == inspector.ranking.rows[1] != first
    assert len(inspector.review.answers) == 1
    box = slider.bounding_box()
    page.mouse.click(box['x'] + 0.8 * box['width'], box['y'] + box['height'] / 2)
    w.settle()
    strength = inspector.opacity
    w.press('ArrowRight')
    assert strength == inspector.opacity > 0.6 and inspector.row == inspector.ranking.rows[2]
    assert page.evaluate('window.outer') == [] and not w.errors


def test_controls_are_used_by_keyboard_where_they_have_the_focus(page, inspector):
    inspector.runs[0].dataset.images[0].object_masks = lambda: np.ones((200, 8, 8), bool)
    inspector.row = 1
    inspector.row = 0
    w = InBrowser(page, inspector)
    page.wait_for_function(FOCUS)
    tick = page.get_by_label('true outline')
    assert inspector.outline and tick.is_visible()
    tick.focus()
    w.press(' ')
    assert not inspector.outline and not tick.is_checked() and tick.evaluate('e => e === document.activeElement')
    slider = page.get_by_label('level of the lines')
    slider.focus()
    w.press('ArrowRight', 'ArrowRight')
    assert abs(inspector.level - 0.6) < 1e-6 and inspector.row == 0
    w.press('Escape', 'ArrowRight')
    assert inspector.row == 1 and page.evaluate('window.outer') == [] and not w.errors


def test_the_reviewers_controls_are_used_by_keyboard_and_by_mouse(page, reviewer):
    w = InBrowser(page, reviewer)
    page.wait_for_function(FOCUS)
    category = page.get_by_label('category', exact=True)
    category.focus()
    w.press('ArrowDown', 'ArrowDown')  # it keeps the focus while somebody steps through it
    assert reviewer.category == NAMES[1] and category.evaluate('e => e === document.activeElement')
    category.dispatch_event('pointerdown')
    category.select_option(NAMES[3])
    w.settle()
    w.press('y')  # an answer, not a choice of the list
    assert [a.category for a in reviewer.review.answers] == [NAMES[3]] and reviewer.category == NAMES[3]
    page.get_by_role('button', name='train again').click()
    w.settle()
    about = page.locator('.changes summary')
    about.focus()
    w.press('Enter')
    assert page.locator('.changes').get_attribute('open') is None
    w.press('Enter')
    assert page.locator('.changes').get_attribute('open') is not None and not w.errors


# -- what both owe to eyes and to screen readers


PLACES = """() => [...document.querySelectorAll('.trmml, .trmml *')].map(e => {
  const b = e.getBoundingClientRect(), s = getComputedStyle(e);
  return [e.tagName, e.className, b.x, b.y, b.width, b.height, s.padding, s.fontSize, s.opacity].join(); })"""


@pytest.mark.parametrize('which', ['reviewer', 'inspector', 'thresholds'])
def test_a_widget_looks_the_same_beside_others(page, which, request):
    "Each brings the common style sheet again; whichever comes last must change nothing."
    from trmml_nb.people.inspector_widget import STAGE_CSS

    w = InBrowser(page, request.getfixturevalue(which))
    if which == 'inspector':
        w.press('o')
    alone = page.evaluate(PLACES)
    page.add_style_tag(content=STAGE_CSS)
    assert page.evaluate(PLACES) == alone


@pytest.mark.parametrize('dark', [False, True])
@pytest.mark.parametrize('mode', ['single', 'grid'])
def test_the_reviewer_is_readable_at_every_width(page, reviewer, mode, dark):
    reviewer.mode, reviewer.category = 'single', NAMES[2]
    reviewer.answer('present')
    reviewer.answer('absent')
    reviewer.mode, reviewer.category = mode, ''
    w = InBrowser(page, reviewer, dark)
    w.press('n')
    for width in (1280, 800, 400, 300):  # the last is JupyterLab's cell on a phone
        page.set_viewport_size(dict(width=width, height=900))
        page.wait_for_timeout(150)
        assert page.locator('.trmml').evaluate(UNREADABLE) == [], width
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert not w.errors


@pytest.mark.parametrize('mode', ['single', 'grid'])
def test_the_reviewer_speaks_to_screen_readers(page, reviewer, mode):
    reviewer.mode = mode
    InBrowser(page, reviewer)
    assert page.evaluate(UNNAMED) == [] and page.locator('[aria-live=polite]').count() == 1
    assert page.evaluate(STOPS) <= 20, 'a person with a keyboard has to pass all of them'


@pytest.mark.parametrize('dark', [False, True])
def test_the_inspector_is_readable_at_every_width(page, inspector, dark):
    w = InBrowser(page, inspector, dark)
    w.press('Shift+ArrowUp', 'y', 'w')
    for width in (1280, 800, 400, 300):  # the last is JupyterLab's cell on a phone
        page.set_viewport_size(dict(width=width, height=900))
        page.wait_for_timeout(150)
        assert page.locator('.trmml').evaluate(UNREADABLE) == [], width
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert not w.errors


def test_the_inspector_speaks_to_screen_readers(page, inspector):
    InBrowser(page, inspector)
    page.get_by_role('button', name='show all 200 labels').click()
    assert page.evaluate(UNNAMED) == [] and page.locator('[aria-live=polite]').count() == 1
    assert page.evaluate(STOPS) <= 25, 'a person with a keyboard has to pass all of them'
    image = inspector.views[0].image_id
    assert image in page.locator('.centre canvas').get_attribute('aria-label')


def test_names_stay_text_in_the_inspector(page):
    from trmml_nb.people.inspector_widget import InspectorWidget

    evil = ['<img src=x onerror="window.hacked=1">', '</script><script>window.hacked=1</script>', '"\'&amp;']
    live = InspectorWidget(
        fake_inspection(evil, SIZES[:4], name=evil[0]), other=fake_inspection(evil, SIZES[:4], name=evil[1])
    )
    w = InBrowser(page, live)
    w.press('ArrowRight', 'ArrowDown', 'Enter', 'Shift+ArrowUp')
    page.locator('.centre canvas').first.hover()
    assert page.evaluate('window.hacked') is None and page.locator('img').count() == 0 and not w.errors
    assert '<img src=x' in page.locator('.trmml').inner_text()


def test_names_of_categories_and_files_stay_text(page, tmp_path):
    from trmml_nb.people.review_widget import ReviewWidget

    evil = ['<img src=x onerror="window.hacked=1">', '</script><script>window.hacked=1</script>', '"\'&amp;']
    seen = fake_inspection(evil, SIZES[:4], known=0.0)
    live = ReviewWidget(
        Review(seen.dataset, seen.probabilities, tmp_path / 'a.csv', evil[0], evil[1]), seen, lambda t: seen
    )
    w = InBrowser(page, live)
    w.press('y', 'n', 's')
    page.get_by_role('button', name='train again').click()
    w.settle()
    live.mode = 'grid'
    w.refresh()
    w.press('ArrowRight', 'y', 'Enter')
    assert page.evaluate('window.hacked') is None and page.locator('img').count() == 0 and not w.errors
    assert '<img src=x' in page.locator('.trmml').inner_text()


@pytest.mark.parametrize('which', ['reviewer', 'inspector'])
def test_a_kernel_that_does_not_answer_is_said(page, which, request):
    w = InBrowser(page, request.getfixturevalue(which))
    banner = page.locator('.trmml .banner')
    page.clock.install()  # the page's own time, which is then moved on
    w.press('ArrowRight', 's')
    page.clock.fast_forward(5200)
    assert not banner.is_visible()
    page.evaluate(
        '() => { window.toPython = () => new Promise(() => {}); }'
    )  # a function that is returned would be called
    page.keyboard.press('ArrowRight' if which == 'inspector' else 'y')
    page.clock.fast_forward(5200)
    banner.wait_for()
    assert 'run this cell again' in banner.inner_text()


@pytest.mark.parametrize('which', ['reviewer', 'inspector'])
def test_a_kernel_that_is_restarted_is_said_at_once_and_taken_back_if_it_answers(page, which, request):
    w = InBrowser(page, request.getfixturevalue(which))
    banner = page.locator('.trmml .banner')
    page.evaluate("window.fire('comm_live_update')")
    w.settle()
    assert not banner.is_visible() and w.heard[-1] == {'kind': 'ping'}  # it lives after all
    page.evaluate('() => { window.toPython = () => new Promise(() => {}); }')
    page.evaluate("window.fire('comm_live_update')")
    assert banner.is_visible()  # nobody has pressed anything, and nobody has waited


def test_an_overview_that_was_open_before_is_seen_in_another_view(page, inspector):
    "After a reload, and in a second view, what Python says anew is the same: no change, and yet something is seen."
    w = InBrowser(page, inspector)
    w.press('o')
    assert page.locator('.overview .brick').count() > 0
    page.evaluate(
        "() => { const at = document.getElementById('at'); at.replaceWith(Object.assign(document.createElement('div'), { id: 'at' })); }"
    )
    again = InBrowser.__new__(InBrowser)
    again.__dict__ |= w.__dict__
    page.evaluate(START, [str(inspector._esm), str(inspector._css), w.before])
    page.wait_for_function("document.querySelector('[data-drawn]')")
    again.press('o')
    assert page.locator('.overview .brick').count() > 0 and not w.errors


def test_space_that_is_let_go_elsewhere_gives_the_maps_back(page, inspector):
    InBrowser(page, inspector)
    page.wait_for_function(FOCUS)
    pixels = lambda: page.locator('.centre canvas').first.evaluate('c => c.toDataURL()')
    before = pixels()
    page.keyboard.down(' ')
    assert pixels() != before
    page.evaluate('document.activeElement.blur()')
    assert pixels() == before
    page.keyboard.up(' ')


@pytest.mark.parametrize('width', [400, 1280])
def test_names_on_the_picture_are_never_cut_by_its_edge(page, inspector, width):
    "A name that is wider than the picture is shortened and says so; all that is written lies within the canvas."
    page.set_viewport_size(dict(width=width, height=900))
    page.add_init_script("""window.written = []; const write = CanvasRenderingContext2D.prototype.fillText;
      CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        window.written.push([text, x, x + this.measureText(text).width, this.canvas.clientWidth]);
        return write.call(this, text, x, y); };""")
    page.reload()
    inspector.label = NAMES[2]
    inspector.labels = [NAMES[0]]
    w = InBrowser(page, inspector)
    written = page.evaluate('window.written')
    assert any(text == NAMES[0] for text, *_ in written) and not w.errors
    long = {text for text, *_ in written if text.startswith('a cat')}
    assert long == {NAMES[2]} if width > 400 else all(text.endswith('\u2026') and len(text) > 30 for text in long)
    assert all(0 <= left and right <= room for _, left, right, room in written)
