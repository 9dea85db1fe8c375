// The page: what is known, and drawing it. Drawn anew whenever something is heard, and once a second for the ages.

import { charts } from "/charts.js";
import { copies } from "/copies.js";
import { h, morph } from "/dom.js";
import { flow, wires } from "/flow.js";
import { connect } from "/link.js";
import { alarms, announcement, facts, groups, headline, help, subline } from "/overview.js";
import { age, clock, elapsed, mark } from "/words.js";

const LOCKS_MS = 30000;
const THEMES = ["auto", "light", "dark"];
const byId = (id) => document.getElementById(id);

const known = {
  link: { up: true, since: Date.now(), reason: "" },
  look: null, // the newest event
  skew: 0, // of this browser's clock to the server's, in milliseconds
  // By group; a group may have the name of something that every object has.
  newest: new Map(), // the newest bucket
  history: new Map(), // {step, buckets}
  copies: new Map(),
  cursor: null,
  all: false,
};

// What is old is shown as of its time: nothing in it ages.
const now = () => (old() && known.look?.look.time ? Date.parse(known.look.look.time) : Date.now() - known.skew);
const old = () => !known.link.up || (known.look !== null && known.look.look.time !== null && !known.look.look.answers);

function chosen() {
  const there = known.look?.status?.groups ?? [];
  const name = decoded(location.hash.slice(1));
  return there.find((group) => group.group === name) ?? there[0] ?? null;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody has typed it
  }
}

const historyOf = (group) => `/api/v1/history?group=${encodeURIComponent(group)}`;

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (answer.status === 401) location.assign("/login");
  return answer.ok ? answer.json() : null;
}

const asking = new Set();
async function once(key, path, take) {
  if (asking.has(key)) return;
  asking.add(key);
  try {
    const found = await ask(path);
    if (found !== null) take(found);
  } catch {
    // The link says that the server is away, and what was asked is asked again with the next event.
  } finally {
    asking.delete(key);
  }
  draw();
}

function refresh() {
  const group = chosen()?.group;
  if (!group || !known.link.up) return;
  const history = known.history.get(group);
  const newest = known.newest.get(group);
  const last = history?.buckets.at(-1);
  if (history && newest && history.run === known.look.run && (!last || newest.time - last.time <= 2 * history.step)) {
    // Those after it are of a clock that was put back since.
    while (history.buckets.length && history.buckets.at(-1).time >= newest.time) history.buckets.pop();
    history.buckets.push(newest);
    history.buckets.splice(0, Math.max(0, history.buckets.length - history.most));
  } else if (newest) {
    const run = known.look.run;
    once(`history ${group}`, historyOf(group), (found) => {
      known.history.set(group, { run, step: found.bucket_seconds, most: found.buckets, buckets: found.groups[group] });
    });
  }
  const catalogue = known.copies.get(group);
  const stale = catalogue && !old() && Date.now() - catalogue.asked > LOCKS_MS;
  if (!catalogue || catalogue.revision !== known.look.copies[group] || stale) {
    once(`copies ${group}`, `/api/v1/copies?group=${encodeURIComponent(group)}`, (found) => {
      known.copies.set(group, { ...found, asked: Date.now() });
    });
  }
}

function banners() {
  const found = [];
  if (!known.link.up) {
    const why = known.link.reason ? `: ${known.link.reason}` : "";
    found.push({ strong: "No connection to the status server", text: ` since ${clock(known.link.since)}${why}. It is tried again by itself.` });
  } else if (known.look && !known.look.look.answers && (known.look.look.reason || known.look.look.time)) {
    const { since, reason, hint } = known.look.look;
    const what = known.look.look.kafka_away ? "Kafka has not answered" : "No look has succeeded";
    found.push({ strong: `${what} since ${clock(since)}`, text: `: ${reason}.${hint ? ` Hint: ${hint}.` : ""}` });
  } else if (known.look?.look.late) {
    found.push({ strong: "A look takes long", text: ": Kafka answers, and there is much to ask of it." });
  }
  if (found.length && known.look?.look.time) {
    found[0].text += ` What is shown below is of ${clock(known.look.look.time)}.`;
  }
  return found.map(({ strong, text }) => h("p", { class: "banner" }, mark("triangle"), h("span", {}, h("strong", {}, strong), text)));
}

function looked() {
  const time = known.look?.look.time;
  if (!time) return [h("span", { class: "muted" }, "no look yet")];
  const seconds = Math.max(0, age(time, now()));
  if (old()) return [badgeOld(), h("span", {}, `picture of ${clock(time)}`)];
  return [h("span", { class: "live", "aria-hidden": "true" }), h("span", { class: "num" }, `looked ${elapsed(seconds)} ago`), h("time", { class: "num muted wide", datetime: time }, ` ${clock(time)}`)];
}
const badgeOld = () => h("span", { class: "badge-old" }, "old");

function draw() {
  const { look } = known;
  morph(byId("banners"), banners());
  morph(byId("looked"), looked());
  document.documentElement.toggleAttribute("data-old", old());
  const status = look?.status;
  if (!status) {
    morph(byId("headline"), look?.look.reason ? unseen() : "Looking at Kafka…");
    return;
  }
  const said = old() ? outOfSight() : headline(status, look.help);
  const shape = { ok: "disc", busy: "arrows", warn: "triangle", bad: "octagon", calm: "ring" }[said.tone];
  morph(byId("headline"), mark(shape), h("span", {}, said.text), h("small", { class: "muted" }, old() ? `before: ${headline(status, look.help).text}` : subline(status)));
  byId("headline").className = `tone-${said.tone}`;
  morph(byId("announce"), announcement(said.text, status));
  document.title = said.tone === "ok" ? "tidelog" : `${said.text} – tidelog`;
  morph(byId("alarms"), alarms(status));
  morph(byId("help"), help(look.help));
  const group = chosen();
  byId("group").hidden = byId("history-of").hidden = group === null;
  morph(byId("groups"), status.groups.length ? groups(status, known.newest, group?.group, now()) : empty());
  if (group !== null) drawGroup(group);
}

const unseen = () => (known.look.look.kafka_away ? "Kafka does not answer" : "Nothing can be seen");
const outOfSight = () => ({ text: known.link.up ? unseen() : "The server is out of reach", tone: "warn" });

const empty = () =>
  h("div", { class: "card empty" }, h("p", {}, "A consistency group is made by:"), h("p", {}, h("code", {}, "tidelog group create NAME")), h("p", { class: "muted" }, "It appears here by itself."));

function drawGroup(group) {
  const newest = known.newest.get(group.group);
  byId("history").href = historyOf(group.group);
  morph(byId("facts"), facts(group, now()));
  morph(byId("flow"), flow(group, newest, now()));
  wires(byId("flow"), group, newest);
  drawCharts(group);
  drawCopies(group);
}

// Hundreds of rows are drawn anew when they change, or their ages have become wrong.
let drawn = "";
function drawCopies(group) {
  const catalogue = known.copies.get(group.group);
  const ages = known.all ? Math.floor(now() / 10000) : now();
  const wanted = [group.group, catalogue?.asked, known.all, ages].join();
  if (wanted === drawn) return;
  drawn = wanted;
  morph(byId("copies"), copies(group, catalogue, known.all, now()));
}

function drawCharts(group) {
  const { paddingLeft, paddingRight } = getComputedStyle(byId("charts"));
  const room = byId("charts").clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
  morph(byId("charts"), charts(group, known.history.get(group.group), known.cursor, room, now(), !old()));
  const range = byId("moment");
  const buckets = known.history.get(group.group)?.buckets;
  if (!range || !buckets?.length) return;
  const newest = buckets.at(-1).time;
  Object.assign(range, { max: newest, min: newest - 3600, step: known.history.get(group.group).step });
  range.value = known.cursor ?? newest;
}

function choose(time) {
  const group = chosen();
  const buckets = known.history.get(group?.group)?.buckets ?? [];
  if (!buckets.length) return;
  const nearest = buckets.reduce((best, one) => (Math.abs(one.time - time) < Math.abs(best.time - time) ? one : best));
  known.cursor = nearest === buckets.at(-1) ? null : nearest.time;
  drawCharts(group);
}

async function copyText(button) {
  const text = button.dataset.text;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.previousElementSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

function theme(next) {
  const root = document.documentElement;
  if (next === "auto") delete root.dataset.theme;
  else root.dataset.theme = next;
  byId("theme").textContent = `Theme: ${next}`;
}

const actions = {
  copy: copyText,
  theme() {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % THEMES.length];
    localStorage.setItem("tidelog-theme", next);
    theme(next);
  },
  "all-copies"() {
    known.all = !known.all;
    draw();
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) actions[button.dataset.action](button);
});
document.addEventListener("input", (event) => {
  if (event.target.id === "moment") choose(Number(event.target.value));
});
byId("charts").addEventListener("pointermove", (event) => {
  const chart = event.target.closest(".chart");
  if (!chart) return;
  const { from, left, inner } = chart.dataset;
  const part = (event.clientX - chart.getBoundingClientRect().left - left) / inner;
  choose(Number(from) + Math.min(1, Math.max(0, part)) * 3600);
});
byId("charts").addEventListener("pointerleave", () => {
  if (document.activeElement?.id === "moment") return;
  known.cursor = null;
  draw();
});
window.addEventListener("hashchange", () => {
  known.all = false;
  known.cursor = null;
  refresh();
  draw();
});
new ResizeObserver(() => draw()).observe(byId("main"));
setInterval(draw, 1000);

theme(document.documentElement.dataset.theme ?? "auto");
byId("zone").textContent = `Times are this browser's (${Intl.DateTimeFormat().resolvedOptions().timeZone}).`;

connect({
  onUp() {
    known.link = { up: true, since: Date.now(), reason: "" };
  },
  onDown(reason) {
    if (known.link.up) known.link = { up: false, since: Date.now(), reason };
    else known.link.reason = reason;
    draw();
  },
  onLook(look) {
    const anew = look.look.time !== known.look?.look.time;
    known.look = look;
    if (look.look.answers && anew) known.skew = Date.now() - Date.parse(look.look.time);
    byId("logout").hidden = !look.guarded;
    for (const [group, bucket] of Object.entries(look.newest)) known.newest.set(group, bucket);
    refresh();
    draw();
  },
});
