import { expect, test } from "bun:test";
import { mayCall, scopesFor } from "./scopes.ts";

const opens = (granted: readonly string[], method: string, path: string) =>
  mayCall(granted, scopesFor(method, `/chatify/${path}`));

test("a key for pushing pushes and watches its jobs, and does nothing else", () => {
  for (const [method, path] of [
    ["POST", "logic/v1/sendSystemPush"],
    ["POST", "offline/v1/ArchiveMessages"],
    ["POST", "logic/v1/pushJobs"],
    ["GET", "logic/v1/pushJobs/j1"],
    ["POST", "logic/v1/pushJobs/j1/pause"],
    ["DELETE", "logic/v1/pushJobs/j1"],
  ] as const) {
    expect(opens(["push"], method, path)).toBe(true);
  }
  for (const [method, path] of [
    ["GET", "logic/v1/groups/g"],
    ["POST", "logic/v1/groups"],
    ["POST", "push/v1/BatchQueryOnline"],
    ["GET", "offline/v1/RetrieveOfflineMessages"],
    ["POST", "offline/v1/AcknowledgeMessages"],
    ["POST", "push/v1/users/u/kick"],
    ["POST", "logic/v1/sendSystemPush/more"],
  ] as const) {
    expect(opens(["push"], method, path)).toBe(false);
  }
});

test("a key for reading changes nothing", () => {
  expect(opens(["read"], "GET", "logic/v1/groups/g")).toBe(true);
  expect(opens(["read"], "HEAD", "logic/v1/groups/g")).toBe(true);
  expect(opens(["read"], "POST", "push/v1/BatchQueryOnline")).toBe(true);
  for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
    expect(opens(["read"], method, "logic/v1/groups/g")).toBe(false);
  }
});

test("admin may do everything, also on routes that no rule knows", () => {
  expect(opens(["admin"], "DELETE", "logic/v1/groups/g")).toBe(true);
  expect(opens(["push", "admin"], "POST", "push/v1/anything")).toBe(true);
  expect(opens(["push", "read"], "POST", "push/v1/anything")).toBe(false);
});
