// One board of thresholds on a page is `v`: its model and elements, counts at or above each of K places per category,
// where each line stands (`at`), where it is saved, and which category is chosen (`now`).
const INK = ['#0173b2', '#de8f05', '#949494'],
  WORD = ['known present', 'known absent', 'blanks']; // kinds of labels
const THRESHOLD_KEYS = [
  ['\u2190 \u2192', 'move the line; with Shift, in large steps'],
  ['\u2191 \u2193', 'categories'],
  ['/', 'search categories'],
  ['B', 'where F1 on the known labels is highest'],
  ['R', 'the threshold that is saved'],
  ['Enter', 'save what was moved'],
  ['Escape', 'back from a control; then Tab leaves the widget'],
  ['?', 'close this'],
];
const send = (v, kind, more = {}) => v.speak({ kind, ...more });
const numbers = (v, name, Kind) => {
  const bytes = v.model.get(name);
  return new Kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};
const edge = (v, c, k) => v.edges[c * v.K + k];
const above = (v, c, kind, k) => v.counts[(c * 3 + kind) * v.K + k];
const measures = (v, c, k) => {
  const hit = above(v, c, 0, k),
    said = hit + above(v, c, 1, k),
    present = above(v, c, 0, 0);
  return {
    hit,
    said,
    present,
    precision: said ? hit / said : NaN,
    recall: present ? hit / present : NaN,
    f1: said + present ? (2 * hit) / (said + present) : NaN,
    proposed: above(v, c, 2, k),
    blanks: above(v, c, 2, 0),
  };
};
const percent = share => (Number.isNaN(share) ? '\u2013' : `${(100 * share).toFixed(1)} %`);
const changed = v => v.names.map((_, c) => c).filter(c => v.at[c] !== v.saved[c]);

// -- elements
const searchOf = v => {
  const search = make('input', {
    type: 'search',
    placeholder: 'search categories  /',
    'aria-label': 'search categories',
    oninput: () => sift(v),
    onkeydown: e => {
      const first = found(v)[0];
      if (e.key === 'Enter' && first !== undefined) {
        choose(v, first);
        v.el.focus({ preventScroll: true });
      }
      if (e.key === 'Escape' && search.value) {
        search.value = '';
        sift(v); // all categories again; the focus goes back to the keys
      }
    },
  });
  return search;
};
const parts = v => ({
  search: searchOf(v),
  help: helpOf(THRESHOLD_KEYS),
  ask: button('keys', '?', () => act(v, '?')),
  rows: make('div', { className: 'rows', role: 'listbox', tabIndex: -1, 'aria-label': 'categories' }),
  canvas: make('canvas', { role: 'img' }),
  title: make('h3', {}),
  facts: make('table', {}),
  slider: make('input', {
    type: 'range',
    min: 1,
    max: v.K - 2,
    step: 1,
    'aria-label': 'threshold',
    oninput: e => move(v, +e.target.value),
  }),
  best: button('best F1', 'B', () => act(v, 'b'), 'where F1 on the known labels is highest'),
  back: button('as saved', 'R', () => act(v, 'r'), 'the threshold that the run has now'),
  save: button('nothing to save', 'Enter', () => act(v, 'Enter')),
  live: make('div', { className: 'trmml-status small', role: 'status', 'aria-live': 'polite' }),
});
const rowOf = (v, name, c) =>
  make(
    'div',
    { role: 'option', className: 'label', onclick: () => choose(v, c) },
    make('span', { className: 'name' }, name),
    make(
      'span',
      { className: 'tail' },
      make('span', { className: 'dot', title: 'not saved' }, '\u25cf'),
      make('span', { className: 'f1 soft', title: 'F1 on the known labels' }),
      make('span', { className: 'p', title: 'threshold' }),
    ),
  );
const build = v => {
  const { el } = v,
    word = (className, text) => make('span', { className }, text),
    head = make(
      'div',
      { className: 'label soft small' },
      word('name', 'category'),
      make('span', { className: 'tail' }, word('f1', 'F1'), word('p', 'from')),
    ),
    buttons = row(v.best, v.back, v.ask, make('span', { className: 'push' }, v.save)),
    stage = make('div', { className: 'trmml-stage' }, v.canvas),
    about = 'Bars grow with the square root of the count, so that few are seen beside many.';
  el.classList.add('trmml', 'trmml-thresholds');
  el.setAttribute('role', 'group');
  el.setAttribute('aria-label', 'thresholds: from where on is a label said to be present?');
  v.rows.append(...v.names.map((name, c) => rowOf(v, name, c)));
  el.replaceChildren(
    banner(),
    make(
      'div',
      { className: 'body' },
      make('div', { className: 'list' }, v.search, head, v.rows),
      make('div', { className: 'chart' }, v.title, stage, v.slider, buttons),
      v.facts,
      v.help,
    ),
    make('p', { className: 'soft small' }, `${v.model.get('note')} ${about}`),
    v.live,
  );
};

// -- the histograms
const BINS = 40,
  PAD = 10, // beside the axis
  FOOT = 24; // below it, for its numbers
const bins = (v, kind) => {
  const place = i => Math.round((i * (v.K - 1)) / BINS),
    from = i => above(v, v.now, kind, place(i));
  return Array.from({ length: BINS }, (_, i) => from(i) - (i === BINS - 1 ? 0 : from(i + 1)));
};
const canvasOf = v => {
  // the canvas at the pixels of the screen, and places on it in CSS pixels; null where nothing can be drawn
  const { canvas } = v,
    ratio = window.devicePixelRatio || 1,
    W = canvas.clientWidth,
    H = canvas.clientHeight,
    g = canvas.getContext('2d'),
    { color, backgroundColor } = getComputedStyle(v.el);
  canvas.width = Math.round(W * ratio);
  canvas.height = Math.round(H * ratio);
  if (!W || !v.counts.length) return null;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  const x = p => PAD + p * (W - 2 * PAD);
  return { g, W, H, x, low: H - FOOT, strip: (H - FOOT) / 3, ink: color, paper: backgroundColor };
};
const paintBars = (v, { g, W, x, strip, ink }, kind) => {
  const values = bins(v, kind),
    top = Math.max(...values, 1),
    base = strip * (kind + 1);
  values.forEach((n, i) => {
    const h = n ? Math.max(2, (strip - 26) * Math.sqrt(n / top)) : 0;
    g.fillStyle = INK[kind];
    g.fillRect(x(i / BINS) + 0.5, base - h, (W - 2 * PAD) / BINS - 1, h);
  });
  g.fillStyle = ink;
  g.fillRect(PAD, base, W - 2 * PAD, 1);
};
const paintAxis = ({ g, H, x }) => {
  g.font = '12px system-ui, sans-serif';
  for (const p of [0, 0.25, 0.5, 0.75, 1]) {
    g.textAlign = p === 0 ? 'left' : p === 1 ? 'right' : 'center';
    g.fillText(p, x(p), H - 7);
  }
  g.textAlign = 'left';
};
const paintLine = ({ g, x, low, ink }, t) => {
  g.fillStyle = ink;
  g.fillRect(x(t) - 1.5, 0, 3, low);
  g.beginPath();
  g.arc(x(t), low / 2, 8, 0, 7);
  g.fill();
};
const paintWords = (v, { g, strip, paper }) => {
  // above the line, so that they are never struck through
  g.font = '600 13px system-ui, sans-serif';
  g.strokeStyle = paper;
  g.lineWidth = 5;
  WORD.forEach((word, kind) => {
    const said = [`${word}: ${above(v, v.now, kind, 0)}`, PAD, strip * kind + 17];
    g.strokeText(...said);
    g.fillText(...said);
  });
};
const paint = v => {
  const on = canvasOf(v);
  if (!on) return;
  const t = edge(v, v.now, v.at[v.now]);
  on.g.fillStyle = 'rgba(1,115,178,.10)';
  on.g.fillRect(on.x(t), 0, on.x(1) - on.x(t), on.low);
  for (const kind of [0, 1, 2]) paintBars(v, on, kind);
  paintAxis(on);
  paintLine(on, t);
  paintWords(v, on);
};

// -- the same in words
const factsOf = (v, m, was) => {
  const t = places => edge(v, v.now, places[v.now]).toFixed(3);
  return [
    ['threshold', t(v.at), t(v.saved), ''],
    ['precision', percent(m.precision), percent(was.precision), `${m.hit} of ${m.said} said present`],
    ['recall', percent(m.recall), percent(was.recall), `${m.hit} of ${m.present} known present`],
    ['F1', percent(m.f1), percent(was.f1), m.present < 5 ? `from ${m.present} positive labels` : ''],
    ['proposes', m.proposed, was.proposed, `of ${m.blanks} blanks`],
  ];
};
const factRow = ([name, value, old, about]) =>
  make(
    'tr',
    {},
    make('th', { scope: 'row' }, name),
    make('td', {}, make('strong', {}, value)),
    make('td', { className: 'soft' }, old),
    make('td', { className: 'soft about' }, about),
  );
const tellRows = v =>
  [...v.rows.children].forEach((r, c) => {
    r.setAttribute('aria-selected', c === v.now);
    r.querySelector('.p').textContent = edge(v, c, v.at[c]).toFixed(2);
    r.querySelector('.f1').textContent = percent(measures(v, c, v.at[c]).f1);
    r.querySelector('.dot').hidden = v.at[c] === v.saved[c];
  });
const tell = v => {
  const { now, at, saved, names } = v,
    m = measures(v, now, at[now]),
    t = edge(v, now, at[now]).toFixed(3),
    kinds = `${above(v, now, 0, 0)} known present, ${above(v, now, 1, 0)} known absent`,
    n = changed(v).length;
  v.title.textContent = names[now];
  v.slider.value = at[now];
  v.slider.setAttribute('aria-valuetext', `${t}, precision ${percent(m.precision)}, recall ${percent(m.recall)}`);
  v.canvas.setAttribute(
    'aria-label',
    `${names[now]}: ${kinds}, ${m.blanks} blanks by their probability; threshold ${t}`,
  );
  v.facts.replaceChildren(
    make('tr', {}, ...['', 'here', 'saved', ''].map(h => make('td', { className: 'soft' }, h))),
    ...factsOf(v, m, measures(v, now, saved[now])).map(factRow),
  );
  v.save.firstChild.textContent = n ? `save ${n} threshold${n > 1 ? 's' : ''}` : 'nothing to save';
  v.save.disabled = !n;
  v.back.disabled = at[now] === saved[now];
  tellRows(v);
};
const draw = v => {
  paint(v);
  tell(v);
};

// -- what a person does
const found = v => {
  // the categories that the search leaves
  const text = v.search.value.trim().toLowerCase();
  return v.names.map((_, c) => c).filter(c => v.names[c].toLowerCase().includes(text));
};
const sift = v => {
  const left = new Set(found(v));
  [...v.rows.children].forEach((r, c) => {
    r.hidden = !left.has(c);
  });
  see(v);
};
const see = v => {
  // the chosen category is never out of sight
  if (v.rows.children[v.now] && !v.rows.children[v.now].hidden) reveal(v.rows, v.rows.children[v.now]);
};
const move = (v, k) => {
  v.at[v.now] = clamp(k, 1, v.K - 2);
  draw(v);
  send(v, 'move', { category: v.names[v.now], threshold: edge(v, v.now, v.at[v.now]) });
};
const choose = (v, c) => {
  v.now = clamp(c, 0, v.names.length - 1);
  send(v, 'choose', { category: v.names[v.now] });
  draw(v);
  see(v);
};
const stepTo = (v, by) => {
  // the next category of those that are seen
  const left = found(v),
    at = left.indexOf(v.now);
  if (left.length) choose(v, at < 0 ? left[0] : left[clamp(at + by, 0, left.length - 1)]);
};
const follow = (v, { category, threshold }) => {
  // a line was moved in another view of this widget
  const c = v.names.indexOf(category),
    near = k => Math.abs(v.edges[c * v.K + k] - threshold);
  if (c < 0) return;
  for (let k = 1; k < v.K - 1; k++) if (near(k) < near(v.at[c])) v.at[c] = k;
  draw(v);
};
const bestOf = (v, start, worth) => {
  // the place that is worth most; where several are, the one that the line stands at, or the first
  let k = start;
  for (let i = 1; i < v.K - 1; i++) if (worth(i) > worth(k)) k = i;
  return k;
};
const act = (v, key, e = {}) => {
  const by = e.shiftKey ? 10 : 1,
    at = v.at[v.now],
    known = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown', 'b', 'r', 'Enter', '/', '?', 'Escape'];
  if (!known.includes(key)) return false;
  if (!v.help.hidden && key !== '?') v.help.hidden = true; // a line that is covered is never moved
  else if (key === '?') v.help.hidden = !v.help.hidden;
  else if (key === '/') v.search.focus();
  else if (key === 'ArrowLeft' || key === 'ArrowRight') move(v, at + (key === 'ArrowLeft' ? -by : by));
  else if (key === 'ArrowUp' || key === 'ArrowDown') stepTo(v, key === 'ArrowUp' ? -1 : 1);
  else if (key === 'b') move(v, bestOf(v, at, k => measures(v, v.now, k).f1));
  else if (key === 'r') move(v, v.saved[v.now]);
  else if (key === 'Enter' && changed(v).length) send(v, 'save');
  return true;
};
const drag = (v, e) => {
  const box = v.canvas.getBoundingClientRect(),
    p = (e.clientX - box.left - PAD) / (box.width - 2 * PAD);
  move(v, bestOf(v, 1, k => -Math.abs(edge(v, v.now, k) - p)));
};
const hearPointer = v => {
  v.canvas.addEventListener('pointerdown', e => {
    v.canvas.setPointerCapture(e.pointerId);
    drag(v, e);
  });
  v.canvas.addEventListener('pointermove', e => {
    if (v.canvas.hasPointerCapture(e.pointerId)) drag(v, e);
  });
};
const take = v => {
  // other counts, lines or thresholds from Python
  const view = name => v.model.get(name);
  v.edges = numbers(v, 'edges', Float64Array);
  v.counts = numbers(v, 'counts', Int32Array);
  v.saved = [...view('places')];
  v.at = v.saved.map((k, c) => view('moved')[c] ?? k);
  v.now = Math.max(v.names.indexOf(view('category')), 0);
  v.live.textContent = view('said');
  draw(v);
  see(v);
  v.el.dataset.drawn = view('drawn');
};
function render({ model, el }) {
  const v = { model, el, names: model.get('names'), K: model.get('steps'), edges: [], counts: [], at: [], saved: [] };
  Object.assign(v, { now: 0, speak: speaker(model, el) }, parts(v));
  build(v);
  hearPointer(v);
  const stop = [
      atHome(el, (key, e) => act(v, key, e)),
      watchSize(v.canvas, () => paint(v)),
      watchSize(v.rows, () => see(v)),
    ],
    heard = {
      drawn: () => take(v),
      said: () => (v.live.textContent = model.get('said')),
      echo: () => v.speak.others(said => follow(v, said)),
    };
  for (const [name, f] of Object.entries(heard)) model.on(`change:${name}`, f);
  take(v);
  return () => {
    for (const [name, f] of Object.entries(heard)) model.off(`change:${name}`, f);
    stop.forEach(f => f());
  };
}
export default { render };
