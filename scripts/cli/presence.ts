/** Who of some users is online, asked of a gateway over HTTP: needs no way to its Redis. */
import { checkedUser } from "./client.ts";
import type { Input, OptionSpec } from "./command.ts";
import { ask, GATEWAY_OPTIONS } from "./gateway_question.ts";
import { age, table } from "./table.ts";

export const PRESENCE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  users: { takes: "text", help: "comma list: only where these are, asked of the gateway" },
  ...GATEWAY_OPTIONS,
};

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
  const answer = (await ask(input, "/chatify/push/v1/BatchQueryOnline", { user_ids })) as Answer;
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
