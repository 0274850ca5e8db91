/** Makes the keys with which Web Push shows push services who it is. */
import webpush from "web-push";
import type { Command } from "./command.ts";

export const vapid: Command = {
  name: "vapid",
  summary: "Makes a pair of VAPID keys for Web Push, as lines for the environment",
  usage: `[options]

  Browsers subscribe with the public key: with other keys they have to subscribe anew, so make
  them once and keep them.`,
  argumentsMax: 0,
  options: {},
  run(input) {
    const { privateKey, publicKey } = webpush.generateVAPIDKeys();
    const lines = [
      `VAPID_PUBLIC_KEY=${publicKey}`,
      `VAPID_PRIVATE_KEY=${privateKey}`,
      "VAPID_SUBJECT=mailto:operator@example.org",
    ];
    input.print(lines.join("\n"), { public_key: publicKey, private_key: privateKey });
    return Promise.resolve(0);
  },
};
