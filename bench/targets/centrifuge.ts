/**
 * Centrifuge, the library that Centrifugo is made of, with its Redis engine. Built with Go into
 * .tools/ at first use.
 */
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";

const MODULE = "github.com/centrifugal/centrifuge@v0.40.1";
const HOME = join(import.meta.dir, "../../.tools/bench-centrifuge");
const SOURCE = join(import.meta.dir, "../peers/centrifuge_server.go");

/** Path of the server; throws with what to install. */
export function builtCentrifuge(): string {
  const binary = join(HOME, "server");
  if (existsSync(binary)) return binary;
  if (Bun.which("go") === null)
    throw new Error("go 1.26 or later is missing: it builds Centrifuge");
  mkdirSync(HOME, { recursive: true });
  copyFileSync(SOURCE, join(HOME, "main.go"));
  if (!existsSync(join(HOME, "go.mod"))) go("mod", "init", "peer");
  go("get", MODULE);
  go("build", "-o", "server", ".");
  return binary;
}

function go(...args: string[]): void {
  const run = Bun.spawnSync(["go", ...args], { cwd: HOME, stderr: "pipe" });
  if (run.exitCode !== 0) throw new Error(`go ${args[0]} failed: ${run.stderr.toString()}`);
}
