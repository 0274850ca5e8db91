/**
 * The rules that keep the code readable, each with samples that break it. A rule looks at all files
 * at once and says what is wrong where; the test runs it over the project and over its samples.
 */
import { posix } from "node:path";
import { functionBodies, importsOf, type Masked, mask } from "./source_text.ts";

export interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly masked: Masked;
}

export interface Rule {
  readonly name: string;
  check(files: readonly SourceFile[]): string[];
  /** Path and text of a file that breaks the rule; several where it takes several. */
  readonly planted: readonly (readonly [path: string, text: string])[];
}

export const FILE_LINES_MAX = 400;
export const FUNCTION_LINES_MAX = 70;

export function sourceFile(path: string, text: string): SourceFile {
  return { path, text, masked: mask(path.endsWith(".ts") ? text : "") };
}

const isScript = (file: SourceFile) => file.path.endsWith(".ts");
/** Tests, what they start, and their doubles. */
const isTest = (path: string) => /\.(test|fixture)\.ts$|\/testing\//.test(path);
/** What runs in production: the program itself, without the tests beside it. */
const isProgram = (file: SourceFile) =>
  isScript(file) && file.path.startsWith("src/") && !isTest(file.path);

/** Every place where `pattern` matches one of the two views of a file. */
function matches(files: readonly SourceFile[], view: keyof Masked, pattern: RegExp): string[] {
  return files.flatMap((file) =>
    [...file.masked[view].matchAll(new RegExp(pattern, "g"))].map((match) => {
      const line = file.masked[view].slice(0, match.index).split("\n").length;
      return `${file.path}:${line}: ${match[0].trim()}`;
    }),
  );
}

/** Relative imports as project paths, packages as they are written. */
function resolvedImports(file: SourceFile): string[] {
  return importsOf(file.text, file.masked).map((name) =>
    name.startsWith(".") ? posix.join(posix.dirname(file.path), name) : name,
  );
}

// A package may be called web-push: only what is a path is ours.
const isLocal = (path: string) =>
  /^((src|sdk|web|tests|scripts|bench)\/|package\.json$)/.test(path);

type Layer = "main" | "sim" | "roles" | "core" | "protocol" | "sdk" | "web" | "outside";

function layerOf(path: string): Layer {
  if (path.startsWith("src/core/protocol/")) return "protocol";
  const [top, second] = path.split("/");
  if (top === "src" && (second === "roles" || second === "core" || second === "sim")) return second;
  if (top === "src") return "main";
  return top === "sdk" || top === "web" ? top : "outside";
}

const ALLOWED: Record<Layer, readonly Layer[]> = {
  main: ["main", "roles", "core", "protocol", "web"],
  sim: ["sim", "roles", "core", "protocol"],
  roles: ["roles", "core", "protocol"],
  core: ["core", "protocol"],
  protocol: ["protocol"],
  web: ["web", "sdk", "protocol"],
  sdk: ["sdk", "protocol"],
  outside: ["outside", "main", "sim", "roles", "core", "protocol", "web", "sdk"],
};

function mayImport(from: string, to: string): boolean {
  const [a, b] = [layerOf(from), layerOf(to)];
  const sameRole = from.split("/")[2] === to.split("/")[2];
  if (a === "roles" && b === "roles") return sameRole;
  // The program says its version, and nothing below it knows the package.
  if (to === "package.json") return a === "main" || a === "outside";
  // A test may use the test doubles, which live with the simulator.
  return ALLOWED[a].includes(b) || (isTest(from) && (b === "sim" || b === "outside"));
}

const importDirection: Rule = {
  name: "imports go main → roles → core, web → sdk → core/protocol; roles never meet",
  check: (files) =>
    files.filter(isScript).flatMap((file) =>
      resolvedImports(file)
        .filter((target) => isLocal(target) && !mayImport(file.path, target))
        .map((target) => `${file.path} imports ${target}`),
    ),
  planted: [
    ["src/core/a.ts", 'import { b } from "../roles/push/b.ts";'],
    ["src/roles/push/b.ts", 'import type { C } from "../logic/c.ts";'],
    ["sdk/d.ts", 'const e = await import("../src/core/clock.ts");'],
    ["src/core/protocol/f.ts", 'import { g } from "../clock.ts";'],
    ["src/core/h.ts", 'import pack from "../../package.json";'],
  ],
};

const protocolIsPure: Rule = {
  name: "core/protocol imports only zod and itself, the SDK no package at all",
  check: (files) =>
    files
      .filter((file) => isScript(file) && !isTest(file.path))
      .flatMap((file) => {
        const packages = resolvedImports(file).filter((target) => !isLocal(target));
        const layer = layerOf(file.path);
        const allowed = layer === "protocol" ? (name: string) => name === "zod" : () => false;
        if (layer !== "protocol" && layer !== "sdk") return [];
        return packages.filter((name) => !allowed(name)).map((name) => `${file.path}: ${name}`);
      }),
  planted: [
    ["src/core/protocol/a.ts", 'import { Redis } from "ioredis";'],
    ["sdk/b.ts", 'import { z } from "zod";'],
  ],
};

const noCycles: Rule = {
  name: "no import cycles, types included",
  check(files) {
    const graph = new Map(files.filter(isScript).map((f) => [f.path, resolvedImports(f)]));
    const done = new Set<string>();
    const found: string[] = [];
    const visit = (path: string, trail: readonly string[]) => {
      const start = trail.indexOf(path);
      if (start >= 0) found.push([...trail.slice(start), path].join(" → "));
      if (start >= 0 || done.has(path)) return;
      for (const target of graph.get(path) ?? []) visit(target, [...trail, path]);
      done.add(path);
    };
    for (const path of graph.keys()) visit(path, []);
    return found;
  },
  planted: [
    ["src/core/a.ts", 'import type { B } from "./b.ts";'],
    ["src/core/b.ts", 'import { a } from "./a.ts";'],
  ],
};

const IMPURE =
  /\bnew Date\(\s*\)|\b(Date\.now|Math\.random|performance\.now|process\.(env|hrtime)|Bun\.(env|sleep|nanoseconds|randomUUIDv7)|import\.meta\.env|(set|clear)(Timeout|Interval|Immediate)|getRandomValues|randomUUID|randomBytes|AbortSignal\.timeout)\b/;

const clockAndEnvironment: Rule = {
  name: "time, timers, randomness and the environment only in core/clock.ts and core/config.ts",
  check: (files) =>
    matches(
      files.filter((f) => isProgram(f) && !/^src\/core\/(clock|config)\.ts$/.test(f.path)),
      "code",
      IMPURE,
    ),
  planted: [
    ["src/core/a.ts", "const now = Date.now();"],
    ["src/core/b.ts", "setTimeout(() => {}, 1);"],
    ["src/core/c.ts", "const port = process.env.PORT;"],
    ["src/core/d.ts", "const id = crypto.randomUUID();"],
    ["src/core/e.ts", "const today = new Date();"],
  ],
};

const noConsole: Rule = {
  name: "no console in the program: the log has levels, names and redaction",
  check: (files) => matches(files.filter(isProgram), "code", /\bconsole\.\w+/),
  planted: [["src/core/a.ts", 'console.log("x");']],
};

const noAny: Rule = {
  name: "no any, and no comment that silences the compiler",
  check: (files) => [
    ...matches(files.filter(isScript), "code", /(?<![.\w$])any\b(?!\s*(\(|\??:))/),
    ...matches(files.filter(isScript), "comments", /@ts-(ignore|nocheck|expect-error)/),
  ],
  planted: [
    ["src/core/a.ts", "const a: any = 1;"],
    ["sdk/b.ts", "const b = JSON.parse(c) as any;"],
    ["web/c.ts", "const d: Map<string, any[]> = new Map();"],
    ["tests/d.ts", "// @ts-ignore: later"],
  ],
};

const fileLength: Rule = {
  name: `files have at most ${FILE_LINES_MAX} lines: a longer one has two nouns in it`,
  check: (files) =>
    files
      .map((file) => ({ path: file.path, lines: file.text.trimEnd().split("\n").length }))
      .filter(({ lines }) => lines > FILE_LINES_MAX)
      .map(({ path, lines }) => `${path}: ${lines} lines`),
  planted: [["src/core/a.ts", "// A line.\n".repeat(FILE_LINES_MAX + 1)]],
};

const longBody = (head: string, foot: string) =>
  `${head}\n${'  step("}");\n'.repeat(FUNCTION_LINES_MAX)}${foot}`;

const functionLength: Rule = {
  // A body that declares tests is a suite, not a function that anybody has to follow.
  name: `functions have at most ${FUNCTION_LINES_MAX} lines`,
  check: (files) =>
    files.filter(isScript).flatMap((file) =>
      functionBodies(file.masked)
        .filter(({ lines, code }) => lines > FUNCTION_LINES_MAX && !/\btest\(/.test(code))
        .map(({ line, lines }) => `${file.path}:${line}: ${lines} lines`),
    ),
  planted: [
    ["src/core/a.ts", longBody("function a(b: { c: number }): Map<string, number> {", "}")],
    ["src/core/d.ts", longBody("const d = async () => {", "};")],
    ["src/core/e.ts", `class E {\n${longBody("  f(): { g: string } {", "  }")}\n}`],
  ],
};

const noBarrels: Rule = {
  name: "no barrels: a name is imported from the file that makes it",
  // Outside the project the SDK is one module, so its entry alone lists what is public.
  check: (files) => [
    ...matches(
      files.filter((file) => isScript(file) && file.path !== "sdk/chatify.ts"),
      "code",
      /\bexport\s+(type\s+)?(\*(\s+as\s+\w+)?|\{[^}]*\})\s*from\b/,
    ),
    ...files.filter((f) => /(^|\/)index\.ts$/.test(f.path)).map((f) => `${f.path}: index.ts`),
  ],
  planted: [
    ["src/core/a.ts", 'export * from "./b.ts";'],
    ["src/core/c.ts", 'export type { D } from "./d.ts";'],
    ["src/core/index.ts", "const e = 1;"],
  ],
};

const NO_NOUN = /(^|[/_])(utils?|helpers?|managers?|common|types?|misc|shared)([/_.]|$)/;

const names: Rule = {
  name: "files are named in snake_case after a noun of the field",
  check: (files) =>
    files
      .map((file) => file.path)
      .filter((path) => NO_NOUN.test(path) || !/^[a-z0-9_/.]+$/.test(path)),
  planted: [
    ["src/core/utils.ts", ""],
    ["src/core/redis_helpers.ts", ""],
    ["src/core/common/key.ts", ""],
    ["src/core/streamReader.ts", ""],
  ],
};

const luaHeaders: Rule = {
  name: "a Lua script starts with what it does, its KEYS, its ARGV and what it returns",
  check: (files) =>
    files
      .filter((file) => file.path.endsWith(".lua"))
      .flatMap((file) => {
        const header = /^(--[^\n]*\n)+/.exec(file.text)?.[0] ?? "";
        const missing = [/KEYS/, /ARGV/, /\b(Returns?|Result)\b/].filter(
          (part) => !part.test(header),
        );
        return missing.length > 0 ? [`${file.path}: its header lacks ${missing.join(", ")}`] : [];
      }),
  planted: [
    ["src/core/a.lua", "return 1\n"],
    ["src/core/b.lua", "-- Counts. KEYS[1]: the counter. ARGV: none.\nreturn 1\n"],
  ],
};

export const RULES: readonly Rule[] = [
  importDirection,
  protocolIsPure,
  noCycles,
  clockAndEnvironment,
  noConsole,
  noAny,
  fileLength,
  functionLength,
  noBarrels,
  names,
  luaHeaders,
];
