import { describe, expect, test } from "bun:test";
import { Connection } from "./connection.ts";
import { settleSends } from "./send_answers.ts";

function waitingFor(...ids: string[]): Connection {
  const identity = {
    userId: "alice",
    deviceId: "d",
    expiresAt: null,
    issuedAt: 0,
    traceparent: "",
  };
  const conn = new Connection(1, identity, 0, 0, 10);
  conn.inFlight = new Map(ids.map((id, i) => [id, i + 1]));
  return conn;
}

const accepted = (id: string) => JSON.stringify({ type: "accepted", client_msg_id: id });

function settle(conn: Connection, frames: string): number[] {
  const times: number[] = [];
  settleSends(conn, frames, (at) => times.push(at));
  return times;
}

describe("answers to sends", () => {
  test("are found among other frames, whatever else these say", () => {
    const conn = waitingFor("a", "b", "c", "d");
    const frames = [
      '{"type":"sent","client_msg_id":"d","msg_id":"m"}',
      accepted("a"),
      JSON.stringify({ type: "typing", to_user_id: accepted("d") }),
      '{"type":"rejected","client_msg_id":"b","code":"overloaded"}',
      accepted("c"),
    ];
    expect(settle(conn, frames.join())).toEqual([1, 3]);
    expect([...(conn.inFlight?.keys() ?? [])]).toEqual(["d"]);
  });

  test("are found for ids that JSON escapes", () => {
    const ids = ['"', "\\", '\\"', 'a\\\\"b', "\u2028\n", '","client_msg_id":"x'];
    const conn = waitingFor(...ids);
    expect(settle(conn, ids.map(accepted).join())).toEqual([1, 2, 3, 4, 5, 6]);
    expect(conn.inFlight?.size).toBe(0);
  });

  test("count once, and only for what was sent", () => {
    const conn = waitingFor("a");
    expect(settle(conn, [accepted("x"), accepted("a"), accepted("a")].join())).toEqual([1]);
  });

  test("that are all there free the access node that owed them", () => {
    const conn = waitingFor("a");
    conn.previousAccess = "access-1";
    settle(conn, accepted("a"));
    expect(conn.previousAccess).toBeNull();
  });

  test("never make it throw, whatever the text is cut off at", () => {
    const text = accepted('a"\\');
    for (let i = 0; i < text.length; i++) settle(waitingFor("a"), text.slice(0, i));
  });
});
