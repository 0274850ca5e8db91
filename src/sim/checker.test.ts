/** Each rule of the checker, with a history that breaks it; and one that breaks none. */
import { expect, test } from "bun:test";
import { CLOSE_CODES } from "../core/protocol/errors.ts";
import { checkHistory } from "./checker.ts";
import { History, type HistoryEvent, type NewEvent } from "./history.ts";

const AB = "u:ann:bob";

/** A history that is written a line at a time, on a clock of its own. */
class Story {
  nowMs = 1_000;
  readonly history = new History(() => this.nowMs);

  has(event: NewEvent, afterMs = 10): this {
    this.nowMs += afterMs;
    this.history.add(event);
    return this;
  }

  online(user: string, connection: number, device = "d1"): this {
    return this.has({
      ...{ kind: "session", user, device, connection },
      state: "welcome",
      code: 0,
    });
  }

  closed(user: string, connection: number, code = 0): this {
    const device = "d1";
    return this.has({ ...{ kind: "session", user, device, connection }, state: "closed", code });
  }

  send(
    op: string,
    user = "ann",
    to = "bob",
    more: { expireTime?: number; group?: boolean } = {},
  ): this {
    const { expireTime = 0, group = false } = more;
    const target = group ? "GROUP" : "USER";
    const clientMsgId = `c-${op}`;
    return this.has({
      ...{ kind: "send", op, clientMsgId, user, device: "d1" },
      target,
      to,
      expireTime,
    });
  }

  accepted(op: string, user = "ann"): this {
    const none = { code: "", msgId: "", conversation: "", seq: 0 };
    return this.has({ ...{ kind: "answer", op, user, answer: "accepted" }, ...none });
  }

  rejected(op: string, code: string, user = "ann"): this {
    const none = { msgId: "", conversation: "", seq: 0 };
    return this.has({ ...{ kind: "answer", op, user, answer: "rejected" }, code, ...none });
  }

  sent(op: string, seq: number, user = "ann", conversation = AB, msgId = `id-${op}`): this {
    return this.has({
      ...{ kind: "answer", op, user, answer: "sent", code: "" },
      msgId,
      conversation,
      seq,
    });
  }

  gets(
    user: string,
    op: string,
    seq: number,
    more: Partial<Extract<HistoryEvent, { kind: "delivery" }>> = {},
  ): this {
    const base = {
      kind: "delivery" as const,
      user,
      device: "d1",
      connection: 1,
      msgId: `id-${op}`,
    };
    return this.has({ ...base, conversation: AB, seq, from: "ann", op, ...more });
  }

  later(ms: number): this {
    this.nowMs += ms;
    return this;
  }

  verdict(lastFaultAt = 1_000) {
    return checkHistory(this.history.events, { lastFaultAt });
  }

  rules(lastFaultAt = 1_000): string[] {
    return this.verdict(lastFaultAt).violations.map(({ rule }) => rule);
  }
}

const story = () => new Story().online("ann", 1).online("bob", 2);
const said = (op: string, seq: number) => story().send(op).sent(op, seq);

test("a history in which everything went well breaks no rule, and its repetitions are counted", () => {
  const all = said("m1", 1)
    .gets("bob", "m1", 1)
    .gets("bob", "m1", 1)
    .send("m2")
    .sent("m2", 2)
    .gets("bob", "m2", 2);
  const { violations, ...figures } = all.verdict();
  expect(violations).toEqual([]);
  expect(figures).toMatchObject({ accepted: 2, delivered: 2, frames: 3, duplicates: 1 });
  expect(figures.duplicateRatio).toBeCloseTo(1 / 3);
});

test("what was accepted and never arrives is lost", () => {
  expect(story().send("m1").accepted("m1").rules()).toEqual([
    "what was accepted reaches every recipient",
  ]);
});

test("what was accepted and arrives more than 10 s after the last fault is late", () => {
  const late = said("m1", 1).later(10_100).gets("bob", "m1", 1);
  expect(late.rules()).toEqual(["everything arrives within 10000 ms of the last fault"]);
  expect(said("m1", 1).later(10_100).gets("bob", "m1", 1).rules(5_000)).toEqual([]);
});

test("what nobody sent may not arrive, and every body has its token", () => {
  expect(story().gets("bob", "m9", 1).rules()).toEqual(["nothing arrives that was not sent"]);
  expect(said("m1", 1).gets("bob", "m1", 1).gets("bob", "", 2).rules()).toEqual([
    "every body has its token",
  ]);
});

test("a failed send never appears; an unknown one appears once or not at all", () => {
  const failed = story().send("m1").rejected("m1", "blocked").gets("bob", "m1", 1);
  expect(failed.rules()).toEqual(["what was refused never arrives"]);
  const unknown = () => story().send("m1").rejected("m1", "outcome_unknown");
  expect(unknown().rules()).toEqual([]);
  expect(unknown().gets("bob", "m1", 1).rules()).toEqual([]);
  const twice = unknown().gets("bob", "m1", 1).gets("bob", "m1", 2, { msgId: "another" });
  expect(twice.rules()).toEqual(["a message is delivered once, under one id"]);
});

test("a number is used once, and is the same for everybody", () => {
  const shared = said("m1", 1).gets("bob", "m1", 1).send("m2").sent("m2", 1).gets("bob", "m2", 1);
  expect(shared.rules()).toContain("a number is never used twice");
  const differs = said("m1", 1).gets("bob", "m1", 2);
  expect(differs.rules()).toEqual(["a message is delivered once, under one id"]);
});

test("numbers of a conversation only grow", () => {
  const back = said("m1", 5).gets("bob", "m1", 5, {}).send("m2", "bob", "ann").sent("m2", 3, "bob");
  expect(back.gets("ann", "m2", 3, { from: "bob" }).rules()).toEqual([
    "numbers of a conversation only grow",
  ]);
});

test("a later number is not delivered before an earlier one", () => {
  const swapped = said("m1", 1).send("m2").sent("m2", 2).gets("bob", "m2", 2).gets("bob", "m1", 1);
  expect(swapped.rules()).toEqual(["every device sees a conversation in order"]);
});

test("the sender is who the token says, and only the entitled get a message", () => {
  expect(said("m1", 1).gets("bob", "m1", 1, { from: "eve" }).rules()).toEqual([
    "the sender is who the token says",
  ]);
  const leaked = said("m1", 1).gets("bob", "m1", 1).online("eve", 3).gets("eve", "m1", 1);
  expect(leaked.rules()).toEqual(["nothing reaches who is not entitled"]);
});

test("a member who was removed gets nothing that is sent from then on", () => {
  const group = { kind: "group", group: "g1" } as const;
  const all = story()
    .has({ ...group, change: "add", users: ["ann", "bob"], outcome: "ok" })
    .has({ ...group, change: "remove", users: ["bob"], outcome: "asked" })
    .has({ ...group, change: "remove", users: ["bob"], outcome: "ok" })
    .send("m1", "ann", "g1", { group: true })
    .sent("m1", 1, "ann", "g:g1")
    .gets("bob", "m1", 1, { conversation: "g:g1" });
  expect(all.rules()).toEqual(["nothing reaches who is not entitled"]);
});

test("nothing arrives long after it expired", () => {
  const all = story().send("m1", "ann", "bob", { expireTime: 2 }).sent("m1", 1).later(20_000);
  expect(all.gets("bob", "m1", 1).rules()).toEqual(["nothing arrives after it expired"]);
});

test("nobody is sent away as replaced who is the latest", () => {
  expect(story().closed("bob", 2, CLOSE_CODES.replaced).rules()).toEqual([
    "nobody is sent away by mistake",
  ]);
});

test("after a kick or a revoked token nothing comes later than 1 s, on connections of before", () => {
  for (const why of ["kicked", "token_revoked"] as const) {
    const evicted = (device: string) =>
      said("m1", 1).has({ kind: "evicted", user: "bob", device, why });
    const on = { connection: 2 };
    expect(evicted("").later(900).gets("bob", "m1", 1, on).rules()).toEqual([]);
    const rule = "nothing reaches whoever was sent away, 1000 ms later";
    expect(evicted("").later(1_100).gets("bob", "m1", 1, on).rules()).toEqual([rule]);
    expect(evicted("d1").later(1_100).gets("bob", "m1", 1, on).rules()).toEqual([rule]);
    expect(evicted("d2").later(1_100).gets("bob", "m1", 1, on).rules()).toEqual([]);
    const again = evicted("").later(1_100).online("bob", 7).gets("bob", "m1", 1, { connection: 7 });
    expect(again.rules()).toEqual([]);
  }
});

test("memory, descriptors and queues stay within their bounds, and nothing fails by itself", () => {
  const sample = { kind: "sample", what: "descriptors of push-1", max: 100 } as const;
  expect(
    story()
      .has({ ...sample, value: 100 })
      .rules(),
  ).toEqual([]);
  expect(
    story()
      .has({ ...sample, value: 101 })
      .rules(),
  ).toEqual(["everything stays within its bound"]);
  const failure = story().has({ kind: "failure", text: "an unhandled rejection in logic-1" });
  expect(failure.rules()).toEqual(["no process fails by itself"]);
});

test("what Redis lost may be missing and is counted, but nothing that SQL held or that came after", () => {
  const loss = (kept: readonly [string, string][], remembered = true) =>
    ({ kind: "loss", what: "everything", kept, remembered }) as const;
  const gone = said("m1", 1).has(loss([]));
  expect(gone.rules()).toEqual([]);
  expect(gone.verdict().lostWithRedis).toBe(1);
  const stored = said("m1", 1).has(loss([["bob", "id-m1"]]));
  expect(stored.rules()).toEqual(["what was in the offline store arrives, whatever Redis loses"]);
  const after = story().has(loss([])).send("m1").sent("m1", 1);
  expect(after.rules()).toEqual(["what was accepted reaches every recipient"]);
  const twice = (remembered: boolean) =>
    said("m1", 1).gets("bob", "m1", 1).has(loss([], remembered)).sent("m1", 9, "ann", AB, "anew");
  expect(twice(false).rules()).toEqual([]);
  expect(twice(true).rules()).toEqual(["a message is delivered once, under one id"]);
  const reused = said("m1", 1).gets("bob", "m1", 1).has(loss([], false)).send("m2").sent("m2", 1);
  expect(reused.gets("bob", "m2", 1).rules()).toContain("a number is never used twice");
});
