/**
 * Generates migrations from the two schemas with drizzle-kit, and the lists that embed them:
 * `bun run src/roles/offline/migrations/generate.ts [name]`. Run at development time only.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const here = import.meta.dir;
const root = join(here, "../../../..");
const Journal = z.object({ entries: z.array(z.object({ tag: z.string() })) });

function run(...command: string[]): void {
  const { success } = Bun.spawnSync(command, { cwd: root, stdout: "inherit", stderr: "inherit" });
  if (!success) throw new Error(`${command.join(" ")} failed`);
}

/** The text of the list file of `engine` for these tags. */
export function migrationList(engine: string, tags: readonly string[]): string {
  const imports = tags.map((tag, i) => {
    return `import step${i} from "./${engine}/${tag}.sql" with { type: "text" };`;
  });
  return [
    "// Written by generate.ts; do not edit.",
    'import type { Migration } from "./migration.ts";',
    ...imports,
    "",
    `export const ${engine}Migrations: readonly Migration[] = [`,
    ...tags.map((tag, i) => `  { tag: "${tag}", sql: step${i} },`),
    "];",
    "",
  ].join("\n");
}

export async function journalTags(engine: string): Promise<string[]> {
  const journal = Journal.parse(await Bun.file(join(here, engine, "meta/_journal.json")).json());
  return journal.entries.map((entry) => entry.tag);
}

if (import.meta.main) {
  const name = process.argv[2];
  for (const engine of ["sqlite", "postgres"]) {
    const config = `src/roles/offline/migrations/${engine}.config.ts`;
    const named = name === undefined ? [] : ["--name", name];
    run("bunx", "drizzle-kit", "generate", "--config", config, ...named);
    const list = migrationList(engine, await journalTags(engine));
    writeFileSync(join(here, `${engine}_list.ts`), list);
  }
  run("bunx", "biome", "format", "--write", here);
}
