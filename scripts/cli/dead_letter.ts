/**
 * The entries that could not be processed: look at them, put them back, or drop them. Replaying
 * appends the original body to the end of the partition it came from and takes the letter away, in
 * one transaction. That is another place in the order, and a batch of which a part was delivered is
 * delivered again: clients dedup by msg_id what push has sent, logic by the client message id.
 */
import * as z from "zod";
import type { RedisClient } from "../../src/core/redis/client.ts";
import { GROUP_TOPICS, type Partitions, partitionCount, TOPICS } from "../../src/core/topology.ts";
import { agreedPartitions, CLUSTER_OPTIONS, connectRedis } from "./cluster.ts";
import { CliError, type Command, type Input } from "./command.ts";
import { age, bytes, table } from "./table.ts";

const LISTED = 20;
const PAGE = 100;

/** What logic's partition worker and push's settlement write; `id` is that of the first entry. */
const Letter = z.object({
  topic: z.enum([...GROUP_TOPICS.logic, ...GROUP_TOPICS.push, "webhooks"]),
  partition: z.int().nonnegative(),
  id: z.string(),
  reason: z.string(),
  body: z.string(),
});
/** `letter` is null for one that this version cannot read; it can be shown and dropped. */
interface Stored {
  readonly id: string;
  readonly raw: string;
  readonly letter: z.infer<typeof Letter> | null;
}

export const deadLetter: Command = {
  name: "dead-letter",
  summary: "Lists, shows, replays or drops entries that could not be processed",
  usage: `[list | show <id> | replay <id> | drop <id>] [options]

  list          the oldest first (what it does without an action)
  show <id>     one entry whole
  replay <id>   puts it back at the end of its partition, and takes it out of here
  drop <id>     forgets it for good; replay and drop take --all instead of an id`,
  argumentsMax: 2,
  options: {
    ...CLUSTER_OPTIONS,
    count: { takes: "number", help: `how many to list; default ${LISTED}` },
    all: { takes: "nothing", help: "replay or drop everything that is there now" },
  },
  async run(input) {
    const [action = "list", id] = input.rest;
    const actions: Record<string, (redis: RedisClient) => Promise<number>> = {
      list: (redis) => list(input, redis),
      show: async (redis) => show(input, await one(redis, id)),
      replay: (redis) => settle(input, redis, id, "replayed"),
      drop: (redis) => settle(input, redis, id, "dropped"),
    };
    const act = actions[action];
    if (act === undefined) {
      throw new CliError("usage", `"${action}" is none of list, show, replay and drop`);
    }
    const needsId = action !== "list" && !input.flag("all");
    if (needsId && !/^\d+-\d+$/.test(id ?? "")) {
      throw new CliError("usage", `${action} takes the id of an entry, as list shows it`);
    }
    const redis = await connectRedis(input);
    try {
      return await act(redis);
    } finally {
      redis.close();
    }
  },
};

const keyOf = (redis: RedisClient) => redis.keys.stream("dead_letter", 0);

async function read(
  redis: RedisClient,
  from: string,
  to: string,
  count: number,
): Promise<Stored[]> {
  const args = [keyOf(redis), from, to, "COUNT", String(count)];
  const reply = await redis.lane.read("dead_letter", "XRANGE", args);
  return (reply as [id: string, fields: string[]][]).map(([id, fields]) => {
    const raw = fields[fields.indexOf("b") + 1] ?? "";
    return { id, raw, letter: letterOf(raw) };
  });
}

function letterOf(raw: string): Stored["letter"] {
  try {
    return Letter.parse(JSON.parse(raw));
  } catch {
    return null;
  }
}

async function one(redis: RedisClient, id = ""): Promise<Stored> {
  const [found] = await read(redis, id, id, 1);
  if (found === undefined) throw new CliError("not_found", `there is no dead letter ${id}`);
  return found;
}

async function list(input: Input, redis: RedisClient): Promise<number> {
  const total = Number(await redis.lane.read("dead_letter", "XLEN", [keyOf(redis)]));
  const letters = await read(redis, "-", "+", input.number("count") ?? LISTED);
  const now = Date.now();
  const rows = letters.map(({ id, letter, raw }) => {
    const from = letter === null ? "-" : `${letter.topic}:${letter.partition}`;
    const size = bytes(Buffer.byteLength(letter?.body ?? raw));
    return [id, age(now - Number(id.split("-")[0])), from, letter?.reason ?? "not readable", size];
  });
  const text =
    total === 0
      ? "no dead letters"
      : `${table(["id", "age", "from", "reason", "body"], rows)}\n${letters.length} of ${total}`;
  const json = letters.map(({ id, letter }) => {
    const { topic, partition, reason } = letter ?? { topic: null, partition: null, reason: null };
    return { id, topic, partition, reason, entry: letter?.id ?? null };
  });
  input.print(text, { total, letters: json });
  return 0;
}

function show(input: Input, { id, letter, raw }: Stored): number {
  const head =
    letter === null
      ? []
      : [
          `topic      ${letter.topic}:${letter.partition}`,
          `entry      ${letter.id}`,
          `reason     ${letter.reason}`,
        ];
  // As JSON text, so that nothing in it can steer the terminal.
  const body = JSON.stringify(letter?.body ?? raw);
  input.print([`id         ${id}`, ...head, `body       ${body}`].join("\n"), {
    id,
    ...(letter === null ? { raw } : { ...letter, id, entry: letter.id }),
  });
  return 0;
}

/** One entry, or page by page those that were there when it began: a replay may come back here. */
async function settle(
  input: Input,
  redis: RedisClient,
  id: string | undefined,
  what: "replayed" | "dropped",
): Promise<number> {
  const partitions = what === "replayed" ? await agreedPartitions(redis) : null;
  const settleOne = (stored: Stored) =>
    partitions === null ? drop(redis, stored) : replay(redis, partitions, stored);
  let done = 0;
  const failures: string[] = [];
  if (!input.flag("all")) {
    await settleOne(await one(redis, id));
    done = 1;
  } else {
    const [newest] = (await redis.lane.read("dead_letter", "XREVRANGE", [
      keyOf(redis),
      "+",
      "-",
      "COUNT",
      "1",
    ])) as [string, string[]][];
    let from = "-";
    while (newest !== undefined) {
      const page = await read(redis, from, newest[0], PAGE);
      for (const stored of page) {
        try {
          await settleOne(stored);
          done++;
        } catch (error) {
          if (!(error instanceof CliError)) throw error;
          failures.push(`${stored.id}: ${error.message}`);
        }
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      from = `(${last.id}`;
    }
  }
  for (const failure of failures) input.note(`error conflict: ${failure}`);
  input.print(`${done} ${what}`, { [what]: done, failed: failures.length });
  return failures.length === 0 ? 0 : 1;
}

async function drop(redis: RedisClient, { id }: Stored): Promise<void> {
  await redis.lane.write("dead_letter", "XDEL", [keyOf(redis), id]);
}

async function replay(redis: RedisClient, partitions: Partitions, stored: Stored): Promise<void> {
  const { letter } = stored;
  if (letter === null) throw new CliError("conflict", "this version cannot read it");
  if (letter.body === "") throw new CliError("conflict", "its body was not kept; drop it");
  const { group } = TOPICS[letter.topic];
  const count = group === null ? 1 : partitionCount(partitions, group);
  if (letter.partition >= count) {
    throw new CliError("conflict", `there is no partition ${letter.topic}:${letter.partition}`);
  }
  const stream = redis.keys.stream(letter.topic, letter.partition);
  // In this order, and not at once, as they may be on two servers: a letter that was replayed and is
  // still there is replayed again, which logic and clients recognise.
  await redis.durable.write("dead_letter", "XADD", [stream, "*", "b", letter.body]);
  await drop(redis, stored);
}
