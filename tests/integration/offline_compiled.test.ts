import { expect, test } from "bun:test";
import { join } from "node:path";
import { temporaryDirectory } from "./offline_stores.ts";

test("a compiled executable makes its own tables, away from the sources", async () => {
  const directory = temporaryDirectory();
  const executable = join(directory.path, "writer");
  const source = join(import.meta.dir, "offline_writer.fixture.ts");
  const build = Bun.spawnSync(["bun", "build", "--compile", source, "--outfile", executable]);
  expect(build.stderr.toString()).not.toContain("error");
  const url = `sqlite:${join(directory.path, "offline.db")}`;
  const writer = Bun.spawn([executable, url], { cwd: directory.path, stdout: "pipe" });
  const { value } = await writer.stdout.getReader().read();
  writer.kill("SIGKILL");
  await writer.exited;
  expect(new TextDecoder().decode(value)).toStartWith("open\n");
  directory.remove();
}, 60_000);
