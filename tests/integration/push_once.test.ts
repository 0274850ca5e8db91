/**
 * A system push as backends send it: to processes that come and go, again and again with one key, and
 * in the shapes that load scripts have.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Cluster } from "./cluster.ts";
import { RawClient } from "./raw_client.ts";

setDefaultTimeout(60_000);
const PATH = "/chatify/logic/v1/sendSystemPush";
const content = Buffer.from("once").toString("base64");

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start({ layout: "split" });
}, 60_000);
afterAll(async () => {
  await cluster?.stop();
}, 60_000);

const logics = () => cluster.nodes.filter(({ roles }) => roles === "logic");
const urlOf = (node: (typeof cluster.nodes)[number]) =>
  `http://127.0.0.1:${node.ports.logic}${PATH}`;

interface Answer {
  readonly status: number;
  readonly body: { readonly task_id?: string; readonly msg_ids?: string[]; readonly code?: string };
}

async function push(url: string, body: object, key?: string): Promise<Answer> {
  const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, body: (await answer.json()) as Answer["body"] };
}

test("a key gives the same ids at every node, after kill -9, and the message arrives once", async () => {
  const [gateway = ""] = cluster.gateways();
  const users = Array.from({ length: 40 }, (_, i) => `once-${i}`);
  const ann = await RawClient.connect(gateway, "once-0");
  const body = { content, to_user_ids: users, from_user_id: "shop" };
  const [a, b] = logics();
  if (a === undefined || b === undefined) throw new Error("there are not two logic nodes");
  // At once, to both nodes and through the gateway: some of them cut into each other.
  const first = await Promise.all(
    [urlOf(a), urlOf(b), `http://${gateway}${PATH}`, urlOf(a)].map((url) => push(url, body, "k")),
  );
  expect(new Set(first.map((answer) => JSON.stringify(answer))).size).toBe(1);
  expect(first[0]?.status).toBe(200);
  expect(new Set(first[0]?.body.msg_ids).size).toBe(40);
  await cluster.kill(a, "SIGKILL");
  await cluster.add(a.name, "logic");
  for (const node of logics())
    expect(await push(urlOf(node), body, "k")).toEqual(first[0] as Answer);
  const other = await push(urlOf(b), { ...body, content: "" }, "k");
  expect([other.status, other.body.code]).toEqual([422, "key_reused"]);
  await push(urlOf(b), { ...body, to_user_ids: ["once-0"] }, "another");
  const got = await ann.received(2);
  expect(got.map(({ msg_id }) => msg_id)[0]).toBe(first[0]?.body.msg_ids?.[0] as string);
  expect(ann.messages.length).toBe(2);
  ann.close();
});

test("a push whose answer was lost halfway is completed by its repetition, and not done twice", async () => {
  const [gateway = ""] = cluster.gateways();
  const users = Array.from({ length: 30 }, (_, i) => `half-${i}`);
  const clients = await Promise.all(users.map((user) => RawClient.connect(gateway, user)));
  const body = { content, to_user_ids: users };
  for (let round = 0; round < 3; round++) {
    const [victim] = logics();
    if (victim === undefined) throw new Error("no node runs logic");
    const asked = push(urlOf(victim), body, `half ${round}`.replace(" ", "-")).catch(() => null);
    await Bun.sleep(round * 2);
    await cluster.kill(victim, "SIGKILL");
    await asked;
    await cluster.add(victim.name, "logic");
    const [node] = logics();
    if (node === undefined) throw new Error("no node runs logic");
    expect((await push(urlOf(node), body, `half-${round}`)).status).toBe(200);
    for (const client of clients) await client.received(round + 1);
  }
  await Bun.sleep(500);
  for (const client of clients) expect(client.messages.length).toBe(3);
  for (const client of clients) client.close();
});

test("what load scripts send is answered 200, and reaches who is online", async () => {
  const [gateway = ""] = cluster.gateways();
  const [node] = logics();
  if (node === undefined) throw new Error("no node runs logic");
  const client = await RawClient.connect(gateway, "10001");
  const nowMs = Date.now();
  const bodies = [
    {
      content_id: 1,
      content,
      timestamp: nowMs,
      push_type: 1,
      from_user_id: 7,
      to_user_ids: [10_001],
    },
    {
      content_id: "1",
      content,
      timestamp: `${nowMs}`,
      push_type: "NOTICE",
      to_user_ids: ["10001"],
    },
    { content: "plain text", to_user_ids: ["10001"], expire_time: `${nowMs + 60_000}`, extra: {} },
    {
      contentId: 9e15,
      content,
      toUserIds: ["10001"],
      pushType: 99,
      expireTime: "3600",
      fromUserId: "x y",
    },
    { content, to_user_ids: "10001", expire_time: -1, timestamp: nowMs / 1_000 },
  ];
  for (const body of bodies) expect((await push(urlOf(node), body)).status).toBe(200);
  // One connection that is kept, without a content type, as wrk has it.
  const text = JSON.stringify(bodies[0]);
  const request = `POST ${PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
  let got = "";
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: node.ports.logic ?? 0,
    socket: {
      data(_, data) {
        got += data.toString();
      },
    },
  });
  for (let i = 1; i <= 20; i++) {
    socket.write(request);
    const answers = () => got.split("HTTP/1.1 200").length - 1;
    for (let waited = 0; answers() < i && waited < 5_000; waited += 5) await Bun.sleep(5);
    expect(answers()).toBe(i);
  }
  socket.end();
  expect((await client.received(25)).length).toBe(25);
  client.close();
});

test("a push while Redis does not answer is a 503 with Retry-After, and its repetition is the same", async () => {
  const [gateway = ""] = cluster.gateways();
  const [node] = logics();
  if (node === undefined) throw new Error("no node runs logic");
  const client = await RawClient.connect(gateway, "patient");
  const body = JSON.stringify({ content, to_user_ids: ["patient"] });
  const send = (key: string) =>
    fetch(urlOf(node), { method: "POST", headers: { "idempotency-key": key }, body });
  cluster.redis?.stall();
  const refused = await send("patient-1");
  expect(refused.status).toBe(503);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
  expect(await refused.json()).toMatchObject({ retryable: true });
  cluster.redis?.goOn();
  let status = 0;
  for (let i = 0; i < 50 && status !== 200; i++) {
    status = (await send("patient-1")).status;
    if (status !== 200) await Bun.sleep(200);
  }
  expect(status).toBe(200);
  await send("patient-2");
  // The second push comes after whatever there is of the first.
  await client.received(2);
  expect(client.unique().length).toBe(2);
  client.close();
});
