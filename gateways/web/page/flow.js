// The picture: the writer, the log, the sites, and what flows between them. The places are HTML in a grid, so that
// they are text to everybody; the lines are drawn between them when the grid has found its size.

import { become, h, s } from "/dom.js";
import { WRITERS, age, badge, count, elapsed, perSecond, span, stateOf } from "/words.js";

const FLOWS = new Set(["STREAMING", "REPLAYING", "STARTING"]);

function place(kind, tone, name, tag, ...lines) {
  return h(
    "div",
    { class: `place ${kind} edge-${tone}` },
    h("div", { class: "place-name" }, h("strong", { title: name }, name), tag && h("span", { class: "tag" }, tag)),
    lines,
  );
}

const line = (label, value, more) =>
  h("div", { class: "pair", title: more }, h("span", { class: "muted" }, label), " ", h("span", { class: "num" }, value));

function writerPlace(group) {
  if (group.mirror_of !== null) {
    return place("writer", "calm", "Another region", "mirror", line("cluster", group.mirror_of));
  }
  const writer = group.writer;
  const state = WRITERS[writer.state] ?? { word: writer.state, tone: "warn", shape: "ring" };
  const reason = writer.report?.reason;
  const paced = writer.pacing?.since;
  return place(
    "writer",
    state.tone,
    "Writer",
    group.primary?.site && `at ${group.primary.site}`,
    badge(state),
    line("not in the log", span(writer.not_logged_seconds)),
    paced && h("p", { class: "small tone-warn" }, `${writer.pacing.policy}: ${writer.pacing.reason}`),
    reason && h("p", { class: "small" }, reason),
  );
}

function logPlace(group, now) {
  const newest = group.newest;
  return place(
    "log",
    "calm",
    "Kafka log",
    null,
    line("sequence", newest ? count(newest.sequence) : "empty"),
    line("newest", newest ? `${elapsed(age(newest.time, now))} ago` : "–", newest?.time),
  );
}

function sitePlace(site, primary) {
  const state = stateOf(site);
  const objective = site.rpo_objective_seconds;
  const unknown = site.rpo_seconds === null;
  const over = objective !== null && (unknown || site.rpo_seconds > objective);
  const beside = unknown ? ", objective" : over ? " over" : " of";
  const behind = site.lag_events;
  return h(
    "div",
    { class: `place site edge-${state.tone}` },
    h(
      "div",
      { class: "site-head" },
      h("strong", { title: site.site }, site.site),
      (primary || !site.configured) && h("span", { class: "tag" }, primary ? "primary" : "not configured"),
      badge(state, site.reason || undefined),
    ),
    h(
      "div",
      { class: "site-facts" },
      h(
        "span",
        { title: "the age of the oldest change that is not in this site's image", class: over ? "tone-bad" : null },
        h("span", { class: over ? null : "muted" }, "RPO "),
        h("span", { class: "num strong" }, span(site.rpo_seconds)),
        objective !== null && h("span", { class: over ? null : "muted" }, `${beside} ${span(objective)}`),
      ),
      behind === null
        ? site.reported && h("span", { class: "muted num" }, `at ${count(site.sequence)}`)
        : h("span", { class: "muted num" }, behind ? `${count(behind)} behind` : "up to date"),
    ),
  );
}

const toGo = (site) => (site.state === "REPLAYING" && site.eta_seconds ? `, ${span(site.eta_seconds)} to go` : "");

function siteLabel(site, rates) {
  if (!FLOWS.has(site.state)) return h("span", { class: `flow-label tone-${stateOf(site).tone}` }, "no flow");
  const lag = site.lag_events ? `${span(site.lag_seconds)} behind${toGo(site)}` : "no lag";
  return h(
    "span",
    { class: "flow-label" },
    h("span", { class: "num strong" }, perSecond(rates?.[0])),
    " ",
    h("span", { class: "muted" }, lag),
  );
}

export function flow(group, newest, now) {
  const rows = Math.max(1, group.sites.length);
  const logRate = newest?.events_per_second;
  const primary = group.primary?.site;
  return [
    h("h3", { class: "title" }, "Flow"),
    h(
      "div",
      { class: "flow", "data-rows": rows },
      s("svg", { class: "wires", "aria-hidden": "true", "data-key": "wires", "data-keep": "" }),
      h("div", { class: "cell cell-writer", "data-key": "writer" }, writerPlace(group)),
      h(
        "div",
        { class: "cell cell-in", "data-key": "in" },
        h("span", { class: "flow-label" }, h("span", { class: "num strong" }, perSecond(logRate)), " ", h("span", { class: "muted" }, "events")),
      ),
      h("div", { class: "cell cell-log", "data-key": "log" }, logPlace(group, now)),
      h(
        "ul",
        { class: "branches", "data-key": "branches" },
        group.sites.map((site) =>
          h(
            "li",
            { class: "branch", "data-key": site.site },
            h("div", { class: "cell cell-out" }, siteLabel(site, newest?.sites?.[site.site])),
            sitePlace(site, site.site === primary),
          ),
        ),
      ),
    ),
  ];
}

const width = (rate) => Math.min(9, 1.6 + 1.7 * Math.log10(1 + (rate ?? 0)));

function wire(d, rate, flows, tone) {
  const size = width(flows ? rate : 0);
  return [
    s("path", { d, class: `wire ${flows ? "" : "wire-off"} tone-${tone}`, "stroke-width": size.toFixed(1) }),
    flows && rate > 0 && s("path", { d, class: "pulse", "stroke-width": Math.max(1.4, size * 0.45).toFixed(1) }),
  ];
}

// The lines, by where the places are. `root` is the element that `flow` was drawn into.
export function wires(root, group, newest) {
  const grid = root.querySelector(".flow");
  if (!grid) return;
  const origin = grid.getBoundingClientRect();
  const box = (node) => {
    const found = node.getBoundingClientRect();
    return {
      left: found.left - origin.left,
      right: found.right - origin.left,
      top: found.top - origin.top,
      bottom: found.bottom - origin.top,
      middle: (found.top + found.bottom) / 2 - origin.top,
      center: (found.left + found.right) / 2 - origin.left,
    };
  };
  const writer = box(grid.querySelector(".writer"));
  const log = box(grid.querySelector(".log"));
  const across = log.left > writer.right;
  const logRate = newest?.events_per_second ?? 0;
  const alive = group.writer.state === "alive" || group.mirror_of !== null;
  const drawn = [
    across
      ? wire(`M${writer.right} ${writer.middle}H${log.left}`, logRate, alive, "calm")
      : wire(`M28 ${writer.bottom}V${log.top}`, logRate, alive, "calm"),
  ];
  grid.querySelectorAll(".branch").forEach((branch, index) => {
    const site = group.sites[index];
    const to = box(branch.querySelector(".site"));
    const bend = (log.right + to.left) / 2 - 30;
    const d = across
      ? `M${log.right} ${log.middle}C${bend} ${log.middle} ${log.right + 20} ${to.middle} ${bend + 20} ${to.middle}H${to.left}`
      : `M12 ${log.bottom}V${to.middle - 10}Q12 ${to.middle} 22 ${to.middle}H${to.left}`;
    const rate = newest?.sites?.[site.site]?.[0] ?? 0;
    drawn.push(wire(d, rate, FLOWS.has(site.state), stateOf(site).tone));
  });
  const size = { width: origin.width, height: origin.height, viewBox: `0 0 ${origin.width} ${origin.height}` };
  const wanted = s("svg", { class: "wires", "aria-hidden": "true", "data-key": "wires", ...size }, drawn);
  become(grid.querySelector(".wires"), wanted);
}
