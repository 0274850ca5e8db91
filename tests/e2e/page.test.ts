/**
 * What the page shows while a message travels: each state in its order, the way lit stage by stage,
 * who is there and who types, and what came of a replay. two_people.test.ts has the conversation.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { Cluster } from "../integration/cluster.ts";

setDefaultTimeout(60_000);
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const STAGES = ["client", "gateway", "access", "chat_input", "logic", "push", "recipient"];

let cluster: Cluster;
let browser: Browser;
let page: Page;
const problems: string[] = [];

beforeAll(async () => {
  cluster = await Cluster.start({ layout: "all" });
  const executablePath = process.env.CHROMIUM_PATH || "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: FLAGS });
  page = await browser.newPage({ viewport: { width: 1_200, height: 860 } });
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (line) => {
    if (line.type() === "error") problems.push(line.text());
  });
  await page.goto(`http://${cluster.gateways()[0]}/`);
  await online("left");
  await online("right");
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await cluster?.stop();
}, 60_000);

const byId = (id: string) => page.locator(`[data-testid="${id}"]`);
const online = (side: string) =>
  page.waitForSelector(`[data-testid="${side}-pane"][data-state="online"]`);
const received = (side: string) =>
  page.locator(`[data-testid="${side}-message"][data-direction="received"]`);
const write = async (side: string, text: string) => {
  await byId(`${side}-input`).fill(text);
  await byId(`${side}-send`).click();
};

/** Notes every state that any own message of the left pane takes, from now on. */
const watchStates = () =>
  page.evaluate(() => {
    const states: string[] = [];
    Object.assign(window, { states });
    const list = document.querySelector('[data-testid="left-messages"]') as Element;
    const note = () => {
      const state = list.querySelector<HTMLElement>('[data-direction="own"]')?.dataset.state;
      if (state !== undefined && states.at(-1) !== state) states.push(state);
    };
    new MutationObserver(note).observe(list, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ["data-state"],
      attributeOldValue: true,
    });
  });
const statesSeen = () => page.evaluate(() => (window as unknown as { states: string[] }).states);

test("each pane sees the other there, typing, and gone", async () => {
  await page.waitForSelector('[data-testid="left-peer"][data-online="true"]');
  await page.waitForSelector('[data-testid="right-peer"][data-online="true"]');
  await byId("right-input").pressSequentially("Hel");
  await page.waitForFunction(
    () => document.querySelector('[data-testid="left-typing"]')?.textContent !== "",
  );
  await byId("right-input").fill("");
  await byId("right-connection").click();
  await page.waitForSelector('[data-testid="left-peer"][data-online="false"]');
  await byId("right-connection").click();
  await online("right");
});

test("a message takes its states in order, up to read, and its whole way is lit", async () => {
  await watchStates();
  await write("left", "Look at the top.");
  await page.waitForSelector('[data-testid="left-message"][data-state="read"]');
  const order = ["queued", "accepted", "sent", "delivered", "read"];
  const states = await statesSeen();
  // Frames that arrive together are seen as one step, so some may be passed over, none go back.
  const positions = states.map((state) => order.indexOf(state));
  expect(positions).toEqual([...positions].sort((a, b) => a - b));
  expect(positions).not.toContain(-1);
  expect(states.at(-1)).toBe("read");
  for (const stage of STAGES) {
    expect(await byId(`way-${stage}`).getAttribute("data-lit")).toBe("");
  }
  expect(await byId("left-problem").textContent()).toBe("");
});

test("a message to somebody away lights its way to logic, and the rest at the replay", async () => {
  await byId("right-connection").click();
  await page.waitForSelector('[data-testid="right-pane"][data-state="offline"]');
  await write("left", "For when you are back.");
  await page.waitForSelector('[data-testid="left-message"][data-state="sent"]');
  expect(await byId("way-logic").getAttribute("data-lit")).toBe("");
  expect(await byId("way-recipient").getAttribute("data-lit")).toBeNull();
  await byId("right-connection").click();
  await received("right").nth(1).waitFor();
  await page.waitForFunction(
    () => document.querySelector('[data-testid="right-banner-text"]')?.textContent !== "",
  );
  expect(await byId("right-banner-text").textContent()).toBe(
    "1 message arrived while you were away",
  );
  await page.waitForSelector('[data-testid="way-recipient"][data-lit]');
  for (const [name, count] of [
    ["received", "2"],
    ["acked", "2"],
    ["duplicates", "0"],
  ]) {
    const counter = `[data-testid="right-count-${name}"]`;
    await page.waitForFunction(
      ([selector, wanted]) => document.querySelector(selector as string)?.textContent === wanted,
      [counter, count],
    );
  }
});

test("on a phone both panes fit the width, and nothing was written to the console", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  expect(wide).toBeLessThanOrEqual(0);
  if (process.env.SCREENSHOT_PHONE) await page.screenshot({ path: process.env.SCREENSHOT_PHONE });
  expect(problems).toEqual([]);
});
