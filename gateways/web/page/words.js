// Numbers, times and states, as people read them. Every state is a word and a shape, and only then a colour.

import { h, s } from "/dom.js";

export const STATES = {
  STREAMING: { word: "streaming", tone: "ok", shape: "disc" },
  REPLAYING: { word: "catching up", tone: "busy", shape: "arrows" },
  STARTING: { word: "starting", tone: "busy", shape: "arrow" },
  REBUILDING: { word: "rebuilding", tone: "busy", shape: "arrows" },
  UNSEEN: { word: "not seen", tone: "bad", shape: "diamond" },
  WAITING: { word: "waiting", tone: "warn", shape: "triangle" },
  STOPPED: { word: "stopped", tone: "warn", shape: "square" },
  UNKNOWN: { word: "never seen", tone: "warn", shape: "ring" },
  SILENT: { word: "silent", tone: "bad", shape: "diamond" },
  HALTED: { word: "halted", tone: "bad", shape: "octagon" },
  DIVERGED: { word: "diverged", tone: "bad", shape: "octagon" },
  NEEDS_REBUILD: { word: "needs a rebuild", tone: "bad", shape: "octagon" },
};

export const WRITERS = {
  alive: { word: "writing", tone: "ok", shape: "disc" },
  closed: { word: "closed", tone: "calm", shape: "square" },
  ended: { word: "ended by an error", tone: "warn", shape: "triangle" },
  silent: { word: "silent", tone: "bad", shape: "diamond" },
  unknown: { word: "not seen", tone: "bad", shape: "diamond" },
  none: { word: "nothing written yet", tone: "calm", shape: "ring" },
};

const SHAPES = {
  disc: () => [s("circle", { cx: 8, cy: 8, r: 7 }), s("path", { class: "cut", d: "M4.8 8.3 7 10.5 11.3 5.9" })],
  ring: () => [s("circle", { class: "line", cx: 8, cy: 8, r: 5.8 })],
  square: () => [s("rect", { x: 2, y: 2, width: 12, height: 12, rx: 2 })],
  diamond: () => [s("path", { d: "M8 .6 15.4 8 8 15.4 .6 8Z" }), s("path", { class: "cut", d: "M8 4.6V8.6M8 11.2v.2" })],
  octagon: () => [
    s("path", { d: "M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5Z" }),
    s("path", { class: "cut", d: "M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2" }),
  ],
  triangle: () => [s("path", { d: "M8 1 15.4 14.6H.6Z" }), s("path", { class: "cut", d: "M8 6v4M8 12.2v.2" })],
  arrow: () => [s("path", { d: "M2.5 1.6 14.5 8 2.5 14.4Z" })],
  arrows: () => [s("path", { d: "M.8 2 8 8 .8 14ZM8 2l7.2 6L8 14Z" })],
  unequal: () => [
    s("path", { d: "M5 .8h6L15.2 5v6L11 15.2H5L.8 11V5Z" }),
    s("path", { class: "cut", d: "M4.6 6.3h6.8M4.6 9.7h6.8M9.8 4.2l-3.6 7.6" }),
  ],
  dots: () => [s("path", { class: "line", d: "M8 1.4a6.6 6.6 0 1 0 0 13.2A6.6 6.6 0 0 0 8 1.4Z" }), s("path", { class: "stroke", d: "M8 4.6V8l2.4 1.8" })],
  cross: () => [s("path", { class: "stroke", d: "M3 3l10 10M13 3 3 13" })],
  dash: () => [s("path", { class: "stroke", d: "M3.5 8h9" })],
  box: () => [s("path", { d: "M1 2.5h14v4H1ZM2 8h12v6H2Z" })],
  lock: () => [s("rect", { x: 2.5, y: 7, width: 11, height: 8, rx: 1.5 }), s("path", { class: "stroke", d: "M5 7V4.8a3 3 0 0 1 6 0V7" })],
  pin: () => [s("path", { d: "M8 1.2 10 6l5 .4-3.8 3.2 1.2 5L8 12l-4.4 2.6 1.2-5L1 6.4 6 6Z" })],
};

export const mark = (shape) =>
  s("svg", { class: `mark shape-${shape}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, SHAPES[shape]());

export const badge = ({ word, tone, shape }, more) =>
  h("span", { class: `badge tone-${tone}`, title: more }, mark(shape), h("span", {}, word));

export const stateOf = (site) => STATES[site.state] ?? { word: site.state.toLowerCase(), tone: "warn", shape: "ring" };

const integer = new Intl.NumberFormat("en");

export const count = (number) => integer.format(Math.round(number));
export const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

export function perSecond(rate) {
  if (rate === null || rate === undefined) return "–/s";
  if (rate < 10) return `${rate.toFixed(rate < 0.05 ? 0 : 1)}/s`;
  if (rate < 10000) return `${count(rate)}/s`;
  return `${(rate / 1000).toFixed(rate < 100000 ? 1 : 0)} k/s`;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 0.0005) return "0 s";
  if (seconds < 1) return `${count(seconds * 1000)} ms`;
  if (seconds < 10) return `${Number.isInteger(seconds) ? seconds : seconds.toFixed(1)} s`;
  if (seconds < 100) return `${count(seconds)} s`;
  if (seconds < 100 * 60) return `${count(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${count(seconds / 3600)} h`;
  return `${count(seconds / 86400)} d`;
}

// To the second, for what is counted up before somebody's eyes.
export function elapsed(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 100 ? `${whole} s` : span(whole);
}

const pad = (number) => String(number).padStart(2, "0");

export function clock(iso, withSeconds = true) {
  const date = new Date(iso);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}${withSeconds ? `:${pad(date.getSeconds())}` : ""}`;
}

export function moment(iso) {
  const date = new Date(iso);
  if (date.toDateString() === new Date().toDateString()) return clock(iso);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(iso, false)}`;
}

export const age = (iso, now) => (now - Date.parse(iso)) / 1000;
export const short = (digest) => digest.slice(0, 12);
