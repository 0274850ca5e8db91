import { expect, test } from "bun:test";
import { checkEndpoint, checkedLookup, isPublicAddress } from "./address_check.ts";

const strict = { allowHttp: false, allowPrivate: false };

test("addresses that are not public are known in every notation", () => {
  const no = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.9.9.9",
    "169.254.169.254",
    "172.31.255.255",
    "192.168.1.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "fd00::1",
    "fe80::1",
    "ff02::1",
    "not an address",
  ];
  const yes = ["1.1.1.1", "172.32.0.1", "142.250.1.1", "2606:4700::1111", "2a00:1450:4001::5e"];
  expect(no.filter(isPublicAddress)).toEqual([]);
  expect(yes.filter((address) => !isPublicAddress(address))).toEqual([]);
});

test("an endpoint is https, at no private address and with no password", () => {
  const refused = [
    "http://push.example.net/x",
    "ftp://push.example.net/x",
    "https://user:pass@push.example.net/x",
    "https://localhost/x",
    "https://a.localhost/x",
    "https://127.0.0.1/x",
    "https://2130706433/x",
    "https://0x7f.1/x",
    "https://[::1]/x",
    "https://[::ffff:10.0.0.1]/x",
    "https://169.254.169.254/latest",
  ];
  for (const endpoint of refused) {
    expect(() => checkEndpoint(endpoint, strict), endpoint).toThrow("endpoint:");
  }
  expect(checkEndpoint("https://push.example.net/x", strict).host).toBe("push.example.net");
  const dev = { allowHttp: true, allowPrivate: true };
  expect(checkEndpoint("http://127.0.0.1:9/x", dev).port).toBe("9");
});

test("a name whose address is private gets no connection", async () => {
  const found = (allowPrivate: boolean) =>
    new Promise((resolve) => {
      const look = checkedLookup(allowPrivate);
      look("localhost", { all: true }, (error, addresses) => resolve(error?.message ?? addresses));
    });
  expect(await found(false)).toBe("localhost has no public address");
  expect(await found(true)).toContainEqual({ address: "127.0.0.1", family: 4 });
});
