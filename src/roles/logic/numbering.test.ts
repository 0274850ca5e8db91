import { expect, test } from "bun:test";
import {
  type ChatInputTuple,
  chatInputBody,
  encodeChatInput,
} from "../../core/protocol/chat_input.ts";
import { conversationId, type Message } from "../../core/protocol/message.ts";
import { createContentCheck } from "./content_check.ts";
import type { Conversation } from "./conversations.ts";
import { DedupWindow } from "./dedup_window.ts";
import { decodeEntry, type NumberingContext, newNumbering, numberEntry } from "./numbering.ts";

const NOW = 1_700_000_000_000;
const ALICE_BOB = conversationId("USER", "alice", "bob");

interface Send {
  from?: string;
  to?: string;
  id: string;
  content?: string;
  type?: "CHAT" | "CONTROL" | "DATAREPORT";
  target?: "USER" | "GROUP";
  expire?: number;
}

function item(send: Send): string {
  const { from = "alice", to = "bob", target = "USER", type = "CHAT" } = send;
  const tuple: ChatInputTuple = [
    conversationId(target, from, to),
    from,
    "d1",
    send.id,
    type,
    target,
    to,
    send.content ?? "hello",
    send.expire ?? 0,
    NOW,
    "gateway",
    "access",
    1,
    "",
  ];
  return encodeChatInput(tuple);
}

function context(...conversations: Conversation[]): NumberingContext {
  return {
    partition: 3,
    partitions: { chat: 8, user: 4 },
    dedup: new DedupWindow(3, 1_000),
    dedupSeed: 1n,
    contentCheck: createContentCheck(["forbidden fruit"]),
    conversations: new Map(conversations.map((c) => [c.id, c])),
    refusals: new Map(),
    nowMs: NOW,
  };
}

const pair = (seq = 0, blockers: string[] = []): Conversation => {
  return { id: ALICE_BOB, seq, blockers, group: null };
};

function run(on: NumberingContext, entryId: string, ...sends: Send[]) {
  const out = newNumbering();
  const body = chatInputBody(sends.map(item));
  numberEntry(out, on, decodeEntry({ id: entryId, body, ordinal: 0 }));
  const replies = out.replies.map(({ frame }) => JSON.parse(frame));
  return { out, replies, tasks: [...out.tasks.values()].flat() };
}

test("messages of a conversation are numbered on from its last seq, in the order of the entry", () => {
  const { replies, tasks, out } = run(context(pair(7)), `${NOW}-0`, { id: "c1" }, { id: "c2" });
  expect(replies).toMatchObject([
    { type: "sent", client_msg_id: "c1", seq: 8, conversation_id: ALICE_BOB },
    { type: "sent", client_msg_id: "c2", seq: 9 },
  ]);
  expect(tasks.map(({ seq, recipients }) => [seq, recipients])).toEqual([
    [8, ["bob"]],
    [9, ["bob"]],
  ]);
  expect(out.seqs.get(ALICE_BOB)).toBe(9);
  expect(JSON.parse(tasks[0]?.message ?? "")).toMatchObject({
    msg_id: replies[0].msg_id,
    from_user_id: "alice",
    timestamp: NOW / 1_000,
  });
});

test("messages and answers are the JSON of their fields, whatever the client wrote", () => {
  const content = 'say "hi" \\ back\nslash \u0000 \u2028 ü 😀';
  const id = 'c"1\\\t\u0007';
  const { out, tasks } = run(context(pair()), `${NOW}-0`, { id, content, expire: NOW });
  const [task] = tasks;
  const message = {
    msg_id: task?.msgId ?? "",
    message_type: "CHAT",
    from_user_id: "alice",
    target_type: "USER",
    to_user_id: "bob",
    content,
    timestamp: NOW / 1_000,
    expire_time: NOW,
    content_id: "",
    conversation_id: ALICE_BOB,
    seq: 1,
    client_msg_id: id,
  } satisfies Message;
  expect(task?.message).toBe(JSON.stringify(message));
  const { msg_id, conversation_id, seq, timestamp } = message;
  const sent = { type: "sent", client_msg_id: id, msg_id, conversation_id, seq, timestamp };
  expect(out.replies[0]?.frame).toBe(JSON.stringify(sent));
});

test("a repetition is answered as the first was and neither numbered nor delivered again", () => {
  const on = context(pair());
  const first = run(on, `${NOW}-0`, { id: "c1" });
  const again = run(on, `${NOW}-1`, { id: "c1" }, { id: "c2" });
  expect(again.replies[0]).toEqual(first.replies[0]);
  expect(again.tasks.map(({ seq }) => seq)).toEqual([2]);
  expect(again.out.duplicates).toBe(1);
});

test("the same entry read again by a later owner is handed on again under the same numbers", () => {
  const on = context(pair());
  const first = run(on, `${NOW}-0`, { id: "c1" });
  const again = run(on, `${NOW}-0`, { id: "c1" });
  expect(again.tasks).toEqual(first.tasks);
  expect(again.out.duplicates).toBe(0);
});

test("what a client may not send is rejected with its code and takes no number", () => {
  const on = context(pair(0, ["bob"]));
  const { replies, tasks, out } = run(
    on,
    `${NOW}-0`,
    { id: "c1", content: "hello" },
    { id: "c2", expire: NOW / 1_000 - 1 },
    { id: "c3", content: "a FORBIDDEN fruit" },
    { id: "c4", type: "CONTROL", content: "no json" },
    { id: "c5", type: "CONTROL", content: '{"op":"chatify.x"}' },
    { id: "c6", content: "\ud800" },
  );
  expect(replies.map(({ code }) => code)).toEqual([
    "blocked",
    "expired",
    "content_rejected",
    "bad_request",
    "forbidden",
    "bad_request",
  ]);
  expect([tasks, out.numbered, out.records]).toEqual([[], 0, []]);
});

test("a block by one side does not keep that side from writing", () => {
  const { replies } = run(context(pair(0, ["bob"])), `${NOW}-0`, {
    id: "c1",
    from: "bob",
    to: "alice",
  });
  expect(replies).toMatchObject([{ type: "sent", seq: 1 }]);
});

test("a group message goes to every member but its sender, once per user partition", () => {
  const all = new Set(["alice", "bob", "carol", "dave"]);
  const byPartition = new Map([
    [0, ["alice", "bob"]],
    [2, ["carol", "dave"]],
  ]);
  const group: Conversation = { id: "g:team", seq: 4, blockers: [], group: { all, byPartition } };
  const { out, replies } = run(
    context(group),
    `${NOW}-0`,
    { id: "c1", to: "team", target: "GROUP" },
    { id: "c2", from: "eve", to: "team", target: "GROUP" },
  );
  expect(out.tasks.get(0)?.map(({ recipients }) => recipients)).toEqual([["bob"]]);
  expect(out.tasks.get(2)?.map(({ recipients }) => recipients)).toEqual([["carol", "dave"]]);
  expect(replies).toMatchObject([{ seq: 5 }, { code: "not_a_member" }]);
});

test("a group that does not exist is not found", () => {
  const none: Conversation = { id: "g:none", seq: 0, blockers: [], group: null };
  const { replies } = run(context(none), `${NOW}-0`, { id: "c1", to: "none", target: "GROUP" });
  expect(replies).toMatchObject([{ type: "rejected", code: "not_found", retryable: false }]);
});

test("a report is put aside without a conversation, and its repetition is recognised", () => {
  const on = context();
  const send: Send = { id: "r1", type: "DATAREPORT", content: "{}" };
  const first = run(on, `${NOW}-0`, send);
  expect(first.replies).toMatchObject([{ type: "sent", seq: 0 }]);
  expect([first.out.reports.length, first.tasks.length]).toEqual([1, 0]);
  const again = run(on, `${NOW}-1`, send);
  expect(again.replies).toEqual(first.replies);
  expect(again.out.reports).toEqual([]);
});

test("an entry that cannot be decoded is poison; one bad item leaves the others alone", () => {
  const on = context(pair());
  const out = newNumbering();
  numberEntry(out, on, decodeEntry({ id: `${NOW}-0`, body: "nonsense", ordinal: 0 }));
  const body = `[${item({ id: "c1" })},["too short"],${item({ id: "c2" })}]`;
  numberEntry(out, on, decodeEntry({ id: `${NOW}-1`, body, ordinal: 0 }));
  expect(out.poison.map(({ reason }) => reason)).toEqual([
    "entry_not_decodable",
    "item_not_decodable",
  ]);
  expect(out.numbered).toBe(2);
});
