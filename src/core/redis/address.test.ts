import { expect, test } from "bun:test";
import { isRedisUrl, parseRedisUrl } from "./address.ts";

const nobody = { username: undefined, password: undefined, tls: false };

test("a URL of one server names its host, port, database and user", () => {
  expect(parseRedisUrl("redis://redis")).toEqual({
    kind: "single",
    at: { host: "redis", port: 6379 },
    db: 0,
    ...nobody,
  });
  expect(parseRedisUrl("rediss://ann:p%40ss:word@[::1]:6380/3")).toEqual({
    kind: "single",
    at: { host: "::1", port: 6380 },
    db: 3,
    username: "ann",
    password: "p@ss:word",
    tls: true,
  });
  expect(parseRedisUrl("redis://:only@h:1")).toMatchObject({ password: "only" });
});

test("an absolute path is a unix socket, with or without a scheme", () => {
  for (const url of ["/run/r.sock", "unix:///run/r.sock", "redis+unix:///run/r.sock"]) {
    expect(parseRedisUrl(url)).toEqual({ kind: "single", at: "/run/r.sock", db: 0, ...nobody });
  }
});

test("a Sentinel URL names the Sentinels, the primary and the database", () => {
  const url =
    "rediss+sentinel://u:p@s1:1,s2,s3:3/main/2?sentinel_user=watch&sentinel_password=w%26";
  expect(parseRedisUrl(url)).toEqual({
    kind: "sentinel",
    sentinels: [
      { host: "s1", port: 1 },
      { host: "s2", port: 26379 },
      { host: "s3", port: 3 },
    ],
    name: "main",
    db: 2,
    username: "u",
    password: "p",
    sentinelUsername: "watch",
    sentinelPassword: "w&",
    tls: true,
  });
});

test("a Cluster URL names some of its nodes", () => {
  expect(parseRedisUrl("redis+cluster://a:7000,b:7001")).toEqual({
    kind: "cluster",
    seeds: [
      { host: "a", port: 7000 },
      { host: "b", port: 7001 },
    ],
    ...nobody,
  });
});

test("what is no such URL is refused with the reason, and never repeated", () => {
  const wrong: [url: string, reason: RegExp][] = [
    ["http://redis", /it takes redis:/],
    ["redis.sock", /it takes redis:/],
    ["redis://a,b", /several hosts/],
    ["redis://a:99999", /port/],
    ["redis://a:1/x", /number/],
    ["redis+sentinel://a:1", /name/],
    ["redis+cluster://a:1/4", /one database/],
  ];
  for (const [url, reason] of wrong) {
    expect(() => parseRedisUrl(url)).toThrow(reason);
    expect(isRedisUrl(url)).toBe(false);
  }
});
