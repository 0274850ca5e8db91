/** Everybody connects at once to a gateway that takes few at a time. */
import { expect, test } from "bun:test";
import { connect } from "../../sdk/chatify.ts";
import { startGateway } from "../../src/roles/gateway/testing/gateway_fixture.ts";

test("clients of the SDK that come all at once are all served, at the rate, without failing", async () => {
  const fixture = await startGateway({
    config: { admissionRate: 40 },
    limits: { ADMISSIONS_BURST: 10 },
  });
  const startedAt = performance.now();
  const clients = Array.from({ length: 90 }, (_, i) =>
    connect({ url: fixture.http, token: `dev:s${i}` }),
  );
  const online = () => clients.filter((client) => client.state === "online").length;
  const until = startedAt + 15_000;
  while (online() < 90 && performance.now() < until) await Bun.sleep(20);
  expect(online()).toBe(90);
  // 80 that were not in the burst, at 40 a second.
  expect(performance.now() - startedAt).toBeGreaterThan(1_900);
  await Promise.all(clients.map((client) => client.close()));
  await fixture.role.stop();
}, 20_000);
