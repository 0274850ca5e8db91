/**
 * Every example of the OpenAPI document, in its order, against a cluster that has just started: the
 * status, the shape of the answer by its schema, and what the example shows of it. Then the document
 * and its page, as a browser gets them.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { type Browser, chromium } from "playwright-core";
import { ROUTES } from "../../src/api_document.ts";
import { ERRORS } from "../../src/core/protocol/errors.ts";
import { Cluster } from "../integration/cluster.ts";
import { ask } from "./request.ts";
import { VAPID_ENVIRONMENT } from "./vapid_environment.ts";

setDefaultTimeout(60_000);
let cluster: Cluster;
let base: string;
let browser: Browser | null = null;
beforeAll(async () => {
  cluster = await Cluster.start({ layout: "all", env: VAPID_ENVIRONMENT });
  base = `http://${cluster.gateways()[0]}`;
}, 60_000);
afterAll(async () => {
  await browser?.close();
  await cluster.stop();
}, 30_000);

for (const route of ROUTES) {
  for (const example of route.examples) {
    test(`${route.id}: ${example.name}`, async () => {
      const { headers, status, text } = await ask(base, route, example);
      const answer = JSON.parse(text) as Record<string, unknown>;
      expect({ status, answer }).toMatchObject({
        status: example.status ?? route.status,
        answer: example.answer ?? {},
      });
      expect(headers.get("content-type")).toContain("application/json");
      if (status === route.status) {
        expect(route.answer.safeParse(answer).error?.issues).toBeUndefined();
      } else {
        expect(Object.keys(ERRORS)).toContain(String(answer.code));
        expect(answer.request_id).toBe(headers.get("x-request-id"));
      }
    });
  }
}

test("the document is served, and its page shows every operation", async () => {
  const document = (await (await fetch(`${base}/chatify/openapi.json`)).json()) as {
    openapi: string;
    paths: object;
  };
  expect(document.openapi).toBe("3.1.0");
  expect(Object.keys(document.paths).length).toBe(new Set(ROUTES.map(({ path }) => path)).size);

  const executablePath = process.env.CHROMIUM_PATH || "/usr/bin/chromium";
  const args = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
  ];
  browser = await chromium.launch({ executablePath, args });
  const page = await browser.newPage({ viewport: { width: 1_200, height: 1_600 } });
  const problems: string[] = [];
  const hosts = new Set<string>();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (line) => {
    if (line.type() === "error") problems.push(line.text());
  });
  page.on("request", (request) => hosts.add(new URL(request.url()).host));
  await page.goto(`${base}/chatify/docs`);
  await page.waitForSelector(".opblock");
  expect(await page.locator(".opblock").count()).toBe(ROUTES.length);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  // Tried out, a route answers on the page itself.
  await page.locator("#operations-Presence-batchQueryOnline .opblock-summary-control").click();
  await page.locator("#operations-Presence-batchQueryOnline .try-out__btn").click();
  await page.locator("#operations-Presence-batchQueryOnline .execute").click();
  const live = page.locator(
    "#operations-Presence-batchQueryOnline .live-responses-table .response",
  );
  await live.waitFor();
  expect(await live.textContent()).toContain("200");
  expect(problems).toEqual([]);
  // Nothing comes from anywhere else.
  expect([...hosts].filter((host) => host !== "")).toEqual([new URL(base).host]);
});
