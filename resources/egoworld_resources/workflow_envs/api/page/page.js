"use strict";
// Shows what the API says; builds every element by hand, so that no text of an env can become markup.

const KEPT = "egoworld token";
const PAGE = 30;
const EVERY_MS = 4000;
const MANY = 8;
const LOGGED = new Set(["create", "add", "remove", "update", "sync"]); // what uv works for
const at = (id) => document.getElementById(id);
const seen = { envs: "", operations: "", disks: new Map(), texts: new Map(), open: new Set(), busy: new Map(), pages: 1, me: null };
let timer = 0;
let turn = 0;

class Refusal extends Error {
  constructor(status, error) {
    super(error.message || `the service answered ${status}`);
    this.status = status;
    this.code = error.code || "";
  }
}

async function ask(path, method = "GET") {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEPT) || ""}` };
  let response;
  try {
    response = await fetch(path, { method, headers, cache: "no-store" });
  } catch {
    throw new Refusal(0, { message: "The service does not answer; it is asked again." });
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, body.error || {});
  return body;
}

function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key === "label") made.dataset.label = value;
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const nameOf = (one) => [one.workflow_id, one.node_id, one.version_id].filter(Boolean).join("/");
const address = (one, more = "") =>
  `envs/${one.workflow_id}/${one.node_id}${more}${one.version_id ? `?version_id=${one.version_id}` : ""}`;
const short = (digest) => (digest ? digest.slice(0, 8) : "–");

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let left = bytes;
  let unit = 0;
  while (left >= 1000 && unit < units.length - 1) { left /= 1000; unit += 1; }
  return `${left.toFixed(unit && left < 100 ? 1 : 0)} ${units[unit]}`;
}

function took(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function when(seconds) {
  const time = new Date(seconds * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const hour = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  const today = new Date().toDateString() === time.toDateString();
  return element("time", { dateTime: time.toISOString(), title: `${day} ${hour}` }, today ? hour : `${day} ${hour.slice(0, 5)}`);
}

function problem(text) {
  at("problem").textContent = text;
  at("problem").hidden = !text;
}

// Envs ---------------------------------------------------------------------------------------------------------------

function diskOf(env) {
  const disk = seen.disks.get(`${nameOf(env)} ${env.lock_digest} ${env.created_at}`);
  if (!disk) return ["…"];
  const whole = disk.own_bytes + disk.shared_bytes;
  const share = whole ? disk.own_bytes / whole : 0;
  const bar = element("i");
  bar.style.width = `${Math.round(100 * share)}%`;
  const shown = `${size(disk.own_bytes)} of ${size(whole)}`;
  return [element("span", {}, shown, element("span", { className: "bar", title: `${size(disk.shared_bytes)} are shared` }, bar))];
}

function actions(env) {
  if (seen.me?.role !== "writer") return [];
  const name = nameOf(env);
  if (seen.busy.has(name)) return [element("span", { className: "busy" }, seen.busy.get(name))];
  const change = async (method, path, words) => {
    seen.busy.set(name, words);
    look();
    try {
      await ask(path, method);
      problem("");
    } catch (refusal) {
      problem(`${name}: ${refusal.message}`);
    }
    seen.busy.delete(name);
    await look();
  };
  const sync = element("button", { type: "button", title: "Make it again from its lock" }, "Sync");
  sync.onclick = () => change("POST", address(env, "/sync"), "syncing…");
  const remove = element("button", { type: "button" }, "Delete");
  remove.onclick = () => {
    if (remove.className !== "sure") {
      remove.className = "sure";
      remove.textContent = "Really delete?";
      setTimeout(() => { remove.className = ""; remove.textContent = "Delete"; }, 4000);
      return;
    }
    change("DELETE", address(env), "deleting…");
  };
  return [sync, remove];
}

function more(env) {
  const name = nameOf(env);
  const cell = element("td", { colSpan: 9 });
  const row = element("tr", { className: "more", hidden: !seen.open.has(name) }, cell);
  row.fill = async () => {
    const key = `${name} ${env.lock_digest}`;
    if (!seen.texts.has(key)) seen.texts.set(key, await ask(address(env, "/export")));
    const texts = seen.texts.get(key);
    const part = (title, text, open) => element("details", { open }, element("summary", {}, title), element("pre", {}, text));
    cell.replaceChildren(
      element("p", { className: "quiet path" }, `${env.env_path}  lock ${env.lock_digest}`),
      part("Declaration", texts.pyproject_toml, true),
      part("Lock", texts.uv_lock, false),
    );
  };
  if (!row.hidden) row.fill().catch(() => {});
  return row;
}

function envRows(env) {
  const name = nameOf(env);
  const below = more(env);
  const lock = element("button", { type: "button", className: "lock", title: "Show declaration and lock" }, short(env.lock_digest));
  lock.setAttribute("aria-expanded", String(!below.hidden));
  lock.onclick = async () => {
    below.hidden = !below.hidden;
    lock.setAttribute("aria-expanded", String(!below.hidden));
    if (below.hidden) seen.open.delete(name);
    else { seen.open.add(name); await below.fill().catch((refusal) => problem(refusal.message)); }
  };
  const cell = (label, content, className = "") => element("td", { label, className }, ...content);
  const row = element("tr", {},
    element("td", { className: "name" }, name),
    cell("Status", [element("span", { className: env.status === "damaged" ? "bad" : "good" }, env.status)]),
    cell("Python", [`${env.python_version || "none"}${env.backend === "uv" ? "" : ` (${env.backend})`}`]),
    cell("Packages", [String(env.packages)], "figure"),
    cell("Size", [size(env.bytes)], "figure"),
    cell("Own on disk", diskOf(env), "disk"),
    cell("Last used", [when(env.used_at)], "when"),
    cell("Lock", [lock]),
    element("td", { className: "acts" }, ...actions(env)));
  return element("tbody", {}, row, below);
}

function showEnvs(envs) {
  const wanted = at("filter").value.trim().toLowerCase();
  const shown = envs.filter((env) => nameOf(env).toLowerCase().includes(wanted));
  const state = JSON.stringify([shown, seen.me, [...seen.busy], [...seen.disks.keys()]]);
  at("filter").hidden = envs.length <= MANY;
  at("none").hidden = envs.length > 0;
  at("envs").hidden = !shown.length;
  if (state === seen.envs) return;
  seen.envs = state;
  for (const body of [...at("envs").tBodies]) body.remove();
  at("envs").append(...shown.map(envRows));
}

async function askDisks(envs, mine) {
  for (const env of envs) {
    const key = `${nameOf(env)} ${env.lock_digest} ${env.created_at}`;
    if (seen.disks.has(key)) continue;
    if (mine !== turn) return;
    try {
      seen.disks.set(key, await ask(address(env, "/disk")));
    } catch {
      continue; // it was removed meanwhile
    }
  }
}

// Operations ---------------------------------------------------------------------------------------------------------

function operationRow(one) {
  const result = one.running ? "running" : one.result;
  const tone = one.running ? "busy" : one.result === "ok" ? "good" : "bad";
  const changed = one.lock_after && one.lock_after !== one.lock_before;
  const lock = changed ? `${short(one.lock_before)} → ${short(one.lock_after)}` : short(one.lock_after || one.lock_before);
  const why = one.message && !one.running && one.result !== "ok";
  const below = why ? element("tr", { className: "more", hidden: !seen.open.has(one.id) },
    element("td", { colSpan: 7 }, element("p", { className: "message" }, one.message))) : "";
  const answer = element(why ? "button" : "span", { className: `${tone}${why ? " lock" : ""}` }, result);
  if (why) {
    Object.assign(answer, { type: "button", title: "Show why" });
    answer.setAttribute("aria-expanded", String(!below.hidden));
    answer.onclick = () => {
      below.hidden = !below.hidden;
      answer.setAttribute("aria-expanded", String(!below.hidden));
      if (below.hidden) seen.open.delete(one.id);
      else seen.open.add(one.id);
    };
  }
  const cell = (label, content, className = "") => element("td", { label, className }, ...content);
  const row = element("tr", {},
    cell("When", [when(one.started_at)], "when"),
    cell("Who", [element("span", {}, one.actor, " ", element("span", { className: "quiet" }, one.origin))]),
    cell("Did", [one.action]),
    cell("Env", [element("span", { className: "path" }, nameOf(one))]),
    cell("Result", [answer]),
    cell("Took", [took(one.seconds)], "figure"),
    cell("Lock", [element("span", { className: "lock" }, lock)]));
  return below ? [row, below] : [row];
}

function showOperations(operations, next) {
  at("nothing").hidden = operations.length > 0;
  at("operations").hidden = !operations.length;
  at("older").hidden = !next;
  const ended = operations.map((one) => [one.id, one.running]);
  const state = JSON.stringify(ended);
  if (state === seen.operations) return;
  seen.operations = state;
  at("operations").tBodies[0].replaceChildren(...operations.flatMap(operationRow));
}

async function pagesOfOperations() {
  const all = [];
  let next = null;
  for (let page = 0; page < seen.pages; page += 1) {
    const got = await ask(`operations?limit=${PAGE}${next ? `&before=${next}` : ""}`);
    all.push(...got.operations);
    next = got.next;
    if (!next) break;
  }
  return [all, next];
}

async function showRunning(running) {
  at("running-part").hidden = !running.length;
  const log = (one) => (LOGGED.has(one.action) ? ask(`operations/${one.id}/log`).catch(() => ({ text: "" })) : { text: "" });
  const logs = await Promise.all(running.map(log));
  at("running").replaceChildren(...running.map((one, index) => element("div", { className: "run" },
    element("p", {},
      element("strong", {}, `${one.action} ${nameOf(one)}`),
      element("span", { className: "busy" }, `for ${took(one.seconds)}`),
      element("span", { className: "quiet" }, `by ${one.actor}, ${one.origin}`)),
    logs[index].text ? element("pre", {}, logs[index].text) : "")));
  for (const pre of at("running").querySelectorAll("pre")) pre.scrollTop = pre.scrollHeight;
}

// The whole ----------------------------------------------------------------------------------------------------------

function enter(words) {
  clearTimeout(timer);
  sessionStorage.removeItem(KEPT);
  Object.assign(seen, { envs: "", operations: "", me: null, pages: 1 });
  at("content").hidden = true;
  at("who").hidden = true;
  at("summary").textContent = "";
  at("enter").hidden = false;
  problem(words);
  at("token").focus();
}

async function look() {
  const mine = ++turn;
  clearTimeout(timer);
  try {
    seen.me = seen.me || await ask("me");
    const [{ envs }, { operations: running }, [operations, next]] =
      await Promise.all([ask("envs"), ask("operations?running=true&limit=20"), pagesOfOperations()]);
    if (mine !== turn) return;
    at("enter").hidden = true;
    at("content").hidden = false;
    at("who").hidden = false;
    at("name").textContent = `${seen.me.name}, ${seen.me.role}`;
    const bytes = envs.reduce((sum, env) => sum + env.bytes, 0);
    at("summary").textContent = `${envs.length} ${envs.length === 1 ? "env" : "envs"}, ${size(bytes)} of packages`;
    if (at("problem").dataset.lost) { problem(""); delete at("problem").dataset.lost; }
    showEnvs(envs);
    showOperations(operations, next);
    await showRunning(running);
    await askDisks(envs, mine);
    if (mine !== turn) return;
    showEnvs(envs);
    const own = envs.map((env) => seen.disks.get(`${nameOf(env)} ${env.lock_digest} ${env.created_at}`)?.own_bytes || 0);
    if (envs.length) at("summary").textContent += `, ${size(own.reduce((sum, one) => sum + one, 0))} on disk for them alone`;
  } catch (refusal) {
    if (refusal.status === 401) return enter(sessionStorage.getItem(KEPT) ? "This token is not known (any more)." : "");
    at("problem").dataset.lost = "yes";
    problem(refusal.message);
  }
  if (mine === turn && sessionStorage.getItem(KEPT)) timer = setTimeout(look, EVERY_MS);
}

function begin() {
  at("use").onclick = () => {
    const text = at("token").value.trim();
    at("token").value = "";
    if (!text) return;
    sessionStorage.setItem(KEPT, text);
    problem("");
    look();
  };
  at("token").onkeydown = (event) => { if (event.key === "Enter") at("use").click(); };
  at("leave").onclick = () => { turn += 1; enter(""); };
  at("filter").oninput = look;
  at("older").onclick = () => { seen.pages += 1; look(); };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && sessionStorage.getItem(KEPT)) look();
  });
  if (sessionStorage.getItem(KEPT)) look();
  else enter("");
}

begin();
