function render({ model, el }) {
  const names = model.get('names'),
    c = () => model.get('content');
  let now = {},
    levels = [],
    fines = new Map(),
    shown = [],
    hover = -1,
    plain = false,
    surveying = false,
    floor = true,
    chip = 'all',
    image = null,
    masks = null;
  const uid = `trmml-${Math.random().toString(36).slice(2)}`,
    speak = speaker(model, el),
    send = (kind, more = {}) => speak({ kind, ...more });
  const put = (name, value) => {
    now[name] = value;
    send('set', { name, value });
  };
  const select = (label, options, name) => {
    const box = make(
      'select',
      { onchange: () => put(name, box.value) },
      ...options.map(([t, value]) => make('option', { value }, t)),
    );
    box.setAttribute('aria-label', label);
    return box;
  };
  const slider = (label, name) => {
    const at = make('input', {
      type: 'range',
      min: 0,
      max: 1,
      step: 0.05,
      oninput: () => {
        put(name, +at.value);
        draw();
      },
    });
    at.setAttribute('aria-label', label);
    return at;
  };
  const filter = select(
    'which images',
    model.get('filters').map(f => [f, f]),
    'filter',
  );
  const because = select('because of', [['any label', ''], ...names.map(n => [n, n])], 'category');
  const jump = make('input', {
    type: 'search',
    placeholder: 'go to image',
    onkeydown: e => {
      if (e.key === 'Enter') {
        send('find', { image: jump.value });
        jump.value = '';
        home();
      }
    },
  });
  jump.setAttribute('aria-label', 'go to image');
  const search = make('input', {
    type: 'search',
    placeholder: 'search labels  /',
    oninput: () => list(),
    onkeydown: e => {
      if (e.key === 'Enter' && shown.length) {
        choose(shown[0]);
        home();
      }
    },
  });
  search.setAttribute('aria-label', 'search labels');
  const sort = make(
    'select',
    { onchange: () => list() },
    ...['by probability', 'by name', 'by threshold'].map(t => make('option', { value: t }, t)),
  );
  sort.setAttribute('aria-label', 'order of labels');
  const chips = ['all', 'present', 'unknown', 'wrong'].map(k =>
    make(
      'button',
      {
        type: 'button',
        className: 'chip',
        onclick: () => {
          chip = k;
          list();
        },
      },
      k,
    ),
  );
  const more = button('', '', () => {
    floor = !floor;
    list();
  });
  const rows = make('div', {
    className: 'rows',
    role: 'listbox',
    tabIndex: -1,
    'aria-label': 'labels',
    onscroll: () => line(),
  });
  const opacity = slider('strength of the colours', 'opacity'),
    level = slider('level of the lines', 'level'),
    outline = make('input', {
      type: 'checkbox',
      onchange: () => {
        put('outline', outline.checked);
        draw();
      },
    });
  const outlined = make('label', { className: 'small' }, outline, 'true outline');
  const stages = model.get('content').runs.map(() => new Stage(make('canvas', { role: 'img' })));
  const titles = stages.map(() => make('div', { className: 'title small' })),
    hint = make('div', { className: 'hint small' });
  const centre = make(
    'div',
    { className: 'centre' },
    ...stages.map((s, k) => make('div', { className: 'trmml-stage' }, s.canvas, titles[k])),
    hint,
  );
  const detail = make('div', { className: 'detail small' }),
    live = make('div', { className: 'trmml-status small', role: 'status', 'aria-live': 'polite' });
  const frame = new DOMParser().parseFromString('<svg><path/></svg>', 'text/html').body.firstChild,
    svg = document.adoptNode(frame),
    path = svg.firstChild;
  const help = make(
    'div',
    { className: 'help', hidden: true },
    make(
      'table',
      {},
      ...[
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
      ].map(([k, t]) => make('tr', {}, make('td', {}, make('kbd', {}, k)), make('td', {}, t))),
    ),
  );
  const board = make('div', { className: 'help overview', hidden: true, role: 'region', 'aria-label': 'overview' });
  svg.classList.add('link');
  svg.append(path);
  svg.setAttribute('aria-hidden', 'true');
  el.classList.add('trmml', 'trmml-inspector');
  el.setAttribute('role', 'group');
  el.setAttribute('aria-label', 'inspector: where each label was found');
  const body = make(
    'div',
    { className: 'body' },
    make(
      'div',
      { className: 'list' },
      make('div', { className: 'row' }, search, sort),
      make('div', { className: 'row' }, ...chips),
      rows,
      more,
    ),
    centre,
    detail,
    svg,
    board,
    help,
  );
  const aside = make('button', {
    type: 'button',
    title: 'show the other images too',
    onclick: () => put('beside', ''),
  });
  el.replaceChildren(
    banner(),
    make(
      'div',
      { className: 'row' },
      button('previous', '\u2190', () => send('step', { by: -1 })),
      button('next', '\u2192', () => send('step', { by: 1 })),
      filter,
      because,
      aside,
      jump,
      make(
        'span',
        { className: 'push row' },
        button('overview', 'O', () => act('o')),
        button('keys', '?', () => act('?')),
      ),
    ),
    body,
    make(
      'div',
      { className: 'row' },
      make('label', { className: 'small' }, 'colours', opacity),
      make('label', { className: 'small' }, 'lines', level),
      outlined,
      button('zoom', 'Z', () => act('z')),
    ),
    live,
  );
  const home = () => el.focus({ preventScroll: true });
  const size = () => c().grid[0] * c().grid[1];
  const map = (run, kind, k) => {
    const n = size(),
      at = ((run * 2 + kind) * names.length + k) * n;
    return levels.subarray(at, at + n);
  };
  const fine = (run, kind, k) => {
    const key = `${run} ${kind} ${k}`;
    if (!fines.has(key)) fines.set(key, finer(map(run, kind, k), c().grid));
    return fines.get(key);
  };
  const p = (k, run = 0) => c().runs[run].p[k],
    kind = () => (now.view === 'pixels' ? 0 : 1),
    answer = k => c().answers[k],
    reference = k => (answer(k) >= 0 ? answer(k) : c().truth[k] >= 0 ? c().truth[k] : c().targets[k]);
  const wrong = k => reference(k) >= 0 && p(k) >= c().thresholds[k] !== (reference(k) === 1);
  const chosen = () => names.indexOf(now.label),
    drawnLabels = () => [...new Set([...now.labels.map(n => names.indexOf(n)), chosen()])].slice(-4);
  const slot = k => drawnLabels().indexOf(k);
  const claims = (cell, run = 0) => {
    const parts = names.map((_, k) => {
      const m = map(run, 1, k);
      let sum = 0;
      for (const v of m) sum += v;
      return sum ? (p(k, run) * m[cell]) / sum : 0;
    });
    const all = parts.reduce((a, b) => a + b, 0) || 1;
    return parts.map((v, k) => [v / all, k]).sort((a, b) => b[0] - a[0]);
  };
  const choose = k => {
    put('label', names[k]);
    list();
    draw();
  };
  const keep = k => {
    const kept = now.labels.includes(names[k])
      ? now.labels.filter(n => n !== names[k])
      : [...now.labels, names[k]].slice(-3);
    put('labels', kept);
    list();
    draw();
  };
  const order = () => {
    const by = sort.value,
      all = names.map((_, k) => k);
    return by === 'by name'
      ? all.sort((a, b) => names[a].localeCompare(names[b]))
      : by === 'by probability'
        ? all.sort((a, b) => p(b) - p(a))
        : all.sort((a, b) => Math.abs(p(a) - c().thresholds[a]) - Math.abs(p(b) - c().thresholds[b]));
  };
  const list = () => {
    const text = search.value.trim().toLowerCase(),
      pass = {
        all: () => true,
        present: k => reference(k) === 1,
        unknown: k => answer(k) < 0 && ((c().targets[k] < 0 && c().truth[k] < 0) || c().states[k] === 'unknown'),
        wrong,
      }[chip];
    const fits = order().filter(k => names[k].toLowerCase().includes(text) && pass(k));
    shown = fits.filter(k => !floor || text || chip !== 'all' || p(k) >= 0.05 || slot(k) >= 0);
    const signs = { 1: '\u2713', 0: '\u2715', '-1': '?' },
      words = { 1: 'present', 0: 'absent', '-1': 'unknown' };
    rows.replaceChildren(
      ...shown.map(k => {
        const at = slot(k),
          r = make('div', {
            role: 'option',
            className: 'label',
            id: `${uid}-${k}`,
            onclick: e => (e.shiftKey || e.ctrlKey || e.metaKey ? keep(k) : choose(k)),
          });
        r.setAttribute('aria-selected', k === chosen());
        r.dataset.label = names[k];
        const dot = make('span', { className: 'dot' });
        if (at >= 0) dot.style.background = SHADES[at];
        const sign = make(
          'span',
          {
            className: `sign ${words[reference(k)]} ${answer(k) >= 0 ? 'yours' : ''}`,
            title: answer(k) >= 0 ? `you say ${words[answer(k)]}` : `${words[reference(k)]}; ${c().states[k]}`,
          },
          signs[reference(k)],
        );
        r.append(
          dot,
          make('span', { className: 'name' }, names[k]),
          ...(wrong(k) ? [make('span', { className: 'wrong' }, 'wrong')] : []),
          sign,
          bar(p(k), c().thresholds[k]),
          make('span', { className: 'p' }, p(k).toFixed(2)),
        );
        return r;
      }),
    );
    rows.setAttribute('aria-activedescendant', `${uid}-${chosen()}`);
    chips.forEach(b => b.setAttribute('aria-pressed', b.textContent === chip));
    more.disabled = floor && shown.length === fits.length;
    more.textContent = more.disabled ? 'no more labels' : floor ? `show all ${fits.length} labels` : 'only those above 0.05';
    const row = rows.querySelector('[aria-selected=true]');
    if (row) reveal(rows, row);
    light();
  };
  const light = () => {
    const cell = hover >= 0 ? hover : now.patch,
      first =
        cell >= 0
          ? claims(cell)
              .slice(0, 3)
              .filter(([v]) => v >= 0.05)
          : [];
    for (const r of rows.children) r.dataset.claims = first.some(([, k]) => names[k] === r.dataset.label);
    hint.textContent =
      cell >= 0
        ? `patch ${cell}: ${claims(cell)
            .slice(0, 3)
            .map(([v, k]) => `${names[k]} ${Math.round(100 * v)} %`)
            .join(', ')}`
        : '';
    hint.hidden = cell < 0;
  };
  const correct = value => {
    if (c().can_answer)
      send('answer', { image: c().image, label: now.label, said: answer(chosen()) === value ? null : value });
  };
  const asking = () => {
    // is the chosen label there? what a person says is kept
    const yes = button('present', 'Y', () => correct(1), 'say that it is there; once more takes it back'),
      no = button('absent', 'N', () => correct(0), 'say that it is not there; once more takes it back');
    yes.setAttribute('aria-pressed', answer(chosen()) === 1);
    no.setAttribute('aria-pressed', answer(chosen()) === 0);
    return make('div', { className: 'row asking', role: 'group', 'aria-label': `is ${now.label} there?` }, yes, no);
  };
  const reasons = () => {
    // the nearest training regions with their labels, and the nearest prototypes
    const w = model.get('why'),
      ask = button('why?', 'W', () => send('explain'), 'nearest training regions and prototypes');
    if (!c().can_why) return [];
    if (w.label !== now.label || w.image !== c().image) return [make('div', { className: 'row asking' }, ask)];
    const tiles = w.regions.map((r, i) => {
      const face = make('canvas', { role: 'img' }),
        word = r.label ? 'present' : 'absent',
        tile = make(
          'figure',
          {},
          face,
          make('figcaption', {}, `${word} ${r.cosine.toFixed(2)}`),
        );
      face.setAttribute('aria-label', `${r.image}, known ${word}, cosine ${r.cosine.toFixed(2)}`);
      tile.title = r.image;
      const s = new Stage(face),
        data = model.get('why_maps')[i],
        m = data && new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      s.load(model.get('why_pictures')[i]).then(() =>
        s.draw({ layers: m && m.length ? [{ fine: finer(m, w.grid), color: SHADES[0], width: 1.5 }] : [] }),
      );
      return tile;
    });
    return [
      make('h4', { className: 'reasons' }, 'Nearest training regions'),
      tiles.length
        ? make('div', { className: 'near' }, ...tiles)
        : make('p', { className: 'soft' }, 'no training image has a known label here'),
      make('h4', {}, w.kind === 'visual' ? 'Nearest prototypes' : 'Nearest texts'),
      make(
        'table',
        {},
        ...w.prototypes.map(([name, v]) => make('tr', {}, make('td', {}, name), make('td', {}, v.toFixed(2)))),
      ),
    ];
  };
  const survey = () => {
    // all categories, the pairs that are confused, and a wall of pictures
    const o = model.get('overview');
    if (!o.categories) return;
    const go = more => {
      show(false);
      send('only', { filter: 'disagreements', ...more });
    };
    const ap = v => (v.ap === null ? '\u2013' : v.ap.toFixed(1)),
      ranked = [...o.categories].sort((a, b) => (a.ap ?? 101) - (b.ap ?? 101));
    const categories = ranked.map(k => {
      const fill = make('span', { className: 'trmml-fill' }),
        b = make(
          'button',
          {
            type: 'button',
            className: 'line',
            onclick: () => go({ category: k.name }),
            title: `${k.wrong} wrong, ${k.present} known present`,
          },
          make('span', { className: 'name' }, k.name),
          ...(k.present < 5 ? [make('span', { className: 'few' }, `from ${k.present}`)] : []),
          make('span', { className: 'trmml-bar' }, fill),
          make('span', { className: 'p' }, ap(k)),
        );
      fill.style.width = `${k.ap || 0}%`;
      b.disabled = !k.wrong;
      return b;
    });
    const pairs = o.pairs.map(([a, b, n]) =>
      make(
        'button',
        {
          type: 'button',
          className: 'line',
          onclick: () => go({ filter: 'false positives', category: a, beside: b }),
        },
        make('span', { className: 'name' }, make('strong', {}, a), ' said, ', make('strong', {}, b), ' there'),
        make('span', { className: 'p' }, n),
      ),
    );
    const tiles = o.images.map((t, i) => {
      const face = make('canvas'),
        tile = make(
          'button',
          {
            type: 'button',
            className: 'brick',
            title: t.image,
            onclick: () => {
              show(false);
              send('find', { image: t.image });
            },
          },
          face,
          ...(t.label ? [make('span', {}, t.label)] : []),
        );
      tile.setAttribute('aria-label', t.label ? `${t.image}, because of ${t.label}` : t.image);
      const s = new Stage(face);
      s.load(model.get('wall')[i]).then(() => s.draw());
      return tile;
    });
    const part = (title, kids, none, className) =>
      make(
        'div',
        { className },
        make('h4', {}, title),
        ...(kids.length ? kids : [make('p', { className: 'soft' }, none)]),
      );
    board.replaceChildren(
      part('Average precision, weakest first', categories, 'no categories', 'scores'),
      part('Most confused', pairs, 'no category is said where another is', 'pairs'),
      make(
        'div',
        { className: 'bricks' },
        make(
          'h4',
          {},
          `${o.images.length < o.total ? `${o.images.length} of ${o.total}` : o.total} images under "${o.filter}"`,
        ),
        make('div', { className: 'wall' }, ...tiles),
      ),
    );
  };
  const show = on => {
    surveying = on;
    board.hidden = !on;
    if (on) send('survey');
    line();
  };
  const layers = run => {
    if (plain || now.view === 'photograph') return [];
    const some = drawnLabels().map((k, i) => ({
      fine: fine(run, kind(), k),
      color: SHADES[i],
      dash: DASHES[i],
      width: k === chosen() ? 3 : 2,
      name: names[k],
      peak: highest(map(run, kind(), k), c().grid),
      heat: k === chosen() ? now.opacity * (0.2 + 0.8 * p(k, run)) : 0,
    }));
    if (now.outline && masks)
      some.push({
        fine: { data: masks.subarray(chosen() * 4096, chosen() * 4096 + 4096).map(v => v / 255), h: 64, w: 64 },
        color: '#56b4e9',
        width: 1.5,
        at: 0.5,
      });
    return some;
  };
  const draw = () => {
    const cell =
      now.patch >= 0
        ? (([h, w]) => [(now.patch % w) / w, Math.floor(now.patch / w) / h, 1 / w, 1 / h])(c().grid)
        : null;
    stages.forEach((s, run) => {
      s.draw({ layers: layers(run), cell, level: now.level });
      s.canvas.setAttribute('aria-label', `${c().image}, ${now.label}, ${c().runs[run].name}`);
      titles[run].textContent = stages.length > 1 ? `${c().runs[run].name}: ${p(chosen(), run).toFixed(2)}` : '';
      titles[run].hidden = stages.length < 2;
    });
    tell();
    line();
  };
  const tell = () => {
    // all about the chosen label
    const k = chosen(),
      runs = c().runs,
      said = v => (v ? 'present' : 'absent'),
      word = v => ({ 1: 'present', 0: 'absent', '-1': 'unknown' })[v];
    const rank = (values, mine) => `rank ${1 + values.filter(v => v > mine).length} of ${names.length}`,
      facts = [
        ...(answer(k) >= 0 ? [['you say', word(answer(k))]] : []),
        ...(c().truth[k] >= 0 ? [['truth', word(c().truth[k])]] : []),
        ['in training', c().states[k]],
        ['threshold', apart(p(k), c().thresholds[k])[1]],
      ];
    runs.forEach((r, i) => {
      const of = runs.length > 1 ? `${r.name}: ` : '';
      facts.push(
        [`${of}probability`, `${apart(r.p[k], c().thresholds[k])[0]}, read as ${said(r.p[k] >= c().thresholds[k])}`],
        ...Object.entries(r.branches).map(([n, v]) => [`${of}${n}`, v[k].toFixed(2)]),
        [`${of}text and image`, `${r.image_cosines[k].toFixed(3)}, ${rank(r.image_cosines, r.image_cosines[k])}`],
        [`${of}text and pixels`, `${r.pixel_cosines[k].toFixed(3)}, ${rank(r.pixel_cosines, r.pixel_cosines[k])}`],
      );
    });
    const thumbs = [
      ['photograph', 'photograph'],
      ['pixels', 'text and pixels'],
      ['region', c().has_map ? 'text and region' : 'text and pixels, pooled'],
    ].map(([view, name]) => {
      const b = make(
        'button',
        {
          type: 'button',
          className: 'thumb',
          onclick: () => {
            put('view', view);
            draw();
          },
        },
        make('canvas'),
        make('span', {}, name),
      );
      b.setAttribute('aria-pressed', now.view === view);
      b.view = view;
      return b;
    });
    const cells =
      now.patch >= 0
        ? [
            make('h4', {}, `Who claims patch ${now.patch}?`),
            make(
              'table',
              {},
              ...claims(now.patch)
                .slice(0, 5)
                .map(([v, i]) =>
                  make('tr', {}, make('td', {}, names[i]), make('td', {}, `${Math.round(100 * v)} %`)),
                ),
            ),
          ]
        : [];
    detail.replaceChildren(
      make('h3', {}, now.label),
      ...(c().can_answer ? [asking()] : []),
      make('div', { className: 'thumbs' }, ...thumbs),
      make(
        'table',
        {},
        ...facts.map(([a, b]) => make('tr', {}, make('th', { scope: 'row' }, a), make('td', {}, b))),
      ),
      ...cells,
      ...reasons(),
    );
    thumbs.forEach(b => {
      const s = new Stage(b.firstChild);
      s.bitmap = stages[0].bitmap;
      const which = b.view === 'pixels' ? 0 : 1;
      if (s.bitmap)
        s.draw({
          layers:
            b.view === 'photograph'
              ? []
              : [{ fine: fine(0, which, k), color: SHADES[Math.max(slot(k), 0)], width: 1, heat: 0.7 }],
          level: now.level,
        });
    });
  };
  const line = () => {
    // from the label in the list to its region
    const row = rows.querySelector('[aria-selected=true]'),
      s = stages[0],
      box = body.getBoundingClientRect();
    path.setAttribute('d', '');
    if (
      !row ||
      !s.bitmap ||
      plain ||
      surveying ||
      now.view === 'photograph' ||
      s.canvas.getBoundingClientRect().left < rows.getBoundingClientRect().right
    )
      return;
    const a = row.getBoundingClientRect(),
      all = rows.getBoundingClientRect(),
      y = a.top + a.height / 2;
    if (y < all.top || y > all.bottom) return;
    const q = s.place(),
      at = s.canvas.getBoundingClientRect(),
      peak = highest(map(0, kind(), chosen()), c().grid),
      x1 = a.right - box.left,
      y1 = y - box.top,
      x2 = at.left - box.left + q.x + peak[0] * q.w,
      y2 = at.top - box.top + q.y + peak[1] * q.h;
    path.setAttribute('d', `M${x1} ${y1} C${x1 + 40} ${y1} ${x1 + 40} ${y2} ${x2} ${y2}`);
    path.setAttribute('stroke', SHADES[Math.max(slot(chosen()), 0)]);
  };
  const take = async () => {
    // another image, or other settings from Python
    const data = model.get('maps'),
      cover = model.get('masks');
    now = { ...c().start };
    levels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    fines.clear();
    hover = -1;
    masks = cover.byteLength ? new Uint8Array(cover.buffer, cover.byteOffset, cover.byteLength) : null;
    filter.value = now.filter;
    because.value = now.category;
    because.disabled = now.filter === 'all';
    aside.hidden = !now.beside;
    aside.textContent = `with ${now.beside} \u2715`;
    opacity.value = now.opacity;
    level.value = now.level;
    outline.checked = now.outline;
    outlined.hidden = !masks;
    live.textContent = c().said;
    if (image !== c().image) {
      stages.forEach(s => {
        s.zoom = 1;
      });
    }
    image = c().image;
    const fresh = await Promise.all(stages.map(s => s.load(model.get('picture'))));
    if (fresh.every(Boolean)) {
      list();
      draw();
      el.dataset.drawn = model.get('drawn');
    }
  };
  const act = (key, e = {}) => {
    const [h, w] = c().grid,
      to = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
    if (to && e.shiftKey) {
      const m = map(0, 1, chosen()),
        at =
          now.patch < 0
            ? m.indexOf(Math.max(...m))
            : clamp(Math.floor(now.patch / w) + to[0], 0, h - 1) * w + clamp((now.patch % w) + to[1], 0, w - 1);
      put('patch', at);
      light();
      draw();
    } else if (to && to[0]) {
      const at = shown.indexOf(chosen());
      if (shown.length) choose(shown[clamp(at + to[0], 0, shown.length - 1)]);
    } else if (to) send('step', { by: to[1] });
    else if (key === 'Enter') keep(chosen());
    else if (key === ' ') {
      if (!plain) {
        plain = true;
        draw();
      }
    } else if (key === 'y' || key === 'n') {
      if (!e.repeat) correct(key === 'y' ? 1 : 0);
    } else if (key === 'u') {
      if (c().can_answer && !e.repeat) send('undo');
    } else if (key === 'w') {
      if (c().can_why && !e.repeat) send('explain');
    } else if (key === 'o') show(board.hidden);
    else if (key === '/') search.focus();
    else if (key === 'z') {
      stages.forEach((s, run) => {
        s.zoom = s.zoom > 1 ? 1 : 2.5;
        s.centre = highest(map(run, kind(), chosen()), c().grid);
      });
      draw();
    } else if (key === '?') help.hidden = !help.hidden;
    else if (key === 'Escape') {
      help.hidden = true;
      if (surveying) show(false);
      put('patch', -1);
      light();
      draw();
    } else return false;
    return true;
  };
  const cellAt = (s, e) => {
    const q = s.share(e),
      [h, w] = c().grid;
    return q ? Math.floor(q[1] * h) * w + Math.floor(q[0] * w) : -1;
  };
  stages.forEach(s => {
    s.canvas.addEventListener('pointermove', e => {
      const at = cellAt(s, e);
      if (at !== hover) {
        hover = at;
        light();
      }
    });
    s.canvas.addEventListener('pointerleave', () => {
      hover = -1;
      light();
    });
    s.canvas.addEventListener('click', e => {
      const at = cellAt(s, e);
      if (at >= 0) {
        put('patch', at === now.patch ? -1 : at);
        draw();
      }
    });
  });
  el.addEventListener('keyup', e => {
    if (e.key === ' ' && plain) {
      plain = false;
      draw();
    }
  });
  const stop = [atHome(el, act), ...stages.map(s => s.watch(() => levels.length && draw()))];
  model.on('change:drawn', take);
  model.on('change:content', () => {
    live.textContent = c().said;
    if (image === c().image && levels.length) {
      list();
      tell();
    }
  });
  model.on('change:why', () => {
    tell();
    const head = detail.querySelector('.reasons'),
      first = detail.querySelector('.near figure') || head;
    if (!head) return;
    const [top, bottom, seen] = [head, first, detail].map(e => e.getBoundingClientRect());
    if (bottom.bottom > seen.bottom) detail.scrollTop += top.top - seen.top; // what was asked for is seen
  });
  model.on('change:overview', survey);
  take();
  return () => {
    model.off('change:drawn', take);
    stop.forEach(f => f());
  };
}
export default { render };
