import { expect, test } from "bun:test";

const GZIPPED_BYTES_MAX = 10_240;

test("the browser bundle is under 10 KB gzipped and brings no schema library", async () => {
  const entry = new URL("chatify.ts", import.meta.url).pathname;
  const { outputs } = await Bun.build({ entrypoints: [entry], target: "browser", minify: true });
  const text = await outputs[0]?.text();
  if (text === undefined) throw new Error("the bundler made nothing");
  expect(text).not.toContain("ZodError");
  expect(text).not.toContain("not_a_member");
  expect(Bun.gzipSync(text).length).toBeLessThan(GZIPPED_BYTES_MAX);
});
