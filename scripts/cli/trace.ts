/** Tells where a message is, why, and how it came there. */
import { Trace, type TraceState } from "../../src/core/ledger/trace.ts";
import { checkedUser } from "./client.ts";
import { CliError, type Command, type Input } from "./command.ts";
import { ask, GATEWAY_OPTIONS } from "./gateway_question.ts";
import { age, table } from "./table.ts";

const BASE = "/chatify/offline/v1/messages";
const WIDTH = 76;

export const trace: Command = {
  name: "trace",
  summary: "Tells where a message is, and why",
  usage: `<msg_id> [options]
       bun run chatify trace --from <user> --client-msg-id <id> [options]

  The second form finds a message by what its client called it: one that was refused has no
  other name. It ends with 0 when something is known about the message, and else with 1.`,
  argumentsMax: 1,
  options: {
    from: { takes: "text", help: "who sent it" },
    "client-msg-id": { takes: "text", help: "the client's own id of it" },
    user: { takes: "text", help: "of a message to many: tell the story of this recipient" },
    ...GATEWAY_OPTIONS,
  },
  async run(input) {
    const answer = Trace.parse(await ask(input, pathOf(input)));
    input.print(textOf(answer), answer);
    return answer.state === "unknown" ? 1 : 0;
  },
};

function pathOf(input: Input): string {
  const [msgId] = input.rest;
  const [from, clientMsgId] = [input.text("from"), input.text("client-msg-id")];
  const user = input.text("user");
  const query = new URLSearchParams(
    user === undefined ? {} : { user: checkedUser(user, "--user") },
  );
  if (msgId !== undefined) {
    if (from === undefined && clientMsgId === undefined) {
      return `${BASE}/${encodeURIComponent(msgId)}/trace?${query}`;
    }
    throw new CliError("usage", "give a msg_id, or --from with --client-msg-id, not both");
  }
  if (from === undefined || clientMsgId === undefined) {
    throw new CliError("usage", "trace takes a msg_id, or --from <user> with --client-msg-id <id>");
  }
  query.set("from_user_id", checkedUser(from, "--from"));
  query.set("client_msg_id", clientMsgId);
  return `${BASE}/trace?${query}`;
}

const MARKS: Record<TraceState, string> = {
  accepted: "…",
  rejected: "✗",
  in_delivery: "→",
  delivered: "✓",
  stored: "▣",
  expired: "✗",
  dead_lettered: "✗",
  unknown: "?",
};

function textOf(answer: Trace): string {
  const { by_recipient, client_msg_id, from_user_id, msg_id, notes, recipients, seq, to } = answer;
  const name = msg_id ?? `client message ${shown(client_msg_id ?? "")}`;
  const title = [
    `message ${name}`,
    from_user_id === null
      ? ""
      : `from ${shown(from_user_id)}${to === null ? "" : ` to ${shown(to)}`}`,
    seq === null ? "" : `seq ${seq}`,
  ];
  const parts = [
    title.filter((part) => part !== "").join("   "),
    "",
    wrapped(`${MARKS[answer.state]} ${answer.summary}`, "  "),
  ];
  if (recipients.total > 1) parts.push("", recipientTable(by_recipient));
  if (answer.timeline.length > 0) parts.push("", timelineTable(answer));
  for (const note of notes) parts.push("", wrapped(`note: ${note}`, "      "));
  return parts.join("\n");
}

function recipientTable(recipients: Trace["by_recipient"]): string {
  const rows = recipients.map(({ devices, state, user_id }) => {
    return [`${MARKS[state]} ${shown(user_id)}`, state, devices.map(shown).join(", ")];
  });
  return table(["recipient", "state", "confirmed by"], rows);
}

function timelineTable({ timeline }: Trace): string {
  const rows = timeline.map(({ after_ms, at, node, role, text }, i) => {
    const time = new Date(at).toISOString().slice(11, 23);
    const delta = i === 0 ? "" : after_ms < 0 ? `-${age(-after_ms)}` : `+${age(after_ms)}`;
    return [time, delta, role, shown(text), node];
  });
  const day = new Date(timeline[0]?.at ?? 0).toISOString().slice(0, 10);
  return table([`${day} UTC`, "", "role", "what happened", "node"], rows);
}

/** Ids come from clients: nothing in them may steer the terminal. */
function shown(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, "�");
}

function wrapped(text: string, indent: string): string {
  const lines = [""];
  for (const word of shown(text).split(" ")) {
    const line = lines.at(-1) ?? "";
    if (line !== "" && line.length + word.length >= WIDTH) lines.push(`${indent}${word}`);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join("\n");
}
