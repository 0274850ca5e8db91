/** Users that connect and are welcomed, some at a time. */
import { present } from "../present.ts";
import { Connection, type ConnectionEvents, type Outbox } from "./connection.ts";
import { textFrame } from "./frames.ts";
import { tokenOf, userName } from "./tokens.ts";

export interface PopulationOptions {
  readonly wsPorts: readonly number[];
  readonly path: string;
  readonly secret: string;
  readonly users: number;
  /** Handshakes on the way at once. */
  readonly inFlight: number;
  /** Null: a user is there when the server has switched protocols. */
  readonly greeting: Greeting | null;
}

/** What is said before a user may send. */
export interface Greeting {
  /** What the client says first, where the server waits for it. */
  readonly first?: string;
  /** Answers what the server said: true, the user is there; a text, to be sent; false, wait. */
  onText(text: string, index: number): boolean | string;
}

/** The first thing that the server says is the welcome. */
export const WELCOME: Greeting = { onText: () => true };

export type OnText = (data: Buffer, start: number, end: number) => void;

/** A connection that ends is an error of the run: the benchmark must not measure half a load. */
export function failRun(reason: string): never {
  process.stderr.write(`load: ${reason}\n`);
  process.exit(1);
}

/** Resolves when all are there; `textOf(i)` gets what user i receives after that. */
export async function connectAll(
  options: PopulationOptions,
  outbox: Outbox,
  textOf: (index: number) => OnText,
  /** Told of each that is there, and how long that took in microseconds. */
  onOne: (tookUs: number) => void = () => {},
): Promise<Connection[]> {
  const tokens = Array.from({ length: options.users }, (_, i) =>
    tokenOf(userName(i), options.secret),
  );
  const connections: Connection[] = [];
  let next = 0;
  const worker = async () => {
    while (next < options.users) {
      const index = next;
      next += 1;
      const port = present(options.wsPorts[index % options.wsPorts.length]);
      const token = present(tokens[index]);
      const startMs = performance.now();
      connections[index] = await connectOne(options, outbox, port, token, index, textOf(index));
      onOne((performance.now() - startMs) * 1_000);
    }
  };
  await Promise.all(Array.from({ length: options.inFlight }, worker));
  return connections;
}

async function connectOne(
  options: PopulationOptions,
  outbox: Outbox,
  port: number,
  token: string,
  index: number,
  onText: OnText,
): Promise<Connection> {
  const there = Promise.withResolvers<void>();
  let waiting = true;
  const arrive = () => {
    waiting = false;
    there.resolve();
  };
  const events: ConnectionEvents = {
    onOpen: () => {
      if (options.greeting === null) arrive();
      else if (options.greeting.first !== undefined) {
        connection.write(textFrame(options.greeting.first));
      }
    },
    onText: (data, start, end) => {
      if (!waiting) return onText(data, start, end);
      const answer = options.greeting?.onText(data.toString("latin1", start, end), index);
      if (answer === true) arrive();
      else if (typeof answer === "string") connection.write(textFrame(answer));
    },
    onEnd: (reason) => failRun(`a connection ended: ${reason}`),
  };
  const headers = {
    Authorization: `Bearer ${token}`,
    "Sec-WebSocket-Protocol": "chatify.v1",
  };
  const connection = new Connection(outbox, { port, path: options.path, headers }, events);
  await connection.connect();
  await there.promise;
  return connection;
}
