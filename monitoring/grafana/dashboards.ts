/** The dashboards: what is healthy on one screen, then the way of a message, then each part. */

import { connections } from "./dashboard_connections.ts";
import { messageFlow } from "./dashboard_message_flow.ts";
import { offline } from "./dashboard_offline.ts";
import { overview } from "./dashboard_overview.ts";
import { resources } from "./dashboard_resources.ts";
import { streamsAndPartitions } from "./dashboard_streams.ts";
import type { DashboardSpec } from "./panel.ts";

/** By the name of the file below dashboards/. */
export const DASHBOARDS: Readonly<Record<string, DashboardSpec>> = {
  overview,
  message_flow: messageFlow,
  connections,
  streams_and_partitions: streamsAndPartitions,
  offline,
  resources,
};
