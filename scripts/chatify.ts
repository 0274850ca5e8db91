/**
 * The operator's command line: `bun run chatify <command>`. Each command is a file in scripts/cli.
 * Results go to stdout, everything else to stderr. It ends with 0 when the command did what it was
 * asked, with 1 when it could not, with 2 when it was not asked in a way that it understands.
 */
import { apiKey } from "./cli/api_key.ts";
import { CliError, type Command, runCommand } from "./cli/command.ts";
import { deadLetter } from "./cli/dead_letter.ts";
import { doctor } from "./cli/doctor.ts";
import { job } from "./cli/job.ts";
import { listen } from "./cli/listen.ts";
import { send } from "./cli/send.ts";
import { status } from "./cli/status.ts";
import { token } from "./cli/token.ts";
import { trace } from "./cli/trace.ts";
import { vapid } from "./cli/vapid.ts";

const COMMANDS: readonly Command[] = [
  token,
  send,
  listen,
  job,
  status,
  trace,
  doctor,
  deadLetter,
  apiKey,
  vapid,
];

function usage(): string {
  const lines = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`);
  return [
    "Usage: bun run chatify <command> [options]",
    "",
    ...lines,
    "",
    "Every command takes --json (the last line on stdout is JSON) and --help.",
    "Without options they speak to the Chatify that `bun run start` started here.",
    "",
  ].join("\n");
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    (name === undefined ? process.stderr : process.stdout).write(usage());
    return name === undefined ? 2 : 0;
  }
  const command = COMMANDS.find((candidate) => candidate.name === name);
  if (command !== undefined) return runCommand(command, rest);
  process.stderr.write(`error usage: there is no command "${name}"\n\n${usage()}`);
  return 2;
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  // Anything but a CliError is a bug, and its stack says where.
  if (!(error instanceof CliError)) throw error;
  const { code, message } = error;
  process.stderr.write(`error ${code}: ${message}\n`);
  if (process.argv.includes("--json")) {
    process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
  }
  process.exit(error.code === "usage" ? 2 : 1);
}
