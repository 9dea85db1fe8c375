// The catalogue: every copy at every site, with digests, and whether they are equal.

import { h } from "/dom.js";
import { age, badge, count, elapsed, mark, moment, plural, short } from "/words.js";

export const FEW = 12;

const ANSWERS = {
  formed: { word: "formed", tone: "ok", shape: "disc" },
  pending: { word: "waiting", tone: "busy", shape: "dots" },
  missing: { word: "missing", tone: "bad", shape: "cross" },
  unknown: { word: "unknown", tone: "warn", shape: "ring" },
  archived: { word: "archived", tone: "ok", shape: "box" },
  dropped: { word: "dropped", tone: "calm", shape: "dash" },
  forming: { word: "forming", tone: "busy", shape: "dots" },
  out_of_window: { word: "out of window", tone: "bad", shape: "cross" },
  begins_later: { word: "begins later", tone: "calm", shape: "dash" },
  rebuilding: { word: "rebuilding", tone: "busy", shape: "arrows" },
  emptied: { word: "emptied", tone: "bad", shape: "cross" },
};
const LOST = new Set(["missing", "emptied"]);

export function verdict(copy) {
  if (copy.equal === true) return { word: "equal", tone: "ok", shape: "disc" };
  if (copy.equal === false) return { word: "differs", tone: "bad", shape: "unequal" };
  const answers = Object.values(copy.sites).map((site) => site.answer);
  if (answers.some((answer) => LOST.has(answer))) return { word: "missing", tone: "bad", shape: "cross" };
  return { word: "waiting", tone: "busy", shape: "dots" };
}

// What most of the sites say; the primary where they are even.
function reference(copy, primary) {
  const votes = new Map();
  for (const site of Object.values(copy.sites)) {
    for (const digest of [site.digest, site.archive_digest]) if (digest) votes.set(digest, (votes.get(digest) ?? 0) + 1);
  }
  const most = Math.max(0, ...votes.values());
  const leading = [...votes].filter(([, number]) => number === most).map(([digest]) => digest);
  const own = copy.sites[primary]?.digest;
  return leading.includes(own) ? own : leading[0];
}

function siteCell(name, site, wanted) {
  const answer = ANSWERS[site?.answer] ?? { word: site?.answer ?? "–", tone: "calm", shape: "dash" };
  const digest = site?.digest ?? site?.archive_digest;
  const other = digest && digest !== wanted;
  const shown = other ? { word: "differs", tone: "bad", shape: "unequal" } : answer;
  return h(
    "td",
    { role: "cell", class: `answer tone-${shown.tone}`, "data-label": name },
    digest
      ? [
          h("span", { class: "digest", title: `${answer.word}: ${digest}` }, mark(shown.shape), h("code", {}, short(digest))),
          (other || answer.word !== "formed") && h("span", { class: "small" }, other ? "differs" : answer.word),
        ]
      : h("span", { class: "digest" }, mark(shown.shape), h("span", {}, shown.word)),
    site?.archive && digest !== site.archive_digest && h("span", { class: "small", title: site.archive }, "and an archive"),
  );
}

function protection(copy, now) {
  const locked = copy.locked_until;
  const holds = locked !== null && Date.parse(locked) > now;
  return [
    locked !== null &&
      h("span", { class: "protect", title: locked }, mark("lock"), h("span", {}, holds ? `locked until ${moment(locked)}` : "lock ended")),
    copy.kept && h("span", { class: "protect" }, mark("pin"), h("span", {}, "kept")),
  ];
}

function row(copy, sites, primary, now) {
  const wanted = reference(copy, primary);
  const found = verdict(copy);
  return h(
    "tr",
    { role: "row", "data-key": `${copy.sequence}-${copy.seal}-${copy.name}`, class: found.tone === "bad" ? "row-bad" : null },
    h(
      "th",
      { role: "rowheader", scope: "row" },
      h("span", { class: "copy-name" }, copy.name || `#${copy.sequence}`),
      h("span", { class: "small muted", title: copy.time }, `${elapsed(age(copy.time, now))} ago, at ${moment(copy.time)}`),
      protection(copy, now),
    ),
    h("td", { role: "cell", class: "num sequence", "data-label": "sequence" }, count(copy.sequence)),
    h("td", { role: "cell", class: "verdict" }, badge(found)),
    sites.map((site) => siteCell(site, copy.sites[site], wanted)),
  );
}

function summary(copies) {
  const words = new Map();
  for (const copy of copies) words.set(verdict(copy).word, (words.get(verdict(copy).word) ?? 0) + 1);
  return [...words].map(([word, number]) => `${count(number)} ${word}`).join(", ");
}

export function copies(group, catalogue, all, now) {
  const title = h("h3", { class: "title" }, "Point-in-time copies");
  if (!catalogue) return [title, h("p", { class: "muted" }, "Being asked for…")];
  const found = catalogue.copies;
  if (!found.length) {
    return [
      title,
      h("p", { class: "muted" }, "No copy yet. One is made by: ", h("code", {}, `tidelog pitc create NAME --group ${group.group} --in 5s`)),
    ];
  }
  const shown = all ? found : found.slice(0, FEW);
  return [
    h("div", { class: "title-row" }, title, h("span", { class: "muted" }, `${plural(found.length, "copy", "copies")}: ${summary(found)}`)),
    h(
      "table",
      { role: "table", class: "catalogue" },
      h("caption", { class: "hidden" }, `The copies of group ${group.group}, newest first, with the digest that each site has told`),
      h(
        "thead",
        { role: "rowgroup" },
        h(
          "tr",
          { role: "row" },
          ["copy", "sequence", "sites agree", ...catalogue.sites].map((name, index) =>
            h("th", { role: "columnheader", scope: "col", class: index === 1 ? "num" : null }, name),
          ),
        ),
      ),
      h("tbody", { role: "rowgroup" }, shown.map((copy) => row(copy, catalogue.sites, group.primary?.site, now))),
    ),
    found.length > FEW &&
      h("p", {}, h("button", { type: "button", "data-action": "all-copies", "aria-expanded": String(all) }, all ? `Show the newest ${FEW}` : `Show all ${count(found.length)}`)),
    catalogue.protection_unknown && h("p", { class: "small muted" }, `Locks are not known: ${catalogue.protection_unknown}.`),
  ];
}
