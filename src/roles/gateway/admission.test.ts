import { expect, test } from "bun:test";
import { WEBSOCKET_PATH } from "../../core/protocol/frames.ts";
import { ManualClock } from "../../core/testing/manual_clock.ts";
import { Admission } from "./admission.ts";
import { Client, startGateway } from "./testing/gateway_fixture.ts";

test("a burst is taken at once, and slots of the others are one after the other at the rate", () => {
  const admission = new Admission({ clock: new ManualClock(), perSecond: 100, burst: 20 });
  const waits = Array.from({ length: 520 }, () => admission.take());
  expect(waits.slice(0, 20).every((wait) => wait === 0)).toBe(true);
  expect(waits.slice(20)).toEqual(Array.from({ length: 500 }, (_, i) => (i + 1) * 10));
});

test("who comes back in its slot is admitted, however many there are", async () => {
  const clock = new ManualClock();
  const admission = new Admission({ clock, perSecond: 100, burst: 20 });
  let admitted = 0;
  let attempts = 0;
  const arrive = () => {
    attempts++;
    const wait = admission.take();
    if (wait === 0) admitted++;
    else clock.after(wait, arrive);
  };
  for (let i = 0; i < 1_020; i++) arrive();
  await clock.advance(10_500);
  expect(admitted).toBe(1_020);
  // The first try of each, one more in its slot, and few whose slot was a rounding error too early.
  expect(attempts).toBeLessThan(2_200);
});

test("a storm is told in a bye when to come back, and past that over HTTP", async () => {
  const { http, role, ws } = await startGateway({
    config: { admissionRate: 5 },
    limits: { ADMISSIONS_BURST: 2 },
  });
  const clients = Array.from({ length: 8 }, (_, i) => new Client(`${ws}?token=dev:u${i}`, []));
  for (const client of clients.slice(2)) {
    expect(await client.end()).toEqual({ code: 4006, reason: "overloaded" });
    const [bye] = client.all("bye");
    expect(bye?.reason).toBe("overloaded");
    expect(bye?.reconnect_after_ms).toBeGreaterThan(0);
    expect(client.frames).toHaveLength(1);
  }
  const handshake = () =>
    fetch(`${http}${WEBSOCKET_PATH}?token=dev:late`, {
      headers: { connection: "Upgrade", upgrade: "websocket" },
    });
  const refused = await handshake();
  expect(refused.status).toBe(503);
  const body = await refused.json();
  expect(body).toMatchObject({ code: "overloaded", retryable: true });
  expect(body.retry_after_ms).toBeGreaterThan(1_000);
  expect(Number(refused.headers.get("retry-after"))).toBe(Math.ceil(body.retry_after_ms / 1_000));
  await role.stop();
});
