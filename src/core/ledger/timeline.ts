/** The steps of a message in the order of their times, each in words. Pure. */
import { chatEntryOf, msgIdTime } from "../protocol/msg_id.ts";
import type { LedgerEvent, Numbered } from "./event.ts";
import type { Evidence } from "./evidence.ts";
import type { TraceStep } from "./trace.ts";

/** More steps than that are summed up: so many of a kind, from first to last. */
const STEPS_MAX = 60;

type Bare = Omit<TraceStep, "after_ms">;

export function timelineOf(evidence: Evidence, recipient: string | null): TraceStep[] {
  const own = evidence.events.filter((event) => {
    return recipient === null || !isAboutRecipient(event) || event.user === recipient;
  });
  // logic hears that its commit is in when push may have acted on it already.
  const delivery = own.find((event) => isAboutRecipient(event))?.at ?? Number.POSITIVE_INFINITY;
  const steps = own.flatMap((event) => stepsOf(event, delivery));
  if (!own.some(({ kind }) => kind === "numbered")) steps.push(...acceptedById(evidence.msgId));
  const sorted = steps.sort((a, b) => a.at - b.at || rank(a) - rank(b));
  const told = sorted.length > STEPS_MAX ? summedUp(sorted) : sorted;
  let before = told[0]?.at ?? 0;
  return told.map((step) => {
    const after_ms = step.at - before;
    before = step.at;
    return { ...step, after_ms };
  });
}

/** Steps of the same millisecond are told in the order of the pipeline. */
function rank({ what }: Bare): number {
  return ["received", "accepted", "pushed", "numbered"].indexOf(what) + 1 || 5;
}

function isAboutRecipient({ kind }: LedgerEvent): boolean {
  return !["numbered", "repeated", "rejected", "pushed", "dead_lettered"].includes(kind);
}

/** Without the step that says so, the id of a chat message still tells when it was accepted. */
function acceptedById(msgId: string | null): Bare[] {
  const place = msgId === null ? null : chatEntryOf(msgId);
  if (msgId === null || place === null) return [];
  const text = `durable in chat_input:${place.partition}, entry ${place.entryId}; answered accepted`;
  const at = msgIdTime(msgId);
  return [{ at, role: "access", node: "", what: "accepted", user_id: "", device_id: "", text }];
}

function stepsOf(event: LedgerEvent, delivery: number): Bare[] {
  if (event.kind === "numbered") return numberedSteps(event, Math.min(event.at, delivery));
  const { kind, node, user } = event;
  const at = event.kind === "pushed" ? Math.min(event.at, delivery) : event.at;
  const device = "device" in event ? event.device : "";
  const [role, text] = inWords(event);
  return [{ at, role, node, what: kind, user_id: user, device_id: device, text }];
}

function numberedSteps(event: Numbered, at: number): Bare[] {
  const { access, device, gateway, messageType, msgId, node, receivedAt, recipients } = event;
  const { seq, target, to, user } = event;
  const place = chatEntryOf(msgId);
  const who = { user_id: user, device_id: device };
  const where = place === null ? "chat_input" : `chat_input:${place.partition}`;
  const whom = target === "GROUP" ? `group ${to}` : to;
  const users = recipients === 1 ? "1 recipient" : `${recipients} recipients`;
  const routed =
    messageType === "DATAREPORT"
      ? "handed to data_report"
      : `numbered ${seq}; handed to push for ${users}`;
  return [
    {
      at: receivedAt,
      role: "gateway",
      node: gateway,
      what: "received",
      ...who,
      text: `read from ${user}'s device ${device}, to ${whom}`,
    },
    {
      at: msgIdTime(msgId),
      role: "access",
      node: access,
      what: "accepted",
      ...who,
      text: `durable in ${where}, entry ${place?.entryId ?? "?"}; answered accepted`,
    },
    { at, role: "logic", node, what: "numbered", ...who, text: routed },
  ];
}

function inWords(event: Exclude<LedgerEvent, Numbered>): [role: string, text: string] {
  switch (event.kind) {
    case "repeated":
      return ["logic", `sent again by ${event.user}'s device ${event.device}: the same message`];
    case "rejected":
      return [event.role, `refused to ${event.user}'s device ${event.device}: ${event.code}`];
    case "pushed":
      return ["logic", `pushed by ${event.user} to ${event.to}; durable in push_task`];
    case "written":
      return ["push", `written to ${event.user}'s device ${event.device}`];
    case "replayed":
      return ["push", `written to ${event.user}'s device ${event.device}, out of the store`];
    case "acked":
      return ["push", `confirmed by ${event.user}'s device ${event.device}`];
    case "stored":
      return ["push", storedText(event.user, event.reason)];
    case "expired":
      return [event.stage, `expired for ${event.user}`];
    case "confirmed":
      return ["offline", `confirmed for ${event.user} over HTTP`];
    case "dead_lettered":
      return [
        event.topic === "chat_input" ? "logic" : "push",
        `given up, in dead_letter: ${event.reason}`,
      ];
    case "notified":
      return [
        "offline",
        `${event.channel} told that ${event.user} has not got it: ${event.outcome}`,
      ];
  }
}

function storedText(user: string, reason: string): string {
  if (reason === "http") return `stored offline for ${user}, over HTTP`;
  if (reason === "unacked") return `stored offline: no device of ${user} confirmed it in time`;
  return `stored offline: ${user} has no device online`;
}

/** One step for all of a kind; a group's message has thousands. */
function summedUp(steps: readonly Bare[]): Bare[] {
  const kinds = Map.groupBy(steps, ({ role, what }) => `${role} ${what}`);
  return [...kinds.values()].flatMap((same): Bare[] => {
    const [first] = same;
    const last = same.at(-1);
    if (first === undefined || last === undefined || same.length <= 2) return same;
    const users = new Set(same.map(({ user_id }) => user_id)).size;
    const text = `${first.what} ${same.length} times, ${users} users, over ${last.at - first.at} ms`;
    const none = { user_id: "", device_id: "" };
    return [{ ...first, ...none, text }];
  });
}
