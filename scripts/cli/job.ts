/** Push jobs: starting them, watching how far they have come, pausing, resuming, cancelling. */
import { existsSync } from "node:fs";
import { CliError, type Command, type Input } from "./command.ts";
import { ask, GATEWAY_OPTIONS, upload } from "./gateway_question.ts";
import { bar, type JobView, jobPage } from "./job_view.ts";
import { age, table } from "./table.ts";

const PATH = "/chatify/logic/v1/pushJobs";
const WATCH_MS = 1_000;
const ACTIONS = ["create", "list", "show", "watch", "pause", "resume", "cancel"] as const;

export const job: Command = {
  name: "job",
  summary: "Pushes one content to many users, as a job that can be watched, paused and cancelled",
  usage: `<${ACTIONS.join("|")}> [job id | content] [options]`,
  argumentsMax: 2,
  options: {
    ...GATEWAY_OPTIONS,
    list: { takes: "text", help: "create: a file with a user id per line; - for stdin" },
    group: { takes: "text", help: "create: for the members of a group" },
    tag: { takes: "text", help: "create: for the users who have a tag" },
    online: { takes: "nothing", help: "create: for everybody who is online" },
    rate: { takes: "number", help: "create: messages per second; default: as fast as may be" },
    start: { takes: "number", help: "create: seconds from now at which it starts" },
    expire: { takes: "number", help: "create: seconds after its start at which it expires" },
    from: { takes: "text", help: "create: the sender that users see; default: system" },
    type: { takes: "text", help: "create: NOTICE (default), INFORM, or any other" },
    id: { takes: "text", help: "create: the same id again is the same job" },
    watch: { takes: "nothing", help: "create, show: stay until it has ended" },
  },
  async run(input) {
    const [action = "list", argument] = input.rest;
    if (action === "list") return list(input);
    if (action === "create") return create(input, argument);
    if (argument === undefined) throw new CliError("usage", `job ${action} takes a job id`);
    const path = `${PATH}/${encodeURIComponent(argument)}`;
    switch (action) {
      case "show":
        return show(input, (await ask(input, path)) as JobView);
      case "watch":
        return watch(input, argument);
      case "pause":
      case "resume":
        return show(input, (await ask(input, `${path}/${action}`, {})) as JobView);
      case "cancel":
        return show(input, (await ask(input, path, undefined, "DELETE")) as JobView);
    }
    throw new CliError("usage", `job takes ${ACTIONS.join(", ")}; got "${action}"`);
  },
};

async function show(input: Input, view: JobView): Promise<number> {
  if (input.flag("watch")) return watch(input, view.job_id);
  input.print(jobPage(view, Date.now()), view);
  return 0;
}

async function list(input: Input): Promise<number> {
  const answer = (await ask(input, PATH)) as { jobs: JobView[] };
  const now = Date.now();
  const rows = answer.jobs.map((view) => {
    const { accepted, acked, stored_offline, waiting } = view.counts;
    const made = view.created_at === null ? "-" : `${age(now - view.created_at)} ago`;
    const [sent, total] = [accepted - waiting, accepted];
    const counts = [total, acked, stored_offline].map(String);
    return [view.job_id, view.state, made, bar(sent, total, 12), ...counts];
  });
  const head = ["job", "state", "made", "sent", "users", "acked", "stored"];
  input.print(rows.length === 0 ? "there are no jobs" : table(head, rows), answer);
  return 0;
}

async function create(input: Input, content: string | undefined): Promise<number> {
  if (content === undefined) throw new CliError("usage", 'the content is missing: create "text"');
  const description = {
    content: Buffer.from(content, "utf8").toString("base64"),
    push_type: input.text("type"),
    from_user_id: input.text("from"),
    to_group_id: input.text("group"),
    to_tag: input.text("tag"),
    ...(input.flag("online") ? { to_online: true } : {}),
    rate: input.number("rate"),
    start_time: input.number("start"),
    expire_time: input.number("expire"),
  };
  const head = `${JSON.stringify(description)}\n`;
  const file = input.text("list");
  const key = input.text("id");
  const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
  const users = file === undefined ? null : usersOf(file);
  const body = users === null ? head : withHead(head, users);
  const sent = { body, headers: { ...headers, "content-type": "application/x-ndjson" } };
  return show(input, (await upload(input, PATH, sent)) as JobView);
}

function usersOf(file: string): ReadableStream<Uint8Array> {
  if (file === "-") return Bun.stdin.stream();
  if (!existsSync(file)) throw new CliError("not_found", `there is no file ${file}`);
  return Bun.file(file).stream();
}

/** Read as it is sent, so that a list of any length takes no room here. */
function withHead(head: string, rest: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = rest.getReader();
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(head));
    },
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

/** In a terminal the page is drawn over itself; elsewhere a line is written when it changes. */
async function watch(input: Input, id: string): Promise<number> {
  const path = `${PATH}/${encodeURIComponent(id)}`;
  let drawn = 0;
  let last = "";
  for (;;) {
    const view = (await ask(input, path)) as JobView;
    const page = jobPage(view, Date.now());
    const { accepted, in_flight, waiting } = view.counts;
    const hasEnded = view.state === "finished" || view.state === "cancelled";
    if (hasEnded && in_flight === 0) {
      if (drawn > 0) process.stderr.write(`\x1b[${drawn}A\x1b[J`);
      input.print(page, view);
      return 0;
    }
    if (process.stderr.isTTY) {
      if (drawn > 0) process.stderr.write(`\x1b[${drawn}A\x1b[J`);
      process.stderr.write(`${page}\n`);
      drawn = page.split("\n").length;
    } else {
      const line = `${view.state}: ${accepted - waiting} of ${accepted} sent, ${in_flight} under way`;
      if (line !== last) input.note(line);
      last = line;
    }
    await Bun.sleep(WATCH_MS);
  }
}
