const SHADES = ['#0173b2', '#de8f05', '#029e73', '#cc78bc'],
  DASHES = [[], [10, 5], [3, 4], [12, 4, 3, 4]];
const make = (tag, props = {}, ...kids) => {
  // text goes in as text, never as markup
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k.includes('-') || k === 'role' || k === 'for') e.setAttribute(k, v);
    else e[k] = v;
  }
  e.append(...kids);
  return e;
};
const button = (text, key, act, hint) =>
  make(
    'button',
    { type: 'button', onclick: act, title: hint || '', ...(key ? { 'aria-keyshortcuts': key } : {}) },
    text,
    ...(key ? [make('kbd', { 'aria-hidden': 'true' }, key)] : []),
  );
const row = (...kids) => make('div', { className: 'row' }, ...kids);
const helpOf = keys =>
  // what each key does
  make(
    'div',
    { className: 'help', hidden: true },
    make(
      'table',
      {},
      ...keys.map(([k, t]) => make('tr', {}, make('td', {}, make('kbd', {}, k)), make('td', {}, t))),
    ),
  );
const banner = (more = '') =>
  make(
    'div',
    { className: 'banner', role: 'alert' },
    'The kernel does not answer: it is busy, or it was restarted or has ended. ' +
      `After a restart, run this cell again to go on.${more}`,
  );
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
const typing = e =>
  e &&
  e.matches('input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable=true], .cm-content');
const finer = (map, [h, w], k = 6) => {
  // bilinear, [h * k, w * k], levels 0 to 1
  const out = new Float32Array(h * k * w * k),
    at = (y, x) => map[clamp(y, 0, h - 1) * w + clamp(x, 0, w - 1)] / 255;
  for (let i = 0; i < h * k; i++)
    for (let j = 0; j < w * k; j++) {
      const y = (i + 0.5) / k - 0.5,
        x = (j + 0.5) / k - 0.5,
        y0 = Math.floor(y),
        x0 = Math.floor(x),
        v = y - y0,
        u = x - x0;
      out[i * w * k + j] =
        (1 - v) * ((1 - u) * at(y0, x0) + u * at(y0, x0 + 1)) +
        v * ((1 - u) * at(y0 + 1, x0) + u * at(y0 + 1, x0 + 1));
    }
  return { data: out, h: h * k, w: w * k };
};
const border = ({ data, h, w }, level) => {
  // pieces of the line on which a map has this level, in shares of the picture
  const path = new Path2D(),
    at = (y, x) => (y < 0 || x < 0 || y >= h || x >= w ? 0 : data[y * w + x]);
  const mix = (a, b) => (a === b ? 0.5 : (level - a) / (b - a)),
    X = x => clamp((x + 0.5) / w, 0, 1),
    Y = y => clamp((y + 0.5) / h, 0, 1);
  for (let y = -1; y < h; y++)
    for (let x = -1; x < w; x++) {
      const a = at(y, x),
        b = at(y, x + 1),
        c = at(y + 1, x + 1),
        d = at(y + 1, x),
        cuts = [];
      if (a >= level !== b >= level) cuts.push([X(x + mix(a, b)), Y(y)]);
      if (b >= level !== c >= level) cuts.push([X(x + 1), Y(y + mix(b, c))]);
      if (d >= level !== c >= level) cuts.push([X(x + mix(d, c)), Y(y + 1)]);
      if (a >= level !== d >= level) cuts.push([X(x), Y(y + mix(a, d))]);
      for (let k = 0; k + 1 < cuts.length; k += 2) {
        path.moveTo(...cuts[k]);
        path.lineTo(...cuts[k + 1]);
      }
    }
  return path;
};
const reveal = (rows, row) => {
  // scroll a list so that a row of it is seen
  if (!row) return;
  const [a, b] = [row, rows].map(e => e.getBoundingClientRect());
  if (a.top < b.top || a.bottom > b.bottom) rows.scrollTop += a.top - b.top - rows.clientHeight / 2;
};
const rgb = color => [1, 3, 5].map(k => parseInt(color.slice(k, k + 2), 16));
// On a canvas `g`, with a picture at the place `p` of it, in CSS pixels.
const colour = (g, p, fine, color, heat) => {
  // a map, as strong as its levels
  const [red, green, blue] = rgb(color),
    small = new OffscreenCanvas(fine.w, fine.h),
    s = small.getContext('2d'),
    image = s.createImageData(fine.w, fine.h);
  fine.data.forEach((level, i) => image.data.set([red, green, blue, 255 * heat * level], 4 * i));
  s.putImageData(image, 0, 0);
  g.drawImage(small, p.x, p.y, p.w, p.h);
};
const stroke = (g, p, path, color, width, dash) => {
  // a line that is seen on any picture: dark, white, then its colour
  const scaled = new Path2D();
  scaled.addPath(path, new DOMMatrix([p.w, 0, 0, p.h, p.x, p.y]));
  for (const [ink, thick, gaps] of [
    ['rgba(0,0,0,.85)', width + 2.5, []],
    ['#fff', width + 1, []],
    [color, width, dash],
  ]) {
    g.strokeStyle = ink;
    g.lineWidth = thick;
    g.lineCap = 'round';
    g.setLineDash(gaps);
    g.stroke(scaled);
  }
};
const shortened = (g, text, room) => {
  // a name that is wider than the canvas: it stands in full beside it
  let end = text.length;
  while (end > 1 && g.measureText(text.slice(0, end) + '\u2026').width > room) end -= 1;
  return g.measureText(text).width > room ? text.slice(0, end) + '\u2026' : text;
};
const namesOn = (canvas, g, p, layers) => {
  // each label's name beside its region
  const placed = [];
  g.font = '600 13px system-ui, sans-serif';
  for (const { name, color, peak } of layers.filter(l => l.name)) {
    const text = shortened(g, name, canvas.clientWidth - 10),
      width = g.measureText(text).width + 10,
      x = clamp(p.x + peak[0] * p.w, 0, canvas.clientWidth - width),
      over = q => Math.abs(q.y - y) < 20 && x < q.x + q.width && q.x < x + width;
    let y = clamp(p.y + peak[1] * p.h, 10, canvas.clientHeight - 10);
    const up = y > canvas.clientHeight - 90 ? -21 : 21;
    while (placed.some(over)) y += up; // names at one place stand below each other
    placed.push({ x, y, width });
    g.fillStyle = '#111d';
    g.fillRect(x, y - 10, width, 20);
    g.fillStyle = color;
    g.fillRect(x, y - 10, 4, 20);
    g.fillStyle = '#fff';
    g.textBaseline = 'middle';
    g.fillText(text, x + 7, y + 1);
  }
};
class Stage {
  // a canvas with a picture, contained, at the pixels of the screen
  constructor(canvas) {
    Object.assign(this, { canvas, zoom: 1, centre: [0.5, 0.5], bitmap: null, turn: 0 });
  }
  async load(bytes) {
    const turn = ++this.turn,
      bitmap = await createImageBitmap(new Blob([bytes]));
    if (turn === this.turn) this.bitmap = bitmap; // of several pictures under way the last one counts
    return turn === this.turn;
  }
  place() {
    // of the picture on the canvas, in CSS pixels
    const { clientWidth: W, clientHeight: H } = this.canvas,
      { width: w, height: h } = this.bitmap;
    const k = Math.min(W / w, H / h) * this.zoom,
      fit = (full, size, c) => (size <= full ? (full - size) / 2 : clamp(full / 2 - c * size, full - size, 0));
    return { x: fit(W, w * k, this.centre[0]), y: fit(H, h * k, this.centre[1]), w: w * k, h: h * k };
  }
  share(e) {
    // of a pointer, in shares of the picture; null beside it
    if (!this.bitmap) return null;
    const box = this.canvas.getBoundingClientRect(),
      p = this.place(),
      x = (e.clientX - box.left - p.x) / p.w,
      y = (e.clientY - box.top - p.y) / p.h;
    return x >= 0 && y >= 0 && x < 1 && y < 1 ? [x, y] : null;
  }
  draw({ layers = [], cell = null, level = 0.5 } = {}) {
    const { canvas, bitmap } = this,
      ratio = window.devicePixelRatio || 1,
      g = canvas.getContext('2d');
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    if (!bitmap || !canvas.width) return;
    const p = this.place();
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.imageSmoothingQuality = 'high';
    g.drawImage(bitmap, p.x, p.y, p.w, p.h);
    g.save();
    g.beginPath();
    g.rect(p.x, p.y, p.w, p.h);
    g.clip();
    for (const { fine, color, heat } of layers) if (heat) colour(g, p, fine, color, heat);
    if (level > 0)
      for (const { fine, color, width = 2.5, dash = [], at = level, alpha = 1 } of layers)
        if (width) {
          g.globalAlpha = alpha;
          stroke(g, p, border(fine, at), color, width, dash);
          g.globalAlpha = 1;
        }
    if (cell) {
      const box = new Path2D();
      box.rect(...cell);
      stroke(g, p, box, '#ece133', 2, []);
    }
    g.restore();
    g.setLineDash([]);
    namesOn(canvas, g, p, layers);
  }
  watch(redraw) {
    return watchSize(this.canvas, redraw);
  }
}
const watchSize = (e, act) => {
  // whenever an element has another size
  const seen = new ResizeObserver(() => act());
  seen.observe(e);
  return () => seen.disconnect();
};
const highest = (map, [h, w]) => {
  let k = 0;
  map.forEach((v, i) => {
    if (v > map[k]) k = i;
  });
  return [((k % w) + 0.5) / w, (Math.floor(k / w) + 0.5) / h];
};
const bar = (p, threshold) => {
  // a probability and the threshold that it is compared with
  const said = make('span', {
    className: 'trmml-bar',
    title: `probability ${apart(p, threshold).join(', threshold ')}`,
  });
  const fill = make('span', { className: 'trmml-fill' }),
    tick = make('span', { className: 'trmml-tick' });
  fill.style.width = `${100 * p}%`;
  tick.style.left = `${100 * threshold}%`;
  said.append(fill, tick);
  return said;
};
const apart = (p, limit) => {
  // a probability and its threshold, with as many digits as tell one from the other
  const digits = [2, 3].find(k => p === limit || p.toFixed(k) !== limit.toFixed(k)) || 4;
  return [p, limit].map(v => v.toFixed(digits));
};
const speaker = (model, el) => {
  // messages to Python; each is acknowledged, and silence is said
  let timer = 0;
  document.querySelectorAll(`[data-trmml-still="${model.get('place')}"]`).forEach(e => {
    e.hidden = true; // its still twin: the widget lives
  });
  const mute = on => {
    clearTimeout(timer);
    el.classList.toggle('mute', on);
  };
  model.on('change:heard', () => mute(false));
  model.on('comm_live_update', () => {
    // the kernel was restarted or has ended: said at once, and taken back if it answers after all
    mute(true);
    try {
      model.send({ kind: 'ping' });
    } catch {
      // nobody is there
    }
  });
  const view = Math.random().toString(36).slice(2); // this view of the widget, of several
  const others = act => {
    const said = model.get('echo');
    if (said.view && said.view !== view) act(said);
  };
  const speak = message => {
    try {
      model.send({ ...message, view });
      clearTimeout(timer);
      timer = setTimeout(() => mute(true), 5000);
    } catch {
      mute(true);
    }
  };
  return Object.assign(speak, { others });
};
const atHome = (el, act) => {
  // keys work in the whole widget, focus comes into it, and no key reaches the page behind
  el.dataset.lmSuppressShortcuts = 'true';
  el.tabIndex = 0;
  if (window.parent !== window) el.style.setProperty('--tall', '960px'); // a frame, whose height follows its content
  const home = () => el.focus({ preventScroll: true });
  const come = () => {
    // never from a field in which somebody types, nor from another widget
    const a = document.activeElement;
    if (el.isConnected && !el.contains(a) && !typing(a) && !a?.closest('.trmml')) home();
  };
  let mouse = false; // whether a control was last used by pointer
  const presses = e =>
    (e.key === 'Enter' || e.key === ' ') &&
    e.target.matches('button, summary, [type=checkbox]') &&
    !(e.key === 'Enter' && e.target.matches('.tile'));
  const saves = e => (e.ctrlKey || e.metaKey) && !e.altKey && !e.shiftKey && e.key.toLowerCase() === 's',
    letter = e => (e.key > '~' && /^Key[A-Z]$/.test(e.code) ? e.code[3] : e.key); // of a keyboard that has others
  el.addEventListener('keydown', e => {
    e.stopPropagation();
    if (saves(e) && el.parentElement && !el.parentElement.dispatchEvent(new KeyboardEvent('keydown', e)))
      e.preventDefault(); // the notebook has saved itself, as from any other place of it
    mouse = false;
    if (e.key === 'Escape' && e.target !== el) {
      e.preventDefault();
      return home();
    }
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || presses(e)) return;
    if (e.target.matches('[type=range]') && e.key.startsWith('Arrow')) return;
    const key = letter(e);
    if (act(key.length === 1 ? key.toLowerCase() : key, e)) e.preventDefault();
  });
  el.addEventListener('keyup', e => e.stopPropagation());
  el.addEventListener('pointerdown', () => {
    mouse = true;
  });
  el.addEventListener('change', e => {
    // chosen or dragged by mouse: the next key is for the widget, not for the control
    if (mouse && e.target.matches('select, [type=range], [type=checkbox]')) setTimeout(home);
  });
  el.addEventListener('click', e => {
    if (!e.target.closest('input, select, summary')) setTimeout(home);
  });
  const timers = [0, 150, 600, 1500].map(ms => setTimeout(come, ms)),
    stay = () => timers.forEach(clearTimeout),
    chosen = e => el.contains(e.target) || stay(); // a person has gone elsewhere
  document.addEventListener('pointerdown', chosen, true);
  return () => {
    stay();
    document.removeEventListener('pointerdown', chosen, true);
  };
};
