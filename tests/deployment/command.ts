/** Runs a command to its end and gives its stdout; throws with what it wrote when it fails. */
import { join } from "node:path";

export const PROJECT = join(import.meta.dir, "../..");

export interface CommandOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

export class CommandError extends Error {
  override readonly name = "CommandError";
  constructor(
    command: readonly string[],
    readonly code: number | null,
    readonly stderr: string,
    stdout: string,
  ) {
    const tail = `${stdout.slice(-2_000)}${stderr.slice(-4_000)}`;
    super(`${command.join(" ")} ended with ${code ?? "a signal (out of time?)"}:\n${tail}`);
  }
}

/** PATH and HOME are handed on; no other variable is, so that a test does not depend on them. */
export async function run(command: string[], options: CommandOptions = {}): Promise<string> {
  const { PATH = "", HOME = "" } = process.env;
  const tools = [".tools/node_modules/.bin", ".tools/bin"].map((dir) => join(PROJECT, dir));
  const child = Bun.spawn(command, {
    cwd: options.cwd ?? PROJECT,
    env: { PATH: [...tools, PATH].join(":"), HOME, ...options.env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: options.timeoutMs ?? 60_000,
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new CommandError(command, child.exitCode, stderr, stdout);
  return stdout;
}
