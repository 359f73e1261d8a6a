function render({ model, el }) {
  const names = model.get('names'),
    K = model.get('steps'),
    view = name => model.get(name),
    numbers = (bytes, Kind) => new Kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  let edges = [],
    counts = [],
    at = [],
    saved = [],
    now = 0;
  const speak = speaker(model, el),
    send = (kind, more = {}) => speak({ kind, ...more });
  const edge = (c, k) => edges[c * K + k],
    above = (c, kind, k) => counts[(c * 3 + kind) * K + k]; // kinds: present, absent, blank
  const measures = (c, k) => {
    const hit = above(c, 0, k),
      false_ = above(c, 1, k),
      present = above(c, 0, 0),
      said = hit + false_;
    return {
      hit,
      said,
      present,
      precision: said ? hit / said : NaN,
      recall: present ? hit / present : NaN,
      f1: said + present ? (2 * hit) / (said + present) : NaN,
      proposed: above(c, 2, k),
      blanks: above(c, 2, 0),
    };
  };
  const percent = v => (Number.isNaN(v) ? '\u2013' : `${(100 * v).toFixed(1)} %`);
  const rows = make('div', { className: 'rows', role: 'listbox', tabIndex: -1, 'aria-label': 'categories' });
  const canvas = make('canvas', { role: 'img' }),
    title = make('h3', {}),
    facts = make('table', {});
  const slider = make('input', {
    type: 'range',
    min: 1,
    max: K - 2,
    step: 1,
    oninput: () => move(+slider.value),
  });
  slider.setAttribute('aria-label', 'threshold');
  const best = button('best F1', 'B', () => act('b'), 'where F1 on the known labels is highest'),
    back = button('as saved', 'R', () => act('r'), 'the threshold that the run has now'),
    save = button('nothing to save', 'Enter', () => act('Enter'));
  const live = make('div', { className: 'trmml-status small', role: 'status', 'aria-live': 'polite' });
  el.classList.add('trmml', 'trmml-thresholds');
  el.setAttribute('role', 'group');
  el.setAttribute('aria-label', 'thresholds: from where on is a label said to be present?');
  el.replaceChildren(
    banner(),
    make(
      'div',
      { className: 'body' },
      make(
        'div',
        { className: 'list' },
        make(
          'div',
          { className: 'label soft small' },
          make('span', { className: 'name' }, 'category'),
          make('span', { className: 'f1' }, 'F1'),
          make('span', { className: 'p' }, 'from'),
        ),
        rows,
      ),
      make(
        'div',
        { className: 'chart' },
        title,
        make('div', { className: 'trmml-stage' }, canvas),
        slider,
        make('div', { className: 'row' }, best, back, make('span', { className: 'push' }, save)),
      ),
      facts,
    ),
    make(
      'p',
      { className: 'soft small' },
      `${model.get('note')} Bars grow with the square root of the count, so that few are seen beside many.`,
    ),
    live,
  );
  const changed = () => names.map((_, c) => c).filter(c => at[c] !== saved[c]);
  const INK = ['#0173b2', '#de8f05', '#949494'],
    WORD = ['known present', 'known absent', 'blanks'];
  const bins = (c, kind, n = 40) =>
    Array.from({ length: n }, (_, i) => {
      const a = Math.round((i * (K - 1)) / n),
        b = Math.round(((i + 1) * (K - 1)) / n);
      return above(c, kind, a) - (i === n - 1 ? 0 : above(c, kind, b));
    });
  const paint = () => {
    const ratio = window.devicePixelRatio || 1,
      g = canvas.getContext('2d'),
      W = canvas.clientWidth,
      H = canvas.clientHeight,
      style = getComputedStyle(el),
      pad = 10,
      strip = (H - 24) / 3,
      ink = style.getPropertyValue('color'),
      x = p => pad + p * (W - 2 * pad);
    canvas.width = Math.round(W * ratio);
    canvas.height = Math.round(H * ratio);
    if (!W || !counts.length) return;
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const t = edge(now, at[now]);
    g.fillStyle = 'rgba(1,115,178,.10)';
    g.fillRect(x(t), 0, x(1) - x(t), H - 24);
    [0, 1, 2].forEach(kind => {
      const values = bins(now, kind),
        top = Math.max(...values, 1),
        base = strip * (kind + 1);
      values.forEach((v, i) => {
        const h = v ? Math.max(2, (strip - 26) * Math.sqrt(v / top)) : 0;
        g.fillStyle = INK[kind];
        g.fillRect(x(i / values.length) + 0.5, base - h, (W - 2 * pad) / values.length - 1, h);
      });
      g.fillStyle = ink;
      g.fillRect(pad, base, W - 2 * pad, 1);
    });
    g.font = '12px system-ui, sans-serif';
    for (const p of [0, 0.25, 0.5, 0.75, 1]) {
      g.textAlign = p === 0 ? 'left' : p === 1 ? 'right' : 'center';
      g.fillText(p, x(p), H - 7);
    }
    g.textAlign = 'left';
    g.fillStyle = ink;
    g.fillRect(x(t) - 1.5, 0, 3, H - 24);
    g.beginPath();
    g.arc(x(t), (H - 24) / 2, 8, 0, 7);
    g.fill();
    g.font = '600 13px system-ui, sans-serif';
    g.strokeStyle = style.getPropertyValue('background-color');
    g.lineWidth = 5;
    WORD.forEach((word, kind) => {
      // above the line, so that it is never struck through
      const said = [`${word}: ${above(now, kind, 0)}`, pad, strip * kind + 17];
      g.strokeText(...said);
      g.fillText(...said);
    });
  };
  const tell = () => {
    const m = measures(now, at[now]),
      was = measures(now, saved[now]),
      t = edge(now, at[now]).toFixed(3);
    title.textContent = names[now];
    slider.value = at[now];
    slider.setAttribute('aria-valuetext', `${t}, precision ${percent(m.precision)}, recall ${percent(m.recall)}`);
    canvas.setAttribute(
      'aria-label',
      `${names[now]}: ${above(now, 0, 0)} known present, ${above(now, 1, 0)} known absent, ` +
        `${m.blanks} blanks by their probability; threshold ${t}`,
    );
    const line = (name, value, old, about) =>
      make(
        'tr',
        {},
        make('th', { scope: 'row' }, name),
        make('td', {}, make('strong', {}, value)),
        make('td', { className: 'soft' }, old),
        make('td', { className: 'soft about' }, about),
      );
    facts.replaceChildren(
      make('tr', {}, ...['', 'here', 'saved', ''].map(h => make('td', { className: 'soft' }, h))),
      line('threshold', t, edge(now, saved[now]).toFixed(3), ''),
      line('precision', percent(m.precision), percent(was.precision), `${m.hit} of ${m.said} said present`),
      line('recall', percent(m.recall), percent(was.recall), `${m.hit} of ${m.present} known present`),
      line('F1', percent(m.f1), percent(was.f1), m.present < 5 ? `from ${m.present} positive labels` : ''),
      line('proposes', m.proposed, was.proposed, `of ${m.blanks} blanks`),
    );
    const n = changed().length;
    save.firstChild.textContent = n ? `save ${n} threshold${n > 1 ? 's' : ''}` : 'nothing to save';
    save.disabled = !n;
    back.disabled = at[now] === saved[now];
    [...rows.children].forEach((r, c) => {
      r.setAttribute('aria-selected', c === now);
      r.querySelector('.p').textContent = edge(c, at[c]).toFixed(2);
      r.querySelector('.f1').textContent = percent(measures(c, at[c]).f1);
      r.querySelector('.dot').hidden = at[c] === saved[c];
    });
  };
  const draw = () => {
    paint();
    tell();
  };
  const move = k => {
    at[now] = clamp(k, 1, K - 2);
    draw();
    send('move', { category: names[now], threshold: edge(now, at[now]) });
  };
  const choose = c => {
    now = clamp(c, 0, names.length - 1);
    send('choose', { category: names[now] });
    draw();
    reveal(rows, rows.children[now]);
  };
  names.forEach((name, c) => {
    const r = make(
      'div',
      { role: 'option', className: 'label', onclick: () => choose(c) },
      make('span', { className: 'name' }, name),
      make('span', { className: 'dot', title: 'not saved' }, '\u25cf'),
      make('span', { className: 'f1 soft', title: 'F1 on the known labels' }),
      make('span', { className: 'p', title: 'threshold' }),
    );
    rows.append(r);
  });
  const take = () => {
    edges = numbers(view('edges'), Float64Array);
    counts = numbers(view('counts'), Int32Array);
    saved = [...view('places')];
    at = saved.map((k, c) => view('moved')[c] ?? k);
    now = Math.max(names.indexOf(view('category')), 0);
    live.textContent = view('said');
    draw();
    el.dataset.drawn = view('drawn');
  };
  const act = (key, e = {}) => {
    const by = e.shiftKey ? 10 : 1;
    if (key === 'ArrowLeft' || key === 'ArrowRight') move(at[now] + (key === 'ArrowLeft' ? -by : by));
    else if (key === 'ArrowUp' || key === 'ArrowDown') choose(now + (key === 'ArrowUp' ? -1 : 1));
    else if (key === 'b') {
      let k = at[now];
      for (let i = 1; i < K - 1; i++) if (measures(now, i).f1 > measures(now, k).f1) k = i;
      move(k);
    } else if (key === 'r') move(saved[now]);
    else if (key === 'Enter') {
      if (changed().length) send('save');
    } else return false;
    return true;
  };
  const drag = e => {
    const box = canvas.getBoundingClientRect(),
      p = (e.clientX - box.left - 10) / (box.width - 20);
    let k = 1;
    for (let i = 1; i < K - 1; i++) if (Math.abs(edge(now, i) - p) < Math.abs(edge(now, k) - p)) k = i;
    move(k);
  };
  canvas.addEventListener('pointerdown', e => {
    canvas.setPointerCapture(e.pointerId);
    drag(e);
  });
  canvas.addEventListener('pointermove', e => {
    if (canvas.hasPointerCapture(e.pointerId)) drag(e);
  });
  const seen = new ResizeObserver(paint),
    stop = atHome(el, act);
  seen.observe(canvas);
  model.on('change:drawn', take);
  model.on('change:said', () => {
    live.textContent = view('said');
  });
  take();
  return () => {
    model.off('change:drawn', take);
    seen.disconnect();
    stop();
  };
}
export default { render };
