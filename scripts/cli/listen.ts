/** Prints messages as they arrive and acks them, which is what takes them out of the server. */
import type { Message, SocketConstructor } from "../../sdk/chatify.ts";
import { CLIENT_OPTIONS, closeCode, openClient } from "./client.ts";
import { CliError, type Command } from "./command.ts";

export const listen: Command = {
  name: "listen",
  summary: "Prints messages as they arrive, one a line, and acks them",
  usage: "--user <id> [options]",
  argumentsMax: 0,
  options: {
    ...CLIENT_OPTIONS,
    count: { takes: "number", help: "end after so many; default: at Ctrl-C" },
    "no-ack": {
      takes: "nothing",
      help: "look, but leave them: they are stored and come again; at most 512 are shown",
    },
  },
  async run(input) {
    const max = input.number("count") ?? Number.POSITIVE_INFINITY;
    const client = await openClient(
      input,
      input.flag("no-ack") ? { WebSocket: withoutAcks() } : {},
    );
    const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
    let received = 0;
    const seen = new Set<string>();
    process.once("SIGINT", () => resolve());
    process.once("SIGTERM", () => resolve());
    client.on("closed", ({ code, reason }) => {
      if (code !== 1000) reject(new CliError(closeCode(code), `the server closed: ${reason}`));
    });
    client.on("error", (error) => {
      if (received < max) input.note(`error ${error.code}: ${error.message}`);
    });
    client.on("state", (state) => {
      if (state === "online") input.note("connected again");
      if (state === "offline") input.note("the connection is lost; coming back");
    });
    client.on("message", (message) => {
      // Over the count: not ours to take, so it must not be acked. A handler that fails is not.
      if (received >= max) throw new Error("the count is reached");
      // Without acks the same message comes again and again.
      if (input.flag("no-ack") && seen.size < 100_000 && seen.has(message.msg_id)) return;
      if (input.flag("no-ack")) seen.add(message.msg_id);
      received++;
      input.print(lineOf(message), message);
      if (received >= max) resolve();
    });
    input.note(`listening as ${client.userId}`);
    try {
      await ended;
    } finally {
      await client.close();
    }
    if (input.json) input.print("", { received, acked: !input.flag("no-ack") });
    return 0;
  },
};

function lineOf(message: Message): string {
  const to = message.target_type === "GROUP" ? ` to ${message.to_user_id}` : "";
  const number = message.seq === 0 ? message.target_type : `#${message.seq}`;
  const type = message.message_type === "CHAT" ? "" : ` ${message.message_type}`;
  // One line each, whatever a message holds, and nothing in it can steer the terminal.
  const content = JSON.stringify(message.content).slice(1, -1);
  return `${message.from_user_id}${to} ${number}${type}: ${content}`;
}

/** The SDK acks by itself; this keeps what it acks from leaving. */
function withoutAcks(): SocketConstructor {
  class Silent extends WebSocket {
    override send(data: string): void {
      const frames = [JSON.parse(data) as unknown].flat() as { readonly type: string }[];
      const kept = frames.filter(({ type }) => type !== "ack");
      if (kept.length > 0) super.send(JSON.stringify(kept));
    }
  }
  return Silent as unknown as SocketConstructor;
}
