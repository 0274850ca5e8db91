import { expect, test } from "bun:test";
import { SLOTS, SlotMap } from "./slot_map.ts";

const asked = { host: "10.0.0.9", port: 7_000 };
const nodes = (epochs: [number, number, number], third = "10923-16383") =>
  [
    `aa 10.0.0.1:7001@17001,one.example myself,master - 0 0 ${epochs[0]} connected 0-5460 [5461->-bb]`,
    `bb 10.0.0.2:7002@17002,two.example master - 0 0 ${epochs[1]} connected 5461-10922`,
    `cc 10.0.0.3:7003@17003 master - 0 0 ${epochs[2]} connected ${third}`,
    "dd 10.0.0.4:7004@17004 slave aa 0 0 1 connected",
    "",
  ].join("\n");

test("slots belong to the masters that claim them, and to nobody before", () => {
  const map = new SlotMap();
  expect(map.ownerOf(0)).toBeNull();
  expect(map.isWhole()).toBe(false);
  map.learn(nodes([1, 2, 3]), asked, false);
  expect(map.isWhole()).toBe(true);
  expect(map.ownerOf(5_460)).toEqual({ host: "10.0.0.1", port: 7_001 });
  expect(map.ownerOf(5_461)).toEqual({ host: "10.0.0.2", port: 7_002 });
  expect(map.ownerOf(SLOTS - 1)).toEqual({ host: "10.0.0.3", port: 7_003 });
  expect(map.masters()).toHaveLength(3);
});

test("names are taken instead of addresses where they are asked for", () => {
  const map = new SlotMap();
  map.learn(nodes([1, 2, 3]), asked, true);
  expect(map.ownerOf(0)).toEqual({ host: "one.example", port: 7_001 });
  expect(map.ownerOf(SLOTS - 1)).toEqual({ host: "10.0.0.3", port: 7_003 });
});

test("a claim with an earlier epoch than the one that stands changes nothing", () => {
  const map = new SlotMap();
  map.learn(nodes([1, 2, 3]), asked, false);
  map.learn("ee 10.0.0.4:7004@17004 master - 0 0 9 connected 0-5460\n", asked, false);
  map.learn(nodes([1, 2, 3]), asked, false);
  expect(map.ownerOf(7)).toEqual({ host: "10.0.0.4", port: 7_004 });
});

test("a MOVED reply is believed at once; without a host it means the one that was asked", () => {
  const map = new SlotMap();
  map.learn(nodes([1, 2, 3]), asked, false);
  map.moved("MOVED 7 10.0.0.5:7005", asked);
  map.moved("MOVED 8 :7006", asked);
  map.moved("MOVED x", asked);
  expect(map.ownerOf(7)).toEqual({ host: "10.0.0.5", port: 7_005 });
  expect(map.ownerOf(8)).toEqual({ host: "10.0.0.9", port: 7_006 });
  expect(map.ownerOf(9)).toEqual({ host: "10.0.0.1", port: 7_001 });
});
