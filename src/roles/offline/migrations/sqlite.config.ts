import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "sqlite",
  schema: "./src/roles/offline/schema_sqlite.ts",
  out: "./src/roles/offline/migrations/sqlite",
});
