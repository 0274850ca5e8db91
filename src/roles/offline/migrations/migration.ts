/**
 * A step of the database schema, as drizzle-kit generated it. The texts are imported, not read, so
 * that they stand in the compiled executable. Applied steps are recorded in `offline_migrations`.
 */
export interface Migration {
  readonly tag: string;
  readonly sql: string;
}

export interface AppliedMigration {
  readonly tag: string;
  readonly hash: string;
}

export const CREATE_LEDGER =
  "CREATE TABLE IF NOT EXISTS offline_migrations (tag text PRIMARY KEY, hash text NOT NULL)";
export const READ_LEDGER = "SELECT tag, hash FROM offline_migrations";

export function statementsOf(migration: Migration): string[] {
  return migration.sql.split("--> statement-breakpoint").map((statement) => statement.trim());
}

export function hashOf(migration: Migration): string {
  return new Bun.CryptoHasher("sha256").update(migration.sql).digest("hex");
}

/** What is still to be applied; throws when an applied step is not the one in this program. */
export function pendingMigrations(
  migrations: readonly Migration[],
  applied: readonly AppliedMigration[],
): Migration[] {
  const hashes = new Map(applied.map(({ tag, hash }) => [tag, hash]));
  return migrations.filter((migration) => {
    const hash = hashes.get(migration.tag);
    if (hash === undefined) return true;
    if (hash === hashOf(migration)) return false;
    throw new Error(`migration ${migration.tag} differs from what this database was made with`);
  });
}
