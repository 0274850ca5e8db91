import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: "./src/roles/offline/schema_postgres.ts",
  out: "./src/roles/offline/migrations/postgres",
});
