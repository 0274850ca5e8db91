/** What a command of the CLI is, and what all of them share: options, --help, --json, errors. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import type { ErrorCode } from "../../src/core/protocol/errors.ts";

/** An expected failure; `usage` means that the command line itself is wrong. */
export class CliError extends Error {
  override readonly name = "CliError";
  constructor(
    readonly code: ErrorCode | "usage" | (string & {}),
    message: string,
  ) {
    super(message);
  }
}

export interface OptionSpec {
  readonly takes: "text" | "number" | "nothing";
  /** For --help; the default belongs here, too. */
  readonly help: string;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** What follows the command's name, and further lines of --help. */
  readonly usage: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Most arguments that are no options. */
  readonly argumentsMax: number;
  /** Resolves with the exit code; rejects with a CliError. */
  run(input: Input): Promise<number>;
}

/** What the command was given, and where its results go. */
export class Input {
  constructor(
    private readonly values: Readonly<Record<string, unknown>>,
    readonly rest: readonly string[],
  ) {}

  get json(): boolean {
    return this.flag("json");
  }

  flag(name: string): boolean {
    return this.values[name] === true;
  }

  /** An option given as the empty text counts as absent, as an empty variable does. */
  text(name: string): string | undefined {
    const value = this.values[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  }

  /** A whole number of at least `min`; throws `usage` for anything else. */
  number(name: string, min = 1): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const parsed = Number(value);
    if (/^\d+$/.test(value) && Number.isSafeInteger(parsed) && parsed >= min) return parsed;
    throw new CliError("usage", `--${name} takes a whole number from ${min}; got "${value}"`);
  }

  /** `text` for people, or `value` as one line of JSON with --json. */
  print(text: string, value: object): void {
    process.stdout.write(this.json ? `${JSON.stringify(value)}\n` : `${text}\n`);
  }

  /** A remark for people that is no result. */
  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

const EVERYWHERE: Readonly<Record<string, OptionSpec>> = {
  json: { takes: "nothing", help: "end with one line of JSON on stdout" },
  help: { takes: "nothing", help: "show this" },
};

export async function runCommand(command: Command, args: readonly string[]): Promise<number> {
  const specs = { ...command.options, ...EVERYWHERE };
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  for (const [name, { takes }] of Object.entries(specs)) {
    options[name] = { type: takes === "nothing" ? "boolean" : "string" };
  }
  const { values, positionals } = parsed(command, args, options);
  if (values.help === true) {
    process.stdout.write(helpOf(command, specs));
    return 0;
  }
  if (positionals.length > command.argumentsMax) {
    const extra = positionals[command.argumentsMax];
    throw new CliError("usage", `"${extra}" is one argument too many; see ${hint(command)}`);
  }
  return command.run(new Input(values, positionals));
}

function parsed(
  command: Command,
  args: readonly string[],
  options: NonNullable<ParseArgsConfig["options"]>,
) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new CliError("usage", `${message.replace(/\.?$/, "")}; see ${hint(command)}`);
  }
}

const hint = (command: Command) => `\`bun run chatify ${command.name} --help\``;

function helpOf(command: Command, specs: Readonly<Record<string, OptionSpec>>): string {
  const names = Object.entries(specs).map(([name, { takes, help }]) => {
    return [`--${name}${takes === "nothing" ? "" : ` <${takes}>`}`, help] as const;
  });
  const width = Math.max(...names.map(([left]) => left.length));
  const lines = names.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`);
  const head = `Usage: bun run chatify ${command.name} ${command.usage.trim()}`;
  return [head, "", `${command.summary}.`, "", ...lines, ""].join("\n");
}
