// What a person does on the page, in Chromium. It fails on a console error, on a violation of the page's policy, on what axe finds, and on
// an action that does not do what it says. Pictures of each view go to ORW_PAGE_PICTURES.
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import process from "node:process";

const env = process.env;
const require = createRequire(`${env.ORW_PAGE_MODULES}/`);
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;

const base = `${env.ORW_PAGE_URL}/apps/openregister_webhooks`;
const alone = env.ORW_PAGE_MODE === "alone";
const facts = JSON.parse(env.ORW_PAGE_FACTS);
const pictures = `${env.ORW_PAGE_PICTURES}/${env.ORW_PAGE_MODE}`;
mkdirSync(pictures, { recursive: true });

const faults = [];
const fault = (text) => { faults.push(text); console.error(`FAULT ${text}`); };
const expect = (is, text) => { if (!is) fault(text); };

const browser = await chromium.launch({
  executablePath: env.ORW_PAGE_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"],
});

async function open(options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 900 }, ...options });
  if (!alone) {
    const [name, value] = env.ORW_PAGE_COOKIE.split("=");
    await context.addCookies([{ name, value, url: env.ORW_PAGE_URL }]);
  }
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  let wanted = 200;
  page.expectStatus = (status) => { wanted = status; };
  page.on("console", (message) => {
    const refused = message.text().startsWith("Failed to load resource") && wanted !== 200;
    if (["error", "warning"].includes(message.type()) && !refused) fault(`console at ${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => fault(`script at ${page.url()}: ${error}`));
  page.on("dialog", (dialog) => { fault(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
  if (options.javaScriptEnabled !== false) {
    await page.addInitScript(() => document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
  }
  return page;
}

async function login(page, user = env.ORW_PAGE_USER, password = env.ORW_PAGE_PASSWORD) {
  await page.goto(`${base}/`);
  if (!alone) return;
  await page.fill("#user", user);
  await page.fill("#password", password);
  await page.click("main button");
  await page.waitForSelector("nav.side");
}

async function audit(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  for (const one of found.violations) {
    fault(`axe ${name}: ${one.id} (${one.impact}): ${one.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).slice(0, 3).join(" | ")}`);
  }
}

const views = {
  overview: "/", webhooks: "/webhooks", webhook: `/webhooks/${facts.givenUp}`, disabled: `/webhooks/${facts.off}`,
  down: `/webhooks/${facts.down}`, new: "/webhooks/new", edit: `/webhooks/${facts.good}/edit`, deliveries: "/deliveries?state=given_up", delivery: `/deliveries/${facts.delivery}`, hostile: `/deliveries/${facts.hostile}`,
  jobs: "/jobs", live: "/live", events: "/events", event: "/events/ObjectUpdatedEvent", audit: "/audit",
};

/// Every view in every dress: axe and a picture of each.
async function look() {
  const dresses = {
    light: { colorScheme: "light" },
    dark: { colorScheme: "dark" },
    small: { colorScheme: "light", viewport: { width: 360, height: 740 } },
    dutch: { colorScheme: "light", locale: "nl-NL" },
  };
  for (const [dress, options] of Object.entries(dresses)) {
    const page = await open(options);
    await login(page);
    for (const [name, path] of Object.entries(views)) {
      const answer = await page.goto(base + path);
      expect(answer.status() === 200, `${name}: ${answer.status()}`);
      if (name === "new" || name === "edit") await page.waitForSelector("#checked .alert");
      await audit(page, `${name} ${dress}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(wide <= 0, `${name} ${dress}: the page is ${wide} px too wide`);
      if (dress !== "dutch" || name === "overview") await page.screenshot({ path: `${pictures}/${name}-${dress}.png`, fullPage: dress === "small" });
      else expect((await page.getAttribute("html", "lang")) === "nl", `${name} is not Dutch`);
    }
    await page.context().close();
  }
}

/// Keyboard: the first key leads to the content, and every place that has the focus shows it.
async function keys() {
  const page = await open();
  await login(page);
  await page.goto(`${base}/webhooks`);
  await page.keyboard.press("Tab");
  expect((await page.evaluate(() => document.activeElement.className)) === "skip", "the first stop is not the link to the content");
  await page.keyboard.press("Enter");
  expect((await page.evaluate(() => document.activeElement.id)) === "main", "the link does not lead to the content");
  for (let stop = 0; stop < 12; stop += 1) {
    await page.keyboard.press("Tab");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    expect(outline !== "none", `no focus is seen at stop ${stop}`);
  }
  // What renews itself leaves the focus where it is.
  await page.goto(`${base}/`);
  await page.locator("#now .scroll").first().focus();
  await page.waitForResponse((answer) => answer.url().includes("renew=1"));
  await page.evaluate(() => new Promise((done) => document.addEventListener("htmx:afterRequest", () => setTimeout(done), { once: true })));
  expect((await page.evaluate(() => document.activeElement.className)) === "scroll", "the focus is lost when the overview renews itself");
  await page.context().close();
}

/// A view that cannot be renewed keeps what it shows, says so, and goes on.
async function stale() {
  const page = await open();
  await login(page);
  await page.goto(`${base}/`);
  const note = page.locator("[data-stale]");
  const shown = await page.locator("#now .tile").count();
  page.expectStatus(503);
  await page.route("**/*renew=1*", (route) => route.fulfill({ status: 503, contentType: "text/html", body: "<p>away</p>" }));
  await note.waitFor({ state: "visible" });
  expect((await page.locator("#now .tile").count()) === shown && shown > 0, "a view that cannot be renewed is lost");
  await page.unroute("**/*renew=1*");
  await note.waitFor({ state: "hidden" });
  await page.context().close();
}

const said = async (page, text) => expect((await page.textContent("main")).includes(text), `"${text}" is not said at ${page.url()}`);
const press = async (page, name, inside = "main") => {
  await page.locator(inside).getByRole("button", { name, exact: true }).first().click();
  await page.waitForLoadState();
};
const unfold = (page, name) => page.locator("summary", { hasText: name }).first().click();

/// Waits until the job on this page is over; without JavaScript the page is asked for again.
async function ended(page, javaScriptEnabled) {
  const job = page.url().split("?")[0];
  const over = async () => /^(done|cancelled)$/.test((await page.textContent("#progress .badge")).trim());
  for (let turn = 0; turn < 300 && !(await over()); turn += 1) {
    await page.waitForTimeout(300);
    if (!javaScriptEnabled) await page.goto(job);
  }
  expect(await over(), `the job does not end: ${job}`);
}

/// The search: every state has deliveries, and every condition finds what it names.
async function find(page) {
  const states = { succeeded: "succeeded", given_up: "given up", cancelled: "cancelled", pending: "waiting", retrying: "to be retried", leased: "being sent", awaiting_user: "waiting for the user" };
  for (const [state, name] of Object.entries(states)) {
    await page.goto(`${base}/deliveries`);
    await page.selectOption("#state", state);
    await press(page, "Search");
    const badges = await page.locator("main tbody .badge").allTextContents();
    expect(badges.length > 0 && badges.every((one) => one === name), `${state}: ${badges.slice(0, 3)}`);
  }
  const now = new Date().toISOString();
  const conditions = { object: facts.object, webhook: `${facts.givenUp}`, status: "400", cause: "status", since: "12h", until: now, webhookId: facts.event };
  for (const [name, value] of Object.entries(conditions)) {
    await page.goto(`${base}/deliveries`);
    if (["status", "cause", "until", "webhookId"].includes(name)) await unfold(page, "More conditions");
    await page.fill(`#${name}`, value);
    await press(page, "Search");
    expect((await page.locator("main tbody tr").count()) > 0, `nothing is found by ${name}`);
    expect((await page.inputValue(`#${name}`)) === value, `${name} is not kept`);
  }
  // The event went to one delivery of each webhook at least, and to no other object.
  const objects = await page.locator("main tbody tr").evaluateAll((rows) => new Set(rows.map((row) => row.textContent.match(/[0-9a-f-]{36}/)?.[0])).size);
  expect(objects === 1, `a webhook-id leads to ${objects} objects`);
  await page.goto(`${base}/deliveries`);
  await unfold(page, "More conditions");
  await page.fill("#until", "2020-01-01");
  await press(page, "Search");
  await said(page, "Nothing was found here.");
}

/// The list of webhooks: what it shows and in which order.
async function list(page, javaScriptEnabled) {
  const choose = async (name, value) => {
    await page.goto(`${base}/webhooks`);
    if (!javaScriptEnabled) {
      await page.selectOption(`#${name}`, value);
      return press(page, "Show");
    }
    const renewed = page.waitForResponse((answer) => answer.url().includes(`${name}=${value}`));
    await page.selectOption(`#${name}`, value);
    await renewed;
    await page.waitForFunction(() => !document.querySelector(".htmx-request, .htmx-swapping, .htmx-settling"));
  };
  const rows = page.locator("#rows tbody tr");
  for (const state of ["enabled", "paused", "disabled"]) {
    await choose("state", state);
    const badges = await rows.locator("td:nth-of-type(1) .badge:first-child").allTextContents();
    expect(badges.length > 0 && badges.every((one) => one === state), `${state} webhooks: ${badges}`);
  }
  await choose("state", "failing");
  expect((await rows.locator(`a[href$="/webhooks/${facts.down}"]`).count()) === 1, "a webhook that fails does not need attention");
  const sorted = async (name, read, down = false) => {
    await choose("sort", name);
    const values = await rows.evaluateAll(read);
    const right = values.every((value, at) => at === 0 || (down ? values[at - 1] >= value : values[at - 1] <= value));
    expect(values.length > 5 && right, `by ${name}: ${values}`);
  };
  const number = (rows) => rows.map((row) => Number(row.querySelector(".under").textContent.split(" ")[0]));
  await sorted("id", number);
  await sorted("uri", (rows) => rows.map((row) => row.querySelector("th a").textContent));
  await sorted("waiting", (rows) => rows.map((row) => Number(row.querySelectorAll("td.n")[1].firstChild.textContent.replace(/[^0-9]/g, ""))), true);
  await sorted("rate", (rows) => rows.map((row) => parseFloat(row.querySelector("td.n").textContent.replace("–", "1000"))));
  await choose("sort", "success");
  expect((await rows.count()) > 5, "no webhook is shown by its last success");
}

/// A wrong password is told, and the right one opens the page afterwards.
async function mistype(javaScriptEnabled) {
  const page = await open({ javaScriptEnabled });
  page.expectStatus(401);
  await page.goto(`${base}/webhooks`);
  await page.fill("#user", env.ORW_PAGE_USER);
  await page.fill("#password", "not-the-password");
  await press(page, "Log in");
  await said(page, "wrong");
  expect((await page.locator("nav.side").count()) === 0, "a wrong password shows the page");
  await page.fill("#password", env.ORW_PAGE_PASSWORD);
  await press(page, "Log in");
  await page.waitForSelector("nav.side");
  await page.context().close();
}

/// A job that waits, because its webhook is paused and much waits for it already: it is cancelled.
async function cancel(page) {
  await page.goto(`${base}/webhooks/${facts.paused}`);
  await unfold(page, "Backfill what there is");
  await press(page, "Start the backfill");
  await said(page, "The job has started");
  await press(page, "Cancel");
  await said(page, "The job is being cancelled");
  expect((await page.textContent("#progress .badge")).trim() === "cancelled", "the job is not cancelled");
  expect((await page.locator("#cancel").count()) === 0, "what is over can be cancelled");
}

/// What strangers write is text, in the body that was sent, in the answer, and in a reason.
async function strangers(page) {
  for (const path of [views.delivery, views.hostile, views.disabled, views.webhooks, views.overview]) {
    await page.goto(base + path);
    const text = await page.textContent("main");
    if (path !== views.overview) expect(text.includes("<img src=x onerror=alert(1)>"), `markup is not shown as text at ${path}`);
    expect(!/[\u001b\u202e]/.test(text), `a character that deceives is shown at ${path}`);
    expect((await page.locator("main img, main script").count()) === 0, `markup of a stranger is in ${path}`);
  }
}

/// Every action, once.
async function act(javaScriptEnabled) {
  const page = await open({ javaScriptEnabled });
  await login(page);
  await strangers(page);
  await page.goto(`${base}/webhooks/new`);
  await page.fill("#uri", "http://10.0.0.1/");
  await unfold(page, "Add a condition");
  await page.fill("#path", "event.object.data.age");
  await page.selectOption("#operator", "$gte");
  await page.fill("#value", "0");
  await press(page, "Add to the filter");
  await said(page, "uri: ");
  expect((await page.inputValue("#filter")).includes("$gte"), "the condition is not in the filter");
  await page.fill("#uri", `${facts.receiver}?js=${javaScriptEnabled}`);
  if (javaScriptEnabled) await page.waitForSelector("#checked .alert.good");
  if (javaScriptEnabled) await page.waitForSelector("#checked .would");
  if (javaScriptEnabled) expect((await page.textContent("#checked-told")).includes("such events would have matched"), "a screen reader is not told what the check says");
  else await press(page, "Check");
  await said(page, "such events would have matched");
  await said(page, "The body in each format");
  await said(page, "Requests may go to 127.0.0.1:");
  if (javaScriptEnabled) await page.screenshot({ path: `${pictures}/checked.png` });
  await press(page, "Register");
  await said(page, "whsec_");
  await page.getByRole("link", { name: "To the webhook" }).click();
  const one = page.url().split("?")[0];
  await press(page, "Send a test");
  await said(page, "The test arrived");
  await press(page, "Pause");
  await said(page, "The webhook is paused");
  await press(page, "Resume");
  await said(page, "goes on delivering");
  await unfold(page, "Disable");
  await page.fill("#reason", "for a test");
  await press(page, "Disable");
  await said(page, "for a test");
  await press(page, "Enable");
  await said(page, "The webhook is enabled");
  await unfold(page, "New signing secret");
  await press(page, "Make a new secret");
  await said(page, "whsec_");
  await page.goto(`${one}/edit`);
  await page.selectOption("#format", "nextcloud");
  await press(page, "Save");
  await said(page, "The webhook is saved");
  await unfold(page, "Backfill what there is");
  await press(page, "Start the backfill");
  await said(page, "The job has started");
  await ended(page, javaScriptEnabled);
  await page.goto(`${base}/deliveries?webhook=${facts.givenUp}&state=given_up`);
  // What was put back stays in the log: without JavaScript the next one is taken.
  await page.locator("tbody tr").nth(javaScriptEnabled ? 0 : 1).locator("th a").first().click();
  const delivery = page.url().split("?")[0];
  await press(page, "Retry");
  await said(page, "It is in the queue again");
  await page.goto(delivery);
  expect((await page.locator("main").getByRole("button", { name: "Retry", exact: true }).count()) === 0, "what was put back can be put back again");
  await page.goto(`${base}/deliveries?webhook=${facts.givenUp}&state=given_up`);
  await press(page, "Count what can be sent again …");
  await said(page, "can be sent again");
  await press(page, "Start");
  await said(page, "The job has started");
  await ended(page, javaScriptEnabled);
  await page.goto(`${base}/webhooks/${facts.givenUp}`);
  await press(page, "Retry what was given up");
  await said(page, "What was given up is in the queue again");
  await cancel(page);
  await find(page);
  await list(page, javaScriptEnabled);
  await page.goto(`${base}/webhooks`);
  await page.fill("#q", "n8n");
  if (javaScriptEnabled) await page.waitForFunction(() => document.querySelectorAll("#rows tbody tr").length === 1);
  else await press(page, "Show");
  expect((await page.locator("#rows tbody tr").count()) === 1, "the search finds one webhook");
  if (javaScriptEnabled) await live(one);
  await page.goto(one);
  await unfold(page, "Delete");
  await page.fill("#confirm", one.split("/").pop());
  await press(page, "Delete for good");
  await said(page, "The webhook is deleted");
  await page.goto(`${base}/audit`);
  for (const action of ["create", "update", "pause", "disable", "enable", "rotate-secret", "cancel-backfill", "delete"]) await said(page, action);
  if (alone) {
    await page.locator("header").getByRole("button", { name: "Log out" }).click();
    await page.waitForSelector("#password");
  }
  await page.context().close();
}

/// What arrives while somebody watches, and what a pause holds back.
async function live(webhook) {
  const watching = await open();
  await login(watching);
  await watching.goto(`${base}/live?webhook=${webhook.split("/").pop()}`);
  await watching.waitForFunction(() => document.getElementById("live-state").textContent === "Watching.");
  const other = await open();
  await login(other);
  const replay = async () => {
    await other.goto(webhook);
    await unfold(other, "Replay what was sent");
    await other.fill("#since", "1h");
    await press(other, "Start the replay");
    await said(other, "The job has started");
    await other.waitForFunction(() => document.querySelector("#progress .badge").textContent === "done");
  };
  await replay();
  await watching.waitForSelector("#live-rows tr.new");
  await watching.click("#live-pause");
  const rows = await watching.locator("#live-rows tr").count();
  await replay();
  await watching.waitForFunction(() => document.getElementById("live-state").textContent.startsWith("Paused"));
  expect((await watching.locator("#live-rows tr").count()) === rows, "a paused view moves");
  await watching.click("#live-pause");
  await watching.context().close();
  await other.context().close();
}

/// A reader finds no button.
async function read() {
  const page = await open();
  await login(page, "rita", "rita-password");
  for (const [name, path] of Object.entries(views)) {
    if (["new", "edit", "retry"].includes(name)) continue;
    await page.goto(base + path);
    expect((await page.locator("main form[method=post]").count()) === 0, `${name} has a form for a reader`);
  }
  await page.screenshot({ path: `${pictures}/reader.png` });
  await page.context().close();
}

try {
  if (alone) {
    const page = await open();
    await page.goto(`${base}/`);
    await audit(page, "login");
    await page.screenshot({ path: `${pictures}/login.png` });
    await page.context().close();
    await read();
    await mistype(true);
    await mistype(false);
  }
  await act(true);
  await act(false);
  await keys();
  await stale();
  await look();
} catch (error) {
  fault(`${error.stack}`);
} finally {
  await browser.close();
}
console.log(`${env.ORW_PAGE_MODE}: ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
