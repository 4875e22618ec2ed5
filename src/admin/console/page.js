"use strict";
// Whatever comes from the worker is put into the page as text, never as markup.

const EVERY = 2000;
const $ = (id) => document.getElementById(id);

function make(tag, text, classes) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = String(text);
  if (classes) element.className = classes;
  return element;
}
const number = (n) => (n === null || n === undefined ? "?" : Number(n).toLocaleString("en-GB"));
function span(seconds) {
  if (seconds === null || seconds === undefined) return "?";
  const s = Math.floor(seconds);
  if (s < 60) return `${s}s`;
  const two = (n, unit, m, of) => (n < 10 && m > 0 ? `${n}${unit}${m}${of}` : `${n}${unit}`);
  if (s < 3600) return two(Math.floor(s / 60), "m", s % 60, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "m");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}
const clock = (text) => new Date(text).toLocaleString("en-GB", { hour12: false });
const since = (text, longer, now) => text
  ? `since ${clock(text)} (${span((Date.parse(now) - Date.parse(text)) / 1000)} ago)${longer ? ", or longer: it was so when this worker first looked" : ""}`
  : "";

// ---- asking ---------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}
async function ask(path, body) {
  const options = { headers: { "paceline-console": "1" }, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, "the worker does not answer: is it running?");
  }
  if (answer.status === 204) return null;
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    if (answer.status === 401 && path !== "/console/session") signedOut();
    throw new Refused(answer.status, value.error || `answer ${answer.status}`);
  }
  return value;
}
let saidTimer;
function say(text) {
  $("said").textContent = text;
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => { $("said").textContent = ""; }, 8000);
}
function confirmed(title, text, yes) {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

// ---- signing in and out ----------------------------------------------------------------------

function signedOut() {
  clearTimeout(timer);
  $("console").hidden = true;
  $("sign-out").hidden = true;
  $("live").textContent = "";
  $("sign-in").hidden = false;
}
$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = $("token");
  try {
    await ask("/console/session", { token: field.value });
    field.value = "";
    $("sign-in-error").textContent = "";
    await refresh();
    $("main").focus();
  } catch (error) {
    $("sign-in-error").textContent = error.message;
    field.focus();
  }
});
$("sign-out").addEventListener("click", async () => {
  await ask("/console/session/end", {}).catch(() => {});
  signedOut();
  $("token").focus();
});

// ---- the overview ----------------------------------------------------------------------------

let timer;
let last = null;
async function refresh() {
  clearTimeout(timer);
  try {
    last = await ask("/console/api/overview");
    $("sign-in").hidden = true;
    $("console").hidden = false;
    $("sign-out").hidden = false;
    $("live").textContent = `as of ${clock(last.at)}`;
    $("live").className = "faint";
    draw();
    drawChoices();
    if (!searched && last.deadLetters > 0 && last.deadLetters <= 10000) search();
  } catch (error) {
    if (error.status === 401) return;
    $("live").textContent = `not live: ${error.message}`;
    $("live").className = "bad";
    if ($("console").hidden) { $("sign-in").hidden = false; }
  }
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
}
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden && !$("console").hidden) refresh();
});
for (const id of ["find", "troubled"]) $(id).addEventListener("input", () => last && draw());

// Replaces what changed only, so that focus and readers are left alone.
function update(element, ...children) {
  const fresh = make(element.tagName);
  fresh.append(...children);
  if (fresh.innerHTML !== element.innerHTML) element.replaceChildren(...fresh.childNodes);
}

const RANK = { paused: 0, unknown: 1, slow: 2, healthy: 3 };
function draw() {
  const count = (health) => last.accounts.filter((account) => account.health === health).length;
  const tile = (name, value, kind) => {
    const item = make("li", undefined, kind);
    item.append(make("span", value, "n"), make("span", name, "faint"));
    return item;
  };
  const trouble = (n, kind) => (n ? kind : "good");
  update($("tiles"),
    tile("accounts healthy", `${count("healthy")} of ${last.accounts.length}`, "good"),
    tile("slow", count("slow"), trouble(count("slow"), "warn")),
    tile("paused", count("paused"), trouble(count("paused"), "bad")),
    tile("broker", last.broker ? "up" : "DOWN", last.broker ? "good" : "bad"),
    tile("store", last.store ? "up" : "DOWN", last.store ? "good" : "bad"),
    tile("delayed for a retry", number(last.delayed), ""),
    lettersTile(tile));
  const told = { broker: last.since.broker, store: last.since.store };
  update($("problems"), ...last.problems.map((problem) => {
    const which = problem.startsWith("the broker") ? told.broker : problem.startsWith("the store") ? told.store : null;
    return make("li", which ? `${problem}. ${since(which, false, last.at)}` : problem);
  }));
  const part = $("find").value.trim().toLowerCase();
  const shown = last.accounts
    .filter((account) => account.account.toLowerCase().includes(part))
    .filter((account) => !$("troubled").checked || account.health !== "healthy")
    .sort((a, b) => RANK[a.health] - RANK[b.health] || a.account.localeCompare(b.account));
  $("no-accounts").hidden = shown.length > 0;
  drawAccounts(shown);
}
let lettersBefore = null;
function lettersTile(tile) {
  // While letters are read the queue looks shorter than it is.
  if (last.lettersUnderWay) return tile("dead letters, being read", lettersBefore === null ? "…" : number(lettersBefore), "warn");
  lettersBefore = last.deadLetters;
  return tile("dead letters", number(last.deadLetters), last.deadLetters ? "warn" : "good");
}
const cards = new Map();
function drawAccounts(shown) {
  const order = shown.map((account) => {
    let card = cards.get(account.account);
    if (!card) {
      card = newCard(account.account);
      cards.set(account.account, card);
    }
    drawCard(card, account);
    return card.root;
  });
  const holder = $("accounts");
  const same = order.length === holder.children.length && order.every((root, n) => holder.children[n] === root);
  if (same) return;
  const focused = document.activeElement;
  holder.replaceChildren(...order);
  if (focused && holder.contains(focused)) focused.focus();
}
function newCard(name) {
  const root = make("article");
  const id = `account-${name}`;
  root.setAttribute("aria-labelledby", id);
  const bar = make("div", undefined, "bar");
  const title = make("h3", name);
  title.id = id;
  const badge = make("span", "", "badge");
  const button = make("button");
  button.type = "button";
  button.addEventListener("click", () => toggle(name, button));
  bar.append(title, badge, button);
  const rest = make("div");
  root.append(bar, rest);
  return { root, badge, button, rest };
}
function drawCard(card, account) {
  card.root.className = account.health;
  if (card.badge.textContent !== account.health) card.badge.textContent = account.health;
  card.badge.className = `badge ${account.health}`;
  const paused = account.notes.some((note) => note.what !== "slow" && note.what !== "unseen" && note.what !== "unknown");
  const word = paused ? "Resume" : "Pause";
  if (card.button.textContent !== word) {
    card.button.textContent = word;
    card.button.setAttribute("aria-label", `${word} ${account.account}`);
  }
  const uses = () => account.limits.filter(matters).map(drawUse);
  const parts = !isQuiet(account) ? [drawLanes(account), ...uses(), drawEnds(account)]
    : last.accounts.length > FEW ? [drawQuiet(account)] : [drawQuiet(account), ...uses(), drawEnds(account)];
  update(card.rest, ...account.notes.map(drawNote), ...parts);
}
// Of more accounts than these, those in which nothing waits take one line.
const FEW = 12;
const isQuiet = (account) => account.health === "healthy" && account.jobs.waiting === 0
  && account.limits.every((limit) => Object.values(limit.lanes).every((lane) => lane.waiting === 0));
const drawQuiet = (account) => make("p", `${account.provider}: nothing waits; ${used(account.limits.find((limit) => limit.limit === "main"))}`, "ends");
const matters = (limit) => limit.limit === "main" || limit.windows.length > 0 && limit.usedLast60s > 0 || limit.paused !== null;
function drawNote(note) {
  const box = make("div", undefined, `note ${note.what}`);
  box.append(make("strong", `${note.limit ? `${note.limit}: ` : ""}${note.text}`), make("p", note.remedy));
  if (note.since) box.append(make("p", since(note.since, note.orLonger, last.at), "faint"));
  return box;
}
function drawLanes(account) {
  const table = make("table");
  table.append(make("caption", `${account.provider}: what waits`));
  const head = make("tr");
  for (const [name, kind] of [["Lane", ""], ["Waiting", "num"], ["Oldest", "num"], ["Drained in", "num"]]) {
    const cell = make("th", name, kind);
    cell.scope = "col";
    head.append(cell);
  }
  const body = make("tbody");
  const row = (name, lane, drain) => {
    const line = make("tr");
    const title = make("th", name);
    title.scope = "row";
    const age = lane.waiting === 0 ? "–" : span(lane.oldestAgeSeconds);
    line.append(title, make("td", number(lane.waiting), "num"), make("td", age, "num"), make("td", drain, "num"));
    body.append(line);
  };
  row("jobs", account.jobs, "");
  for (const limit of account.limits) {
    const waits = Object.values(limit.lanes).some((lane) => lane.waiting !== 0);
    if (limit.limit !== "main" && !waits) continue;
    const drain = limit.paused && limit.drainSeconds === null ? "paused" : limit.drainSeconds === 0 ? "–" : span(limit.drainSeconds);
    Object.entries(limit.lanes).forEach(([name, lane], n) => row(limit.limit === "main" ? name : `${name} (${limit.limit})`, lane, n === 0 ? drain : ""));
  }
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  return table;
}
const mostOf = (limit) => limit.windows.find((window) => window.seconds === 60)?.requests ?? null;
const used = (limit) => `${number(limit.usedLast60s)}${mostOf(limit) ? ` of ${number(mostOf(limit))}` : ", no limit,"} in 60 s`;
function drawUse(limit) {
  const name = limit.limit === "main" ? "Limit" : `Limit ${limit.limit}`;
  const charts = make("div", undefined, "charts");
  charts.append(chart(`${name}: ${used(limit)}`, limit.series.minute, 60, mostOf(limit)), chart("the last hour", limit.series.hour, 3600, mostOf(limit)));
  return charts;
}
function chart(caption, points, reach, most) {
  const known = points.filter(([, used]) => used !== null);
  const top = Math.max(most || 0, ...known.map(([, used]) => used), 1) * 1.1;
  const figure = make("figure");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const peak = known.length ? Math.max(...known.map(([, used]) => used)) : 0;
  svg.setAttribute("aria-label", `${caption}; most ${peak} requests in 60 s${most ? `, limit ${most}` : ""}`);
  const shape = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    svg.append(element);
  };
  const x = (ago) => (100 * (1 - Math.min(ago, reach) / reach)).toFixed(1);
  const y = (used) => (40 - (40 * used) / top).toFixed(1);
  if (known.length) {
    const line = known.map(([ago, used]) => `L${x(ago)} ${y(used)}`).join(" ");
    shape("path", { class: "use", d: `M${x(known[0][0])} 41 ${line} L${x(known[known.length - 1][0])} 41 Z` });
  }
  if (most) shape("line", { class: "most", x1: 0, x2: 100, y1: y(most), y2: y(most) });
  figure.append(make("figcaption", caption), svg);
  return figure;
}
function drawEnds(account) {
  const { byStatus, seconds } = account.ends;
  const parts = Object.entries(byStatus).filter(([, n]) => n > 0).map(([status, n]) => `${number(n)} ${status}`);
  const text = parts.length ? parts.join(", ") : "none";
  return make("p", `Ended by this worker in the last ${span(Math.max(seconds, 1))}: ${text}`, "ends");
}
async function toggle(name, button) {
  const wish = button.textContent;
  const text = wish === "Pause"
    ? "Nothing of this account is sent by any worker until it is resumed. Jobs are still taken in and wait; nothing is lost."
    : "Every worker tries this account again. If what stopped it is not mended, it pauses again by itself.";
  if (!(await confirmed(`${wish} ${name}?`, text, wish))) return;
  button.disabled = true;
  try {
    const done = await ask(`/console/api/${wish.toLowerCase()}`, { account: name });
    say(done.paused.length && wish === "Resume" ? done.paused.join(" ") : `${name} is ${wish.toLowerCase()}d for all workers.`);
    await refresh();
  } catch (error) {
    say(`${name}: ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

// ---- dead letters ----------------------------------------------------------------------------

const REASONS = ["invalid", "rejected", "exhausted", "uncertain", "poison"];
let searched = false;
let wanted = {};
let letters = [];
const chosen = new Set();

function drawChoices() {
  const fill = (select, names) => {
    if (select.options.length === names.length + 1) return;
    const before = select.value;
    const options = names.map((name) => { const option = make("option", name); option.value = name; return option; });
    select.replaceChildren(select.options[0], ...options);
    select.value = names.includes(before) ? before : "";
  };
  fill($("by-account"), last.accounts.map((account) => account.account));
  fill($("by-reason"), REASONS);
  $("drop-all").hidden = $("drop-some").hidden = !last.canDrop;
  $("no-drop").hidden = last.canDrop;
}
function asked() {
  const list = (id) => ($(id).value.trim() ? [$(id).value.trim()] : []);
  const all = { accounts: list("by-account"), reasons: list("by-reason"), operations: list("by-operation"), detail: $("by-detail").value.trim() };
  if ($("by-age").value) all.newerThanSeconds = Number($("by-age").value);
  return all;
}
// Begins a piece of work and follows it to its end; what came of it, or null where it failed.
async function follow(wish, verb) {
  const line = $("work");
  try {
    let work = await ask("/console/api/dead", wish);
    while (work.state === "running" || work.state === "waiting") {
      line.textContent = work.state === "waiting"
        ? "Another command is at work on the dead letters; waiting for its end."
        : `${verb}: ${number(work.examined)} of ${number(work.total)} looked at, ${number(work.done)} done`;
      $("stop").hidden = false;
      $("stop").dataset.work = work.work;
      await new Promise((next) => setTimeout(next, 500));
      work = await ask(`/console/api/dead/${work.work}`);
    }
    line.className = work.error ? "bad" : "";
    line.textContent = work.error || "";
    return work.error ? null : work;
  } catch (error) {
    line.className = "bad";
    line.textContent = error.message;
    return null;
  } finally {
    $("stop").hidden = true;
  }
}
$("stop").addEventListener("click", () => ask(`/console/api/dead/${$("stop").dataset.work}/stop`, {}).catch((error) => say(error.message)));
$("search").addEventListener("submit", (event) => { event.preventDefault(); search(); });
async function search() {
  searched = true;
  wanted = asked();
  await page();
}
async function page(after) {
  const work = await follow({ what: "list", wanted, limit: 50, ...(after ? { after } : {}) }, "Reading");
  if (!work) return;
  const listing = work.result;
  if (!after) { letters = []; chosen.clear(); }
  letters.push(...listing.letters);
  $("found").hidden = false;
  $("more").hidden = !listing.next;
  $("more").dataset.next = listing.next || "";
  $("work").textContent = `${number(listing.total)} dead letters, ${number(listing.matched)} match${listing.stopped ? "; stopped before all were looked at" : ""}.`;
  $("groups").replaceChildren(listing.groups.length ? tableOf("By reason", ["Count", "Account", "Operation", "Reason", "Oldest", "Newest"], listing.groups.map((group) =>
    [number(group.count), group.account || "–", group.operation || "–", group.reason || "–", when(group.oldest), when(group.newest)])) : make("p", "None match."));
  drawLetters();
}
$("more").addEventListener("click", () => page($("more").dataset.next));
const when = (text) => (text ? clock(text) : "?");
function tableOf(caption, names, rows) {
  const table = make("table");
  table.append(make("caption", caption));
  const head = make("thead");
  const line = make("tr");
  for (const name of names) { const cell = make("th", name); cell.scope = "col"; line.append(cell); }
  head.append(line);
  const body = make("tbody");
  for (const row of rows) {
    const line = make("tr");
    for (const cell of row) line.append(cell instanceof Node ? cell : make("td", cell));
    body.append(line);
  }
  table.append(head, body);
  return table;
}
function drawLetters() {
  const rows = letters.map((letter) => {
    const choose = make("td");
    const box = make("input");
    box.type = "checkbox";
    box.checked = chosen.has(letter.deadId);
    box.setAttribute("aria-label", `Select ${letter.deadId}`);
    box.addEventListener("change", () => { box.checked ? chosen.add(letter.deadId) : chosen.delete(letter.deadId); drawChosen(); });
    choose.append(box);
    const see = make("td");
    const button = make("button", "View");
    button.type = "button";
    button.setAttribute("aria-label", `View ${letter.deadId}`);
    button.addEventListener("click", () => view(letter.deadId));
    see.append(button);
    return [choose, when(letter.deadAt), letter.account || "–", letter.operation, letter.reason || "–", letter.transactionId || "–", make("td", letter.detail, "detail"), see];
  });
  $("letters").hidden = rows.length === 0;
  $("letters").replaceChildren(tableOf("Newest first", ["Select", "Died", "Account", "Operation", "Reason", "Delivery", "Detail", "Look"], rows));
  $("replay-all").disabled = $("drop-all").disabled = rows.length === 0;
  drawChosen();
}
function drawChosen() {
  $("replay-some").disabled = $("drop-some").disabled = chosen.size === 0;
}
async function view(id) {
  const work = await follow({ what: "show", id }, "Looking for it");
  if (!work) return;
  const shown = work.result;
  const list = make("dl");
  const entry = (name, value) => { if (value !== null && value !== undefined && value !== "") list.append(make("dt", name), make("dd", value)); };
  entry("id", shown.deadId);
  entry("account", shown.account);
  entry("operation", shown.operation);
  entry("delivery", shown.transactionId);
  entry("reason", shown.reason);
  entry("detail", shown.detail);
  entry("published", shown.publishedAt && clock(shown.publishedAt));
  entry("died", shown.deadAt && clock(shown.deadAt));
  entry("attempts", shown.attempts);
  entry("first attempt", shown.firstAttemptAt && clock(shown.firstAttemptAt));
  for (const tried of shown.history) entry("tried", `${clock(tried.at)} ${tried.result}`);
  entry("reply to", shown.replyTo);
  entry("trace", shown.traceparent);
  const job = shown.job ? JSON.stringify(shown.job, null, 2) : `The body (${number(shown.bytes)} bytes) is no JSON object.`;
  $("letter-body").replaceChildren(list, make("h3", "Job, credentials and recipients masked"), make("pre", job));
  $("letter").showModal();
}
async function take(what, all) {
  const ids = [...chosen];
  const wish = { what, all, wanted: all ? wanted : { ids } };
  let count = ids.length;
  if (all) {
    // What is confirmed is what matches now.
    const work = await follow({ what: "list", wanted, limit: 0 }, "Counting");
    if (!work) return;
    count = work.result.matched;
  }
  const letter = `${number(count)} dead letter${count === 1 ? "" : "s"}`;
  const replays = what === "replay";
  const text = replays
    ? "Each is published to its account's queue again and passes the limiter like any job. One that is uncertain may reach its receiver a second time."
    : "They are taken out for good, and kept in a file on the worker's machine first.";
  if (!(await confirmed(`${replays ? "Replay" : "Drop"} ${letter}?`, text, replays ? "Replay" : "Drop"))) return;
  const work = await follow(wish, replays ? "Replaying" : "Dropping");
  if (!work) return;
  const done = work.result;
  const stays = work.stays.map((stay) => ` ${stay.deadId} stays: ${stay.why}.`).join("");
  const told = (replays
    ? `${number(done.replayed)} replayed, ${number(done.stay)} stay, ${number(done.failed)} failed.`
    : `${number(done.dropped)} dropped${done.file ? `, kept in ${done.file}` : ""}.`) + (done.stopped ? " Stopped before all were looked at." : "") + stays;
  await page();
  $("work").textContent = `${told} ${$("work").textContent}`;
  refresh();
}
for (const what of ["replay", "drop"]) {
  $(`${what}-some`).addEventListener("click", () => take(what, false));
  $(`${what}-all`).addEventListener("click", () => take(what, true));
}

refresh();
