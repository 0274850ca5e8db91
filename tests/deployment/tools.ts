/** What the tests here need beyond the project's packages; made once, by scripts/tools. */
import { run } from "./command.ts";

export const TOOLS_MS = 900_000;

/** Throws with what is missing: without its tools a test fails, it does not skip. */
export async function ensureTools(): Promise<void> {
  // Everything it may need for downloads and builds is the caller's environment.
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined) env[name] = value;
  delete env.PATH;
  await run(["scripts/tools"], { env, timeoutMs: TOOLS_MS });
}
