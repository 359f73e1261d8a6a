function render({ model, el }) {
  let marks = [],
    tiles = [],
    last = -1,
    line = null,
    stop = [];
  const c = () => model.get('content'),
    grid = () => model.get('mode') === 'grid',
    names = model.get('names');
  const speak = speaker(model, el),
    send = (kind, more = {}) => speak({ kind, drawn: model.get('drawn'), marks, ...more });
  const question = make('h3', { className: 'question' }),
    facts = make('div', { className: 'facts row soft small' });
  const canvas = make('canvas', { role: 'img' }),
    stage = new Stage(canvas),
    picture = make('div', { className: 'trmml-stage one' }, canvas);
  const board = make('div', { className: 'board', role: 'group', 'aria-label': 'pictures to answer' });
  const live = make('div', { className: 'trmml-status small', role: 'status', 'aria-live': 'polite' });
  const progress = make('progress', { max: 1, value: 0 }),
    recent = make('ol', { className: 'recent small' }),
    changes = make('details', { className: 'changes', hidden: true });
  progress.setAttribute('aria-label', 'answered');
  const yes = button('present', 'Y', () => say('present')),
    no = button('absent', 'N', () => say('absent')),
    skip = button('skip', 'S', () => say('skip'));
  const undo = button('undo', 'U', () => send('undo')),
    zoom = button('zoom', 'Z', () => act('z')),
    ask = button('keys', '?', () => act('?'));
  const save = button('', 'Enter', () => send('save')),
    retrain = button('train again', '', () => send('retrain'));
  const reread = button('read file again', '', () => send('reread')),
    table = button('export the table', '', () => send('export'));
  const later = button('ask skipped ones again', '', () => send('reopen'));
  const slider = make('input', { type: 'range', min: 0, max: 1, step: 1, oninput: e => cut(+e.target.value) });
  const cutter = make('label', { className: 'small' }, 'present before the line', slider, 'absent after it');
  slider.setAttribute('aria-label', 'line between present and absent tiles');
  const choose = (label, options, name) => {
    const box = make(
      'select',
      { onchange: () => send('choose', { [name]: box.value }) },
      ...options.map(([text, value]) => make('option', { value }, text)),
    );
    box.setAttribute('aria-label', label);
    model.on(`change:${name}`, () => {
      box.value = model.get(name);
    });
    box.value = model.get(name);
    return box;
  };
  const selects = [
    choose(
      'how to ask',
      [
        ['one picture', 'single'],
        ['many pictures', 'grid'],
      ],
      'mode',
    ),
    choose('category', [['any category', ''], ...names.map(n => [n, n])], 'category'),
    choose(
      'proposed',
      [
        [c().given ? 'all doubtful labels' : 'all blanks', 'any'],
        [`${c().given ? 'given' : 'proposed'} present`, 'present'],
        [`${c().given ? 'given' : 'proposed'} absent`, 'absent'],
      ],
      'proposed',
    ),
  ];
  const help = make(
    'div',
    { className: 'help', hidden: true },
    make(
      'table',
      {},
      ...[
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
      ].map(([k, t]) => make('tr', {}, make('td', {}, make('kbd', {}, k)), make('td', {}, t))),
    ),
  );
  el.classList.add('trmml', 'trmml-reviewer');
  el.setAttribute('role', 'group');
  el.setAttribute('aria-label', `reviewer: ${c().given ? 'judge given labels' : 'answer what is blank'}`);
  el.replaceChildren(
    banner(' What you answered before is saved.'),
    make('div', { className: 'row' }, ...selects, make('span', { className: 'push row' }, retrain, table)),
    make('div', { className: 'row head' }, question, facts),
    make('div', { className: 'body' }, picture, board, help),
    make(
      'div',
      { className: 'row actions' },
      yes,
      no,
      skip,
      undo,
      zoom,
      cutter,
      save,
      later,
      reread,
      make('span', { className: 'push' }, ask),
    ),
    make('div', { className: 'row' }, progress, live),
    recent,
    changes,
  );
  const say = answer => {
    if (!grid()) send('answer', { answer });
    else if (tiles.length) mark(Math.max(at(), 0), answer);
  };
  const at = () => tiles.indexOf(document.activeElement);
  const paint = () => {
    tiles.forEach((tile, i) => {
      tile.dataset.mark = marks[i];
      tile.lastChild.textContent = marks[i] || 'not answered';
      tile.setAttribute(
        'aria-label',
        `${c().tiles[i].image}: ${marks[i] || 'not answered'}, probability ${c().tiles[i].p.toFixed(2)}`,
      );
    });
    const n = kind => marks.filter(m => m === kind).length,
      open = n('');
    const parts = ['present', 'absent', 'skip']
      .filter(k => n(k))
      .map(k => `${n(k)} ${k === 'skip' ? 'skipped' : k}`);
    save.firstChild.textContent = parts.length ? `${parts.join(', ')}: save` : 'nothing answered yet';
    save.disabled = !parts.length;
    save.title = open ? `${open} stay open` : '';
  };
  const mark = (i, answer) => {
    marks[i] = marks[i] === answer ? '' : answer;
    last = i;
    send('marks');
    paint();
  };
  const cut = k => {
    marks = marks.map((_, i) => (i < k ? 'present' : 'absent'));
    send('marks');
    paint();
  };
  const range = (to, answer) => {
    if (last < 0) return mark(to, answer);
    const [a, b] = [Math.min(last, to), Math.max(last, to)];
    for (let i = a; i <= b; i++) marks[i] = answer;
    last = to;
    send('marks');
    paint();
  };
  const turn = i => ({ '': 'present', present: 'absent', absent: 'skip', skip: '' })[marks[i]];
  const layer = i => {
    const map = model.get('maps')[i];
    if (!map || !map.byteLength) return [];
    const m = new Uint8Array(map.buffer, map.byteOffset, map.byteLength),
      size = c().grid;
    const alpha = c().tiles[i].p >= c().threshold ? 1 : 0.35; // where it is not said to be, its place is a faint one
    return [{ fine: finer(m, size), color: SHADES[0], width: 2.5, peak: highest(m, size), alpha }];
  };
  const redraw = () => {
    if (!grid()) stage.draw({ layers: layer(0) });
    else tiles.forEach(t => t.stage.draw({ layers: t.layers }));
  };
  const tell = () => {
    // what happened, and where the review stands
    const now = c();
    progress.max = Math.max(now.total, 1);
    progress.value = now.answered + now.skipped;
    live.textContent = [
      now.message,
      now.trouble,
      `${now.answered} answered, ${now.skipped} skipped, ${now.left} of ${now.total} left`,
      now.precision,
    ]
      .filter(Boolean)
      .join('; ');
    reread.hidden = !now.reread;
  };
  const draw = async () => {
    const now = c(),
      focused = at(),
      many = grid(),
      had = el.contains(document.activeElement);
    el.dataset.mode = model.get('mode');
    question.replaceChildren(...now.question.map(([text, strong]) => (strong ? make('strong', {}, text) : text)));
    facts.replaceChildren(
      ...(now.tiles.length && !many
        ? [
            bar(now.tiles[0].p, now.threshold),
            make('span', { className: 'name' }, `${now.tiles[0].image}:`),
            `probability ${apart(now.tiles[0].p, now.threshold).join(', threshold ')}: ` +
              `the ${now.given ? 'table' : 'run'} says ${now.tiles[0].says}`,
          ]
        : now.tiles.length
          ? [`threshold ${now.threshold.toFixed(2)}; the most probable first`]
          : []),
    );
    tell();
    recent.replaceChildren(
      ...Array.from({ length: 5 }, (_, i) => {
        const a = now.recent[i];
        return make(
          'li',
          {},
          ...(a
            ? [button('undo', '', () => send('undo', { step: a.step }), `take back: ${a.text}`), ` ${a.text}`]
            : ['\u00a0']),
        );
      }),
    );
    for (const b of [yes, no, skip, zoom]) b.disabled = !now.tiles.length;
    for (const [b, on] of [
      [zoom, !many],
      [save, many],
      [cutter, many],
      [retrain, now.retrain],
      [later, now.skipped > 0],
    ])
      b.hidden = !on;
    picture.hidden = many;
    board.hidden = !many;
    stage.zoom = 1;
    last = -1;
    marks = [...now.marks];
    tiles = [];
    changes.hidden = !now.changes.length;
    changes.open = true;
    changes.replaceChildren(
      make('summary', {}, 'What changed on the open blanks'),
      make('table', {}, ...now.changes.map((r, k) => make('tr', {}, ...r.map(v => make(k ? 'td' : 'th', {}, v))))),
    );
    if (!many) {
      canvas.setAttribute(
        'aria-label',
        now.tiles.length ? `${now.tiles[0].image}: ${now.question.map(q => q[0]).join('')}` : 'nothing to answer',
      );
      if (now.tiles.length ? await stage.load(model.get('pictures')[0]) : ((stage.bitmap = null), true))
        stage.draw({ layers: now.tiles.length ? layer(0) : [] });
    } else {
      slider.max = now.tiles.length;
      slider.value = now.tiles.filter(t => t.p >= now.threshold).length;
      tiles = now.tiles.map((t, i) => {
        const tile = make('button', {
          type: 'button',
          className: 'tile',
          tabIndex: i ? -1 : 0,
          onclick: e => {
            e.stopPropagation();
            tile.focus({ preventScroll: true });
            e.shiftKey ? range(i, marks[last] || 'present') : mark(i, turn(i));
          },
        });
        const face = make('canvas');
        tile.append(face, make('span', {}, ''));
        tile.stage = new Stage(face);
        tile.layers = layer(i);
        return tile;
      });
      board.replaceChildren(...tiles);
      paint();
      await Promise.all(
        tiles.map(async (t, i) => {
          if (await t.stage.load(model.get('pictures')[i])) t.stage.draw({ layers: t.layers });
        }),
      );
    }
    if (had)
      (many && focused >= 0 && tiles.length ? tiles[Math.min(focused, tiles.length - 1)] : el).focus({
        preventScroll: true,
      });
    el.dataset.drawn = model.get('drawn');
  };
  const act = (key, e = {}) => {
    const answer = { y: 'present', n: 'absent', s: 'skip' }[key],
      many = grid();
    if (answer) {
      if (!e.repeat) say(answer);
    } else if (key === 'u') {
      if (!e.repeat) send('undo');
    } else if (key === 'z') {
      if (!many && stage.bitmap) {
        const l = layer(0);
        stage.zoom = stage.zoom > 1 ? 1 : 2.5;
        stage.centre = l.length ? l[0].peak : [0.5, 0.5];
        redraw();
      }
    } else if (key === '?') help.hidden = !help.hidden;
    else if (key === 'Escape') help.hidden = true;
    else if (key === 'Enter') {
      if (many && !save.disabled && !e.repeat) send('save');
    } else if (key.startsWith('Arrow')) {
      if (many && tiles.length) {
        const from = at(),
          columns = Math.max(1, Math.round(board.clientWidth / (tiles[0].offsetWidth + 8)));
        const to =
          from < 0
            ? 0
            : clamp(
                from + { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key],
                0,
                tiles.length - 1,
              );
        if (e.shiftKey && from >= 0 && marks[from]) {
          last = from;
          range(to, marks[from]);
        }
        tiles.forEach((t, i) => {
          t.tabIndex = i === to ? 0 : -1;
        });
        tiles[to].focus({ preventScroll: true });
        tiles[to].scrollIntoView({ block: 'nearest' });
      }
    } else return false;
    return true;
  };
  stop = [atHome(el, act), stage.watch(redraw)];
  model.on('change:drawn', draw);
  model.on('change:content', tell);
  draw();
  return () => {
    model.off('change:drawn', draw);
    model.off('change:content', tell);
    stop.forEach(f => f());
  };
}
export default { render };
