/**
 * `chatify --healthcheck`: asks the process that runs here with the same environment whether it is
 * ready. A container's health check runs it, so the image needs neither a shell nor curl.
 */
import type { Config } from "./core/config.ts";

/** Why it is not ready, in words; null when it is. Waits as long as the caller lets it. */
export async function whyNotReady(
  config: Pick<Config, "adminHost" | "adminPort">,
): Promise<string | null> {
  // What listens everywhere is asked at home.
  const everywhere: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "[::1]" };
  const host = everywhere[config.adminHost] ?? config.adminHost;
  const url = `http://${host.includes(":") && !host.startsWith("[") ? `[${host}]` : host}`;
  try {
    const answer = await fetch(`${url}:${config.adminPort}/readyz`);
    return answer.ok ? null : await answer.text();
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
