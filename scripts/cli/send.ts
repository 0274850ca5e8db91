/** Sends one message, or every line of stdin, and says what number each was given. */
import { type ChatifyClient, ChatifyClientError, type SendResult } from "../../sdk/chatify.ts";
import { CLIENT_OPTIONS, checkedUser, openClient } from "./client.ts";
import { CliError, type Command, type Input } from "./command.ts";

/** Lines on their way at a time: enough to fill group commit, far below the SDK's queue. */
const WINDOW = 200;

interface Tally {
  sent: number;
  failed: number;
}

export const send: Command = {
  name: "send",
  summary: "Sends a message, or each line of stdin when there is no text, in order",
  usage: "--user <id> --to <id> [text] [options]",
  argumentsMax: 1,
  options: {
    ...CLIENT_OPTIONS,
    to: { takes: "text", help: "the user, or the group with --group" },
    group: { takes: "nothing", help: "--to is a group" },
    type: { takes: "text", help: "CHAT (default), CONTROL or DATAREPORT" },
    expire: { takes: "number", help: "seconds after which it is not delivered any more" },
    id: { takes: "text", help: "client message id; the same id again is the same message" },
  },
  async run(input) {
    const [text] = input.rest;
    const base = baseOf(input);
    if (text === undefined && process.stdin.isTTY) {
      throw new CliError("usage", 'the text is missing: send … "hello", or lines on stdin');
    }
    if (text === undefined && input.text("id") !== undefined) {
      throw new CliError("usage", "--id is for one message; lines of stdin get ids of their own");
    }
    const client = await openClient(input);
    try {
      if (text === undefined) return await sendLines(input, client, base);
      const id = input.text("id");
      const result = await deliver(client, {
        ...base,
        content: text,
        ...(id ? { clientMsgId: id } : {}),
      });
      input.print(`${result.msg_id} seq ${result.seq}`, result);
      return 0;
    } finally {
      await client.close();
    }
  },
};

type Base = Pick<Parameters<ChatifyClient["send"]>[0], "to" | "targetType" | "messageType"> & {
  readonly expireTime?: number;
};

function baseOf(input: Input): Base {
  const messageType = input.text("type") ?? "CHAT";
  if (messageType !== "CHAT" && messageType !== "CONTROL" && messageType !== "DATAREPORT") {
    throw new CliError("usage", `--type takes CHAT, CONTROL or DATAREPORT; got "${messageType}"`);
  }
  const seconds = input.number("expire");
  const now = Math.floor(Date.now() / 1_000);
  return {
    to: checkedUser(input.text("to"), "--to"),
    targetType: input.flag("group") ? "GROUP" : "USER",
    messageType,
    ...(seconds === undefined ? {} : { expireTime: now + seconds }),
  };
}

async function deliver(
  client: ChatifyClient,
  options: Parameters<ChatifyClient["send"]>[0],
): Promise<SendResult> {
  try {
    return await client.send(options);
  } catch (error) {
    if (error instanceof ChatifyClientError) throw new CliError(error.code, error.message);
    throw error;
  }
}

/** Each line is printed when it is numbered, so that a pipe sees how far it has come. */
async function sendLines(input: Input, client: ChatifyClient, base: Base): Promise<number> {
  const tally: Tally = { sent: 0, failed: 0 };
  const window = new Set<Promise<void>>();
  for await (const line of linesOf(process.stdin)) {
    const one = sendLine(input, client, { ...base, content: line }, tally).finally(() => {
      window.delete(one);
    });
    window.add(one);
    if (window.size >= WINDOW) await Promise.race(window);
  }
  await Promise.all(window);
  if (input.json) input.print("", tally);
  else input.note(`${tally.sent} sent, ${tally.failed} failed`);
  return tally.failed === 0 ? 0 : 1;
}

async function sendLine(
  input: Input,
  client: ChatifyClient,
  options: Parameters<ChatifyClient["send"]>[0],
  tally: Tally,
): Promise<void> {
  try {
    const result = await deliver(client, options);
    tally.sent++;
    input.print(`${result.msg_id} seq ${result.seq}`, result);
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    tally.failed++;
    input.note(`error ${error.code}: ${error.message}`);
  }
}

/** Lines without their ends; empty ones are left out. */
async function* linesOf(stream: AsyncIterable<Uint8Array | string>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const text = typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield line.replace(/\r$/, "");
  }
  if (rest.trim() !== "") yield rest;
}
