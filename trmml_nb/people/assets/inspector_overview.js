// The overview: all categories, the pairs that are confused, and a wall of pictures; each opens what it shows.
const show = (v, on) => {
  v.surveying = on;
  v.board.hidden = !on;
  for (const e of [v.previous, v.next, v.opacity, v.level, v.outline, v.zoomer]) e.disabled = on; // of the picture
  if (on) {
    survey(v); // what is known already; what is new follows
    send(v, 'survey');
  }
  line(v);
};
const go = (v, more) => () => {
  show(v, false);
  send(v, 'only', { filter: 'disagreements', ...more });
};
const scoreLine = (v, k) => {
  const fill = make('span', { className: 'trmml-fill' });
  fill.style.width = `${k.ap || 0}%`;
  return make(
    'button',
    {
      type: 'button',
      className: 'line',
      onclick: go(v, { category: k.name }),
      title: `${k.wrong} wrong, ${k.present} known present`,
      disabled: !k.wrong,
    },
    make('span', { className: 'name' }, k.name),
    make(
      'span',
      { className: 'tail' },
      ...(k.present < 5 ? [make('span', { className: 'few' }, `from ${k.present}`)] : []),
      make('span', { className: 'trmml-bar' }, fill),
      make('span', { className: 'p' }, k.ap === null ? '\u2013' : k.ap.toFixed(1)),
    ),
  );
};
const pairLine = (v, [a, b, n]) =>
  make(
    'button',
    { type: 'button', className: 'line', onclick: go(v, { filter: 'false positives', category: a, beside: b }) },
    make('span', { className: 'name' }, make('strong', {}, a), ' said, ', make('strong', {}, b), ' there'),
    make('span', { className: 'tail p' }, n),
  );
const brick = (v, t, i) => {
  const face = make('canvas'),
    s = new Stage(face);
  const open = () => {
    show(v, false);
    send(v, 'find', { image: t.image });
  };
  s.load(v.model.get('wall')[i]).then(() => s.draw());
  return make(
    'button',
    {
      type: 'button',
      className: 'brick',
      title: t.image,
      onclick: open,
      'aria-label': t.label ? `${t.image}, because of ${t.label}` : t.image,
    },
    face,
    ...(t.label ? [make('span', {}, t.label)] : []),
  );
};
const part = (title, kids, none, className) =>
  make(
    'div',
    { className },
    make('h4', {}, title),
    ...(kids.length ? kids : [make('p', { className: 'soft' }, none)]),
  );
const survey = v => {
  const o = v.model.get('overview');
  if (!o.categories) return;
  const ranked = [...o.categories].sort((a, b) => (a.ap ?? 101) - (b.ap ?? 101)),
    count = o.images.length < o.total ? `${o.images.length} of ${o.total}` : o.total,
    wall = make('div', { className: 'wall' }, ...o.images.map((t, i) => brick(v, t, i)));
  const scores = ranked.map(k => scoreLine(v, k)),
    pairs = o.pairs.map(pair => pairLine(v, pair));
  v.board.replaceChildren(
    part('Average precision, weakest first', scores, 'no categories', 'scores'),
    part('Most confused', pairs, 'no category is said where another is', 'pairs'),
    make('div', { className: 'bricks' }, make('h4', {}, `${count} images under "${o.filter}"`), wall),
  );
};
