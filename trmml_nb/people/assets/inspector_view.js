// One inspector on a page is `v`: its model and elements, what is chosen in it (`now`), and the maps of its image.
const newView = (model, el) => ({
  model,
  el,
  names: model.get('names'),
  now: {},
  levels: [],
  fines: new Map(),
  shown: [],
  hover: -1,
  plain: false,
  surveying: false,
  floor: true,
  chip: 'all',
  image: null,
  masks: null,
  uid: `trmml-${Math.random().toString(36).slice(2)}`,
  speak: speaker(model, el),
});
const content = v => v.model.get('content');
const send = (v, kind, more = {}) => v.speak({ kind, ...more });
const put = (v, name, value) => {
  // choose something here, and tell Python
  v.now[name] = value;
  content(v).start[name] = value; // a view that is opened later begins with it
  send(v, 'set', { name, value });
};
const home = v => v.el.focus({ preventScroll: true });
const mapOf = (v, run, kind, k) => {
  // of one label in one run, as it came: a byte per patch; kinds: pixels, region
  const [h, w] = content(v).grid,
    at = ((run * 2 + kind) * v.names.length + k) * h * w;
  return v.levels.subarray(at, at + h * w);
};
const fineOf = (v, run, kind, k) => {
  const key = `${run} ${kind} ${k}`;
  if (!v.fines.has(key)) v.fines.set(key, finer(mapOf(v, run, kind, k), content(v).grid));
  return v.fines.get(key);
};
const peakOf = (v, run, k) => highest(mapOf(v, run, kindOf(v), k), content(v).grid);
const kindOf = v => (v.now.view === 'pixels' ? 0 : 1);
const probability = (v, k, run = 0) => content(v).runs[run].p[k];
const answered = (v, k) => content(v).answers[k];
const reference = (v, k) => {
  // what to judge against: what a person says, else truth, else what training may see
  const { truth, targets } = content(v);
  return answered(v, k) >= 0 ? answered(v, k) : truth[k] >= 0 ? truth[k] : targets[k];
};
const wrong = (v, k) =>
  reference(v, k) >= 0 && probability(v, k) >= content(v).thresholds[k] !== (reference(v, k) === 1);
const chosen = v => v.names.indexOf(v.now.label);
const drawnLabels = v => [...new Set([...v.now.labels.map(n => v.names.indexOf(n)), chosen(v)])].slice(-4);
const slot = (v, k) => drawnLabels(v).indexOf(k);
const claims = (v, cell, run = 0) => {
  // [share, label] of those that look at a patch, the first one most
  const parts = v.names.map((_, k) => {
    const m = mapOf(v, run, 1, k);
    let sum = 0;
    for (const level of m) sum += level;
    return sum ? (probability(v, k, run) * m[cell]) / sum : 0;
  });
  const all = parts.reduce((a, b) => a + b, 0) || 1;
  return parts.map((share, k) => [share / all, k]).sort((a, b) => b[0] - a[0]);
};
const percentOf = (v, [share, k]) => `${v.names[k]} ${Math.round(100 * share)} %`;
const choose = (v, k) => {
  put(v, 'label', v.names[k]);
  list(v);
  draw(v);
};
const keep = (v, k) => {
  // a label in view beside the next ones, or no longer
  const name = v.names[k],
    { labels } = v.now;
  put(v, 'labels', labels.includes(name) ? labels.filter(n => n !== name) : [...labels, name].slice(-3));
  list(v);
  draw(v);
};
const correct = (v, value) => {
  if (!content(v).can_answer) return;
  const said = answered(v, chosen(v)) === value ? null : value;
  send(v, 'answer', { image: content(v).image, label: v.now.label, said });
};
