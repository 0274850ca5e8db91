/** What a deployment must stand, however it is run: people chat through all of it. */
import { expect, test } from "bun:test";
import { Conversation } from "./conversation.ts";
import { type Deployment, eventually, SERVICES } from "./deployment.ts";

const STEP_MS = 180_000;
/** Taking over after a crash takes 4 s at most; the rest is a busy machine. */
const SETTLE_MS = 60_000;
/** A disturbance falls into the middle of so many messages. */
const BURST = 60;

export interface Stage {
  deployment(): Deployment;
  readonly secrets: { readonly JWT_SECRET: string; readonly API_KEYS: string };
}

export function describeScenario(stage: Stage): void {
  const talk = (name: string) =>
    new Conversation(stage.deployment().gateway, stage.secrets.JWT_SECRET, name);

  const during = async (name: string, disturbance: () => Promise<void>) => {
    const conversation = talk(name);
    conversation.send(BURST);
    await disturbance();
    conversation.send(BURST);
    await conversation.settle(SETTLE_MS);
    await conversation.close();
  };

  test(
    "two people chat through it, and what one missed is replayed",
    async () => {
      const conversation = talk("first");
      conversation.send(20);
      await conversation.settle(SETTLE_MS);
      await conversation.bobLeaves();
      conversation.send(5);
      await Bun.sleep(500);
      conversation.bobReturns();
      await conversation.settle(SETTLE_MS);
      await conversation.close();
    },
    STEP_MS,
  );

  test(
    "a system push with the API key of .env arrives; without it, it is refused",
    async () => {
      const conversation = talk("push");
      conversation.send(1);
      await conversation.settle(SETTLE_MS);
      const refused = await conversation.systemPush({});
      expect(refused.status).toBe(401);
      const accepted = await conversation.systemPush({ "x-api-key": stage.secrets.API_KEYS });
      expect(accepted.status).toBe(200);
      await conversation.pushArrives(SETTLE_MS);
      await conversation.close();
    },
    STEP_MS,
  );

  test(
    "access and push are scaled while people chat",
    async () => {
      await during("scale", () => stage.deployment().scale({ access: 3, push: 2 }));
      expect(await stage.deployment().healthy("access")).toBe(3);
      expect(await stage.deployment().healthy("push")).toBe(2);
    },
    STEP_MS,
  );

  test(
    "restarting push loses nothing, doubles nothing and keeps the order",
    async () => {
      await during("restart", () => stage.deployment().restart("push"));
    },
    STEP_MS,
  );

  for (const service of [...SERVICES, "redis"]) {
    test(
      `killing ${service} loses nothing, and it comes back`,
      async () => {
        await during(`kill-${service}`, () => stage.deployment().crash(service));
      },
      STEP_MS,
    );
  }

  test(
    "after all that everything is healthy again",
    async () => {
      const want = { gateway: 1, access: 3, logic: 1, push: 2, offline: 1 };
      for (const [service, count] of Object.entries(want)) {
        await eventually(`${count} of ${service} are healthy`, SETTLE_MS, async () => {
          return (await stage.deployment().healthy(service)) === count;
        });
      }
    },
    STEP_MS,
  );
}
