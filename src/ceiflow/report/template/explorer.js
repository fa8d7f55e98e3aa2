"use strict";
(() => {
  const SIGMA = 3.29;
  const BACKGROUND_TERMS = 5;
  const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#fee838"]
    .map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  const page = (id) => document.getElementById(id);
  const facts = JSON.parse(page("facts").textContent);
  const map = page("map"), bar = page("bar"), plot = page("spectrum");
  const bins = facts.rows * facts.columns, channels = facts.channels, width = facts.width;
  const elements = facts.elements, modelled = facts.modelled;
  const pairs = elements.length * (elements.length + 1) / 2;
  const columns = 2 * elements.length + pairs + 4;
  const nm = facts.pixel_nm;
  let data = null, range = [0, 1], quantity = null, cursor = null, anchor = null, held = null, window_eV = null;

  // ---- data

  async function unpack(name) {
    const text = atob(page(`data-${name}`).textContent);
    const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function floats(planes) {
    const size = planes.length / 4, bytes = new Uint8Array(planes.length);
    for (let plane = 0; plane < 4; plane++) {
      for (let i = 0; i < size; i++) bytes[4 * i + plane] = planes[plane * size + i];
    }
    return new Float32Array(bytes.buffer);
  }

  async function load() {
    const planes = await unpack("counts"), labels = await unpack("labels");
    const size = bins * channels, counts = new Float32Array(size);
    for (let plane = 0; plane < facts.planes; plane++) {
      const weight = 256 ** plane * facts.step;
      for (let i = 0; i < size; i++) counts[i] += planes[plane * size + i] * weight;
    }
    for (let i = 0; i < size; i++) counts[i] += facts.lowest;
    return {
      counts,
      basis: floats(await unpack("basis")),
      amplitudes: floats(await unpack("amplitudes")),
      table: floats(await unpack("bins")),
      group: labels.subarray(0, bins),
      zone: labels.subarray(bins),
    };
  }

  const entry = (bin, column) => data.table[bin * columns + column];
  const CHI2 = elements.length + pairs, THICKNESS = CHI2 + 1, ZERO = CHI2 + 2, TOTAL = CHI2 + 3, FLOOR = CHI2 + 4;

  // ---- sums over bins

  function sum(list) {
    const found = {
      n: list.length, counts: new Float64Array(channels), model: new Float64Array(channels),
      background: new Float64Array(channels), edges: modelled.map(() => new Float64Array(channels)),
      theta: new Float64Array(elements.length), covariance: new Float64Array(pairs), floor: new Float64Array(elements.length), zero: 0, total: 0,
    };
    const groups = new Map();
    for (const bin of list) {
      for (let i = 0, at = bin * channels; i < channels; i++) found.counts[i] += data.counts[at + i];
      const group = data.group[bin];
      if (!groups.has(group)) groups.set(group, new Float64Array(width));
      const amplitudes = groups.get(group);
      for (let k = 0; k < width; k++) amplitudes[k] += data.amplitudes[bin * width + k];
      for (let k = 0; k < elements.length; k++) found.theta[k] += entry(bin, k);
      for (let k = 0; k < elements.length; k++) found.floor[k] += entry(bin, FLOOR + k);
      for (let k = 0; k < pairs; k++) found.covariance[k] += entry(bin, elements.length + k);
      found.zero += entry(bin, ZERO);
      found.total += entry(bin, TOTAL);
    }
    // The model is linear in its amplitudes: those of a group are summed before they are drawn.
    for (const [group, amplitudes] of groups) {
      for (let k = 0; k < width; k++) {
        if (!amplitudes[k]) continue;
        const at = (group * width + k) * channels;
        const edge = k < BACKGROUND_TERMS ? -1 : (k - BACKGROUND_TERMS) % modelled.length;
        const target = edge < 0 ? found.background : found.edges[edge];
        for (let i = 0; i < channels; i++) target[i] += amplitudes[k] * data.basis[at + i];
      }
    }
    for (let i = 0; i < channels; i++) {
      found.model[i] = found.background[i];
      for (const edge of found.edges) found.model[i] += edge[i];
    }
    found.sigma = new Float64Array(channels);
    found.residual = new Float64Array(channels);
    let chi2 = 0;
    for (let i = 0; i < channels; i++) {
      const pixels = found.n * facts.side ** 2;
      const noise = facts.read_variance * found.n;
      found.sigma[i] = Math.sqrt(Math.max(facts.gain * Math.max(found.model[i], 0) + noise, facts.gain ** 2 * Math.min(pixels, 1)));
      found.residual[i] = (found.counts[i] - found.model[i]) / found.sigma[i];
      chi2 += found.residual[i] ** 2;
    }
    found.chi2 = chi2 / Math.max(channels - width, 1);
    const whole = found.total + facts.missing * Math.max(found.total - found.zero, 0);
    found.thickness = facts.low_loss && found.zero > 0 ? Math.log(whole / found.zero) : NaN;
    return found;
  }

  function covariance(found) {
    const size = elements.length, matrix = elements.map(() => new Float64Array(size));
    // What the model does not describe makes errors larger, never smaller.
    const misfit = Math.max(found.chi2, 1);
    let at = 0;
    for (let i = 0; i < size; i++) {
      for (let j = i; j < size; j++) matrix[i][j] = matrix[j][i] = found.covariance[at++] * misfit;
    }
    return matrix;
  }

  function composition(found) {
    const matrix = covariance(found), size = elements.length;
    const whole = found.theta.reduce((a, b) => a + b, 0);
    const spread = Math.sqrt(Math.max(matrix.reduce((a, row) => a + row.reduce((b, c) => b + c, 0), 0), 0));
    const electrons = found.total * facts.ratio;
    const thick = facts.thickest !== null && found.thickness > facts.thickest
      ? `t/λ ${found.thickness.toFixed(2)} is above ${facts.thickest}: plural scattering cannot be corrected` : "";
    return elements.map((name, i) => {
      const density = { reason: facts.density_reason || thick }, fraction = { reason: facts.fraction_reason || thick };
      density.value = found.theta[i] / electrons;
      density.se = Math.sqrt(Math.max(matrix[i][i] / electrons ** 2 + density.value ** 2 * facts.gain / Math.max(found.total, 1), 0));
      const shared = found.floor[i] / electrons;
      density.systematic = Math.hypot(density.value * facts.scale[i], shared);
      if (!fraction.reason && size < 2) fraction.reason = "fewer than two of the chosen elements are in view";
      if (!fraction.reason && !(whole > SIGMA * spread)) fraction.reason = "no element stands above its detection limit";
      const shares = Array.from(found.theta, (value) => value / whole);
      const gradient = shares.map((share, j) => ((i === j ? 1 : 0) - shares[i]) / whole);
      let variance = 0, scales = 0;
      for (let j = 0; j < size; j++) {
        scales += gradient[j] ** 2 * ((found.theta[j] * facts.scale[j]) ** 2 + found.floor[j] ** 2);
        for (let k = 0; k < size; k++) variance += gradient[j] * gradient[k] * matrix[j][k];
      }
      fraction.value = shares[i];
      fraction.se = Math.sqrt(Math.max(variance, 0));
      fraction.systematic = Math.sqrt(scales);
      fraction.limit = SIGMA * Math.sqrt(Math.max(matrix[i][i], 0) + found.floor[i] ** 2) / whole;
      density.limit = SIGMA * Math.hypot(density.se, shared);
      return { name, density, fraction };
    });
  }

  // ---- words

  const minus = (text) => text.replace(/-/g, "−");

  function amount(item) {
    if (item.reason) return "";
    if (!Number.isFinite(item.value) || !Number.isFinite(item.se)) return "";
    const largest = Math.max(item.se, item.systematic);
    const digits = largest > 0 ? Math.min(Math.max(1 - Math.floor(Math.log10(largest)), 0), 6) : 3;
    if (!(item.value > item.limit)) return `< ${item.limit.toPrecision(3)}`;
    return minus(`${item.value.toFixed(digits)} ± ${item.se.toFixed(digits)} ± ${item.systematic.toFixed(digits)}`);
  }

  function status(item) {
    if (item.reason) return `? not identifiable: ${item.reason}`;
    if (!Number.isFinite(item.value) || !Number.isFinite(item.limit)) return "? not identifiable: too few counts";
    return item.value > item.limit ? "✔ identified" : "≤ bounded";
  }

  function selection() {
    if (held) return held;
    if (!cursor) return null;
    const other = anchor || cursor;
    const rows = [cursor.row, other.row].sort((a, b) => a - b), cols = [cursor.column, other.column].sort((a, b) => a - b);
    const list = [];
    for (let row = rows[0]; row <= rows[1]; row++) {
      for (let column = cols[0]; column <= cols[1]; column++) list.push(row * facts.columns + column);
    }
    const unit = facts.side === 1 ? "pixel" : "bin";
    const place = (value) => (nm ? ` (${(value * nm).toPrecision(3)} nm)` : "");
    const text = list.length === 1
      ? `${unit[0].toUpperCase()}${unit.slice(1)} at row ${rows[0]}${place(rows[0])}, column ${cols[0]}${place(cols[0])}`
      : `${list.length} ${unit}s: rows ${rows[0]} to ${rows[1]}, columns ${cols[0]} to ${cols[1]}`;
    return { list, text, box: [rows[0], cols[0], rows[1], cols[1]] };
  }

  // ---- drawing

  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim() || "#000";
  const paper = () => getComputedStyle(document.documentElement).getPropertyValue("--paper").trim() || "#fff";
  const soft = () => getComputedStyle(document.documentElement).getPropertyValue("--soft").trim() || "#666";
  const colour = (name) => (facts.colours[name] === "#000000" ? ink() : facts.colours[name]);

  function prepare(canvas, height) {
    const wide = canvas.clientWidth, scale = window.devicePixelRatio || 1;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, wide, height);
    pen.font = "12px system-ui, sans-serif";
    return [pen, wide, height];
  }

  function level(share) {
    const at = Math.min(Math.max(share, 0), 1) * (CIVIDIS.length - 1), low = Math.min(Math.floor(at), CIVIDIS.length - 2);
    return CIVIDIS[low].map((value, i) => Math.round(value + (at - low) * (CIVIDIS[low + 1][i] - value)));
  }

  function value(bin) {
    if (quantity === "t/λ") return entry(bin, THICKNESS);
    if (quantity === "χ²") return entry(bin, CHI2);
    if (quantity === "counts") return data.sums[bin];
    const theta = entry(bin, elements.indexOf(quantity));
    return facts.density_reason ? theta : theta / (entry(bin, TOTAL) * facts.ratio);
  }

  function label() {
    if (quantity === "t/λ") return "t/λ";
    if (quantity === "χ²") return "Reduced χ² of the fit";
    if (quantity === "counts") return "Counts";
    return facts.density_reason ? `${quantity} (amplitude of its edge, no scale)` : `${quantity} (nm⁻²)`;
  }

  function mapHeight() {
    return Math.min(Math.max(map.clientWidth * facts.rows / facts.columns, 90), 620);
  }

  let picture = null;
  function paint() {
    const values = Array.from({ length: bins }, (_, bin) => value(bin));
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
    range = sorted.length ? [at(0.01), at(0.995)] : [0, 1];
    if (!(range[1] > range[0])) range = [range[0] - 0.5, range[0] + 0.5];
    picture = document.createElement("canvas");
    picture.width = facts.columns;
    picture.height = facts.rows;
    const pen = picture.getContext("2d"), image = pen.createImageData(facts.columns, facts.rows);
    values.forEach((item, bin) => {
      const rgb = Number.isFinite(item) ? level((item - range[0]) / (range[1] - range[0])) : [140, 140, 140];
      image.data.set([...rgb, 255], 4 * bin);
    });
    pen.putImageData(image, 0, 0);
    const [brush, wide] = prepare(bar, 40);
    for (let x = 0; x < wide; x++) {
      brush.fillStyle = `rgb(${level(x / wide).join(",")})`;
      brush.fillRect(x, 6, 1.5, 10);
    }
    brush.fillStyle = ink();
    brush.textBaseline = "top";
    brush.fillText(number(range[0]), 0, 20);
    brush.textAlign = "center";
    brush.fillText(label(), wide / 2, 20);
    brush.textAlign = "right";
    brush.fillText(number(range[1]), wide, 20);
    bar.setAttribute("aria-label", `${label()}: from ${number(range[0])} to ${number(range[1])}`);
    drawMap();
  }

  function number(item) {
    const size = Math.abs(item);
    if (size >= 1e5 || (size > 0 && size < 1e-3)) return minus(item.toExponential(1));
    return minus(String(Number(item.toPrecision(3))));
  }

  function drawMap() {
    const [pen, wide, high] = prepare(map, mapHeight());
    const sx = wide / facts.columns, sy = high / facts.rows;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture, 0, 0, wide, high);
    for (const zone of [2, 1]) {
      pen.beginPath();
      pen.setLineDash(zone === 1 ? [4, 3] : []);
      for (let row = 0; row < facts.rows; row++) {
        for (let column = 0; column < facts.columns; column++) {
          const own = data.zone[row * facts.columns + column] === zone;
          const right = column + 1 < facts.columns && (data.zone[row * facts.columns + column + 1] === zone) !== own;
          const below = row + 1 < facts.rows && (data.zone[(row + 1) * facts.columns + column] === zone) !== own;
          if (right) { pen.moveTo((column + 1) * sx, row * sy); pen.lineTo((column + 1) * sx, (row + 1) * sy); }
          if (below) { pen.moveTo(column * sx, (row + 1) * sy); pen.lineTo((column + 1) * sx, (row + 1) * sy); }
        }
      }
      pen.strokeStyle = "rgba(255,255,255,0.85)";
      pen.lineWidth = 1;
      pen.stroke();
    }
    pen.setLineDash([]);
    const chosen = selection();
    if (chosen && chosen.box) {
      const [top, left, bottom, right] = chosen.box;
      for (const [stroke, thick] of [["#000", 4], ["#ff7a1a", 2]]) {
        pen.strokeStyle = stroke;
        pen.lineWidth = thick;
        pen.strokeRect(left * sx, top * sy, Math.max((right - left + 1) * sx, 3), Math.max((bottom - top + 1) * sy, 3));
      }
    }
    scaleBar(pen, wide, high, sx);
  }

  function scaleBar(pen, wide, high, sx) {
    const target = facts.columns * (nm || 1) / 4, power = 10 ** Math.floor(Math.log10(target));
    const length = [5, 2, 1].map((step) => step * power).find((size) => size <= target * 1.0001) || power;
    const pixels = length / (nm || 1) * sx;
    pen.fillStyle = "#fff";
    pen.strokeStyle = "#000";
    pen.lineWidth = 1;
    pen.fillRect(10, high - 14, pixels, 5);
    pen.strokeRect(10, high - 14, pixels, 5);
    pen.lineWidth = 3;
    const text = nm ? `${length} nm` : `${length} ${facts.side === 1 ? "px" : "bins"}`;
    pen.strokeText(text, 10, high - 20);
    pen.fillText(text, 10, high - 20);
  }

  function means(values, few) {
    const found = new Float64Array(Math.floor(values.length / few));
    for (let i = 0; i < found.length * few; i++) found[Math.floor(i / few)] += values[i] / few;
    return found;
  }

  function ticks(low, high, most) {
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((item) => item * power).find((item) => item >= raw);
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high + 1e-9 * step; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
    return found;
  }

  function drawSpectrum() {
    const chosen = selection();
    const [pen, wide, high] = prepare(plot, Math.max(Math.min(window.innerHeight * 0.75, 560), 420));
    if (!chosen) return;
    const found = sum(chosen.list);
    const left = 62, right = wide - 8, room = high - 44;
    let [start, step] = facts.energy;
    const last = start + step * (channels - 1);
    const [from, to] = window_eV || [start, last];
    // No more points than the screen shows: means over a few channels, of residuals in their own deviations.
    const few = Math.max(1, Math.floor((to - from) / step / (0.8 * (right - left))));
    const drawn = few === 1 ? found : {
      counts: means(found.counts, few), model: means(found.model, few), background: means(found.background, few),
      edges: found.edges.map((edge) => means(edge, few)), sigma: means(found.sigma, few),
      residual: means(found.residual, few).map((item) => item * Math.sqrt(few)),
    };
    start += step * (few - 1) / 2;
    step *= few;
    const size = drawn.counts.length;
    const first = Math.max(Math.floor((from - start) / step), 0), end = Math.min(Math.ceil((to - start) / step), size - 1);
    const x = (i) => left + (start + step * i - from) / (to - from) * (right - left);
    const panels = [[8, 0.4 * room], [0.45 * room, 0.8 * room], [0.85 * room, room]];
    const logarithm = page("logarithm").checked;

    function extent(arrays) {
      let low = Infinity, top = -Infinity;
      for (const array of arrays) {
        for (let i = first; i <= end; i++) { low = Math.min(low, array[i]); top = Math.max(top, array[i]); }
      }
      return top > low ? [low, top] : [low - 1, low + 1];
    }
    function panel(index, low, top, name, change = (item) => item, marks = null) {
      const [above, below] = panels[index];
      const y = (item) => below - (change(item) - change(low)) / (change(top) - change(low)) * (below - above);
      pen.strokeStyle = soft();
      pen.fillStyle = ink();
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(left, above);
      pen.lineTo(left, below);
      pen.lineTo(right, below);
      pen.stroke();
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const mark of marks || ticks(low, top, index === 2 ? 2 : 4)) {
        pen.beginPath();
        pen.moveTo(left - 4, y(mark));
        pen.lineTo(left, y(mark));
        pen.stroke();
        pen.fillText(number(mark), left - 6, y(mark));
      }
      pen.save();
      pen.translate(10, (above + below) / 2);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "center";
      pen.fillText(name, 0, 0);
      pen.restore();
      return y;
    }
    function line(array, y, stroke, thick = 1, dash = []) {
      pen.beginPath();
      for (let i = first; i <= end; i++) pen[i === first ? "moveTo" : "lineTo"](x(i), y(array[i]));
      pen.strokeStyle = stroke;
      pen.lineWidth = thick;
      pen.setLineDash(dash);
      pen.stroke();
      pen.setLineDash([]);
    }
    pen.save();
    let [low, top] = extent([drawn.counts, drawn.model]);
    let y;
    if (logarithm && top > 0) {
      low = Math.max(low, top / 1e4, 0.5);
      const marks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(top); power++) {
        for (const factor of top / low > 30 ? [1] : [1, 2, 5]) {
          const mark = factor * 10 ** power;
          if (mark >= low && mark <= top) marks.push(mark);
        }
      }
      y = panel(0, low, top, "Counts", (item) => Math.log(Math.max(item, low)), marks);
    } else y = panel(0, Math.min(low, 0), top, "Counts");
    line(drawn.counts, y, soft(), 1);
    line(drawn.background, y, "#3b8fd0", 1.5, [5, 3]);
    line(drawn.model, y, "#d55e00", 1.5);

    const rest = drawn.counts.map((item, i) => item - drawn.background[i]);
    const lift = drawn.model.map((item, i) => item - drawn.background[i]);
    [low, top] = extent([lift]);
    const noise = 3 * drawn.sigma[Math.floor((first + end) / 2)] / Math.sqrt(few);
    low = Math.min(low, -noise);
    top = Math.max(top * 1.15, noise);
    y = panel(1, low, top, "Above background");
    pen.save();
    pen.beginPath();
    pen.rect(left, panels[1][0] - 2, right - left, panels[1][1] - panels[1][0] + 2);
    pen.clip();
    drawn.edges.forEach((edge, k) => {
      pen.beginPath();
      pen.moveTo(x(first), y(0));
      for (let i = first; i <= end; i++) pen.lineTo(x(i), y(edge[i]));
      pen.lineTo(x(end), y(0));
      pen.globalAlpha = 0.3;
      pen.fillStyle = colour(modelled[k]);
      pen.fill();
      pen.globalAlpha = 1;
    });
    line(rest, y, soft(), 1);
    line(lift, y, "#d55e00", 1.5);
    pen.restore();
    let previous = -Infinity, lower = false;
    modelled.map((name, k) => [facts.onsets[k], k]).sort((a, b) => a[0] - b[0]).forEach(([onset, k]) => {
      if (onset < from || onset > to) return;
      const at = left + (onset - from) / (to - from) * (right - left);
      lower = at - previous < 40 && !lower;
      previous = at;
      pen.strokeStyle = pen.fillStyle = colour(modelled[k]);
      pen.setLineDash([2, 3]);
      pen.beginPath();
      pen.moveTo(at, panels[1][0]);
      pen.lineTo(at, panels[1][1]);
      pen.stroke();
      pen.setLineDash([]);
      pen.textAlign = "left";
      pen.strokeStyle = paper();
      pen.lineWidth = 4;
      pen.strokeText(facts.names[k], at + 3, panels[1][0] + (lower ? 20 : 6));
      pen.lineWidth = 1;
      pen.fillText(facts.names[k], at + 3, panels[1][0] + (lower ? 20 : 6));
    });
    const reach = Math.max(4, ...Array.from(drawn.residual.subarray(first, end + 1), Math.abs)) * 1.05;
    y = panel(2, -reach, reach, "σ", undefined, [-Math.floor(reach), 0, Math.floor(reach)]);
    pen.fillStyle = "rgba(128,128,128,0.22)";
    pen.fillRect(left, y(2), right - left, y(-2) - y(2));
    line(drawn.residual, y, ink(), 1);
    pen.fillStyle = ink();
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const mark of ticks(from, to, Math.max(Math.floor(wide / 90), 4))) {
      const at = left + (mark - from) / (to - from) * (right - left);
      pen.strokeStyle = soft();
      pen.beginPath();
      pen.moveTo(at, room);
      pen.lineTo(at, room + 4);
      pen.stroke();
      pen.fillText(number(mark), at, room + 7);
    }
    pen.fillText("Energy loss (eV)", (left + right) / 2, room + 24);
    pen.restore();
    tell(chosen, found);
  }

  function tell(chosen, found) {
    const rows = composition(found), body = page("amounts").tBodies[0];
    body.replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      const state = row.density.reason && !row.fraction.reason ? row.fraction : row.density;
      [row.name, amount(row.density), amount(row.fraction), status(state)].forEach((text, i) => {
        const cell = document.createElement(i ? "td" : "th");
        cell.textContent = text;
        if (i === 1 || i === 2) cell.className = "number";
        if (!i) cell.scope = "row";
        if (i === 3 && !text.startsWith("?")) cell.className = "name";
        line.append(cell);
      });
      return line;
    }));
    for (const [name, reason] of Object.entries(facts.reasons)) {
      if (!reason) continue;
      const line = body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      line.append(head);
      line.insertCell();
      line.insertCell();
      line.insertCell().textContent = `? not identifiable: ${reason}`;
    }
    const parts = rows.map((row) => {
      const text = amount(row.density) || amount(row.fraction);
      return text && `${row.name} ${text}`;
    }).filter(Boolean);
    const unit = facts.density_reason ? "" : " nm⁻²";
    const thickness = Number.isFinite(found.thickness) ? `, t/λ ${found.thickness.toFixed(3)}` : "";
    page("where").textContent = chosen.text;
    page("finding").textContent = `${chosen.text}: reduced χ² ${found.chi2.toFixed(2)}${thickness}.`;
    const text = parts.length ? parts.join(", ") + unit : "no amount can be told";
    plot.setAttribute("aria-label", `Spectrum, model and residual. ${chosen.text}: ${text}.`);
  }

  // ---- what a reader does

  let waiting = false;
  function refresh() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; drawMap(); drawSpectrum(); });
  }

  function under(event) {
    const box = map.getBoundingClientRect();
    const clip = (share, most) => Math.min(Math.max(Math.floor(share * most), 0), most - 1);
    return {
      row: clip((event.clientY - box.top) / box.height, facts.rows),
      column: clip((event.clientX - box.left) / box.width, facts.columns),
    };
  }

  let dragging = false, fixed = false;
  function listen() {
    map.addEventListener("pointerdown", (event) => {
      map.setPointerCapture(event.pointerId);
      held = null;
      dragging = true;
      fixed = false;
      anchor = cursor = under(event);
      refresh();
    });
    map.addEventListener("pointermove", (event) => {
      if (!dragging && (fixed || held)) return;
      cursor = under(event);
      if (!dragging) anchor = null;
      refresh();
    });
    const release = () => {
      fixed = dragging && anchor && cursor && (anchor.row !== cursor.row || anchor.column !== cursor.column);
      if (!fixed) anchor = null;
      dragging = false;
    };
    map.addEventListener("pointerup", release);
    map.addEventListener("pointercancel", release);
    map.addEventListener("keydown", (event) => {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (event.key === "Escape") { held = anchor = null; fixed = false; refresh(); return; }
      if (!(event.key in moves)) return;
      event.preventDefault();
      held = null;
      if (event.shiftKey) { anchor = anchor || cursor; fixed = true; } else { anchor = null; fixed = false; }
      const [down, right] = moves[event.key];
      cursor = {
        row: Math.min(Math.max(cursor.row + down, 0), facts.rows - 1),
        column: Math.min(Math.max(cursor.column + right, 0), facts.columns - 1),
      };
      refresh();
    });
    page("quantity").addEventListener("change", (event) => { quantity = event.target.value; paint(); });
    page("window").addEventListener("change", (event) => {
      window_eV = event.target.value ? event.target.value.split(" ").map(Number) : null;
      refresh();
    });
    page("logarithm").addEventListener("change", refresh);
    new ResizeObserver(() => { paint(); drawSpectrum(); }).observe(document.querySelector(".explore"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { paint(); drawSpectrum(); });
  }

  function choices() {
    const add = (list, text, entered) => list.add(new Option(text, entered));
    for (const name of elements) add(page("quantity"), name, name);
    if (facts.low_loss) add(page("quantity"), "t/λ", "t/λ");
    add(page("quantity"), "counts", "counts");
    add(page("quantity"), "misfit (χ²)", "χ²");
    quantity = page("quantity").value;
    const [start, step] = facts.energy, last = start + step * (channels - 1);
    add(page("window"), "all", "");
    modelled.forEach((name, k) => {
      const from = Math.max(facts.onsets[k] - 30, start), to = Math.min(facts.onsets[k] + 70, last);
      if (to - from > 20) add(page("window"), facts.names[k], `${from} ${to}`);
    });
    for (const [zone, name] of Object.entries(facts.zones)) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `Sum of the ${name}`;
      button.addEventListener("click", () => {
        const list = [];
        data.zone.forEach((item, bin) => { if (item === Number(zone)) list.push(bin); });
        held = { list, text: `Zone ${name}, ${list.length} ${facts.side === 1 ? "pixels" : "bins"}`, box: null };
        refresh();
      });
      page("zones").append(button);
    }
  }

  load().then((loaded) => {
    data = loaded;
    data.sums = new Float64Array(bins);
    for (let bin = 0; bin < bins; bin++) {
      for (let i = 0; i < channels; i++) data.sums[bin] += data.counts[bin * channels + i];
    }
    cursor = { row: Math.floor(facts.rows / 2), column: Math.floor(facts.columns / 2) };
    choices();
    listen();
    paint();
    drawSpectrum();
    document.documentElement.dataset.state = "ready";
  }).catch((error) => {
    page("trouble").hidden = false;
    page("trouble").textContent = `The data of this page could not be read (${error}); it needs a browser of 2023 or later.`;
    throw error;
  });
})();
