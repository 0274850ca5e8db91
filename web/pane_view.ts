/** What a pane looks like: its elements, named, and nothing that happens to them. */
import type { ClientStats } from "../sdk/chatify.ts";
import { element } from "./element.ts";
import { MessageList } from "./message_list.ts";

const COUNTERS = ["sent", "received", "acked", "retries", "duplicates", "connections"] as const;

export interface PaneView {
  readonly root: HTMLElement;
  readonly signIn: HTMLFormElement;
  readonly user: HTMLInputElement;
  readonly toggle: HTMLButtonElement;
  readonly peer: HTMLElement;
  readonly typing: HTMLElement;
  readonly banner: HTMLElement;
  readonly bannerText: HTMLElement;
  readonly bannerClose: HTMLButtonElement;
  readonly problem: HTMLElement;
  readonly messages: MessageList;
  readonly composer: HTMLFormElement;
  readonly input: HTMLInputElement;
  readonly inputLabel: HTMLLabelElement;
  /** Shows the sums. */
  count(stats: readonly Readonly<ClientStats>[]): void;
}

/** `side` is the prefix of every id and data-testid in it. */
export function paneView(side: string, userId: string): PaneView {
  const id = (name: string) => `${side}-${name}`;
  const named = (name: string) => ({ "data-testid": id(name) });
  const user = element("input", {
    ...named("user"),
    id: id("user"),
    value: userId,
    required: true,
    maxlength: 128,
    autocomplete: "off",
    autocapitalize: "none",
    spellcheck: "false",
  });
  const signIn = element(
    "form",
    { class: "sign-in" },
    element("label", { for: id("user") }, "Signed in as"),
    user,
    element("button", { ...named("sign-in"), type: "submit", class: "quiet" }, "Sign in"),
  );
  const toggle = element("button", {
    ...named("connection"),
    type: "button",
    role: "switch",
    class: "switch",
    "aria-checked": "false",
    "aria-label": "Connection",
  });
  const peer = element("p", { ...named("peer"), class: "peer" });
  const typing = element("p", { ...named("typing"), class: "typing", role: "status" });
  const bannerText = element("span", named("banner-text"));
  const bannerClose = element("button", { type: "button", class: "quiet" }, "Dismiss");
  const banner = element("div", { ...named("banner"), class: "banner", hidden: true });
  banner.append(bannerText, bannerClose);
  const problem = element("p", { ...named("problem"), class: "problem", role: "alert" });
  const messages = new MessageList(side, "Messages");
  const input = element("input", {
    ...named("input"),
    id: id("input"),
    autocomplete: "off",
    enterkeyhint: "send",
    maxlength: 65_536,
  });
  const inputLabel = element("label", { for: id("input"), class: "unseen" }, "Message");
  const send = element("button", { ...named("send"), type: "submit" }, "Send");
  const composer = element("form", { class: "composer" }, inputLabel, input, send);
  const counters = counterView(side);
  // The live region stays in the page while the banner comes and goes, or it would not be read.
  const live = element("div", { role: "status" }, banner);
  const root = element(
    "section",
    { ...named("pane"), class: "pane", "aria-label": `Chat of ${userId}` },
    element("header", {}, signIn, toggle, peer),
    live,
    problem,
    messages.root,
    typing,
    composer,
    counters.root,
  );
  const parts = { root, signIn, user, toggle, peer, typing, banner, bannerText, bannerClose };
  return { ...parts, problem, messages, composer, input, inputLabel, count: counters.count };
}

function counterView(side: string): { root: HTMLElement; count: PaneView["count"] } {
  const values = COUNTERS.map((name) => {
    return element("dd", { "data-testid": `${side}-count-${name}` }, "0");
  });
  const pairs = COUNTERS.map((name, index) => {
    return element("div", {}, element("dt", {}, name), values[index] as HTMLElement);
  });
  const root = element("dl", { class: "counters", "aria-label": "Counters" }, ...pairs);
  const count: PaneView["count"] = (stats) => {
    for (const [index, name] of COUNTERS.entries()) {
      const sum = stats.reduce((total, each) => total + each[name], 0);
      (values[index] as HTMLElement).textContent = String(sum);
    }
  };
  return { root, count };
}
