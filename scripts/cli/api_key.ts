/** API keys for services: made here and shown once, listed, revoked. */
import {
  type ApiKey,
  type ApiKeys,
  createApiKey,
  keyState,
  SCOPES,
  type Scope,
} from "../../src/core/auth/api_keys.ts";
import { RedisApiKeys } from "../../src/core/auth/redis_api_keys.ts";
import { systemClock, systemRandom } from "../../src/core/clock.ts";
import { CLUSTER_OPTIONS, connectRedis } from "./cluster.ts";
import { CliError, type Command, type Input } from "./command.ts";
import { age, table } from "./table.ts";

const NAME_CHARS_MAX = 64;
const DAY_S = 86_400;

export const apiKey: Command = {
  name: "api-key",
  summary: "Creates, lists or revokes the API keys of services",
  usage: `<create --name <text> --scopes <list> | list | revoke <id>> [options]

  create       makes a key and prints it: the only time that it can be seen
  list         every key with its state (what it does without an action)
  revoke <id>  refuses it from now on, on every node within a second`,
  argumentsMax: 2,
  options: {
    ...CLUSTER_OPTIONS,
    name: { takes: "text", help: "what the key is for" },
    scopes: { takes: "text", help: `comma list of ${SCOPES.join(", ")}; admin may do everything` },
    days: { takes: "number", help: "days until it expires; default: never" },
  },
  async run(input) {
    const [action = "list", id] = input.rest;
    const actions: Record<string, (keys: ApiKeys) => Promise<number>> = {
      create: (keys) => create(input, keys),
      list: (keys) => list(input, keys),
      revoke: (keys) => revoke(input, keys, id),
    };
    const act = actions[action];
    if (act === undefined) {
      throw new CliError("usage", `"${action}" is none of create, list and revoke`);
    }
    if (action === "create") wanted(input);
    const redis = await connectRedis(input);
    try {
      return await act(new RedisApiKeys(redis));
    } finally {
      redis.close();
    }
  },
};

const nowS = () => Math.floor(systemClock.now() / 1_000);

function wanted(input: Input): { name: string; scopes: readonly Scope[]; expiresAt: number } {
  const name = input.text("name") ?? "";
  if (name === "" || name.length > NAME_CHARS_MAX) {
    throw new CliError("usage", `create takes --name, 1 to ${NAME_CHARS_MAX} characters`);
  }
  const given = (input.text("scopes") ?? "").split(/[\s,]+/).filter((scope) => scope !== "");
  const scopes = SCOPES.filter((scope) => given.includes(scope));
  if (scopes.length === 0 || scopes.length !== new Set(given).size) {
    throw new CliError("usage", `create takes --scopes, a comma list of ${SCOPES.join(", ")}`);
  }
  const days = input.number("days");
  return { name, scopes, expiresAt: days === undefined ? 0 : nowS() + days * DAY_S };
}

async function create(input: Input, keys: ApiKeys): Promise<number> {
  const { key, text } = createApiKey(wanted(input), systemRandom, nowS());
  await keys.add(key);
  if (!input.json) input.note("Keep it: it is stored as a hash only, and never shown again.");
  input.print(text, { key: text, ...described(key) });
  return 0;
}

async function list(input: Input, keys: ApiKeys): Promise<number> {
  const all = await keys.list();
  const rows = all.map((key) => [
    key.id,
    // As JSON text, so that nothing in it can steer the terminal.
    JSON.stringify(key.name),
    key.scopes.join(","),
    keyState(key, nowS()),
    age((nowS() - key.createdAt) * 1_000),
    key.expiresAt === 0 ? "never" : new Date(key.expiresAt * 1_000).toISOString().slice(0, 10),
  ]);
  const text =
    all.length === 0
      ? "no API keys; `chatify api-key create --name … --scopes push` makes one"
      : table(["id", "name", "scopes", "state", "age", "expires"], rows);
  input.print(text, { keys: all.map(described) });
  return 0;
}

async function revoke(input: Input, keys: ApiKeys, id: string | undefined): Promise<number> {
  if (id === undefined)
    throw new CliError("usage", "revoke takes the id of a key, as list shows it");
  const key = await keys.revoke(id, nowS());
  if (key === null) throw new CliError("not_found", `there is no API key ${id}`);
  input.print(`${id} is revoked`, described(key));
  return 0;
}

function described(key: ApiKey) {
  const { createdAt: created_at, expiresAt: expires_at, id, name, revokedAt: revoked_at } = key;
  const dates = { created_at, expires_at, revoked_at };
  return { id, name, scopes: key.scopes, state: keyState(key, nowS()), ...dates };
}
