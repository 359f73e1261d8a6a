// One reviewer on a page is `v`: its model and elements, the tiles of the page and the marks on them.
const REVIEWER_KEYS = [
  ['Y', 'present'],
  ['N', 'absent'],
  ['S', 'skip'],
  ['U', 'undo'],
  ['Z', 'zoom'],
  ['Enter', 'save the page of tiles'],
  ['arrows', 'move among tiles; with Shift, mark as the tile you come from'],
  ['Shift + click', 'mark all tiles up to there'],
  ['Escape', 'back from a control; then Tab leaves the widget'],
  ['?', 'close this'],
];
const content = v => v.model.get('content');
const isGrid = v => v.model.get('mode') === 'grid';
const send = (v, kind, more = {}) => v.speak({ kind, drawn: v.model.get('drawn'), marks: v.marks, ...more });
const focused = v => v.tiles.indexOf(document.activeElement);
const say = (v, answer) => {
  if (!isGrid(v)) send(v, 'answer', { answer });
  else if (v.tiles.length) {
    const at = Math.max(focused(v), 0);
    v.tiles[at].focus({ preventScroll: true }); // the answer and the next arrow are about the tile that is framed
    mark(v, at, answer);
  }
};

// -- what stands around the question
const choiceOf = (v, label, options, name) => {
  const box = make(
    'select',
    { 'aria-label': label, onchange: () => send(v, 'choose', { [name]: box.value }) },
    ...options.map(([text, value]) => make('option', { value }, text)),
  );
  const take = () => {
    box.value = v.model.get(name);
  };
  v.model.on(`change:${name}`, take);
  take();
  return box;
};
const choices = v => {
  const { given } = content(v),
    word = given ? 'given' : 'proposed';
  const ways = [
      ['one picture', 'single'],
      ['many pictures', 'grid'],
    ],
    categories = [['any category', ''], ...v.model.get('names').map(n => [n, n])],
    kinds = [
      [given ? 'all doubtful labels' : 'all blanks', 'any'],
      [`${word} present`, 'present'],
      [`${word} absent`, 'absent'],
    ];
  return [
    choiceOf(v, 'how to ask', ways, 'mode'),
    choiceOf(v, 'category', categories, 'category'),
    choiceOf(v, 'proposed', kinds, 'proposed'),
  ];
};
const buttons = v => ({
  yes: button('present', 'Y', () => act(v, 'y')),
  no: button('absent', 'N', () => act(v, 'n')),
  skip: button('skip', 'S', () => act(v, 's')),
  undo: button('undo', 'U', () => send(v, 'undo')),
  zoom: button('zoom', 'Z', () => act(v, 'z')),
  ask: button('keys', '?', () => act(v, '?')),
  save: button('', 'Enter', () => send(v, 'save')),
  retrain: button('train again', '', () => send(v, 'retrain')),
  reread: button('read file again', '', () => send(v, 'reread')),
  table: button('export the table', '', () => send(v, 'export')),
  later: button('ask skipped ones again', '', () => send(v, 'reopen')),
});
const parts = v => {
  const canvas = make('canvas', { role: 'img' }),
    slider = make('input', {
      type: 'range',
      min: 0,
      max: 1,
      step: 1,
      'aria-label': 'line between present and absent tiles',
      oninput: e => cut(v, +e.target.value),
    });
  return {
    canvas,
    slider,
    stage: new Stage(canvas),
    picture: make('div', { className: 'trmml-stage one' }, canvas),
    question: make('h3', { className: 'question' }),
    facts: make('div', { className: 'facts soft small' }),
    board: make('div', { className: 'board', role: 'group', 'aria-label': 'pictures to answer' }),
    live: make('div', { className: 'trmml-status small', role: 'status', 'aria-live': 'polite' }),
    progress: make('progress', { max: 1, value: 0, 'aria-label': 'answered' }),
    recent: make('ol', { className: 'recent small' }),
    changes: make('details', { className: 'changes', hidden: true }),
    cutter: make('label', { className: 'small cutter' }, 'present before the line', slider, 'absent after it'),
    help: helpOf(REVIEWER_KEYS),
  };
};
const build = v => {
  const { el } = v;
  el.classList.add('trmml', 'trmml-reviewer');
  el.setAttribute('role', 'group');
  el.setAttribute('aria-label', `reviewer: ${content(v).given ? 'judge given labels' : 'answer what is blank'}`);
  el.replaceChildren(
    banner(' What you answered before is saved.'),
    make(
      'div',
      { className: 'screen' }, // what is needed for an answer: it fits the window, and the pictures get what is left
      make(
        'div',
        { className: 'row choices' },
        ...choices(v),
        make('span', { className: 'push row' }, v.retrain, v.table, v.ask),
      ),
      make('div', { className: 'row head' }, v.question, v.facts),
      make('div', { className: 'body' }, v.picture, v.board, v.help),
      make(
        'div',
        { className: 'row actions' },
        ...[v.yes, v.no, v.skip, v.undo, v.zoom, v.cutter, v.save, v.later, v.reread],
      ),
      row(v.progress, v.live),
    ),
    v.recent,
    v.changes,
  );
};

// -- marks on tiles
const paint = v => {
  v.tiles.forEach((tile, i) => {
    const { image, p } = content(v).tiles[i],
      word = v.marks[i] || 'not answered';
    tile.dataset.mark = v.marks[i];
    tile.lastChild.textContent = word;
    tile.setAttribute('aria-label', `${image}: ${word}, probability ${p.toFixed(2)}`);
  });
  const count = kind => v.marks.filter(m => m === kind).length,
    said = ['present', 'absent', 'skip'].filter(count).map(k => `${count(k)} ${k === 'skip' ? 'skipped' : k}`);
  v.save.firstChild.textContent = said.length ? `${said.join(', ')}: save` : 'nothing answered yet';
  v.save.disabled = !said.length;
  v.save.title = count('') ? `${count('')} stay open` : '';
};
const remark = v => {
  content(v).marks = [...v.marks]; // a view that is opened later begins with them
  send(v, 'marks');
  paint(v);
};
const follow = (v, { drawn, marks }) => {
  // tiles were marked in another view of this widget
  if (drawn !== v.model.get('drawn') || marks.length !== v.tiles.length) return;
  v.marks = [...marks];
  content(v).marks = [...marks];
  paint(v);
};
const mark = (v, i, answer) => {
  v.marks[i] = v.marks[i] === answer ? '' : answer;
  v.last = i;
  remark(v);
};
const cut = (v, k) => {
  v.marks = v.marks.map((_, i) => (i < k ? 'present' : 'absent'));
  remark(v);
};
const range = (v, to, answer) => {
  // from the tile that was marked last up to this one
  if (v.last < 0) return mark(v, to, answer);
  v.marks.fill(answer, Math.min(v.last, to), Math.max(v.last, to) + 1);
  v.last = to;
  remark(v);
};
const TURN = { '': 'present', present: 'absent', absent: 'skip', skip: '' };
const tileOf = (v, i) => {
  const face = make('canvas');
  const tile = make(
    'button',
    {
      type: 'button',
      className: 'tile',
      tabIndex: i ? -1 : 0,
      onclick: e => {
        e.stopPropagation();
        tile.focus({ preventScroll: true });
        if (e.shiftKey) range(v, i, v.marks[v.last] || 'present');
        else mark(v, i, TURN[v.marks[i]]);
      },
    },
    face,
    make('span', {}, ''),
  );
  tile.stage = new Stage(face);
  tile.layers = layer(v, i);
  return tile;
};
const step = (v, key, extend) => {
  // among the tiles
  const from = focused(v),
    columns = Math.max(1, Math.round(v.board.clientWidth / (v.tiles[0].offsetWidth + 8))),
    by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key],
    to = from < 0 ? 0 : clamp(from + by, 0, v.tiles.length - 1);
  if (extend && from >= 0 && v.marks[from]) {
    v.last = from;
    range(v, to, v.marks[from]);
  }
  v.tiles.forEach((t, i) => {
    t.tabIndex = i === to ? 0 : -1;
  });
  v.tiles[to].focus({ preventScroll: true });
  v.tiles[to].scrollIntoView({ block: 'nearest' });
};

// -- what is drawn
const layer = (v, i) => {
  const map = v.model.get('maps')[i],
    { grid, tiles, threshold } = content(v);
  if (!map || !map.byteLength) return [];
  const m = new Uint8Array(map.buffer, map.byteOffset, map.byteLength),
    alpha = tiles[i].p >= threshold ? 1 : 0.35; // where it is not said to be, its place is a faint one
  return [{ fine: finer(m, grid), color: SHADES[0], width: 2.5, peak: highest(m, grid), alpha }];
};
const redraw = v => {
  if (!isGrid(v)) v.stage.draw({ layers: layer(v, 0) });
  else v.tiles.forEach(t => t.stage.draw({ layers: t.layers }));
};
const tell = v => {
  // what happened, and where the review stands
  const now = content(v),
    stands = `${now.answered} answered, ${now.skipped} skipped, ${now.left} of ${now.total} left`;
  v.progress.max = Math.max(now.total, 1);
  v.progress.value = now.answered + now.skipped;
  v.live.textContent = [now.message, now.trouble, stands, now.precision].filter(Boolean).join('; ');
  v.reread.hidden = !now.reread;
};
const factsOf = v => {
  const { tiles, threshold, given } = content(v);
  if (!tiles.length) return [];
  if (isGrid(v)) return [`threshold ${threshold.toFixed(2)}; the most probable first`];
  const [{ image, p, says }] = tiles;
  return [
    bar(p, threshold),
    make('span', { className: 'name' }, ` ${image}: `),
    `probability ${apart(p, threshold).join(', threshold ')}: the ${given ? 'table' : 'run'} says ${says}`,
  ];
};
const answerOf = (v, a) =>
  make(
    'li',
    {},
    ...(a
      ? [button('undo', '', () => send(v, 'undo', { step: a.step }), `take back: ${a.text}`), ` ${a.text}`]
      : ['\u00a0']),
  );
const showWords = v => {
  const now = content(v),
    cells = (values, head) => values.map(value => make(head ? 'th' : 'td', {}, value));
  v.question.replaceChildren(
    make('span', {}, ...now.question.map(([text, strong]) => (strong ? make('strong', {}, text) : text))),
  );
  const longest = v.model.get('names').reduce((a, b) => (b.length > a.length ? b : a), '');
  v.question.dataset.longest = isGrid(v) ? `Which of these show an ${longest}?` : `Is there an ${longest}?`;
  v.facts.replaceChildren(...factsOf(v));
  tell(v);
  v.recent.replaceChildren(...Array.from({ length: 5 }, (_, i) => answerOf(v, now.recent[i])));
  v.changes.hidden = !now.changes.length;
  v.changes.open = true;
  v.changes.replaceChildren(
    make('summary', {}, 'What the last training changed on the open blanks'),
    ...(now.learned ? [make('p', { className: 'learned' }, now.learned)] : []),
    make('table', {}, ...now.changes.map((values, k) => make('tr', {}, ...cells(values, !k)))),
  );
};
const showParts = v => {
  // what can be pressed now
  const now = content(v),
    many = isGrid(v);
  for (const b of [v.yes, v.no, v.skip, v.zoom]) b.disabled = !now.tiles.length;
  v.zoom.hidden = v.picture.hidden = many;
  v.save.hidden = v.cutter.hidden = v.board.hidden = !many;
  v.retrain.hidden = !now.retrain;
  v.later.hidden = !now.skipped;
};
const showOne = async v => {
  const { tiles, question } = content(v),
    some = tiles.length > 0;
  v.canvas.setAttribute(
    'aria-label',
    some ? `${tiles[0].image}: ${question.map(q => q[0]).join('')}` : 'nothing to answer',
  );
  if (!some) v.stage.bitmap = null;
  if (!some || (await v.stage.load(v.model.get('pictures')[0]))) v.stage.draw({ layers: some ? layer(v, 0) : [] });
};
const showMany = async v => {
  const { tiles, threshold } = content(v),
    pictures = v.model.get('pictures');
  v.slider.max = tiles.length;
  v.slider.value = tiles.filter(t => t.p >= threshold).length;
  v.tiles = tiles.map((_, i) => tileOf(v, i));
  v.board.replaceChildren(...v.tiles);
  paint(v);
  const load = async (t, i) => (await t.stage.load(pictures[i])) && t.stage.draw({ layers: t.layers });
  await Promise.all(v.tiles.map(load));
};
const draw = async v => {
  const { question, tiles } = content(v),
    page = JSON.stringify([question, tiles.map(t => t.image)]),
    turned = page !== v.page, // another page begins at its first tile
    at = turned ? Math.min(focused(v), 0) : focused(v),
    many = isGrid(v),
    had = v.el.contains(document.activeElement) && !typing(document.activeElement);
  v.el.dataset.mode = v.model.get('mode');
  showWords(v);
  showParts(v);
  Object.assign(v, { last: -1, marks: [...content(v).marks], tiles: [] });
  v.stage.zoom = 1;
  v.page = page;
  await (many ? showMany(v) : showOne(v));
  if (turned) v.board.scrollTop = 0;
  if (had) {
    const next = many && at >= 0 && v.tiles[Math.min(at, v.tiles.length - 1)];
    (next || v.el).focus({ preventScroll: true });
  }
  v.el.dataset.drawn = v.model.get('drawn');
};

// -- keys
const zoom = v => {
  if (isGrid(v) || !v.stage.bitmap) return;
  const [first] = layer(v, 0);
  v.stage.zoom = v.stage.zoom > 1 ? 1 : 2.5;
  v.stage.centre = first ? first.peak : [0.5, 0.5];
  redraw(v);
};
const ANSWERS = { y: 'present', n: 'absent', s: 'skip' };
const act = (v, key, e = {}) => {
  const known = ['u', 'z', '?', 'Escape', 'Enter'].includes(key) || key.startsWith('Arrow');
  if (!known && !Object.hasOwn(ANSWERS, key)) return false;
  if (!v.help.hidden && key !== '?') v.help.hidden = true; // a question that is covered is never answered
  else if (Object.hasOwn(ANSWERS, key)) {
    if (!e.repeat) say(v, ANSWERS[key]);
  } else if (key === 'u') {
    if (!e.repeat) send(v, 'undo');
  } else if (key === 'z') zoom(v);
  else if (key === '?') v.help.hidden = !v.help.hidden;
  else if (key === 'Enter') {
    if (isGrid(v) && !v.save.disabled && !e.repeat) send(v, 'save');
  } else if (isGrid(v) && v.tiles.length && key !== 'Escape') step(v, key, e.shiftKey);
  return true;
};
function render({ model, el }) {
  const v = { model, el, speak: speaker(model, el), marks: [], tiles: [], last: -1 };
  Object.assign(v, parts(v), buttons(v));
  build(v);
  const stop = [atHome(el, (key, e) => act(v, key, e)), v.stage.watch(() => redraw(v))],
    heard = { drawn: () => draw(v), content: () => tell(v), echo: () => v.speak.others(m => follow(v, m)) };
  for (const [name, f] of Object.entries(heard)) model.on(`change:${name}`, f);
  draw(v);
  return () => {
    for (const [name, f] of Object.entries(heard)) model.off(`change:${name}`, f);
    stop.forEach(f => f());
  };
}
export default { render };
