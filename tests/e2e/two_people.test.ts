/**
 * The page at the gateway's root, driven in a real browser against a real process: two people chat,
 * one of them goes away, and what was written meanwhile arrives when they are back.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Browser, chromium, type Page } from "playwright-core";
import { Cluster } from "../integration/cluster.ts";

const START_MS = 60_000;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let cluster: Cluster;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  cluster = await Cluster.start({ layout: "all" });
  const executablePath = process.env.CHROMIUM_PATH || "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: FLAGS });
  page = await browser.newPage({ viewport: { width: 1_200, height: 860 } });
  await page.goto(`http://${cluster.gateways()[0]}/`);
}, START_MS);

afterAll(async () => {
  await browser?.close();
  await cluster?.stop();
}, START_MS);

const byId = (id: string) => page.locator(`[data-testid="${id}"]`);
const rows = (side: "left" | "right", direction: "own" | "received") =>
  page.locator(`[data-testid="${side}-message"][data-direction="${direction}"]`);

async function write(side: "left" | "right", text: string): Promise<void> {
  await byId(`${side}-input`).fill(text);
  await byId(`${side}-input`).press("Enter");
}

async function signIn(side: "left" | "right"): Promise<void> {
  const pane = byId(`${side}-pane`);
  if ((await pane.getAttribute("data-state")) !== "online") await byId(`${side}-sign-in`).click();
  await page.waitForSelector(`[data-testid="${side}-pane"][data-state="online"]`);
}

test(
  "two users sign in, and a live message goes from accepted to read",
  async () => {
    await signIn("left");
    await signIn("right");
    await write("left", "Hello Bob, are you there?");
    const received = rows("right", "received").first();
    await received.waitFor();
    expect(await received.textContent()).toContain("Hello Bob, are you there?");
    expect(await received.getAttribute("data-seq")).toBe("1");
    await page.waitForSelector('[data-testid="left-message"][data-state="read"]');
    await write("right", "I am, Alice.");
    await rows("left", "received").first().waitFor();
    expect(await rows("left", "received").count()).toBe(1);
  },
  START_MS,
);

test(
  "what is written to somebody who is away arrives, in order, when they are back",
  async () => {
    await byId("right-connection").click();
    await page.waitForSelector('[data-testid="right-pane"]:not([data-state="online"])');
    const texts = ["Lunch at one?", "The usual place.", "I will book a table."];
    for (const text of texts) await write("left", text);
    const sent = '[data-testid="left-message"][data-state="sent"]';
    await page.waitForFunction((s) => document.querySelectorAll(s).length === 3, sent);
    expect(await rows("right", "received").count()).toBe(1);
    await byId("right-connection").click();
    await page.waitForSelector('[data-testid="right-pane"][data-state="online"]');
    await rows("right", "received").nth(3).waitFor();
    const seqs = await rows("right", "received").evaluateAll((elements) =>
      elements.map((element) => Number(element.getAttribute("data-seq"))),
    );
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
    const shown = await rows("right", "received").allTextContents();
    for (const [i, text] of texts.entries()) expect(shown[i + 1]).toContain(text);
    await byId("right-banner").waitFor();
    expect(await byId("right-banner").textContent()).toContain("3 messages");
    // A still picture needs the lights of the way to have stopped moving.
    if (process.env.SCREENSHOT) await Bun.sleep(1_500);
    if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  },
  START_MS,
);

test(
  "nothing on the page is taken for markup",
  async () => {
    await write("left", '<img src=x onerror="window.hacked=1"><b>bold</b>');
    await rows("right", "received").nth(4).waitFor();
    expect(await rows("right", "received").nth(4).textContent()).toContain("<b>bold</b>");
    expect(await page.evaluate("window.hacked")).toBeUndefined();
  },
  START_MS,
);
