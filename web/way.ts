/**
 * The way of the last message, lit by what the frames prove and nothing else: `accepted` proves
 * everything up to chat_input, `sent` proves logic, the recipient's receipt proves the rest.
 */
import { systemClock } from "../sdk/chatify.ts";
import { element } from "./element.ts";

const STAGES = ["client", "gateway", "access", "chat_input", "logic", "push", "recipient"] as const;
type Stage = (typeof STAGES)[number];

export class Way {
  readonly #stages: HTMLElement[];
  readonly #caption = element("p", { class: "way-caption", "data-testid": "way-caption" });
  #tracked: { id: string; from: string; to: string; at: number; reached: number } | undefined;

  constructor(root: HTMLElement) {
    this.#stages = STAGES.map((name) =>
      element("li", { "data-stage": name, "data-testid": `way-${name}` }, name),
    );
    this.#caption.textContent = "Send a message to light its way.";
    root.append(element("ol", {}, ...this.#stages), this.#caption);
  }

  /** Follows this message from now on, and the one before it no longer. */
  start(id: string, from: string, to: string): void {
    this.#tracked = { id, from, to, at: systemClock.now(), reached: -1 };
    for (const stage of this.#stages) stage.removeAttribute("data-lit");
    this.reach(id, "client", "on its way");
  }

  /** `what` a frame has just proved of message `id`. */
  reach(id: string, stage: Stage, what: string): void {
    const tracked = this.#tracked;
    const index = STAGES.indexOf(stage);
    if (tracked?.id !== id || index <= tracked.reached) return;
    tracked.reached = index;
    for (const each of this.#stages.slice(0, index + 1)) each.setAttribute("data-lit", "");
    const ms = systemClock.now() - tracked.at;
    const time = stage === "client" ? "" : ` after ${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
    this.#caption.textContent = `${tracked.from} → ${tracked.to}: ${what}${time}`;
  }
}
