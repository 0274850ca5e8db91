/** Asks a gateway over HTTP, as an operator who has a key and no way to its Redis. */
import { gatewayUrl } from "./client.ts";
import { CliError, type Input, type OptionSpec } from "./command.ts";

export const GATEWAY_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  url: { takes: "text", help: "of the gateway; default: http://127.0.0.1:$GATEWAY_PORT (8080)" },
  key: { takes: "text", help: "the API key for it; CHATIFY_API_KEY does the same unseen" },
  token: { takes: "text", help: "an admin token instead" },
};

const ANSWER_MS = 10_000;

/** A body that is sent as it comes. */
export interface Upload {
  readonly body: string | ReadableStream<Uint8Array>;
  readonly headers: Readonly<Record<string, string>>;
}

/** POSTs `body`, or GETs without one; rejects with the code of a refusal. */
export function ask(
  input: Input,
  path: string,
  body?: object,
  method = body ? "POST" : "GET",
): Promise<unknown> {
  const headers: Record<string, string> = body ? { "content-type": "application/json" } : {};
  const signal = AbortSignal.timeout(ANSWER_MS);
  const sent = body ? { body: JSON.stringify(body) } : {};
  return exchange(input, path, { method, headers, signal, ...sent });
}

/** POSTs something of any length, for as long as that takes. */
export function upload(input: Input, path: string, { body, headers }: Upload): Promise<unknown> {
  return exchange(input, path, { method: "POST", headers: { ...headers }, body });
}

interface Question extends RequestInit {
  readonly headers: Record<string, string>;
}

async function exchange(input: Input, path: string, question: Question): Promise<unknown> {
  const url = gatewayUrl(input).replace(/^ws/, "http");
  const key = input.text("key") ?? process.env.CHATIFY_API_KEY;
  const token = input.text("token") ?? process.env.CHATIFY_TOKEN;
  const headers = {
    ...question.headers,
    ...(key ? { "x-api-key": key } : {}),
    ...(token ? { authorization: `Bearer ${token}` } : {}),
  };
  let answer: Response;
  try {
    answer = await fetch(new URL(path, url), { ...question, headers });
  } catch {
    throw new CliError("unavailable", `no gateway answers at ${url}`);
  }
  const value = (await answer.json().catch(() => null)) as Record<string, unknown> | null;
  if (answer.ok && value !== null) return value;
  const code = typeof value?.code === "string" ? value.code : "internal";
  throw new CliError(code, String(value?.message ?? `HTTP ${answer.status}`));
}
