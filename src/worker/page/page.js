/* Shows /status, again and again while the page is seen. Whatever comes from there is put in as text only. */
"use strict";

const POLL_MS = 2000, SLOWEST_POLL_MS = 15000, PATIENCE_MS = 5000, TICK_MS = 1000;
const SHOWN_AT_FIRST = 25; // partitions of each topic
const MARKS = { ok: "●", notice: "◆", warning: "▲", error: "■" };
const RESULTS = { // from below to the top of a plot
  succeeded: { colour: "f-soft", name: "succeeded" }, refused: { colour: "f-plot", name: "refused" },
  invalid: { colour: "f-no", name: "invalid" }, expired: { colour: "f-no", name: "expired" },
  unavailable: { colour: "f-warning", name: "unavailable", bar: [1.5, 4] }, unknown: { colour: "f-error", name: "unknown", bar: [2.5, 8] } };

/* ---- making elements */

const at = (id) => document.getElementById(id);

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/* Puts what build(data) makes into an element, unless the data is what is shown already: who reads or selects is not disturbed. */
const shown = new Map();
function put(id, data, build) {
  const key = JSON.stringify(data);
  if (shown.get(id) === key) return;
  shown.set(id, key);
  at(id).replaceChildren(...build(data));
}

/* ---- words */

const whole = new Intl.NumberFormat("en");
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const number = (value) => typeof value === "number" ? whole.format(value) : "–";
const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;
const rate = (value) => Number.isInteger(value) || value >= 100 ? whole.format(Math.round(value)) : tenths.format(value);

/* A time span as people say it, the two largest units of it. */
function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min${s < 600 && s % 60 ? ` ${s % 60} s` : ""}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h${Math.floor(s / 60) % 60 ? ` ${Math.floor(s / 60) % 60} min` : ""}`;
  return `${Math.floor(s / 86400)} d${Math.floor(s / 3600) % 24 ? ` ${Math.floor(s / 3600) % 24} h` : ""}`;
}

function latency(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${ms} ms`;
  return ms < 10000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(1)} s`;
}

let ahead = 0; // the worker's clock, beyond this one's, in ms
const now = () => Date.now() + ahead;
const two = (n) => String(n).padStart(2, "0");

/* The time of day, with its date unless that is today's. */
function clock(ms, seconds) {
  const date = new Date(ms), today = new Date(now());
  const time = `${two(date.getHours())}:${two(date.getMinutes())}${seconds ? `:${two(date.getSeconds())}` : ""}`;
  if (date.toDateString() === today.toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

function moment(iso, seconds) {
  const element = make("time", "", clock(Date.parse(iso), seconds));
  element.dateTime = iso;
  element.title = iso;
  return element;
}

/* Words that change each second: how long ago, or how long until then. */
const living = new Set();
function alive(words) {
  const element = make("span", "", words());
  element.words = words;
  living.add(element);
  return element;
}
const age = (iso) => alive(() => span(now() - Date.parse(iso)));
const until = (iso) => alive(() => Date.parse(iso) > now() ? `in ${span(Date.parse(iso) - now())}` : "now");

function tick() {
  for (const element of living) {
    if (!element.isConnected) { living.delete(element); continue; }
    const words = element.words();
    if (element.textContent !== words) element.textContent = words;
  }
}

/* ---- the sentence */

/* Text with what stands in backquotes as code. */
function withCode(text) {
  return text.split("`").map((part, i) => i % 2 ? make("code", "", part) : part);
}

/* Its parts behind what is wrong, with marks between them. live: with elements that change, else as plain words. */
function rest(problem, live) {
  const parts = [];
  if (problem.since) parts.push(" since ", live ? moment(problem.since) : clock(Date.parse(problem.since)));
  let mark = ": ";
  const add = (...words) => { parts.push(mark, ...words); mark = "; "; };
  if (problem.reason) add(...(live ? withCode(problem.reason) : [problem.reason]));
  if (problem.next && problem.nextAt) {
    if (live) add(`${problem.next} `, until(problem.nextAt));
    else add(`${problem.next} in ${span(Date.parse(problem.nextAt) - now())}`);
  } else if (problem.next) add(...(live ? withCode(problem.next) : [problem.next]));
  if (problem.waiting) add(problem.waiting);
  return parts;
}

function sentence(problem) {
  const mark = make("span", "mark", MARKS[problem.severity] || MARKS.warning);
  mark.setAttribute("aria-hidden", "true");
  return [mark, make("b", "", problem.what), ...rest(problem, true)];
}

let announced = "";
function announce(problem) {
  const key = `${problem.severity} ${problem.state} ${problem.what}`;
  if (key === announced) return;
  announced = key;
  at("announcer").textContent = problem.what + rest(problem, false).join("");
}

function showSentence(problem, others) {
  const band = at("band");
  band.dataset.severity = problem.severity in MARKS ? problem.severity : "warning";
  band.dataset.state = problem.state;
  put("headline", problem, sentence);
  put("others", others, (list) => list.map((other) => make("li", "", ...sentence(other))));
  at("others").hidden = !others.length;
  announce(problem);
}

function showStatusSentence(s) {
  const problems = s.problems.length ? s.problems : [s.summary];
  showSentence(problems[0], problems.slice(1));
  document.title = `${MARKS[problems[0].severity] || ""} ${problems[0].what} · ${s.instance}`;
  put("who", [s.version, s.instance, s.group, s.started], () => [`${s.instance} in group ${s.group}, privacy-call-worker ${s.version}, up `,
    age(s.started)]);
}

/* ---- plots */

const WIDTH = 300, HEIGHT = 60;
const LATELY = 12; // steps that count as now where the last one has no value

/* A round number at or above the value. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

const last = (series) => series.slice(-LATELY).findLast((value) => value !== null);
const highest = (series) => series.reduce((most, value) => value !== null && value > most ? value : most, 0);

function line(series, top, className) {
  let path = "", open = false;
  series.forEach((value, i) => {
    if (value === null) { open = false; return; }
    const x = (i + 0.5) / series.length * WIDTH, y = HEIGHT - value / top * HEIGHT;
    path += open ? `L${x.toFixed(1)} ${y.toFixed(1)}` : `M${x.toFixed(1)} ${y.toFixed(1)}h.01`;
    open = true;
  });
  return draw("path", { d: path, class: `line ${className}` });
}

/* Bars on those of the layers below, never too small to be seen; returns the heights so far. */
function bars(series, below, top, className, [width, least]) {
  let path = "";
  const sums = below.map((from, i) => from + (series[i] || 0));
  const step = WIDTH / series.length;
  series.forEach((value, i) => {
    if (!value) return;
    const height = Math.max(value / top * HEIGHT, least), from = Math.min(HEIGHT - below[i] / top * HEIGHT, HEIGHT);
    path += `M${(i * step).toFixed(2)} ${from.toFixed(1)}h${(step * width).toFixed(2)}V${Math.max(0, from - height).toFixed(1)}h${(-step * width).toFixed(2)}z`;
  });
  return [draw("path", { d: path, class: className }), sums];
}

function plot({ title, value, unit, top, topWords, label, shapes, legend }) {
  const picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    draw("path", { d: `M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}`, class: "grid" }), ...shapes(top));
  const figure = make("figure", "", make("figcaption", "", make("span", "", title), make("b", "", value, make("small", "", ` ${unit}`))),
    picture, make("div", "axis", make("span", "", "15 min ago"), make("span", "", `top ${topWords}`), make("span", "", "now")));
  if (legend) figure.append(make("ul", "legend", ...legend.map(([colour, words]) => make("li", "", make("span", colour), words))));
  return figure;
}

function resultsPlot(job, step) {
  const names = Object.keys(RESULTS).filter((name) => job.results[name] && highest(job.results[name]) > 0);
  const sums = job.tries.map((_, i) => Object.keys(RESULTS).reduce((sum, name) => sum + (job.results[name][i] || 0), 0));
  const known = job.tries.map((tries, i) => tries === null ? null : sums[i] / step);
  const top = ceiling(highest(known)), value = last(known) ?? 0;
  const groups = new Map();
  for (const name of names) groups.set(RESULTS[name].colour, [...groups.get(RESULTS[name].colour) || [], RESULTS[name].name]);
  return plot({ title: "Results", value: rate(value), unit: "/s", top, topWords: `${rate(top)}/s`,
    label: `Results a second, last 15 minutes: now ${rate(value)}, at most ${rate(highest(known))}; with ${names.join(", ") || "none"}`,
    shapes: (height) => {
      let below = sums.map(() => 0), shape;
      return names.map((name) => {
        [shape, below] = bars(job.results[name].map((n) => n === null ? null : n / step), below, height, RESULTS[name].colour,
          RESULTS[name].bar || [1, 0.5]);
        return shape;
      });
    },
    legend: [...groups].map(([colour, words]) => [colour, words.join(", ")]) });
}

function latencyPlot(job) {
  const top = ceiling(highest(job.p99Ms));
  const p50 = last(job.p50Ms), p99 = last(job.p99Ms);
  return plot({ title: "Time of a try", value: `${latency(p50)} · ${latency(p99)}`, unit: "", top, topWords: latency(top),
    label: `Time of a try, last 15 minutes: p50 now ${latency(p50)}, p99 now ${latency(p99)}, p99 at most ${latency(highest(job.p99Ms))}`,
    shapes: (height) => [line(job.p99Ms, height, "s-soft"), line(job.p50Ms, height, "s-plot")],
    legend: [["dash f-plot", "p50"], ["dash f-no", "p99"]] });
}

function lagPlot(job, value) {
  const top = ceiling(Math.max(highest(job.lag), value));
  return plot({ title: "Lag", value: number(value), unit: value === 1 ? "request" : "requests", top, topWords: number(top),
    label: `Lag, last 15 minutes: now ${count(value, "request")}, at most ${number(highest(job.lag))}`,
    shapes: (height) => [line([...job.lag.slice(0, -1), value], height, "s-plot")] });
}

/* The history with all of its steps: those before the first known one are not sent. */
function padded(history) {
  const pad = (series) => [...Array(Math.max(0, history.steps - series.length)).fill(null), ...series];
  const jobs = history.jobs.map((job) => ({ ...job, tries: pad(job.tries), p50Ms: pad(job.p50Ms), p99Ms: pad(job.p99Ms), lag: pad(job.lag),
    results: Object.fromEntries(Object.entries(job.results).map(([name, series]) => [name, pad(series)])) }));
  return { ...history, jobs };
}

function showPlots(s) {
  const lags = Object.fromEntries(s.jobs.map((job) => [job.job, job.lag]));
  put("plots", [padded(s.history), lags], ([history]) => history.jobs.flatMap((job) => {
    const quiet = !highest(job.tries) && !highest(job.lag) && !Object.values(job.results).some(highest);
    const name = job.job === "calls" ? "Calls" : "Recordings";
    if (quiet) return [make("p", "none row", `${name}: nothing was asked for.`)];
    return [...(history.jobs.length > 1 ? [make("h3", "", name)] : []),
      make("div", "row", resultsPlot(job, history.stepSeconds), latencyPlot(job), lagPlot(job, lags[job.job]))];
  }));
}

/* ---- facts */

/* list: [words, value, note, severity]; a value may be an element. */
function facts(id, key, list) {
  put(id, key, () => list.map(([words, value, note, severity]) => {
    const dd = make("dd", severity || "", value);
    if (note) dd.append(make("small", "", " ", note));
    return make("div", "", make("dt", "", words), dd);
  }));
}

const place = (p) => `${p.topic}/${p.partition}`;

function showWaits(s) {
  const oldest = s.waits.oldestUnfinished;
  facts("waits", [s.waits, s.inFlight, s.slots], [
    ["order ids wait for their turn", number(s.waits.orderIds)],
    ["requests not finished (lag)", number(s.waits.lag)],
    [oldest ? `age of the oldest unfinished request, in ${place(oldest)}` : "age of the oldest unfinished request", oldest ? age(oldest.at) : "–"],
    ["calls under way", number(s.inFlight), `of ${number(s.slots)}`]]);
}

function showDoubt(s) {
  const d = s.inDoubt;
  const bad = (n, severity) => n ? severity : "";
  facts("doubt", d, [
    ["results unknown in the last 15 min", number(d.unknownLately), "", bad(d.unknownLately, "error")],
    [d.lastUnknown ? "unknown since the start, the last one then" : "unknown since the start", number(d.unknown),
      d.lastUnknown ? moment(d.lastUnknown) : "", bad(d.unknown, "warning")],
    ["started: what a death now would leave in doubt", number(d.started)],
    ["taken over in doubt from others", number(d.taken), "", bad(d.taken, "warning")],
    ["late outcomes in the dead letters", number(d.lateOutcomes), "", bad(d.lateOutcomes, "warning")],
    ["records deleted before their end", number(d.recordsGone), "", bad(d.recordsGone, "error")]]);
}

function showCounters(s) {
  const c = s.counts, r = c.results;
  facts("counters", c, [
    ["requests", number(c.requests)], ["succeeded", number(r.succeeded)], ["refused", number(r.refused)], ["invalid", number(r.invalid)],
    ["expired", number(r.expired)], ["unavailable", number(r.unavailable), "", r.unavailable ? "warning" : ""],
    ["unknown", number(r.unknown), "", r.unknown ? "error" : ""], ["dead letters", number(c.deadLetters)], ["tries", number(c.tries)],
    ["tries made again", number(c.retries)], ["held back for the rate", number(c.rateLimitWaits)], ["transactions", number(c.transactions)],
    ["transactions aborted", number(c.aborted)], ["rebalances", number(c.rebalances)]]);
}

/* ---- tables */

function heading(words, className) {
  const th = make("th", className || "", words);
  th.scope = "col";
  return th;
}

/* A table that scrolls by itself where it does not fit; then it can be reached by keyboard, too. */
function table(name, caption, headings, rows) {
  const box = make("div", "scroll", make("table", "", caption ? make("caption", "", caption) : make("caption", "unseen", name),
    make("thead", "", make("tr", "", ...headings)), make("tbody", "", ...rows)));
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", name);
  return box;
}

function fit() {
  for (const box of document.querySelectorAll(".scroll")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

function errorRow(error) {
  const when = make("th", "when", moment(error.at, true));
  when.scope = "row";
  if (error.times > 1) when.append(make("br"), make("small", "", `${number(error.times)} times`));
  const where = error.topic ? place(error) + (error.offset !== undefined ? `, offset ${error.offset}` : "") : "";
  const which = error.times > 1 ? "last: " : "";
  const severity = error.level === "warn" ? "warning" : "error";
  const what = make("td", "", make("b", severity, severity === "error" ? "Error " : "Warning "), ...withCode(error.message));
  if (where) what.append(make("br"), make("small", "", which + where));
  return make("tr", "", when, what);
}

function showErrors(s) {
  put("errors", s.errors, (errors) => errors.length
    ? [table("Last errors", "", [heading("Time"), heading("What the log said")], errors.map(errorRow))]
    : [make("p", "none", "The log has no warnings and no errors.")]);
}

const worst = (p) => p.state === "halted" ? 0 : p.stuck ? 1 : p.state === "active" ? 3 : 2;
const byNeed = (a, b) => worst(a) - worst(b) || (b.lag || 0) - (a.lag || 0) || a.partition - b.partition;
const RANKS = [["halted", "■ ", "error"], ["stuck", "■ ", "error"], ["", "◆ ", ""], ["", "", ""]];

function partitionRows(p, ledgerMax) {
  const [word, mark, severity] = RANKS[worst(p)];
  const name = make("th", "number", String(p.partition));
  name.scope = "row";
  const full = Math.round(100 * p.ledger / ledgerMax);
  const row = make("tr", "", name, make("td", `state ${severity}`, severity ? make("b", "", mark, word) : mark + p.state),
    make("td", "number", number(p.lag)), make("td", "number", p.oldestUnfinished ? age(p.oldestUnfinished) : "–"),
    make("td", "number", number(p.unfinished)), make("td", "number", number(p.started)),
    make("td", `number ${full >= 90 ? "warning" : ""}`, `${full} %`));
  if (!severity) return [row];
  const why = make("td", "why");
  why.colSpan = 6;
  why.append(make("p", "", make("b", "", "Since ", p.since ? moment(p.since) : "?"), ": ", p.haltReason || "its lag grows, and nobody knows why"));
  if (p.remedy) why.append(make("p", "", make("b", "", "Remedy: "), ...withCode(p.remedy)));
  row.className = "open";
  return [row, make("tr", "", make("td"), why)];
}

const opened = new Set();
let latest = null;

function more(topic, hidden, total) {
  const button = make("button", "more", hidden ? `Show all ${number(total)} of ${topic}` : `Show fewer of ${topic}`);
  button.type = "button";
  button.dataset.topic = topic;
  button.addEventListener("click", () => {
    if (!opened.delete(topic)) opened.add(topic);
    showPartitions(latest);
    [...document.querySelectorAll("button.more")].find((other) => other.dataset.topic === topic)?.focus();
  });
  return button;
}

function topicTable(job, partitions, ledgerMax) {
  const halted = partitions.filter((p) => p.state === "halted").length;
  const sorted = partitions.sort(byNeed);
  const some = opened.has(job.topic) ? sorted : sorted.filter((p, i) => i < SHOWN_AT_FIRST || worst(p) < 2 && i < 4 * SHOWN_AT_FIRST);
  const caption = `${job.topic}: ${count(partitions.length, "partition")}${halted ? `, ${number(halted)} halted` : ""}, group ${job.group}`;
  if (!partitions.length) return make("p", "none", `${job.topic}: none of its partitions is here, group ${job.group}.`);
  const parts = make("div", "", table(`Partitions of ${job.topic}`, caption, [heading("No.", "number"), heading("State"), heading("Lag", "number"),
    heading("Oldest", "number"), heading("Unfin\u00adished", "number"), heading("Started", "number"), heading("Ledger", "number")],
  some.flatMap((p) => partitionRows(p, ledgerMax))));
  if (partitions.length > SHOWN_AT_FIRST) parts.append(more(job.topic, some.length < partitions.length, partitions.length));
  return parts;
}

function showPartitions(s) {
  const focused = document.activeElement?.dataset?.topic;
  put("partitions", [s.partitions, s.jobs.map((job) => [job.topic, job.group]), [...opened]], () => s.jobs.map((job) =>
    topicTable(job, s.partitions.filter((p) => p.topic === job.topic), s.ledgerMax)));
  if (focused && !document.activeElement?.dataset?.topic)
    [...document.querySelectorAll("button.more")].find((button) => button.dataset.topic === focused)?.focus();
}

/* ---- asking */

let timer = 0, asking = false, held = false, heard = 0, failures = 0, firstFailure = 0, next = 0;

function show(s) {
  latest = s;
  ahead = Date.parse(s.time) - Date.now();
  showStatusSentence(s);
  showPlots(s);
  showWaits(s);
  showDoubt(s);
  showErrors(s);
  showPartitions(s);
  showCounters(s);
  fit();
}

function showSilence() {
  const since = new Date(heard || firstFailure).toISOString();
  showSentence({ severity: "error", state: "unreachable", what: "No answer from the worker", since,
    reason: "it has ended, or cannot be reached from here", next: "asked again", nextAt: new Date(next).toISOString(),
    waiting: heard ? "what stands below is as it was then" : "" }, []);
  document.title = `${MARKS.error} No answer from the worker`;
  if (latest) put("who", ["silent", latest.instance], () => [`${latest.instance} in group ${latest.group}, privacy-call-worker ${latest.version}`]);
}

function updated() {
  at("updated").textContent = held ? `Held as of ${clock(heard + ahead, true)}` : heard && !failures ? `As of ${clock(heard + ahead, true)}` : "";
}

function plan(ms) {
  clearTimeout(timer);
  next = Date.now() + ms;
  if (!held && !document.hidden) timer = setTimeout(ask, ms);
}

async function ask() {
  if (asking) return;
  asking = true;
  const began = Date.now();
  let wait = POLL_MS;
  try {
    const answer = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const s = await answer.json();
    heard = Date.now();
    failures = 0;
    show(s);
    wait = Math.min(SLOWEST_POLL_MS, Math.max(POLL_MS, 20 * (Date.now() - began))); // one that is slow is asked seldom
  } catch (error) {
    if (!failures++) firstFailure = began;
    wait = Math.min(SLOWEST_POLL_MS, POLL_MS * 2 ** Math.min(failures - 1, 5));
  }
  asking = false;
  plan(wait);
  if (failures) {
    ahead = 0;
    showSilence();
  }
  updated();
}

function resume() {
  clearTimeout(timer);
  if (!held && !document.hidden) ask();
}

at("hold").addEventListener("click", () => {
  held = !held;
  at("hold").textContent = held ? "Go on" : "Hold";
  at("hold").setAttribute("aria-label", held ? "Go on: renew this page again" : "Hold: keep this page as it is");
  updated();
  resume();
});
at("hold").setAttribute("aria-label", "Hold: keep this page as it is");
document.addEventListener("visibilitychange", resume);
addEventListener("resize", fit);
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "this browser's zone";
at("zone").textContent = zone === "UTC" ? "Times are in UTC, as in the log." : `Times are in ${zone}; the log's are in UTC.`;
setInterval(() => { if (!document.hidden) tick(); }, TICK_MS);
ask();
