// The inspector itself: its controls, its pictures, its keys, and what it does when Python sends another image.
const INSPECTOR_KEYS = [
  ['\u2190 \u2192', 'images of this filter'],
  ['\u2191 \u2193', 'labels'],
  ['Enter', 'keep this label in view beside the next ones, up to four'],
  ['Space', 'held: the plain photograph'],
  ['Z', 'zoom in on the region'],
  ['Y, N', 'correct the chosen label: it is present, it is absent; once more takes it back'],
  ['U', 'undo the last answer'],
  ['W', 'why this label: nearest training regions and prototypes'],
  ['O', 'overview: all categories, confused pairs, a wall of pictures'],
  ['/', 'search labels'],
  ['Shift + arrows', 'choose a patch: who claims it?'],
  ['Escape', 'no patch; from a control: back to the keys'],
  ['?', 'close this'],
];
const only = (v, name, value) => {
  // other images: an open overview shows them too
  put(v, name, value);
  if (v.surveying) send(v, 'survey');
};
const selectOf = (v, label, options, name) =>
  make(
    'select',
    { 'aria-label': label, onchange: e => only(v, name, e.target.value) },
    ...options.map(([t, value]) => make('option', { value }, t)),
  );
const sliderOf = (v, label, name) => {
  const move = e => {
    put(v, name, +e.target.value);
    draw(v);
  };
  return make('input', { type: 'range', min: 0, max: 1, step: 0.05, 'aria-label': label, oninput: move });
};
const ways = v => {
  // which image is open
  const filters = v.model.get('filters').map(f => [f, f]),
    labels = [['any label', ''], ...v.names.map(n => [n, n])];
  const jump = make('input', {
    type: 'search',
    placeholder: 'go to image',
    'aria-label': 'go to image',
    onkeydown: e => {
      if (e.key === 'Enter') {
        if (v.surveying) show(v, false);
        send(v, 'find', { image: jump.value });
        jump.value = '';
        home(v);
      }
    },
  });
  const aside = make('button', {
    type: 'button',
    title: 'show the other images too',
    onclick: () => only(v, 'beside', ''),
  });
  const filter = selectOf(v, 'which images', filters, 'filter'),
    because = selectOf(v, 'because of', labels, 'category');
  const [back, on] = [-1, 1].map(by => () => send(v, 'step', { by })),
    previous = button('previous', '\u2190', back),
    next = button('next', '\u2192', on);
  return { previous, next, jump, aside, filter, because };
};
const tools = v => {
  // how it is drawn
  const outline = make('input', {
    type: 'checkbox',
    onchange: () => {
      put(v, 'outline', outline.checked);
      draw(v);
    },
  });
  return {
    opacity: sliderOf(v, 'strength of the colours', 'opacity'),
    level: sliderOf(v, 'level of the lines', 'level'),
    outline,
    outlined: make('label', { className: 'small' }, outline, 'true outline'),
    zoomer: button('zoom', 'Z', () => act(v, 'z')),
  };
};
const pictures = v => {
  // a stage per run
  const stages = content(v).runs.map(() => new Stage(make('canvas', { role: 'img' }))),
    titles = stages.map(() => make('div', { className: 'title small' })),
    hint = make('div', { className: 'hint small' }),
    framed = stages.map((s, k) => make('div', { className: 'trmml-stage' }, s.canvas, titles[k]));
  return { stages, titles, hint, centre: make('div', { className: 'centre' }, ...framed, hint) };
};
const linkOf = () => {
  const frame = new DOMParser().parseFromString('<svg><path/></svg>', 'text/html').body.firstChild,
    svg = document.adoptNode(frame);
  svg.classList.add('link');
  svg.setAttribute('aria-hidden', 'true');
  return { svg, path: svg.firstChild };
};
const boards = () => ({
  detail: make('div', { className: 'detail small' }),
  live: make('div', { className: 'trmml-status small', role: 'status', 'aria-live': 'polite' }),
  help: helpOf(INSPECTOR_KEYS),
  board: make('div', { className: 'help overview', hidden: true, role: 'region', 'aria-label': 'overview' }),
});
const bodyOf = v => {
  const labels = make('div', { className: 'list' }, row(v.search, v.sort), row(...v.chips), v.rows, v.more);
  return make('div', { className: 'body' }, labels, v.centre, v.detail, v.svg, v.board, v.help);
};
// `key` gives the act of a key
const framed = (v, key) => [
  row(
    v.previous,
    v.next,
    v.filter,
    v.because,
    v.aside,
    v.jump,
    make('span', { className: 'push row' }, button('overview', 'O', key('o')), button('keys', '?', key('?'))),
  ),
  v.body,
  row(
    make('label', { className: 'small' }, 'colours', v.opacity),
    make('label', { className: 'small' }, 'lines', v.level),
    v.outlined,
    v.zoomer,
  ),
  v.live,
];
const build = v => {
  const { el } = v;
  el.classList.add('trmml', 'trmml-inspector');
  el.setAttribute('role', 'group');
  el.setAttribute('aria-label', 'inspector: where each label was found');
  v.body = bodyOf(v);
  el.replaceChildren(
    banner(),
    make('div', { className: 'frame' }, ...framed(v, name => () => act(v, name))),
  );
};
const layers = (v, run) => {
  if (v.plain || v.now.view === 'photograph') return [];
  const k = chosen(v);
  const some = drawnLabels(v).map((at, i) => ({
    fine: fineOf(v, run, kindOf(v), at),
    color: SHADES[i],
    dash: DASHES[i],
    width: at === k ? 3 : 2,
    name: v.names[at],
    peak: peakOf(v, run, at),
    heat: at === k ? v.now.opacity * (0.2 + 0.8 * probability(v, at, run)) : 0,
  }));
  if (v.now.outline && v.masks) {
    const data = v.masks.subarray(k * 4096, k * 4096 + 4096).map(level => level / 255);
    some.push({ fine: { data, h: 64, w: 64 }, color: '#56b4e9', width: 1.5, at: 0.5 });
  }
  return some;
};
const patchBox = v => {
  if (v.now.patch < 0) return null;
  const [h, w] = content(v).grid;
  return [(v.now.patch % w) / w, Math.floor(v.now.patch / w) / h, 1 / w, 1 / h];
};
const draw = v => {
  const cell = patchBox(v),
    { image, runs } = content(v),
    several = v.stages.length > 1;
  v.stages.forEach((s, run) => {
    s.draw({ layers: layers(v, run), cell, level: v.now.level });
    s.canvas.setAttribute('aria-label', `${image}, ${v.now.label}, ${runs[run].name}`);
    v.titles[run].textContent = several ? `${runs[run].name}: ${probability(v, chosen(v), run).toFixed(2)}` : '';
    v.titles[run].hidden = !several;
  });
  tell(v);
  line(v);
};
const line = v => {
  // from the label in the list to its region
  const at = v.rows.querySelector('[aria-selected=true]'),
    s = v.stages[0],
    [box, all, seen] = [v.body, v.rows, s.canvas].map(e => e.getBoundingClientRect());
  v.path.setAttribute('d', '');
  if (!at || !s.bitmap || v.plain || v.surveying || v.now.view === 'photograph' || seen.left < all.right) return;
  const a = at.getBoundingClientRect(),
    y = a.top + a.height / 2;
  if (y < all.top || y > all.bottom) return;
  const q = s.place(),
    peak = peakOf(v, 0, chosen(v)),
    x1 = a.right - box.left,
    y1 = y - box.top,
    x2 = seen.left - box.left + q.x + peak[0] * q.w,
    y2 = seen.top - box.top + q.y + peak[1] * q.h;
  v.path.setAttribute('d', `M${x1} ${y1} C${x1 + 40} ${y1} ${x1 + 40} ${y2} ${x2} ${y2}`);
  v.path.setAttribute('stroke', SHADES[Math.max(slot(v, chosen(v)), 0)]);
};
const takeState = v => {
  const bytes = name => {
    const data = v.model.get(name);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  };
  v.now = { ...content(v).start };
  v.levels = bytes('maps');
  v.masks = v.model.get('masks').byteLength ? bytes('masks') : null;
  v.fines.clear();
  v.hover = -1;
  v.filter.value = v.now.filter;
  v.because.value = v.now.category;
  v.because.disabled = v.now.filter === 'all';
  v.aside.hidden = !v.now.beside;
  v.aside.textContent = `with ${v.now.beside} \u2715`;
  v.opacity.value = v.now.opacity;
  v.level.value = v.now.level;
  v.outline.checked = v.now.outline;
  v.outlined.hidden = !v.masks;
  v.live.textContent = content(v).said;
};
const take = async v => {
  // another image, or other settings from Python
  takeState(v);
  if (v.image !== content(v).image) for (const s of v.stages) s.zoom = 1;
  v.image = content(v).image;
  const fresh = await Promise.all(v.stages.map(s => s.load(v.model.get('picture'))));
  if (fresh.every(Boolean)) {
    list(v);
    draw(v);
    v.el.dataset.drawn = v.model.get('drawn');
  }
};
const retell = v => {
  // other words about the same image
  v.live.textContent = content(v).said;
  if (v.image === content(v).image && v.levels.length) {
    list(v);
    tell(v);
  }
};
const follow = (v, { name, value }) => {
  // something was chosen in another view of this widget
  if (!Object.hasOwn(v.now, name) || !v.levels.length) return;
  v.now[name] = value;
  for (const control of ['opacity', 'level']) v[control].value = v.now[control];
  v.outline.checked = v.now.outline;
  list(v);
  draw(v);
};
const mark = (v, patch) => {
  put(v, 'patch', patch);
  light(v);
  draw(v);
};
const stepPatch = (v, [down, right]) => {
  const [h, w] = content(v).grid,
    m = mapOf(v, 0, 1, chosen(v)),
    { patch } = v.now;
  const next = (at, by, n) => clamp(at + by, 0, n - 1);
  mark(
    v,
    patch < 0 ? m.indexOf(Math.max(...m)) : next(Math.floor(patch / w), down, h) * w + next(patch % w, right, w),
  );
};
const stepLabel = (v, by) => {
  const at = v.shown.indexOf(chosen(v));
  if (v.shown.length) choose(v, v.shown[clamp(at + by, 0, v.shown.length - 1)]);
};
const bare = (v, on) => {
  // the plain photograph, while Space is held
  if (v.plain === on) return;
  v.plain = on;
  draw(v);
};
const zoom = v => {
  v.stages.forEach((s, run) => {
    s.zoom = s.zoom > 1 ? 1 : 2.5;
    s.centre = peakOf(v, run, chosen(v));
  });
  draw(v);
};
const escape = v => {
  v.help.hidden = true;
  if (v.surveying) show(v, false);
  mark(v, -1);
};
const once = (e, can, what) => {
  // a key held down counts once
  if (can && !e.repeat) what();
};
const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const KEYS = {
  Enter: v => keep(v, chosen(v)),
  ' ': v => bare(v, true),
  y: (v, e) => once(e, true, () => correct(v, 1)),
  n: (v, e) => once(e, true, () => correct(v, 0)),
  u: (v, e) => once(e, content(v).can_answer, () => send(v, 'undo')),
  w: (v, e) => once(e, content(v).can_why, () => send(v, 'explain')),
  o: v => show(v, v.board.hidden),
  '/': v => v.search.focus(),
  z: zoom,
  '?': v => {
    v.help.hidden = !v.help.hidden;
  },
  Escape: escape,
};
const act = (v, key, e = {}) => {
  const to = ARROWS[key],
    covered = !v.help.hidden || v.surveying; // then a key never changes a picture or a label that is not seen
  if (!to && !Object.hasOwn(KEYS, key)) return false;
  if (covered && !['?', 'o', 'Escape'].includes(key)) v.help.hidden = true;
  else if (to && e.shiftKey) stepPatch(v, to);
  else if (to && to[0]) stepLabel(v, to[0]);
  else if (to) send(v, 'step', { by: to[1] });
  else KEYS[key](v, e);
  return true;
};
const cellAt = (v, s, e) => {
  const q = s.share(e),
    [h, w] = content(v).grid;
  return q ? Math.floor(q[1] * h) * w + Math.floor(q[0] * w) : -1;
};
const point = (v, at) => {
  if (at === v.hover) return;
  v.hover = at;
  light(v);
};
const hearPointer = (v, s) => {
  s.canvas.addEventListener('pointermove', e => point(v, cellAt(v, s, e)));
  s.canvas.addEventListener('pointerleave', () => point(v, -1));
  s.canvas.addEventListener('click', e => {
    const at = cellAt(v, s, e);
    if (at < 0) return;
    put(v, 'patch', at === v.now.patch ? -1 : at);
    draw(v);
  });
};
function render({ model, el }) {
  const v = newView(model, el);
  Object.assign(v, ways(v), tools(v), listParts(v), pictures(v), linkOf(), boards());
  build(v);
  for (const s of v.stages) hearPointer(v, s);
  el.addEventListener('keyup', e => {
    if (e.key === ' ') bare(v, false);
  });
  el.addEventListener('focusout', () => bare(v, false)); // a key that is let go elsewhere is not heard
  const stop = [
    atHome(el, (key, e) => act(v, key, e)),
    ...v.stages.map(s => s.watch(() => v.levels.length && draw(v))),
    watchSize(v.rows, () => see(v)),
  ];
  const heard = {
    drawn: () => take(v),
    content: () => retell(v),
    why: () => showWhy(v),
    overview: () => survey(v),
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
