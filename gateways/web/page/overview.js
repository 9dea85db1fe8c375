// What stands above the group that is looked at: one sentence, the alarms, what needs a hand, and the other groups.

import { h } from "/dom.js";
import { STATES, badge, count, elapsed, age, mark, perSecond, plural, span, stateOf } from "/words.js";

const BUSY = new Set(["REPLAYING", "STARTING", "REBUILDING"]);
const STUCK = { NEEDS_REBUILD: "needs a rebuild", DIVERGED: "has another history" };
const NAMED = 8; // groups, of many
const AWAY = new Set(["SILENT", "UNKNOWN", "STOPPED"]);

// Of a site, in the order of what matters most.
const RANK = ["HALTED", "NEEDS_REBUILD", "DIVERGED", "SILENT", "UNKNOWN", "STOPPED", "WAITING", "REBUILDING", "REPLAYING", "STARTING"];
const rank = (site) => (RANK.includes(site.state) ? RANK.indexOf(site.state) : RANK.length);
const worst = (group) => [...group.sites].sort((one, other) => rank(one) - rank(other))[0];

// A site serves several groups, and is one site.
const named = (sites) => [...new Set(sites.map((site) => site.site))];

export function headline(status, help) {
  const groups = status.groups;
  if (!groups.length) return { text: "There is no group yet", tone: "calm" };
  const sites = groups.flatMap((group) => group.sites);
  const stuck = help.filter((found) => found.stuck);
  if (stuck.length === 1) {
    return { text: `${stuck[0].site} ${STUCK[stuck[0].state] ?? "has halted"}, for ${stuck[0].group}`, tone: "bad" };
  }
  if (stuck.length) return { text: `${plural(named(stuck).length, "site waits", "sites wait")} for an operator`, tone: "bad" };
  if (status.alarms.length) return { text: plural(status.alarms.length, "alarm", "alarms"), tone: "bad" };
  const silent = named(sites.filter((site) => site.state === "SILENT"));
  if (silent.length) return { text: silent.length === 1 ? `${silent[0]} is silent` : `${silent.length} sites are silent`, tone: "bad" };
  if (status.objectives_missed.length) return { text: "An objective is missed", tone: "bad" };
  const away = named(sites.filter((site) => AWAY.has(site.state)));
  if (away.length) return { text: `${plural(away.length, "site has", "sites have")} no worker`, tone: "warn" };
  const troubled = help.filter((found) => found.site !== null);
  if (troubled.length) return { text: `Something is in the way of ${troubled[0].site}`, tone: "warn" };
  const writers = help.filter((found) => found.what === "writer");
  if (writers.length) return { text: writers.length === 1 ? `The writer of ${writers[0].group} is gone` : `${writers.length} writers are gone`, tone: "warn" };
  const busy = named(sites.filter((site) => BUSY.has(site.state)));
  if (busy.length) return { text: busy.length === 1 ? `${busy[0]} is catching up` : `${busy.length} sites are catching up`, tone: "busy" };
  return { text: "All is well", tone: "ok" };
}

export function subline(status) {
  const groups = status.groups;
  if (!groups.length) return "";
  const sites = new Set(groups.flatMap((group) => group.sites.map((site) => site.site)));
  const copies = groups.reduce((sum, group) => sum + group.copies, 0);
  return `${plural(groups.length, "group", "groups")} at ${plural(sites.size, "site", "sites")}, ${plural(copies, "copy", "copies")}`;
}

export function alarms(status) {
  const missed = status.objectives_missed;
  const found = status.alarms.map((text) => h("li", { "data-key": steady(text) }, mark("octagon"), h("div", {}, h("strong", {}, "Alarm"), h("p", {}, steady(text), commandIn(text)))));
  if (missed.length) {
    const title = missed.length === 1 ? "An objective is missed" : `${missed.length} objectives are missed`;
    found.push(h("li", { "data-key": "missed" }, mark("octagon"), h("div", {}, h("strong", {}, title), missed.map((text) => h("p", { class: "num" }, text)))));
  }
  return found.length ? [h("h2", { class: "hidden" }, "Alarms"), h("ul", { class: "alarms" }, found)] : [];
}

// For who hears the page: what is wrong, without the numbers that change all the time.
export function announcement(said, status) {
  const quiet = (text) => text.replace(/\d[\d.,]* (s|ms|min|h|d)\b/g, "").replace(/\b[0-9a-f]{12,}\b/g, "").replace(/\s+/g, " ");
  return [said, ...status.alarms, ...status.objectives_missed].map(quiet).join(". ");
}

// An alarm ends in a command where one helps; the digests in it are shown short.
const steady = (text) => text.split("; see where with: ")[0].replace(/\b([0-9a-f]{12})[0-9a-f]{20,}\b/g, "$1…");
function commandIn(text) {
  const command = text.split("; see where with: ")[1];
  return command ? [" See where: ", copyable(command)] : null;
}

export const copyable = (command) =>
  h(
    "span",
    { class: "command", "data-key": command },
    h("code", {}, command),
    h("button", { type: "button", class: "copy", "data-action": "copy", "data-text": command, "aria-label": `Copy: ${command}`, "data-keep": "" }, "Copy"),
  );

// What is wrong with a site, such as its Redis, is said of each of its groups in the same words.
const bare = ({ reason, group }) => reason.replace(` (group ${group})`, "");
const groupsOf = (heap) => [...new Set(heap.map(({ group }) => group))];

function heaps(found, keyOf) {
  const made = new Map();
  for (const one of found) {
    const key = keyOf(one);
    made.set(key, [...(made.get(key) ?? []), one]);
  }
  return [...made.values()];
}

// The groups of a site that says the same of each stand together, and then the sites that say the same of the same groups.
function together(found) {
  const bySite = heaps(found, (one) => [one.what, one.site ?? one.group, one.state, bare(one)].join("\n"));
  const alike = (heap) => [heap[0].what, groupsOf(heap), heap[0].state, bare(heap[0])].join("\n");
  return heaps(bySite, alike).map((heap) => [alike(heap[0]), heap.flat()]);
}

function ofGroups(names) {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : "";
  return `${names.length === 1 ? "group" : "groups"} ${names.slice(0, NAMED).join(", ")}${more}`;
}

// The status of a site is that of all its groups.
function commandsOf(heap) {
  const one = groupsOf(heap).length === 1;
  const shown = ({ commands, group }) => commands.map((command) => (one || !command.startsWith("tidelog site status ") ? command : command.replace(` --group ${group}`, "")));
  return [...new Set(heap.flatMap(shown))];
}

export function help(found) {
  if (!found.length) return [];
  return [
    h("h2", { class: "hidden" }, "What needs a hand"),
    together(found).map(([key, heap]) => {
      const [one] = heap;
      const hints = [...new Set(heap.map(({ hint }) => hint).filter(Boolean))];
      const names = groupsOf(heap);
      const sites = [...new Set(heap.map(({ site, what }) => site ?? (what === "group" ? "the log" : "the writer")))];
      return h(
        "div",
        { class: `hand edge-${stateOf(one).tone}`, "data-key": key },
        h("h3", {}, h("span", {}, sites.join(", ")), h("span", { class: "muted" }, ofGroups(names)), badge(stateOf(one))),
        h("p", {}, (names.length === 1 ? one.reason : bare(one)) || "No reason is known."),
        hints.map((hint) => h("p", { class: "muted" }, hint)),
        h("p", { class: "commands" }, commandsOf(heap).map((command) => copyable(command))),
      );
    }),
  ];
}

export function groups(status, newest, chosen, now) {
  if (status.groups.length < 2) return [];
  const rows = status.groups.map((group) => {
    const site = worst(group);
    const rpos = group.sites.map((one) => one.rpo_seconds);
    const rpo = rpos.includes(null) ? null : Math.max(0, ...rpos);
    const alarmed = group.alarms.length + group.objectives_missed.length;
    const state = site ? stateOf(site) : STATES.UNKNOWN;
    const alike = group.sites.filter((one) => one.state === site?.state);
    const where = site && site.state !== "STREAMING" ? ` at ${alike.length === 1 ? site.site : `${alike.length} sites`}` : "";
    return h(
      "tr",
      { "data-key": group.group, class: group.group === chosen ? "chosen" : null },
      h("th", { scope: "row" }, h("a", { href: `#${group.group}`, "aria-current": group.group === chosen ? "true" : null }, group.group)),
      h("td", {}, badge({ ...state, word: `${state.word}${where}` }), alarmed > 0 && h("span", { class: "small tone-bad alarmed" }, plural(alarmed, "alarm", "alarms"))),
      h("td", { class: "num wide" }, perSecond(newest.get(group.group)?.events_per_second)),
      h("td", { class: "num" }, span(rpo)),
      h("td", { class: "num wide" }, group.newest_copy ? `${count(group.copies)}, ${elapsed(age(group.newest_copy.time, now))} ago` : "none"),
    );
  });
  return [
    h("h2", {}, "Groups"),
    h(
      "div",
      { class: "card flush" },
      h(
        "table",
        { class: "groups" },
        h("caption", { class: "hidden" }, "All groups, the state of each one's worst site"),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "group"), h("th", { scope: "col" }, "state"), h("th", { scope: "col", class: "num wide" }, "events"), h("th", { scope: "col", class: "num" }, "worst RPO"), h("th", { scope: "col", class: "num wide" }, "copies, newest"))),
        h("tbody", {}, rows),
      ),
    ),
  ];
}

const WRITTEN = {
  alive: "being written to",
  closed: "its writer has closed it",
  ended: "its writer has ended by an error",
  silent: "its writer is silent",
  none: "nothing written yet",
};

export function facts(group, now) {
  const primary = group.primary;
  const said = [
    group.mirror_of !== null ? `mirror of ${group.mirror_of}` : primary?.site ? `primary ${primary.site}` : "no primary",
    primary?.chosen ? `promoted ${elapsed(age(primary.since, now))} ago${primary.forced ? ", by force" : ""}` : null,
    group.mirror_of === null ? WRITTEN[group.writer.state] : null,
    group.newest_copy ? `newest copy ${group.newest_copy.name}, ${elapsed(age(group.newest_copy.time, now))} ago` : "no copy yet",
  ];
  return [h("h2", { id: "group-name" }, group.group), h("p", { class: "muted" }, said.filter(Boolean).join(" · "))];
}
