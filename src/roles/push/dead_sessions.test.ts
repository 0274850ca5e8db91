import { expect, test } from "bun:test";
import type { Membership } from "../../core/lifecycle/membership.ts";
import { LIMITS } from "../../core/limits.ts";
import type { NodeRecord } from "../../core/registry/contract.ts";
import { MemorySessions } from "../../core/sessions/memory_sessions.ts";
import { MemoryEngine } from "../../core/streams/memory_engine.ts";
import { ManualClock } from "../../core/testing/manual_clock.ts";
import { silentTelemetry } from "../../core/testing/silent_telemetry.ts";
import { DeadSessions } from "./dead_sessions.ts";

const partitions = { chat: 1, user: 1 };

type Listener = (nodes: readonly NodeRecord[], gone: readonly NodeRecord[]) => void;

/** A process that knows `live`, and hears of changes when the test says so. */
function fixture() {
  const clock = new ManualClock();
  const directory = new MemorySessions({
    engine: new MemoryEngine(clock),
    partitions,
    limits: LIMITS,
  });
  const live = new Set(["access-1", "gateway-1"]);
  const listeners: Listener[] = [];
  const membership = {
    isLive: (id: string) => live.has(id),
    onChange: (listener: Listener) => void listeners.push(listener),
  } as unknown as Membership;
  const telemetry = silentTelemetry();
  const deps = { directory, membership, clock, telemetry, limits: LIMITS, owned: () => [0] };
  new DeadSessions(deps).start();
  /** The directory answers at the end of a turn, which a clock that stands still never reaches. */
  const answered = async <T>(call: Promise<T>): Promise<T> => {
    await clock.advance(0);
    return call;
  };
  const register = (user: string, gateway: string) => {
    const place = { access: "access-1", gateway, conn: 1, since: 1, issuedAt: 0 };
    return answered(directory.register([{ user, device: "d", ...place }]));
  };
  const online = async (user: string) => {
    const [presence] = await answered(directory.lookup([user]));
    return (presence?.sessions.length ?? 0) > 0;
  };
  const leave = (id: string) => {
    live.delete(id);
    for (const listener of listeners) listener([], [{ id } as NodeRecord]);
  };
  return { clock, leave, live, online, register };
}

test("the sessions of a gateway that was seen to go end at once", async () => {
  const { clock, leave, online, register } = fixture();
  await register("alice", "gateway-1");
  leave("gateway-1");
  await clock.advance(1);
  expect(await online("alice")).toBe(false);
});

test("a gateway that joined since the last heartbeat keeps its sessions", async () => {
  const { clock, leave, live, online, register } = fixture();
  leave("gateway-1");
  // The later walk finds a session of a gateway that the next heartbeat makes known.
  await clock.advance(2 * LIMITS.NODE_TTL_MS - 1);
  await register("bob", "gateway-2");
  await clock.advance(1);
  live.add("gateway-2");
  await clock.advance(10_000);
  expect(await online("bob")).toBe(true);
});

test("the sessions of a gateway that nobody ever hears of end after two heartbeats", async () => {
  const { clock, leave, online, register } = fixture();
  await register("carol", "gateway-3");
  leave("gateway-1");
  await clock.advance(1);
  expect(await online("carol")).toBe(true);
  await clock.advance(2 * LIMITS.HEARTBEAT_NODE_MS);
  expect(await online("carol")).toBe(false);
});
