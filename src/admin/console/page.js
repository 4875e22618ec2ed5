"use strict";
// Whatever comes from the worker is put into the page as text, never as markup.

const EVERY = 2000;
const PATIENCE = 25000;
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
const clock = (text) => new Date(text).toLocaleString("en-GB", { hour12: false, day: "2-digit", month: "2-digit", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const since = (text, longer, now) => text
  ? `since ${clock(text)} (${span((Date.parse(now) - Date.parse(text)) / 1000)} ago)${longer ? ", or longer: it was so when this worker first looked" : ""}`
  : "";

// ---- asking ---------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}
async function ask(path, body) {
  // A tunnel that died swallows everything.
  const options = { headers: { "paceline-console": "1" }, credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(PATIENCE) };
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
// What failed stands until something else is said.
function say(text, failed) {
  $("said").textContent = text;
  clearTimeout(saidTimer);
  if (!failed) saidTimer = setTimeout(() => { $("said").textContent = ""; }, 8000);
}
function confirmed(title, text, yes) {
  const dialog = $("ask");
  // One question at a time: an answer must never count for another one.
  if (dialog.open) return Promise.resolve(false);
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
  for (const dialog of [$("ask"), $("letter")]) dialog.close();
  for (const id of ["letter-body", "letters", "groups", "accounts"]) $(id).replaceChildren();
  $("found").hidden = true;
  last = null;
  letters = [];
  chosen.clear();
  alarm("");
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
    $("live").textContent = `as of ${clock(last.at)}`;
    isLive(true);
    draw();
    drawChoices();
    drawOthersWork();
  } catch (error) {
    if (error.status === 401) return;
    isLive(false, error.message);
  }
  $("sign-in").hidden = true;
  $("console").hidden = false;
  $("sign-out").hidden = false;
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
}
// What is seen is the last that was told: it must not look as if it were of now.
let notLiveSince = null;
function isLive(live, why) {
  notLiveSince = live ? null : notLiveSince || new Date().toISOString();
  $("console").classList.toggle("stale", !live);
  if (!live) alarm(`Not live since ${clock(notLiveSince)}: ${why}. ${last ? `What you see is of ${clock(last.at)}.` : ""}`);
}
// Read out, so only when it changes.
function alarm(text) {
  if ($("alarm").textContent !== text) $("alarm").textContent = text;
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
  update($("problems"), ...last.problems.map((problem) => {
    const which = problem.startsWith("the broker") ? last.since.broker : problem.startsWith("the store") ? last.since.store : null;
    return make("li", which ? `${problem}. ${since(which.at, which.orLonger, last.at)}` : problem);
  }));
  alarm(last.problems.map((problem) => problem.split(/[:(]/)[0]).join("; "));
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
  if (last.deadLettersAreRead) return tile("dead letters, being read", lettersBefore === null ? "…" : number(lettersBefore), "warn");
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
  const button = (word, classes) => {
    const button = make("button", word, classes);
    button.type = "button";
    button.addEventListener("click", () => toggle(name, button));
    return button;
  };
  const [again, main] = [button(TRY, "again"), button("Pause", "main")];
  again.setAttribute("aria-label", `${TRY}: ${name}`);
  bar.append(title, badge, again, main);
  const rest = make("div");
  root.append(bar, rest);
  return { root, badge, again, main, rest };
}
// A pause that is not a person's ends by itself, or is ended; the account can be paused for good meanwhile.
const TRY = "Try now";
function drawCard(card, account) {
  card.root.className = account.health;
  if (card.badge.textContent !== account.health) card.badge.textContent = account.health;
  card.badge.className = `badge ${account.health}`;
  const causes = account.limits.filter((limit) => limit.paused).map((limit) => limit.paused.cause);
  const byPerson = causes.includes("operator");
  const word = byPerson ? "Resume" : "Pause";
  if (card.main.textContent !== word) card.main.textContent = word;
  card.main.setAttribute("aria-label", `${word} ${account.account}`);
  card.again.hidden = byPerson || causes.length === 0;
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
  table.append(make("caption", `${account.provider}: what waits${account.limits.map(drainOf).join("")}`));
  const head = make("tr");
  for (const [name, kind] of [["Lane", ""], ["Waiting", "num"], ["Oldest", "num"]]) {
    const cell = make("th", name, kind);
    cell.scope = "col";
    head.append(cell);
  }
  const body = make("tbody");
  const row = (name, lane) => {
    const line = make("tr");
    const title = make("th", name);
    title.scope = "row";
    line.append(title, make("td", number(lane.waiting), "num"), make("td", lane.waiting === 0 ? "–" : span(lane.oldestAgeSeconds), "num"));
    body.append(line);
  };
  row("jobs", account.jobs);
  for (const limit of account.limits) {
    const waits = Object.values(limit.lanes).some((lane) => lane.waiting !== 0);
    if (limit.limit !== "main" && !waits) continue;
    Object.entries(limit.lanes).forEach(([name, lane]) => row(limit.limit === "main" ? name : `${name} (${limit.limit})`, lane));
  }
  const top = make("thead");
  top.append(head);
  table.append(top, body);
  return table;
}
// How long all lanes of a limit take: they share it.
function drainOf(limit) {
  if (limit.drainSeconds === 0) return "";
  const name = limit.limit === "main" ? "" : `${limit.limit} `;
  if (limit.paused) return `; ${name}paused`;
  return limit.drainSeconds === null ? "" : `; ${name}drained in ${span(limit.drainSeconds)}`;
}
const mostOf = (limit) => limit.windows.find((window) => window.seconds === 60)?.requests ?? null;
const used = (limit) => `${number(limit.usedLast60s)}${mostOf(limit) ? ` of ${number(mostOf(limit))}` : ", no limit,"} in 60 s`;
function drawUse(limit) {
  const name = limit.limit === "main" ? "Limit" : `Limit ${limit.limit}`;
  const charts = make("div", undefined, "charts");
  charts.append(chart(`${name}: ${used(limit)}`, limit.series.minute, 60, mostOf(limit)), chart("the last hour", limit.series.hour, 3600, mostOf(limit)));
  return charts;
}
// Where nothing was seen nothing is drawn.
function stretches(points, reach) {
  const all = [[]];
  let before = null;
  for (const [ago, used] of points) {
    if (used === null || (before !== null && before - ago > reach / 30)) all.push([]);
    if (used !== null) all[all.length - 1].push([ago, used]);
    before = ago;
  }
  return all.filter((stretch) => stretch.length > 0);
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
  for (const stretch of stretches(points, reach)) {
    const line = stretch.map(([ago, used]) => `L${x(ago)} ${y(used)}`).join(" ");
    shape("path", { class: "use", d: `M${x(stretch[0][0])} 41 ${line} L${x(stretch[stretch.length - 1][0])} 41 Z` });
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
const WISHES = {
  Pause: ["Nothing of this account is sent by any worker until it is resumed. Jobs are still taken in and wait; nothing is lost.", "pause", "is paused for all workers."],
  Resume: ["Every worker tries this account again. If what stopped it is not mended, it pauses again by itself.", "resume", "is resumed for all workers."],
  [TRY]: ["Every worker tries this account at once, also before a time that the provider asked for. If what stopped it is not mended, it pauses again by itself.", "resume", "is tried again by all workers."],
};
async function toggle(name, button) {
  const wish = button.textContent;
  const [text, path, done] = WISHES[wish];
  if (!(await confirmed(`${wish}: ${name}?`, text, wish))) return;
  button.disabled = true;
  try {
    const { paused } = await ask(`/console/api/${path}`, { account: name });
    say(paused.length && path === "resume" ? paused.join(" ") : `${name} ${done}`);
    await refresh();
  } catch (error) {
    say(`${name}: ${error.message}`, true);
  } finally {
    button.disabled = false;
  }
}

// ---- dead letters ----------------------------------------------------------------------------

const REASONS = ["invalid", "rejected", "exhausted", "uncertain", "poison"];
// The filter of the letters that are shown, in words too.
let wanted = {};
let wantedWords = "";
let letters = [];
let following = false;
const chosen = new Set();

function drawChoices() {
  const fill = (select, names) => {
    if ([...select.options].slice(1).map((option) => option.value).join() === names.join()) return;
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
function inWords(filter) {
  const parts = [["account", filter.accounts[0]], ["reason", filter.reasons[0]], ["operation", filter.operations[0]], ["detail with", filter.detail]];
  const words = parts.filter(([, value]) => value).map(([name, value]) => `${name} ${value}`);
  if (filter.newerThanSeconds) words.push(`died in the last ${span(filter.newerThanSeconds)}`);
  return words.length ? words.join(", ") : "all accounts, all reasons";
}
const progress = (work) => (work.state === "waiting"
  ? "Another command is at work on the dead letters; waiting for its end."
  : `${VERBS[work.what]}: ${number(work.examined)} of ${number(work.total)} looked at, ${number(work.done)} done`);
const VERBS = { list: "Reading", show: "Looking for it", replay: "Replaying", drop: "Dropping" };
const goesOn = (work) => work.state === "running" || work.state === "waiting";
function showWork(work) {
  $("work").className = "";
  $("work").textContent = progress(work);
  $("stop").hidden = false;
  $("stop").dataset.work = work.work;
}
// Begins a piece of work and follows it to its end; what came of it, or null where it failed.
async function follow(wish) {
  if (following) return null;
  following = true;
  drawChosen();
  const line = $("work");
  try {
    let work = await ask("/console/api/dead", wish);
    while (goesOn(work)) {
      showWork(work);
      await new Promise((next) => setTimeout(next, 500));
      work = await askAgain(`/console/api/dead/${work.work}`);
    }
    line.className = work.error ? "bad" : "";
    line.textContent = work.error ? `${work.error}${work.done ? ` (${number(work.done)} were done)` : ""}` : "";
    if (work.error) say(line.textContent, true);
    return work.error ? null : work;
  } catch (error) {
    line.className = "bad";
    line.textContent = error.message;
    say(error.message, true);
    return null;
  } finally {
    following = false;
    // One piece of work is done at a time, so there is none now.
    if (last) last.lettersUnderWay = null;
    $("stop").hidden = true;
    drawChosen();
  }
}
// The work goes on, whether this page hears of it or not.
async function askAgain(path) {
  for (;;) {
    try {
      return await ask(path);
    } catch (error) {
      if (error.status === 401 || error.status === 404) throw error;
      $("work").textContent = `not live: ${error.message}`;
      await new Promise((next) => setTimeout(next, EVERY));
    }
  }
}
// What somebody else began, or this page before it was loaded again.
let others = false;
function drawOthersWork() {
  if (following) return;
  if (last.lettersUnderWay) showWork(last.lettersUnderWay);
  else if (others) { $("work").textContent = "It ended; search again."; $("stop").hidden = true; }
  others = Boolean(last.lettersUnderWay);
  drawChosen();
}
$("stop").addEventListener("click", () => ask(`/console/api/dead/${$("stop").dataset.work}/stop`, {}).catch((error) => say(error.message, true)));
$("search").addEventListener("submit", (event) => { event.preventDefault(); page(asked()); });
// What the form says is not what is shown until it is searched for.
$("search").addEventListener("input", () => drawChosen());
async function page(filter, after) {
  const work = await follow({ what: "list", wanted: filter, limit: 50, ...(after ? { after } : {}) });
  if (!work) return;
  wanted = filter;
  wantedWords = inWords(filter);
  const listing = work.result;
  if (!after) { letters = []; chosen.clear(); }
  letters.push(...listing.letters);
  $("found").hidden = false;
  $("more").hidden = !listing.next;
  $("more").dataset.next = listing.next || "";
  $("work").textContent = `${number(listing.total)} dead letters, ${number(listing.matched)} match (${wantedWords})${listing.stopped ? "; stopped before all were looked at" : ""}.`;
  $("groups").replaceChildren(listing.groups.length ? tableOf("By reason", ["Count", "Account", "Operation", "Reason", "Oldest", "Newest"], listing.groups.map((group) =>
    [number(group.count), group.account || "–", group.operation || "–", group.reason || "–", when(group.oldest), when(group.newest)])) : make("p", "None match."));
  drawLetters();
}
$("more").addEventListener("click", () => page(wanted, $("more").dataset.next));
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
  drawChosen();
}
function drawChosen() {
  const busy = following || Boolean(last && last.lettersUnderWay);
  const isShown = JSON.stringify(asked()) === JSON.stringify(wanted);
  $("replay-some").disabled = $("drop-some").disabled = busy || chosen.size === 0;
  $("replay-all").disabled = $("drop-all").disabled = busy || !isShown || letters.length === 0;
  $("search-button").disabled = $("more").disabled = busy;
}
async function view(id) {
  const work = await follow({ what: "show", id });
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
  let [count, whose, filter] = [ids.length, "", { ids }];
  if (all) {
    const work = await follow({ what: "list", wanted, limit: 0 });
    if (!work || work.result.stopped) return;
    // Those that were counted, and none that died since.
    [count, whose, filter] = [work.result.matched, `Of ${wantedWords}. `, { ...wanted, diedBefore: work.began }];
  }
  const letter = `${number(count)} dead letter${count === 1 ? "" : "s"}`;
  const replays = what === "replay";
  const text = replays
    ? "Each is published to its account's queue again and passes the limiter like any job. One that is uncertain may reach its receiver a second time."
    : "They are taken out for good, and kept in a file on the worker's machine first.";
  if (!(await confirmed(`${replays ? "Replay" : "Drop"} ${letter}?`, whose + text, replays ? "Replay" : "Drop"))) return;
  const work = await follow({ what, all, wanted: filter });
  refresh();
  if (!work) return;
  const done = work.result;
  const stays = work.stays.map((stay) => ` ${stay.deadId} stays: ${stay.why}.`).join("");
  const missing = done.missing && done.missing.length ? ` ${number(done.missing.length)} were not there any more.` : "";
  const told = (replays
    ? `${number(done.replayed)} replayed, ${number(done.stay)} stay, ${number(done.failed)} failed.`
    : `${number(done.dropped)} dropped${done.file ? `, kept in ${done.file}` : ""}.`) + (done.stopped ? " Stopped before all were looked at." : "") + missing + stays;
  say(told, true);
  await page(wanted);
  $("work").textContent = `${told} ${$("work").textContent}`;
}
for (const what of ["replay", "drop"]) {
  $(`${what}-some`).addEventListener("click", () => take(what, false));
  $(`${what}-all`).addEventListener("click", () => take(what, true));
}

refresh();
