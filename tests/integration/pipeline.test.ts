/**
 * The way of a message on real processes and real Redis: once with everything in one process, once
 * with every role by itself and two of all that may be several.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Cluster, type Layout } from "./cluster.ts";
import { RawClient } from "./raw_client.ts";

const START_MS = 60_000;

for (const layout of ["all", "split"] satisfies Layout[]) {
  describe(`a cluster with layout ${layout}`, () => {
    let cluster: Cluster;
    let names = 0;
    const user = (name: string) => `${name}${++names}`;
    const gateway = (i: number) => {
      const gateways = cluster.gateways();
      return gateways[i % gateways.length] as string;
    };
    const post = (path: string, body: object) =>
      fetch(`http://${gateway(0)}${path}`, { method: "POST", body: JSON.stringify(body) });

    beforeAll(async () => {
      cluster = await Cluster.start({ layout });
    }, START_MS);
    afterAll(async () => {
      await cluster?.stop();
    }, START_MS);

    test("carries a message from one user to another, numbered and acked", async () => {
      const [alice, bob] = [user("alice"), user("bob")];
      const a = await RawClient.connect(gateway(0), alice);
      const b = await RawClient.connect(gateway(1), bob);
      a.chat(bob, "hello", "c1");
      await a.frame("accepted", (f) => f.client_msg_id === "c1");
      const sent = await a.frame("sent", (f) => f.client_msg_id === "c1");
      const [message] = await b.received(1);
      expect(message).toMatchObject({
        msg_id: sent.msg_id,
        seq: 1,
        from_user_id: alice,
        to_user_id: bob,
        content: "hello",
        message_type: "CHAT",
        target_type: "USER",
        client_msg_id: "c1",
      });
      a.close();
      b.close();
    });

    test("keeps messages for a user who is offline and replays them in order", async () => {
      const [alice, carol] = [user("alice"), user("carol")];
      const a = await RawClient.connect(gateway(0), alice);
      for (let i = 1; i <= 20; i++) a.chat(carol, `m${i}`, `c${i}`);
      await a.until(() => a.frames.filter((f) => f.type === "sent").length === 20, "20 sent");
      const c = await RawClient.connect(gateway(1), carol);
      const messages = await c.received(20);
      expect(messages.map((m) => m.content)).toEqual([...Array(20)].map((_, i) => `m${i + 1}`));
      a.chat(carol, "live again", "c21");
      expect((await c.received(21))[20]).toMatchObject({ content: "live again", seq: 21 });
      c.close();
      await c.closed;
      const again = await RawClient.connect(gateway(0), carol);
      a.chat(carol, "after", "c22");
      await again.received(1);
      expect(again.unique().map((m) => m.content)).toEqual(["after"]);
      a.close();
      again.close();
    });

    test("answers a repeated client message id with the same msg_id and delivers once", async () => {
      const [alice, bob] = [user("alice"), user("bob")];
      const a = await RawClient.connect(gateway(0), alice);
      const b = await RawClient.connect(gateway(1), bob);
      a.chat(bob, "once", "same");
      const first = await a.frame("sent");
      const other = await RawClient.connect(gateway(1), alice, "d2");
      other.chat(bob, "once", "same");
      const second = await other.frame("sent");
      expect([second.msg_id, second.seq]).toEqual([first.msg_id, first.seq]);
      a.chat(bob, "marker", "next");
      await b.until(() => b.messages.some((m) => m.content === "marker"), "the marker");
      expect(b.messages.map((m) => m.content)).toEqual(["once", "marker"]);
      for (const client of [a, b, other]) client.close();
    });

    test("delivers to every device of a user", async () => {
      const [alice, bob] = [user("alice"), user("bob")];
      const a = await RawClient.connect(gateway(0), alice);
      const phone = await RawClient.connect(gateway(0), bob, "phone");
      const laptop = await RawClient.connect(gateway(1), bob, "laptop");
      for (let i = 1; i <= 5; i++) a.chat(bob, `m${i}`, `c${i}`);
      const [onPhone, onLaptop] = [await phone.received(5), await laptop.received(5)];
      expect(onPhone.map((m) => m.seq)).toEqual([1, 2, 3, 4, 5]);
      expect(onLaptop.map((m) => m.seq)).toEqual([1, 2, 3, 4, 5]);
      for (const client of [a, phone, laptop]) client.close();
    });

    test("ends the older connection when a device connects again", async () => {
      const bob = user("bob");
      const first = await RawClient.connect(gateway(0), bob, "phone");
      const second = await RawClient.connect(gateway(1), bob, "phone");
      expect(await first.closed).toBe(4100);
      second.close();
    });

    test("stores what a connected device never acks and delivers it at the next connect", async () => {
      const [alice, bob] = [user("alice"), user("bob")];
      const a = await RawClient.connect(gateway(0), alice);
      const deaf = await RawClient.connect(gateway(1), bob);
      deaf.acking = false;
      for (let i = 1; i <= 3; i++) a.chat(bob, `m${i}`, `c${i}`);
      await deaf.received(3);
      deaf.terminate();
      const back = await RawClient.connect(gateway(0), bob, "other");
      const messages = await back.received(3);
      expect(messages.map((m) => m.content)).toEqual(["m1", "m2", "m3"]);
      a.close();
      back.close();
    }, 30_000);

    test("fans a group message out to members only, and not to its sender", async () => {
      const [alice, bob, carol, eve] = [user("alice"), user("bob"), user("carol"), user("eve")];
      const group = user("group");
      const members = [alice, bob, carol];
      const made = await post("/chatify/logic/v1/groups", {
        group_id: group,
        owner_id: alice,
        members,
      });
      expect(made.status).toBeLessThan(300);
      const clients = await Promise.all(
        [alice, bob, carol, eve].map((id, i) => RawClient.connect(gateway(i), id)),
      );
      const [a, b, c, e] = clients as [RawClient, RawClient, RawClient, RawClient];
      a.chat(group, "to all", "g1", { target_type: "GROUP" });
      expect((await b.received(1))[0]).toMatchObject({ content: "to all", seq: 1 });
      expect((await c.received(1))[0]).toMatchObject({ content: "to all", target_type: "GROUP" });
      e.chat(group, "let me in", "g2", { target_type: "GROUP" });
      expect(await e.frame("rejected")).toMatchObject({ code: "not_a_member", retryable: false });
      await post(`/chatify/logic/v1/groups/${group}/members`, { user_ids: [eve] });
      e.chat(group, "now I am in", "g3", { target_type: "GROUP" });
      expect((await a.received(1))[0]).toMatchObject({ content: "now I am in", seq: 2 });
      expect(e.messages).toEqual([]);
      for (const client of clients) client.close();
    });

    test("rejects a message to a user who blocks its sender", async () => {
      const [alice, bob] = [user("alice"), user("bob")];
      const a = await RawClient.connect(gateway(0), alice);
      const url = `http://${gateway(0)}/chatify/logic/v1/users/${bob}/blocks/${alice}`;
      a.chat(bob, "before", "c1");
      await a.frame("sent");
      expect((await fetch(url, { method: "PUT" })).status).toBeLessThan(300);
      a.chat(bob, "blocked", "c2");
      expect(await a.frame("rejected")).toMatchObject({ client_msg_id: "c2", code: "blocked" });
      expect((await fetch(url, { method: "DELETE" })).status).toBeLessThan(300);
      a.chat(bob, "after", "c3");
      await a.frame("sent", (f) => f.client_msg_id === "c3");
      a.close();
    });

    test("relays typing, read and presence without storing them", async () => {
      const [alice, bob] = [user("alice"), user("bob")];
      const a = await RawClient.connect(gateway(0), alice);
      a.send({ type: "watch", user_ids: [bob] });
      await a.frame("presence", (f) => f.user_id === bob && f.online === false);
      const b = await RawClient.connect(gateway(1), bob);
      await a.frame("presence", (f) => f.user_id === bob && f.online === true);
      a.send({ type: "typing", to_user_id: bob });
      expect(await b.frame("typing")).toMatchObject({ from_user_id: alice, to_user_id: bob });
      b.send({ type: "read", to_user_id: alice, seq: 7 });
      expect(await a.frame("read")).toMatchObject({ from_user_id: bob, seq: 7 });
      b.close();
      await a.until(
        () => a.frames.filter((f) => f.type === "presence").length === 3,
        "bob to be seen leaving",
      );
      a.close();
    });

    test("takes a system push over HTTP and delivers it, live and from the store", async () => {
      const [here, away] = [user("here"), user("away")];
      const h = await RawClient.connect(gateway(1), here);
      const content = Buffer.from("news").toString("base64");
      const answer = await post("/chatify/logic/v1/sendSystemPush", {
        content_id: "n1",
        content,
        timestamp: "1700000000",
        push_type: "NOTICE",
        from_user_id: "newsroom",
        to_user_ids: [here, away],
        expire_time: "0",
      });
      expect(answer.status).toBe(200);
      const { msg_ids } = (await answer.json()) as { msg_ids: string[] };
      expect((await h.received(1))[0]).toMatchObject({
        msg_id: msg_ids[0],
        content,
        content_id: "n1",
        target_type: "SYSTEM",
        to_user_id: here,
      });
      const a = await RawClient.connect(gateway(0), away);
      expect((await a.received(1))[0]).toMatchObject({ msg_id: msg_ids[1], to_user_id: away });
      h.close();
      a.close();
    });

    test("says who is online and hands offline messages out over HTTP", async () => {
      const [alice, dave] = [user("alice"), user("dave")];
      const a = await RawClient.connect(gateway(0), alice);
      const online = await post("/chatify/push/v1/BatchQueryOnline", { user_ids: [alice, dave] });
      expect(await online.json()).toMatchObject({
        users: [
          { user_id: alice, online: true },
          { user_id: dave, online: false },
        ],
      });
      a.chat(dave, "for later", "c1");
      const { msg_id } = await a.frame("sent");
      const list = `http://${gateway(0)}/chatify/offline/v1/RetrieveOfflineMessages?user_id=${dave}`;
      let messages: { msg_id: string }[] = [];
      for (let i = 0; i < 100 && messages.length === 0; i++) {
        ({ messages } = (await (await fetch(list)).json()) as typeof messages & {
          messages: { msg_id: string }[];
        });
        await Bun.sleep(20);
      }
      expect(messages).toMatchObject([{ msg_id, content: "for later", seq: 1 }]);
      await post("/chatify/offline/v1/AcknowledgeMessages", { user_id: dave, msg_ids: [msg_id] });
      const after = (await (await fetch(list)).json()) as { messages: unknown[] };
      expect(after.messages).toEqual([]);
      a.close();
    });

    test("delivers what is archived over HTTP, at once to who is online and later to who is not", async () => {
      const [here, away] = [user("here"), user("away")];
      const h = await RawClient.connect(gateway(0), here);
      for (const to of [here, away]) {
        const message = {
          msg_id: `import-${to}`,
          message_type: "CHAT",
          from_user_id: "importer",
          target_type: "USER",
          to_user_id: to,
          content: "from the old system",
          timestamp: 1_700_000_000,
          expire_time: 0,
          content_id: "",
          conversation_id: `u:importer:${to}`,
          seq: 1,
          client_msg_id: "i1",
        };
        const body = { user_id: to, messages: [message] };
        expect((await post("/chatify/offline/v1/ArchiveMessages", body)).status).toBe(200);
      }
      expect((await h.received(1))[0]).toMatchObject({ content: "from the old system" });
      const a = await RawClient.connect(gateway(1), away);
      expect((await a.received(1))[0]).toMatchObject({ msg_id: `import-${away}` });
      h.close();
      a.close();
    });

    test("puts DATAREPORT aside, refuses reserved CONTROL ops, and expires in time", async () => {
      const [alice, bob] = [user("alice"), user("bob")];
      const a = await RawClient.connect(gateway(0), alice);
      const b = await RawClient.connect(gateway(1), bob);
      a.chat(bob, '{"clicks":3}', "c1", { message_type: "DATAREPORT" });
      expect(await a.frame("sent")).toMatchObject({ client_msg_id: "c1", seq: 0 });
      a.chat(bob, '{"op":"chatify.kick"}', "c2", { message_type: "CONTROL" });
      expect(await a.frame("rejected")).toMatchObject({ client_msg_id: "c2", code: "forbidden" });
      a.chat(bob, "too late", "c3", { expire_time: 1_000 });
      expect(await a.frame("rejected", (f) => f.client_msg_id === "c3")).toMatchObject({
        code: "expired",
      });
      a.chat(bob, '{"op":"recall","seq":1}', "c4", { message_type: "CONTROL" });
      const [message] = await b.received(1);
      expect(message).toMatchObject({ message_type: "CONTROL", seq: 1 });
      expect(b.messages).toHaveLength(1);
      a.close();
      b.close();
    });

    test("answers a malformed frame with a code and goes on", async () => {
      const alice = user("alice");
      const a = await RawClient.connect(gateway(0), alice);
      a.send({ type: "send", to_user_id: "bob" });
      expect(await a.frame("error")).toMatchObject({ code: "bad_frame", retryable: false });
      a.send({ type: "ping" });
      await a.frame("pong");
      a.close();
    });
  });
}
