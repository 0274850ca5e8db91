/** compose.yml as Compose understands it, with a `.env` that scripts/env has just written. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./command.ts";

export interface ComposeService {
  readonly image?: string;
  readonly build?: { readonly args?: Record<string, string> };
  readonly environment?: Record<string, string | null>;
  readonly command?: readonly string[] | null;
  readonly ports?: readonly { readonly target: number; readonly published: string }[];
  readonly volumes?: readonly { readonly type: string; readonly source: string }[];
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly healthcheck?: { readonly test?: readonly string[] };
  readonly restart?: string;
  readonly privileged?: boolean;
  readonly profiles?: readonly string[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly deploy?: { readonly resources?: { readonly limits?: Record<string, unknown> } };
}

export interface ComposeFile {
  readonly services: Record<string, ComposeService>;
  readonly configs: Record<string, { readonly content: string }>;
  readonly volumes: Record<string, unknown>;
}

export interface EnvFile {
  readonly path: string;
  readonly values: Record<string, string>;
}

/** A `.env` of its own for a test. The flags are those of scripts/env. */
export async function writeEnv(...flags: string[]): Promise<EnvFile> {
  const path = join(mkdtempSync(join(tmpdir(), "chatify-env-")), ".env");
  await run(["scripts/env", ...flags, "--file", path]);
  return readEnv(path);
}

export function readEnv(path: string): EnvFile {
  const values: Record<string, string> = {};
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [, name, value] = /^([A-Z_]+)=(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) values[name] = value;
  }
  return { path, values };
}

/** Throws with what Compose says where the file is wrong. `all`: whatever profile it is in. */
export async function composeConfig(envPath: string, all = false): Promise<ComposeFile> {
  const profiles = all ? ["--profile", "*"] : [];
  const command = ["docker-compose", "--env-file", envPath, ...profiles, "config"];
  return JSON.parse(await run([...command, "--format", "json"])) as ComposeFile;
}
