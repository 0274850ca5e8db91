/** Who of some users is online, asked of a gateway over HTTP: needs no way to its Redis. */
import { checkedUser, gatewayUrl } from "./client.ts";
import { CliError, type Input, type OptionSpec } from "./command.ts";
import { age, table } from "./table.ts";

export const PRESENCE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  users: { takes: "text", help: "comma list: only where these are, asked of the gateway" },
  url: { takes: "text", help: "of that gateway; default: http://127.0.0.1:$GATEWAY_PORT (8080)" },
  key: { takes: "text", help: "the API key for it; CHATIFY_API_KEY does the same unseen" },
  token: { takes: "text", help: "an admin token instead" },
};

const ANSWER_MS = 5_000;

interface Answer {
  readonly users: readonly {
    readonly user_id: string;
    readonly online: boolean;
    readonly sessions: readonly { device_id: string; gateway: string; since: number }[];
  }[];
}

export async function presence(input: Input): Promise<number> {
  const user_ids = (input.text("users") ?? "")
    .split(",")
    .map((id) => checkedUser(id.trim(), "--users"));
  const answer = (await ask(input, { user_ids })) as Answer;
  const now = Date.now();
  const rows = answer.users.flatMap(({ online, sessions, user_id }) => {
    if (!online) return [[user_id, "offline", "", "", ""]];
    return sessions.map(({ device_id, gateway, since }) => {
      return [user_id, "online", device_id, gateway, age(now - since)];
    });
  });
  input.print(table(["user", "state", "device", "gateway", "since"], rows), answer);
  return 0;
}

async function ask(input: Input, body: object): Promise<unknown> {
  const url = gatewayUrl(input).replace(/^ws/, "http");
  const key = input.text("key") ?? process.env.CHATIFY_API_KEY;
  const token = input.text("token") ?? process.env.CHATIFY_TOKEN;
  let answer: Response;
  try {
    answer = await fetch(new URL("/chatify/push/v1/BatchQueryOnline", url), {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(key ? { "x-api-key": key } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch {
    throw new CliError("unavailable", `no gateway answers at ${url}`);
  }
  const value = (await answer.json().catch(() => null)) as Record<string, unknown> | null;
  if (answer.ok && value !== null) return value;
  const code = typeof value?.code === "string" ? value.code : "internal";
  throw new CliError(code, String(value?.message ?? `HTTP ${answer.status}`));
}
