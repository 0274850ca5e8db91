/** With these Web Push is on, so that its routes do something; nothing is ever pushed. */
import webpush from "web-push";

const { privateKey, publicKey } = webpush.generateVAPIDKeys();

export const VAPID_ENVIRONMENT = {
  VAPID_PUBLIC_KEY: publicKey,
  VAPID_PRIVATE_KEY: privateKey,
  VAPID_SUBJECT: "mailto:operator@example.org",
};
