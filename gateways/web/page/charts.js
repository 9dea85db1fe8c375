// The last hour as lines: events per second, and for each site the three parts of its RPO beside their objectives.

import { h, s } from "/dom.js";
import { clock, count, perSecond, span } from "/words.js";

const HOUR = 3600;
const HEIGHT = 148;
const LEFT = 52;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 22;
// Columns of a site's numbers in the history.
const RATE = 0;
const PARTS = [
  { column: 2, name: "not in the log", line: "a" },
  { column: 3, name: "not applied", line: "b" },
  { column: 4, name: "not in a copy", line: "c" },
];
const LINES = ["a", "b", "c", "d", "e", "f"];

const AGES = [0, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400];
const AGE_WORDS = ["0", "100 ms", "1 s", "10 s", "1 min", "10 min", "1 h", "6 h", "1 d", "7 d", "30 d"];

// Ages reach from milliseconds to days: equal distances are equal factors, and 0 is at the bottom.
function ageScale(top) {
  const bend = (value) => Math.log10(1 + value / 0.1);
  const high = AGES.find((tick) => tick >= top && tick >= 1) ?? top;
  const far = bend(high);
  const ticks = AGES.map((value, index) => ({ value, word: AGE_WORDS[index] })).filter(({ value }) => value <= high);
  const few = ticks.filter(({ value }) => value !== 0.1 || high <= 10);
  const shown = few.length > 6 ? few.filter((_, index) => (few.length - 1 - index) % 2 === 0 || index === 0) : few;
  return { at: (value) => bend(Math.min(value, high)) / far, ticks: shown };
}

const rateWord = (value) => (value < 10000 ? (Number.isInteger(value) ? count(value) : value.toFixed(1)) : `${count(value / 1000)} k`);

function rateScale(top) {
  const rough = Math.max(top, 1) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((found) => found >= rough);
  const high = Math.ceil(Math.max(top, 1) / step) * step;
  const ticks = [];
  for (let value = 0; value <= high + step / 2; value += step) ticks.push({ value, word: rateWord(value) });
  return { at: (value) => Math.min(value, high) / high, ticks };
}

// A path that is broken where nothing is known.
function path(points, x, y, step) {
  let d = "";
  let last = null;
  let alone = true;
  for (const [time, value] of points) {
    if (value === null || value === undefined) {
      last = null;
      continue;
    }
    const joined = last !== null && time - last <= 1.6 * step;
    if (!joined && last !== null && alone) d += "h.01";
    d += `${joined ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`;
    alone = !joined;
    last = time;
  }
  return alone && d ? `${d}h.01` : d;
}

function clockTicks(from, to, room) {
  const every = room < 360 ? 1200 : 600;
  const ticks = [];
  for (let time = Math.ceil(from / every) * every; time <= to; time += every) ticks.push(time);
  return ticks;
}

function drawing(width, times, step, scale, series, objectives, cursor, label) {
  const to = times.to;
  const from = to - HOUR;
  const inner = width - LEFT - RIGHT;
  const x = (time) => LEFT + ((Math.max(from, time) - from) / HOUR) * inner;
  const y = (value) => TOP + (1 - scale.at(value)) * (HEIGHT - TOP - BOTTOM);
  return s(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label, "data-from": from, "data-left": LEFT, "data-inner": inner },
    scale.ticks.map(({ value, word }) => [
      s("path", { class: "grid", d: `M${LEFT} ${y(value).toFixed(1)}H${width - RIGHT}` }),
      s("text", { class: "tick", x: LEFT - 8, y: (y(value) + 4).toFixed(1), "text-anchor": "end" }, word),
    ]),
    clockTicks(from, to, inner).map((time) => [
      s("path", { class: "grid faint", d: `M${x(time).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}` }),
      x(time) > LEFT + 14 && x(time) < width - 26 &&
        s("text", { class: "tick", x: x(time).toFixed(1), y: HEIGHT - 5, "text-anchor": "middle" }, clock(time * 1000, false)),
    ]),
    objectives.map(({ value, line }) => s("path", { class: `objective line-${line}`, d: `M${LEFT} ${y(value).toFixed(1)}H${width - RIGHT}` })),
    series.map(({ line, points }) => s("path", { class: `line line-${line}`, d: path(points.filter(([time]) => time >= from - step), x, y, step) })),
    cursor !== null && s("path", { class: "cursor", d: `M${x(cursor).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}` }),
  );
}

const swatch = (line, kind = "line") =>
  s("svg", { class: "swatch", viewBox: "0 0 26 8", "aria-hidden": "true" }, s("path", { class: `${kind} line-${line}`, d: "M1 4H25" }));

const legend = (entries) =>
  h(
    "ul",
    { class: "legend" },
    entries.map(({ line, name, value, kind }) => h("li", {}, swatch(line, kind), h("span", {}, name), h("span", { class: "num strong" }, value))),
  );

const top = (series, objectives) =>
  Math.max(0, ...series.flatMap(({ points }) => points.map(([, value]) => value ?? 0)), ...objectives.map(({ value }) => value));

const at = (points, time) => points.find(([one]) => one === time)?.[1];

function figure(key, title, note, svg, entries) {
  return h("figure", { "data-key": key }, h("figcaption", {}, h("strong", {}, title), " ", h("span", { class: "muted" }, note)), svg, legend(entries));
}

function rates(buckets, sites, step, width, times, cursor, shown) {
  const series = [
    { line: "log", name: "log", points: buckets.map((bucket) => [bucket.time, bucket.events_per_second]) },
    ...sites.map((site, index) => ({
      line: LINES[index % LINES.length],
      name: site.site,
      points: buckets.map((bucket) => [bucket.time, bucket.sites[site.site]?.[RATE] ?? null]),
    })),
  ];
  const said = series.map(({ name, points }) => `${name} ${perSecond(at(points, shown))}`).join(", ");
  const svg = drawing(width, times, step, rateScale(top(series, [])), series, [], cursor, `Events per second over the last hour. ${said}`);
  const entries = series.map(({ line, name, points }) => ({ line, name, value: perSecond(at(points, shown)) }));
  return figure("rates", "Throughput", "events per second, into the log and applied, heartbeats left out", svg, entries);
}

function exposure(buckets, site, step, width, times, cursor, shown) {
  const series = PARTS.map(({ column, name, line }) => ({
    line,
    name,
    points: buckets.map((bucket) => [bucket.time, bucket.sites[site.site]?.[column] ?? null]),
  }));
  const objectives = [
    { line: "b", name: "RPO objective", value: site.rpo_objective_seconds },
    { line: "c", name: "copy RPO objective", value: site.copy_rpo_objective_seconds },
  ].filter(({ value }) => value !== null && value !== undefined);
  const said = series.map(({ name, points }) => `${name} ${span(at(points, shown))}`).join(", ");
  const svg = drawing(width, times, step, ageScale(top(series, objectives)), series, objectives, cursor, `RPO of ${site.site} over the last hour. ${said}`);
  const entries = [
    ...series.map(({ line, name, points }) => ({ line, name, value: span(at(points, shown)) })),
    ...objectives.map(({ line, name, value }) => ({ line, name, value: span(value), kind: "objective" })),
  ];
  return figure(`rpo-${site.site}`, `RPO at ${site.site}`, "what would be lost, by age", svg, entries);
}

// `history` has the group's buckets; `cursor` is the time of the one to read, null for the newest, which is now if `live`.
export function charts(group, history, cursor, room, now, live) {
  const buckets = history?.buckets ?? [];
  const title = h("h3", { class: "title" }, "The last hour");
  if (!buckets.length) return [title, h("p", { class: "muted" }, "Nothing has been seen yet.")];
  const step = history.step;
  const newest = buckets[buckets.length - 1].time;
  const times = { to: Math.max(newest + step, Math.floor(now / 1000 / step) * step) };
  const shown = cursor ?? newest;
  const columns = room >= 760 ? 2 : 1;
  const frame = matchMedia("(max-width: 560px)").matches ? 0 : 34; // of a figure, by style.css
  const width = Math.max(160, Math.floor((room - (columns - 1) * 20) / columns) - frame);
  const from = times.to - HOUR;
  return [
    title,
    h(
      "div",
      { class: "charts" },
      rates(buckets, group.sites, step, width, times, cursor, shown),
      group.sites.map((site) => exposure(buckets, site, step, width, times, cursor, shown)),
    ),
    h(
      "p",
      { class: "moment" },
      h("label", { for: "moment" }, "Moment"),
      h("input", { type: "range", id: "moment", min: from, max: newest, step, "data-keep": "", "aria-describedby": "moment-text" }),
      h("output", { id: "moment-text", for: "moment", class: "num" }, cursor === null && live ? "now" : clock(shown * 1000)),
    ),
  ];
}
