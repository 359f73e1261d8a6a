// All about the chosen label: what is known and said of it, its maps, and why it was found.
const asking = v => {
  // is the chosen label there? what a person says is kept
  const said = answered(v, chosen(v)),
    yes = button('present', 'Y', () => correct(v, 1), 'say that it is there; once more takes it back'),
    no = button('absent', 'N', () => correct(v, 0), 'say that it is not there; once more takes it back');
  yes.setAttribute('aria-pressed', said === 1);
  no.setAttribute('aria-pressed', said === 0);
  return make('div', { className: 'row asking', role: 'group', 'aria-label': `is ${v.now.label} there?` }, yes, no);
};
const factsOf = v => {
  const k = chosen(v),
    { answers, truth, states, thresholds, runs } = content(v),
    rank = values => `rank ${1 + values.filter(other => other > values[k]).length} of ${v.names.length}`,
    cosine = values => `${values[k].toFixed(3)}, ${rank(values)}`;
  const facts = [
    ...(answers[k] >= 0 ? [['you say', WORDS[answers[k]]]] : []),
    ...(truth[k] >= 0 && states[k] !== `known ${WORDS[truth[k]]}` ? [['truth', WORDS[truth[k]]]] : []),
    states[k] === 'not in training' ? ['training', 'never saw this picture'] : ['in training', states[k]],
    ['threshold', apart(probability(v, k), thresholds[k])[1]],
  ];
  for (const r of runs) {
    const of = runs.length > 1 ? `${r.name}: ` : '',
      read = r.p[k] >= thresholds[k] ? 'present' : 'absent';
    facts.push(
      [`${of}probability`, `${apart(r.p[k], thresholds[k])[0]}, read as ${read}`],
      ...Object.entries(r.branches).map(([n, values]) => [`${of}${n} alone`, values[k].toFixed(2)]),
      [`${of}text and image`, cosine(r.image_cosines)],
      [`${of}text and pixels`, cosine(r.pixel_cosines)],
    );
  }
  return facts;
};
const factTable = rows =>
  make(
    'table',
    {},
    ...rows.map(([a, b]) => make('tr', {}, make('th', { scope: 'row' }, a), make('td', {}, b))),
  );
const plainTable = rows =>
  make('table', {}, ...rows.map(([a, b]) => make('tr', {}, make('td', {}, a), make('td', {}, b))));
const claimants = v => {
  // who looks at the chosen patch
  if (v.now.patch < 0) return [];
  const first = claims(v, v.now.patch).slice(0, 5);
  return [
    make('h4', {}, `Who claims patch ${v.now.patch}?`),
    plainTable(first.map(([share, k]) => [v.names[k], `${Math.round(100 * share)} %`])),
  ];
};
const thumbOf = (v, view, name) => {
  const see = () => {
    put(v, 'view', view);
    draw(v);
  };
  const b = make(
    'button',
    { type: 'button', className: 'thumb', onclick: see, 'aria-pressed': v.now.view === view },
    make('canvas'),
    make('span', {}, name),
  );
  b.view = view;
  return b;
};
const thumbsOf = v =>
  [
    ['photograph', 'photograph'],
    ['pixels', 'text and pixels'],
    ['region', content(v).has_map ? 'text and region' : 'text and pixels, pooled'],
  ].map(([view, name]) => thumbOf(v, view, name));
const paintThumb = (v, b) => {
  const s = new Stage(b.firstChild),
    k = chosen(v),
    fine = b.view === 'photograph' ? null : fineOf(v, 0, b.view === 'pixels' ? 0 : 1, k);
  s.bitmap = v.stages[0].bitmap;
  if (s.bitmap)
    s.draw({
      layers: fine ? [{ fine, color: SHADES[Math.max(slot(v, k), 0)], width: 1, heat: 0.7 }] : [],
      level: v.now.level,
    });
};
const neighbour = (v, w, i) => {
  // a known region of training, with its label
  const r = w.regions[i],
    face = make('canvas', { role: 'img' }),
    word = r.label ? 'present' : 'absent',
    data = v.model.get('why_maps')[i],
    m = data && new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    s = new Stage(face);
  face.setAttribute('aria-label', `${r.image}, known ${word}, cosine ${r.cosine.toFixed(2)}`);
  s.load(v.model.get('why_pictures')[i]).then(() =>
    s.draw({ layers: m && m.length ? [{ fine: finer(m, w.grid), color: SHADES[0], width: 1.5 }] : [] }),
  );
  return make('figure', { title: r.image }, face, make('figcaption', {}, `${word} ${r.cosine.toFixed(2)}`));
};
const reasons = v => {
  // the nearest training regions with their labels, and the nearest prototypes
  const w = v.model.get('why'),
    ask = button('why?', 'W', () => send(v, 'explain'), 'nearest training regions and prototypes');
  if (!content(v).can_why) return [];
  if (w.label !== v.now.label || w.image !== content(v).image) return [make('div', { className: 'row asking' }, ask)];
  return [
    make('h4', { className: 'reasons' }, 'Nearest training regions'),
    w.regions.length
      ? make('div', { className: 'near' }, ...w.regions.map((_, i) => neighbour(v, w, i)))
      : make('p', { className: 'soft' }, 'no training image has a known label here'),
    make('h4', {}, w.kind === 'visual' ? 'Nearest prototypes' : 'Nearest texts'),
    plainTable(w.prototypes.map(([name, cosine]) => [name, cosine.toFixed(2)])),
  ];
};
const tell = v => {
  const thumbs = thumbsOf(v);
  v.detail.replaceChildren(
    make('h3', {}, v.now.label),
    ...(content(v).can_answer ? [asking(v)] : []),
    make('div', { className: 'thumbs' }, ...thumbs),
    factTable(factsOf(v)),
    ...claimants(v),
    ...reasons(v),
  );
  for (const b of thumbs) paintThumb(v, b);
};
const showWhy = v => {
  tell(v);
  const head = v.detail.querySelector('.reasons'),
    first = v.detail.querySelector('.near figure') || head;
  if (!head) return;
  const [top, bottom, seen] = [head, first, v.detail].map(e => e.getBoundingClientRect());
  if (bottom.bottom > seen.bottom) v.detail.scrollTop += top.top - seen.top; // what was asked for is seen
};
