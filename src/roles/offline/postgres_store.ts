import type { OfflineEngine } from "./engine.ts";
export async function openPostgresStore(_: { url: string }): Promise<OfflineEngine> {
  throw new Error("the Postgres store is being written");
}
