/** `bun run bench`: measures, always beside its floor in the same run. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { benchChat, benchLatency } from "./chat.ts";
import { benchConnect, benchIdle } from "./connect.ts";
import { benchFanout } from "./fanout.ts";
import { benchMillion } from "./million.ts";
import { type Options, readOptions } from "./options.ts";
import { benchPush } from "./push.ts";
import { printReport, type Report } from "./report.ts";

function run(options: Options, profileDir: string | null): Promise<Report> {
  switch (options.bench) {
    case "chat":
      return benchChat(options, profileDir);
    case "latency":
      return benchLatency(options, profileDir);
    case "connect":
      return benchConnect(options, profileDir);
    case "idle":
      return options.connections > 0 ? benchMillion(options) : benchIdle(options, profileDir);
    case "push":
      return benchPush(options, profileDir);
    case "fanout":
      return benchFanout(options, profileDir);
  }
}

try {
  const options = readOptions(process.argv.slice(2));
  const profileDir = options.profile ? join(import.meta.dir, "../.bench") : null;
  if (profileDir !== null) mkdirSync(profileDir, { recursive: true });
  printReport(await run(options, profileDir), options.json);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
