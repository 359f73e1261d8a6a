// The list of labels: searched, sorted, sifted, each with its sign, its probability and its threshold.
const listParts = v => {
  const search = make('input', {
    type: 'search',
    placeholder: 'search labels  /',
    'aria-label': 'search labels',
    oninput: () => list(v),
    onkeydown: e => {
      if (e.key === 'Enter' && v.shown.length) {
        choose(v, v.shown[0]);
        home(v);
      }
      if (e.key === 'Escape' && search.value) {
        search.value = '';
        list(v); // all labels again; the focus goes back to the keys
      }
    },
  });
  const sort = make(
    'select',
    { 'aria-label': 'order of labels', onchange: () => list(v) },
    ...['by probability', 'by name', 'by threshold'].map(t => make('option', { value: t }, t)),
  );
  const sift = kind => () => {
    v.chip = kind;
    list(v);
  };
  const chips = ['all', 'present', 'unknown', 'wrong'].map(kind =>
    make('button', { type: 'button', className: 'chip', onclick: sift(kind) }, kind),
  );
  const more = button('', '', () => {
    v.floor = !v.floor;
    list(v);
  });
  const rows = make('div', {
    className: 'rows',
    role: 'listbox',
    tabIndex: -1,
    'aria-label': 'labels',
    onscroll: () => line(v),
  });
  return { search, sort, chips, more, rows };
};
const order = v => {
  const all = v.names.map((_, k) => k),
    near = k => Math.abs(probability(v, k) - content(v).thresholds[k]);
  return {
    'by name': () => all.sort((a, b) => v.names[a].localeCompare(v.names[b])),
    'by probability': () => all.sort((a, b) => probability(v, b) - probability(v, a)),
    'by threshold': () => all.sort((a, b) => near(a) - near(b)),
  }[v.sort.value]();
};
const unknown = (v, k) => {
  const { targets, truth, states } = content(v);
  return answered(v, k) < 0 && ((targets[k] < 0 && truth[k] < 0) || states[k] === 'unknown');
};
const passes = {
  all: () => true,
  present: (v, k) => reference(v, k) === 1,
  unknown,
  wrong,
};
const SIGNS = { 1: '\u2713', 0: '\u2715', '-1': '?' },
  WORDS = { 1: 'present', 0: 'absent', '-1': 'unknown' };
const signOf = (v, k) => {
  const said = answered(v, k),
    word = WORDS[reference(v, k)];
  return make(
    'span',
    {
      className: `sign ${word} ${said >= 0 ? 'yours' : ''}`,
      title: said >= 0 ? `you say ${WORDS[said]}` : `${word}; ${content(v).states[k]}`,
    },
    SIGNS[reference(v, k)],
  );
};
const labelRow = (v, k) => {
  const at = slot(v, k),
    dot = make('span', { className: 'dot' });
  const row = make('div', {
    role: 'option',
    className: 'label',
    id: `${v.uid}-${k}`,
    'aria-selected': k === chosen(v),
    onclick: e => (e.shiftKey || e.ctrlKey || e.metaKey ? keep(v, k) : choose(v, k)),
  });
  row.dataset.label = v.names[k];
  if (at >= 0) dot.style.background = SHADES[at];
  row.append(
    dot,
    make('span', { className: 'name' }, v.names[k]),
    make(
      'span',
      { className: 'tail' },
      ...(wrong(v, k) ? [make('span', { className: 'wrong' }, 'wrong')] : []),
      signOf(v, k),
      bar(probability(v, k), content(v).thresholds[k]),
      make('span', { className: 'p' }, probability(v, k).toFixed(2)),
    ),
  );
  return row;
};
const see = v => reveal(v.rows, v.rows.querySelector('[aria-selected=true]')); // the chosen label is never out of sight
const list = v => {
  const text = v.search.value.trim().toLowerCase(),
    fits = order(v).filter(k => v.names[k].toLowerCase().includes(text) && passes[v.chip](v, k)),
    all = !v.floor || text || v.chip !== 'all';
  v.shown = fits.filter(k => all || probability(v, k) >= 0.05 || slot(v, k) >= 0);
  v.rows.replaceChildren(...v.shown.map(k => labelRow(v, k)));
  v.rows.setAttribute('aria-activedescendant', `${v.uid}-${chosen(v)}`);
  for (const b of v.chips) b.setAttribute('aria-pressed', b.textContent === v.chip);
  v.more.disabled = v.floor && v.shown.length === fits.length;
  v.more.textContent = v.more.disabled
    ? 'no more labels'
    : v.floor
      ? `show all ${fits.length} labels`
      : 'only those above 0.05';
  see(v);
  light(v);
};
const light = v => {
  // who claims the patch under the pointer, or the chosen one
  const cell = v.hover >= 0 ? v.hover : v.now.patch,
    first = cell >= 0 ? claims(v, cell).slice(0, 3) : [],
    lit = first.filter(([share]) => share >= 0.05).map(([, k]) => v.names[k]);
  for (const row of v.rows.children) row.dataset.claims = lit.includes(row.dataset.label);
  v.hint.textContent = cell >= 0 ? `patch ${cell}: ${first.map(claim => percentOf(v, claim)).join(', ')}` : '';
  v.hint.hidden = cell < 0;
};
